"""Expressions of the model as SMT-LIB terms: what both forms of the conditions share.

A bool is a Bool; an enum, a range and an index other than cpu is a bit-vector in two's
complement, as wide as the largest number in the system needs; a number of CPUs is an
Int. How CPUs look, and what a quantifier over them means, is for `pool` (no quantifiers)
and `twin` (real ones) to say.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

from cpuhp.engines.certificate.terms import (
    FALSE,
    TRUE,
    conj,
    disj,
    equal,
    integer,
    ite,
    minus,
    neg,
    number,
    plus,
    symbol,
)
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
    children,
    walk,
)
from cpuhp.model.sorts import (
    NONE,
    BoolSort,
    CounterSort,
    EnumSort,
    IndexSort,
    RangeSort,
    Sort,
    is_cpu,
)
from cpuhp.model.system import Property, Role, TransitionSystem, Variable

Env = Mapping[Param, str]
_WIDEST = 1 << 20  # numbers beyond this are sorts of counts, which are Ints


class Unsupported(Exception):
    """The system says something that this checker has no term for."""


def is_count(expr: Expr) -> bool:
    """Is it a number of CPUs, which is as large as the machine?"""
    match expr:
        case Quantified(Quantifier.COUNT, _, _):
            return True
        case Apply(Op.ADD | Op.SUB, args, _):
            return any(map(is_count, args))
        case Apply(Op.ITE, (_, a, b), _):
            return is_count(a) or is_count(b)
    return isinstance(expr.sort, CounterSort)


def roots(system: TransitionSystem, prop: Property) -> Iterator[Expr]:
    """All expressions of a system and its property."""
    yield from (prop.formula, prop.goal, *system.assumptions)
    yield from (v.initial for v in system.variables if v.initial is not None)
    for action in system.actions:
        yield from action.expressions()


def free_params(expr: Expr) -> tuple[Param, ...]:
    """The parameters that the expression does not bind itself."""
    if isinstance(expr, Param):
        return (expr,)
    found: dict[Param, None] = {}
    for child in children(expr):
        found.update(dict.fromkeys(free_params(child)))
    if isinstance(expr, Quantified):
        found.pop(expr.param, None)
    return tuple(found)


def bounds(sort: Sort, sizes: Mapping[str, int]) -> tuple[int, int]:
    """Least and greatest value of a sort that is a bit-vector."""
    match sort:
        case BoolSort():
            return 0, 1
        case EnumSort(_, names):
            return 0, len(names) - 1
        case RangeSort(low, high):
            return low, high
        case IndexSort(name, nullable) if name != "cpu":
            return NONE if nullable else 0, sizes[name] - 1
    raise Unsupported(f"numbers of sort {sort}")


class Translator(ABC):
    """Terms about one state. Lines that they need are collected in `lines`."""

    none: str
    boot: str
    cpu_sort: str

    def __init__(self, system: TransitionSystem, prop: Property):
        self.system, self.prop = system, prop
        self.sizes = dict(system.sizes)
        self.width = self._width()
        self.lines: list[str] = []
        self._names = 0
        masks = map(mask_of, system.variables)
        self.masks = tuple(dict.fromkeys(mask for mask in masks if mask is not None))
        self.uses_ints = bool(self.masks) or any(
            is_count(part) for root in roots(system, prop) for part in walk(root)
        )

    def _width(self) -> int:
        largest = 1
        sorts = [v.sort for v in self.system.variables]
        for root in roots(self.system, self.prop):
            for part in walk(root):
                sorts.append(part.sort)
                if isinstance(part, Const):
                    largest = max(largest, abs(part.value))
        for sort in sorts:
            if isinstance(sort, BoolSort | CounterSort) or is_cpu(sort):
                continue
            limits = [abs(bound) for bound in bounds(sort, self.sizes)]
            largest = max([largest, *(n for n in limits if n <= _WIDEST)])
        # Room for the sum of two numbers, and for the sign.
        return (2 * largest + 1).bit_length() + 1

    # Names and lines

    def fresh(self, hint: str) -> str:
        self._names += 1
        return symbol(f"{hint}!{self._names}")

    def declare(self, hint: str, sort: str) -> str:
        name = self.fresh(hint)
        self.lines.append(f"(declare-const {name} {sort})")
        return name

    def axiom(self, text: str) -> None:
        if text != TRUE:
            self.lines.append(f"(assert {text})")

    def sort(self, sort: Sort) -> str:
        if isinstance(sort, BoolSort):
            return "Bool"
        if isinstance(sort, CounterSort):
            return "Int"
        return self.cpu_sort if is_cpu(sort) else f"(_ BitVec {self.width})"

    def number(self, value: int) -> str:
        return number(value, self.width)

    def in_range(self, text: str, sort: Sort) -> str:
        """The term has one of the values of its sort (what CPUs are is not said)."""
        if isinstance(sort, BoolSort | CounterSort) or is_cpu(sort):
            return TRUE
        low, high = bounds(sort, self.sizes)
        least, most = self.number(low), self.number(high)
        return f"(and (bvsle {least} {text}) (bvsle {text} {most}))"

    def default(self, sort: Sort) -> str:
        """What a read through `none` yields."""
        match sort:
            case BoolSort():
                return FALSE
            case CounterSort():
                return "0"
            case RangeSort(low, _):
                return self.number(low)
            case EnumSort():
                return self.number(0)
        return self.none if is_cpu(sort) else self.number(NONE)

    def initial(self, variable: Variable) -> Expr | None:
        """What the variable starts with; None if that is free."""
        if variable.initial is not None or variable.role is not Role.LOCATION:
            return variable.initial
        for process in self.system.processes:
            if process.location == variable.name:
                assert isinstance(variable.sort, EnumSort)
                start = variable.sort.values.index(process.initial)
                return Const(start, variable.sort)
        return None

    # Expressions

    def truth(self, expr: Expr, env: Env) -> str:
        """The formula that holds where `expr` does."""
        if isinstance(expr, Const):
            return TRUE if expr.value else FALSE
        if not isinstance(expr.sort, BoolSort):
            return neg(equal(self.value(expr, env), self.number(0)))
        match expr:
            case Read():
                return self.read(expr, env)
            case Quantified():
                return self.quantified(expr, env)
            case Apply(op, args, _):
                return self._connected(op, args, env)
        raise Unsupported(f"the truth of {expr}")

    def _connected(self, op: Op, args: tuple[Expr, ...], env: Env) -> str:
        match op:
            case Op.NOT:
                return neg(self.truth(args[0], env))
            case Op.AND:
                return conj(self.truth(a, env) for a in args)
            case Op.OR:
                return disj(self.truth(a, env) for a in args)
            case Op.ITE:
                return ite(*(self.truth(a, env) for a in args))
            case Op.BEFORE:
                return self.before(*(self.value(a, env) for a in args))
            case Op.EQ if all(isinstance(a.sort, BoolSort) for a in args):
                return equal(*(self.truth(a, env) for a in args))
            case Op.EQ if any(is_cpu(a.sort) for a in args):
                return self.same_cpu(*(self.value(a, env) for a in args))
        if any(is_cpu(a.sort) for a in args):
            raise Unsupported("an order of CPUs other than by their number")
        if any(map(is_count, args)):
            a, b = (self.count(arg, env) for arg in args)
            return f"({'=' if op is Op.EQ else op.value} {a} {b})"
        a, b = (self.value(arg, env) for arg in args)
        word = {Op.LT: "bvslt", Op.LE: "bvsle"}
        return equal(a, b) if op is Op.EQ else f"({word[op]} {a} {b})"

    def value(self, expr: Expr, env: Env) -> str:
        """The term of a value that is not a bool; a number of CPUs is an Int."""
        if isinstance(expr.sort, BoolSort):
            return ite(self.truth(expr, env), self.number(1), self.number(0))
        if is_count(expr):
            return self.count(expr, env)
        match expr:
            case Const(value, sort) if is_cpu(sort):
                if value != NONE:
                    raise Unsupported("a CPU that is named by its number")
                return self.none
            case Const(value, _):
                return self.number(value)
            case Param():
                return env[expr]
            case Boot():
                return self.boot
            case Read():
                return self.read(expr, env)
            case Apply(Op.ITE, (condition, a, b), _):
                yes, no = self.value(a, env), self.value(b, env)
                return ite(self.truth(condition, env), yes, no)
            case Apply(Op.ADD | Op.SUB as op, (a, b), sort):
                word = "bvadd" if op is Op.ADD else "bvsub"
                total = f"({word} {self.value(a, env)} {self.value(b, env)})"
                return self._held(total, sort)
        raise Unsupported(f"the value of {expr}")

    def _held(self, text: str, sort: Sort) -> str:
        """The number, stopped at the ends of its sort."""
        if not isinstance(sort, RangeSort | EnumSort):
            return text
        low, high = bounds(sort, self.sizes)
        if high > _WIDEST or low < -_WIDEST:
            raise Unsupported("arithmetic without bounds")
        least, most = self.number(low), self.number(high)
        name = self.fresh("sum")
        held = f"(ite (bvslt {name} {least}) {least} (ite (bvslt {most} {name}) "
        return f"(let (({name} {text})) {held}{most} {name})))"

    def assigned(self, expr: Expr, env: Env, sort: Sort) -> str:
        """The value as a variable of this sort takes it."""
        if isinstance(sort, BoolSort):
            return self.truth(expr, env)
        if isinstance(sort, CounterSort):
            return self.count(expr, env)
        if is_count(expr):
            return self._shortened(self.count(expr, env), sort)
        text = self.value(expr, env)
        if isinstance(expr, Const) or expr.sort == sort or is_cpu(sort):
            return text
        return self._held(text, sort)

    def count(self, expr: Expr, env: Env) -> str:
        """A number as an Int."""
        match expr:
            case Const(value, _):
                return integer(value)
            case Read(_, _, CounterSort(mask)):
                return plus((self.read(expr, env), self.population(mask)))
            case Quantified(Quantifier.COUNT, param, Read(mask, (index,), _)) if (
                index == param and mask in self.masks
            ):
                return self.population(mask)
            case Quantified(Quantifier.COUNT, _, _):
                return self.counted(expr, env)
            case Apply(Op.ITE, (condition, a, b), _) if is_count(expr):
                yes, no = self.count(a, env), self.count(b, env)
                return ite(self.truth(condition, env), yes, no)
            case Apply(Op.ADD | Op.SUB as op, (a, b), sort) if is_count(expr):
                x, y = self.count(a, env), self.count(b, env)
                total = plus((x, y)) if op is Op.ADD else minus(x, y)
                return self._stopped(total, sort)
        if isinstance(expr.sort, BoolSort):
            return f"(ite {self.truth(expr, env)} 1 0)"
        low, high = bounds(expr.sort, self.sizes)
        text, found = self.value(expr, env), integer(high)
        for value in range(high - 1, low - 1, -1):
            found = ite(equal(text, self.number(value)), integer(value), found)
        return found

    def _stopped(self, text: str, sort: Sort) -> str:
        if not isinstance(sort, RangeSort | EnumSort):
            return text
        low, high = bounds(sort, self.sizes)
        least, most, name = integer(low), integer(high), self.fresh("sum")
        held = f"(ite (< {name} {least}) {least} (ite (< {most} {name}) {most} {name}))"
        return f"(let (({name} {text})) {held})"

    def _shortened(self, text: str, sort: Sort) -> str:
        """An Int as a number of this sort, stopped at its ends."""
        low, high = bounds(sort, self.sizes)
        found = self.number(high)
        for value in range(high - 1, low - 1, -1):
            found = ite(f"(<= {text} {integer(value)})", self.number(value), found)
        return found

    # What depends on how CPUs look

    @abstractmethod
    def read(self, expr: Read, env: Env) -> str:
        """A cell; of a counter, what it has more than its mask has bits."""

    @abstractmethod
    def quantified(self, expr: Quantified, env: Env) -> str: ...

    @abstractmethod
    def counted(self, expr: Quantified, env: Env) -> str: ...

    @abstractmethod
    def population(self, mask: str) -> str:
        """How many CPUs have the bit, as an Int."""

    @abstractmethod
    def same_cpu(self, a: str, b: str) -> str: ...

    @abstractmethod
    def before(self, a: str, b: str) -> str: ...


def mask_of(variable: Variable) -> str | None:
    """The mask that a counter counts."""
    return variable.sort.mask if isinstance(variable.sort, CounterSort) else None
