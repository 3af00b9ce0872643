"""Shortest runs, and among these the ones that switch process least often."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from cpuhp.engines.explicit.compile import Move
from cpuhp.engines.explicit.space import Key, Space, instance_of_move
from cpuhp.model.verdict import State, Step, Trace
from cpuhp.semantics import Instance, initial_states, instance_of, replay

_MOST_NODES = 20_000  # after which we look for few switches, not for fewest
_BEAM = 50


@dataclass(frozen=True)
class _Node:
    """A run to a state."""

    state: State
    last: Instance | None
    depth: int
    switches: int
    before: _Node | None
    move: Move | None


def shortest_trace(
    space: Space,
    layers: list[list[Key]],
    parents: dict[Key, Key | None],
    goals: list[Key],
    in_time: Callable[[], bool],
) -> Trace:
    """A run to one of `goals`, all of which lie in the last of the `layers`."""
    relevant = _relevant(space, layers, goals, in_time)
    if relevant is None:
        relevant = _chain(parents, goals[0])  # any shortest run will do
    best = _cheapest(space, relevant) or _cheap(space, relevant)
    return to_trace(space, best.state, _moves(best))


def _relevant(
    space: Space,
    layers: list[list[Key]],
    goals: list[Key],
    in_time: Callable[[], bool],
) -> list[set[Key]] | None:
    """Layer by layer, what lies on a shortest path; None when out of time."""
    wanted = [set(goals)]
    for layer in reversed(layers[:-1]):
        ahead = wanted[-1]
        if not in_time():
            return None
        wanted.append({k for k in layer if not ahead.isdisjoint(space.successors(k))})
    return wanted[::-1]


def _chain(parents: dict[Key, Key | None], goal: Key) -> list[set[Key]]:
    chain: list[set[Key]] = []
    key: Key | None = goal
    while key is not None:
        chain.append({key})
        key = parents[key]
    return chain[::-1]


def _cheapest(space: Space, relevant: list[set[Key]]) -> _Node | None:
    """Runs with no switch first, then those with one, and so on (0-1 search).

    None if there are too many of them.
    """
    queue = deque(_starts(space, relevant[0]))
    settled: set[Hashable] = set()
    while queue and len(settled) < _MOST_NODES:
        node = queue.popleft()
        mark = space.mark(node.state, node.last)
        if mark in settled:
            continue
        if node.depth == len(relevant) - 1:
            return node
        settled.add(mark)
        for ahead in _ahead(space, node, relevant):
            if ahead.switches == node.switches:
                queue.appendleft(ahead)
            else:
                queue.append(ahead)
    return None


def _cheap(space: Space, relevant: list[set[Key]]) -> _Node:
    """Layer by layer, going on from the best few only."""
    nodes = _starts(space, relevant[0])
    for _ in relevant[1:]:
        best: dict[Hashable, _Node] = {}
        for node in nodes:
            for ahead in _ahead(space, node, relevant):
                mark = space.mark(ahead.state, ahead.last)
                if mark not in best or ahead.switches < best[mark].switches:
                    best[mark] = ahead
        nodes = sorted(best.values(), key=lambda n: n.switches)[:_BEAM]
    return nodes[0]


def _starts(space: Space, wanted: set[Key]) -> list[_Node]:
    return [
        _Node(state, None, 0, 0, None, None)
        for state in initial_states(space.compiled.machine)
        if space.key(state) in wanted
    ]


def _ahead(space: Space, node: _Node, relevant: list[set[Key]]) -> Iterator[_Node]:
    for move in space.compiled.moves(node.state):
        if space.key(move[2]) in relevant[node.depth + 1]:
            last = instance_of_move(space, move[0], move[1])
            switches = node.switches + (node.last not in (None, last))
            yield _Node(move[2], last, node.depth + 1, switches, node, move)


def _moves(node: _Node) -> list[tuple[State, Move]]:
    found: list[tuple[State, Move]] = []
    at: _Node | None = node
    while at is not None and at.before is not None:
        assert at.move is not None
        found.append((at.before.state, at.move))
        at = at.before
    return found[::-1]


def to_trace(
    space: Space,
    last: State,
    moves: list[tuple[State, Move]],
    loop: int | None = None,
) -> Trace:
    """The trace of these moves, replayed in the concrete semantics."""
    machine = space.compiled.machine
    steps = tuple(
        Step(machine.system.actions[number], binding, after)
        for _, (number, binding, after) in moves
    )
    start = moves[0][0] if moves else last
    trace = Trace(machine.cpus, machine.boot, start, steps, loop)
    replay(machine, trace)
    return trace


def context_switches(trace: Trace) -> int:
    """How often the next step is another process instance's."""
    who = [instance_of(step.action, step.binding) for step in trace.steps]
    return sum(a != b for a, b in pairwise(who))
