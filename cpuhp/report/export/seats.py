"""Steps and states as Cubicle has them: conjunctions about distinct processes.

Where a formula looks at CPUs by several names, it is written once for each way in which
these can be the same CPU. A CPU that is an index gets a seat: a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from cpuhp.model.expr import (
    FALSE,
    TRUE,
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
    children,
    eq,
    exists,
    forall,
    not_,
    or_,
    rebuild,
    substitute,
    walk,
)
from cpuhp.model.sorts import BOOL, CPU, NONE, IndexSort, is_cpu
from cpuhp.model.system import Variable
from cpuhp.report.export.plain import (
    PlainAction,
    PlainWrite,
    Unbounded,
    too_large,
    unsaid,
)
from cpuhp.semantics import default_value

MOST_CUBES = 4096  # of one formula
MOST_DECISIONS = 6  # quantified formulas that the values of one step depend on
SEAT = IndexSort("seat")  # distinct from all other seats
ANYBODY = IndexSort("anybody")  # in a case of an assignment, or beside all seats
NOBODY = Const(NONE, CPU)

Cube = tuple[Expr, ...]  # literals, all of which hold


# --- normal forms


def negated(expr: Expr) -> Expr:
    """The negation, with `not` before comparisons and cells only."""
    match expr:
        case Apply(Op.NOT, (a,), _):
            return inward(a)
        case Apply(Op.AND, args, _):
            return or_(*map(negated, args))
        case Apply(Op.OR, args, _):
            return and_(*map(negated, args))
        case Quantified(Quantifier.FORALL, param, body):
            return exists(param, negated(body))
        case Quantified(Quantifier.EXISTS, param, body):
            return forall(param, negated(body))
        case _:
            return not_(expr)


def inward(expr: Expr) -> Expr:
    """The formula, with `not` before comparisons and cells only."""
    match expr:
        case Apply(Op.NOT, (a,), _):
            return negated(a)
        case Apply(Op.AND, args, _):
            return and_(*map(inward, args))
        case Apply(Op.OR, args, _):
            return or_(*map(inward, args))
        case Quantified(Quantifier.FORALL, param, body):
            return forall(param, inward(body))
        case Quantified(Quantifier.EXISTS, param, body):
            return exists(param, inward(body))
        case _:
            return expr


def cubes(expr: Expr, domain: Mapping[str, tuple[Expr, ...]]) -> list[Cube]:
    """The disjunctive normal form of a formula whose negations are inside.

    `domain` has the values of variables of finite sorts: "one of most of them" is "none
    of the others". Quantified formulas are literals here. Raises InputError HP832.
    """
    found: list[Cube] = [()]
    match expr:
        case Const(value, _):
            return [()] if value else []
        case Apply(Op.OR, args, _):
            others = _none_of(args, domain)
            if others is not None:
                return [others]
            found = [cube for arg in args for cube in cubes(arg, domain)]
        case Apply(Op.AND, args, _):
            for arg in args:
                more = cubes(arg, domain)
                ways = (_joined(a, b) for a in found for b in more)
                found = list(dict.fromkeys(c for c in ways if c is not None))
                if len(found) > MOST_CUBES:
                    break
        case _:
            return [(expr,)]
    if len(found) > MOST_CUBES:
        raise too_large(f"a condition of more than {MOST_CUBES} cases")
    return list(dict.fromkeys(found))


def _none_of(
    args: tuple[Expr, ...], domain: Mapping[str, tuple[Expr, ...]]
) -> Cube | None:
    """`x is one of most values` as `x is none of the others`."""
    cells, values = set(), set()
    for arg in args:
        match arg:
            case Apply(Op.EQ, (Read() as cell, Const(value, _)), _):
                cells.add(cell)
                values.add(value)
            case _:
                return None
    if len(cells) != 1:
        return None
    (cell,) = cells
    every = domain.get(cell.variable, ())
    others = [v for v in every if isinstance(v, Const) and v.value not in values]
    if not every or len(others) >= len(values):
        return None
    return tuple(not_(eq(cell, v)) for v in others)


def _joined(one: Cube, other: Cube) -> Cube | None:
    """All literals of both; None if they contradict each other."""
    kept = dict.fromkeys(one)
    values = {
        x.args[0]: x.args[1]
        for x in one
        if isinstance(x, Apply) and x.op is Op.EQ and isinstance(x.args[1], Const)
    }
    for literal in other:
        if not_(literal) in kept:
            return None
        match literal:
            case Apply(Op.EQ, (cell, Const() as value), _):
                if values.setdefault(cell, value) != value:
                    return None
        kept[literal] = None
    return tuple(kept)


def witnessed(
    expr: Expr, domain: Mapping[str, tuple[Expr, ...]]
) -> Iterator[tuple[tuple[Param, ...], Cube]]:
    """The cubes of a formula, each with the CPUs that it says there are."""
    for cube in cubes(inward(expr), domain):
        for literal in cube:
            if isinstance(literal, Quantified) and literal.kind is Quantifier.EXISTS:
                rest = and_(*(x for x in cube if x != literal), literal.body)
                for params, inner in witnessed(rest, domain):
                    yield (literal.param, *params), inner
                break
        else:
            yield (), cube


# --- pointers that may be none


def without_none(claim: Unbounded) -> Unbounded:
    """The claim with a truth value beside each pointer that may be none.

    A pointer that becomes none keeps its former value, which nobody reads.
    """
    split = _Split({v.name for v in claim.variables if _nullable(v)})
    variables = []
    for variable in claim.variables:
        if variable.name in split.names:
            variables.append(replace(variable, sort=CPU))
            variables.append(replace(variable, name=flag(variable.name), sort=BOOL))
        else:
            variables.append(variable)
    return replace(
        claim,
        variables=tuple(variables),
        starts=tuple(map(split.formula, claim.starts)),
        facts=tuple(map(split.formula, claim.facts)),
        actions=tuple(map(split.action, claim.actions)),
        claim=split.formula(claim.claim),
        clauses=tuple((says, split.formula(cube)) for says, cube in claim.clauses),
    )


def flag(pointer: str) -> str:
    """The name of the variable that tells whether a pointer is set."""
    return f"set {pointer}"


def _nullable(variable: Variable) -> bool:
    sort = variable.sort
    return isinstance(sort, IndexSort) and is_cpu(sort) and sort.nullable


@dataclass(frozen=True)
class _Split:
    names: set[str]

    def is_set(self, cpu: Expr) -> Expr:
        if isinstance(cpu, Read) and cpu.variable in self.names:
            return Read(flag(cpu.variable), cpu.indices, BOOL)
        return FALSE if cpu == NOBODY or _is_nobody(cpu) else TRUE

    def formula(self, expr: Expr) -> Expr:
        def visit(part: Expr) -> Expr | None:
            match part:
                case Apply(Op.EQ, (a, b), _) if _is_pointer(a) or _is_pointer(b):
                    there = and_(self.is_set(a), self.is_set(b))
                    nowhere = and_(not_(self.is_set(a)), not_(self.is_set(b)))
                    return or_(nowhere, and_(there, eq(a, b)))
            return None

        return rebuild(expr, visit)

    def action(self, action: PlainAction) -> PlainAction:
        writes = tuple(new for w in action.writes for new in self.writes(w))
        return replace(action, guard=self.formula(action.guard), writes=writes)

    def writes(self, write: PlainWrite) -> Iterator[PlainWrite]:
        cases = tuple((self.formula(c), self.value(write, v)) for c, v in write.cases)
        if write.variable.name not in self.names:
            yield replace(write, cases=cases)
            return
        told = [(c, v) for c, v in cases if not _is_nobody(v)]
        yield replace(
            write,
            variable=replace(write.variable, sort=CPU),
            cases=tuple((and_(c, self.is_set(v)), v) for c, v in told),
        )
        name = flag(write.variable.name)
        yield replace(
            write,
            variable=replace(write.variable, name=name, sort=BOOL),
            cases=tuple((c, self.is_set(v)) for c, v in cases),
        )

    def value(self, write: PlainWrite, value: Expr) -> Expr:
        return self.formula(value) if write.variable.sort == BOOL else value


def _is_nobody(expr: Expr) -> bool:
    return isinstance(expr, Const) and is_cpu(expr.sort)


def _is_pointer(expr: Expr) -> bool:
    return isinstance(expr, Read) and is_cpu(expr.sort)


# --- seats


def seat(number: int) -> Param:
    return Param(f"p{number}", SEAT)


def anybody(number: int) -> Param:
    return Param(f"z{number}", ANYBODY)


@dataclass(frozen=True)
class Seats:
    """How many seats there are, which CPUs sit where, and what has to hold for that."""

    pointers: frozenset[str]  # those with a flag beside them
    count: int = 0
    known: Mapping[Expr, Expr] = ()  # type: ignore[assignment]
    facts: tuple[Expr, ...] = ()

    @property
    def all(self) -> tuple[Param, ...]:
        return tuple(map(seat, range(self.count)))

    def take(self, cpu: Expr) -> Iterator[Seats]:
        """All ways to seat one more CPU: where somebody sits already, or beside them."""
        for number in range(self.count + 1):
            place = seat(number)
            known = {**dict(self.known), cpu: place}
            count = max(self.count, number + 1)
            yield replace(self, count=count, known=known, facts=(
                *self.facts, *self.at(cpu, place)))  # fmt: skip
        if isinstance(cpu, Read) and cpu.variable in self.pointers:
            known = {**dict(self.known), cpu: NOBODY}
            is_set = Read(flag(cpu.variable), cpu.indices, BOOL)
            yield replace(self, known=known, facts=(*self.facts, not_(is_set)))

    def at(self, cpu: Expr, place: Param) -> Iterator[Expr]:
        """What holds if that CPU sits there; a parameter is just a name for it."""
        if isinstance(cpu, Param):
            return
        if isinstance(cpu, Read) and cpu.variable in self.pointers:
            yield Read(flag(cpu.variable), cpu.indices, BOOL)
        yield eq(cpu, place)

    def told(self, expr: Expr) -> Expr:
        """The expression with what is known of its CPUs, as far as it goes."""
        known = dict(self.known)
        if expr in known:
            return known[expr]
        match expr:
            case Read(variable, indices, sort):
                where = tuple(map(self.told, indices))
                if any(isinstance(i, Const) and i.value == NONE for i in where):
                    return Const(default_value(sort), sort)
                moved = Read(variable, where, sort)
                return known.get(moved, moved)
            case Apply(Op.EQ, (a, b), _):
                return _equal(self.told(a), self.told(b))
            case Apply(Op.AND, args, _):
                return and_(*map(self.told, args))
            case Apply(Op.OR, args, _):
                return or_(*map(self.told, args))
            case Apply(Op.NOT, (a,), _):
                return not_(self.told(a))
            case Apply():
                raise unsaid("the order of CPU numbers")
            case Quantified(Quantifier.FORALL, param, body):
                return forall(param, self.told(body))
            case Quantified(_, param, body):
                return exists(param, self.told(body))
        return expr


def _equal(a: Expr, b: Expr) -> Expr:
    if _is_nobody(a) or _is_nobody(b):
        return TRUE if _is_nobody(a) and _is_nobody(b) else FALSE
    if isinstance(a, Param) and isinstance(b, Param) and a.sort == b.sort == SEAT:
        return TRUE if a == b else FALSE
    if isinstance(a, Param | Boot) and isinstance(b, Read):
        a, b = b, a
    return eq(a, b)


def seatings(
    start: Seats, cpus: Iterable[Expr], exprs: tuple[Expr, ...]
) -> Iterator[tuple[Seats, tuple[Expr, ...]]]:
    """Every way to seat these CPUs, and all that the expressions use as an index."""
    waiting = [cpu for cpu in cpus if cpu not in dict(start.known)]
    if waiting:
        for seats in start.take(waiting[0]):
            yield from seatings(seats, waiting[1:], exprs)
        return
    moved = tuple(map(start.told, exprs))
    missing = unseated(moved)
    if missing is None:
        yield start, moved
        return
    for seats in start.take(missing):
        yield from seatings(seats, (), moved)


def unseated(
    exprs: Iterable[Expr], bound: frozenset[Param] = frozenset(), of_all: bool = False
) -> Expr | None:
    """A CPU that is an index and has no seat yet, innermost first.

    Raises InputError HP836 where that is another one for each CPU, unless `of_all`.
    """
    for expr in exprs:
        inner = bound | {expr.param} if isinstance(expr, Quantified) else bound
        found = unseated(children(expr), inner, of_all)
        if found is not None:
            return found
        for index in expr.indices if isinstance(expr, Read) else ():
            if isinstance(index, Const) or index in bound:
                continue
            if isinstance(index, Param) and index.sort in (SEAT, ANYBODY):
                continue
            among = [p for p in walk(index) if isinstance(p, Param)]
            if any(p in bound or (p.sort == ANYBODY and not of_all) for p in among):
                raise unsaid("what a pointer of each CPU points to")
            return index
    return None


def decided(action: PlainAction) -> Iterator[PlainAction]:
    """The action, once for each outcome of the quantified formulas in its values."""
    found: dict[Expr, None] = {}
    bound = {p for w in action.writes for p in w.bound}
    for write in action.writes:
        for expr in (e for case in write.cases for e in case):
            found.update(dict.fromkeys(_outermost(expr)))
    if not found:
        yield action
        return
    if len(found) > MOST_DECISIONS or any(p in bound for q in found for p in walk(q)):
        raise unsaid("a value that depends on 'each CPU'")
    first = next(iter(found))
    for holds in (TRUE, FALSE):
        guard = and_(action.guard, first if holds == TRUE else not_(first))
        writes = tuple(
            replace(w, cases=tuple(
                (_put(c, first, holds), _put(v, first, holds)) for c, v in w.cases))
            for w in action.writes
        )  # fmt: skip
        yield from decided(replace(action, guard=guard, writes=writes))


def _put(expr: Expr, what: Expr, holds: Expr) -> Expr:
    return rebuild(expr, lambda e: holds if e == what else None)


def _outermost(expr: Expr) -> Iterator[Quantified]:
    if isinstance(expr, Quantified):
        yield expr
    else:
        for child in children(expr):
            yield from _outermost(child)


def for_each(formula: Quantified, seats: Seats) -> tuple[list[Expr], Expr]:
    """`all` of a condition: for each seat, and for whoever has none."""
    if formula.kind is not Quantifier.FORALL:
        raise unsaid("'some CPU' within a condition on each CPU")
    here = [
        seats.told(substitute(formula.body, {formula.param: place}))
        for place in seats.all
    ]
    other = seats.told(substitute(formula.body, {formula.param: anybody(0)}))
    return here, other
