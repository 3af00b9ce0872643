"""Initial states, enabled actions, and what an action does to a state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import overload

from cpuhp.model.expr import Apply, Expr, Op, Param, Quantified, Quantifier, clamp
from cpuhp.model.sorts import format_value
from cpuhp.model.system import Action, Assign, Choice, Order, Role, Variable
from cpuhp.model.verdict import State
from cpuhp.semantics.evaluate import evaluate, holds
from cpuhp.semantics.machine import Machine

Values = tuple[int, ...]


def initial_states(
    machine: Machine, given: Mapping[int, int] | None = None
) -> Iterator[State]:
    """The states that satisfy the initial values and the assumptions, in order.

    A variable without an initial value takes every value of its sort; a location
    without one starts where its process does. `given` fixes the value of cells.
    """
    free = [n for n, (variable, _) in enumerate(machine.cells) if is_free(variable)]
    demands = [
        demand
        for assumption in machine.system.assumptions
        for demand in _demands(machine, assumption, {})
    ]
    yield from _fill(machine, _Partial(machine), tuple(free), given or {}, demands)


def is_initial(machine: Machine, state: State) -> bool:
    """Is this one of the initial states?"""
    if len(state) != len(machine.cells):
        return False
    for variable in machine.system.variables:
        found = _cells(machine, variable, state)
        if is_free(variable):
            if any(value not in machine.values(variable.sort) for value in found):
                return False
        elif found != _initial_cells(machine, variable, state):
            return False
    return all(holds(machine, a, state) for a in machine.system.assumptions)


def enabled(machine: Machine, state: State) -> list[tuple[Action, Values]]:
    """The actions that can be taken: as declared, then by the parameters' values."""
    return [
        (action, binding)
        for action in machine.system.actions
        for binding in bindings(machine, state, action)
    ]


def bindings(machine: Machine, state: State, action: Action) -> Iterator[Values]:
    """The values of `action.params` with which the action is enabled."""
    actors: list[dict[Param, int]] = [{}]
    if action.actor:
        actors = [{action.actor: actor} for actor in machine.actor_domain(action)]
    for start in actors:
        for chosen in _choose(machine, state, action.choices, start):
            if holds(machine, action.guard, state, chosen):
                yield tuple(chosen.values())


def is_enabled(machine: Machine, state: State, action: Action, values: Values) -> bool:
    """Can the action be taken with these values of its parameters?"""
    return values in set(bindings(machine, state, action))


def apply(machine: Machine, state: State, action: Action, values: Values) -> State:
    """The state after the action. All values are read before any is assigned."""
    binding = dict(zip(action.params, values))
    after = list(state)
    for effect in action.effects:
        for cell, value in _assigned(machine, state, effect, binding):
            after[cell] = value
    return tuple(after)


def is_quiescent(machine: Machine, state: State) -> bool:
    """Nobody who owes progress can move any more."""
    return not can_progress(machine, state)


def is_stuck(machine: Machine, state: State) -> bool:
    """A deadlock: no process that owes progress can move, and one ought to.

    A process ought to move unless it is at a final or a resting location.
    """
    return not can_progress(machine, state) and not is_at_rest(machine, state)


def can_progress(machine: Machine, state: State) -> bool:
    """Can somebody move who owes progress (no environment, no new interrupt)?"""
    return any(
        True
        for action in machine.system.actions
        if machine.system.owes_progress(action)
        for _ in bindings(machine, state, action)
    )


def is_at_rest(machine: Machine, state: State) -> bool:
    """Is every process that owes progress at a final or a resting location?"""
    for process in machine.system.processes:
        if process.environment:
            continue
        names = machine.system.variable(process.location)
        quiet = process.final | process.resting
        for instance in machine.instances(process):
            cell = machine.cell(names.name, () if instance is None else (instance,))
            assert cell is not None
            if location_name(names, state[cell]) not in quiet:
                return False
    return True


def location_name(variable: Variable, value: int) -> str:
    """The program point that a value of a location variable stands for."""
    return format_value(variable.sort, value)


def _choose(
    machine: Machine,
    state: State,
    choices: tuple[Choice, ...],
    binding: dict[Param, int],
) -> Iterator[dict[Param, int]]:
    if not choices:
        yield binding
        return
    choice, later = choices[0], choices[1:]
    elements = machine.elements(choice.param.sort)
    if choice.order is Order.LAST:
        elements = elements[::-1]
    for element in elements:
        chosen = {**binding, choice.param: element}
        if holds(machine, choice.among, state, chosen):
            yield from _choose(machine, state, later, chosen)
            if choice.order is not Order.ANY:
                return


