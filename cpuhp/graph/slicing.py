"""Slicing: what of a program can matter to a property.

A *part* is a process, a callback or an inlined function. A part matters if it writes a
variable that matters; then so do the variables that its guards and those writes read,
and the parts around it. Everything else is projected away: assignments to variables
that do not matter disappear, and guards that read them are taken as true, so the slice
can do all that the program can do, and perhaps more (NOTE(slice-over-approximates)).
A proof on the slice therefore stands; a trace of it is replayed in the whole program.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from cpuhp.language.compile import Lowered, LoweredProcess
from cpuhp.language.flow import Edge, Flow
from cpuhp.model.expr import TRUE, Apply, Expr, Op, and_, reads
from cpuhp.model.system import Assign, Choice, Expectation, Property

BLOCKING = frozenset(
    {Expectation.DEADLOCK_FREE, Expectation.TERMINATES, Expectation.LEADS_TO}
)


@dataclass(frozen=True)
class Slice:
    """What matters to a property: variables, and the names of parts."""

    variables: frozenset[str]
    parts: frozenset[str]


def relevant(lowered: Lowered, props: Iterable[Property]) -> Slice:
    """The smallest set of variables and parts that is closed under dependence."""
    props = tuple(props)
    blocking = any(prop.expectation in BLOCKING for prop in props)
    locks = frozenset(n for n, d in lowered.program.variables.items() if d.lock)
    edges = [edge for process in lowered.processes for edge in process.flow.edges]
    # Where a function of a part waits, the part waits, though the function writes nothing.
    waits = {
        id(edge)
        for process in lowered.processes
        for edge in process.flow.edges
        if edge.source in process.flow.waits
    }
    variables: set[str] = set()
    parts: set[str] = set()
    for prop in props:
        variables |= reads(prop.formula) | reads(prop.goal)
    if blocking:
        for edge in _blocking_edges(lowered):
            parts.update(_places(edge))
        locks = frozenset()
    while True:
        before = len(variables), len(parts)
        for edge in edges:
            if (edge.writes() - locks) & variables:
                parts.update(_places(edge))
        for edge in edges:
            inside = _places(edge)[-1:] and _places(edge)[-1] in parts
            if inside:
                variables |= _guard_reads(edge)
            elif id(edge) in waits and _home(edge, lowered) in parts:
                variables |= _guard_reads(edge) - locks
            for effect in edge.effects:
                if effect.variable in variables:
                    variables |= reads(effect.value)
                    for index in effect.indices:
                        variables |= reads(index)
                    variables |= _choice_reads(edge)
        variables |= _located(variables, parts)
        if (len(variables), len(parts)) == before:
            return Slice(frozenset(variables), frozenset(parts))


def _located(variables: set[str], parts: set[str]) -> set[str]:
    # A program point that a property looks at makes its process matter.
    parts.update(v.removeprefix("at.") for v in variables if v.startswith("at."))
    return set()


def _home(edge: Edge, lowered: Lowered) -> str | None:
    """The process or callback that an edge belongs to, through functions."""
    functions = lowered.program.functions
    return next((p for p in reversed(_places(edge)) if p not in functions), None)


def _places(edge: Edge) -> tuple[str, ...]:
    return edge.note.places if edge.note else ()


def _guard_reads(edge: Edge) -> frozenset[str]:
    return reads(edge.guard) | _choice_reads(edge)


def _choice_reads(edge: Edge) -> frozenset[str]:
    return frozenset[str]().union(*(reads(choice.among) for choice in edge.choices))


def _blocking_edges(lowered: Lowered) -> Iterator[Edge]:
    for process in lowered.processes:
        for edge in process.flow.edges:
            if edge.source in process.flow.waits:
                yield edge


def project(lowered: Lowered, kept: Slice) -> Lowered:
    """The program without what does not matter."""
    variables = kept.variables | {f"at.{p.name}" for p in lowered.processes}
    return replace(
        lowered,
        processes=tuple(_project(p, variables, kept.parts) for p in lowered.processes),
    )


def _project(
    process: LoweredProcess, variables: frozenset[str], parts: frozenset[str]
) -> LoweredProcess:
    flow = process.flow
    edges = [_without(edge, variables) for edge in flow.edges]
    waits = {edge.source for edge in edges if edge.guard != TRUE or edge.choices}
    kept = Flow(
        flow.names, edges, flow.waits & (waits | flow.resting), flow.resting, flow.labels
    )
    return replace(process, flow=kept)


def _without(edge: Edge, variables: frozenset[str]) -> Edge:
    effects = tuple(e for e in edge.effects if e.variable in variables)
    used = frozenset[str]().union(*(_mentions(e) for e in effects))
    choices = tuple(_weaken(choice, variables) for choice in edge.choices)
    guard = _weaker(edge.guard, variables)
    kept = tuple(
        choice
        for choice in choices
        if choice.param.name in used or choice.among != TRUE
    )
    return replace(edge, guard=guard, choices=kept, effects=effects)


def _mentions(effect: Assign) -> frozenset[str]:
    from cpuhp.model.expr import Param, walk

    roots = (effect.value, *effect.indices)
    return frozenset(
        part.name for root in roots for part in walk(root) if isinstance(part, Param)
    )


def _weaken(choice: Choice, variables: frozenset[str]) -> Choice:
    return replace(choice, among=_weaker(choice.among, variables))


def _weaker(guard: Expr, variables: frozenset[str]) -> Expr:
    """The conjuncts of a guard that can be evaluated; the others count as true."""
    if reads(guard) <= variables:
        return guard
    if isinstance(guard, Apply) and guard.op is Op.AND:
        return and_(*(_weaker(arg, variables) for arg in guard.args))
    return TRUE
