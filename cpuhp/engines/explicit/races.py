"""Data races: two instances about to touch the same plain memory."""

from __future__ import annotations

from itertools import product

from cpuhp.engines.explicit.compile import Move
from cpuhp.engines.explicit.moves import Compiled, Runner, source_location
from cpuhp.model.sorts import is_cpu
from cpuhp.model.system import Action, accesses
from cpuhp.model.verdict import State
from cpuhp.semantics import Instance, Machine, cell_name, instance_of
from cpuhp.semantics import accesses as accesses_in

Bits = tuple[int, int]  # cells that may be accessed, and those that may be written


class RaceFinder:
    """Looks for conflicting accesses of enabled actions in one state."""

    def __init__(self, compiled: Compiled):
        self.compiled = compiled
        system = compiled.machine.system
        self.plain = {v.name for v in system.variables if v.plain}
        self.uses = [(a.read | a.written) & self.plain for a in system.actions]
        self.sets = [a.written & self.plain for a in system.actions]
        # Per instance with such accesses: where its location is, and what it may
        # access from each.
        self._points: list[tuple[int, list[Bits]]] = []
        for runner in compiled.runners if self.plain else ():
            for actor, cell in runner.instances:
                table = self._table(runner, actor)
                if any(used for used, _ in table):
                    self._points.append((cell, table))

    def race(self, state: State) -> str | None:
        """What races in this state, as a sentence, or None."""
        if not self._may_race(state):
            return None
        moves = [m for m in self.compiled.moves(state) if self.uses[m[0]]]
        for position, first in enumerate(moves):
            for second in moves[:position]:
                if self._may_conflict(first, second):
                    found = self._conflict(state, second, first)
                    if found is not None:
                        return found
        return None

    def _may_race(self, state: State) -> bool:
        """Do two instances stand where they could race, whatever is enabled?"""
        used = written = 0
        for cell, table in self._points:
            uses, sets = table[state[cell]]
            if uses & written or sets & used:
                return True
            used |= uses
            written |= sets
        return False

    def _table(self, runner: Runner, actor: int) -> list[Bits]:
        """By location, what one instance may access there."""
        machine = self.compiled.machine
        process = machine.system.process(runner.name)
        table = [(0, 0)] * len(runner.rows)
        for action in machine.system.actions:
            if action.process != runner.name:
                continue
            used, written = self._cells(action, actor)
            source = source_location(action, process)
            for point in range(len(table)) if source is None else (source,):
                before = table[point]
                table[point] = before[0] | used, before[1] | written
        return table

    def _cells(self, action: Action, actor: int) -> Bits:
        used = written = 0
        for name, indices in accesses(action.guard, action.choices, action.effects):
            if name in self.plain:
                own = bool(indices) and indices[0] == action.actor
                used |= self._bits(name, actor if own else None)
        for effect in action.effects:
            if effect.variable in self.plain:
                own = bool(effect.indices) and effect.indices[0] == action.actor
                written |= self._bits(effect.variable, actor if own else None)
        return used, written

    def _bits(self, name: str, cpu: int | None) -> int:
        """The cells of a variable, or those of one CPU only, as a mask."""
        machine = self.compiled.machine
        sorts = machine.system.variable(name).indices
        ranges = [machine.elements(sort) for sort in sorts]
        if cpu is not None and is_cpu(sorts[0]):
            ranges[0] = range(cpu, cpu + 1)
        mask = 0
        for where in product(*ranges):
            cell = machine.cell(name, where)
            assert cell is not None
            mask |= 1 << cell
        return mask

    def _who(self, move: Move) -> Instance:
        return instance_of(self.compiled.machine.system.actions[move[0]], move[1])

    def _may_conflict(self, a: Move, b: Move) -> bool:
        common = self.sets[a[0]] & self.uses[b[0]] or self.sets[b[0]] & self.uses[a[0]]
        return bool(common) and self._who(a) != self._who(b)

    def _conflict(self, state: State, a: Move, b: Move) -> str | None:
        machine = self.compiled.machine
        first, second = (machine.system.actions[m[0]] for m in (a, b))
        read_a, write_a = accesses_in(machine, state, first, a[1])
        read_b, write_b = accesses_in(machine, state, second, b[1])
        both = write_a & (read_b | write_b) | write_b & read_a
        if not both:
            return None
        name = cell_name(machine, min(both))
        one, other = (_who_and_what(machine, m) for m in (a, b))
        return f"{one} and {other} both access {name}"


def _who_and_what(machine: Machine, move: Move) -> str:
    """The instance that moves, and the statement that it is about to execute."""
    action = machine.system.actions[move[0]]
    who = action.process
    if action.actor is not None:
        who += f" on CPU{move[1][0]}"
    return f'{who} ("{action.text}")' if action.text else who
