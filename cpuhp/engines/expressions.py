"""State variables and expressions as formulas over a pool of CPU seats.

What may be loose in an open pool, and why, is told in `encoding`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import z3

from cpuhp.engines.formulas import (
    Bit,
    Values,
    as_z3,
    collect,
    conj,
    constant,
    disj,
    equals,
    negate,
    proposition,
    same,
    select,
    vector,
    within,
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
    clamp,
    is_exact,
)
from cpuhp.model.invariant import FAR, NEAR, Literal
from cpuhp.model.sorts import (
    NONE,
    BoolSort,
    CounterSort,
    IndexSort,
    Sort,
    is_cpu,
    values_of,
)
from cpuhp.model.system import (
    TransitionSystem,
    Variable,
)
from cpuhp.semantics import default_value

OTHER = 1 << 20  # a pointer to a CPU without a seat
MANY = 1 << 21  # at least as many CPUs as are counted without a seat
UNKNOWN = 1 << 22  # a sum with a number of CPUs that is not kept
_OUTSIDE_COUNTED = 4  # CPUs without a seat are counted up to this number

Env = Mapping[Param, int]
Frame = str
Found = tuple[int, tuple[Param, ...]]


@dataclass(frozen=True)
class Need:
    """With `seats` more seats reserved, `literal` may be assumed."""

    seats: int
    literal: Bit


@dataclass(frozen=True)
class Tally:
    """A number of CPUs: `values`, or that added to the number with bit `mask`."""

    mask: str | None
    values: Values


class Expressions:
    """Makes formulas. A frame is the name of one symbolic state.

    `axioms` grows while formulas are made; a solver needs all of them.
    """

    def __init__(
        self, system: TransitionSystem, seats: int, *, boot: int = 0, closed: bool
    ):
        self.system = system
        self.seats = range(seats)
        self.boot = boot
        self.closed = closed
        self.axioms: list[z3.BoolRef] = []
        self.sizes = {"cpu": seats, **dict(system.sizes)}
        self.outside: Bit = False if closed else proposition("outside")
        self.exists: list[Bit] = [
            closed or seat == boot or proposition(f"exists{seat}")
            for seat in self.seats
        ]
        self._cells: dict[tuple[Frame, str, tuple[int, ...]], Values] = {}
        self._cache: dict[tuple[object, ...], object] = {}
        self._plain: dict[Literal, list[int] | None] = {}
        self._found: dict[int, Found] = {}
        self._alike: dict[Expr, Expr] = {}
        self._holes: dict[tuple[object, ...], Bit] = {}
        self._kept: list[Expr] = []
        self._fresh = 0
        for seat in self.seats[2:]:
            self._axiom(disj((negate(self.exists[seat]), self.exists[seat - 1])))
        for seat in self.seats:
            self._axiom(disj((negate(self.outside), self.exists[seat])))

    # Variables

    def elements(self, sort: IndexSort) -> range:
        """The seats, or the elements of another index sort."""
        return range(self.sizes[sort.name])

    def domain(self, sort: Sort) -> list[int]:
        """The values that a cell of this sort can hold here."""
        if not self.closed:
            if isinstance(sort, CounterSort):
                return [*NEAR, FAR]
            if is_cpu(sort):
                return [*values_of(sort, self.sizes), OTHER]
        return list(values_of(sort, self.sizes))

    def cell(self, frame: Frame, variable: str, where: tuple[int, ...]) -> Values:
        """The value of one cell in one state."""
        key = (frame, variable, where)
        found = self._cells.get(key)
        if found is None:
            name = "_".join((variable, *map(str, where)))
            sort = self.system.variable(variable).sort
            found = self._cells[key] = self._variable(f"{frame}{name}", sort)
        return found

    def carry(
        self, frame: Frame, variable: str, where: tuple[int, ...], values: Values
    ) -> None:
        """The cell has these values in that state, of which nothing was said yet."""
        key = (frame, variable, where)
        assert key not in self._cells
        self._cells[key] = values

    def cells(self, variable: Variable) -> Iterator[tuple[int, ...]]:
        """The indices of all cells of a variable."""
        return product(*map(self.elements, variable.indices))

    def _variable(self, name: str, sort: Sort) -> Values:
        if isinstance(sort, BoolSort):
            bit = proposition(name)
            return {1: bit, 0: negate(bit)}
        found = self._numbered(name, self.domain(sort))
        for value, bit in found.items() if is_cpu(sort) else ():
            if value != NONE:
                there = self.outside if value == OTHER else self.exists[value]
                self._axiom(disj((negate(bit), there)))
        return found

    def _numbered(self, name: str, domain: list[int]) -> Values:
        if len(domain) == 1:
            return constant(domain[0])
        width = (len(domain) - 1).bit_length()
        bits = vector(name, width)
        if len(domain) < 1 << width:
            self._axiom(z3.ULE(bits, len(domain) - 1))
        return {value: equals(bits, width, n) for n, value in enumerate(domain)}

    def _axiom(self, bit: Bit) -> None:
        if bit is not True:
            self.axioms.append(as_z3(bit))

    def _name(self, hint: str) -> str:
        self._fresh += 1
        return f"{hint}!{self._fresh}"

    def anything(self, sort: Sort) -> Values:
        """A value about which nothing is known."""
        return self._variable(self._name("any"), sort)

    def anyhow(self) -> Bit:
        """A truth about which nothing is known."""
        return proposition(self._name("free"))

    # Expressions

    def _key(self, kind: str, expr: Expr, env: Env, frame: Frame) -> tuple[object, ...]:
        alike, free = self._found.get(id(expr)) or self._find(expr)
        return (kind, alike, frame, *[env[p] for p in free])

    def _find(self, expr: Expr) -> Found:
        """What stands for the expression, and the parameters it does not bind itself.

        Equal numbers of CPUs are the same: those without a seat are as many in each.
        """
        self._kept.append(expr)  # so that its id stays its own
        free: dict[Param, None] = {}
        alike = expr
        if isinstance(expr, Param):
            free[expr] = None
        for child in children(expr):
            free.update(dict.fromkeys(self._find(child)[1]))
        if isinstance(expr, Quantified):
            free.pop(expr.param, None)
            if expr.kind is Quantifier.COUNT:
                alike = self._alike.setdefault(expr, expr)
        self._found[id(expr)] = found = id(alike), tuple(free)
        return found

    def truth(self, expr: Expr, env: Env, frame: Frame) -> Bit:
        """The formula that holds where `expr` does."""
        if isinstance(expr, Const):
            return expr.value != 0
        key = self._key("truth", expr, env, frame)
        if key not in self._cache:
            self._cache[key] = self._truth(expr, env, frame)
        return self._cache[key]

    def _truth(self, expr: Expr, env: Env, frame: Frame) -> Bit:
        if isinstance(expr, Read):
            return within(self._read(expr, env, frame), (1,))
        if isinstance(expr, Quantified):
            return self._quantified(expr, env, frame)
        if not isinstance(expr, Apply):
            return negate(within(self.value(expr, env, frame), (0,)))
        args = expr.args
        match expr.op:
            case Op.NOT:
                return negate(self.truth(args[0], env, frame))
            case Op.AND:
                return conj(self.truth(a, env, frame) for a in args)
            case Op.OR:
                return disj(self.truth(a, env, frame) for a in args)
            case Op.ITE:
                return disj(
                    conj((choice, self.truth(arg, env, frame)))
                    for choice, arg in self._branches(args, env, frame)
                )
            case Op.EQ if _is_bool(args[0]) and _is_bool(args[1]):
                return same(*(self.truth(a, env, frame) for a in args))
            case Op.BEFORE if not self.closed:
                return self.anyhow()
        if not self.closed and (_counts(args[0]) or _counts(args[1])):
            return self._compare_tallies(expr, env, frame)
        left, right = (self.value(a, env, frame) for a in args)
        return self._compare(expr.op, left, right)

    def _branches(
        self, args: tuple[Expr, ...], env: Env, frame: Frame
    ) -> tuple[tuple[Bit, Expr], tuple[Bit, Expr]]:
        condition = self.truth(args[0], env, frame)
        return (condition, args[1]), (negate(condition), args[2])

    def _compare(self, op: Op, left: Values, right: Values) -> Bit:
        if op is Op.EQ:
            return disj(
                conj((left[v], right[v], v != OTHER or self.anyhow()))
                for v in left
                if v in right
            )
        return disj(
            conj((a, b))
            for (x, a), (y, b) in product(left.items(), right.items())
            if (x <= y if op is Op.LE else x < y)
        )

    def value(self, expr: Expr, env: Env, frame: Frame) -> Values:
        """The values of `expr` and when it has them."""
        match expr:
            case Const(value, _):
                return constant(value)
            case Param():
                return constant(env[expr])
            case Boot():
                return constant(self.boot)
        key = self._key("value", expr, env, frame)
        if key not in self._cache:
            self._cache[key] = self._value(expr, env, frame)
        return self._cache[key]  # type: ignore[return-value]

    def _value(self, expr: Expr, env: Env, frame: Frame) -> Values:
        if _is_bool(expr):
            bit = self.truth(expr, env, frame)
            return collect(((1, bit), (0, negate(bit))))
        if isinstance(expr, Read):
            return self._read(expr, env, frame)
        if isinstance(expr, Quantified):
            return self._count(expr, env, frame)
        assert isinstance(expr, Apply)
        if expr.op is Op.ITE:
            condition = self.truth(expr.args[0], env, frame)
            yes, no = (self.value(a, env, frame) for a in expr.args[1:])
            return select(condition, yes, no)
        if not self.closed and any(_counts(arg) for arg in expr.args):
            return self._absolute(self._tally(expr, env, frame), frame)
        sign = 1 if expr.op is Op.ADD else -1
        left, right = (self.value(a, env, frame) for a in expr.args)
        return collect(
            (clamp(x + sign * y, expr.sort), conj((a, b)))
            for (x, a), (y, b) in product(left.items(), right.items())
        )

    def _read(self, expr: Read, env: Env, frame: Frame) -> Values:
        sorts = self.system.variable(expr.variable).indices
        wheres = [self.value(index, env, frame).items() for index in expr.indices]
        if all(len(where) == 1 for where in wheres):
            fixed = tuple(value for where in wheres for value, _ in where)
            if OTHER not in fixed and NONE not in fixed:
                return self.cell(frame, expr.variable, fixed)
        found: list[tuple[int, Bit]] = []
        for combination in product(*wheres):
            index = tuple(value for value, _ in combination)
            condition = conj(bit for _, bit in combination)
            for value, bit in self._at(expr, index, sorts, frame).items():
                found.append((value, conj((condition, bit))))
        return collect(found)

    def _at(
        self,
        expr: Read,
        index: tuple[int, ...],
        sorts: tuple[IndexSort, ...],
        frame: Frame,
    ) -> Values:
        if NONE in index:
            if isinstance(expr.sort, CounterSort) and not self.closed:
                return self.anything(expr.sort)
            return constant(default_value(expr.sort))
        if OTHER in index:
            return self.anything(expr.sort)
        return self.cell(frame, expr.variable, index)

    # Quantifiers

    def _instances(self, expr: Quantified, env: Env, frame: Frame) -> Iterator[Bit]:
        """The body for each element; false for empty seats."""
        cpu = expr.param.sort.name == "cpu"
        for element in self.elements(expr.param.sort):
            body = self.truth(expr.body, {**env, expr.param: element}, frame)
            yield conj((self.exists[element], body)) if cpu else body

    def _quantified(self, expr: Quantified, env: Env, frame: Frame) -> Bit:
        if expr.kind is Quantifier.COUNT:
            return negate(within(self._count(expr, env, frame), (0,)))
        cpu = expr.param.sort.name == "cpu"
        hole: Bit = self.anyhow() if cpu and not self.closed else False
        if hole is not False:
            self._axiom(disj((negate(hole), self.outside)))
        self._holes[self._key("truth", expr, env, frame)] = negate(hole)
        if expr.kind is Quantifier.EXISTS:
            return disj((*self._instances(expr, env, frame), hole))
        bits = [negate(hole)]
        for element in self.elements(expr.param.sort):
            body = self.truth(expr.body, {**env, expr.param: element}, frame)
            absent = negate(self.exists[element]) if cpu else False
            bits.append(disj((absent, body)))
        return conj(bits)

    def _count(self, expr: Quantified, env: Env, frame: Frame) -> Values:
        key = self._key("count", expr, env, frame)
        if key not in self._cache:
            total = constant(0)
            for bit in self._instances(expr, env, frame):
                total = _add(total, collect(((1, bit), (0, negate(bit)))))
            if expr.param.sort.name == "cpu" and not self.closed:
                total = self._add_outside(key, total)
            self._cache[key] = total
        return self._cache[key]  # type: ignore[return-value]

    def _add_outside(self, key: tuple[object, ...], total: Values) -> Values:
        name = self._name("outside_count")
        beyond = self._numbered(name, list(range(_OUTSIDE_COUNTED + 1)))
        self._axiom(disj((beyond[0], self.outside)))
        for wanted in range(len(self.seats)):
            enough = within(total, range(wanted, len(self.seats) + 1))
            self._holes[(*key, wanted)] = disj((beyond[0], enough))
        exact = {v: bit for v, bit in beyond.items() if v < _OUTSIDE_COUNTED}
        joined = _add(total, exact)
        return {**joined, MANY: beyond[_OUTSIDE_COUNTED]}

    def _tally(self, expr: Expr, env: Env, frame: Frame) -> Tally:
        """A number of CPUs, where possible relative to the mask it counts."""
        unknown = Tally(None, constant(UNKNOWN))
        match expr:
            case Read(_, _, CounterSort(mask)):
                return Tally(mask, self.value(expr, env, frame))
            case Quantified(Quantifier.COUNT, param, Read(mask, (index,), _)) if (
                index == param
            ):
                return Tally(mask, constant(0))
            case Quantified(Quantifier.COUNT, _, _):
                return Tally(None, self._count(expr, env, frame))
            case Apply(Op.ADD | Op.SUB as op, (a, b), _):
                left, right = (self._tally(x, env, frame) for x in (a, b))
                sign = 1 if op is Op.ADD else -1
                if not is_exact(expr):
                    x, y = (self._absolute(part, frame) for part in (left, right))
                    return Tally(None, _stopped(x, y, sign, expr.sort))
                if op is Op.ADD and left.mask is None:
                    left, right = right, left
                if right.mask is not None:
                    right = Tally(None, self._absolute(right, frame))
                return Tally(left.mask, shift(left.values, right.values, sign))
            case Apply(Op.ITE, (_, a, b), _):
                left, right = (self._tally(x, env, frame) for x in (a, b))
                if left.mask != right.mask:
                    return unknown
                condition = self.truth(expr.args[0], env, frame)
                return Tally(left.mask, select(condition, left.values, right.values))
            case _:
                return Tally(None, self.value(expr, env, frame))

    def _absolute(self, tally: Tally, frame: Frame) -> Values:
        if tally.mask is None:
            return tally.values
        return shift(self._population(tally.mask, frame), tally.values, 1)

    def _population(self, mask: str, frame: Frame) -> Values:
        """How many CPUs have the bit."""
        return self._count(self._population_expr(mask), {}, frame)

    def _population_expr(self, mask: str) -> Quantified:
        found = self._cache.get(("population", mask))
        if found is None:
            variable = self.system.variable(mask)
            param = Param("counted", variable.indices[0])
            read = Read(mask, (param,), variable.sort)
            found = Quantified(Quantifier.COUNT, param, read)
            self._cache["population", mask] = found
        return found  # type: ignore[return-value]

    def _compare_tallies(self, expr: Apply, env: Env, frame: Frame) -> Bit:
        left, right = (self._tally(a, env, frame) for a in expr.args)
        if left.mask != right.mask:
            a, b = self._absolute(left, frame), self._absolute(right, frame)
        else:
            a, b = left.values, right.values
        hole = self.anyhow()
        return disj(
            conj((p, q, hole if verdict is None else verdict))
            for (x, p), (y, q) in product(a.items(), b.items())
            for verdict in (_order(expr.op, x, y),)
        )

    # What a formula would like to have seats for

    def needs(
        self, expr: Expr, env: Env, frame: Frame, polarity: int = 0
    ) -> Iterator[Need]:
        """What `expr` can be freed of if seats are reserved.

        `polarity`: 1 where only the truth of the formula matters, -1 where only its
        falsehood does, 0 where both may.
        """
        if self.closed:
            return
        match expr:
            case Quantified(kind, _, _):
                helped = {Quantifier.EXISTS: 1, Quantifier.FORALL: -1}.get(kind, 0)
                if kind is not Quantifier.COUNT and polarity in (0, helped):
                    self.truth(expr, env, frame)
                    hole = self._holes[self._key("truth", expr, env, frame)]
                    if not isinstance(hole, bool):
                        yield Need(1, hole)
            case Read(_, indices, _):
                for index in indices:
                    yield from self.needs(index, env, frame)
                    there = self.value(index, env, frame).get(OTHER, False)
                    if there is not False:
                        yield Need(1, negate(there))
            case Apply(Op.NOT, (body,), _):
                yield from self.needs(body, env, frame, -polarity)
            case Apply(Op.AND | Op.OR, args, _):
                for arg in args:
                    yield from self.needs(arg, env, frame, polarity)
            case Apply(op, args, _):
                for arg in args:
                    yield from self.needs(arg, env, frame)
                if op in (Op.EQ, Op.LT, Op.LE) and any(map(_counts, args)):
                    yield from self._count_needs(args, env, frame)
            case _:
                return

    def _count_needs(
        self, args: tuple[Expr, ...], env: Env, frame: Frame
    ) -> Iterator[Need]:
        tallies = [self._tally(arg, env, frame) for arg in args]
        if tallies[0].mask == tallies[1].mask is not None:
            return
        fixed = [t.values for t, arg in zip(tallies, args) if not _counts(arg)]
        limit = max(
            (v for vs in fixed for v in vs if v not in (FAR, MANY, UNKNOWN)), default=0
        )
        wanted = min(max(limit, 0) + 1, len(self.seats) - 1)
        for tally, arg in zip(tallies, args):
            counted = self._population_expr(tally.mask) if tally.mask else arg
            if isinstance(counted, Quantified):
                yield self.count_need(counted, env, frame, wanted)

    def count_need(
        self, counted: Quantified, env: Env, frame: Frame, wanted: int
    ) -> Need:
        """The need of a count that matters only up to `wanted`."""
        self._count(counted, env, frame)
        key = self._key("count", counted, env, frame)
        return Need(wanted, self._holes.get((*key, wanted), True))


def _is_bool(expr: Expr) -> bool:
    return isinstance(expr.sort, BoolSort)


def _counts(expr: Expr) -> bool:
    """Is it a number of CPUs, which an open pool cannot hold as a plain value?"""
    return (
        isinstance(expr.sort, CounterSort)
        or (isinstance(expr, Quantified) and expr.kind is Quantifier.COUNT)
        or (
            isinstance(expr, Apply)
            and expr.op in (Op.ADD, Op.SUB, Op.ITE)
            and any(_counts(arg) for arg in expr.args)
        )
    )


def _add(a: Values, b: Values) -> Values:
    return collect(
        (x + y, conj((p, q))) for (x, p), (y, q) in product(a.items(), b.items())
    )


def shift(a: Values, b: Values, sign: int) -> Values:
    """`a + b` or `a - b`, unknown where a part is."""

    def joined(x: int, y: int) -> int:
        if UNKNOWN in (x, y) or y in (MANY, FAR):
            return UNKNOWN
        if x == FAR:
            return UNKNOWN if y else FAR
        if x == MANY:
            return MANY if sign * y >= 0 else UNKNOWN
        return x + sign * y

    return collect(
        (joined(x, y), conj((p, q))) for (x, p), (y, q) in product(a.items(), b.items())
    )


def _stopped(a: Values, b: Values, sign: int, sort: Sort) -> Values:
    """`a + b` or `a - b` within a sort, unknown where that leaves several numbers."""

    def joined(x: int, y: int) -> int:
        (low, high), (least, most) = _between(x), _between(y)
        if sign < 0:
            least, most = -most, -least
        lowest, highest = clamp(low + least, sort), clamp(high + most, sort)
        return lowest if lowest == highest else UNKNOWN

    return collect(
        (joined(x, y), conj((p, q))) for (x, p), (y, q) in product(a.items(), b.items())
    )


def _between(value: int) -> tuple[int, int]:
    """The numbers that a value may stand for."""
    if value in (FAR, UNKNOWN):
        return -UNKNOWN, UNKNOWN
    return (_OUTSIDE_COUNTED, UNKNOWN) if value == MANY else (value, value)


def difference(old: Values, new: Values) -> Values:
    return shift(new, old, -1)


def _order(op: Op, x: int, y: int) -> bool | None:
    """The comparison of two numbers of CPUs; None where it is open."""
    if FAR in (x, y) and op is Op.EQ and (x in NEAR or y in NEAR):
        return False
    if {FAR, UNKNOWN} & {x, y} or (max(x, y) == MANY and min(x, y) >= _OUTSIDE_COUNTED):
        return None
    if op is Op.EQ:
        return x == y
    return x <= y if op is Op.LE else x < y
