"""Where in a process time passes: the steps that have a cost, at its program points.

A step is a callback, a function, a process, a label, or a statement by the variable that
it writes (`device.begun`). Its time passes once each time
it is entered: after the locks and waits that it begins with, before the first thing that
it does itself and others can notice; if it does such a thing under a lock that it takes
itself, then there. A step that does no such thing takes its time at its end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cpuhp.graph.footprint import is_wait
from cpuhp.graph.parallel import INVOKES
from cpuhp.language.compile import Lowered, LoweredProcess
from cpuhp.language.flow import Edge, reachable
from cpuhp.language.program import IRQS_OFF
from cpuhp.model.sorts import NONE
from cpuhp.model.table import HotplugState, Section
from cpuhp.timing.costs import Cost, CostTable

_ARGUMENT = re.compile(r"invoke_(startup|teardown)\s*\(\s*(\w+)\s*,[^,]*,\s*(\w+)\s*\)")
_WALKS = re.compile(r"(\w+)\s*=\s*(next|prev)_state\((\w+)\)")
_RELEASES = re.compile(r"unlock|\bup_")
_DEEP = 8  # locks held at once
UP, DOWN = "startup", "teardown"


@dataclass(frozen=True, slots=True)
class Row:
    """A step of the hotplug table: what it is called, and what it costs if known."""

    name: str
    key: str
    cost: Cost | None


@dataclass(frozen=True, slots=True)
class Gap:
    """An edge walks over rows of the table that have no model.

    `variable` holds the row; `rows[v]` are those passed when its value becomes v.
    """

    variable: str
    rows: Mapping[int, tuple[Row, ...]]


@dataclass
class Points:
    """What a simulation has to know of a process, by program point or edge.

    `steps[n]` is the n-th step with a cost: its name, its key in the cost table. At
    point p those in `due[p]` take their time, if they have not yet; those in
    `inside[p]` have begun. Edge e ends those in `closes[e]`.
    """

    process: LoweredProcess
    edges: dict[int, list[Edge]]
    steps: list[tuple[str, Cost]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    due: dict[int, tuple[int, ...]] = field(default_factory=dict)
    inside: dict[int, tuple[int, ...]] = field(default_factory=dict)
    closes: dict[int, tuple[int, ...]] = field(default_factory=dict)  # by source
    gaps: dict[tuple[int, int], Gap] = field(default_factory=dict)  # source, edge
    places: dict[int, tuple[str, ...]] = field(default_factory=dict)
    entered: dict[tuple[int, int], str] = field(default_factory=dict)  # without a cost


@dataclass(frozen=True)
class Named:
    """Costs as the names of one program: who has one, and which names are nobody's."""

    lowered: Lowered
    table: CostTable

    def of_row(self, state: HotplugState, direction: str) -> tuple[str, Cost | None]:
        """Key and cost of a row of the hotplug table."""
        for name in (state.name, state.enumerator, str(state.number)):
            key = f"{name} {direction}"
            if name and key in self.table.costs:
                return key, self.table.costs[key]
        return f"{state.label} {direction}", None

    def of_step(self, name: str) -> tuple[str, Cost | None]:
        """Key and cost of a callback, function, process or label.

        A callback's hotplug state goes first: one function may be registered for two.
        """
        for registered in self.lowered.program.callbacks:
            if registered.callback.name == name:
                key, cost = self.of_row(registered.state, registered.callback.direction)
                if cost is not None:
                    return key, cost
        return name, self.table.costs.get(name)

    def modelled(self, direction: str) -> frozenset[int]:
        """Rows that have a callback model in this direction."""
        return frozenset(
            c.state.number
            for c in self.lowered.program.callbacks
            if c.callback.direction == direction
        )


