"""Which plain memory an action touches: the ground of the data race check."""

from __future__ import annotations

from itertools import product

from cpuhp.model.expr import Apply, Expr, Op, Param, Quantified, Read
from cpuhp.model.system import Action, chosen_among
from cpuhp.model.verdict import State
from cpuhp.semantics.evaluate import Binding, evaluate, holds
from cpuhp.semantics.machine import Machine


def accesses(
    machine: Machine, state: State, action: Action, values: tuple[int, ...]
) -> tuple[frozenset[int], frozenset[int]]:
    """The plain cells that an enabled action reads and writes.

    Operands that `&&`, `||` and `?:` skip are not read. A choice looks at all
    elements.
    """
    binding = dict(zip(action.params, values))
    read: set[int] = set()
    for choice in action.choices:
        for element in machine.elements(choice.param.sort):
            _visit(
                machine, choice.among, state, {**binding, choice.param: element}, read
            )
    _visit(machine, action.guard, state, binding, read)
    written: set[int] = set()
    for effect in action.effects:
        for chosen in product(*(machine.elements(p.sort) for p in effect.bound)):
            local: dict[Param, int] = {**binding, **dict(zip(effect.bound, chosen))}
            among = chosen_among(effect)
            if among and not any(holds(machine, a, state, local) for a in among):
                for test in among:
                    _visit(machine, test, state, local, read)
                continue
            for part in (*effect.indices, effect.value):
                _visit(machine, part, state, local, read)
            where = tuple(evaluate(machine, i, state, local) for i in effect.indices)
            cell = machine.cell(effect.variable, where)
            if cell is not None and machine.system.variable(effect.variable).plain:
                written.add(cell)
    return frozenset(read), frozenset(written)


def _visit(
    machine: Machine, expr: Expr, state: State, binding: Binding, read: set[int]
) -> None:
    match expr:
        case Read(variable, indices, _):
            for index in indices:
                _visit(machine, index, state, binding, read)
            where = tuple(evaluate(machine, i, state, binding) for i in indices)
            cell = machine.cell(variable, where)
            if cell is not None and machine.system.variable(variable).plain:
                read.add(cell)
        case Apply(Op.AND | Op.OR as op, args, _):
            for arg in args:
                _visit(machine, arg, state, binding, read)
                if holds(machine, arg, state, binding) == (op is Op.OR):
                    return
        case Apply(Op.ITE, (condition, yes, no), _):
            _visit(machine, condition, state, binding, read)
            taken = yes if holds(machine, condition, state, binding) else no
            _visit(machine, taken, state, binding, read)
        case Apply(_, args, _):
            for arg in args:
                _visit(machine, arg, state, binding, read)
        case Quantified(_, param, body):
            for element in machine.elements(param.sort):
                _visit(machine, body, state, {**binding, param: element}, read)
        case _:
            return
