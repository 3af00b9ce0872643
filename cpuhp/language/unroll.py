"""Partial evaluation: small private variables of a process become part of its location.

A hotplug thread walks the table with a loop over `hpstate` values. Told apart by those
values, the program points form no loop any more, guards on the values are decided once
and for all, and far more steps can be fused (flow.py). NOTE(unrolling): the unrolled
flow has the same runs; what was a value of a variable is now a program point. For data
races it has the same accesses, too: where a value decides a condition that has read
something else before, the variable stays one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from cpuhp.language.flow import Edge
from cpuhp.model.expr import (
    FALSE,
    TRUE,
    Apply,
    Const,
    Expr,
    Op,
    Read,
    and_,
    children,
    eq,
    reads,
    rebuild,
    through_none,
    walk,
)
from cpuhp.model.sorts import BoolSort, EnumSort, Sort
from cpuhp.model.system import Assign, Variable

MAX_POINTS = 4000

Values = tuple[Const, ...]
Known = Callable[[str], frozenset[int]]


@dataclass(frozen=True)
class Unrolled:
    """The edges between new points, and the old point and values behind each."""

    edges: tuple[Edge, ...]
    points: tuple[tuple[int, Values], ...]
    written: Mapping[str, frozenset[int]]  # values assigned to variables of others


class HiddenReads(Exception):
    """An access would be lost; `names` are the variables whose values decide there."""

    def __init__(self, names: frozenset[str]):
        super().__init__(", ".join(sorted(names)))
        self.names = names


def is_trackable(variable: Variable, per_cpu: bool) -> bool:
    """One small value per running process: its CPU's, if it runs per CPU."""
    own = len(variable.indices) == (1 if per_cpu else 0)
    return own and isinstance(variable.sort, BoolSort | EnumSort)


def unroll(
    edges: list[Edge],
    entry: int,
    tracked: tuple[Variable, ...],
    known: Known,
    accessed: frozenset[str] = frozenset(),
) -> Unrolled | None:
    """Split the points by the values of `tracked`; None if there are too many.

    `known` gives the values that a variable of somebody else can ever have. Raises
    HiddenReads where a variable in `accessed` would not be read any more.
    """
    names = {variable.name: slot for slot, variable in enumerate(tracked)}
    leaving: dict[int, list[Edge]] = {}
    for edge in edges:
        leaving.setdefault(edge.source, []).append(edge)
    first = (entry, tuple(_initial(v) for v in tracked))
    numbers: dict[tuple[int, Values], int] = {first: 0}
    queue = [first]
    result: list[Edge] = []
    written: dict[str, set[int]] = {}
    while queue:
        point, values = queue.pop(0)
        for edge in leaving.get(point, []):
            for target, split in _split(edge, values, names, known, written, accessed):
                if target not in numbers:
                    numbers[target] = len(numbers)
                    queue.append(target)
                    if len(numbers) > MAX_POINTS:
                        return None
                here, there = numbers[point, values], numbers[target]
                result.append(
                    Edge(
                        here,
                        there,
                        split.guard,
                        split.choices,
                        split.effects,
                        edge.note,
                    )
                )
    return Unrolled(
        tuple(result),
        tuple(numbers),
        {name: frozenset(found) for name, found in written.items()},
    )


def _initial(variable: Variable) -> Const:
    assert isinstance(variable.initial, Const)
    return variable.initial


def _split(
    edge: Edge,
    values: Values,
    names: Mapping[str, int],
    known: Known,
    written: dict[str, set[int]],
    accessed: frozenset[str],
) -> list[tuple[tuple[int, Values], Edge]]:
    """The edge from a point with these values, once per outcome for the tracked."""

    def value_of(expr: Expr) -> Expr | None:
        if isinstance(expr, Read) and expr.variable in names:
            return values[names[expr.variable]]
        return None

    def told(expr: Expr) -> Expr:
        found = rebuild(expr, value_of)
        if accessed and found is not expr:
            left = {part for part in walk(found) if isinstance(part, Read)}
            for part in _looked_at(expr, value_of):
                if part.variable in accessed and rebuild(part, value_of) not in left:
                    raise HiddenReads(reads(expr) & names.keys())
        return found

    guard = told(edge.guard)
    if guard == FALSE:
        return []
    choices = tuple([replace(c, among=told(c.among)) for c in edge.choices])
    if any(choice.among == FALSE for choice in choices):
        return []
    rest: list[Assign] = []
    outcomes: list[tuple[Expr, Values]] = [(guard, values)]
    for effect in edge.effects:
        value = told(effect.value)
        if effect.variable not in names:
            indices = tuple(told(index) for index in effect.indices)
            rest.append(replace(effect, indices=indices, value=value))
            continue
        slot = names[effect.variable]
        outcomes = [
            (and_(given, holds), (*after[:slot], constant, *after[slot + 1 :]))
            for given, after in outcomes
            for holds, constant in _outcomes(value, values[slot].sort, known)
        ]
    found = []
    for given, after in outcomes:
        if given != FALSE:
            found.append(
                (
                    (edge.target, after),
                    Edge(0, 0, given, choices, tuple(rest), edge.note),
                )
            )
    if found:
        for effect in rest:
            possible = _possible(effect.value, known)
            written.setdefault(effect.variable, set()).update(possible)
    return found


def _looked_at(expr: Expr, value_of: Callable[[Expr], Expr | None]) -> Iterator[Read]:
    """What is read, as far as the values do not let `&&`, `||` and `?:` skip it."""
    match expr:
        case Apply(Op.AND | Op.OR as op, args, _):
            for arg in args:
                yield from _looked_at(arg, value_of)
                if rebuild(arg, value_of) == (FALSE if op is Op.AND else TRUE):
                    return
        case Apply(Op.ITE, (condition, yes, no), _):
            yield from _looked_at(condition, value_of)
            known = rebuild(condition, value_of)
            if known != FALSE:
                yield from _looked_at(yes, value_of)
            if known != TRUE:
                yield from _looked_at(no, value_of)
        case _:
            if isinstance(expr, Read):
                yield expr
            for part in children(expr):
                yield from _looked_at(part, value_of)


def _outcomes(value: Expr, sort: Sort, known: Known) -> list[tuple[Expr, Const]]:
    if isinstance(value, Const):
        return [(eq(value, value), Const(value.value, sort))]
    possible = sorted(_possible(value, known) & frozenset(_all(sort)))
    return [(eq(value, Const(v, sort)), Const(v, sort)) for v in possible]


def _possible(value: Expr, known: Known) -> frozenset[int]:
    """Values that an expression can have, as far as is plain to see."""
    if isinstance(value, Const):
        return frozenset({value.value})
    sort = value.sort
    if not isinstance(sort, BoolSort | EnumSort):
        return frozenset()
    if isinstance(value, Read) and isinstance(sort, EnumSort):
        lost = frozenset({0}) if through_none(value.indices) else frozenset()
        return known(value.variable) | lost
    if isinstance(value, Apply) and value.op is Op.ITE:
        _, then, otherwise = value.args
        return _possible(then, known) | _possible(otherwise, known)
    return frozenset(_all(sort))


def _all(sort: Sort) -> range:
    return range(len(sort.values)) if isinstance(sort, EnumSort) else range(2)
