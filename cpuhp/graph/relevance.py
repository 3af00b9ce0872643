"""What of a program can matter to a property: variables, and parts of the program.

A *part* is a process, a callback or an inlined function. What each step reads, writes
and stands in is looked up once; many claims are sliced from the same program.

A proof may begin with very little and add conditions only where that is too coarse:
see `Relevance.narrowed`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property

from cpuhp.graph.holding import held_at, hold_of, under_which
from cpuhp.language.build import observed_by
from cpuhp.language.compile import Lowered, LoweredProcess
from cpuhp.language.flow import Edge
from cpuhp.language.places import Points, observed_points
from cpuhp.language.terms import location_variable
from cpuhp.language.variables import ties, with_tied
from cpuhp.model.expr import FALSE, Const, conjuncts, reads, walk
from cpuhp.model.sorts import EnumSort
from cpuhp.model.system import Assign, Expectation, Property

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


@dataclass(frozen=True)
class _Step:
    """An edge, with the names that it is about."""

    process: LoweredProcess
    edge: Edge
    home: str | None  # the process or callback that it belongs to, through functions
    waits: bool  # it leaves a point where the process may be blocked
    writes: frozenset[str]
    conditions: frozenset[str]  # that its guard and its choices read,
    chosen_by: frozenset[str]  # and the choices alone
    values: tuple[
        tuple[str, frozenset[str]], ...
    ]  # by variable, what is assigned reads

    @property
    def places(self) -> tuple[str, ...]:
        """Process, callback and functions that it stands in."""
        return self.edge.note.places if self.edge.note else ()

    @property
    def within(self) -> tuple[str, ...]:
        """Callbacks that it invokes, if it is atomic."""
        return self.edge.note.within if self.edge.note else ()

    @property
    def all_places(self) -> tuple[str, ...]:
        return self.places + self.within

    @property
    def near(self) -> tuple[str, ...]:
        """The callback that it belongs to, or its process, and functions from there."""
        places = self.places
        return places if self.home is None else places[places.index(self.home) :]


class Relevance:
    """What can matter in a program, or in the chosen parts of one."""

    def __init__(self, lowered: Lowered):
        self.lowered = lowered
        functions = lowered.program.functions
        self._steps = tuple(
            _step(process, edge, functions.keys())
            for process in lowered.processes
            for edge in process.flow.edges
        )
        self._ties = ties(lowered.terms)

    @cached_property
    def _delaying(self) -> frozenset[str]:
        """The locks of which who takes them only keeps others waiting.

        Without a part that takes such a lock the program can do more. Not so if
        somebody looks whether it is free, as a trylock does, or if it may be let go
        elsewhere than it was taken: in another process or callback.
        """
        found = {n for n, d in self.lowered.program.variables.items() if d.lock}
        for process in self.lowered.processes:
            steps = [step for step in self._steps if step.process is process]
            held = held_at(process, every=True)
            takers: dict[str, set[str | None]] = {}
            for step in steps:
                for use in step.edge.locks:
                    if use.held != FALSE:
                        takers.setdefault(use.place.variable, set()).add(step.home)
            for step in steps:
                found -= _looked_at(step, found)
                here = held.get(step.edge.source, frozenset())
                for use, before in under_which(step.edge, here, every=True):
                    if use.asks or use.held != FALSE:
                        continue
                    lock = use.place.variable
                    elsewhere = takers.get(lock, set()) - {step.home}
                    if hold_of(use) not in before or elsewhere:
                        found -= {n for n in found if lock_of(n) == lock}
        return frozenset(found)

    def slice(
        self, props: Iterable[Property], accessed: frozenset[str] = frozenset()
    ) -> Slice:
        """The smallest set of variables and parts that is closed under dependence.

        Of the variables in `accessed`, reads matter like writes (for data races).
        """
        props, steps, locks = tuple(props), self._steps, self._delaying
        variables = set(observed_by(props))
        locks -= variables  # a lock that a claim looks at is a variable like any other
        parts = {n.removeprefix("at.") for n in variables if n.startswith("at.")}
        parts |= self._observed_parts(props)
        if any(prop.expectation in BLOCKING for prop in props):
            parts |= self._blocking_parts()
            locks = frozenset()
        if any(prop.expectation in ENDLESS for prop in props):
            parts |= self._turning_parts()
        for step in steps if accessed else ():
            if (step.edge.reads() | step.writes) & accessed:
                parts.update(step.all_places)
                variables |= accessed
                variables |= {name for name, used in step.values if used & accessed}
        if not accessed and any(p.expectation is Expectation.RACE_FREE for p in props):
            # Whatever is accessed can race.
            variables |= self.lowered.program.variables.keys()
            variables |= {v.name for p in self.lowered.processes for v in p.locals}
            parts |= {place for step in steps for place in step.all_places}
            locks = frozenset()
        while True:
            before = len(variables), len(parts)
            self._close_over_values(variables)
            mattering = variables - locks
            for step in steps:
                if not step.writes.isdisjoint(mattering):
                    parts.update(step.all_places)
            for step in steps:
                if not parts.isdisjoint((*step.places[-1:], *step.within)):
                    variables |= step.conditions
                elif step.waits and step.home in parts:
                    # Where a function waits, so does the part that it is called from,
                    # though the function writes nothing.
                    variables |= step.conditions - locks
                if not step.writes.isdisjoint(variables):
                    variables |= step.chosen_by
            if (len(variables), len(parts)) == before:
                return Slice(frozenset(variables), frozenset(parts))

    def narrowed(
        self,
        props: tuple[Property, ...],
        kept: Slice,
        only: frozenset[str],
        accessed: frozenset[str] = frozenset(),
    ) -> Slice:
        """Of what is kept, the variables in `only` and what their values are made of.

        No access to a variable in `accessed` is lost. A proof on it stands; a violation
        of it need not be one of the program.
        """
        variables = set(observed_by(props) | only | accessed)
        for step in self._steps if accessed else ():
            variables |= {name for name, used in step.values if used & accessed}
            for condition in (step.edge.guard, *(c.among for c in step.edge.choices)):
                for part in conjuncts(condition):
                    if reads(part) & accessed:
                        variables |= reads(part)
        self._close_over_values(variables)
        return Slice(frozenset(variables), kept.parts)

    def deciders(
        self, props: tuple[Property, ...], wanted: frozenset[str]
    ) -> frozenset[str]:
        """What decides about these variables where they are written, and they themselves.

        That is in the callbacks and functions that assign them, and in those that lead
        to a program point that a claim compares with: what kernel developers argue with
        first.
        """
        points, found = observed_points(props), set(wanted)
        writers = {
            place
            for step in self._steps
            if step.writes & wanted or _enters(step, points)
            for place in step.near
        }
        for step in self._steps:
            if step.places and step.places[-1] in writers:
                found |= step.conditions
        return frozenset(found)

    def deciding(self, props: tuple[Property, ...]) -> frozenset[str]:
        """Variables that decide whether a point that a claim compares with is entered."""
        points = observed_points(props)
        entering = (s.conditions for s in self._steps if _enters(s, points))
        return frozenset[str]().union(*entering)

    @cached_property
    def written(self) -> frozenset[str]:
        """The variables that a step assigns."""
        return frozenset[str]().union(*(step.writes for step in self._steps))

    def _close_over_values(self, variables: set[str]) -> None:
        """Add what the values of these variables are made of."""
        while True:
            before = len(variables)
            variables |= with_tied(frozenset(variables), self._ties)
            for step in self._steps:
                for name, used in step.values:
                    if name in variables:
                        variables |= used
            if len(variables) == before:
                return

    def _observed_parts(self, props: Iterable[Property]) -> set[str]:
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
            for step in self._steps
            for point in (step.edge.source, step.edge.target)
            if (f"at.{step.process.name}", point) in points
            for place in step.all_places
        }

    def _blocking_parts(self) -> set[str]:
        """All processes, and parts that wait, or stop where they assert something."""
        found = {process.name for process in self.lowered.processes}
        for step in self._steps:
            if step.waits:
                found.update(step.all_places)
        for process in self.lowered.processes:
            flow = process.flow
            # A wait for what never comes has no step that leaves it.
            stops = process.assertions - {edge.source for edge in flow.edges}
            waits = flow.waits | stops
            found |= {place for place, at in flow.labels.items() if at & waits}
        return found

    def _turning_parts(self) -> set[str]:
        """The parts that have a loop in them, or decide whether one is left."""
        turns = {id(e) for p in self.lowered.processes for e in _turns(p)}
        return {
            place
            for step in self._steps
            if id(step.edge) in turns
            for place in step.all_places
        }


def relevant(lowered: Lowered, props: Iterable[Property]) -> Slice:
    """What can matter to these claims in this program, asked once."""
    return Relevance(lowered).slice(props)


def _step(process: LoweredProcess, edge: Edge, functions: Collection[str]) -> _Step:
    chosen_by = frozenset[str]().union(*(reads(c.among) for c in edge.choices))
    return _Step(
        process,
        edge,
        _home(edge, functions),
        edge.source in process.flow.waits,
        edge.writes(),
        reads(edge.guard) | chosen_by,
        chosen_by,
        tuple([(effect.variable, _reads(effect)) for effect in edge.effects]),
    )


def _home(edge: Edge, functions: Collection[str]) -> str | None:
    """The process or callback that an edge belongs to, through functions."""
    places = edge.note.places if edge.note else ()
    return next((p for p in reversed(places) if p not in functions), None)


def _enters(step: _Step, points: Points) -> bool:
    return step.edge.target in points.get(location_variable(step.process.name), set())


def _reads(effect: Assign) -> frozenset[str]:
    return frozenset[str]().union(*map(reads, (effect.value, *effect.indices)))


def _looked_at(step: _Step, locks: set[str]) -> frozenset[str]:
    """Those of these locks on whose being free more depends than when this step is."""
    uses = step.edge.locks
    waited = {use.place.variable for use in uses if use.asks}
    waited -= {u.place.variable for u in uses if not u.asks and u.held != FALSE}
    seen = {name for name in step.conditions if lock_of(name) not in waited}
    for effect in step.edge.effects:
        if effect.variable not in locks:
            seen |= reads(effect.value)
    return frozenset(seen)


def lock_of(name: str) -> str:
    """The lock that a variable is a part of: `x.reader.P` is one of `x`."""
    return name.split(".")[0]


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
