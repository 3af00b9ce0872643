"""What has to be refuted: steps and bad states, with their CPUs placed in seats.

CPUs without a role are interchangeable, so each case puts the CPUs that it names into
the lowest seats: the actor, then each choice (which may name a CPU again), then the
CPUs i and j of the clause at stake. The seats that are left are reserved for what the
case's formulas need.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product

from cpuhp.engines.encoding import OTHER, Encoder, Env, Need, Taken
from cpuhp.engines.explicit.space import at_rest
from cpuhp.engines.explicit.symmetry import blocks_alike
from cpuhp.engines.formulas import Bit, conj, negate
from cpuhp.model.expr import (
    Apply,
    Const,
    Expr,
    Op,
    Param,
    Quantified,
    Quantifier,
    Read,
    conjuncts,
    not_,
    reads,
)
from cpuhp.model.invariant import Clause, Symbol
from cpuhp.model.sorts import CounterSort, is_cpu
from cpuhp.model.system import (
    Action,
    Expectation,
    Property,
    Runs,
    TransitionSystem,
    Variable,
    is_shared_pointer,
    kept_pointers,
)

PRE = ""  # the frame of the state before the step
BOOT = 0
NOBODY = -9  # seat of a CPU that a clause does not speak of


@dataclass(frozen=True)
class Move:
    """A step takes this cell, a program point, from one value to another."""

    variable: str
    where: tuple[int, ...]
    source: int
    target: int


@dataclass(frozen=True)
class Case:
    """A step: an action with seats for its parameters; `used` AP seats are taken."""

    taken: Taken
    used: int
    enabled: Bit
    written: frozenset[str]
    touched: frozenset[str]  # variables that matter to the step
    move: Move | None = None
    kept: tuple[Need, ...] = ()  # what pointers point at that are kept for proofs

    @property
    def action(self) -> Action:
        """The action taken."""
        return self.taken.action


def placements(
    system: TransitionSystem, action: Action
) -> Iterator[tuple[dict[Param, int], int]]:
    """Seats for the parameters, up to symmetry, and the number of AP seats used."""
    start: list[tuple[dict[Param, int], int]] = [({}, 0)]
    if action.actor:
        start = [({action.actor: 1}, 1)]
        if system.process(action.process).runs is Runs.EVERY_CPU:
            start.insert(0, ({action.actor: BOOT}, 0))
    for env, used in start:
        yield from _place(system, [c.param for c in action.choices], env, used)


def _place(
    system: TransitionSystem, params: list[Param], env: dict[Param, int], used: int
) -> Iterator[tuple[dict[Param, int], int]]:
    if not params:
        yield env, used
        return
    param, later = params[0], params[1:]
    cpu = param.sort.name == "cpu"
    domain = range(used + 2) if cpu else range(dict(system.sizes)[param.sort.name])
    for value in domain:
        now = max(used, value) if cpu else used
        yield from _place(system, later, {**env, param: value}, now)


def cases(encoder: Encoder) -> list[Case]:
    """All steps of all actions, except those that can never be taken."""
    found = []
    kept = tuple(_pointed_to(encoder, kept_pointers(encoder.system)))
    for action in encoder.system.actions:
        written = written_by(encoder.system, action)
        for env, used in placements(encoder.system, action):
            taken = Taken(action, tuple(env.items()))
            enabled = encoder.enabled(taken, PRE)
            if enabled is not False and written:
                touched = action.read | written
                move = _move(encoder.system, taken)
                found.append(Case(taken, used, enabled, written, touched, move, kept))
    return found


def _move(system: TransitionSystem, taken: Taken) -> Move | None:
    """What guard and effects say about the actor's program point, if it is plain."""
    action = taken.action
    variable = system.process(action.process).location
    indices: tuple[Expr, ...] = (action.actor,) if action.actor else ()
    targets = [e for e in action.effects if e.variable == variable]
    if len(targets) != 1 or targets[0].indices != indices or targets[0].bound:
        return None
    for part in conjuncts(action.guard):
        match part:
            case Apply(Op.EQ, (Read(name, at, _), Const(source, _)), _):
                target = targets[0].value
                if (name, at) == (variable, indices) and isinstance(target, Const):
                    where = tuple(taken.binding[p] for p in indices)  # type: ignore[index]
                    return Move(variable, where, source, target.value)
    return None


def written_by(system: TransitionSystem, action: Action) -> frozenset[str]:
    """What the action may change; a counter's difference changes with its mask."""
    written = action.written
    return written | {
        variable.name
        for variable in system.variables
        if isinstance(variable.sort, CounterSort) and variable.sort.mask in written
    }


def pairs(clause: Clause, used: int) -> Iterator[tuple[int, int]]:
    """Seats for the clause's CPUs, up to symmetry."""
    count = len(clause.symbols)
    if count == 0:
        yield NOBODY, NOBODY
    for i in range(1, used + 2) if count else ():
        if count == 1:
            yield i, NOBODY
            continue
        for j in range(1, max(used, i) + 2):
            if j != i:
                yield i, j


