"""The order that a scenario runs in: a table with every enumerator it can name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cpuhp.diagnostics import Span, fail
from cpuhp.kernel.tables.states_file import (
    KernelTable,
    read_any_table,
    shipped_table,
    shipped_tables,
)
from cpuhp.language import tree as t
from cpuhp.model.table import Table

NEWEST = "linux-6.12"
USUAL = "arm64-6.12"  # of a scenario that names no table


def read_order(path: str | Path) -> Table:
    """The table of a states file or `.table` file. Raises InputError HP4xx."""
    return complete(read_any_table(path))


def shipped_order(name: str, span: Span | None = None) -> Table:
    """A table of specs/tables by name. Raises InputError HP408."""
    if name not in shipped_tables():
        raise fail(
            "HP408",
            f"no shipped table '{name}'",
            span,
            help=f"shipped are {', '.join(shipped_tables())}",
        )
    return complete(shipped_table(name))


def order_of(unit: t.Unit) -> Table:
    """The table that a scenario names. Raises InputError HP408."""
    names = [item for item in unit.items if isinstance(item, t.TableName)]
    if not names:
        return shipped_order(USUAL)
    return shipped_order(names[-1].name, names[-1].span)


def complete(found: KernelTable) -> Table:
    """The table with the kernel's constants, also those that nothing is registered for.

    A kernel whose version is not known gets its enumerators by registered name.
    """
    table = found.table
    version = found.kernel and f"linux-{found.kernel}"
    if version in shipped_tables():
        fixed = shipped_table(version).table
        both = (*fixed.states, *table.states)  # the file's own order is what counts
        numbers = {s.enumerator: s.number for s in both if s.enumerator}
        return replace(table, enumerators=tuple(numbers.items()))
    names = {s.name: s.enumerator for s in shipped_table(NEWEST).table.states if s.name}
    states = tuple(
        replace(s, enumerator=s.enumerator or names.get(s.name)) for s in table.states
    )
    pairs = [(s.enumerator, s.number) for s in states if s.enumerator]
    known = {enumerator for enumerator, _ in pairs}
    if "CPUHP_AP_ONLINE_IDLE" not in known:
        # Nameless by design, and always right after CPUHP_TEARDOWN_CPU.
        pairs.append(("CPUHP_AP_ONLINE_IDLE", table.teardown + 1))
    return replace(table, states=states, enumerators=tuple(pairs))


def architecture(table: Table) -> str | None:
    """arm64 or x86, as the names of the rows tell it; None if they do not."""
    for row in table.states:
        for name in ("arm64", "x86"):
            if row.name.startswith((f"{name}/", f"perf/{name}")):
                return name
    return None
