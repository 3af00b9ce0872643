"""Slicing: a program without what cannot matter to a property.

What does not matter is projected away: assignments to other variables disappear, and
conditions that read other variables are taken as true, so the slice can do all that the
program can do, and perhaps more (NOTE(slice-over-approximates)). A proof on any slice
therefore stands, whatever was left out; a trace of it is only a hint and is replayed in
the whole program. What can matter is found by `relevance`.
"""

from __future__ import annotations

from dataclasses import replace

from cpuhp.graph.relevance import Slice
from cpuhp.language.compile import Lowered, LoweredProcess
from cpuhp.language.flow import Edge, Flow
from cpuhp.model.expr import TRUE, Apply, Expr, Op, Param, and_, reads, walk
from cpuhp.model.system import Choice, Order, expressions


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
        flow.names,
        edges,
        flow.waits & (waits | flow.resting),
        flow.resting,
        flow.labels,
    )
    return replace(process, flow=kept)


def _without(edge: Edge, variables: frozenset[str]) -> Edge:
    effects = tuple(e for e in edge.effects if e.variable in variables)
    choices = tuple(_weaken(choice, variables) for choice in edge.choices)
    guard = _weaker(edge.guard, variables)
    used = {
        part.name
        for root in expressions(guard, choices, effects)
        for part in walk(root)
        if isinstance(part, Param)
    }
    kept = tuple(
        choice
        for choice in choices
        if choice.param.name in used or choice.among != TRUE
    )
    return replace(edge, guard=guard, choices=kept, effects=effects)


def _weaken(choice: Choice, variables: frozenset[str]) -> Choice:
    among = _weaker(choice.among, variables)
    if among is choice.among:
        return choice
    return replace(choice, among=among, order=Order.ANY)  # the first may be another


def _weaker(guard: Expr, variables: frozenset[str]) -> Expr:
    """The conjuncts of a guard that can be evaluated; the others count as true."""
    if reads(guard) <= variables:
        return guard
    if isinstance(guard, Apply) and guard.op is Op.AND:
        return and_(*(_weaker(arg, variables) for arg in guard.args))
    return TRUE
