"""What is known of a state on a pool of seats, and what a step makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from cpuhp.engines.certificate.claims import Condition, Script, lasting, written_by
from cpuhp.engines.certificate.pool import Cell, Named, Pool
from cpuhp.engines.certificate.terms import (
    FALSE,
    as_one,
    conj,
    disj,
    equal,
    implies,
    ite,
    minus,
    neg,
    plus,
)
from cpuhp.engines.certificate.translate import mask_of
from cpuhp.model.expr import FALSE as NEVER
from cpuhp.model.expr import Param
from cpuhp.model.invariant import Clause, Literal, Symbol
from cpuhp.model.sorts import is_cpu
from cpuhp.model.system import Action, Assign, Property, TransitionSystem

Place = dict[Param, str]


class Known:
    """A pool and what is known of every state: the clauses hold for all its CPUs."""

    def __init__(
        self,
        system: TransitionSystem,
        prop: Property,
        clauses: tuple[Clause, ...],
        aps: int,
    ):
        self.pool = pool = Pool(system, prop, aps)
        self.script = Script(f"seats-{aps}", pool.logic)
        self._literals: dict[object, str] = {}
        self._seatings: dict[tuple[Clause, int], list[tuple[Named, list[_Seen]]]] = {}
        for assumption in lasting(system):
            pool.axiom(pool.truth(assumption, {}))
        for clause in clauses:
            for cpus in _seatings(pool, clause):
                cube = [self.before(lit, cpus) for lit in clause.cube]
                there = [pool.is_there[seat] for seat in cpus.values()]
                pool.axiom(neg(conj((*there, *cube))))
        self._flush()

    def _flush(self) -> None:
        self.script.items += self.pool.lines
        self.pool.lines.clear()

    def add(self, condition: Condition) -> None:
        self._flush()
        self.script.items.append(condition)

    def before(self, literal: Literal, cpus: Named) -> str:
        key = (literal, tuple(cpus.values()), tuple(cpus))
        if key not in self._literals:
            where = self.pool.clause_cell(literal, cpus)
            text = self.pool.cell(literal.variable, where)
            self._literals[key] = self.pool.literal(literal, cpus, text)
        return self._literals[key]

    def violations(
        self, step: Step, clause: Clause, used: int, room: int
    ) -> Iterator[str]:
        """What the clause forbids is so after the step, for CPUs in these seats.

        Of the seats, `room` are left for the clause: for i and j, and then for those
        that its pointers point to.
        """
        pool = self.pool
        pointers = unnamed(pool.system, clause)[: max(0, room - len(clause.symbols))]
        for cpus, cells in self._seated(clause, used):
            after = [step.after(cell.variable, cell.where) for cell in cells]
            if all(new == cell.old for new, cell in zip(after, cells)):
                continue  # it was so before, which the clause excludes
            cube = [pool.is_there[seat] for seat in cpus.values()]
            for literal, new, cell in zip(clause.cube, after, cells):
                if literal in pointers:
                    cube.append(neg(equal(new, pool.other)))
                same = new == cell.old
                cube.append(cell.before if same else pool.literal(literal, cpus, new))
                if cube[-1] == FALSE:
                    break
            yield conj(cube)

    def _seated(self, clause: Clause, used: int) -> list[tuple[Named, list[_Seen]]]:
        """Seats that the clause's CPUs may have, and what it speaks of there."""
        if (clause, used) not in self._seatings:
            self._seatings[clause, used] = [
                (cpus, [self._seen(literal, cpus) for literal in clause.cube])
                for cpus in _roles(self.pool, clause, used)
            ]
        return self._seatings[clause, used]

    def _seen(self, literal: Literal, cpus: Named) -> _Seen:
        where = self.pool.clause_cell(literal, cpus)
        old = self.pool.cell(literal.variable, where)
        return _Seen(literal.variable, where, old, self.before(literal, cpus))


class _Seen(NamedTuple):
    """A cell that a clause speaks of, before a step."""

    variable: str
    where: Cell
    old: str  # its value
    before: str  # that this is one of the clause's values


