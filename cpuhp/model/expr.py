"""Expressions: a closed union of frozen nodes, and constructors that fold constants.

Quantifiers range over one index sort. The order of CPU ids (`BEFORE`) occurs only in
what is exact at a fixed CPU count: `first`, `last` and ascending loops.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from operator import is_

from cpuhp.model.sorts import (
    BOOL,
    CPU,
    NONE,
    CounterSort,
    EnumSort,
    IndexSort,
    RangeSort,
    Sort,
)


class Op(Enum):
    NOT = "!"
    AND = "&&"
    OR = "||"
    EQ = "=="
    LT = "<"
    LE = "<="
    ADD = "+"
    SUB = "-"
    ITE = "?:"
    BEFORE = "before"  # order of ids within an index sort


class Quantifier(Enum):
    FORALL = "all"
    EXISTS = "exists"
    COUNT = "count"  # value: the number of elements that satisfy the body


@dataclass(frozen=True, slots=True)
class Const:
    value: int
    sort: Sort


@dataclass(frozen=True, slots=True)
class Param:
    """A variable bound by an action or a quantifier."""

    name: str
    sort: IndexSort


@dataclass(frozen=True, slots=True)
class Boot:
    """The control CPU, the one element of sort cpu that has a name."""

    @property
    def sort(self) -> IndexSort:
        return CPU


@dataclass(frozen=True, slots=True)
class Read:
    """The value of a state variable, in the state before the action."""

    variable: str
    indices: tuple[Expr, ...]
    sort: Sort


@dataclass(frozen=True, slots=True)
class Apply:
    op: Op
    args: tuple[Expr, ...]
    sort: Sort


@dataclass(frozen=True, slots=True)
class Quantified:
    kind: Quantifier
    param: Param
    body: Expr

    @property
    def sort(self) -> Sort:
        return RangeSort(0, _LARGE) if self.kind is Quantifier.COUNT else BOOL


Expr = Const | Param | Boot | Read | Apply | Quantified

TRUE = Const(1, BOOL)
FALSE = Const(0, BOOL)


def none_of(sort: IndexSort) -> Const:
    return Const(NONE, replace(sort, nullable=True))


def may_be_none(value: Expr) -> bool:
    """Can it be nobody, as far as its form tells?"""
    match value:
        case Read(_, indices, IndexSort(_, nullable)):
            return nullable or through_none(indices)
        case Apply(Op.ITE, (_, a, b), _):
            return may_be_none(a) or may_be_none(b)
        case Const(number, IndexSort()):
            return number == NONE
    return False


def through_none(indices: tuple[Expr, ...]) -> bool:
    """Can a variable be read with these indices and nobody be meant?"""
    return any(map(may_be_none, indices))


def not_(a: Expr) -> Expr:
    if isinstance(a, Const):
        return FALSE if a.value else TRUE
    if isinstance(a, Apply) and a.op is Op.NOT:
        return a.args[0]
    return Apply(Op.NOT, (a,), BOOL)


def and_(*args: Expr) -> Expr:
    return _junction(Op.AND, args, unit=TRUE, zero=FALSE)


def or_(*args: Expr) -> Expr:
    return _junction(Op.OR, args, unit=FALSE, zero=TRUE)


FEW = 6  # so many are compared one by one, which is cheaper than to hash them


def _junction(op: Op, args: Iterable[Expr], unit: Const, zero: Const) -> Expr:
    parts: list[Expr] = []
    for arg in args:
        if isinstance(arg, Apply) and arg.op is op:
            parts += arg.args
        elif arg != unit:
            parts.append(arg)
    if len(parts) < 2:
        return parts[0] if parts else unit
    flat: list[Expr] | dict[Expr, None] = [] if len(parts) <= FEW else {}
    for part in parts:
        if part == zero or not_(part) in flat:
            return zero
        if part != unit and part not in flat:
            if isinstance(flat, dict):
                flat[part] = None
            else:
                flat.append(part)
    if not flat:
        return unit
    return next(iter(flat)) if len(flat) == 1 else Apply(op, tuple(flat), BOOL)


def conjuncts(expr: Expr) -> tuple[Expr, ...]:
    """What has to hold, each by itself."""
    match expr:
        case Apply(Op.AND, args, _):
            return args
    return (expr,)


def implies(a: Expr, b: Expr) -> Expr:
    return or_(not_(a), b)


def eq(a: Expr, b: Expr) -> Expr:
    if a == b:
        return TRUE
    if isinstance(a, Const) and isinstance(b, Const):
        return TRUE if a.value == b.value else FALSE
    if isinstance(a, Const):
        a, b = b, a
    if isinstance(a, Param | Boot) and isinstance(b, Const) and b.value == NONE:
        return FALSE  # both always are somebody
    if b == TRUE:
        return a
    if b == FALSE:
        return not_(a)
    return Apply(Op.EQ, (a, b), BOOL)


def compare(op: Op, a: Expr, b: Expr) -> Expr:
    """`a < b` or `a <= b` of ordered values."""
    if isinstance(a, Const) and isinstance(b, Const):
        holds = a.value < b.value if op is Op.LT else a.value <= b.value
        return TRUE if holds else FALSE
    if a == b:
        return FALSE if op is Op.LT else TRUE
    return Apply(op, (a, b), BOOL)


def before(a: Expr, b: Expr) -> Expr:
    return FALSE if a == b else Apply(Op.BEFORE, (a, b), BOOL)


def arithmetic(op: Op, a: Expr, b: Expr, sort: Sort) -> Expr:
    """`a + b` or `a - b`, held within `sort` if that is a range."""
    if isinstance(a, Const) and isinstance(b, Const):
        value = a.value + b.value if op is Op.ADD else a.value - b.value
        return Const(clamp(value, sort), sort)
    return Apply(op, (a, b), sort)


_LARGE = 1 << 30  # more than there are CPUs


def exactly(op: Op, a: Sort, b: Sort) -> RangeSort:
    """The range of a sum or difference that is not held within any other."""
    (low, high), (least, most) = _span(a), _span(b)
    if op is Op.SUB:
        least, most = -most, -least
    return RangeSort(max(low + least, -_LARGE), min(high + most, _LARGE))


def _span(sort: Sort) -> tuple[int, int]:
    return (sort.low, sort.high) if isinstance(sort, RangeSort) else (-_LARGE, _LARGE)


def is_exact(expr: Apply) -> bool:
    """Is the sum or difference never stopped at an end of its sort?"""
    if not isinstance(expr.sort, RangeSort):
        return not isinstance(expr.sort, EnumSort)
    free = exactly(expr.op, *(arg.sort for arg in expr.args))
    return expr.sort.low <= free.low and free.high <= expr.sort.high


def clamp(value: int, sort: Sort) -> int:
    if isinstance(sort, RangeSort):
        return max(sort.low, min(sort.high, value))
    if isinstance(sort, EnumSort):
        return max(0, min(len(sort.values) - 1, value))
    return value


def ite(cond: Expr, a: Expr, b: Expr) -> Expr:
    if isinstance(cond, Const):
        return a if cond.value else b
    if a == b:
        return a
    if a == TRUE and b == FALSE:
        return cond
    if a == FALSE and b == TRUE:
        return not_(cond)
    return Apply(Op.ITE, (cond, a, b), _either(a.sort, b.sort))


def _either(a: Sort, b: Sort) -> Sort:
    """The sort of a value that has one of two sorts."""
    match a, b:
        case RangeSort(), RangeSort():
            return RangeSort(min(a.low, b.low), max(a.high, b.high))
        case IndexSort(), IndexSort():
            return b if b.nullable else a
        case _, CounterSort():
            return b
    return a


def held(expr: Expr, sort: Sort) -> Expr:
    """What a variable of `sort` has once `expr` is assigned: no more than it can have."""
    have = expr.sort
    if not isinstance(sort, RangeSort) or not isinstance(have, RangeSort | CounterSort):
        return expr
    if isinstance(have, RangeSort) and sort.low <= have.low and have.high <= sort.high:
        return expr
    match expr:
        case Const(value, _):
            return Const(clamp(value, sort), sort)
        case Apply(Op.ITE, (condition, a, b), _):
            return ite(condition, held(a, sort), held(b, sort))
        case Apply(Op.ADD | Op.SUB, (a, b), _) if is_exact(expr):
            return arithmetic(expr.op, a, b, sort)
    return arithmetic(Op.ADD, expr, Const(0, RangeSort(0, 0)), sort)


def quantified(kind: Quantifier, param: Param, body: Expr) -> Expr:
    if kind is not Quantifier.COUNT and isinstance(body, Const):
        return body
    return Quantified(kind, param, body)


def forall(param: Param, body: Expr) -> Expr:
    return quantified(Quantifier.FORALL, param, body)


def exists(param: Param, body: Expr) -> Expr:
    return quantified(Quantifier.EXISTS, param, body)


def apply(op: Op, args: tuple[Expr, ...], sort: Sort) -> Expr:
    """The folding constructor that belongs to `op`."""
    match op:
        case Op.NOT:
            return not_(args[0])
        case Op.AND:
            return and_(*args)
        case Op.OR:
            return or_(*args)
        case Op.EQ:
            return eq(args[0], args[1])
        case Op.LT | Op.LE:
            return compare(op, args[0], args[1])
        case Op.ADD | Op.SUB:
            return arithmetic(op, args[0], args[1], sort)
        case Op.ITE:
            return ite(args[0], args[1], args[2])
        case Op.BEFORE:
            return before(args[0], args[1])


def children(expr: Expr) -> tuple[Expr, ...]:
    match expr:
        case Read(_, indices, _):
            return indices
        case Apply(_, args, _):
            return args
        case Quantified(_, _, body):
            return (body,)
        case _:
            return ()


def walk(expr: Expr) -> Iterator[Expr]:
    """The expression and all its parts, outermost first."""
    stack = [expr]
    while stack:
        top = stack.pop()
        yield top
        stack.extend(reversed(children(top)))


def reads(expr: Expr) -> frozenset[str]:
    """Names of the state variables that the expression reads."""
    match expr:
        case Const() | Param() | Boot():
            return _NOTHING
        case Read(variable, (), _):
            return frozenset((variable,))
    return frozenset([e.variable for e in walk(expr) if isinstance(e, Read)])


_NOTHING = frozenset[str]()


def rebuild(expr: Expr, visit: Callable[[Expr], Expr | None]) -> Expr:
    """Replace parts: where `visit` returns None, go on inside that part.

    What has no replaced part is the same object as before.
    """
    replaced = visit(expr)
    if replaced is not None:
        return replaced
    match expr:
        case Read(variable, old, sort):
            new = tuple([rebuild(i, visit) for i in old])
            return expr if all(map(is_, new, old)) else Read(variable, new, sort)
        case Apply(op, old, sort):
            new = tuple([rebuild(a, visit) for a in old])
            return expr if all(map(is_, new, old)) else apply(op, new, sort)
        case Quantified(kind, param, body):
            inside = rebuild(body, visit)
            return expr if inside is body else quantified(kind, param, inside)
        case _:
            return expr


def substitute(expr: Expr, binding: Mapping[Param, Expr]) -> Expr:
    """Replace free parameters, and rename bound ones that would capture what is put in.

    Where a step is joined with itself, as in a loop, the same names are bound in both.
    """
    if not binding:
        return expr
    put_in = {p for new in binding.values() for p in walk(new) if isinstance(p, Param)}

    def visit(part: Expr) -> Expr | None:
        match part:
            case Param():
                return binding.get(part, part)
            case Quantified(kind, param, body) if param in put_in or param in binding:
                own = another(param, put_in | _params(body))
                return quantified(kind, own, substitute(body, {**binding, param: own}))
        return None

    return rebuild(expr, visit)


def another(param: Param, taken: Collection[Param]) -> Param:
    """A parameter of the same sort that is not among those taken."""
    while param in taken:
        param = replace(param, name=f"{param.name}'")
    return param


def _params(expr: Expr) -> set[Param]:
    """All that occur in the expression, those that it binds itself among them."""
    bound = {part.param for part in walk(expr) if isinstance(part, Quantified)}
    return bound | {part for part in walk(expr) if isinstance(part, Param)}