def hypotheses(encoder: Encoder, clause: Clause) -> Iterator[Bit]:
    """The clause, for all CPUs that have a seat."""
    seats = encoder.seats[1:]
    count = len(clause.symbols)
    places: Iterator[tuple[int, ...]] = product(seats, repeat=count)
    for place in places:
        if len(set(place)) < count:
            continue
        i, j = (*place, NOBODY, NOBODY)[:2]
        there = encoder.exists[max(place)] if place else True
        yield negate(conj((there, encoder.cube(clause, i, j, PRE))))


def is_ruled_out(case: Case, clauses: Iterable[Clause]) -> bool:
    """Does one of the clauses say that nobody is where the step starts?"""
    move = case.move
    if move is None:
        return False
    actor = tuple(Symbol.BOOT if seat == BOOT else Symbol.I for seat in move.where)
    return any(
        len(clause.cube) == 1
        and (part := clause.cube[0]).variable == move.variable
        and part.arguments == actor
        and move.source in part.values
        for clause in clauses
    )


def concerned(clauses: Iterable[Clause], case: Case) -> list[Clause]:
    """The clauses that the step can break, as far as is plain to see."""
    move = case.move
    others = case.written - {move.variable} if move else case.written
    found = []
    for clause in clauses:
        for part in clause.cube:
            if part.variable in others or (
                move is not None
                and part.variable == move.variable
                and move.target in part.values
                and move.source not in part.values
            ):
                found.append(clause)
                break
    return found


def violation(encoder: Encoder, case: Case, clause: Clause, i: int, j: int) -> Bit:
    """The step makes true, for these seats, what the clause forbids."""
    changed = False
    rest = []
    move = case.move
    for literal in clause.cube:
        if literal.variable not in case.written:
            rest.append((literal, False))
            continue
        where, wanted = encoder.meant(literal, i, j)
        if move and literal.variable == move.variable:
            if where == move.where:
                if move.target not in wanted:
                    return False
                changed = changed or move.source not in wanted
            else:
                rest.append((literal, False))
            continue
        post = encoder.post(case.taken, PRE, literal.variable, where)
        moved = post is not encoder.cell(PRE, literal.variable, where)
        changed = changed or moved
        rest.append((literal, moved))
    if not changed:
        return False  # it was so before the step, which the hypothesis excludes
    bits = [encoder.exists[max(BOOT, i, j)]]
    for literal, moved in rest:
        if moved:
            bit = encoder.literal_after(literal, i, j, PRE, case.taken)
        else:
            bit = encoder.literal(literal, i, j, PRE)
        if bit is False:
            return False
        bits.append(bit)
    return conj((*bits, *_reserved(encoder, case, clause, i, j)))


def _reserved(
    encoder: Encoder, case: Case, clause: Clause, i: int, j: int
) -> list[Bit]:
    used = {*range(1, case.used + 1), *(s for s in (i, j) if s > BOOT)}
    pair = tuple(s for s in (i, j) if s > BOOT)
    needs = [
        *encoder.action_needs(case.taken, PRE, pair),
        *_pointed_at(encoder, case, clause, i, j),
        *case.kept,
    ]
    return reserve(needs, len(encoder.seats) - 1 - len(used))


def _pointed_at(
    encoder: Encoder, case: Case, clause: Clause, i: int, j: int
) -> Iterator[Need]:
    """The CPU that a literal of the clause points at afterwards can have a seat."""
    for literal in clause.cube:
        if Symbol.OTHER in literal.values:
            where, _ = encoder.meant(literal, i, j)
            after = encoder.post(case.taken, PRE, literal.variable, where)
            there = after.get(OTHER, False)
            if there is not False:
                yield Need(1, negate(there))


def reserve(needs: list[Need], seats: int) -> list[Bit]:
    """What may be assumed when these needs are met while seats last."""
    granted: list[Bit] = []
    seen: set[object] = set()
    for need in needs:
        key = need.literal if isinstance(need.literal, bool) else need.literal.get_id()
        if key in seen or need.seats > seats:
            continue
        seen.add(key)
        seats -= need.seats
        granted.append(need.literal)
    return granted


def pool_size(system: TransitionSystem, props: Iterable[Property], cap: int = 6) -> int:
    """How many AP seats the cases would like, at least 3."""
    wanted = 3
    pointers = any(is_cpu(variable.sort) for variable in system.variables)
    trial = Encoder(system, cap + 3, closed=False)
    for case in cases(trial):
        needs = trial.action_needs(case.taken, PRE, ())
        wanted = max(wanted, case.used + 2 + _total(needs) + pointers)
    for bad in (bad for prop in props for bad in bad_states(trial, prop)):
        wanted = max(wanted, bad.used + _total(bad.needs))
    return min(wanted, cap)


def _total(needs: Iterable[Need]) -> int:
    unique = {
        need.literal if isinstance(need.literal, bool) else need.literal.get_id(): need
        for need in needs
    }
    return sum(need.seats for need in unique.values())


# Bad states


@dataclass(frozen=True)
class Bad:
    """A way to falsify a formula: its CPUs in the lowest seats, and what it needs."""

    bits: tuple[Bit, ...]
    needs: tuple[Need, ...]
    used: int
    touched: frozenset[str]

    def formula(self, encoder: Encoder) -> Bit:
        """The state is bad in this way."""
        there = [encoder.exists[self.used]]
        seats = len(encoder.seats) - 1 - self.used
        return conj((*there, *self.bits, *reserve(list(self.needs), seats)))