class Step:
    """The state after an action, in terms of the state before it."""

    def __init__(self, pool: Pool, action: Action, env: Place):
        self.pool, self.action, self.env = pool, action, env
        self.written = written_by(pool.system, action)
        self._after: dict[tuple[str, Cell], str] = {}
        self._growths: dict[str, str] = {}

    def after(self, variable: str, where: Cell) -> str:
        """The cell's value; what the action does not assign stays (frame rule)."""
        if variable not in self.written:
            return self.pool.cell(variable, where)
        key = (variable, where)
        if key not in self._after:
            declared = self.pool.system.variable(variable)
            mask = mask_of(declared)
            text = self.pool.cell(variable, where)
            if mask is not None:
                text = plus((text, self.pool.population(mask)))
            for effect in self.action.effects:
                if effect.variable == variable:
                    text = self._assigned(effect, where, text)
            if mask is not None:
                text = minus(text, self._population(mask))
            self._after[key] = self.pool.define(text, self.pool.sort(declared.sort))
        return self._after[key]

    def _assigned(self, effect: Assign, where: Cell, before: str) -> str:
        env = dict(self.env)
        sort = self.pool.system.variable(effect.variable).sort
        for index, place in zip(effect.indices, where):
            if isinstance(index, Param) and index in effect.bound and index not in env:
                env[index] = place
        if any(param not in env for param in effect.bound):
            # Which elements are assigned is not said directly: any may be, any value.
            hit = self.pool.declare("hit", "Bool")
            return ite(hit, self.pool.anything(sort), before)
        hit = conj(
            equal(self.pool.value(index, env), place)
            for index, place in zip(effect.indices, where)
        )
        if hit == FALSE:
            return before
        return ite(hit, self.pool.assigned(effect.value, env, sort), before)

    def _population(self, mask: str) -> str:
        """How many CPUs have the bit after the step."""
        if mask not in self._growths:
            pool = self.pool
            seated = [
                as_one(conj((there, self.after(mask, (seat,)))))
                for seat, there in pool.is_there.items()
            ]
            self._growths[mask] = plus((*seated, self._rest(mask)))
        return self._growths[mask]

    def _rest(self, mask: str) -> str:
        """The number of CPUs without a seat that have the bit after the step."""
        pool = self.pool
        before = pool.rest(f"mask {mask}")
        effects = [e for e in self.action.effects if e.variable == mask]
        if not effects:
            return before
        if len(effects) == 1 and not effects[0].bound:
            (index,) = effects[0].indices
            outside = equal(pool.value(index, self.env), pool.other)
            new = as_one(pool.truth(effects[0].value, self.env))
            old = pool.declare("old", "Bool")
            pool.axiom(implies(old, f"(<= 1 {before})"))
            return ite(outside, plus((minus(before, as_one(old)), new)), before)
        last = effects[-1]
        if last.bound == last.indices and last.value == NEVER:
            return "0"
        rest = pool.declare("rest", "Int")
        pool.axiom(f"(<= 0 {rest})")
        pool.axiom(disj((pool.outside, equal(rest, "0"))))
        return rest


def unnamed(system: TransitionSystem, clause: Clause) -> list[Literal]:
    """The clause's literals that speak of a CPU which it does not name otherwise."""
    return [
        literal
        for literal in clause.cube
        if is_cpu(system.variable(literal.variable).sort)
        and Symbol.OTHER in literal.values
    ]


def seats_of(system: TransitionSystem, clause: Clause) -> int:
    """Seats for all CPUs that the clause speaks of."""
    return len(clause.symbols) + len(unnamed(system, clause))


def seating(clause: Clause, cpus: tuple[str, ...]) -> Named:
    found = {Symbol.BOOT: cpus[0]}
    symbols = [s for s in (Symbol.I, Symbol.J) if s in clause.symbols]
    return found | dict(zip(symbols, cpus[1:]))


def _seatings(pool: Pool, clause: Clause) -> Iterator[Named]:
    """All distinct seats for the clause's CPUs."""
    count = len(clause.symbols)
    for seats in product(pool.seats[1:], repeat=count):
        if len(set(seats)) == count:
            yield seating(clause, (pool.boot, *seats))


def _roles(pool: Pool, clause: Clause, used: int) -> Iterator[Named]:
    """Seats for the clause's CPUs: seats with a role, or the next free one."""
    count = len(clause.symbols)
    if count == 0:
        yield seating(clause, (pool.boot,))
    for i in range(1, used + 2) if count else ():
        if count == 1:
            yield seating(clause, (pool.boot, pool.seats[i]))
            continue
        for j in range(1, max(used, i) + 2):
            if j != i:
                yield seating(clause, (pool.boot, pool.seats[i], pool.seats[j]))
