"""Expressions as Python source.

It is generated from the typed expression tree alone: numbers and names that this file
makes up (`s`, `a0`, `q3`). No text of a spec ever enters it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType
from typing import Any

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
)
from cpuhp.model.sorts import BoolSort, EnumSort, RangeSort, Sort
from cpuhp.semantics import Machine, default_value

UNROLL = 64  # copies of a quantifier's body that are written out
_DEPTH = 24  # nesting after which a part becomes a function of its own

Env = dict[Param, str]


@dataclass
class Writer:
    """Turns expressions into source; big ones into helper functions before it."""

    machine: Machine
    helpers: list[str] = field(default_factory=list)
    names: int = 0

    def fresh(self, prefix: str) -> str:
        self.names += 1
        return f"{prefix}{self.names}"

    def code(self, expr: Expr, env: Env, depth: int = 1, copies: int = 1) -> str:
        if depth % _DEPTH == 0 and not isinstance(expr, Const | Param | Boot):
            return self.helper(expr, env, copies)
        match expr:
            case Const(value, _):
                return str(value) if value >= 0 else f"({value})"
            case Param():
                return env[expr]
            case Boot():
                return str(self.machine.boot)
            case Read():
                return self.read(expr, env, depth, copies)
            case Apply():
                return self.apply(expr, env, depth, copies)
            case Quantified():
                return self.quantified(expr, env, depth, copies)

    def helper(self, expr: Expr, env: Env, copies: int) -> str:
        name = self.fresh("h")
        arguments = ", ".join(
            dict.fromkeys(["s", *(c for c in env.values() if not c.isdigit())])
        )
        body = self.code(expr, env, 1, copies)
        self.helpers.append(f"def {name}({arguments}):\n    return {body}\n")
        return f"{name}({arguments})"

    def read(self, expr: Read, env: Env, depth: int, copies: int) -> str:
        tests, cell = self.cell(expr.variable, expr.indices, env, depth, copies)
        if not tests:
            return f"s[{cell}]"
        default = default_value(expr.sort)
        return f"(s[{cell}] if {' and '.join(tests)} else {default})"

    def cell(
        self,
        variable: str,
        indices: tuple[Expr, ...],
        env: Env,
        depth: int,
        copies: int,
    ) -> tuple[list[str], str]:
        """Tests that no index is NONE, and the source of the cell's position."""
        tests: list[str] = []
        constant = 0
        terms: list[str] = []
        stride = 1
        sorts = self.machine.system.variable(variable).indices
        for sort, index in reversed(list(zip(sorts, indices))):
            code = self.code(index, env, depth + 1, copies)
            if not isinstance(index, Param | Boot) and not code.isdigit():
                name = self.fresh("x")
                tests.insert(0, f"({name} := {code}) >= 0")
                code = name
            if code.isdigit():
                constant += int(code) * stride
            else:
                terms.append(code if stride == 1 else f"{stride} * {code}")
            stride *= self.machine.sizes[sort.name]
        constant += self.machine.offsets[variable]
        return tests, " + ".join([str(constant), *terms])

    def apply(self, expr: Apply, env: Env, depth: int, copies: int) -> str:
        if expr.op is Op.AND or expr.op is Op.OR:
            unit = "1" if expr.op is Op.AND else "0"
            parts = [self.code(a, env, depth + 1, copies) for a in expr.args]
            return _junction(parts, unit)
        args = [self.code(a, env, depth + 1, copies) for a in expr.args]
        match expr.op:
            case Op.NOT:
                return _not(args[0])
            case Op.EQ:
                return _compare("==", args)
            case Op.LT | Op.BEFORE:
                return _compare("<", args)
            case Op.LE:
                return _compare("<=", args)
            case Op.ADD:
                return self.clamp(f"({args[0]} + {args[1]})", expr.sort)
            case Op.SUB:
                return self.clamp(f"({args[0]} - {args[1]})", expr.sort)
            case _:
                return f"({args[1]} if {args[0]} else {args[2]})"

    def clamp(self, code: str, sort: Sort) -> str:
        if isinstance(sort, RangeSort):
            low, high = sort.low, sort.high
        elif isinstance(sort, EnumSort):
            low, high = 0, len(sort.values) - 1
        else:
            return code
        x = self.fresh("x")
        return (
            f"({low} if ({x} := {code}) < {low} else {high} if {x} > {high} else {x})"
        )

    def quantified(self, expr: Quantified, env: Env, depth: int, copies: int) -> str:
        elements = self.machine.elements(expr.param.sort)
        if copies * len(elements) > UNROLL:
            return self.loop(expr, env, len(elements), copies)
        parts = [
            self.code(
                expr.body, env | {expr.param: str(e)}, depth + 1, copies * len(elements)
            )
            for e in elements
        ]
        match expr.kind:
            case Quantifier.FORALL:
                return _junction(parts, "1")
            case Quantifier.EXISTS:
                return _junction(parts, "0")
            case Quantifier.COUNT:
                return f"({' + '.join(parts)})" if parts else "0"

    def loop(self, expr: Quantified, env: Env, size: int, copies: int) -> str:
        # A function of its own: a name bound by := may not leak into another round.
        name = self.fresh("q")
        inner = env | {expr.param: name}
        arguments = list(
            dict.fromkeys(["s", *(c for c in inner.values() if not c.isdigit())])
        )
        body = self.code(expr.body, inner, 1, copies)
        function = self.fresh("h")
        self.helpers.append(
            f"def {function}({', '.join(arguments)}):\n    return {body}\n"
        )
        call = f"{function}({', '.join(arguments)})"
        what = {"all": "all", "exists": "any", "count": "sum"}[expr.kind.value]
        return f"{what}({call} for {name} in range({size}))"

    def value(self, expr: Expr, env: Env, sort: Sort) -> str:
        """Source of a value as it is stored: always an int within the sort."""
        code = self.code(expr, env)
        if isinstance(expr, Param | Boot | Read) and expr.sort == sort:
            return code
        if isinstance(sort, BoolSort):
            return code if code.isdigit() else f"(1 if {code} else 0)"
        return self.clamp(code, sort)


def _junction(parts: list[str], unit: str) -> str:
    zero = "0" if unit == "1" else "1"
    kept = [p for p in dict.fromkeys(parts) if p != unit]
    if zero in kept:
        return zero
    if not kept:
        return unit
    word = " and " if unit == "1" else " or "
    return kept[0] if len(kept) == 1 else f"({word.join(kept)})"


def _not(code: str) -> str:
    return str(1 - int(code)) if code in ("0", "1") else f"(not {code})"


def _compare(op: str, args: list[str]) -> str:
    a, b = args
    if a.isdigit() and b.isdigit():
        x, y = int(a), int(b)
        return str(int({"==": x == y, "<": x < y, "<=": x <= y}[op]))
    return f"({a} {op} {b})"


def build(writer: Writer, name: str, source: str) -> Any:
    """What the source defines under this name."""
    namespace: dict[str, Any] = {}
    exec(_code("\n".join([*writer.helpers, source])), namespace)  # noqa: S102
    return namespace[name]


@lru_cache(maxsize=4096)
def _code(source: str) -> CodeType:
    """Compiled once: for another control CPU most actions have the same source."""
    return compile(source, "<explicit engine>", "exec")