def bad_states(encoder: Encoder, prop: Property) -> list[Bad]:
    """All ways in which a state can violate the property."""
    formula = prop.formula
    if prop.expectation is Expectation.DEADLOCK_FREE:
        formula = at_rest(encoder.system)
    found = list(falsified(encoder, formula, {}, 0))
    if prop.expectation in (Expectation.FINALLY, Expectation.DEADLOCK_FREE):
        found = [_stuck(encoder, bad) for bad in found]
    else:
        seen = tuple(_seen_through_pointers(encoder))
        found = [replace(bad, needs=(*bad.needs, *seen)) for bad in found]
    return [bad for bad in found if bad.formula(encoder) is not False]


def falsified(encoder: Encoder, expr: Expr, env: Env, used: int) -> Iterator[Bad]:
    """Ways to make `expr` false; the CPU that falsifies an `all` gets a seat."""
    match expr:
        case Apply(Op.AND, args, _):
            for arg in args:
                yield from falsified(encoder, arg, env, used)
        case Apply(Op.OR, args, _):
            yield from _all_falsified(encoder, args, env, used)
        case Apply(Op.NOT, (Quantified(Quantifier.EXISTS, param, body),), _):
            inner = Quantified(Quantifier.FORALL, param, not_(body))
            yield from falsified(encoder, inner, env, used)
        case Apply(Op.NOT, (Apply(Op.AND | Op.OR as op, args, sort),), _):
            dual = Op.OR if op is Op.AND else Op.AND
            negated = Apply(dual, tuple(not_(a) for a in args), sort)
            yield from falsified(encoder, negated, env, used)
        case Quantified(Quantifier.FORALL, param, body):
            cpu = param.sort.name == "cpu"
            for value in range(used + 2) if cpu else encoder.elements(param.sort):
                now = max(used, value) if cpu else used
                yield from falsified(encoder, body, {**env, param: value}, now)
        case _:
            bit = negate(encoder.truth(expr, env, PRE))
            needs = tuple(encoder.needs(expr, env, PRE, -1))
            if bit is not False:
                yield Bad((bit,), needs, used, reads(expr))


def _all_falsified(
    encoder: Encoder, args: tuple[Expr, ...], env: Env, used: int
) -> Iterator[Bad]:
    if not args:
        yield Bad((), (), used, frozenset())
        return
    for first in falsified(encoder, args[0], env, used):
        for rest in _all_falsified(encoder, args[1:], env, first.used):
            yield Bad(
                first.bits + rest.bits,
                first.needs + rest.needs,
                rest.used,
                first.touched | rest.touched,
            )


def _stuck(encoder: Encoder, bad: Bad) -> Bad:
    """The bad state, if nobody can move in it."""
    bits, needs = list(bad.bits), list(bad.needs)
    late = list(_seen_through_pointers(encoder))
    touched = set(bad.touched)
    for action in encoder.system.actions:
        owes = encoder.system.owes_progress(action)
        if not owes or not blocks_alike(action):
            continue
        touched |= action.read
        for taken, seat in _takings(encoder, action):
            bits.append(negate(encoder.enabled(taken, PRE)))
            if not action.actor:
                needs += _disabled_needs(encoder, taken)
            elif seat <= bad.used:
                late += _disabled_needs(encoder, taken)
    return Bad(tuple(bits), (*needs, *late), bad.used, frozenset(touched))


def _seen_through_pointers(encoder: Encoder) -> Iterator[Need]:
    """A CPU that a shared pointer points to can have a seat."""
    shared = filter(is_shared_pointer, encoder.system.variables)
    return _pointed_to(encoder, shared)


def _pointed_to(encoder: Encoder, pointers: Iterable[Variable]) -> Iterator[Need]:
    for variable in pointers:
        there = encoder.cell(PRE, variable.name, ()).get(OTHER, False)
        if there is not False:
            yield Need(1, negate(there))


def _disabled_needs(encoder: Encoder, taken: Taken) -> list[Need]:
    return list(encoder.needs(taken.action.guard, taken.binding, PRE, -1))


def _takings(encoder: Encoder, action: Action) -> Iterator[tuple[Taken, int]]:
    """The action with all seats for its parameters, and the actor's seat."""
    actors: list[dict[Param, int]] = [{}]
    if action.actor:
        runs = encoder.system.process(action.process).runs
        seats = encoder.seats[0 if runs is Runs.EVERY_CPU else 1 :]
        actors = [{action.actor: seat} for seat in seats]
    chosen = [c.param for c in action.choices]
    for env in actors:
        seat = next(iter(env.values()), BOOT)
        for values in product(*(encoder.elements(p.sort) for p in chosen)):
            both = {**env, **dict(zip(chosen, values))}
            yield Taken(action, tuple(both.items())), seat


__all__ = ["NOBODY", "PRE", "Bad", "Case", "Symbol", "bad_states", "cases", "pairs"]
