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
    movers,
    start_of,
    touched,
    ways,
    written_by,
)
from cpuhp.engines.certificate.pool import Pool
from cpuhp.engines.certificate.pool_states import (
    Known,
    Place,
    Step,
    seating,
    seats_of,
    unnamed,
)
from cpuhp.engines.certificate.terms import (
    FALSE,
    TRUE,
    conj,
    disj,
    equal,
    implies,
    minus,
    neg,
)
from cpuhp.engines.certificate.translate import Env, mask_of
from cpuhp.model.expr import TRUE as ALWAYS
from cpuhp.model.expr import Apply, Expr, Op, Param, Read, or_, reads
from cpuhp.model.invariant import Invariant
from cpuhp.model.sorts import BoolSort, is_cpu
from cpuhp.model.system import (
    Action,
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


class PoolConditions:
    """All conditions of one certificate; those with equally many seats share a script."""

    def __init__(self, system: TransitionSystem, prop: Property, invariant: Invariant):
        self.system, self.prop = system, prop
        self.clauses = invariant.clauses
        self._bases: dict[int, Known] = {}

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

    def _base(self, aps: int) -> Known:
        aps = min(aps, MAX_APS)
        if aps not in self._bases:
            self._bases[aps] = Known(self.system, self.prop, self.clauses, aps)
        return self._bases[aps]

    # Initiation

    def _initiation(self) -> Script:
        initials = [self._trial.initial(v) for v in self.system.variables]
        exprs = [e for e in initials if e is not None]
        price, roles = 0, max([2, *(seats_of(self.system, c) for c in self.clauses)])
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
            named = seating(clause, cpus)
            cube = [pool.there[len(named) - 1]]
            left = min(roles, MAX_APS) - len(clause.symbols)
            pointers = unnamed(self.system, clause)[: max(0, left)]
            for literal in clause.cube:
                cell = pool.cell(literal.variable, pool.clause_cell(literal, named))
                if literal in pointers:
                    cube.append(neg(equal(cell, pool.other)))
                cube.append(pool.literal(literal, named, cell))
            parts.append((f"clause {number + 1}", conj(cube)))
        label = "every initial state satisfies every clause"
        condition = Condition("initiation", label, conj(known), tuple(parts))
        script = Script("initiation", pool.logic)
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
        roles = params + max(seats_of(self.system, self.clauses[n]) for n in broken)
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
        base: Known,
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
        step = Step(pool, action, env)
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


def _used_as_value(expr: Expr) -> Expr:
    """The expression where its value matters, not only whether it is true."""
    if isinstance(expr.sort, BoolSort):
        return Apply(Op.EQ, (expr, expr), BoolSort())
    return expr


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