def points_of(process: LoweredProcess, named: Named) -> Points:
    """The costs of a process at its program points."""
    by_source: dict[int, list[Edge]] = {}
    for edge in reachable(process.flow.edges, process.entry):
        by_source.setdefault(edge.source, []).append(edge)
    found = Points(process, by_source)
    numbers: dict[str, int] = {}

    def number(name: str) -> int | None:
        if name not in numbers:
            key, cost = named.of_step(name)
            if cost is None:
                return None
            numbers[name] = len(found.steps)
            found.steps.append((name, cost))
            found.keys.append(key)
        return numbers[name]

    labels = _labels(process, by_source, named)
    work = _work(process, by_source, named)
    for point, edges in by_source.items():
        note = edges[0].note
        places = note.places if note else (process.name,)
        found.places[point] = places
        inside = [n for n in map(number, places) if n is not None]
        found.inside[point] = tuple(inside)
        ended = process.flow.names[point].removesuffix(":end")
        is_end = process.flow.names[point].endswith(":end") and places[-1:] == (ended,)
        own = numbers.get(places[-1]) if point in work else None
        due = [own] if own is not None and not found.steps[own][1].inclusive else []
        if is_end and (last := numbers.get(ended)) is not None:
            found.closes[point] = (last,)
            due = list(dict.fromkeys([*due, last]))
        for label in labels.get(point, ()):
            at = number(label)
            if at is not None and at not in due:
                due.insert(0, at)
                found.closes[point] = (*found.closes.get(point, ()), at)
        found.due[point] = tuple(due)
        for at, edge in enumerate(edges):
            gap = _gap(process, edge, named)
            if gap is not None:
                found.gaps[point, at] = gap
            name = _entered(edge)
            if name and named.of_step(name)[1] is None:
                found.entered[point, at] = name
    return found


def _entered(edge: Edge) -> str | None:
    """The callback that the edge goes into."""
    note = edge.note
    if note is None or note.callback is None or note.callback in note.places:
        return None
    return note.callback


def _labels(
    process: LoweredProcess, by_source: dict[int, list[Edge]], named: Named
) -> dict[int, list[str]]:
    """What has a cost of its own at a point: a label, or a statement by what it writes."""
    program = named.lowered.program
    taken = {c.callback.name for c in program.callbacks} | program.functions.keys()
    found: dict[int, list[str]] = {}
    for label, points in process.flow.labels.items():
        if label in taken or label == process.name or label not in named.table.costs:
            continue
        found.setdefault(min(points), []).append(label)
    for point, edges in by_source.items():
        for edge in edges:
            place = edge.note.places[-1] if edge.note else process.name
            for effect in edge.effects:
                name = f"{place}.{effect.variable}"
                if name in named.table.costs and name not in found.get(point, ()):
                    found.setdefault(point, []).append(name)
    return found


def _work(
    process: LoweredProcess, by_source: dict[int, list[Edge]], named: Named
) -> set[int]:
    """Points at which a step does what others notice, under its locks if it has some."""
    locks = {n for n, v in named.lowered.program.variables.items() if v.lock}
    steps: dict[str, dict[int, list[Edge]]] = {}
    for point, edges in by_source.items():
        places = edges[0].note.places if edges[0].note else (process.name,)
        for name in places:
            steps.setdefault(name, {})[point] = edges
    found: set[int] = set()
    for name, mine in steps.items():
        noticed = {
            point for point, edges in mine.items()
            if (edges[0].note is None or edges[0].note.places[-1] == name)
            and _others_notice(process, edges, locks)
        }  # fmt: skip
        found |= noticed & _locked(mine, locks) or noticed
    return found


def _locked(edges: dict[int, list[Edge]], locks: set[str]) -> set[int]:
    """Points of a step that it reaches only with a lock that it has taken itself."""
    targets = {e.target for out in edges.values() for e in out if e.target != e.source}
    starts = [point for point in edges if point not in targets] or list(edges)[:1]
    seen = {(point, 0) for point in starts}
    todo = list(seen)
    while todo:
        point, held = todo.pop()
        for edge in edges.get(point, ()):
            after = (edge.target, max(0, held + _taken(edge, locks)))
            if after not in seen and after[1] < _DEEP:
                seen.add(after)
                todo.append(after)
    free = {point for point, held in seen if held == 0}
    return {point for point, held in seen if held} - free


