"""Shortest runs, and among these the ones that switch process least often."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from itertools import pairwise

from cpuhp.engines.explicit.compile import Move
from cpuhp.engines.explicit.space import Key, Space, instance_of_move
from cpuhp.model.verdict import State, Step, Trace
from cpuhp.semantics import Instance, initial_states, instance_of, replay


@dataclass(frozen=True)
class _Node:
    """The best way found to a state, given who moved last."""

    state: State
    last: Instance | None
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
        relevant = _chain(parents, goals[0])
    return _cheapest(space, relevant)


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


def _cheapest(space: Space, relevant: list[set[Key]]) -> Trace:
    machine = space.compiled.machine
    nodes: dict[Hashable, _Node] = {}
    for state in initial_states(machine):
        if space.key(state) in relevant[0]:
            nodes.setdefault(space.mark(state, None), _Node(state, None, 0, None, None))
    for wanted in relevant[1:]:
        nodes = _advance(space, nodes, wanted)
    best = min(nodes.values(), key=lambda node: node.switches)
    return to_trace(space, best.state, _moves(best))


def _advance(
    space: Space, nodes: dict[Hashable, _Node], wanted: set[Key]
) -> dict[Hashable, _Node]:
    ahead: dict[Hashable, _Node] = {}
    for node in nodes.values():
        for move in space.compiled.moves(node.state):
            if space.key(move[2]) not in wanted:
                continue
            last = instance_of_move(space, move[0], move[1])
            switches = node.switches + (node.last not in (None, last))
            mark = space.mark(move[2], last)
            known = ahead.get(mark)
            if known is None or switches < known.switches:
                ahead[mark] = _Node(move[2], last, switches, node, move)
    return ahead


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
