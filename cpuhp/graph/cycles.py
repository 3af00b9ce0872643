"""Cycles that can block for ever: of locks, of waits, and of a lock and an interrupt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import networkx as nx

from cpuhp.graph.footprint import Footprints, Taken, is_wait, step_key
from cpuhp.language.compile import Lowered, LoweredProcess
from cpuhp.model.expr import reads


@dataclass(frozen=True)
class LockOrder:
    """`graph`: an edge from a held lock to one that is taken under it (data `steps`).

    `cycles`: locks that are taken in a circle. `nested`: two locks of one kind, of which
    two CPUs could take each other's. `inversions`: locks that an interrupt
    takes and that somebody else takes with interrupts on. `contexts`: in which contexts
    each lock is taken.
    """

    graph: nx.DiGraph
    kinds: Mapping[str, str]
    contexts: Mapping[str, tuple[str, ...]]
    users: Mapping[str, tuple[str, ...]]
    cycles: tuple[tuple[str, ...], ...]
    inversions: tuple[str, ...]
    nested: tuple[tuple[str, str], ...] = ()


def lock_order(found: Footprints) -> LockOrder:
    """The order in which locks nest, over all ways through the program."""
    graph: nx.DiGraph = nx.DiGraph()
    contexts: dict[str, dict[str, None]] = {}
    users: dict[str, dict[str, None]] = {}
    by_edge: dict[tuple[str, str], dict[str, None]] = {}
    for lock in sorted({taken.lock for taken in found.taken}):
        graph.add_node(lock)
    for taken in found.taken:
        contexts.setdefault(taken.lock, {})[taken.context] = None
        users.setdefault(taken.lock, {})[taken.step] = None
        for outer in sorted(taken.held):
            by_edge.setdefault((outer, taken.lock), {})[taken.step] = None
    for (outer, inner), steps in sorted(by_edge.items()):
        graph.add_edge(outer, inner, steps=tuple(steps))
    return LockOrder(
        graph,
        {lock: found.locks.get(lock.split("[")[0], "lock") for lock in graph},
        {lock: tuple(sorted(names)) for lock, names in contexts.items()},
        {lock: tuple(names) for lock, names in users.items()},
        _circles(graph),
        _inversions(found.taken),
        tuple((a, b) for a, b in graph.edges if a != b and _class(a) == _class(b)),
    )


def _class(lock: str) -> str:
    return lock.split("[")[0]


def _circles(graph: nx.DiGraph) -> tuple[tuple[str, ...], ...]:
    """Strongly connected parts with a cycle, each sorted, in order."""
    parts = [tuple(sorted(part)) for part in nx.strongly_connected_components(graph)]
    return tuple(sorted(p for p in parts if len(p) > 1 or graph.has_edge(p[0], p[0])))


def _inversions(taken: tuple[Taken, ...]) -> tuple[str, ...]:
    in_irq = {t.lock for t in taken if t.context == "interrupt"}
    open_ = {t.lock for t in taken if t.context == "irqs on"}
    return tuple(sorted(in_irq & open_))


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
