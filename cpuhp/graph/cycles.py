"""Cycles that can block for ever: of locks, of waits, and of a lock and an interrupt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import networkx as nx

from cpuhp.graph.footprint import Taken, footprints, is_wait, step_key
from cpuhp.graph.holding import Hold
from cpuhp.language.compile import Lowered, LoweredProcess
from cpuhp.language.program import Dependency, Program
from cpuhp.language.watching import blocks, queued, watched
from cpuhp.model.expr import reads

Pair = tuple[str, str]  # names of a lock that is held, and of one that is taken then


@dataclass(frozen=True)
class LockOrder:
    """`graph`: an edge from a held lock to one that is taken under it (data `steps`).

    `circular`: the dependencies that lie on a circle of which each lock may be waited
    for; without any, no run can have an inversion (NOTE(lock-order)). Of these, `cycles`
    are locks that are taken in a circle, `nested` two locks of one kind, of which two
    CPUs could take each other's, and `interrupted` a lock that an interrupt may find held
    on its own CPU and the one that it asks for, with the steps that do. `contexts`: in
    which contexts each lock is taken.
    """

    graph: nx.DiGraph
    kinds: Mapping[str, str]
    contexts: Mapping[str, tuple[str, ...]]
    users: Mapping[str, tuple[str, ...]]
    circular: tuple[Dependency, ...]
    cycles: tuple[tuple[str, ...], ...]
    interrupted: Mapping[Pair, tuple[str, ...]]
    nested: tuple[Pair, ...] = ()

    @property
    def inversions(self) -> tuple[str, ...]:
        """Locks that an interrupt may find held on its own CPU."""
        return tuple(sorted({held for held, _ in self.interrupted}))


def lock_order(lowered: Lowered) -> LockOrder:
    """The order in which locks nest, over all ways through the program.

    NOTE(lock-order): what a process holds at a point is over-approximated, by sets that
    each step maps to those after it, and so is what an interrupt handler finds held. So
    each dependency that some run shows is among these, for every number of CPUs. Two
    locks of one name (of two CPUs) are taken for the same one.
    """
    found = footprints(lowered)
    graph: nx.DiGraph = nx.DiGraph()
    contexts: dict[str, dict[str, None]] = {}
    users: dict[str, dict[str, None]] = {}
    for taken in sorted(found.taken, key=lambda taken: taken.lock.name):
        graph.add_node(taken.lock.name)
    for taken in found.taken:
        contexts.setdefault(taken.lock.name, {})[taken.context] = None
        users.setdefault(taken.lock.name, {})[taken.step] = None
    nested = [(held, taken) for taken in found.taken for held in taken.held]
    for pair, steps in sorted(_steps(nested).items()):
        graph.add_edge(*pair, steps=steps)
    below = [(held, taken) for taken in found.taken for held in taken.stopped]
    circular = on_circles(queued(lowered), map(_dependency, _asking(nested + below)))
    inside = _steps([n for n in _asking(nested) if _dependency(n) in circular])
    stopped = _steps([n for n in _asking(below) if _dependency(n) in circular])
    return LockOrder(
        graph,
        {lock: found.locks.get(lock.split("[")[0], "lock") for lock in graph},
        {lock: tuple(sorted(names)) for lock, names in contexts.items()},
        {lock: tuple(names) for lock, names in users.items()},
        circular,
        _circles(graph.edge_subgraph(pair for pair in inside if _is_sure(pair))),
        dict(sorted(stopped.items())),
        tuple(sorted(pair for pair in inside if not _is_sure(pair))),
    )


Nesting = tuple[Hold, Taken]  # a lock that is held, and another one that is taken then


def _asking(nestings: list[Nesting]) -> list[Nesting]:
    return [(held, taken) for held, taken in nestings if taken.asks]


def _dependency(nesting: Nesting) -> Dependency:
    held, taken = nesting
    return held.grip, taken.lock.grip


def _steps(nestings: list[Nesting]) -> dict[Pair, tuple[str, ...]]:
    """By the names of the two locks, the steps that nest them."""
    found: dict[Pair, dict[str, None]] = {}
    for held, taken in nestings:
        found.setdefault((held.name, taken.lock.name), {})[taken.step] = None
    return {pair: tuple(steps) for pair, steps in found.items()}


def watching(lowered: Lowered) -> Program:
    """The program in which a run tells whether it has an inversion.

    Only dependencies that could be part of one are watched: if there are none, the claim
    is true of the text.
    """
    return watched(lowered, lock_order(lowered).circular)


def on_circles(
    queued: frozenset[str], dependencies: Iterable[Dependency]
) -> tuple[Dependency, ...]:
    """Those on a circle in which each lock is asked for as it may be waited for."""
    graph: nx.DiGraph = nx.DiGraph()
    graph.add_nodes_from(sorted(set(dependencies)))
    graph.add_edges_from(
        (one, other)
        for one in graph
        for other in graph
        if blocks(queued, one[1], other[0])
    )
    return tuple(sorted(d for part in _circles(graph) for d in part))


def _is_sure(pair: Pair) -> bool:
    """Is it one order of two locks, not that of two CPUs' locks of one kind?"""
    one, other = pair
    return one == other or _class(one) != _class(other)


