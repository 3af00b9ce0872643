"""What can be done in a state: a machine's actions, by process and location."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter

from cpuhp.engines.explicit.compile import (
    Move,
    Predicate,
    Taker,
    compile_action,
    compile_formula,
)
from cpuhp.model.expr import Apply, Const, Expr, Op, Read, conjuncts
from cpuhp.model.system import Action, Process
from cpuhp.model.verdict import State
from cpuhp.semantics import Machine

Rows = tuple[tuple[int, ...], ...]  # by location, the numbers of actions


class _Table(dict[int, tuple[Taker, ...]]):
    """By location, what can be done there; made when somebody gets there.

    A search seldom gets to all locations, and many searches end early.
    """

    def __init__(self, takers: Takers, rows: Rows):
        super().__init__()
        self._takers, self._rows = takers, rows

    def __missing__(self, location: int) -> tuple[Taker, ...]:
        found = tuple(self._takers[number] for number in self._rows[location])
        self[location] = found
        return found


class Takers(dict[int, Taker]):
    """The functions of a machine's actions by number, each made when it is needed."""

    def __init__(self, machine: Machine):
        super().__init__()
        self._machine = machine

    def __missing__(self, number: int) -> Taker:
        action = self._machine.system.actions[number]
        found = self[number] = compile_action(self._machine, action, number)
        return found


@dataclass(frozen=True)
class Runner:
    """One process: where it stands, and what it can do from there."""

    name: str
    instances: tuple[tuple[int, int], ...]  # (actor or -1, cell of its location)
    rows: Rows
    table: _Table


@dataclass(frozen=True, eq=False)
class Compiled:
    """A machine with its actions and properties as functions."""

    machine: Machine
    takers: Takers
    runners: tuple[Runner, ...]

    def moves(self, state: State) -> list[Move]:
        """All enabled actions with the states they lead to, process by process."""
        out: list[Move] = []
        for runner in self.runners:
            table = runner.table
            for actor, cell in runner.instances:
                for take in table[state[cell]]:
                    take(state, actor, out)
        return out

    def moves_of(self, state: State, process: str, actor: int | None) -> list[Move]:
        """The moves of one process instance."""
        out: list[Move] = []
        for runner in self.runners:
            if runner.name == process:
                for who, cell in runner.instances:
                    if actor is None or who == actor:
                        for take in runner.table[state[cell]]:
                            take(state, who, out)
        return out

    def mover(self, wanted: Sequence[bool]) -> Callable[[State], bool]:
        """A test of states: is one of these actions (by number) enabled?"""
        tables = [
            (
                runner.instances,
                _Table(
                    self.takers,
                    tuple(tuple(n for n in row if wanted[n]) for row in runner.rows),
                ),
            )
            for runner in self.runners
        ]

        def can_move(state: State) -> bool:
            out: list[Move] = []
            for instances, table in tables:
                for actor, cell in instances:
                    for take in table[state[cell]]:
                        take(state, actor, out)
                        if out:
                            return True
            return False

        return can_move

    def predicate(self, formula: Expr) -> Predicate:
        """A function of a state that tells whether the formula holds."""
        made: Predicate = compile_formula(self.machine, formula)
        return made


def compile_machine(machine: Machine) -> Compiled:
    """The machine with its actions as functions, each made when it is needed."""
    takers = Takers(machine)
    runners = tuple(_runner(machine, p, takers) for p in machine.system.processes)
    return Compiled(machine, takers, runners)


def _runner(machine: Machine, process: Process, takers: Takers) -> Runner:
    points = machine.values(machine.system.variable(process.location).sort)
    rows: list[list[int]] = [[] for _ in points]
    for number, action in enumerate(machine.system.actions):
        if action.process == process.name:
            source = source_location(action, process)
            for point in points if source is None else (source,):
                rows[point].append(number)
    instances = []
    for actor in machine.instances(process):
        cell = machine.cell(process.location, () if actor is None else (actor,))
        assert cell is not None
        instances.append((-1 if actor is None else actor, cell))
    told = tuple(map(tuple, rows))
    return Runner(process.name, tuple(instances), told, _Table(takers, told))


def getter(cells: Sequence[int]) -> Callable[[State], tuple[int, ...]]:
    """A function of a state: what these cells hold."""
    match cells:
        case []:
            return lambda state: ()
        case [cell]:
            return lambda state: (state[cell],)
    return itemgetter(*cells)


def source_location(action: Action, process: Process) -> int | None:
    """The location that the guard demands of the actor, as a number, if it does."""
    where: tuple[Expr, ...] = (action.actor,) if action.actor else ()
    for test in conjuncts(action.guard):
        match test:
            case Apply(Op.EQ, (Read(variable, indices, _), Const(value, _)), _):
                if variable == process.location and indices == where:
                    return value
    return None
