"""From a trace whose steps are joined to one of single statements.

Unlike lifting (lifting.py), both systems leave out the same: each joined step stands
for some statements of the process that takes it, and nobody else moves meanwhile.
"""

from __future__ import annotations

import heapq
from functools import cached_property

from cpuhp.engines.clock import now
from cpuhp.engines.explicit.moves import Compiled, compile_machine
from cpuhp.engines.lifting import (
    Came,
    Node,
    ending,
    private_data,
    same_cells,
    trace_to,
)
from cpuhp.model.expr import Const, reads, walk
from cpuhp.model.sorts import EnumSort
from cpuhp.model.system import Property, TransitionSystem, location_sort
from cpuhp.model.verdict import State, Step, Trace
from cpuhp.semantics import Instance, Machine, initial_states, instance_of

MAX_NODES = 20_000
Distances = dict[str, int]  # from program points to where something happens


def unfold(
    single: TransitionSystem,
    prop: Property,
    joined: TransitionSystem,
    trace: Trace,
    max_nodes: int = MAX_NODES,
    until: float = float("inf"),
) -> Trace | None:
    """A run of `single`, statement by statement, that does what `trace` does.

    None if none was found within `max_nodes` states or before `until`.
    """
    machine = Machine(single, trace.cpus, trace.boot)
    small = Machine(joined, trace.cpus, trace.boot)
    common = same_cells(machine, small)
    looks = [tuple(trace.initial[c] for _, c in common)]
    looks += [tuple(step.state[c] for _, c in common) for step in trace.steps]
    search = _Search(machine, prop, trace, [cell for cell, _ in common], looks)
    given = {cell: trace.initial[other] for cell, other in common}
    for start in initial_states(machine, given):
        found = search.run(start, max_nodes, until)
        if found is not None or now() > until:
            return found
    return None


class _Search:
    """Best first: many steps done, then few statements to where the next one happens."""

    def __init__(
        self,
        machine: Machine,
        prop: Property,
        trace: Trace,
        cells: list[int],
        looks: list[State],
    ):
        self.machine, self.prop = machine, prop
        self.compiled: Compiled = compile_machine(machine)
        self.ends = ending(self.compiled, prop)
        self.cells, self.looks = cells, looks
        self.names = [machine.cells[c][0].name for c in cells]
        # On its way through a joined step a process may give its own data any value.
        alone = private_data(machine.system)
        self.public = [name not in alone for name in self.names]
        self.movers: list[Instance] = [
            instance_of(step.action, step.binding) for step in trace.steps
        ]
        self._known: dict[tuple[str, frozenset[str]], Distances] = {}

    @cached_property
    def finishers(self) -> set[Instance]:
        """Whoever may still have to get to where the claim looks, at the end."""
        seen = reads(self.prop.formula)
        processes = self.machine.system
        found = {m for m in self.movers if processes.process(m[0]).location in seen}
        return found or set(self.movers)

    def run(self, start: State, max_nodes: int, until: float) -> Trace | None:
        first: Node = (0, start)
        came: Came = {first: None}
        queue: list[tuple[int, int, int, Node]] = [(0, 0, 0, first)]
        while queue and len(came) < max_nodes and now() < until:
            node = heapq.heappop(queue)[-1]
            at, state = node
            last = at == len(self.movers)
            if last and self.ends(state):
                return trace_to(self.machine, start, came, node)
            if not last and self._look(state) == self.looks[at + 1]:
                # What a step does that nobody sees may also be done later.
                later = (at + 1, state)
                if later not in came:
                    came[later] = came[node]
                    self._push(queue, later, len(came))
            for number, binding, after in self._moves(at, state):
                reached = (at, after)
                if reached not in came:
                    action = self.machine.system.actions[number]
                    came[reached] = (node, Step(action, binding, after))
                    self._push(queue, reached, len(came))
        return None

    def _push(
        self, queue: list[tuple[int, int, int, Node]], node: Node, number: int
    ) -> None:
        heapq.heappush(queue, (-node[0], self._distance(*node), number, node))

    def _look(self, state: State) -> State:
        return tuple(state[c] for c in self.cells)

    def _moves(self, at: int, state: State) -> list[tuple[int, tuple[int, ...], State]]:
        last = at == len(self.movers)
        may = sorted(self.finishers, key=str) if last else [self.movers[at]]
        now = self.looks[at]
        then = now if last else self.looks[at + 1]
        return [
            move
            for instance in may
            for move in self.compiled.moves_of(state, *instance)
            if all(
                v in (a, b)
                for v, a, b, public in zip(self._look(move[2]), now, then, self.public)
                if public
            )
        ]

    def _distance(self, at: int, state: State) -> int:
        """How many statements the next mover has before it, at least."""
        if at == len(self.movers):
            points = self._points
            return sum(
                self._far(state, instance, frozenset(points.get(instance[0], ())))
                for instance in self.finishers
            )
        changed = frozenset(
            name
            for name, now, then in zip(
                self.names, self._look(state), self.looks[at + 1]
            )
            if now != then
        )
        process, _ = mover = self.movers[at]
        sources = frozenset(
            action.source
            for action in self.machine.system.actions
            if action.process == process and action.written & changed
        )
        return self._far(state, mover, sources)

    def _far(self, state: State, instance: Instance, goals: frozenset[str]) -> int:
        if not goals:
            return 0
        process, cpu = instance
        declared = self.machine.system.process(process)
        cell = self.machine.cell(declared.location, () if cpu is None else (cpu,))
        assert cell is not None
        names = location_sort(self.machine.system, declared).values
        return self._distances(process, goals).get(names[state[cell]], 1_000)

    @cached_property
    def _points(self) -> dict[str, set[str]]:
        """The program points of each process that the claim compares with."""
        found: dict[str, set[str]] = {}
        for part in walk(self.prop.formula):
            if isinstance(part, Const) and isinstance(part.sort, EnumSort):
                if part.sort.name.startswith("at."):
                    name = part.sort.name.removeprefix("at.")
                    found.setdefault(name, set()).add(part.sort.values[part.value])
        return found

    def _distances(self, process: str, goals: frozenset[str]) -> Distances:
        key = process, goals
        if key not in self._known:
            before: dict[str, list[str]] = {}
            for action in self.machine.system.actions:
                if action.process == process:
                    before.setdefault(action.target, []).append(action.source)
            found = dict.fromkeys(sorted(goals), 0)
            todo = list(found)
            for point in todo:
                for source in before.get(point, ()):
                    if source not in found:
                        found[source] = found[point] + 1
                        todo.append(source)
            self._known[key] = found
        return self._known[key]
