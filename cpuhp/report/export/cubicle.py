"""Cubicle, for every number of CPUs: the claim and our clauses as unsafe states.

The parameters of a transition are distinct processes, and only they can be indices; see
`seats`. Each state that our clauses forbid is `unsafe`, too, so that Cubicle takes none
of them on trust.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

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
    eq,
    not_,
    or_,
    rebuild,
    substitute,
    walk,
)
from cpuhp.model.sorts import BOOL, BoolSort, Sort, format_value, is_cpu
from cpuhp.model.system import Expectation, Variable
from cpuhp.report.export.common import claim_heading, variable_dictionary
from cpuhp.report.export.finite import is_plain, key, numbers
from cpuhp.report.export.names import comment, identifiers
from cpuhp.report.export.plain import (
    SYMBOLS,
    PlainAction,
    PlainWrite,
    Unbounded,
    too_large,
    unsaid,
)
from cpuhp.report.export.seats import (
    NOBODY,
    Cube,
    Seats,
    anybody,
    cubes,
    decided,
    flag,
    for_each,
    inward,
    negated,
    seat,
    seatings,
    unseated,
    without_none,
    witnessed,
)

NAME = "cubicle"
SUFFIX = ".cub"
EVERY_COUNT = True
MOST_TRANSITIONS = 20_000
USAGE = (
    "cubicle FILE            (safe: for every number of processes)",
    "cubicle -brab 2 FILE    (guess what else may never be from 2 processes)",
    "What it calls unsafe may be a run in which CPUs vanish: it reads 'for all others'",
    "so. A violation is one if it happens with a number of CPUs, too: cpuhp check.",
)

Row = tuple[str, Expr]  # of a case: a condition, and the value under it


def export(claim: Unbounded) -> str:
    """The states that violate the claim, and those that our clauses forbid, as unsafe."""
    if claim.prop.expectation is not Expectation.ALWAYS:
        raise unsaid(f"a claim of kind '{claim.prop.expectation.value}'")
    pointers = frozenset(
        v.name for v in claim.variables if is_cpu(v.sort) and v.sort.nullable
    )
    return "\n".join(_Model(without_none(claim), pointers).lines()) + "\n"


@dataclass(frozen=True, eq=False)
class _Model:
    claim: Unbounded
    pointers: frozenset[str]

    @cached_property
    def variables(self) -> dict[str, str]:
        return identifiers(((v.name, v.name) for v in self.claim.variables), "V")

    @cached_property
    def by_name(self) -> dict[str, Variable]:
        return {v.name: v for v in self.claim.variables}

    @cached_property
    def sorts(self) -> dict[Sort, str]:
        found = dict.fromkeys(
            key(v.sort) for v in self.claim.variables if not is_plain(v.sort)
        )
        return identifiers(((s, str(s)) for s in found), "t")

    @cached_property
    def values(self) -> dict[tuple[Sort, int], str]:
        named = (
            ((sort, n), f"{name[2:]} {format_value(sort, n)}")
            for sort, name in self.sorts.items()
            for n in numbers(self.claim.system, sort)
        )
        return identifiers(named, "C")

    @cached_property
    def domain(self) -> dict[str, tuple[Expr, ...]]:
        return {
            v.name: tuple(
                Const(n, v.sort) for n in numbers(self.claim.system, key(v.sort))
            )
            for v in self.claim.variables
            if not is_plain(v.sort)
        }

    @property
    def nobody_seated(self) -> Seats:
        return Seats(self.pointers)

    def lines(self) -> Iterator[str]:
        claim = self.claim
        yield from (_note(t) for t in claim_heading(claim.system, claim.prop))
        yield "(* for every number of CPUs; Boot is the control CPU *)"
        if not claim.clauses:
            yield "(* without invariants: there is no proof to take them from *)"
        yield from (_note(line) for line in USAGE)
        names = self.variables
        yield from (_note(t) for t in variable_dictionary(claim.variables, names))
        yield ""
        for sort, name in self.sorts.items():
            constants = (self.values[sort, n] for n in numbers(self.claim.system, sort))
            yield f"type {name} = {' | '.join(constants)}"
        yield "var Boot : proc"
        for variable in claim.variables:
            yield from self.declarations(variable)
        yield from ("", self.init(), "", "(* the claim *)")
        yield from self.unsafe(negated(claim.claim))
        for says, cube in claim.clauses:
            yield _note(says)
            yield from self.forbidden(cube)
        count = 0
        for number, action in enumerate(claim.actions):
            for text in self.transitions(number, action):
                count += 1
                if count > MOST_TRANSITIONS:
                    raise too_large(f"more than {MOST_TRANSITIONS} transitions")
                yield from ("", text)

    # Declarations

    def declarations(self, variable: Variable) -> Iterator[str]:
        """One for each value of the indices that are no CPUs."""
        cpus = [i for i in variable.indices if is_cpu(i)]
        kind = "array" if cpus else "var"
        over = f"[{', '.join(['proc'] * len(cpus))}]" if cpus else ""
        sizes = dict(self.claim.system.sizes)
        others = [range(sizes[i.name]) for i in variable.indices if not is_cpu(i)]
        for where in product(*others):
            name = "_".join([self.variables[variable.name], *map(str, where)])
            yield f"{kind} {name}{over} : {self.type(variable.sort)}"

    def type(self, sort: Sort) -> str:
        if isinstance(sort, BoolSort):
            return "bool"
        return "proc" if is_cpu(sort) else self.sorts[key(sort)]

    def init(self) -> str:
        """What holds at the start for all processes, as a disjunction of conjunctions."""
        most, parts = 0, []
        for formula in (*self.claim.facts, *self.claim.starts):
            body, depth = inward(formula), 0
            while isinstance(body, Quantified) and body.kind is Quantifier.FORALL:
                body = substitute(body.body, {body.param: anybody(depth)})
                depth += 1
            while (pointer := unseated((body,), of_all=True)) is not None:
                body = self.of_whom_it_is(pointer, anybody(depth), body)
                depth += 1
            if any(isinstance(e, Quantified) for e in walk(body)):
                raise unsaid("'some CPU' within what holds at the start")
            parts.append(inward(body))
            most = max(most, depth)
        found = cubes(and_(*parts), self.domain)
        ways = [" && ".join(map(self.literal, cube)) or "true" for cube in found]
        names = " ".join(anybody(n).name for n in range(most))
        return f"init ({names}) {{ {' || '.join(ways) or 'false'} }}"

    def of_whom_it_is(self, pointer: Expr, here: Param, body: Expr) -> Expr:
        """What holds of the CPU that is pointed to: of each CPU, if it is that one."""
        found = rebuild(body, lambda e: here if e == pointer else None)
        held = or_(not_(eq(pointer, here)), found)
        if not isinstance(pointer, Read) or pointer.variable not in self.pointers:
            return held
        is_set = Read(flag(pointer.variable), pointer.indices, BOOL)
        nowhere = Seats(self.pointers, 0, {pointer: NOBODY}).told(body)
        return and_(or_(not_(is_set), held), or_(is_set, nowhere))

    # What may never be

    def forbidden(self, cube: Expr) -> Iterator[str]:
        """The clause's own CPUs sit apart, and apart from the control CPU."""
        used = [p for p in SYMBOLS.values() if isinstance(p, Param) and p in walk(cube)]
        seats = Seats(
            self.pointers, len(used), {p: seat(n) for n, p in enumerate(used)}
        )
        apart = and_(*(not_(eq(Boot(), p)) for p in used))
        yield from self.unsafe(and_(cube, apart), seats)

    def unsafe(self, formula: Expr, start: Seats | None = None) -> Iterator[str]:
        found: dict[str, None] = {}
        for params, cube in witnessed(formula, self.domain):
            some = start or self.nobody_seated
            for seats, moved in seatings(some, params, cube):
                if any(isinstance(e, Quantified) for part in moved for e in walk(part)):
                    raise unsaid("a claim with 'each CPU' in what violates it")
                told = inward(and_(*seats.facts, *moved))
                for states in cubes(told, self.domain):
                    text = " && ".join(map(self.literal, states)) or "true"
                    found[f"unsafe ({_names(seats)}) {{ {text} }}"] = None
        yield from found

    # Steps

    def transitions(self, number: int, action: PlainAction) -> Iterator[str]:
        """One for each way in which its CPUs coincide and its condition comes true."""
        count = 0
        for plain in decided(action):
            aps = (not_(eq(Boot(), p)) for p in plain.aps)
            writes = [_unbound(w) for w in plain.writes]
            values = [e for w in writes for case in w.cases for e in case]
            places = [_place(w) for w in writes]
            for params, cube in witnessed(and_(plain.guard, *aps), self.domain):
                exprs = (*cube, *places, *values)
                for seats, moved in seatings(
                    self.nobody_seated, (*plain.params, *params), exprs
                ):
                    told = inward(and_(*seats.facts, *moved[: len(cube)]))
                    for condition in cubes(told, self.domain):
                        title = _note(f"{number} {plain.label}")
                        head = f"transition step_{number}_{count} ({_names(seats)})"
                        guard = self.guard(condition, seats)
                        body = ";\n  ".join(self.updates(writes, seats))
                        yield f"{title}\n{head}\nrequires {{ {guard} }}\n{{ {body} }}"
                        count += 1

    def guard(self, condition: Cube, seats: Seats) -> str:
        parts = []
        for literal in condition:
            if not isinstance(literal, Quantified):
                parts.append(self.literal(literal))
                continue
            here, other = for_each(literal, seats)
            parts += [self.ways(h) for h in here if h != TRUE]
            if other != TRUE:
                parts.append(f"(forall_other z0. {self.ways(other)})")
        return " && ".join(parts) or "true"

    def ways(self, formula: Expr) -> str:
        """A formula without quantifiers, as a disjunction of conjunctions."""
        told = inward(formula)
        if any(isinstance(e, Quantified) for e in walk(told)):
            raise unsaid("'each CPU' or 'some CPU' within 'each CPU'")
        found = [
            " && ".join(map(self.literal, c)) or "true"
            for c in cubes(told, self.domain)
        ]
        return found[0] if len(found) == 1 else f"({' || '.join(found) or 'false'})"

    def updates(self, writes: list[PlainWrite], seats: Seats) -> Iterator[str]:
        """The assignments, each variable once."""
        cells: dict[str, list[tuple[PlainWrite, Read]]] = {}
        for write in writes:
            place = seats.told(_place(write))
            if isinstance(place, Read):  # else it is through none
                cells.setdefault(self.name(place), []).append((write, place))
        for name, found in cells.items():
            if any(write.cases for write, _ in found):
                yield self.update(name, found, seats)

    def update(
        self, name: str, found: list[tuple[PlainWrite, Read]], seats: Seats
    ) -> str:
        """`name[z] := case ...`: the last assignment that applies, else as before."""
        variable, place = found[0]
        sorts = variable.variable.indices
        zs = [anybody(n) for n in range(sum(map(is_cpu, sorts)))]
        rows: list[Row] = []
        for write, cell in reversed(found):
            here = [eq(z, i) for z, i in zip(zs, self.cpus(cell)) if z != i]
            for condition, value in write.cases:
                rows += self.rows(here, seats.told(condition), seats.told(value))
        over = f"[{', '.join(z.name for z in zs)}]" if zs else ""
        rows.append(("_", _with_cpus(place, self.by_name[place.variable], zs)))
        shown: list[str] = []
        for text, value in rows:
            if text == "_" or not text:
                shown.append(f"| _ : {self.term(value)}")
                break
            shown.append(f"| {text} : {self.term(value)}")
        if len(shown) == 1:
            return f"{name}{over} := {shown[0][6:]}" if not zs else (
                f"{name}{over} := case {shown[0]}"
            )  # fmt: skip
        return f"{name}{over} := case {' '.join(shown)}"

    def rows(self, here: list[Expr], condition: Expr, value: Expr) -> Iterator[Row]:
        """One for each conjunction under which the cell takes the value."""
        if isinstance(value.sort, BoolSort) and not isinstance(value, Const):
            yield from self.rows(here, and_(condition, value), TRUE)
            yield from self.rows(here, and_(condition, not_(value)), FALSE)
            return
        for cube in cubes(inward(and_(*here, condition)), self.domain):
            yield " && ".join(map(self.literal, cube)), value

    # Terms

    def literal(self, expr: Expr) -> str:
        match expr:
            case Const(value, _):
                return "true" if value else "false"
            case Read():
                return f"{self.term(expr)} = True"
            case Apply(Op.NOT, (Read() as cell,), _):
                return f"{self.term(cell)} = False"
            case Apply(Op.NOT, (Apply(Op.EQ, (a, b), _),), _):
                return f"{self.term(a)} <> {self.term(b)}"
            case Apply(Op.EQ, (a, b), _):
                return f"{self.term(a)} = {self.term(b)}"
        raise unsaid("the order of CPU numbers")

    def term(self, expr: Expr) -> str:
        match expr:
            case Const(value, sort) if isinstance(sort, BoolSort):
                return "True" if value else "False"
            case Const(value, sort) if not is_cpu(sort):
                return self.values[key(sort), value]
            case Param():
                return expr.name
            case Boot():
                return "Boot"
            case Read():
                cpus = ", ".join(map(self.term, self.cpus(expr)))
                return self.name(expr) + (f"[{cpus}]" if cpus else "")
        raise unsaid("a CPU that is none")

    def name(self, cell: Read) -> str:
        sorts = self.by_name[cell.variable].indices
        others = [
            str(i.value) for i, s in zip(cell.indices, sorts)
            if isinstance(i, Const) and not is_cpu(s)
        ]  # fmt: skip
        return "_".join([self.variables[cell.variable], *others])

    def cpus(self, cell: Read) -> list[Expr]:
        """The indices that are CPUs."""
        sorts = self.by_name[cell.variable].indices
        return [i for i, s in zip(cell.indices, sorts) if is_cpu(s)]


def _place(write: PlainWrite) -> Read:
    return Read(write.variable.name, write.indices, write.variable.sort)


def _unbound(write: PlainWrite) -> PlainWrite:
    """What is assigned for all CPUs is assigned to anybody."""
    cpus = [i for i, s in zip(write.indices, write.variable.indices) if is_cpu(s)]
    local: dict[Param, Expr] = {
        index: anybody(n)
        for n, index in enumerate(cpus)
        if isinstance(index, Param) and index in write.bound
    }
    return PlainWrite(
        write.variable,
        tuple(substitute(i, local) for i in write.indices),
        (),
        tuple((substitute(c, local), substitute(v, local)) for c, v in write.cases),
    )


def _with_cpus(cell: Read, variable: Variable, cpus: Iterable[Expr]) -> Read:
    given = iter(cpus)
    where = tuple(
        next(given) if is_cpu(sort) else index
        for index, sort in zip(cell.indices, variable.indices)
    )
    return Read(cell.variable, where, cell.sort)


def _names(seats: Seats) -> str:
    return " ".join(place.name for place in seats.all)


def _note(text: str) -> str:
    return f"(* {comment(text.replace('(', '[').replace(')', ']'), 400)} *)"
