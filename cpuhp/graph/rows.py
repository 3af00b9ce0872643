"""Rows of the hotplug table that a slice may merge.

A walk passes rows whose callbacks do not matter. Those that follow each other can be one
row of the slice: a walk may stop there as before, and before and behind the same rows.
Only who compares two such rows could tell. So rows are merged if each comparison of
hotplug states is with one that the program names, or with a variable that is never
anything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cpuhp.language.compile import Lowered
from cpuhp.language.program import HPSTATE
from cpuhp.language.variables import initial_value
from cpuhp.model.expr import Apply, Const, Expr, Op, Read, walk
from cpuhp.model.sorts import EnumSort
from cpuhp.model.system import Assign, Property

_COMPARED = (Op.EQ, Op.LT, Op.LE)


def can_merge(whole: Lowered, props: Iterable[Property]) -> bool:
    """Does no comparison in the whole program or in these claims tell such rows apart?"""
    program, first = whole.program, whole.terms.hpstate.values[:1]
    if first and first[0] not in {s.enumerator or s.name for s in program.landmarks}:
        return False  # a variable without a value of its own begins there
    effects = [
        effect
        for process in whole.processes
        for edge in process.flow.edges
        for effect in edge.effects
    ]
    wanders = _wandering(effects, _open(whole))
    return not any(
        isinstance(part, Apply)
        and part.op in _COMPARED
        and all(_is_state(arg) and not _is_named(arg, wanders) for arg in part.args)
        for root in (*_expressions(whole), *_claimed(props))
        for part in walk(root)
    )


def _open(whole: Lowered) -> frozenset[str]:
    """The variables that may begin anywhere."""
    return frozenset(
        name
        for name, declared in whole.program.variables.items()
        if initial_value(whole.terms, declared) is None
    )


def _wandering(effects: list[Assign], found: frozenset[str]) -> frozenset[str]:
    """The variables that may hold a state which the program does not name."""
    while True:
        more = found | {
            effect.variable
            for effect in effects
            if _is_state(effect.value) and not _is_named(effect.value, found)
        }
        if more == found:
            return found
        found = more


def _is_named(value: Expr, wanders: frozenset[str]) -> bool:
    match value:
        case Const():
            return True
        case Read(variable, _, _):
            return variable not in wanders
        case Apply(Op.ITE, (_, then, otherwise), _):
            return _is_named(then, wanders) and _is_named(otherwise, wanders)
    return False


def _is_state(value: Expr) -> bool:
    return isinstance(value.sort, EnumSort) and value.sort.name == HPSTATE


def _expressions(whole: Lowered) -> Iterator[Expr]:
    for process in whole.processes:
        for edge in process.flow.edges:
            yield edge.guard
            for choice in edge.choices:
                yield choice.among
            for effect in edge.effects:
                yield effect.value
                yield from effect.indices


def _claimed(props: Iterable[Property]) -> Iterator[Expr]:
    for prop in props:
        yield prop.formula
        yield prop.goal
