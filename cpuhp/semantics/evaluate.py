"""The value of an expression in a state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cpuhp.model.expr import (
    Apply,
    Boot,
    Const,
    Expr,
    Op,
    Param,
    Quantified,
    Quantifier,
    Read,
    clamp,
)
from cpuhp.semantics.machine import Machine, default_value

Binding = Mapping[Param, int]
NOTHING: Binding = {}


def evaluate(
    machine: Machine, expr: Expr, state: Sequence[int], binding: Binding = NOTHING
) -> int:
    """The value of `expr`; truth is 1 and 0. Junctions and `?:` are lazy, as in C."""
    match expr:
        case Const(value, _):
            return value
        case Param():
            return binding[expr]
        case Boot():
            return machine.boot
        case Read(variable, indices, sort):
            where = tuple(evaluate(machine, i, state, binding) for i in indices)
            cell = machine.cell(variable, where)
            return default_value(sort) if cell is None else state[cell]
        case Apply():
            return _apply(machine, expr, state, binding)
        case Quantified():
            return _quantified(machine, expr, state, binding)


def holds(
    machine: Machine, formula: Expr, state: Sequence[int], binding: Binding = NOTHING
) -> bool:
    """Does the formula hold in the state?"""
    return evaluate(machine, formula, state, binding) != 0


def _apply(
    machine: Machine, expr: Apply, state: Sequence[int], binding: Binding
) -> int:
    def value(part: Expr) -> int:
        return evaluate(machine, part, state, binding)

    args = expr.args
    match expr.op:
        case Op.NOT:
            return 1 - value(args[0])
        case Op.AND:
            return int(all(value(a) for a in args))
        case Op.OR:
            return int(any(value(a) for a in args))
        case Op.EQ:
            return int(value(args[0]) == value(args[1]))
        case Op.LT | Op.BEFORE:
            return int(value(args[0]) < value(args[1]))
        case Op.LE:
            return int(value(args[0]) <= value(args[1]))
        case Op.ADD:
            return clamp(value(args[0]) + value(args[1]), expr.sort)
        case Op.SUB:
            return clamp(value(args[0]) - value(args[1]), expr.sort)
        case Op.ITE:
            return value(args[1]) if value(args[0]) else value(args[2])


def _quantified(
    machine: Machine, expr: Quantified, state: Sequence[int], binding: Binding
) -> int:
    found = (
        holds(machine, expr.body, state, {**binding, expr.param: element})
        for element in machine.elements(expr.param.sort)
    )
    match expr.kind:
        case Quantifier.FORALL:
            return int(all(found))
        case Quantifier.EXISTS:
            return int(any(found))
        case Quantifier.COUNT:
            return sum(found)
