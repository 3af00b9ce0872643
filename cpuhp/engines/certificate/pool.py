"""The conditions without quantifiers, on a pool of seats for CPUs.

NOTE(pool): take any state of a machine of any size, and seat some of its CPUs: the
control CPU in seat 0, others in seats 1, 2, ... Then this state is a model of the terms
made here, for some values of the free constants. So if the terms have no model, there
is no such state. Rule by rule:

* `there_k` says that seat k is taken. CPUs are seated until all seats are taken or all
  CPUs have one, so seat k is taken only if seat k-1 is, and `outside` (there is a CPU
  without a seat) only if all are.
* A pointer is `none`, a seat or OTHER: some CPU without a seat. What is read through
  OTHER is a free constant, and two pointers to OTHER are equal or not as it pleases.
  What is written through OTHER changes no seat.
* A quantifier is its body at all taken seats, and a free constant (a "hole") for the
  CPUs without a seat, which is the neutral value if there are none.
* A number of CPUs is that of the seats and a free number for the rest.
* The order of CPU numbers is free.

Which CPUs are seated is ours to choose, so a CPU that decides something can be among
them. `may` and `granted` use that: they count the seats that they take, and callers add
them up. Cells of seats that are not taken hold anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product

from cpuhp.engines.certificate.near import near
from cpuhp.engines.certificate.terms import (
    FALSE,
    TRUE,
    as_one,
    conj,
    disj,
    equal,
    implies,
    is_number,
    ite,
    minus,
    neg,
    number,
    plus,
    symbol,
)
from cpuhp.engines.certificate.translate import (
    Env,
    Translator,
    Unsupported,
    free_params,
    is_count,
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
from cpuhp.model.invariant import Literal, Symbol
from cpuhp.model.sorts import BoolSort, CounterSort, IndexSort, Sort, is_cpu
from cpuhp.model.system import Property, TransitionSystem

Cell = tuple[str, ...]  # the indices of a cell, as terms
Named = Mapping[Symbol, str]  # the control CPU and those that a clause names
Grant = tuple[str, int]  # what may be assumed, for so many seats
LONG = 60
MAX_TERMS = 400_000


class Pool(Translator):
    """Terms about one state, with seats for the control CPU and `aps` others."""

    def __init__(self, system: TransitionSystem, prop: Property, aps: int):
        super().__init__(system, prop)
        self.aps = aps
        self.bits = (aps + 2).bit_length()
        self.cpu_sort = f"(_ BitVec {self.bits})"
        self.seats = tuple(number(seat, self.bits) for seat in range(aps + 1))
        self.boot = self.seats[0]
        self.none = number(aps + 1, self.bits)
        self.other = number(aps + 2, self.bits)
        self.outside = "outside"
        self.there = (TRUE, *(f"there_{seat}" for seat in range(1, aps + 1)))
        self.is_there = dict(zip(self.seats, self.there))
        self._named: dict[str, str] = {}
        self._numbers: dict[Literal, dict[str, None]] = {}
        self._cache: dict[tuple[object, ...], str] = {}
        self._free: dict[int, tuple[Param, ...]] = {}
        self._alike: dict[Expr, Expr] = {}
        self._kept: list[Expr] = []
        self._holes: dict[tuple[object, ...], str] = {}
        self._rest: dict[str, str] = {}
        self._cells: dict[tuple[str, Cell], str] = {}
        self._declare_state()

    def _declare_state(self) -> None:
        self.lines.append(f"(declare-const {self.outside} Bool)")
        for seat in self.there[1:]:
            self.lines.append(f"(declare-const {seat} Bool)")
        for before, seat in zip(self.there, self.there[1:]):
            self.axiom(implies(seat, before))
            self.axiom(implies(self.outside, seat))
        for variable in self.system.variables:
            for where in product(*map(self.elements, variable.indices)):
                at = [self.place(t, s) for t, s in zip(where, variable.indices)]
                name = symbol("_".join((f"s.{variable.name}", *at)))
                sort = self.sort(variable.sort)
                self.lines.append(f"(declare-const {name} {sort})")
                self.axiom(self.typed(name, variable.sort))
                self._cells[variable.name, where] = name
        for mask in self.masks:
            self.population(mask)

    @property
    def logic(self) -> str:
        """The SMT-LIB name of what the terms are made of."""
        return "ALL" if self.uses_ints else "QF_BV"

    def elements(self, sort: IndexSort) -> tuple[str, ...]:
        """The seats, or the elements of another index sort."""
        if is_cpu(sort):
            return self.seats
        return tuple(self.number(n) for n in range(self.sizes[sort.name]))

    def place(self, text: str, sort: IndexSort) -> str:
        return str(self.elements(sort).index(text))

    def typed(self, text: str, sort: Sort) -> str:
        """The term is a value of the sort; a CPU that it points to is there."""
        if not is_cpu(sort):
            return self.in_range(text, sort)
        assert isinstance(sort, IndexSort)
        found = [implies(equal(text, self.other), self.outside)]
        for seat, there in self.is_there.items():
            found.append(implies(equal(text, seat), there))
        found.append(f"(bvule {text} {self.other})")
        if not sort.nullable:
            found.append(neg(equal(text, self.none)))
        return conj(found)

    def anything(self, sort: Sort) -> str:
        """A free constant of this sort."""
        name = self.declare("any", self.sort(sort))
        self.axiom(self.typed(name, sort))
        return name

    def define(self, text: str, sort: str = "Bool") -> str:
        """A short name for a long term; the same one for the same term."""
        if len(text) < LONG:
            return text
        name = self._named.get(text)
        if name is None:
            if len(self._named) > MAX_TERMS:
                raise Unsupported("quantifiers that are nested too deeply")
            name = self._named[text] = self.fresh("t")
            self.lines.append(f"(define-fun {name} () {sort} {text})")
        return name

    # Expressions

    def _key(self, expr: Expr, env: Env) -> tuple[object, ...]:
        params = self.free(expr)
        if isinstance(expr, Quantified):  # equal ones say the same of who has no seat
            expr = self._alike.setdefault(expr, expr)
        return (id(expr), *(env.get(param) for param in params))

    def free(self, expr: Expr) -> tuple[Param, ...]:
        """The parameters that the expression does not bind itself."""
        if id(expr) not in self._free:
            self._kept.append(expr)  # so that its id stays its own
            self._free[id(expr)] = free_params(expr)
        return self._free[id(expr)]

    def truth(self, expr: Expr, env: Env) -> str:
        key = ("truth", *self._key(expr, env))
        if key not in self._cache:
            self._cache[key] = self.define(super().truth(expr, env))
        return self._cache[key]

    def value(self, expr: Expr, env: Env) -> str:
        key = ("value", *self._key(expr, env))
        if key not in self._cache:
            sort = "Int" if is_count(expr) else self.sort(expr.sort)
            if isinstance(expr.sort, BoolSort):
                sort = f"(_ BitVec {self.width})"
            self._cache[key] = self.define(super().value(expr, env), sort)
        return self._cache[key]

    def read(self, expr: Read, env: Env) -> str:
        where = tuple(self.value(index, env) for index in expr.indices)
        return self.cell(expr.variable, where)

    def cell(self, variable: str, where: Cell) -> str:
        """The value of a cell whose indices are any terms."""
        if (variable, where) in self._cells:
            return self._cells[variable, where]
        declared = self.system.variable(variable)
        for position, (text, sort) in enumerate(zip(where, declared.indices)):  # noqa: B007
            if text not in self.elements(sort):
                break
        else:
            raise AssertionError("a cell with known indices has a name")
        before, after = where[:position], where[position + 1 :]
        nowhere = self.none if is_cpu(sort) else self.number(-1)
        default = self.default(declared.sort)
        if isinstance(declared.sort, CounterSort):
            default = minus(default, self.population(declared.sort.mask))
        if text == nowhere:
            found = default
        else:
            known = [(nowhere, default)]
            for element in self.elements(sort):
                at = (*before, element, *after)
                known.append((element, self.cell(variable, at)))
            found = known.pop()[1] if not is_cpu(sort) else self.anything(declared.sort)
            for element, there in reversed(known):
                found = ite(equal(text, element), there, found)
            found = self.define(found, self.sort(declared.sort))
        self._cells[variable, where] = found
        return found

    def same_cpu(self, a: str, b: str) -> str:
        if is_number(a) or is_number(b):
            return equal(a, b)  # no expression is the constant OTHER
        if a == b:
            return TRUE
        known = disj((neg(equal(a, self.other)), self.declare("same", "Bool")))
        return conj((equal(a, b), known))

    def before(self, a: str, b: str) -> str:
        return FALSE if a == b else self.declare("before", "Bool")

    # Quantifiers and numbers of CPUs

    def taken(self, sort: IndexSort) -> list[tuple[str, str]]:
        """The elements, each with the condition that it is there."""
        if is_cpu(sort):
            return list(self.is_there.items())
        return [(element, TRUE) for element in self.elements(sort)]

    def quantified(self, expr: Quantified, env: Env) -> str:
        if expr.kind is Quantifier.COUNT:
            raise Unsupported("the truth of a number")
        every = expr.kind is Quantifier.FORALL
        parts = [self.hole(expr, env)] if is_cpu(expr.param.sort) else []
        for element, there in self.taken(expr.param.sort):
            body = self.truth(expr.body, {**env, expr.param: element})
            parts.append(implies(there, body) if every else conj((there, body)))
        return conj(parts) if every else disj(parts)

    def hole(self, expr: Quantified, env: Env) -> str:
        """What the quantifier says about the CPUs without a seat."""
        key = self._key(expr, env)
        if key not in self._holes:
            hole = self._holes[key] = self.declare("hole", "Bool")
            neutral = hole if expr.kind is Quantifier.FORALL else neg(hole)
            self.axiom(disj((self.outside, neutral)))
        return self._holes[key]

    def counted(self, expr: Quantified, env: Env) -> str:
        bodies = [
            conj((there, self.truth(expr.body, {**env, expr.param: element})))
            for element, there in self.taken(expr.param.sort)
        ]
        seated = plus(map(as_one, bodies))
        if not is_cpu(expr.param.sort):
            return seated
        rest = self.rest(f"{self._key(expr, env)}")
        return self.define(plus((seated, rest)), "Int")

    def rest(self, key: str) -> str:
        """A number of CPUs without a seat."""
        if key not in self._rest:
            rest = self._rest[key] = self.declare("rest", "Int")
            self.axiom(f"(<= 0 {rest})")
            self.axiom(disj((self.outside, equal(rest, "0"))))
        return self._rest[key]

    def population(self, mask: str) -> str:
        seated = [conj((t, self.cell(mask, (s,)))) for s, t in self.is_there.items()]
        rest = self.rest(f"mask {mask}")
        return self.define(plus((*map(as_one, seated), rest)), "Int")

    # What holds if the CPUs that decide it are seated

    def may(self, expr: Expr, env: Env, want: bool, spare: int) -> tuple[str, int]:
        """A term that holds if `expr` is `want`, and the seats it took of `spare`.

        If some CPU decides a quantifier, it is seated: so one of the seats does.
        Branches of a disjunction take the same seats, as only one needs to hold.
        """
        match expr:
            case Apply(Op.NOT, (arg,), _):
                return self.may(arg, env, not want, spare)
            case Apply(Op.AND | Op.OR as op, args, _):
                pairs = [(arg, want) for arg in args]
                if (op is Op.AND) == want:
                    return self._may_all(pairs, env, spare)
                found = [self.may(arg, env, want, spare) for arg in args]
                return disj(t for t, _ in found), max(n for _, n in found)
            case Apply(Op.ITE, (condition, yes, no), _):
                found = [
                    self._may_all([(condition, True), (yes, want)], env, spare),
                    self._may_all([(condition, False), (no, want)], env, spare),
                ]
                return disj(t for t, _ in found), max(n for _, n in found)
            case Quantified(kind, param, body) if self._decides(kind, want):
                price = 1 if is_cpu(param.sort) else 0
                if price <= spare:
                    found = [
                        self._with(there, body, {**env, param: e}, want, spare - price)
                        for e, there in self.taken(param.sort)
                    ]
                    return disj(t for t, _ in found), price + max(n for _, n in found)
        text = self.truth(expr, env)
        return (text if want else neg(text)), 0

    def _decides(self, kind: Quantifier, want: bool) -> bool:
        return kind is (Quantifier.EXISTS if want else Quantifier.FORALL)

    def _with(
        self, there: str, body: Expr, env: Env, want: bool, spare: int
    ) -> tuple[str, int]:
        text, price = self.may(body, env, want, spare)
        if _is_choice(body) or not _has_pointer(body):
            return conj((there, text)), price
        # What this CPU points to is seated with it.
        grant, more = self.granted((body,), env, spare - price)
        return conj((there, text, grant)), price + more

    def _may_all(
        self, parts: Iterable[tuple[Expr, bool]], env: Env, spare: int
    ) -> tuple[str, int]:
        texts, total = [], 0
        for part, want in parts:
            text, price = self.may(part, env, want, spare - total)
            texts.append(text)
            total += price
        return conj(texts), total

    def granted(
        self, exprs: Iterable[Expr], env: Env, spare: int, had: set[str] | None = None
    ) -> Grant:
        """What holds as the CPUs that are looked at through pointers, and those that
        decide quantifiers whose value is used, are seated while seats last.

        What is in `had` has been paid for, as the same CPU was seated for it before;
        what is granted now is added.
        """
        paid = set() if had is None else had
        texts, total = [], 0
        for expr in exprs:
            for text, full in self._wishes(expr, env):
                price = 0 if text in paid else full
                if text == TRUE or text in texts or total + price > spare:
                    continue
                texts.append(text)
                total += price
                paid.add(text)
        return conj(texts), total

    def _wishes(self, expr: Expr, env: Env, value: bool = False) -> Iterator[Grant]:
        """`value`: not only that the formula is true matters, or that it is false."""
        match expr:
            case Apply(Op.NOT | Op.AND | Op.OR):
                inner = value
            case _:
                inner = True
        if set(self.free(expr)) <= set(env):
            if isinstance(expr, Quantified) and is_cpu(expr.param.sort):
                if expr.kind is Quantifier.COUNT:
                    yield self.enough(
                        self.counted(expr, env), f"{self._key(expr, env)}"
                    )
                elif value:
                    hole = self.hole(expr, env)
                    self.truth(expr, env)
                    every = expr.kind is Quantifier.FORALL
                    yield (hole if every else neg(hole)), 1
            pointers: list[Expr] = []
            if isinstance(expr, Read):
                pointers = [i for i in expr.indices if is_cpu(i.sort)]
                if isinstance(expr.sort, CounterSort):
                    yield self.enough("", f"mask {expr.sort.mask}")
            elif isinstance(expr, Apply) and expr.op is Op.EQ:
                sides = [self.value(a, env) for a in expr.args if is_cpu(a.sort)]
                if not any(map(is_number, sides)):
                    pointers = [a for a in expr.args[:1] if is_cpu(a.sort)]
            for pointer in pointers:
                if not isinstance(pointer, Param | Boot | Const):
                    yield neg(equal(self.value(pointer, env), self.other)), 1
        if isinstance(expr, Quantified) and not is_cpu(expr.param.sort):
            for element in self.elements(expr.param.sort):
                local = {**env, expr.param: element}
                yield from self._wishes(expr.body, local, inner)
            return
        for child in children(expr):
            yield from self._wishes(child, env, inner)

    def enough(self, total: str, key: str) -> Grant:
        """Two of the CPUs that are counted are seated, or all if there are fewer."""
        rest = self.rest(key)
        if key.startswith("mask "):
            total = self.population(key.removeprefix("mask "))
        return disj((equal(rest, "0"), f"(<= 2 {minus(total, rest)})")), 2

    # Clauses

    def clause_cell(self, literal: Literal, cpus: Named) -> Cell:
        sorts = self.system.variable(literal.variable).indices
        return tuple(
            cpus[a] if isinstance(a, Symbol) else self.elements(s)[a]
            for a, s in zip(literal.arguments, sorts)
        )

    def literal(self, literal: Literal, cpus: Named, text: str) -> str:
        """The term, the value of the literal's cell, is one of its values."""
        sort = self.system.variable(literal.variable).sort
        if isinstance(sort, BoolSort):
            return disj(
                text if v else neg(text) for v in sorted(literal.values, key=str)
            )
        if isinstance(sort, CounterSort):
            return near(text, literal)
        if not is_cpu(sort):
            return self._one_of(text, literal)
        return self.define(disj(self._pointed(literal, cpus, text)))

    def _one_of(self, text: str, literal: Literal) -> str:
        if literal not in self._numbers:
            values = sorted(literal.values)
            self._numbers[literal] = {self.number(v): None for v in values}  # type: ignore[arg-type]
        numbers = self._numbers[literal]
        if is_number(text):  # as where a step leads
            return TRUE if text in numbers else FALSE
        return self.define(disj(equal(text, number) for number in numbers))

    def _pointed(self, literal: Literal, cpus: Named, text: str) -> Iterator[str]:
        for value in sorted(literal.values, key=str):
            assert isinstance(value, Symbol)
            if value is Symbol.NONE:
                yield equal(text, self.none)
            elif value is Symbol.OTHER:
                named = [equal(text, cpu) for cpu in cpus.values()]
                yield conj((neg(equal(text, self.none)), neg(disj(named))))
            elif value in cpus:
                yield equal(text, cpus[value])


def _has_pointer(expr: Expr) -> bool:
    """Is something read through a pointer that is a cell itself?"""
    return any(
        isinstance(part, Read) and any(isinstance(i, Read) for i in part.indices)
        for part in walk(expr)
    )


def _is_choice(expr: Expr) -> bool:
    """Does it bind CPUs of its own? They are seated where they are picked."""
    return any(isinstance(part, Quantified) for part in walk(expr))
