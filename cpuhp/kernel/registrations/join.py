"""A recorded `states` file held against the registrations of a tree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cpuhp.kernel.registrations.model import (
    MAYBE,
    NO,
    YES,
    Extraction,
    Join,
    Note,
    Recorded,
    Row,
)
from cpuhp.model.table import Table

_RANK = {YES: 0, MAYBE: 1, NO: 2}


def join(extraction: Extraction, states: Table) -> Extraction:
    """The extraction with the recorded slot of every row that was live.

    Rows are matched by registered name; of several rows with the same name those
    win that agree in number and that the configuration has.
    """
    rows = list(extraction.rows)
    by_name: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        for name in _names(row):
            by_name.setdefault(name, []).append(index)
    missing: list[Recorded] = []
    ambiguous: list[str] = []
    notes: list[Note] = []
    for state in states.states:
        recorded = Recorded(state.number, state.name)
        chosen = _best(extraction, rows, by_name.get(state.name, []), recorded)
        if not chosen:
            missing.append(recorded)
            continue
        if len({_effect(rows[i]) for i in chosen}) > 1:
            ambiguous.append(state.name)
        for index in chosen:
            rows[index] = replace(rows[index], recorded=recorded)
        if not any(_agrees(extraction, rows[i], recorded) for i in chosen):
            row = rows[chosen[0]]
            notes.append(
                Note(
                    states.name,
                    f"{state.name} is hotplug state {state.number} there and "
                    f"{row.number} ({row.state}) here: another kernel version?",
                )
            )
    matched = len(states.states) - len(missing)
    return replace(
        extraction,
        rows=tuple(rows),
        notes=(*extraction.notes, *notes),
        join=Join(states.name, matched, tuple(missing), tuple(ambiguous)),
    )


def _names(row: Row) -> list[str]:
    names = [row.name, *(variant.name for variant in row.variants)]
    return list(dict.fromkeys(name for name in names if name))


def _best(
    extraction: Extraction, rows: list[Row], indices: list[int], recorded: Recorded
) -> list[int]:
    def rank(index: int) -> tuple[bool, int]:
        row = rows[index]
        return (not _agrees(extraction, row, recorded), _RANK[row.present])

    best = min(map(rank, indices), default=None)
    return [index for index in indices if rank(index) == best]


def _effect(row: Row) -> tuple[str | None, str | None]:
    return (row.startup.function, row.teardown.function)


def _agrees(extraction: Extraction, row: Row, recorded: Recorded) -> bool:
    if row.dynamic is None:
        return row.number == recorded.number
    return recorded.number in slots(_values(extraction), row.dynamic)


def _values(extraction: Extraction) -> dict[str, int]:
    return {e.name: e.value for e in extraction.enumerators if e.value is not None}


def slots(values: Mapping[str, int], dynamic: str) -> range:
    """The slots of a dynamic range, from the enum's values; empty if not known."""
    first, last = values.get(dynamic), values.get(f"{dynamic}_END")
    if first is None or last is None:
        return range(0)
    return range(first, last + 1)
