"""Two hotplug tables compared: states, registrations, callbacks and order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cpuhp.kernel.registrations.columns import differing, said
from cpuhp.kernel.registrations.model import Callback, Enumerator, Extraction, Row
from cpuhp.kernel.registrations.state_enum import DYNAMIC
from cpuhp.model.table import Section


@dataclass(frozen=True)
class Renamed:
    """A constant whose registrants now use another one; `why` they are the same."""

    before: str
    after: str
    why: str


@dataclass(frozen=True)
class Moved:
    """A state that changed its place among the states that both tables have.

    `crossed` are the states that it was above and is now below, or the reverse:
    the order edges that changed direction.
    """

    state: str
    before: int
    after: int
    section_before: Section | None
    section_after: Section | None
    crossed: tuple[str, ...]


@dataclass(frozen=True)
class Restated:
    """A state with other `#if` conditions, or a dynamic range with other slots."""

    state: str
    what: str
    before: str
    after: str


@dataclass(frozen=True)
class Changed:
    """A registration that both tables have, and the columns that differ.

    `columns` holds name of the column, value before, value after. `crossed` are the
    states that it was above and is now below, or the reverse, wherever in its range a
    dynamic one is: the order edges that changed direction.
    """

    name: str
    state: str
    before: Row
    after: Row
    columns: tuple[tuple[str, str, str], ...]
    crossed: tuple[str, ...] = ()

    @property
    def functions(self) -> tuple[str, ...]:
        """The callbacks after the change."""
        return tuple(_functions(self.after.startup, self.after.teardown))


@dataclass(frozen=True)
class Difference:
    """All that differs from one table to another; everything in table order."""

    before: Extraction
    after: Extraction
    added_states: tuple[str, ...]
    removed_states: tuple[str, ...]
    renamed_states: tuple[Renamed, ...]
    moved_states: tuple[Moved, ...]
    added: tuple[Row, ...]
    removed: tuple[Row, ...]
    changed: tuple[Changed, ...]
    restated: tuple[Restated, ...] = ()

    @property
    def empty(self) -> bool:
        return not (
            self.added_states
            or self.removed_states
            or self.renamed_states
            or self.moved_states
            or self.added
            or self.removed
            or self.changed
            or self.restated
        )

    @property
    def words(self) -> frozenset[str]:
        """States, registered names and callbacks that the difference touches."""
        found = {*self.added_states, *self.removed_states}
        for renamed in self.renamed_states:
            found |= {renamed.before, renamed.after}
        for moved in self.moved_states:
            found |= {moved.state, *moved.crossed}
        found |= {restated.state for restated in self.restated}
        rows = [*self.added, *self.removed]
        for change in self.changed:
            rows += [change.before, change.after]
        for row in rows:
            if row.dynamic is None and row.state:
                found.add(row.state)
            found |= {row.name or "", *_functions(row.startup, row.teardown)}
        return frozenset(found - {""})


def difference(before: Extraction, after: Extraction) -> Difference:
    """What changed from one extraction to another."""
    old = {e.name: e for e in before.enumerators if _is_state(e)}
    new = {e.name: e for e in after.enumerators if _is_state(e)}
    pairs, removed, added = _pairs(before.rows, after.rows)
    renamed = _renamed(pairs, old, new)
    gone = {r.before for r in renamed}
    come = {r.after for r in renamed}
    names = {r.before: r.after for r in renamed}
    return Difference(
        before,
        after,
        tuple(n for n in new if n not in old and n not in come),
        tuple(n for n in old if n not in new and n not in gone),
        tuple(renamed),
        tuple(_moved(old, new, names)),
        tuple(added),
        tuple(removed),
        tuple(
            replace(c, crossed=_crossed(c, old, new, names))
            for pair in pairs
            if (c := _changed(*pair, names)) is not None
        ),
        (*_under_other_conditions(old, new, names), *_other_ranges(before, after)),
    )


def _under_other_conditions(
    old: dict[str, Enumerator], new: dict[str, Enumerator], names: dict[str, str]
) -> Iterable[Restated]:
    for name, enumerator in old.items():
        other = new.get(names.get(name, name))
        if other is not None and other.guards != enumerator.guards:
            conditions = (" && ".join(e.guards) for e in (enumerator, other))
            yield Restated(other.name, "guards", *conditions)


def _other_ranges(before: Extraction, after: Extraction) -> Iterable[Restated]:
    """Dynamic ranges that both have, with more slots or fewer."""
    for name in DYNAMIC:
        counts = []
        for table in (before, after):
            first, last = table.value(name), table.value(f"{name}_END")
            if first is not None and last is not None:
                counts.append(str(last - first + 1))
        if len(counts) == 2 and counts[0] != counts[1]:
            yield Restated(name, "slots", *counts)


def _is_state(enumerator: Enumerator) -> bool:
    value = enumerator.value
    return value is not None and value >= 0 and not enumerator.name.endswith("_DYN_END")


def _pairs(
    old: Sequence[Row], new: Sequence[Row]
) -> tuple[list[tuple[Row, Row]], list[Row], list[Row]]:
    """Rows that are the same registration: by ever weaker likeness."""
    pairs: list[tuple[Row, Row]] = []
    left, right = list(old), list(new)
    for likeness in _LIKENESSES:
        index: dict[object, list[Row]] = {}
        for row in right:
            if (key := likeness(row)) is not None:
                index.setdefault(key, []).append(row)
        rest = []
        for row in left:
            key = likeness(row)
            same = index.get(key) if key is not None else None
            if same:
                partner = same.pop(0)
                right.remove(partner)
                pairs.append((row, partner))
            else:
                rest.append(row)
        left = rest
    pairs.sort(key=lambda pair: _order(pair[1]))
    return pairs, sorted(left, key=_order), sorted(right, key=_order)


def _all(row: Row) -> object:
    return (row.file, row.state, row.name, row.api, row.guards, *_both(row))


def _same_work(row: Row) -> object:
    return (row.state, row.name, *_both(row)) if row.name else None


def _same_name_and_file(row: Row) -> object:
    return (row.file, row.name, row.state, row.guards) if row.name else None


def _same_name_and_state(row: Row) -> object:
    return (row.state, row.name) if row.name else None


def _same_name(row: Row) -> object:
    return row.name


def _same_callbacks(row: Row) -> object:
    functions = _both(row)
    return (row.file.rpartition("/")[2], functions) if any(functions) else None


_LIKENESSES = (
    _all,
    _same_work,
    _same_name_and_file,
    _same_name_and_state,
    _same_name,
    _same_callbacks,
)


def _both(row: Row) -> tuple[str, str]:
    return (said(row.startup), said(row.teardown))


def _functions(*callbacks: Callback) -> Iterable[str]:
    for callback in callbacks:
        yield from callback.candidates
        if callback.function:
            yield callback.function


def _order(row: Row) -> tuple[int, str, int]:
    return (-1 if row.number is None else row.number, row.file, row.line)


def _renamed(
    pairs: Sequence[tuple[Row, Row]],
    old: dict[str, Enumerator],
    new: dict[str, Enumerator],
) -> list[Renamed]:
    found: dict[str, Renamed] = {}
    taken: set[str] = set()
    for before, after in pairs:
        a, b = before.state, after.state
        if not a or not b or a == b or a in new or b in old:
            continue
        if a in found or b in taken:
            continue
        taken.add(b)
        found[a] = Renamed(a, b, f"{after.name or after.file} is registered there")
    return list(found.values())


def _moved(
    old: dict[str, Enumerator], new: dict[str, Enumerator], names: dict[str, str]
) -> Iterable[Moved]:
    common = [n for n in old if names.get(n, n) in new]
    place = {n: new[names.get(n, n)].value or 0 for n in common}
    stay = _longest_rising([place[n] for n in common])
    for at, name in enumerate(common):
        before, after = old[name], new[names.get(name, name)]
        crossed = [
            names.get(other, other)
            for where, other in enumerate(common)
            if (where < at) != (place[other] < place[name]) and other != name
        ]
        if at in stay and before.section is after.section:
            continue
        yield Moved(
            names.get(name, name),
            before.value or 0,
            after.value or 0,
            before.section,
            after.section,
            tuple(crossed),
        )


def _longest_rising(values: Sequence[int]) -> frozenset[int]:
    """Positions of a longest rising subsequence: what has kept its order."""
    best: list[int] = []  # position that ends the best run of each length
    previous: list[int] = []
    for at, value in enumerate(values):
        low = sum(1 for end in best if values[end] < value)
        previous.append(best[low - 1] if low else -1)
        best[low : low + 1] = [at]
    kept = []
    at = best[-1] if best else -1
    while at >= 0:
        kept.append(at)
        at = previous[at]
    return frozenset(kept)


def _crossed(
    change: Changed,
    old: dict[str, Enumerator],
    new: dict[str, Enumerator],
    names: dict[str, str],
) -> tuple[str, ...]:
    """States on the other side of a registration than before; it may be dynamic."""
    if change.columns[0][0] != "state":
        return ()
    first = _range(change.before, old)
    then = _range(change.after, new)
    if first is None or then is None:
        return ()
    found = []
    for name, enumerator in old.items():
        other = new.get(names.get(name, name))
        if other is None or name in (change.before.state, change.after.state):
            continue
        side = _side(enumerator.value or 0, first)
        if side * _side(other.value or 0, then) < 0:
            found.append(other.name)
    return tuple(found)


def _side(value: int, slots: tuple[int, int]) -> int:
    return (value > slots[1]) - (value < slots[0])


def _range(row: Row, states: dict[str, Enumerator]) -> tuple[int, int] | None:
    """The first and last place that a registration may have."""
    if row.number is None:
        return None
    if row.dynamic is None:
        return row.number, row.number
    above = [e.value for e in states.values() if (e.value or 0) > row.number]
    return row.number, min((v for v in above if v is not None), default=row.number) - 1


def _changed(before: Row, after: Row, names: dict[str, str]) -> Changed | None:
    columns = differing(before, after, names)
    if not columns:
        return None
    name = after.name or before.name or after.name_expression
    return Changed(name, after.state or "?", before, after, columns)