def _assigned(
    machine: Machine, state: State, effect: Assign, binding: dict[Param, int]
) -> Iterator[tuple[int, int]]:
    sort = machine.system.variable(effect.variable).sort
    for values in product(*(machine.elements(p.sort) for p in effect.bound)):
        local = {**binding, **dict(zip(effect.bound, values))}
        where = tuple(evaluate(machine, i, state, local) for i in effect.indices)
        cell = machine.cell(effect.variable, where)
        if cell is not None:
            yield cell, clamp(evaluate(machine, effect.value, state, local), sort)


def is_free(variable: Variable) -> bool:
    """Does the variable start with any value that the assumptions admit?"""
    return variable.initial is None and variable.role is not Role.LOCATION


class _Unknown(Exception):
    """A cell is read that has no value yet."""


class _Partial(Sequence[int]):
    """A state of which some cells have no value yet."""

    def __init__(self, machine: Machine):
        self.cells: list[int | None] = [None] * len(machine.cells)

    def __len__(self) -> int:
        return len(self.cells)

    @overload
    def __getitem__(self, at: int) -> int: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[int]: ...
    def __getitem__(self, at: int | slice) -> int | Sequence[int]:
        assert isinstance(at, int)
        value = self.cells[at]
        if value is None:
            raise _Unknown
        return value


@dataclass(frozen=True)
class _Demand:
    """A part of an assumption, told of certain elements."""

    formula: Expr
    binding: dict[Param, int]

    def holds(self, machine: Machine, state: Sequence[int]) -> bool | None:
        """None: that depends on cells without a value."""
        try:
            return holds(machine, self.formula, state, self.binding)
        except _Unknown:
            return None


def _fill(
    machine: Machine,
    state: _Partial,
    free: Values,
    given: Mapping[int, int],
    demands: list[_Demand],
) -> Iterator[State]:
    # Cell by cell, giving up as soon as a demand fails: the topologies of eight CPUs
    # are far too many to try each to its end. What holds is not looked at again.
    if not free:
        yield from _complete(machine, state)
        return
    cell, later = free[0], free[1:]
    for value in machine.values(machine.cells[cell][0].sort):
        if given.get(cell, value) != value:
            continue
        state.cells[cell] = value
        open_demands = []
        for demand in demands:
            held = demand.holds(machine, state)
            if held is False:
                break
            if held is None:
                open_demands.append(demand)
        else:
            yield from _fill(machine, state, later, given, open_demands)
    state.cells[cell] = None


def _demands(
    machine: Machine, expr: Expr, binding: dict[Param, int]
) -> Iterator[_Demand]:
    """The conjuncts of an assumption, one for each of the elements it speaks of."""
    match expr:
        case Apply(Op.AND, args, _):
            for arg in args:
                yield from _demands(machine, arg, binding)
        case Quantified(Quantifier.FORALL, param, body):
            for element in machine.elements(param.sort):
                yield from _demands(machine, body, {**binding, param: element})
        case _:
            yield _Demand(expr, binding)


def _complete(machine: Machine, state: _Partial) -> Iterator[State]:
    """Compute the cells that have an initial value, and test the assumptions."""
    given = list(state.cells)
    for variable in machine.system.variables:
        if not is_free(variable):
            start = machine.offsets[variable.name]
            values = _initial_cells(machine, variable, state)
            state.cells[start : start + len(values)] = values
    full = tuple(state[cell] for cell in range(len(state)))
    state.cells[:] = given
    if all(holds(machine, a, full) for a in machine.system.assumptions):
        yield full


def _cells(machine: Machine, variable: Variable, state: State) -> Values:
    start = machine.offsets[variable.name]
    return state[start : start + machine.width(variable)]


def _initial_cells(
    machine: Machine, variable: Variable, state: Sequence[int]
) -> Values:
    """The initial values; they may read free variables and ones declared before."""
    width = machine.width(variable)
    if variable.initial is None:
        processes = machine.system.processes
        owner = next(p for p in processes if p.location == variable.name)
        return (machine.initial_location(owner),) * width
    return tuple(
        clamp(
            evaluate(
                machine,
                variable.initial,
                state,
                dict(zip(variable.index_params, indices)),
            ),
            variable.sort,
        )
        for indices in product(*map(machine.elements, variable.indices))
    )
