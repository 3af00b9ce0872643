"""Which steps may happen in parallel, on the same CPU and on different ones.

Two ways, and the answer says which. `by_process` uses only that a process instance does
one thing at a time; it holds for every CPU count. `Occupancy` reads it off the states
that a search of the skeleton reaches: the program without what cannot decide who waits
for whom. The skeleton can do all that the program can do, so this is sound for the
number of CPUs that was searched, and it sees phases and barriers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations

from cpuhp.graph.footprint import Footprints, Step, is_wait, step_key
from cpuhp.graph.relevance import Slice, relevant
from cpuhp.graph.rows import rows
from cpuhp.graph.slicing import project
from cpuhp.language.compile import Lowered, LoweredProcess, lower
from cpuhp.language.flow import Edge
from cpuhp.language.terms import location_variable
from cpuhp.model.expr import Const, Read, and_, eq, or_, reads
from cpuhp.model.sorts import BOOL
from cpuhp.model.system import Expectation, Order, Property, Runs

INVOKES = re.compile(r"\binvoke_(startup|teardown)\s*\(\s*(\w+)")
_UNROLLED = re.compile(r"(\[[^\]]*\])?(~\d+)?$")
_ENTERS = re.compile(r"(startup|teardown)\s+\w+\s*\(")
Pair = tuple[str, str]
At = tuple[str, int | None, int]  # process, CPU (None: runs once), program point


@dataclass(frozen=True)
class Parallel:
    """Pairs of steps (each in both orders) that may happen at the same time."""

    same_cpu: frozenset[Pair]
    other_cpu: frozenset[Pair]
    basis: str
    reached: frozenset[str] | None = None  # steps that ever happen; None: not known

    def may(self, first: str, second: str) -> bool:
        pair = (first, second)
        return pair in self.same_cpu or pair in self.other_cpu


def by_process(steps: Mapping[str, Step]) -> Parallel:
    """All that different process instances may do; nothing about phases."""
    same: set[Pair] = set()
    other: set[Pair] = set()
    for a in steps.values():
        for b in steps.values():
            if a.process != b.process:
                same.add((a.key, b.key))
                other.add((a.key, b.key))
            elif a.runs is not Runs.ONCE:
                other.add((a.key, b.key))
    basis = "processes only, every number of CPUs; phases and barriers not used"
    return Parallel(frozenset(same), frozenset(other), basis)


def skeleton(whole: Lowered) -> Lowered:
    """The program as far as it decides who waits for whom, locks left out.

    NOTE(skeleton): callbacks that cannot matter are gone; the call that would invoke
    them stands for them. What is gone never blocks in the skeleton, so it reaches at
    least the program points that the program reaches.
    """
    locks = {n for n, d in whole.program.variables.items() if d.lock}
    names: set[str] = set()
    for process in whole.processes:
        for edge in process.flow.edges:
            if is_wait(process, edge):
                names |= reads(edge.guard)
                for choice in edge.choices:
                    names |= reads(choice.among)
    names = {n for n in names - locks if n in whole.program.variables}
    kept = _closure(whole, names)
    processes = {p.name for p in whole.processes}
    merge = rows(whole).can_merge(())
    smaller = lower(whole.program, kept.parts | processes, merge=merge)
    again = _closure(smaller, names)
    bones = project(smaller, Slice(again.variables - locks, again.parts))
    return replace(bones, processes=tuple(_in_any_order(p) for p in bones.processes))


def _in_any_order(process: LoweredProcess) -> LoweredProcess:
    # A loop that may take the CPUs in any order makes the CPUs symmetric.
    edges = [
        replace(e, choices=tuple(replace(c, order=Order.ANY) for c in e.choices))
        for e in process.flow.edges
    ]
    return replace(process, flow=replace(process.flow, edges=edges))


def _closure(lowered: Lowered, names: set[str]) -> Slice:
    parts = (Read(name, (), BOOL) for name in sorted(names))
    return relevant(lowered, (Property("waits", Expectation.ALWAYS, and_(*parts)),))


@dataclass
class Occupancy:
    """Collects from reached states which steps are under way together.

    `points` gives for each process and program point the steps that are under way
    there, and whether the process must be able to move for it.
    """

    points: Mapping[tuple[str, int], frozenset[str]]
    same: set[Pair] = field(default_factory=set)
    other: set[Pair] = field(default_factory=set)
    reached: set[str] = field(default_factory=set)

    def visit(self, where: Iterable[At], boot: int) -> None:
        """One state: where each process instance is."""
        found = [
            (boot if cpu is None else cpu, steps)
            for process, cpu, point in where
            if (steps := self.points.get((process, point)))
        ]
        for _, steps in found:
            self.reached |= steps
        for (first, a), (second, b) in combinations(found, 2):
            pairs = self.same if first == second else self.other
            for one in a:
                for two in b:
                    pairs.add((one, two))
                    pairs.add((two, one))

    def result(self, cpus: int, states: int) -> Parallel:
        basis = f"search of the waits-only skeleton, {cpus} CPUs, {states} states"
        same, other = frozenset(self.same), frozenset(self.other)
        return Parallel(same, other, basis, frozenset(self.reached))


def occupancy(bones: Lowered, found: Footprints) -> Occupancy:
    """What being at a program point of the skeleton means for the steps.

    A step is under way where it can go on. Who rests, or has not passed the first wait
    yet, has nothing under way; what the next action belongs to begins with that action.
    """
    points: dict[tuple[str, int], set[str]] = {}
    kept = {step_key(p.name, e) for p in bones.processes for e in p.flow.edges}
    for process in bones.processes:
        rests = process.flow.resting | ({process.entry} & process.flow.waits)
        for edge in process.flow.edges:
            at = edge.source
            if edge.source in rests or _enters(edge):
                at = edge.target
            steps = _stands_for(process, edge, found, kept)
            points.setdefault((process.name, at), set()).update(steps)
    return Occupancy({at: frozenset(steps) for at, steps in points.items()})


def _stands_for(
    process: LoweredProcess, edge: Edge, found: Footprints, kept: set[str]
) -> set[str]:
    steps = {step_key(process.name, edge)} & found.steps.keys()
    match = _invokes(edge)
    if match is None:
        return steps
    direction, section = match.groups()
    for step in found.steps.values():
        registered = step.callback
        if registered is None or step.process != process.name or step.key in kept:
            continue
        right = registered.callback.direction == direction
        if right and registered.section.value == section:
            steps.add(step.key)
    return steps


def landmarks(bones: Lowered) -> Property:
    """A property that reads the program points at which steps begin.

    Fusing keeps what a property reads, so a search of the fused skeleton sees them.
    """
    parts = []
    for process in bones.processes:
        index = (process.actor,) if process.actor else ()
        read = Read(location_variable(process.name), index, process.sort)
        parts += [eq(read, Const(at, process.sort)) for at in _begins(process)]
    return Property("steps", Expectation.SOMETIMES, or_(*parts))


def _begins(process: LoweredProcess) -> list[int]:
    entering: dict[int, set[str]] = {}
    found: set[int] = set()
    rests = process.flow.resting | ({process.entry} & process.flow.waits)
    for edge in process.flow.edges:
        entering.setdefault(edge.target, set()).add(step_key(process.name, edge))
    for edge in process.flow.edges:
        before = entering.get(edge.source, set())
        if before != {step_key(process.name, edge)} or _invokes(edge):
            found.add(edge.source)
        if edge.source in rests or _enters(edge):
            found.add(edge.target)
    return sorted(found)


def _enters(edge: Edge) -> bool:
    """Is this the test by which a callback is found? It belongs to its caller."""
    note = edge.note
    return bool(note and note.callback and _ENTERS.match(note.text))


def _invokes(edge: Edge) -> re.Match[str] | None:
    return INVOKES.search(edge.note.text) if edge.note else None


def point_of(process: LoweredProcess, name: str) -> int | None:
    """The program point that a location of the transition system comes from."""
    known = process.sort.values
    base = _UNROLLED.sub("", name)
    for candidate in (name, base):
        if candidate in known:
            return known.index(candidate)
    return None
