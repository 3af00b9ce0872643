"""What a kernel tree says about the steps of a trace: names, and who may run where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cpuhp.kernel.registrations.join import join
from cpuhp.kernel.registrations.model import NO, YES, Callback, Extraction, Row, Variant
from cpuhp.kernel.registrations.table import table_of
from cpuhp.kernel.tables.states_file import KernelTable, shipped_table, shipped_tables

Pick = Callable[[Row | Variant], Callback]


def with_tree(extraction: Extraction, known: KernelTable | None) -> KernelTable:
    """A table with the callbacks that the tree registers.

    `known` is the table of a states file, if there is one: it tells the slots of
    dynamic states. Raises InputError HP618 if the tree has no order.
    """
    if known is None:
        known = _fixed(extraction)
    else:
        extraction = join(extraction, known.table)
    in_tree: dict[tuple[int, bool], frozenset[str]] = {}
    for number, registered in _by_number(extraction).items():
        rows = _likely(registered)
        for up, pick in ((True, _startup), (False, _teardown)):
            names = _names(rows, pick)
            if names:
                in_tree[number, up] = names
    return replace(known, in_tree=in_tree)


def _startup(row: Row | Variant) -> Callback:
    return row.startup


def _teardown(row: Row | Variant) -> Callback:
    return row.teardown


def _fixed(extraction: Extraction) -> KernelTable:
    """The fixed states only: the slots of the others are known at run time."""
    table = table_of(extraction)
    fixed = tuple(
        state
        for state in table.states
        if state.number not in table.dynamic
        and state.number not in table.prepare_dynamic
    )
    version = ".".join((extraction.version or "").split(".")[:2])
    shipped = f"linux-{version}"
    table = replace(table, states=fixed)
    if shipped not in shipped_tables():
        return KernelTable(table, version or None)
    return replace(shipped_table(shipped), table=table)


def _by_number(extraction: Extraction) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = {}
    for row in extraction.rows:
        number = row.number if row.dynamic is None else None
        if row.recorded is not None:
            number = row.recorded.number
        if number is not None:
            found.setdefault(number, []).append(row)
    return found


def _likely(rows: list[Row]) -> list[Row]:
    """The rows that the configuration has, or may have."""
    certain = [row for row in rows if row.present == YES]
    return certain or [row for row in rows if row.present != NO] or rows


def _names(rows: list[Row], pick: Pick) -> frozenset[str] | None:
    """Every function that the rows may have there, None if one cannot be told."""
    names: set[str] = set()
    for row in rows:
        for callback in (pick(row), *map(pick, row.variants)):
            if callback.kind == "parameter" and row.variants:
                continue
            functions = _possible(callback)
            if functions is None:
                return None
            names |= functions
    return frozenset(names)


def _possible(callback: Callback) -> set[str] | None:
    if not callback.exists:
        return set()
    definitions = [callback.definition, *callback.alternatives]
    if any(d is not None and d.kind == "macro" for d in definitions):
        return None
    if callback.function is not None:
        return {callback.function}
    return set(callback.candidates) or None
