"""Rows of the hotplug table that a slice may merge.

A walk passes rows whose callbacks do not matter. Those that follow each other can be one
row of the slice: a walk may stop there as before, and before and behind the same rows.
How many they were is lost, and who counts them, say, could tell; so a step from such a
row may lead to it again, any number of times, and the slice can do all that the program
can. Still who compares two such rows could tell. So rows are merged if each comparison
of hotplug states is with one that the program names, or with a variable that is never
anything else, also in what is assumed; and not where it is claimed that something ends,
nor where a forall steps through the table: each element would go its own way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cpuhp.graph.relevance import ENDLESS
from cpuhp.language import tree as t
from cpuhp.language.compile import Lowered
from cpuhp.language.program import HPSTATE
from cpuhp.language.tree import nodes_below
from cpuhp.language.variables import initial_value
from cpuhp.model.expr import Apply, Const, Expr, Op, Read, walk
from cpuhp.model.sorts import EnumSort
from cpuhp.model.system import Assign, Property

_COMPARED = (Op.EQ, Op.LT, Op.LE)


@dataclass(frozen=True)
class Rows:
    """What may hold a state that a program does not name, and whether it compares such."""

    wanders: frozenset[str]
    compared: bool

    def can_merge(self, props: Iterable[Property]) -> bool:
        """Does nothing in the program or in these claims tell such rows apart?"""
        props = tuple(props)
        if any(prop.expectation in ENDLESS for prop in props):
            return False
        claimed = (root for prop in props for root in (prop.formula, prop.goal))
        return not self.compared and not _compares(claimed, self.wanders)


def rows(whole: Lowered) -> Rows:
    """What merging rows in slices of this program has to know; all claims share it."""
    named, first = _named(whole), frozenset(whole.terms.hpstate.values[:1])
    edges = [edge for process in whole.processes for edge in process.flow.edges]
    effects = [effect for edge in edges for effect in edge.effects]
    wanders = _wandering(effects, named, _open(whole, named))
    roots = [root for edge in edges for root in edge.expressions()]
    assumed = whole.program.assumptions
    roots += [whole.terms.boolean(node.condition, {}) for node in assumed]
    compared = (
        not first <= named  # where a variable without a value of its own begins
        or _neighbours(whole)
        or _compares(roots, wanders)
    )
    return Rows(wanders, compared)


def _compares(roots: Iterable[Expr], wanders: frozenset[str]) -> bool:
    return any(
        isinstance(part, Apply)
        and part.op in _COMPARED
        and all(_is_state(arg) and not _is_told(arg, wanders) for arg in part.args)
        for root in roots
        for part in walk(root)
    )


def _named(whole: Lowered) -> frozenset[str]:
    return frozenset(s.identifier for s in whole.program.landmarks)


def _neighbours(whole: Lowered) -> bool:
    """Is a neighbour of a state told elsewhere than where a variable becomes just that?

    As a constant it could not be told from those that callbacks are found by. And where
    it is assigned for many elements at once, no choice for each of them stays behind.
    """
    program = whole.program
    nodes = [*nodes_below(program.units), *nodes_below(tuple(program.checks.values()))]
    at_once = {
        id(inner)
        for node in nodes
        if isinstance(node, t.ForEach) and node.at_once
        for inner in nodes_below(node.body)
    }
    assigned = {
        id(node.value)
        for node in nodes
        if isinstance(node, t.Declare | t.AssignTo) and id(node) not in at_once
    }
    return any(
        isinstance(node, t.Call)
        and node.name in ("next_state", "prev_state")
        and id(node) not in assigned
        for node in nodes
    )


def _open(whole: Lowered, named: frozenset[str]) -> frozenset[str]:
    """The variables that may begin anywhere."""
    found = set()
    for name, declared in whole.program.variables.items():
        initial = initial_value(whole.terms, declared)
        if initial is None or not all(
            part.sort.values[part.value] in named
            for part in walk(initial)
            if isinstance(part, Const) and isinstance(part.sort, EnumSort)
        ):
            found.add(name)
    return frozenset(found)


def _wandering(
    effects: list[Assign], named: frozenset[str], found: frozenset[str]
) -> frozenset[str]:
    """The variables that may hold a state which the program does not name."""
    while True:
        more = found | {
            effect.variable
            for effect in effects
            if _is_state(effect.value) and not _is_named(effect.value, named, found)
        }
        if more == found:
            return found
        found = more


def _is_named(value: Expr, named: frozenset[str], wanders: frozenset[str]) -> bool:
    match value:
        case Const(number, EnumSort(_, names)):
            return names[number] in named
        case Apply(Op.ITE, (_, then, otherwise), _):
            return all(_is_named(part, named, wanders) for part in (then, otherwise))
    return _is_told(value, wanders)


def _is_told(value: Expr, wanders: frozenset[str]) -> bool:
    """Is it a row that something looks for, or a variable that holds named ones only?"""
    match value:
        case Const():
            return True
        case Read(variable, _, _):
            return variable not in wanders
        case Apply(Op.ITE, (_, then, otherwise), _):
            return _is_told(then, wanders) and _is_told(otherwise, wanders)
    return False


def _is_state(value: Expr) -> bool:
    return isinstance(value.sort, EnumSort) and value.sort.name == HPSTATE
