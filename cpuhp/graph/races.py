"""No data race, as a formula about one state: what a proof for every CPU count shows.

It says of each two steps that touch the same plain variable, one of them writing, that
two instances are never both about to take them. What a step touches is what
`semantics.accesses` says, here for every state at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement, starmap

from cpuhp.language.build import build, private_variables
from cpuhp.language.compile import Lowered
from cpuhp.model.expr import (
    TRUE,
    Apply,
    Boot,
    Const,
    Expr,
    Op,
    Param,
    Quantified,
    Read,
    and_,
    conjuncts,
    eq,
    exists,
    may_be_none,
    none_of,
    not_,
    or_,
    substitute,
    walk,
)
from cpuhp.model.sorts import CPU, EnumSort, IndexSort
from cpuhp.model.system import (
    Action,
    Process,
    Runs,
    TransitionSystem,
    chosen_among,
)


def plain_variables(whole: Lowered) -> list[str]:
    """Variables that are written without an atomic operation, by and for several."""
    system, _ = build(whole, None, reduced=False)
    written = frozenset[str]().union(*(a.written for a in system.actions))
    alone = frozenset[str]().union(*private_variables(whole).values())
    return [
        v.name
        for v in system.variables
        if v.plain and v.name in written and v.name not in alone
    ]


def only_plain(system: TransitionSystem, names: Collection[str]) -> TransitionSystem:
    """The system in which accesses to these variables alone can race."""
    variables = tuple(
        replace(v, plain=v.plain and v.name in names) for v in system.variables
    )
    return replace(system, variables=variables)


_ONE, _OTHER = "one", "the other"
_Way = dict[Expr, frozenset[int]]  # the values that each subject may have


@dataclass(frozen=True)
class _Access:
    """A place of a plain variable that an instance is about to touch under a condition."""

    variable: str
    indices: tuple[Expr, ...]
    condition: Expr
    params: tuple[Param, ...] = ()  # that the step chooses, or goes through
    writes: bool = False


@dataclass(frozen=True)
class _Place:
    """What processes of one kind touch; `of` whom, and what they choose, are parameters."""

    process: Process
    variable: str
    indices: tuple[Expr, ...]
    params: tuple[Param, ...]


@dataclass
class _Uses:
    """When somebody is about to touch a place at all, and when to write it."""

    touching: list[Expr]
    writing: list[Expr]


def race_freedom(system: TransitionSystem) -> Expr:
    """A formula that holds only in states without a data race.

    It may fail in others, too: where a step chooses another element than the one that
    it touches, or takes the first, the choice counts as possible.
    """
    by_variable: dict[str, dict[_Place, _Uses]] = {}
    for action in system.actions:
        process = system.process(action.process)
        for access in _accesses(system, action):
            place, condition = _placed(process, action, access)
            places = by_variable.setdefault(access.variable, {})
            uses = places.setdefault(place, _Uses([], []))
            uses.touching.append(condition)
            if access.writes:
                uses.writing.append(condition)
    locations = frozenset(process.location for process in system.processes)
    return and_(
        *(
            goal
            for places in by_variable.values()
            for one, other in combinations_with_replacement(places, 2)
            for goal in _goals(one, places[one], other, places[other], locations)
        )
    )


# What a step touches


def _accesses(system: TransitionSystem, action: Action) -> Iterator[_Access]:
    """All that an action touches of plain variables once it is enabled."""
    plain = {variable.name for variable in system.variables if variable.plain}
    own = tuple(choice.param for choice in action.choices)
    enabled = and_(action.guard, *(choice.among for choice in action.choices))
    for access in _every_access(action):
        if access.variable in plain:
            every = (*own, *access.params)
            params = tuple(p for p in every if p in _params(*access.indices))
            # Which other elements it chooses does not matter: there are some.
            rest = frozenset(every) - frozenset(params)
            condition = and_(
                *(
                    part
                    for part in conjuncts(and_(enabled, access.condition))
                    if not rest & _params(part)
                )
            )
            yield replace(access, condition=condition, params=params)


def _every_access(action: Action) -> Iterator[_Access]:
    yield from _read(action.guard)
    for choice in action.choices:
        # All elements are looked at until one is found.
        looked = Param(f"{choice.param.name} looked at", choice.param.sort)
        yield from _read(
            substitute(choice.among, {choice.param: looked}), params=(looked,)
        )
    for effect in action.effects:
        among = chosen_among(effect)
        chosen = or_(*among) if among else TRUE
        for test in among:
            yield from _read(test, not_(chosen), effect.bound)
        for part in (*effect.indices, effect.value):
            yield from _read(part, chosen, effect.bound)
        yield _Access(effect.variable, effect.indices, chosen, effect.bound, True)


def _read(
    expr: Expr, when: Expr = TRUE, params: tuple[Param, ...] = ()
) -> Iterator[_Access]:
    """What is read to know the value, where `&&`, `||` and `?:` skip operands."""
    match expr:
        case Read(variable, indices, _):
            for index in indices:
                yield from _read(index, when, params)
            yield _Access(variable, indices, when, params)
        case Apply(Op.AND | Op.OR as op, args, _):
            for arg in args:
                yield from _read(arg, when, params)
                when = and_(when, arg if op is Op.AND else not_(arg))
        case Apply(Op.ITE, (condition, yes, no), _):
            yield from _read(condition, when, params)
            yield from _read(yes, and_(when, condition), params)
            yield from _read(no, and_(when, not_(condition)), params)
        case Apply(_, args, _):
            for arg in args:
                yield from _read(arg, when, params)
        case Quantified(_, param, body):
            yield from _read(body, when, (*params, param))


def _params(*exprs: Expr) -> set[Param]:
    return {part for e in exprs for part in walk(e) if isinstance(part, Param)}


# Two of them at once


def _placed(process: Process, action: Action, access: _Access) -> tuple[_Place, Expr]:
    """The place that is touched, and when, in parameters that are named alike for all."""
    names: dict[Param, Expr] = {
        param: Param(f"{_ONE}'s {number}", param.sort)
        for number, param in enumerate(access.params)
    }
    params = tuple(p for p in names.values() if isinstance(p, Param))
    if action.actor is not None:
        names[action.actor] = _ACTOR
    indices = tuple(substitute(index, names) for index in access.indices)
    place = _Place(process, access.variable, indices, params)
    return place, substitute(access.condition, names)


_ACTOR = Param(_ONE, CPU)


def _goals(
    one: _Place, uses: _Uses, other: _Place, theirs: _Uses, locations: frozenset[str]
) -> Iterator[Expr]:
    """Nobody is about to write the one place, and another to touch the other."""
    if one.process == other.process and one.process.runs is Runs.ONCE:
        return
    yield from _never(one, uses.writing, other, theirs.touching, locations)
    if one != other and (uses.writing, theirs.writing) != (
        uses.touching,
        theirs.touching,
    ):
        yield from _never(one, uses.touching, other, theirs.writing, locations)


def _never(
    one: _Place,
    when: list[Expr],
    other: _Place,
    whenever: list[Expr],
    locations: frozenset[str],
) -> Iterator[Expr]:
    """Two instances never are there under any of these conditions."""
    if not when or not whenever:
        return
    rename = {
        param: replace(param, name=param.name.replace(_ONE, _OTHER, 1))
        for param in (_ACTOR, *other.params)
    }
    who, whom = _ACTOR, rename[_ACTOR]
    conditions = [
        *_runs(one.process, who),
        *_runs(other.process, whom),
        _any_of(when, locations),
        substitute(_any_of(whenever, locations), rename),
    ]
    if one.process == other.process:
        conditions.append(not_(eq(who, whom)))
    for here, index in zip(one.indices, other.indices):
        there = substitute(index, rename)
        conditions.append(eq(here, there))
        if may_be_none(here) and may_be_none(there):
            assert isinstance(here.sort, IndexSort)
            conditions.append(not_(eq(here, none_of(here.sort))))
    params = (who, *one.params, whom, *map(rename.__getitem__, other.params))
    yield not_(_exists(and_(*conditions), params))


def _runs(process: Process, cpu: Expr) -> Iterator[Expr]:
    if process.runs is Runs.EVERY_AP:
        yield not_(eq(cpu, Boot()))


def _exists(condition: Expr, params: Iterable[Param]) -> Expr:
    """There are such elements; one parameter where two have to be the same."""
    for part in conjuncts(condition):
        match part:
            case Apply(Op.EQ, (Param() as one, Param() as other), _):
                return _exists(substitute(condition, {other: one}), params)
    used = _params(condition)
    for param in params:
        if param in used:
            condition = exists(param, condition)
    return condition


# Conditions of many steps at once


def _any_of(conditions: list[Expr], locations: frozenset[str]) -> Expr:
    """One of the conditions holds; told by program point."""
    by_point: dict[Expr, list[Expr]] = {}
    for condition in conditions:
        parts = conjuncts(condition)
        here = [part for part in parts if _says_where(part, locations)]
        rest = and_(*(part for part in parts if part not in here))
        by_point.setdefault(and_(*here), []).append(rest)
    return or_(*(and_(here, _shorter(rest)) for here, rest in by_point.items()))


def _says_where(part: Expr, locations: frozenset[str]) -> bool:
    match part:
        case Apply(Op.EQ, (Read(variable), Const()), _):
            return variable in locations
    return False


def _shorter(conditions: list[Expr]) -> Expr:
    """One of them holds, with cases put together that differ in one thing alone.

    `a && b || a && !b` is `a`, and `v == 1 || v == 2` a set of values that v may have.
    """
    ways = [_way(condition) for condition in dict.fromkeys(conditions)]
    subjects = list(dict.fromkeys(subject for way in ways for subject in way))
    count = 0
    while count != len(ways):
        count = len(ways)
        for subject in subjects:
            ways = _put_together(ways, subject)
    kept: list[_Way] = []
    for way in sorted(ways, key=len):
        if not any(_implies(way, other) for other in kept):
            kept.append(way)
    return or_(*(and_(*starmap(_among, way.items())) for way in kept))


def _way(condition: Expr) -> _Way:
    found: _Way = {}
    for subject, values in map(_literal, conjuncts(condition)):
        found[subject] = found.get(subject, values) & values
    return found


def _put_together(ways: list[_Way], subject: Expr) -> list[_Way]:
    """Those that say the same of all else are one."""
    found: dict[frozenset[tuple[Expr, frozenset[int]]], _Way] = {}
    every = _every_value(subject)
    for way in ways:
        rest = frozenset([pair for pair in way.items() if pair[0] != subject])
        known = found.setdefault(rest, way)
        values = known.get(subject, every) | way.get(subject, every)
        found[rest] = {**known, subject: values}
        if values == every:
            del found[rest][subject]
    return list(found.values())


def _implies(way: _Way, other: _Way) -> bool:
    """Does it say the same, or more?"""
    return all(
        subject in way and way[subject] <= values for subject, values in other.items()
    )


def _literal(part: Expr) -> tuple[Expr, frozenset[int]]:
    """What it is about, and the values that this has."""
    match part:
        case Apply(Op.NOT, (inner,), _):
            subject, values = _literal(inner)
            return subject, _every_value(subject) - values
        case Apply(Op.EQ, (subject, Const(value, EnumSort())), _):
            return subject, frozenset((value,))
    return part, frozenset((1,))


def _every_value(subject: Expr) -> frozenset[int]:
    sort = subject.sort
    return frozenset(range(len(sort.values) if isinstance(sort, EnumSort) else 2))


def _among(subject: Expr, values: frozenset[int]) -> Expr:
    sort = subject.sort
    if not isinstance(sort, EnumSort):
        return or_(*(subject if value else not_(subject) for value in values))
    return or_(*(eq(subject, Const(value, sort)) for value in sorted(values)))
