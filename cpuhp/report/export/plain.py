"""A claim for every number of CPUs in words that any checker of such systems has.

What comes out knows CPUs, truth values, and values of finite sorts that can be compared
with one another. Numbers are gone: each sum and each `<` is written out by cases, and
so are parameters and quantifiers over sorts that have a fixed size. Choices of the
first or last element are read as "any", as in every proof for all counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, product

from cpuhp.diagnostics import InputError, Span, fail
from cpuhp.engines.explicit.space import at_rest
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
    before,
    clamp,
    eq,
    exists,
    forall,
    implies,
    not_,
    or_,
    reads,
    substitute,
)
from cpuhp.model.invariant import Argument, Clause, Invariant, Literal, Symbol
from cpuhp.model.sorts import (
    CPU,
    NONE,
    BoolSort,
    CounterSort,
    EnumSort,
    IndexSort,
    RangeSort,
    Sort,
    is_cpu,
)
from cpuhp.model.system import (
    Action,
    Assign,
    Expectation,
    Property,
    Role,
    Runs,
    TransitionSystem,
    Variable,
)
from cpuhp.semantics import default_value

PROVABLE = (Expectation.ALWAYS, Expectation.FINALLY, Expectation.DEADLOCK_FREE)
MOST_CASES = 4096  # of one expression
MOST_CPUS = 4  # that a comparison with a number of CPUs may ask for
SYMBOLS: dict[Symbol, Param | Boot] = {
    Symbol.BOOT: Boot(),
    Symbol.I: Param("i", CPU),
    Symbol.J: Param("j", CPU),
}

Cases = list[tuple[Expr, Expr]]  # conditions, of which exactly one holds, and values


@dataclass(frozen=True)
class PlainWrite:
    """`variable[indices] := value` where the condition holds, for all `bound` CPUs.

    The value is a formula, a CPU, a constant, or a cell of the variable's own sort.
    """

    variable: Variable
    indices: tuple[Expr, ...]
    bound: tuple[Param, ...]
    cases: tuple[tuple[Expr, Expr], ...]


@dataclass(frozen=True)
class PlainAction:
    """One atomic step of some CPUs, `params`, of which `aps` are not the control CPU."""

    label: str
    params: tuple[Param, ...]
    aps: tuple[Param, ...]
    guard: Expr
    writes: tuple[PlainWrite, ...]
    owes: bool


@dataclass(frozen=True)
class Unbounded:
    """A claim for every number of CPUs.

    `starts` and `facts` hold in every initial state, `facts` for ever, as nothing that
    they read is written. `clauses` are formulas over the CPUs `i` and `j`, distinct
    and not the control CPU: what may never be.
    """

    system: TransitionSystem
    prop: Property
    variables: tuple[Variable, ...]
    starts: tuple[Expr, ...]
    facts: tuple[Expr, ...]
    actions: tuple[PlainAction, ...]
    claim: Expr
    clauses: tuple[tuple[str, Expr], ...]

    @property
    def written(self) -> frozenset[str]:
        """Names of the variables that some action assigns to."""
        return frozenset(w.variable.name for a in self.actions for w in a.writes)


def unbounded(
    system: TransitionSystem, prop: Property, invariant: Invariant | None
) -> Unbounded:
    """The claim in plain words, with the clauses of a proof if there is one.

    Raises InputError: HP831 for a claim that is not about single states, HP836 for what
    cannot be said, HP832 for what grows too large.
    """
    demand_single_states(prop.expectation, prop.span)
    return _Plain(system, prop).claim(invariant)


def demand_single_states(kind: Expectation, span: Span | None = None) -> None:
    """Raises InputError HP831 for a claim that is not about single states."""
    if kind not in PROVABLE:
        raise fail(
            "HP831",
            f"a claim of kind '{kind.value}' cannot be exported",
            span,
            help="always, never, finally and deadlock_free can be, for all counts",
        )


def unsaid(what: str) -> InputError:
    """The error for what languages of uninterpreted CPUs have no words for."""
    return fail(
        "HP836",
        f"{what} cannot be written in this language",
        help="a model for a fixed number of CPUs can have it: promela, murphi or smt2",
    )


def too_large(what: str) -> InputError:
    """The error for a model that is too long to be of use."""
    return fail("HP832", f"the model has {what}")


@dataclass(frozen=True, eq=False)
class _Plain:
    system: TransitionSystem
    prop: Property

    def claim(self, invariant: Invariant | None) -> Unbounded:
        system = self.system
        for variable in system.variables:
            if isinstance(variable.sort, CounterSort):
                raise unsaid(f"'{variable.name}', a number of CPUs")
        actions = tuple(found for a in system.actions for found in self.actions(a))
        written = {name for action in system.actions for name in action.written}
        known = [*map(self.formula, system.assumptions)]
        known += [f for v in system.variables for f in self.initial(v)]
        return Unbounded(
            system,
            self.prop,
            system.variables,
            tuple(f for f in known if reads(f) & written),
            tuple(f for f in known if not reads(f) & written and f != TRUE),
            actions,
            self.goal(actions),
            tuple(self.clauses(invariant)),
        )

    # What holds

    def initial(self, variable: Variable) -> Iterator[Expr]:
        """That the variable begins as it does, for all its cells."""
        value = variable.initial
        if value is None:
            value = _first_location(self.system, variable)
        if value is None:
            return
        places = self.places(variable.index_params or _params(variable))
        for params, where in places:
            local = substitute(value, dict(zip(variable.index_params, where)))
            cell = Read(variable.name, where, variable.sort)
            holds = or_(
                *(
                    and_(condition, self.same(cell, found))
                    for condition, found in self.assigned(local, variable.sort)
                )
            )
            for param in reversed(params):
                holds = forall(param, holds)
            yield holds

    def same(self, cell: Read, value: Expr) -> Expr:
        if isinstance(cell.sort, BoolSort):
            return _iff(cell, value)
        return eq(cell, value)

    def places(
        self, params: Iterable[Param]
    ) -> Iterator[tuple[tuple[Param, ...], tuple[Expr, ...]]]:
        """CPUs that stay parameters, and for each cell of other sorts its indices."""
        listed = tuple(params)
        ways = [[p] if is_cpu(p.sort) else self.elements(p.sort) for p in listed]
        for where in product(*ways):
            yield tuple(p for p in listed if is_cpu(p.sort)), tuple(where)

    def elements(self, sort: IndexSort) -> list[Expr]:
        plain = IndexSort(sort.name)
        return [Const(n, plain) for n in range(dict(self.system.sizes)[sort.name])]

    def goal(self, actions: tuple[PlainAction, ...]) -> Expr:
        """What holds in every reachable state if the claim does."""
        formula = self.formula(self.prop.formula)
        if self.prop.expectation is Expectation.ALWAYS:
            return formula
        moves = []
        for action in actions:
            if action.owes:
                enabled = and_(*(not_(eq(p, Boot())) for p in action.aps), action.guard)
                for param in reversed(action.params):
                    enabled = exists(param, enabled)
                moves.append(enabled)
        if self.prop.expectation is Expectation.DEADLOCK_FREE:
            formula = self.formula(at_rest(self.system))
        return implies(not_(or_(*moves)), formula)

    def clauses(self, invariant: Invariant | None) -> Iterator[tuple[str, Expr]]:
        from cpuhp.engines.certificate.sentences import in_sentences

        clauses = invariant.clauses if invariant else ()
        for says, clause in zip(in_sentences(self.system, clauses), clauses):
            parts = (self.literal(literal, clause) for literal in clause.cube)
            yield says, and_(*parts)

    def literal(self, literal: Literal, clause: Clause) -> Expr:
        variable = self.system.variable(literal.variable)
        where = tuple(
            _place(argument, sort)
            for argument, sort in zip(literal.arguments, variable.indices)
        )
        cell = Read(variable.name, where, variable.sort)
        if isinstance(variable.sort, EnumSort | RangeSort):
            values = self.values(variable.sort)
            given = [eq(cell, v) for v in values if _number(v) in literal.values]
            others = [eq(cell, v) for v in values if _number(v) not in literal.values]
            return or_(*given) if len(given) <= len(others) else not_(or_(*others))
        parts = []
        for value in sorted(literal.values, key=str):
            if isinstance(value, Symbol):
                parts.append(_points(cell, value, clause))
            elif isinstance(variable.sort, BoolSort):
                parts.append(cell if value else not_(cell))
            else:
                parts.append(eq(cell, Const(value, variable.sort)))
        return or_(*parts)

    # Actions

    def actions(self, action: Action) -> Iterator[PlainAction]:
        """The action, once for all values of parameters that are no CPUs."""
        is_ap = self.system.process(action.process).runs is Runs.EVERY_AP
        enabled = and_(*(c.among for c in action.choices), action.guard)
        for params, values in self.places(action.params):
            chosen = dict(zip(action.params, values))
            guard = self.formula(substitute(enabled, chosen))
            if guard == FALSE:
                continue
            others = [f"{p.name}={v.value}" for p, v in chosen.items()
                      if isinstance(v, Const)]  # fmt: skip
            yield PlainAction(
                " ".join([action.name, *others]),
                params,
                (action.actor,) if is_ap and action.actor else (),
                guard,
                tuple(w for e in action.effects for w in self.writes(e, chosen)),
                self.system.owes_progress(action),
            )

    def writes(
        self, effect: Assign, chosen: Mapping[Param, Expr]
    ) -> Iterator[PlainWrite]:
        variable = self.system.variable(effect.variable)
        for bound, values in self.places(effect.bound):
            local = {**chosen, **dict(zip(effect.bound, values))}
            value = substitute(effect.value, local)
            cases = self.assigned(value, variable.sort)
            indices = [self.index(substitute(i, local)) for i in effect.indices]
            for condition, where in _each(indices):
                if any(isinstance(i, Const) and i.value == NONE for i in where):
                    continue
                if any(p not in where for p in bound):
                    raise unsaid(f"an assignment to all '{variable.name}[...]'")
                narrowed = [(and_(condition, c), v) for c, v in cases]
                kept = tuple((c, v) for c, v in narrowed if c != FALSE)
                yield PlainWrite(variable, where, bound, kept)

    # Expressions

    def formula(self, expr: Expr) -> Expr:
        """A truth value, made of comparisons of cells with cells and constants."""
        match expr:
            case Const(value, _):
                return TRUE if value else FALSE
            case Read() if isinstance(expr.sort, BoolSort):
                return or_(*(and_(c, e) for c, e in self.cells(expr)))
            case Quantified(Quantifier.COUNT, _, _):
                return exists(expr.param, self.formula(expr.body))
            case Quantified():
                return self.quantified(expr)
            case Apply(op, args, sort) if isinstance(sort, BoolSort):
                return self.connected(op, args)
        return or_(*(c for c, v in self.numbers(expr) if _number(v)))

    def quantified(self, expr: Quantified) -> Expr:
        make = forall if expr.kind is Quantifier.FORALL else exists
        if is_cpu(expr.param.sort):
            return make(expr.param, self.formula(expr.body))
        bodies = [
            self.formula(substitute(expr.body, {expr.param: element}))
            for element in self.elements(expr.param.sort)
        ]
        return and_(*bodies) if expr.kind is Quantifier.FORALL else or_(*bodies)

    def connected(self, op: Op, args: tuple[Expr, ...]) -> Expr:
        match op:
            case Op.NOT:
                return not_(self.formula(args[0]))
            case Op.AND:
                return and_(*map(self.formula, args))
            case Op.OR:
                return or_(*map(self.formula, args))
            case Op.ITE:
                c, a, b = map(self.formula, args)
                return and_(or_(not_(c), a), or_(c, b))
            case Op.BEFORE:
                return self.compared(args, before)
        if op is Op.EQ and all(isinstance(a.sort, BoolSort) for a in args):
            return _iff(*map(self.formula, args))
        if op is Op.EQ and any(is_cpu(a.sort) for a in args):
            return self.compared(args, eq)
        return self.ordered(op, args)

    def compared(
        self, args: tuple[Expr, ...], test: Callable[[Expr, Expr], Expr]
    ) -> Expr:
        """A test of two CPUs."""
        a, b = map(self.cpus, args)
        return or_(*(and_(c, d, test(x, y)) for c, x in a for d, y in b))

    def ordered(self, op: Op, args: tuple[Expr, ...]) -> Expr:
        """A comparison of two numbers."""
        a, b = args
        for one, other, turned in ((a, b, False), (b, a, True)):
            if isinstance(one, Quantified):
                return self.counted(op, one, other, turned)
        if op is Op.EQ and isinstance(a, Read) and isinstance(b, Read):
            if a.sort == b.sort:
                pairs = product(self.cells(a), self.cells(b))
                return or_(*(and_(c, d, eq(x, y)) for (c, x), (d, y) in pairs))
        test = {Op.EQ: int.__eq__, Op.LT: int.__lt__, Op.LE: int.__le__}[op]
        return or_(
            *(
                and_(c, d)
                for c, x in self.numbers(a)
                for d, y in self.numbers(b)
                if test(_number(x), _number(y))
            )
        )

    def counted(self, op: Op, count: Quantified, other: Expr, turned: bool) -> Expr:
        """A comparison of a number of CPUs: so many distinct ones are, or are not."""
        parts = []
        for condition, value in self.numbers(other):
            number = _number(value)
            if op is Op.EQ:
                holds = and_(
                    self.at_least(count, number), not_(self.at_least(count, number + 1))
                )
            elif turned:  # number < count, number <= count
                holds = self.at_least(count, number + (op is Op.LT))
            else:
                holds = not_(self.at_least(count, number + (op is Op.LE)))
            parts.append(and_(condition, holds))
        return or_(*parts)

    def at_least(self, count: Quantified, number: int) -> Expr:
        if number <= 0:
            return TRUE
        if not is_cpu(count.param.sort):
            bodies = [
                self.formula(substitute(count.body, {count.param: element}))
                for element in self.elements(count.param.sort)
            ]
            return or_(*(and_(*some) for some in combinations(bodies, number)))
        if number > MOST_CPUS:
            raise unsaid(f"a number of CPUs that is compared with {number}")
        params = [Param(f"{count.param.name}_{n}", CPU) for n in range(number)]
        bodies = [
            self.formula(substitute(count.body, {count.param: p})) for p in params
        ]
        distinct = [not_(eq(a, b)) for a, b in combinations(params, 2)]
        holds = and_(*distinct, *bodies)
        for param in reversed(params):
            holds = exists(param, holds)
        return holds

    def numbers(self, expr: Expr) -> Cases:
        """The values that an expression of a finite sort takes, and when."""
        if isinstance(expr.sort, BoolSort):
            holds = self.formula(expr)
            return _merged([(holds, _of(1)), (not_(holds), _of(0))])
        match expr:
            case Const():
                return [(TRUE, expr)]
            case Read(_, _, sort):
                values = self.values(sort)
                return _merged(
                    (and_(c, eq(cell, v)), v)
                    for c, cell in self.cells(expr)
                    for v in values
                )
            case Apply(Op.ITE, (condition, a, b), _):
                holds = self.formula(condition)
                yes = [(and_(holds, c), v) for c, v in self.numbers(a)]
                no = [(and_(not_(holds), c), v) for c, v in self.numbers(b)]
                return _merged([*yes, *no])
            case Apply(Op.ADD | Op.SUB as op, (a, b), sort):
                sign = 1 if op is Op.ADD else -1
                return _merged(
                    (and_(c, d), _of(clamp(_number(x) + sign * _number(y), sort)))
                    for c, x in self.numbers(a)
                    for d, y in self.numbers(b)
                )
        raise unsaid("a number of CPUs")

    def values(self, sort: Sort) -> list[Expr]:
        """All values of a sort that is not of CPUs."""
        match sort:
            case EnumSort(_, names):
                return [Const(n, sort) for n in range(len(names))]
            case RangeSort(low, high) if high - low < MOST_CASES:
                return [Const(n, sort) for n in range(low, high + 1)]
            case IndexSort(name) if not is_cpu(sort):
                last = dict(self.system.sizes)[name]
                return [Const(n, sort) for n in range(NONE, last)]
        raise unsaid(f"a value of sort '{sort}'")

    def cpus(self, expr: Expr) -> Cases:
        """The CPUs, or none, that an expression is, and when."""
        match expr:
            case Param() | Boot() | Const(-1):
                return [(TRUE, expr)]
            case Read():
                return self.cells(expr)
            case Apply(Op.ITE, (condition, a, b), _):
                holds = self.formula(condition)
                yes = [(and_(holds, c), v) for c, v in self.cpus(a)]
                no = [(and_(not_(holds), c), v) for c, v in self.cpus(b)]
                return _merged([*yes, *no])
        raise unsaid("a CPU that is named by its number")

    def index(self, expr: Expr) -> Cases:
        """What an expression is as an index, and when."""
        if isinstance(expr.sort, IndexSort) and is_cpu(expr.sort):
            return self.cpus(expr)
        return self.numbers(expr)

    def cells(self, expr: Read) -> Cases:
        """The cells that a read may be of, and when; through none, the first value."""
        found: Cases = []
        for condition, where in _each([self.index(i) for i in expr.indices]):
            if any(isinstance(i, Const) and i.value == NONE for i in where):
                sort = expr.sort
                found.append((condition, Const(default_value(sort), sort)))
            else:
                found.append((condition, Read(expr.variable, where, expr.sort)))
        return _merged(found)

    def assigned(self, expr: Expr, sort: Sort) -> Cases:
        """What a variable of this sort takes, and when."""
        if isinstance(sort, BoolSort):
            return [(TRUE, self.formula(expr))]
        if is_cpu(sort):
            return self.cpus(expr)
        if isinstance(expr, Read) and expr.sort == sort:
            return self.cells(expr)
        if isinstance(expr, Apply) and expr.op is Op.ITE:
            condition, a, b = expr.args
            holds = self.formula(condition)
            yes = [(and_(holds, c), v) for c, v in self.assigned(a, sort)]
            no = [(and_(not_(holds), c), v) for c, v in self.assigned(b, sort)]
            return _merged([*yes, *no])
        ends = [_number(v) for v in self.values(sort)]
        return _merged(
            (c, Const(max(ends[0], min(ends[-1], _number(v))), sort))
            for c, v in self.numbers(expr)
        )


def _number(value: Expr) -> int:
    assert isinstance(value, Const)
    return value.value


def _of(value: int) -> Const:
    return Const(value, RangeSort(value, value))


def _merged(cases: Iterable[tuple[Expr, Expr]]) -> Cases:
    """Each value once, without those that never are."""
    found: dict[object, tuple[list[Expr], Expr]] = {}
    for condition, value in cases:
        if condition != FALSE:
            key = value.value if isinstance(value, Const) else value
            found.setdefault(key, ([], value))[0].append(condition)
    if len(found) > MOST_CASES:
        raise too_large(f"more than {MOST_CASES} cases of one expression")
    return [(or_(*conditions), value) for conditions, value in found.values()]


def _each(parts: list[Cases]) -> Iterator[tuple[Expr, tuple[Expr, ...]]]:
    """All combinations that may be."""
    for chosen in product(*parts):
        condition = and_(*(c for c, _ in chosen))
        if condition != FALSE:
            yield condition, tuple(v for _, v in chosen)


def _iff(a: Expr, b: Expr) -> Expr:
    if b in (TRUE, FALSE):
        return a if b == TRUE else not_(a)
    if a in (TRUE, FALSE):
        return b if a == TRUE else not_(b)
    return or_(and_(a, b), and_(not_(a), not_(b)))


def _place(argument: Argument, sort: IndexSort) -> Expr:
    if isinstance(argument, Symbol):
        return SYMBOLS[argument]
    return Const(argument, IndexSort(sort.name))


def _points(cell: Read, value: Symbol, clause: Clause) -> Expr:
    """The pointer is to this CPU; OTHER is one that the clause does not name."""
    nobody = Const(NONE, cell.sort)
    if value is Symbol.NONE:
        return eq(cell, nobody)
    if value is not Symbol.OTHER:
        return eq(cell, SYMBOLS[value])
    seen = [SYMBOLS[s] for s in (Symbol.I, Symbol.J) if s in clause.symbols]
    return and_(*(not_(eq(cell, other)) for other in (nobody, Boot(), *seen)))


def _params(variable: Variable) -> tuple[Param, ...]:
    return tuple(Param(f"x{n}", sort) for n, sort in enumerate(variable.indices))


def _first_location(system: TransitionSystem, variable: Variable) -> Expr | None:
    if variable.role is not Role.LOCATION:
        return None
    for process in system.processes:
        if process.location == variable.name:
            assert isinstance(variable.sort, EnumSort)
            return Const(variable.sort.values.index(process.initial), variable.sort)
    return None
