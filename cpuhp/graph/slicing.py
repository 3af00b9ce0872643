"""Slicing: what of a program can matter to a property.

A *part* is a process, a callback or an inlined function. What does not matter is
projected away: assignments to other variables disappear, and conditions that read other
variables are taken as true, so the slice can do all that the program can do, and
perhaps more (NOTE(slice-over-approximates)). A proof on any slice therefore stands,
whatever was left out; a trace of it is only a hint and is replayed in the whole program.

So a proof may begin with very little and add conditions only where that is too coarse:
see `narrowed`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from cpuhp.graph.holding import held_at, hold_of, under_which
from cpuhp.language.build import observed_by
from cpuhp.language.compile import Lowered, LoweredProcess
from cpuhp.language.flow import Edge, Flow
from cpuhp.language.places import Points, observed_points
from cpuhp.language.terms import location_variable
from cpuhp.language.variables import Ties, ties, with_tied
from cpuhp.model.expr import (
    FALSE,
    TRUE,
    Apply,
    Const,
    Expr,
    Op,
    Param,
    and_,
    reads,
    walk,
)
from cpuhp.model.sorts import EnumSort
from cpuhp.model.system import (
    Assign,
    Choice,
    Expectation,
    Order,
    Property,
    expressions,
)

BLOCKING = frozenset(
    {
        Expectation.DEADLOCK_FREE,
        Expectation.FINALLY,  # who is blocked decides when nobody can move
        Expectation.TERMINATES,
        Expectation.LEADS_TO,
    }
)

ENDLESS = frozenset({Expectation.TERMINATES, Expectation.LEADS_TO})


@dataclass(frozen=True)
class Slice:
    """What matters to a property: variables, and the names of parts."""

    variables: frozenset[str]
    parts: frozenset[str]


def relevant(
    lowered: Lowered,
    props: Iterable[Property],
    accessed: frozenset[str] = frozenset(),
    delaying: frozenset[str] | None = None,
) -> Slice:
    """The smallest set of variables and parts that is closed under dependence.

    Of the variables in `accessed`, reads matter like writes (for data races). `delaying`
    are the locks that are `only_delaying`, if that is known.
    """
    props = tuple(props)
    locks = only_delaying(lowered) if delaying is None else delaying
    edges = [edge for process in lowered.processes for edge in process.flow.edges]
    waits = {
        id(edge)
        for process in lowered.processes
        for edge in process.flow.edges
        if edge.source in process.flow.waits
    }
    variables: set[str] = set()
    parts: set[str] = set()
    variables |= observed_by(props)
    locks -= variables  # a lock that a claim looks at is a variable like any other
    parts |= {name.removeprefix("at.") for name in variables if name.startswith("at.")}
    parts |= _observed_parts(lowered, props)
    if any(prop.expectation in BLOCKING for prop in props):
        parts |= _blocking_parts(lowered)
        locks = frozenset()
    if any(prop.expectation in ENDLESS for prop in props):
        parts |= _turning_parts(lowered)
    for edge in edges:
        if (edge.reads() | edge.writes()) & accessed:
            parts.update(_all_places(edge))
            variables |= accessed
            variables |= {e.variable for e in edge.effects if _reads(e) & accessed}
    if not accessed and any(p.expectation is Expectation.RACE_FREE for p in props):
        # Whatever is accessed can race.
        variables |= lowered.program.variables.keys()
        variables |= {v.name for p in lowered.processes for v in p.locals}
        parts |= {place for edge in edges for place in _all_places(edge)}
        locks = frozenset()
    tied = ties(lowered.terms)
    while True:
        before = len(variables), len(parts)
        _close_over_values(edges, tied, variables)
        for edge in edges:
            if (edge.writes() - locks) & variables:
                parts.update(_all_places(edge))
        for edge in edges:
            if parts & {*_places(edge)[-1:], *_within(edge)}:
                variables |= _conditions(edge)
            elif id(edge) in waits and _home(edge, lowered) in parts:
                # Where a function waits, so does the part that it is called from,
                # though the function writes nothing.
                variables |= _conditions(edge) - locks
            if edge.writes() & variables:
                variables |= _chosen_by(edge)
        if (len(variables), len(parts)) == before:
            return Slice(frozenset(variables), frozenset(parts))


def narrowed(
    lowered: Lowered, props: tuple[Property, ...], kept: Slice, only: frozenset[str]
) -> Slice:
    """Of what is kept, the variables in `only` and what their values are made of.

    A proof on it stands; a violation of it need not be one of the program.
    """
    edges = [edge for process in lowered.processes for edge in process.flow.edges]
    variables = set(observed_by(props) | only)
    _close_over_values(edges, ties(lowered.terms), variables)
    return Slice(frozenset(variables), kept.parts)


def deciders(
    lowered: Lowered, props: tuple[Property, ...], wanted: frozenset[str]
) -> frozenset[str]:
    """What decides about these variables where they are written, and they themselves.

    That is in the callbacks and functions that assign them, and in those that lead to a
    program point that a claim compares with: what kernel developers argue with first.
    """
    points, found = observed_points(props), set(wanted)
    writers = {
        place
        for process, edge in _edges(lowered)
        if edge.writes() & wanted or _enters(process, edge, points)
        for place in _near(edge, lowered)
    }
    for _, edge in _edges(lowered):
        if _places(edge) and _places(edge)[-1] in writers:
            found |= _conditions(edge)
    return frozenset(found)


def _near(edge: Edge, lowered: Lowered) -> tuple[str, ...]:
    """The callback that an edge belongs to, or its process, and functions from there."""
    places = _places(edge)
    home = _home(edge, lowered)
    return places if home is None else places[places.index(home) :]


def deciding(lowered: Lowered, props: tuple[Property, ...]) -> frozenset[str]:
    """Variables that decide whether a point that a claim compares with is entered."""
    points = observed_points(props)
    return frozenset[str]().union(
        *(
            _conditions(edge)
            for process, edge in _edges(lowered)
            if _enters(process, edge, points)
        )
    )


def _edges(lowered: Lowered) -> Iterator[tuple[LoweredProcess, Edge]]:
    for process in lowered.processes:
        for edge in process.flow.edges:
            yield process, edge


def _enters(process: LoweredProcess, edge: Edge, points: Points) -> bool:
    return edge.target in points.get(location_variable(process.name), set())


def _close_over_values(edges: list[Edge], tied: Ties, variables: set[str]) -> None:
    """Add what the values of these variables are made of."""
    while True:
        before = len(variables)
        variables |= with_tied(frozenset(variables), tied)
        for edge in edges:
            for effect in edge.effects:
                if effect.variable in variables:
                    variables |= _reads(effect)
        if len(variables) == before:
            return


def _observed_parts(lowered: Lowered, props: Iterable[Property]) -> set[str]:
    """The parts around the program points that a claim compares with (`bug()`)."""
    roots = [root for prop in props for root in (prop.formula, prop.goal)]
    points = {
        (part.sort.name, part.value)
        for root in roots
        for part in walk(root)
        if isinstance(part, Const) and isinstance(part.sort, EnumSort)
    }
    return {
        place
        for process in lowered.processes
        for edge in process.flow.edges
        for point in (edge.source, edge.target)
        if (f"at.{process.name}", point) in points
        for place in _all_places(edge)
    }


def _home(edge: Edge, lowered: Lowered) -> str | None:
    """The process or callback that an edge belongs to, through functions."""
    functions = lowered.program.functions
    return next((p for p in reversed(_places(edge)) if p not in functions), None)


def _places(edge: Edge) -> tuple[str, ...]:
    return edge.note.places if edge.note else ()


def _within(edge: Edge) -> tuple[str, ...]:
    return edge.note.within if edge.note else ()


def _all_places(edge: Edge) -> tuple[str, ...]:
    return _places(edge) + _within(edge)


def _reads(effect: Assign) -> frozenset[str]:
    return frozenset[str]().union(*map(reads, (effect.value, *effect.indices)))


def _conditions(edge: Edge) -> frozenset[str]:
    return reads(edge.guard) | _chosen_by(edge)


def _chosen_by(edge: Edge) -> frozenset[str]:
    return frozenset[str]().union(*(reads(choice.among) for choice in edge.choices))


def _blocking_parts(lowered: Lowered) -> set[str]:
    """All processes, and the parts that wait, or stop where they assert something."""
    found = {process.name for process in lowered.processes}
    for process in lowered.processes:
        flow = process.flow
        for edge in flow.edges:
            if edge.source in flow.waits:
                found.update(_all_places(edge))
        # A wait for what never comes has no step that leaves it.
        stops = process.assertions - {edge.source for edge in flow.edges}
        waits = flow.waits | stops
        found |= {place for place, at in flow.labels.items() if at & waits}
    return found


def only_delaying(lowered: Lowered) -> frozenset[str]:
    """The locks of which who takes them only keeps others waiting.

    Without a part that takes such a lock the program can do more. Not so if somebody
    looks whether it is free, as a trylock does, or if it may be let go elsewhere than it
    was taken: in another process or callback.
    """
    found = {n for n, d in lowered.program.variables.items() if d.lock}
    for process in lowered.processes:
        held = held_at(process, every=True)
        takers: dict[str, set[str | None]] = {}
        for edge in process.flow.edges:
            for use in edge.locks:
                if use.held != FALSE:
                    where = takers.setdefault(use.place.variable, set())
                    where.add(_home(edge, lowered))
        for edge in process.flow.edges:
            found -= _looked_at(edge, found)
            for use, before in under_which(
                edge, held.get(edge.source, frozenset()), every=True
            ):
                if use.asks or use.held != FALSE:
                    continue
                lock, home = use.place.variable, _home(edge, lowered)
                if hold_of(use) not in before or takers.get(lock, set()) - {home}:
                    found -= {n for n in found if _lock_of(n) == lock}
    return frozenset(found)


def _looked_at(edge: Edge, locks: set[str]) -> frozenset[str]:
    """Those of these locks on whose being free more depends than when this step is."""
    waited = {use.place.variable for use in edge.locks if use.asks}
    waited -= {
        use.place.variable for use in edge.locks if not use.asks and use.held != FALSE
    }
    seen = {name for name in _conditions(edge) if _lock_of(name) not in waited}
    for effect in edge.effects:
        if effect.variable not in locks:
            seen |= reads(effect.value)
    return frozenset(seen)


def _lock_of(name: str) -> str:
    """The lock that a variable is a part of: `x.reader.P` is one of `x`."""
    return name.split(".")[0]


def _turning_parts(lowered: Lowered) -> set[str]:
    """The parts that have a loop in them, or decide whether one is left."""
    return {
        place
        for process in lowered.processes
        for edge in _turns(process)
        for place in _all_places(edge)
    }


def _turns(process: LoweredProcess) -> list[Edge]:
    """The steps from the head of a loop, and those out of it.

    Out: from between its head and a step back to the head.
    """
    import networkx as nx

    graph: nx.DiGraph = nx.DiGraph()
    graph.add_node(process.entry)
    graph.add_edges_from((e.source, e.target) for e in process.flow.edges)
    above = dict(nx.immediate_dominators(graph, process.entry))
    loops: list[set[int]] = []
    heads: set[int] = set()
    for source, head in graph.edges:
        at = source
        while at != head and above.get(at, at) != at:
            at = above[at]
        if at == head:
            inner = graph.subgraph(n for n in graph if n != head)
            back = nx.ancestors(inner, source) if source != head else set()
            loops.append(back | {source, head})
            heads.add(head)
    return [
        edge
        for edge in process.flow.edges
        if edge.source in heads
        or any(edge.source in loop and edge.target not in loop for loop in loops)
    ]


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
