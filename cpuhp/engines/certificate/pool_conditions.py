"""The conditions of a proof, written without quantifiers on pools of seats.

CPUs other than the control CPU are interchangeable, so those that a condition names are
seated first, in the lowest seats: the actor, then what it chooses (which may be a CPU
that has a seat), then the clause's i and j. Seats that are left are for CPUs that decide
something (`Pool.may`, `Pool.granted`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import product

from cpuhp.engines.certificate.claims import (
    Condition,
    Script,
    goals,
    is_about_quiescence,
    lasting,
    movers,
    start_of,
    touched,
    ways,
    written_by,
)
from cpuhp.engines.certificate.pool import Cell, Named, Pool
from cpuhp.engines.certificate.terms import (
    FALSE,
    TRUE,
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
from cpuhp.engines.certificate.translate import Env, mask_of
from cpuhp.model.expr import FALSE as NEVER
from cpuhp.model.expr import TRUE as ALWAYS
from cpuhp.model.expr import Apply, Expr, Op, Param, Read, or_, reads
from cpuhp.model.invariant import Clause, Invariant, Literal, Symbol
from cpuhp.model.sorts import BoolSort, is_cpu
from cpuhp.model.system import (
    Action,
    Assign,
    Property,
    Role,
    Runs,
    TransitionSystem,
    Variable,
    counts_its_mask_at_first,
    is_shared_pointer,
    kept_pointers,
)

MAX_APS = 7  # more seats make the formulas stronger, and larger
Place = dict[Param, str]


class PoolConditions:
    """All conditions of one certificate; those with equally many seats share a script."""

    def __init__(self, system: TransitionSystem, prop: Property, invariant: Invariant):
        self.system, self.prop = system, prop
        self.clauses = invariant.clauses
        self._bases: dict[int, _Base] = {}

    def scripts(self) -> Iterator[Script]:
        yield self._initiation()
        for action in self.system.actions:
            self._step(action)
        self._safety()
        for _, base in sorted(self._bases.items()):
            yield base.script

    @cached_property
    def _kept(self) -> tuple[Variable, ...]:
        return kept_pointers(self.system)

    @cached_property
    def _trial(self) -> Pool:
        return Pool(self.system, self.prop, 4)

    def _base(self, aps: int) -> _Base:
        aps = min(aps, MAX_APS)
        if aps not in self._bases:
            self._bases[aps] = _Base(self.system, self.prop, self.clauses, aps)
        return self._bases[aps]

    # Initiation

    def _initiation(self) -> Script:
        initials = [self._trial.initial(v) for v in self.system.variables]
        exprs = [e for e in initials if e is not None]
        price, roles = 0, max([2, *(_seats(self.system, c) for c in self.clauses)])
        for assumption in self.system.assumptions:
            price += self._trial.may(assumption, {}, True, 99)[1]
        price += self._trial.granted((*exprs, *self.system.assumptions), {}, 99)[1]
        counters = 2 * len(self._trial.masks)
        pool = Pool(self.system, self.prop, min(roles + price + counters, MAX_APS))
        spare = pool.aps - min(roles, MAX_APS)
        known = [self._starts(pool)]
        for assumption in self.system.assumptions:
            text, used = pool.may(assumption, {}, True, spare)
            spare -= used
            known.append(text)
        text, used = pool.granted((*exprs, *self.system.assumptions), {}, spare)
        known.append(text)
        spare -= used
        for mask in pool.masks:
            enough, price = pool.enough("", f"mask {mask}")
            if price <= spare:
                known.append(enough)
                spare -= price
        cpus = pool.seats[:3]
        parts = []
        for number, clause in enumerate(self.clauses):
            named = _named(clause, cpus)
            cube = [pool.there[len(named) - 1]]
            left = min(roles, MAX_APS) - len(clause.symbols)
            pointers = _pointers(self.system, clause)[: max(0, left)]
            for literal in clause.cube:
                cell = pool.cell(literal.variable, pool.clause_cell(literal, named))
                if literal in pointers:
                    cube.append(neg(equal(cell, pool.other)))
                cube.append(pool.literal(literal, named, cell))
            parts.append((f"clause {number + 1}", conj(cube)))
        label = "every initial state satisfies every clause"
        condition = Condition("initiation", label, conj(known), tuple(parts))
        script = Script("initiation", _logic(pool))
        script.items += [*pool.lines, condition]
        return script

    def _starts(self, pool: Pool) -> str:
        found = []
        for variable in self.system.variables:
            initial = pool.initial(variable)
            if initial is None:
                continue
            for where in product(*map(pool.elements, variable.indices)):
                env = dict(zip(variable.index_params, where))
                value = pool.assigned(initial, env, variable.sort)
                mask = mask_of(variable)
                if counts_its_mask_at_first(self.system, variable):
                    value = "0"
                elif mask is not None:
                    value = minus(value, pool.population(mask))
                found.append(equal(pool.cell(variable.name, where), value))
        return conj(found)

    # Consecution

    def _step(self, action: Action) -> None:
        written = written_by(self.system, action)
        broken = touched(self.clauses, written)
        if not broken:
            return
        params = sum(is_cpu(p.sort) for p in action.params)
        roles = params + max(_seats(self.system, self.clauses[n]) for n in broken)
        trial = {p: self._trial.elements(p.sort)[0] for p in action.params}
        if action.actor:
            trial[action.actor] = self._trial.seats[1]
        price = self._enabled(self._trial, action, trial, 99)[1]
        base = self._base(roles + price + len(self._kept))
        for actor in self._actors(action):
            for env, used in _placed(base.pool, action, actor):
                self._from(base, action, env, used, broken, roles)

    def _actors(self, action: Action) -> list[int | None]:
        if action.actor is None:
            return [None]
        runs = self.system.process(action.process).runs
        return [0, 1] if runs is Runs.EVERY_CPU else [1]

    def _enabled(
        self, pool: Pool, action: Action, env: Place, spare: int
    ) -> tuple[str, int]:
        """The action can be taken, the CPUs that matter to it being seated."""
        found, total = [], 0
        for expr in (*(c.among for c in action.choices), action.guard):
            text, price = pool.may(expr, env, True, spare - total)
            found.append(text)
            total += price
        exprs: list[Expr] = [c.among for c in action.choices]
        exprs.append(action.guard)
        for effect in action.effects:
            sort = self.system.variable(effect.variable).sort
            exprs.append(Read(effect.variable, effect.indices, sort))
            exprs.append(_used_as_value(effect.value))
        text, price = pool.granted(exprs, env, spare - total)
        return conj((*found, text)), total + price

    def _from(
        self,
        base: _Base,
        action: Action,
        env: Place,
        used: int,
        broken: list[int],
        roles: int,
    ) -> None:
        pool = base.pool
        params = sum(is_cpu(p.sort) for p in action.params)
        there = [pool.is_there[env[p]] for p in action.params if is_cpu(p.sort)]
        enabled, price = self._enabled(pool, action, env, pool.aps - roles)
        seated, seats = self._pointed(pool, self._kept, pool.aps - roles - price, set())
        room = pool.aps - params - price - seats
        step = _Step(pool, action, env)
        parts = []
        for number in broken:
            texts = list(base.violations(step, self.clauses[number], used, room))
            if any(text != FALSE for text in texts):
                parts.append((f"clause {number + 1}", disj(texts)))
        # What is plain to see without a solver is counted, and asked, all the same.
        refuted = tuple(parts) or (("any clause", FALSE),)
        premise = conj((*there, enabled, seated))
        base.add(Condition("consecution", action.name, premise, refuted))

    # Safety

    def _safety(self) -> None:
        for label, goal in goals(self.system, self.prop):
            for params, rest in ways(goal):
                self._violated(label, params, rest)

    def _violated(self, label: str, params: tuple[Param, ...], rest: Expr) -> None:
        cpus = sum(is_cpu(p.sort) for p in params)
        trial: Place = {p: self._trial.elements(p.sort)[0] for p in params}
        price = self._bad(self._trial, rest, trial, 99)[1]
        # The price is that with few seats; who waits for whom may take more of them.
        price += 2 * is_about_quiescence(self.prop)
        base = self._base(max(2, cpus + price))
        pool = base.pool
        for env, used in _combined(pool, params, {}, 0):
            there = [pool.is_there[env[p]] for p in params if is_cpu(p.sort)]
            text, _ = self._bad(pool, rest, env, pool.aps - used)
            premise = conj((*there, text))
            part = (self.prop.text or "the claim", TRUE)
            base.add(Condition("safety", label, premise, (part,)))

    def _bad(self, pool: Pool, expr: Expr, env: Place, spare: int) -> tuple[str, int]:
        had: set[str] = set()
        text, total = pool.may(expr, env, False, spare)
        grant, price = pool.granted((expr,), env, spare - total, had)
        found, total = [text, grant], total + price
        if is_about_quiescence(self.prop):
            quiet, price = self._quiet(pool, env, spare - total, had)
            found.append(quiet)
            total += price
        else:
            seen, price = self._pointed(pool, self._shared, spare - total, had)
            found.append(seen)
            total += price
        return conj(found), total

    def _quiet(
        self, pool: Pool, env: Env, spare: int, had: set[str]
    ) -> tuple[str, int]:
        """Nobody who owes progress can move; `had` is what has been granted already."""
        found: list[str] = []
        total = 0
        # A process is at one point only, so that the CPUs which keep it from moving
        # are seated for those of its actions that leave that point.
        places: dict[tuple[str, str, str], list[tuple[Action, Place]]] = {}
        for action in movers(self.system):
            for actor in self._seated(pool, action):
                who = actor.get(action.actor, "") if action.actor else ""
                here = start_of(self.system, action)[0]
                key = (action.process, who, "" if here is None else str(here))
                places.setdefault(key, []).append((action, actor))
        prices: dict[tuple[str, str], int] = {}
        named = {"", pool.boot, *env.values()}
        pointers = self._pointers(env)
        for (process, who, place), actions in sorted(
            places.items(), key=lambda item: (item[0][1] not in named, item[0][1] != "")
        ):
            if who:  # who runs once, and what it waits for, comes before all pointers
                text, more = self._pointed(pool, pointers, spare - total, had)
                found.append(text)
                total += more
                pointers = []
            left = spare - total + prices.get((process, who), 0)
            seats = left if place and who in named else 0
            texts, price = [], 0
            paid = set(had)  # the process is at one point: others pay for themselves
            for action, actor in actions:
                text, more = self._disabled(pool, action, actor, seats - price, paid)
                texts.append(text)
                price += more
            if not who and place:
                read = reads(or_(*(a.guard for a, _ in actions)))
                waits = [v for v in pointers if v.name in read]
                text, more = self._pointed(pool, waits, seats - price, paid)
                at = start_of(self.system, actions[0][0])[0] or ALWAYS
                texts.append(implies(pool.truth(at, {}), text))
                price += more
            found.append(conj(texts))
            known = prices.get((process, who), 0)
            if price > known:
                total += price - known
                prices[process, who] = price
        text, more = self._pointed(pool, pointers, spare - total, had)
        return conj((*found, text)), total + more

    def _pointers(self, env: Env) -> list[Variable]:
        """Shared pointers, those first whose CPUs are likely to go on.

        If a CPU's process waits it may wait for a lock; if one that runs once does, for
        the CPU that it has chosen.
        """
        return sorted(self._shared, key=lambda v: not env and v.role is Role.LOCK)

    @property
    def _shared(self) -> list[Variable]:
        return [v for v in self.system.variables if is_shared_pointer(v)]

    def _pointed(
        self, pool: Pool, pointers: Iterable[Variable], spare: int, had: set[str]
    ) -> tuple[str, int]:
        """The CPUs that these point to are seated, while seats last."""
        found: list[str] = []
        for variable in pointers:
            text = neg(equal(pool.cell(variable.name, ()), pool.other))
            if text not in had and len(found) < spare:
                found.append(text)
                had.add(text)
        return conj(found), len(found)

    def _seated(self, pool: Pool, action: Action) -> list[Place]:
        if action.actor is None:
            return [{}]
        runs = self.system.process(action.process).runs
        seats = pool.seats[0 if runs is Runs.EVERY_CPU else 1 :]
        return [{action.actor: seat} for seat in seats]

    def _disabled(
        self, pool: Pool, action: Action, actor: Place, spare: int, had: set[str]
    ) -> tuple[str, int]:
        """No choice enables the action for this actor."""
        there = [pool.is_there[seat] for seat in actor.values()]
        choices = [pool.taken(c.param.sort) for c in action.choices]
        found, total = [], 0
        for picked in product(*choices):
            env = dict(actor)
            parts = list(there)
            for choice, (element, is_there) in zip(action.choices, picked):
                env[choice.param] = element
                parts.append(is_there)
            parts += [pool.truth(c.among, env) for c in action.choices]
            here, rest = start_of(self.system, action)
            if here is not None:
                parts.append(pool.truth(here, env))
            text, price = pool.may(rest, env, False, spare - total)
            grant, more = pool.granted((rest,), env, spare - total - price, had)
            total += price + more
            found.append(implies(conj(parts), conj((text, grant))))
        return conj(found), total


class _Base:
    """A pool and what is known of every state: the clauses hold for all its CPUs."""

    def __init__(
        self,
        system: TransitionSystem,
        prop: Property,
        clauses: tuple[Clause, ...],
        aps: int,
    ):
        self.pool = pool = Pool(system, prop, aps)
        self.script = Script(f"seats-{aps}", _logic(pool))
        self._literals: dict[object, str] = {}
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
        self, step: _Step, clause: Clause, used: int, room: int
    ) -> Iterator[str]:
        """What the clause forbids is so after the step, for CPUs in these seats.

        Of the seats, `room` are left for the clause: for i and j, and then for those
        that its pointers point to.
        """
        pool = self.pool
        pointers = _pointers(pool.system, clause)[: max(0, room - len(clause.symbols))]
        for cpus in _roles(pool, clause, used):
            changed = False
            cube = [pool.is_there[seat] for seat in cpus.values()]
            for literal in clause.cube:
                where = pool.clause_cell(literal, cpus)
                old = pool.cell(literal.variable, where)
                new = step.after(literal.variable, where)
                if literal in pointers:
                    cube.append(neg(equal(new, pool.other)))
                if new == old:
                    cube.append(self.before(literal, cpus))
                else:
                    changed = True
                    cube.append(pool.literal(literal, cpus, new))
                if cube[-1] == FALSE:
                    break
            if changed:  # else it was so before, which the clause excludes
                yield conj(cube)


class _Step:
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


def _logic(pool: Pool) -> str:
    return "ALL" if pool.uses_ints else "QF_BV"


def _used_as_value(expr: Expr) -> Expr:
    """The expression where its value matters, not only whether it is true."""
    if isinstance(expr.sort, BoolSort):
        return Apply(Op.EQ, (expr, expr), BoolSort())
    return expr


def _pointers(system: TransitionSystem, clause: Clause) -> list[Literal]:
    """The clause's literals that speak of a CPU which it does not name otherwise."""
    return [
        literal
        for literal in clause.cube
        if is_cpu(system.variable(literal.variable).sort)
        and Symbol.OTHER in literal.values
    ]


