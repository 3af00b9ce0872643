"""Constants: variables that nothing reachable ever changes, and the steps they rule out.

A component brings more than a scenario uses: bringup links the stopper, and nobody stops
the machine. Every variable is taken to keep its initial value until a step that can be
reached under this assumption gives it another one (sparse conditional constants). What
is left is true of every run, so folding loses no behaviour and adds none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cpuhp.language.compile import Lowered, LoweredProcess
from cpuhp.language.flow import Edge, Flow
from cpuhp.language.variables import initial_value
from cpuhp.model.expr import (
    FALSE,
    TRUE,
    Const,
    Expr,
    Read,
    reads,
    rebuild,
    through_none,
)
from cpuhp.model.sorts import EnumSort
from cpuhp.model.system import Assign, Choice

Constants = Mapping[str, Const]


def constants(lowered: Lowered, but: frozenset[str] = frozenset()) -> Constants:
    """The variables that keep their initial value in every run, with that value.

    They are found in the whole program: a part that is cut off may write what seems
    constant without it. The variables in `but` are left out.
    """
    known = {n: value for n, value in _initially(lowered).items() if n not in but}
    while True:
        changed = {
            effect.variable
            for process in lowered.processes
            for edge in _reached(process, known).values()
            for effect in edge.effects
            if effect.variable in known and not _keeps(effect, known)
        }
        if not changed:
            return known
        known = {name: value for name, value in known.items() if name not in changed}


def folded(
    lowered: Lowered, known: Constants, but: frozenset[str] = frozenset()
) -> Lowered:
    """The same runs, without steps that cannot happen and reads of constants.

    `known` are constants of the whole program, of which `lowered` may be a part. Steps
    that access a variable in `but` stay as they are: for a data race, it is the access
    that counts.
    """
    known = {
        name: told
        for name, value in known.items()
        if (told := _in_terms_of(lowered, value)) is not None
    }
    return replace(
        lowered, processes=tuple(_folded(p, known, but) for p in lowered.processes)
    )


def _in_terms_of(lowered: Lowered, value: Const) -> Const | None:
    """The value where fewer hotplug states are numbered; None if it is not among them."""
    here = lowered.terms.hpstate
    sort = value.sort
    if not isinstance(sort, EnumSort) or sort.name != here.name or sort == here:
        return value
    name = sort.values[value.value]
    return Const(here.values.index(name), here) if name in here.values else None


def _initially(lowered: Lowered) -> dict[str, Const]:
    found: dict[str, Const] = {}
    for name, declared in lowered.program.variables.items():
        if declared.lock:
            continue
        initial = initial_value(lowered.terms, declared)
        if isinstance(initial, Const):
            found[name] = initial
    for process in lowered.processes:
        for variable in process.locals:
            if isinstance(variable.initial, Const):
                found[variable.name] = variable.initial
    return found


def _keeps(effect: Assign, known: Constants) -> bool:
    value = effect.value
    return isinstance(value, Const) and value.value == known[effect.variable].value


def _reached(process: LoweredProcess, known: Constants) -> dict[int, Edge]:
    """Steps on some path from the entry that the constants allow, by their position."""
    leaving: dict[int, list[int]] = {}
    for position, edge in enumerate(process.flow.edges):
        leaving.setdefault(edge.source, []).append(position)
    found: dict[int, Edge] = {}
    seen, stack = {process.entry}, [process.entry]
    while stack:
        for position in leaving.get(stack.pop(), ()):
            step = _with(process.flow.edges[position], known)
            if step.guard == FALSE or any(c.among == FALSE for c in step.choices):
                continue
            found[position] = step
            if step.target not in seen:
                seen.add(step.target)
                stack.append(step.target)
    return found


def _folded(
    process: LoweredProcess, known: Constants, but: frozenset[str]
) -> LoweredProcess:
    flow = process.flow
    edges: list[Edge] = []
    for position, step in sorted(_reached(process, known).items()):
        whole = flow.edges[position]
        # A condition that constants decide has read what it reads all the same.
        edge = whole if (whole.reads() | whole.writes()) & but else step
        effects = tuple(
            effect
            for effect in edge.effects
            if effect.variable not in known
            or any(reads(part) & but for part in (effect.value, *effect.indices))
        )
        edges.append(replace(edge, effects=effects))
    edges = _at_first(process, edges)
    thinner = Flow(flow.names, edges, flow.waits, flow.resting, flow.labels)
    return replace(process, flow=thinner)


def _at_first(process: LoweredProcess, edges: list[Edge]) -> list[Edge]:
    """At the start a private variable already has its first value."""
    initial = {v.name: v.initial for v in process.locals}
    point, edges = process.entry, list(edges)
    while True:
        leaving = [n for n, edge in enumerate(edges) if edge.source == point]
        if len(leaving) != 1 or any(edge.target == point for edge in edges):
            return edges
        edge = edges[leaving[0]]
        sets = all(initial.get(e.variable) == e.value for e in edge.effects)
        if not sets or edge.guard != TRUE or edge.choices:
            return edges
        edges[leaving[0]] = replace(edge, effects=())
        point = edge.target


def _with(edge: Edge, known: Constants) -> Edge:
    def fold(expr: Expr) -> Expr:
        return rebuild(expr, visit)

    def visit(part: Expr) -> Expr | None:
        if isinstance(part, Read) and part.variable in known:
            if not through_none(part.indices):
                return Const(known[part.variable].value, part.sort)
        return None  # what is read through none is another value

    return replace(
        edge,
        guard=fold(edge.guard),
        choices=tuple(Choice(c.param, fold(c.among), c.order) for c in edge.choices),
        effects=tuple(
            replace(e, indices=tuple(map(fold, e.indices)), value=fold(e.value))
            for e in edge.effects
        ),
    )
