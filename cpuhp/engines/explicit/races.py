"""Data races: two instances about to touch the same plain memory."""

from __future__ import annotations

from cpuhp.engines.explicit.compile import Compiled, Move
from cpuhp.model.verdict import State
from cpuhp.semantics import Instance, Machine, accesses, cell_name, instance_of


class RaceFinder:
    """Looks for conflicting accesses of enabled actions in one state."""

    def __init__(self, compiled: Compiled):
        self.compiled = compiled
        system = compiled.machine.system
        self.plain = {v.name for v in system.variables if v.plain}
        self.uses = [(a.read | a.written) & self.plain for a in system.actions]
        self.sets = [a.written & self.plain for a in system.actions]

    def race(self, state: State) -> str | None:
        """What races in this state, as a sentence, or None."""
        moves = [m for m in self.compiled.moves(state) if self.uses[m[0]]]
        for position, first in enumerate(moves):
            for second in moves[:position]:
                if self._may_conflict(first, second):
                    found = self._conflict(state, second, first)
                    if found is not None:
                        return found
        return None

    def _who(self, move: Move) -> Instance:
        return instance_of(self.compiled.machine.system.actions[move[0]], move[1])

    def _may_conflict(self, a: Move, b: Move) -> bool:
        common = self.sets[a[0]] & self.uses[b[0]] or self.sets[b[0]] & self.uses[a[0]]
        return bool(common) and self._who(a) != self._who(b)

    def _conflict(self, state: State, a: Move, b: Move) -> str | None:
        machine = self.compiled.machine
        first, second = (machine.system.actions[m[0]] for m in (a, b))
        read_a, write_a = accesses(machine, state, first, a[1])
        read_b, write_b = accesses(machine, state, second, b[1])
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
