"""Fewer program points for claims about reachable states.

Where only "can this state be reached" is asked, points between which a process may move
without doing anything are one point, and so are points from which it can do the same
(bisimilar ones). Both keep the reachable values of everything else. They also keep which
accesses to a variable can be next: doing the same includes reading the same, so data
races on variables of which every access is kept stay what they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from cpuhp.language.compile import Lowered, LoweredProcess
from cpuhp.language.flow import Edge, is_silent
from cpuhp.model.expr import reads


def without_bystanders(
    lowered: Lowered,
    observed: frozenset[str],
    accessed: frozenset[str] = frozenset(),
) -> Lowered:
    """The program without processes that nothing which matters ever looks at.

    What matters first are the variables `observed` by the claims, and whoever accesses
    a variable in `accessed` (for data races).
    """
    needed = set(observed)
    for node in lowered.program.assumptions:
        needed |= reads(lowered.terms.boolean(node.condition, {}))
    kept: dict[str, LoweredProcess] = {}
    while True:
        before = len(kept)
        for process in lowered.processes:
            if process.name in kept:
                continue
            edges = process.flow.edges
            writes = frozenset[str]().union(*(edge.writes() for edge in edges))
            used = frozenset[str]().union(*(edge.reads() for edge in edges))
            races = (used | writes) & accessed
            if f"at.{process.name}" in needed or writes & needed or races:
                kept[process.name] = process
                needed |= used
        if len(kept) == before:
            return replace(
                lowered,
                processes=tuple(p for p in lowered.processes if p.name in kept),
            )


def quotient(edges: list[Edge], entry: int, apart: set[int]) -> tuple[list[Edge], int]:
    """The edges between classes of points, and the class of `entry`.

    Each class is named by one of its points. Points in `apart` are told from all others.
    """
    while True:
        edges, entry, _ = merged_loops(edges, entry, apart)
        points = _points(edges, entry)
        alike = _alike(edges, points, apart)
        edges, entry = _renamed(edges, alike), alike[entry]
        if len(set(alike.values())) == len(points):
            return edges, entry


def merged_loops(
    edges: list[Edge], entry: int, apart: set[int]
) -> tuple[list[Edge], int, set[int]]:
    """The edges with one point for each silent loop, the entry, and those points."""
    points = _points(edges, entry)
    names = _silent_loops(edges, points, apart)
    inside = {
        names[edge.source]
        for edge in edges
        if is_silent(edge) and names[edge.source] == names[edge.target]
    }
    return _renamed(edges, names), names[entry], inside


def _points(edges: list[Edge], entry: int) -> set[int]:
    return {entry} | {p for e in edges for p in (e.source, e.target)}


def _silent_loops(
    edges: list[Edge], points: set[int], apart: set[int]
) -> dict[int, int]:
    """For each point one that it can reach silently, and that can reach it."""
    import networkx as nx

    graph: nx.DiGraph = nx.DiGraph()
    graph.add_nodes_from(sorted(points))
    graph.add_edges_from(
        (edge.source, edge.target)
        for edge in edges
        if is_silent(edge) and not {edge.source, edge.target} & apart
    )
    return {
        point: min(component)
        for component in nx.strongly_connected_components(graph)
        for point in component
    }


def _renamed(edges: Iterable[Edge], names: dict[int, int]) -> list[Edge]:
    """The edges between classes, each once, without silent steps on the spot."""
    moved = (_between(edge, names[edge.source], names[edge.target]) for edge in edges)
    return list(
        dict.fromkeys(e for e in moved if e.source != e.target or not is_silent(e))
    )


def _alike(edges: list[Edge], points: set[int], apart: set[int]) -> dict[int, int]:
    """For each point the first of those from which the same can be done."""
    labels: dict[Edge, int] = {}
    does: dict[int, list[tuple[int, int]]] = {point: [] for point in points}
    for edge in edges:
        number = labels.setdefault(_between(edge, 0, 0), len(labels))
        does[edge.source].append((number, edge.target))
    name = {point: point if point in apart else -1 for point in points}
    while True:
        first: dict[object, int] = {}
        refined: dict[int, int] = {}
        for point in sorted(points):
            seen = frozenset([(label, name[target]) for label, target in does[point]])
            refined[point] = first.setdefault((name[point], seen), point)
        if len(set(refined.values())) == len(set(name.values())):
            return refined
        name = refined


def _between(edge: Edge, source: int, target: int) -> Edge:
    if (edge.source, edge.target) == (source, target):
        return edge
    return Edge(source, target, edge.guard, edge.choices, edge.effects, edge.note)


__all__ = ["merged_loops", "quotient", "without_bystanders"]
