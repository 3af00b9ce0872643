"""Expressions of a scenario as Python source over one mutable list, for a simulation.

A boolean variable with a value per CPU is one integer, bit by bit, so that "all CPUs of
this mask have acknowledged" is a single operation for any number of CPUs. Every other
value has a cell of its own. As in the explicit engine, no text of a spec enters the
source that is made here: only numbers and names of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
    and_,
    walk,
)
from cpuhp.model.sorts import BoolSort, EnumSort, IndexSort, RangeSort, Sort
from cpuhp.model.system import Variable
from cpuhp.semantics import default_value

Env = dict[Param, str]

BOOT = "0"


@dataclass
class Layout:
    """Where variables lie in the list of values; the same for every number of CPUs.

    Variable n is item n + 1: a value, a mask, or a list of values or masks by the
    variable's indices, the last one running fastest.
    """

    variables: Sequence[Variable]
    sizes: Mapping[str, int]  # of the index sorts other than cpu
    known: dict[str, Variable] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, variable in enumerate(self.variables):
            self.known[variable.name] = variable
            self.numbers[variable.name] = number + 1

    def size(self, sort: IndexSort) -> str:
        """Source of the number of elements."""
        return "N" if sort.name == "cpu" else str(self.sizes[sort.name])

    def is_mask(self, variable: Variable) -> bool:
        indices = variable.indices
        return (
            isinstance(variable.sort, BoolSort)
            and bool(indices)
            and indices[-1].name == "cpu"
        )

    def dimensions(self, variable: Variable) -> tuple[IndexSort, ...]:
        """The indices that tell cells apart; of a mask all but the last."""
        return variable.indices[: -1 if self.is_mask(variable) else None]


@dataclass
class Writer:
    """Turns expressions into source."""

    layout: Layout
    names: int = 0

    def fresh(self, prefix: str = "x") -> str:
        self.names += 1
        return f"{prefix}{self.names}"

    # -- single values -------------------------------------------------------

    def code(self, expr: Expr, env: Env) -> str:
        match expr:
            case Const(value, _):
                return str(value) if value >= 0 else f"({value})"
            case Param():
                return env[expr]
            case Boot():
                return BOOT
            case Read():
                return self.read(expr, env)
            case Quantified():
                return self.quantified(expr, env)
            case Apply():
                return self.apply(expr, env)

    def index(
        self, expr: Expr, env: Env, tests: list[str], lead: list[str] | None = None
    ) -> str:
        """Source of an index; a test that it is somebody, where it may be nobody.

        With `lead` its value is taken in a line of its own, before anything is stored.
        """
        code = self.code(expr, env)
        if isinstance(expr, Param | Boot) or code.isdigit():
            return code
        name = self.fresh()
        if lead is None:
            tests.append(f"({name} := {code}) >= 0")
        else:
            lead.append(f"{name} = {code}")
            tests.append(f"{name} >= 0")
        return name

    def cell(
        self,
        variable: str,
        indices: tuple[Expr, ...],
        env: Env,
        lead: list[str] | None = None,
    ) -> Cell:
        """Source of a value's place. Of a mask the last index is the bit."""
        known = self.layout.known[variable]
        tests: list[str] = []
        bit = last = None
        if self.layout.is_mask(known):
            last = bit = self.index(indices[-1], env, tests, lead)
            indices = indices[:-1]
        item = f"S[{self.layout.numbers[variable]}]"
        offset = ""
        sorts = self.layout.dimensions(known)
        for sort, index in zip(sorts, indices):
            code = self.index(index, env, tests, lead)
            last = code if bit is None else last
            size = self.layout.size(sort)
            offset = f"({offset}) * {size} + {code}" if offset else code
        return Cell(tests, f"{item}[{offset}]" if offset else item, bit, last)

    def read(self, expr: Read, env: Env) -> str:
        place = self.cell(expr.variable, expr.indices, env)
        code = place.code if place.bit is None else f"({place.code} >> {place.bit} & 1)"
        if not place.tests:
            return code
        return (
            f"({code} if {' and '.join(place.tests)} else {default_value(expr.sort)})"
        )

    def apply(self, expr: Apply, env: Env) -> str:
        args = [self.code(a, env) for a in expr.args]
        match expr.op:
            case Op.AND:
                return f"({' and '.join(args)})"
            case Op.OR:
                return f"({' or '.join(args)})"
            case Op.NOT:
                return f"(not {args[0]})"
            case Op.EQ:
                boolean = isinstance(expr.args[0].sort, BoolSort)
                a, b = (f"bool({x})" for x in args) if boolean else args
                return f"({a} == {b})"
            case Op.LT | Op.BEFORE:
                return f"({args[0]} < {args[1]})"
            case Op.LE:
                return f"({args[0]} <= {args[1]})"
            case Op.ADD | Op.SUB:
                sign = "+" if expr.op is Op.ADD else "-"
                return self.clamp(f"{args[0]} {sign} {args[1]}", expr.sort)
            case Op.ITE:
                return f"({args[1]} if {args[0]} else {args[2]})"

    def clamp(self, code: str, sort: Sort) -> str:
        if isinstance(sort, RangeSort):
            return f"max({sort.low}, min({sort.high}, {code}))"
        if isinstance(sort, EnumSort):
            return f"max(0, min({len(sort.values) - 1}, {code}))"
        return f"({code})"

    def value(self, expr: Expr, env: Env, sort: Sort) -> str:
        code = self.code(expr, env)
        if isinstance(sort, BoolSort) and not code.isdigit():
            return f"(1 if {code} else 0)"
        return code if isinstance(expr, Const) else self.clamp(code, sort)

    def quantified(self, expr: Quantified, env: Env) -> str:
        if expr.param.sort.name == "cpu":
            mask = self.mask(expr.body, expr.param, env)
            match expr.kind:
                case Quantifier.FORALL:
                    return f"({mask} == F)"
                case Quantifier.EXISTS:
                    return f"({mask} != 0)"
                case Quantifier.COUNT:
                    return f"({mask}).bit_count()"
        size = self.layout.sizes[expr.param.sort.name]
        parts = [self.code(expr.body, env | {expr.param: str(e)}) for e in range(size)]
        match expr.kind:
            case Quantifier.FORALL:
                return f"({' and '.join(parts)})"
            case Quantifier.EXISTS:
                return f"({' or '.join(parts)})"
            case Quantifier.COUNT:
                return f"({' + '.join(f'bool({part})' for part in parts)})"

    # -- the same for all CPUs at once ---------------------------------------

    def mask(self, body: Expr, param: Param, env: Env) -> str:
        """Source of an integer: bit c is the value of `body` for `param` = c."""
        found = self._bits(body, param, env)
        if found is not None:
            return found
        if isinstance(body, Apply) and body.op is Op.AND:
            bits = [(a, self._bits(a, param, env)) for a in body.args]
            quick = [code for _, code in bits if code is not None]
            slow = and_(*(a for a, code in bits if code is None))
            among = " & ".join(quick) if quick else "F"
        else:
            slow, among = body, "F"
        name = self.fresh("q")
        code = self.code(slow, env | {param: name})
        return f"select({among}, lambda {name}: {code})"

    def _bits(self, body: Expr, param: Param, env: Env) -> str | None:
        if param not in walk(body):
            code = self.code(body, env)
            return {"0": "0", "1": "F"}.get(code, f"(F if {code} else 0)")
        match body:
            case Read(variable, indices, _):
                known = self.layout.known[variable]
                if not self.layout.is_mask(known) or indices[-1] != param:
                    return None
                if any(param in walk(i) for i in indices[:-1]):
                    return None
                place = self.cell(variable, (*indices[:-1], Boot()), env)
                if not place.tests:
                    return place.code
                return f"({place.code} if {' and '.join(place.tests)} else 0)"
            case Apply(op, args, _):
                return self._operation(op, args, param, env)
        return None

    def _operation(
        self, op: Op, args: tuple[Expr, ...], param: Param, env: Env
    ) -> str | None:
        if op is Op.EQ and not isinstance(args[0].sort, BoolSort):
            one, other = args if args[0] == param else args[::-1]
            if one != param or param in walk(other):
                return None
            return f"bit({self.code(other, env)})"
        if op is Op.BEFORE:
            one, other = args
            if one == param and param not in walk(other):
                return f"(bit({self.code(other, env)}) - 1 & F)"
            return None
        if op not in (Op.AND, Op.OR, Op.NOT, Op.EQ, Op.ITE):
            return None
        bits = [self._bits(a, param, env) for a in args]
        known = [b for b in bits if b is not None]
        if len(known) < len(bits):
            return None
        match op:
            case Op.AND:
                return f"({' & '.join(known)})"
            case Op.OR:
                return f"({' | '.join(known)})"
            case Op.NOT:
                return f"(F ^ {known[0]})"
            case Op.EQ:
                return f"(F ^ {known[0]} ^ {known[1]})"
            case _:
                name = self.fresh()
                return (
                    f"(({name} := {known[0]}) & {known[1]} | (F ^ {name}) & {known[2]})"
                )


@dataclass(frozen=True)
class Cell:
    """Source of a place; it is none if one of the tests fails."""

    tests: list[str]
    code: str
    bit: str | None
    last: str | None  # the last index