def _taken(edge: Edge, locks: set[str]) -> int:
    """1 if the edge takes a lock, -1 if it lets one go, else 0."""
    if not any(effect.variable in locks for effect in edge.effects):
        return 0
    text = edge.note.text if edge.note else ""
    return -1 if _RELEASES.search(text) else 1


def _others_notice(process: LoweredProcess, edges: list[Edge], locks: set[str]) -> bool:
    """Does the process do something here that is more than waiting or locking?"""
    own = {variable.name for variable in process.locals} | locks
    for edge in edges:
        if is_wait(process, edge) or edge.note is None:
            continue
        if any(effect.variable not in own | {IRQS_OFF} for effect in edge.effects):
            return True
    return False


# -- walks over the table --------------------------------------------------------


def _gap(process: LoweredProcess, edge: Edge, named: Named) -> Gap | None:
    note = edge.note
    if note is None or note.callback is not None:
        return None
    invoked = _ARGUMENT.search(note.text)
    if invoked:
        return _unmodelled_row(process, edge, named, *invoked.groups())
    walked = _WALKS.search(note.text)
    if not walked or not edge.effects:
        return None
    target, word, _ = walked.groups()
    direction = UP if word == "next" else DOWN
    section = _section(process, note.places, direction)
    variable = _local(process, note.places, target)
    if section is None or variable is None:
        return None
    return Gap(variable, dict(_between(named, section, direction)))


def _section(
    process: LoweredProcess, places: tuple[str, ...], direction: str
) -> Section | None:
    """The section whose callbacks this function invokes in this direction."""
    for edge in process.flow.edges:
        if edge.note and edge.note.places == places:
            match = INVOKES.search(edge.note.text)
            if match and match.group(1) == direction:
                return Section(match.group(2))
    return None


def _local(process: LoweredProcess, places: tuple[str, ...], name: str) -> str | None:
    full = f"{process.name}.{places[-1]}.{name}"
    return full if any(v.name == full for v in process.locals) else None


def _numbers(named: Named) -> list[int]:
    """The hotplug states that the program names, as numbers of the table."""
    sort = named.lowered.terms.hpstate
    found = [named.lowered.program.table.find(value) for value in sort.values]
    return [state.number if state else -1 for state in found]


def _between(
    named: Named, section: Section, direction: str
) -> Iterator[tuple[int, tuple[Row, ...]]]:
    """Rows between two states that the program names, by the state that is reached."""
    table = named.lowered.program.table
    numbers = _numbers(named)
    for value in range(len(numbers)):
        other = value - 1 if direction == UP else value + 1
        if not 0 <= other < len(numbers):
            continue
        low, high = sorted((numbers[value], numbers[other]))
        rows = [
            s for s in table.states
            if low < s.number < high and table.section(s.number) is section
        ]  # fmt: skip
        if direction == DOWN:
            rows.reverse()
        yield value, tuple(_row(named, state, direction) for state in rows)


def _row(named: Named, state: HotplugState, direction: str) -> Row:
    key, cost = named.of_row(state, direction)
    return Row(f"{state.label} {direction}", key, cost)


def _unmodelled_row(
    process: LoweredProcess,
    edge: Edge,
    named: Named,
    direction: str,
    section: str,
    argument: str,
) -> Gap | None:
    """A row that the program names and that has no model of this direction."""
    assert edge.note is not None
    variable = _local(process, edge.note.places, argument)
    if variable is None:
        return None
    table = named.lowered.program.table
    known = {state.number: state for state in table.states}
    modelled = named.modelled(direction)
    rows: dict[int, tuple[Row, ...]] = {}
    for value, number in enumerate(_numbers(named)):
        if number in modelled or number not in known:
            continue
        if table.section(number) is Section(section):
            rows[value] = (_row(named, known[number], direction),)
    return Gap(variable, rows)


__all__ = ["DOWN", "NONE", "UP", "Gap", "Named", "Points", "Row", "points_of"]
