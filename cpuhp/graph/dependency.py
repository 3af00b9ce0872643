"""The dependency graph: what ties two steps of a program together.

| kind | from | to |
|---|---|---|
| order | a callback | the next one of its section, as the table has them |
| conflict | a step | a step that touches the same variable; at least one writes, no lock |
| lock | a step | a step that takes the same lock |
| wait | the step that lets it go on | the step that waits |
| use | the writer | the reader, under a common lock or on the same CPU only |

Conflict and lock go both ways and stand once, from the step that comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import networkx as nx

from cpuhp.graph.footprint import Access, Footprints, Step
from cpuhp.graph.parallel import Parallel

KINDS = ("order", "conflict", "lock", "wait", "use")


@dataclass(frozen=True)
class Tie:
    """An edge of the graph. `names`: the variables or locks that it is about.

    `unsafe`: a conflict of steps that may happen in parallel; `where` then tells on
    which CPUs ("same CPU", "different CPUs").
    """

    kind: str
    source: str
    target: str
    names: tuple[str, ...] = ()
    unsafe: tuple[str, ...] = ()  # the names in conflict, if the steps may be parallel
    where: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Dependencies:
    """The graph as data; `graph` gives it as networkx has it."""

    steps: tuple[Step, ...]
    ties: tuple[Tie, ...]
    parallel: Parallel
    crossing: frozenset[str] = field(default=frozenset())

    def graph(self, kinds: tuple[str, ...] = KINDS) -> nx.MultiDiGraph:
        """Nodes by key with data `step`; edges with data `kind` and `tie`."""
        graph: nx.MultiDiGraph = nx.MultiDiGraph()
        for step in self.steps:
            graph.add_node(step.key, step=step)
        for tie in self.ties:
            if tie.kind in kinds:
                graph.add_edge(tie.source, tie.target, kind=tie.kind, tie=tie)
        return graph

    @property
    def unsafe(self) -> tuple[Tie, ...]:
        return tuple(tie for tie in self.ties if tie.unsafe)


def dependencies(found: Footprints, together: Parallel) -> Dependencies:
    """The dependency graph of a program's steps, those that never happen left out."""
    reached = together.reached
    steps = tuple(
        step for key, step in found.steps.items() if reached is None or key in reached
    )
    ties = [*_order(steps)]
    by_step: dict[str, list[Access]] = {step.key: [] for step in steps}
    for access in found.accesses:
        if access.step in by_step:
            by_step[access.step].append(access)
    for at, first in enumerate(steps):
        for second in steps[at:]:
            mine, theirs = by_step[first.key], by_step[second.key]
            conflict = _conflict(first, second, mine, theirs, together)
            if conflict is not None:
                ties.append(conflict)
            known = frozenset(conflict.names) if conflict else frozenset[str]()
            if first is not second:
                ties += _flows(first, second, mine, theirs, known)
                ties += _flows(second, first, theirs, mine, known)
    ties += _shared_locks(found, by_step)
    crossing = frozenset(key for key in by_step if found.crosses(key))
    return Dependencies(steps, tuple(ties), together, crossing)


def _order(steps: tuple[Step, ...]) -> Iterator[Tie]:
    runs: dict[tuple[str, str, str], list[tuple[int, str]]] = {}
    for step in steps:
        if step.callback is not None:
            direction = step.callback.callback.direction
            key = (step.callback.section.value, direction, step.process)
            runs.setdefault(key, []).append((step.callback.state.number, step.key))
    for (_, direction, _), rows in runs.items():
        rows.sort(reverse=direction == "teardown")
        for (_, first), (_, second) in pairwise(rows):
            yield Tie("order", first, second)


def _conflict(
    first: Step,
    second: Step,
    mine: list[Access],
    theirs: list[Access],
    together: Parallel,
) -> Tie | None:
    # What a step waits for is written while it waits: that is no conflict of the two.
    awaited = {a.variable for a in (*mine, *theirs) if a.waits}
    names: dict[str, None] = {}
    unsafe: dict[str, None] = {}
    where: set[str] = set()
    pair = (first.key, second.key)
    for a in mine:
        for b in theirs:
            if a.variable != b.variable or not (a.write or b.write):
                continue
            if a.variable in awaited or _common(a.locks & b.locks):
                continue
            elsewhere = not (a.own & b.own)
            if first is second and not elsewhere:
                continue
            if first is second and pair not in together.other_cpu:
                continue
            names[a.variable] = None
            if elsewhere and pair in together.other_cpu:
                unsafe[a.variable] = None
                where.add("different CPUs")
            if first is not second and pair in together.same_cpu:
                unsafe[a.variable] = None
                where.add("same CPU")
    if not names:
        return None
    return Tie(
        "conflict", *pair, tuple(sorted(names)), tuple(sorted(unsafe)), frozenset(where)
    )


def _common(locks: frozenset[str]) -> bool:
    # `lock[cpu]` of two CPUs are two locks; `lock[0]` is one.
    return any("[" not in n or n[n.index("[") + 1 : -1].isdigit() for n in locks)


def _flows(
    writer: Step,
    reader: Step,
    writes: list[Access],
    reads: list[Access],
    known: frozenset[str],
) -> Iterator[Tie]:
    written = {a.variable for a in writes if a.write}
    awaited = {a.variable for a in reads if a.waits} & written
    used = {a.variable for a in reads if not a.write and not a.waits} & written
    if awaited:
        yield Tie("wait", writer.key, reader.key, tuple(sorted(awaited)))
    if used - known:
        yield Tie("use", writer.key, reader.key, tuple(sorted(used - known)))


def _shared_locks(found: Footprints, keys: Iterable[str]) -> Iterator[Tie]:
    users: dict[str, dict[str, None]] = {}
    for taken in found.taken:
        users.setdefault(taken.lock.name, {})[taken.step] = None
    pairs: dict[tuple[str, str], list[str]] = {}
    for lock, steps in users.items():
        order = [key for key in keys if key in steps]
        for at, first in enumerate(order):
            for second in order[at + 1 :]:
                pairs.setdefault((first, second), []).append(lock)
    for (first, second), locks in pairs.items():
        yield Tie("lock", first, second, tuple(sorted(locks)))


def neighbourhood(found: Dependencies, keys: Iterable[str]) -> Dependencies:
    """Some steps, all that is tied to them, and the ties of those with these."""
    centre = frozenset(keys)
    ties = tuple(t for t in found.ties if centre & {t.source, t.target})
    near = centre | {t.source for t in ties} | {t.target for t in ties}
    return Dependencies(
        tuple(step for step in found.steps if step.key in near),
        tuple(
            t
            for t in found.ties
            if t in ties or (t.source == t.target and t.source in near)
        ),
        found.parallel,
        found.crossing & near,
    )