def _seats(system: TransitionSystem, clause: Clause) -> int:
    """Seats for all CPUs that the clause speaks of."""
    return len(clause.symbols) + len(_pointers(system, clause))


def _named(clause: Clause, cpus: tuple[str, ...]) -> Named:
    found = {Symbol.BOOT: cpus[0]}
    symbols = [s for s in (Symbol.I, Symbol.J) if s in clause.symbols]
    return found | dict(zip(symbols, cpus[1:]))


def _seatings(pool: Pool, clause: Clause) -> Iterator[Named]:
    """All distinct seats for the clause's CPUs."""
    count = len(clause.symbols)
    for seats in product(pool.seats[1:], repeat=count):
        if len(set(seats)) == count:
            yield _named(clause, (pool.boot, *seats))


def _roles(pool: Pool, clause: Clause, used: int) -> Iterator[Named]:
    """Seats for the clause's CPUs: seats with a role, or the next free one."""
    count = len(clause.symbols)
    if count == 0:
        yield _named(clause, (pool.boot,))
    for i in range(1, used + 2) if count else ():
        if count == 1:
            yield _named(clause, (pool.boot, pool.seats[i]))
            continue
        for j in range(1, max(used, i) + 2):
            if j != i:
                yield _named(clause, (pool.boot, pool.seats[i], pool.seats[j]))


def _placed(
    pool: Pool, action: Action, actor: int | None
) -> Iterator[tuple[Place, int]]:
    """Seats and elements for the parameters, and how many seats are taken."""
    env: Place = {}
    if action.actor is not None and actor is not None:
        env[action.actor] = pool.seats[actor]
    params = tuple(choice.param for choice in action.choices)
    yield from _combined(pool, params, env, actor or 0)


def _combined(
    pool: Pool, params: tuple[Param, ...], env: Place, used: int
) -> Iterator[tuple[Place, int]]:
    if not params:
        yield env, used
        return
    param, later = params[0], params[1:]
    elements = pool.elements(param.sort)
    limit = used + 2 if is_cpu(param.sort) else len(elements)
    for position, element in enumerate(elements[:limit]):
        taken = max(used, position) if is_cpu(param.sort) else used
        yield from _combined(pool, later, {**env, param: element}, taken)


__all__ = ["MAX_APS", "PoolConditions"]
