"""What an expression is worth and looks at, where only some cells are known.

A value that depends on cells that are not known is None. Beside it stand the cells that
it depends on, as bits: those that are known and decide alone are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product

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
from cpuhp.semantics import Machine, default_value

Bits = int  # a set of cells: bit n is cell n
Seen = tuple[int | None, Bits]
Values = Mapping[int, int | None]  # by cell, for those that are known
Env = Mapping[Param, int]


@dataclass(frozen=True)
class Glance:
    """Looks at expressions on one machine.

    `skips` leaves out what a junction need not look at, as a known part decides it.
    """

    machine: Machine
    skips: bool = True

    def at(self, expr: Expr, env: Env, known: Values) -> Seen:
        """The value, or None, and the cells looked at."""
        match expr:
            case Const(value, _):
                return value, 0
            case Boot():
                return self.machine.boot, 0
            case Param():
                return env[expr], 0
            case Read(variable, indices, sort):
                cells, alone, seen = self.cells(variable, indices, env, known)
                if not alone:
                    return None, seen | cells
                if not cells:  # through NONE
                    return default_value(sort), seen
                return known.get(cells.bit_length() - 1), seen | cells
            case Quantified(kind, param, body):
                elements = self.machine.elements(param.sort)
                looked = (self.at(body, {**env, param: e}, known) for e in elements)
                if kind is not Quantifier.COUNT:
                    return self._junction(looked, kind is Quantifier.FORALL)
                parts = list(looked)
                values = [value for value, _ in parts if value is not None]
                whole = len(values) == len(parts)
                return sum(map(bool, values)) if whole else None, _all(parts)
            case Apply(Op.AND | Op.OR as op, args, _):
                looked = (self.at(arg, env, known) for arg in args)
                return self._junction(looked, op is Op.AND)
            case Apply(Op.ITE, (condition, yes, no), _):
                parts = [self.at(arg, env, known) for arg in (yes, no)]
                test, seen = self.at(condition, env, known)
                if test is not None:
                    taken, more = parts[0 if test else 1]
                    return taken, seen | (more if self.skips else _all(parts))
                same = parts[0][0] == parts[1][0]
                return parts[0][0] if same else None, seen | _all(parts)
            case Apply(op, args, sort):
                parts = [self.at(arg, env, known) for arg in args]
                values = [value for value, _ in parts if value is not None]
                if len(values) < len(parts):
                    return None, _all(parts)
                worth = _value(op, values)
                if op in (Op.ADD, Op.SUB):
                    worth = clamp(worth, sort)
                return worth, _all(parts)

    def _junction(self, parts: Iterable[Seen], is_and: bool) -> Seen:
        seen, sure, decided = 0, True, False
        for value, more in parts:
            seen |= more
            if value is None:
                sure = False
            elif bool(value) != is_and:
                if self.skips:
                    return int(not is_and), 0
                decided = True
        if decided:
            return int(not is_and), seen
        return int(is_and) if sure else None, seen

    def cells(
        self, variable: str, indices: tuple[Expr, ...], env: Env, known: Values
    ) -> tuple[Bits, bool, Bits]:
        """The cells that it may be; whether it is this one, or none; what decides it."""
        seen = 0
        spans: list[Iterable[int]] = []
        alone = True
        for sort, index in zip(self.machine.system.variable(variable).indices, indices):
            value, more = self.at(index, env, known)
            seen |= more
            alone = alone and value is not None
            spans.append(self.machine.elements(sort) if value is None else (value,))
        found = 0
        for where in product(*spans):
            cell = self.machine.cell(variable, where)
            if cell is not None:
                found |= 1 << cell
        return found, alone, seen


def _all(parts: Iterable[Seen]) -> Bits:
    bits = 0
    for _, seen in parts:
        bits |= seen
    return bits


def _value(op: Op, values: list[int]) -> int:
    match op:
        case Op.NOT:
            return int(not values[0])
        case Op.EQ:
            return int(values[0] == values[1])
        case Op.LT | Op.BEFORE:
            return int(values[0] < values[1])
        case Op.LE:
            return int(values[0] <= values[1])
        case Op.ADD:
            return values[0] + values[1]
        case _:
            return values[0] - values[1]
