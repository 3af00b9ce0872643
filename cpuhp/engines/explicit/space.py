"""What is searched: states, or orbits of states, and how to come back to states."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Protocol

from cpuhp.engines.explicit.moves import Compiled
from cpuhp.model.expr import (
    Boot,
    Const,
    Expr,
    Param,
    Read,
    and_,
    eq,
    forall,
    not_,
    or_,
)
from cpuhp.model.sorts import CPU
from cpuhp.model.system import Runs, TransitionSystem, location_sort
from cpuhp.model.verdict import State
from cpuhp.semantics import Instance, initial_states, instance_of

Key = Hashable
Test = Callable[[Key], object]


class Space(Protocol):
    """A graph of keys. A key stands for a state and all its mirror images."""

    @property
    def compiled(self) -> Compiled: ...

    def initial(self) -> list[Key]:
        """The keys of the initial states, each once."""

    def successors(self, key: Key) -> list[Key]:
        """The keys of all next states, perhaps some of them twice."""

    def key(self, state: State) -> Key:
        """The key that stands for a state."""

    def state(self, key: Key) -> State:
        """One of the states for which a key stands."""

    def mark(self, state: State, instance: Instance | None) -> Hashable:
        """A key of the state together with who moved last."""

    def test(self, formula: Expr) -> Test:
        """A formula as a test of keys."""


class PlainSpace:
    """Every state stands for itself."""

    def __init__(self, compiled: Compiled):
        self.compiled = compiled

    def initial(self) -> list[Key]:
        return list(dict.fromkeys(initial_states(self.compiled.machine)))

    def successors(self, key: Key) -> list[Key]:
        assert isinstance(key, tuple)
        return [move[2] for move in self.compiled.moves(key)]

    def key(self, state: State) -> Key:
        return state

    def state(self, key: Key) -> State:
        assert isinstance(key, tuple)
        return key

    def mark(self, state: State, instance: Instance | None) -> Hashable:
        return state, instance

    def test(self, formula: Expr) -> Test:
        predicate = self.compiled.predicate(formula)

        def test(key: Key) -> object:
            return predicate(self.state(key))

        return test


def at_rest(system: TransitionSystem) -> Expr:
    """Every process that owes progress is at a final or resting location."""
    parts: list[Expr] = []
    for process in system.processes:
        if process.environment:
            continue
        variable = system.variable(process.location)
        names = process.final | process.resting
        values = location_sort(system, process).values
        cpu = Param("at_rest", CPU)
        once = process.runs is Runs.ONCE
        here = Read(variable.name, () if once else (cpu,), variable.sort)
        quiet = or_(
            *(
                eq(here, Const(number, variable.sort))
                for number, name in enumerate(values)
                if name in names
            )
        )
        if process.runs is Runs.EVERY_AP:
            quiet = or_(eq(cpu, Boot()), quiet)
        parts.append(quiet if once else forall(cpu, quiet))
    return and_(*parts)


def stuck_test(space: Space) -> Callable[[Key, bool], bool]:
    """The test for a deadlock, of a key and whether it has successors."""
    busy = space.test(not_(at_rest(space.compiled.machine.system)))
    quiescent = quiescent_test(space)

    def stuck(key: Key, moves: bool) -> bool:
        return quiescent(key, moves) and bool(busy(key))

    return stuck


def quiescent_test(space: Space) -> Callable[[Key, bool], bool]:
    """Whether nobody who owes progress can move, of a key and if it has successors."""
    system = space.compiled.machine.system
    owing = [system.owes_progress(action) for action in system.actions]
    mixed = not all(owing)
    can_move = space.compiled.mover(owing) if mixed else space.compiled.moves

    def quiescent(key: Key, moves: bool) -> bool:
        if not moves or not mixed:
            return not moves
        return not can_move(space.state(key))

    return quiescent


def instance_of_move(space: Space, number: int, binding: tuple[int, ...]) -> Instance:
    """The process instance that makes a move."""
    return instance_of(space.compiled.machine.system.actions[number], binding)