def _class(lock: str) -> str:
    return lock.split("[")[0]


def _circles(graph: nx.DiGraph) -> tuple[tuple[Any, ...], ...]:
    """Strongly connected parts with a cycle, each sorted, in order."""
    parts = [tuple(sorted(part)) for part in nx.strongly_connected_components(graph)]
    return tuple(sorted(p for p in parts if len(p) > 1 or graph.has_edge(p[0], p[0])))


def wait_cycles(lowered: Lowered) -> tuple[tuple[str, ...], ...]:
    """Steps that wait for each other in a circle.

    One wait needs another if whoever could satisfy it has passed the other before. A
    circle blocks for ever unless one of its conditions holds from the start.
    """
    locks = {n for n, d in lowered.program.variables.items() if d.lock}
    waits: dict[tuple[str, int], tuple[str, frozenset[str]]] = {}
    writers: dict[str, list[tuple[str, int]]] = {}
    before = {process.name: _dominators(process) for process in lowered.processes}
    for process in lowered.processes:
        for edge in process.flow.edges:
            for variable in edge.writes():
                writers.setdefault(variable, []).append((process.name, edge.source))
            names = reads(edge.guard) & lowered.program.variables.keys()
            if is_wait(process, edge) and names and not names & locks:
                key = step_key(process.name, edge)
                waits[(process.name, edge.source)] = (key, names)
    graph: nx.DiGraph = nx.DiGraph()
    for at, (_, names) in waits.items():
        sources = [w for name in sorted(names) for w in writers.get(name, [])]
        if not sources:
            continue
        for other in waits:
            if all(p == other[0] and other[1] in before[p].get(point, ())
                   for p, point in sources):  # fmt: skip
                graph.add_edge(at, other)
    circles = []
    for part in nx.strongly_connected_components(graph):
        some = next(iter(part))
        if len(part) > 1 or graph.has_edge(some, some):
            circles.append(tuple(sorted({waits[at][0] for at in part})))
    return tuple(sorted(circles))


def _dominators(process: LoweredProcess) -> dict[int, set[int]]:
    """For each point, the points that are passed on every way to it, itself too."""
    graph: nx.DiGraph = nx.DiGraph()
    graph.add_node(process.entry)
    graph.add_edges_from((edge.source, edge.target) for edge in process.flow.edges)
    parent = dict(nx.immediate_dominators(graph, process.entry))
    found: dict[int, set[int]] = {}
    for point in parent:
        chain = {point}
        at = point
        while at != process.entry and parent.get(at) not in (None, at):
            at = parent[at]
            chain.add(at)
        found[point] = chain
    return found
