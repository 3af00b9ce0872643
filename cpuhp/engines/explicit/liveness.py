"""Termination and `leads to` under weak fairness, on the graph of all states.

An endless run is fair if no instance of a process that owes progress can always move
and never does. In a strongly connected part of the graph such a run exists if and only
if each instance moves inside it or cannot move somewhere in it; then a tour of the
whole part is one.

An environment may move for ever, and need not: that is nobody's work. So a run that it
goes on with alone is endless only if somebody else waits in it, who stays where he is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from time import monotonic

import networkx as nx

from cpuhp.engines.explicit.compile import Move
from cpuhp.engines.explicit.moves import Compiled
from cpuhp.engines.explicit.space import PlainSpace, at_rest, instance_of_move
from cpuhp.engines.explicit.trace import to_trace
from cpuhp.model.system import Expectation, Property
from cpuhp.model.verdict import Result, State, Trace, Verdict
from cpuhp.semantics import Instance, is_fair

Edge = tuple[int, int]  # bit of the instance that moves (0: environment), target


@dataclass
class Graph:
    """All states, numbered in breadth-first order from 0."""

    space: PlainSpace
    bits: dict[Instance, int]
    states: list[State] = field(default_factory=list)
    edges: list[list[Edge]] = field(default_factory=list)
    able: list[int] = field(default_factory=list)  # bits of the instances that can move
    starts: int = 0  # the first so many are initial
    resting: Callable[[State], object] | None = None  # made at first use
    stopped: str | None = None


@dataclass(frozen=True)
class _Question:
    """Is there a fair run that stays in `inside` for ever from a `seed` on?"""

    inside: Sequence[bool]
    seed: Sequence[bool]
    must_move: bool


def check_liveness(
    compiled: Compiled,
    props: Sequence[Property],
    exceeded: Callable[[int], str | None],
    progress: Callable[[int, int], None] | None = None,
) -> list[Result]:
    """The answers to TERMINATES and LEADS_TO properties, from one graph."""
    if not props:
        return []
    started = monotonic()
    graph = build_graph(compiled, exceeded, progress)
    return [_answer(graph, prop, started) for prop in props]


def build_graph(
    compiled: Compiled,
    exceeded: Callable[[int], str | None],
    progress: Callable[[int, int], None] | None = None,
) -> Graph:
    """Explore all states and keep the edges."""
    space = PlainSpace(compiled)
    graph = Graph(space, _bits(compiled))
    ids: dict[State, int] = {}
    for key in space.initial():
        state = space.state(key)
        ids[state] = len(ids)
        graph.states.append(state)
    graph.starts = len(ids)
    for number, state in enumerate(graph.states):  # grows under way
        edges: list[Edge] = []
        able = 0
        for move in compiled.moves(state):
            bit = graph.bits.get(instance_of_move(space, move[0], move[1]), 0)
            if compiled.machine.system.owes_progress(
                compiled.machine.system.actions[move[0]]
            ):
                able |= bit
            target = ids.setdefault(move[2], len(ids))
            if target == len(graph.states):
                graph.states.append(move[2])
            edges.append((bit, target))
        graph.edges.append(edges)
        graph.able.append(able)
        if number & 255 == 0:
            graph.stopped = exceeded(len(ids))
            if graph.stopped is not None:
                break
            if progress is not None:
                progress(len(ids), len(ids) - number)
    return graph


def _bits(compiled: Compiled) -> dict[Instance, int]:
    machine = compiled.machine
    owing = [
        (process.name, instance)
        for process in machine.system.processes
        if not process.environment
        for instance in machine.instances(process)
    ]
    return {who: 1 << number for number, who in enumerate(owing)}


def _answer(graph: Graph, prop: Property, started: float) -> Result:
    trace = None
    reason = graph.stopped
    verdict = Verdict.UNKNOWN
    if reason is None:
        trace = _violation(graph, _question(graph, prop))
        verdict = Verdict.PROVED if trace is None else Verdict.VIOLATED
        if not graph.states:
            reason = "no initial state satisfies the assumptions"
    else:
        reason = f"{reason} after {len(graph.states)} states"
    return Result(
        prop=prop,
        verdict=verdict,
        cpus=graph.space.compiled.machine.cpus,
        trace=trace,
        reason=reason,
        seconds=monotonic() - started,
        engine="explicit",
        stats={
            "states": len(graph.states),
            "transitions": sum(map(len, graph.edges)),
        },
    )


def _question(graph: Graph, prop: Property) -> _Question:
    everywhere = [True] * len(graph.states)
    if prop.expectation is Expectation.TERMINATES:
        return _Question(everywhere, everywhere, must_move=True)
    goal = graph.space.compiled.predicate(prop.goal)
    trigger = graph.space.compiled.predicate(prop.formula)
    inside = [not goal(state) for state in graph.states]
    seed = [
        waits and bool(trigger(state)) for waits, state in zip(inside, graph.states)
    ]
    return _Question(inside, seed, must_move=False)


def _violation(graph: Graph, question: _Question) -> Trace | None:
    reach = _reachable(graph, question)
    bad: dict[int, set[int]] = {}
    for part in _components(graph, reach):
        if _is_fair_part(graph, part, question.must_move):
            bad.update((node, part) for node in part)
    if not bad:
        return None
    stem = _stem(graph, question, bad)
    loop = _tour(graph, stem[-1], bad[stem[-1]], question.must_move)
    trace = _trace(graph, stem, loop)
    assert is_fair(graph.space.compiled.machine, trace)
    return trace


def _reachable(graph: Graph, question: _Question) -> set[int]:
    """The nodes that a run can come to from a seed without leaving `inside`."""
    stack = [n for n in range(len(graph.edges)) if question.seed[n]]
    found = set(stack)
    while stack:
        for _, target in graph.edges[stack.pop()]:
            if question.inside[target] and target not in found:
                found.add(target)
                stack.append(target)
    return found


def _components(graph: Graph, nodes: set[int]) -> Iterable[set[int]]:
    part = nx.DiGraph()
    part.add_nodes_from(sorted(nodes))
    part.add_edges_from(
        (node, target)
        for node in sorted(nodes)
        for _, target in graph.edges[node]
        if target in nodes
    )
    found: Iterable[set[int]] = nx.strongly_connected_components(part)
    return found


def _is_fair_part(graph: Graph, part: set[int], must_move: bool) -> bool:
    always = -1
    moves = [edge for node in part for edge in graph.edges[node] if edge[1] in part]
    for node in part:
        always &= graph.able[node]
    moved = _movers(moves)
    if must_move and not moved and (not moves or _is_at_rest(graph, min(part))):
        return False
    return not always & ~moved


def _movers(moves: Iterable[Edge]) -> int:
    """The bits of all who move."""
    moved = 0
    for bit, _ in moves:
        moved |= bit
    return moved


def _is_at_rest(graph: Graph, node: int) -> bool:
    """Has everybody who owes progress finished, or nothing to do?"""
    if graph.resting is None:
        formula = at_rest(graph.space.compiled.machine.system)
        graph.resting = graph.space.compiled.predicate(formula)
    return bool(graph.resting(graph.states[node]))


def _stem(graph: Graph, question: _Question, bad: dict[int, set[int]]) -> list[int]:
    """A shortest path from the start, through a seed, into a bad part."""
    Node = tuple[int, bool]
    before: dict[Node, Node | None] = {(n, False): None for n in range(graph.starts)}
    queue: deque[Node] = deque(before)
    while queue:
        node, bound = queue.popleft()
        if bound and node in bad:
            path: list[int] = []
            at: Node | None = (node, bound)
            while at is not None:
                path.append(at[0])
                at = before[at]
            return path[::-1]
        ahead = [(t, bound) for _, t in graph.edges[node]]
        if bound:
            ahead = [(t, True) for t, _ in ahead if question.inside[t]]
        elif question.seed[node] and (node, True) not in before:
            # Noticing the trigger is not a step: look at it before the next ones.
            before[node, True] = before[node, False]
            queue.appendleft((node, True))
        for after in ahead:
            if after not in before:
                before[after] = (node, bound)
                queue.append(after)
    raise AssertionError("a bad part that nothing leads to")


def _tour(graph: Graph, start: int, part: set[int], must_move: bool) -> list[Edge]:
    """Edges of a fair cycle through `start`; none if the run may rest there."""
    if not must_move and not graph.able[start]:
        return []
    owed = graph.able[start]
    tour: list[Edge] = []
    node = start
    alone = not _movers(e for n in part for e in graph.edges[n] if e[1] in part)
    while owed or must_move and not (tour if alone else _movers(tour)):
        wanted = owed & -owed
        for edge in _walk(graph, node, part, _settles(graph, wanted, alone)):
            tour.append(edge)
            node = edge[1]
            owed &= graph.able[node] & ~edge[0]
    if node != start:
        tour += _walk(graph, node, part, lambda edge: edge[1] == start)
    return tour


def _settles(graph: Graph, wanted: int, alone: bool) -> Callable[[Edge], bool]:
    """Whether an edge does what a tour lacks; the environment may be `alone` in it."""
    if not wanted:
        return lambda edge: alone or edge[0] != 0
    return lambda edge: bool(edge[0] & wanted or not graph.able[edge[1]] & wanted)


def _walk(
    graph: Graph, start: int, part: set[int], done: Callable[[Edge], bool]
) -> list[Edge]:
    """The shortest walk inside the part whose last edge is `done`."""
    before: dict[int, tuple[int, Edge] | None] = {start: None}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for edge in graph.edges[node]:
            if edge[1] not in part:
                continue
            if done(edge):
                walk = [edge]
                link = before[node]
                while link is not None:
                    walk.append(link[1])
                    link = before[link[0]]
                return walk[::-1]
            if edge[1] not in before:
                before[edge[1]] = (node, edge)
                queue.append(edge[1])
    raise AssertionError("a part that is not strongly connected")


def _trace(graph: Graph, stem: list[int], tour: list[Edge]) -> Trace:
    moves = [(graph.states[a], _move(graph, a, b, None)) for a, b in pairwise(stem)]
    node = stem[-1]
    for edge in tour:
        moves.append((graph.states[node], _move(graph, node, edge[1], edge[0])))
        node = edge[1]
    loop = len(stem) - 1 if tour else None
    return to_trace(graph.space, graph.states[node], moves, loop)


def _move(graph: Graph, node: int, target: int, bit: int | None) -> Move:
    after = graph.states[target]
    for move in graph.space.compiled.moves(graph.states[node]):
        who = instance_of_move(graph.space, move[0], move[1])
        if move[2] == after and bit in (None, graph.bits.get(who, 0)):
            return move
    raise AssertionError("an edge that no action makes")
