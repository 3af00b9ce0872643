"""Control flow of one process: edges between program points, joined where allowed.

`compose` is the sequential composition of two guarded actions into one atomic action.
It serves `atomic { }` blocks, and fusing: a step that no other process and no property
can tell apart from a pause is joined with the step before it (NOTE(fusing)).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace

from cpuhp.diagnostics import Span, fail
from cpuhp.model.expr import (
    FALSE,
    TRUE,
    Expr,
    Param,
    Read,
    and_,
    another,
    eq,
    held,
    ite,
    may_be_none,
    none_of,
    not_,
    reads,
    rebuild,
    substitute,
)
from cpuhp.model.sorts import IndexSort
from cpuhp.model.system import Assign, Choice, Origin, expressions

MAX_PATHS = 400


@dataclass(frozen=True, slots=True)
class Note:
    """What a person is told about a step."""

    text: str
    span: Span
    hotplug_state: str | None = None
    callback: str | None = None
    origin: Origin | None = None
    places: tuple[str, ...] = ()  # process, callback and functions that it stands in
    within: tuple[str, ...] = ()  # callbacks that it invokes, if it is atomic


@dataclass(frozen=True, slots=True)
class LockUse:
    """What a step does to a lock.

    `asks`: it waits until the lock can be had; `held`: whether the process holds it
    afterwards, if it did not before. With `shared` it reads.
    """

    place: Read
    asks: bool
    held: Expr
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Edge:
    """A guarded action from one program point to another.

    `locks` are told in the order in which the step comes to them.
    """

    source: int
    target: int
    guard: Expr = TRUE
    choices: tuple[Choice, ...] = ()
    effects: tuple[Assign, ...] = ()
    note: Note | None = field(default=None, compare=False)
    locks: tuple[LockUse, ...] = field(default=(), compare=False)

    def reads(self) -> frozenset[str]:
        return frozenset[str]().union(*map(reads, self.expressions()))

    def expressions(self) -> Iterator[Expr]:
        """The guard and all that the choices and effects are about."""
        return expressions(self.guard, self.choices, self.effects)

    def writes(self) -> frozenset[str]:
        return frozenset(effect.variable for effect in self.effects)


@dataclass
class Flow:
    """The control flow under construction. Points are numbers; `names` are for people.

    `waits`: points where the process may be blocked. `resting`: where a service may
    stay for ever. `labels`: points by label and by function.
    """

    names: list[str] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    waits: set[int] = field(default_factory=set)
    resting: set[int] = field(default_factory=set)
    labels: dict[str, set[int]] = field(default_factory=dict)

    def point(self, name: str, places: Iterable[str] = ()) -> int:
        number = len(self.names)
        self.names.append(name)
        for place in places:
            self.labels.setdefault(place, set()).add(number)
        return number


def compose(first: Edge, second: Edge) -> Edge | None:
    """`first` and then at once `second`; None if that can never happen."""
    second = _choosing_anew(first, second)
    after = _after(first.effects)
    guard = and_(first.guard, after(second.guard))
    if guard == FALSE:
        return None
    choices = tuple(replace(c, among=after(c.among)) for c in second.choices)
    if any(choice.among == FALSE for choice in choices):
        return None
    effects = tuple(
        Assign(
            effect.variable,
            tuple(after(index) for index in effect.indices),
            after(effect.value),
            effect.bound,
        )
        for effect in second.effects
    )
    uses = tuple(
        replace(u, place=_place(u.place, after), held=after(u.held))
        for u in second.locks
    )
    return Edge(
        first.source,
        second.target,
        guard,
        first.choices + choices,
        _merged(first.effects, effects),
        _joined(first, second),
        first.locks + uses,
    )


def _choosing_anew(first: Edge, second: Edge) -> Edge:
    """The second step with names of its own for what both choose.

    A step of a loop may come twice, and need not choose the same each time.
    """
    taken = {choice.param for choice in first.choices}
    if not any(choice.param in taken for choice in second.choices):
        return second
    taken |= {choice.param for choice in second.choices}
    names: dict[Param, Expr] = {}
    choices: list[Choice] = []
    for choice in second.choices:
        own = another(choice.param, taken)
        taken.add(own)
        names[choice.param] = own
        choices.append(
            replace(choice, param=own, among=substitute(choice.among, names))
        )

    def renamed(expr: Expr) -> Expr:
        return substitute(expr, names)

    return replace(
        second,
        guard=renamed(second.guard),
        choices=tuple(choices),
        effects=tuple(
            replace(e, indices=tuple(map(renamed, e.indices)), value=renamed(e.value))
            for e in second.effects
        ),
        locks=tuple(
            replace(u, place=_place(u.place, renamed), held=renamed(u.held))
            for u in second.locks
        ),
    )


def _place(read: Read, after: Callable[[Expr], Expr]) -> Read:
    return replace(read, indices=tuple(after(index) for index in read.indices))


def _joined(first: Edge, second: Edge) -> Note | None:
    # Only the first part of a fused step is visible to others, unless it does nothing.
    if first.note is None or is_silent(first):
        return second.note or first.note
    return first.note


def _merged(
    first: tuple[Assign, ...], second: tuple[Assign, ...]
) -> tuple[Assign, ...]:
    later = {(e.variable, e.indices) for e in second if not e.bound}
    kept = tuple(e for e in first if e.bound or (e.variable, e.indices) not in later)
    return kept + second


def _after(effects: tuple[Assign, ...]) -> Callable[[Expr], Expr]:
    """Turns an expression about the state after `effects` into one about before."""
    by_variable: dict[str, list[Assign]] = {}
    for effect in effects:
        by_variable.setdefault(effect.variable, []).append(effect)
    if not by_variable:
        return lambda expr: expr

    def visit(expr: Expr) -> Expr | None:
        if not isinstance(expr, Read):
            return None
        indices = tuple(after(index) for index in expr.indices)
        value: Expr = Read(expr.variable, indices, expr.sort)
        for effect in by_variable.get(expr.variable, ()):
            value = _write_through(effect, indices, value)
        return value

    def after(expr: Expr) -> Expr:
        return rebuild(expr, visit)

    return after


def _write_through(effect: Assign, indices: tuple[Expr, ...], before: Expr) -> Expr:
    binding: dict[Param, Expr] = {}
    hit: Expr = TRUE
    for mine, theirs in zip(effect.indices, indices):
        if isinstance(mine, Param) and mine in effect.bound and mine not in binding:
            binding[mine] = theirs
            both_none = may_be_none(theirs)
        else:
            hit = and_(hit, eq(theirs, substitute(mine, binding)))
            both_none = may_be_none(theirs) and may_be_none(mine)
        if both_none:
            # What is written through none is lost, and nothing is read through it.
            assert isinstance(theirs.sort, IndexSort)
            hit = and_(hit, not_(eq(theirs, none_of(theirs.sort))))
    return ite(hit, held(substitute(effect.value, binding), before.sort), before)


def atomic(edges: list[Edge], entry: int, inner: set[int], span: Span) -> list[Edge]:
    """All ways from `entry` through the points `inner` to the first point outside.

    Raises InputError HP310 if there is a loop inside, or too many ways.
    """
    leaving: dict[int, list[Edge]] = {}
    for edge in edges:
        leaving.setdefault(edge.source, []).append(edge)
    done: list[Edge] = []
    stack: list[tuple[Edge, tuple[int, ...]]] = [
        (edge, (entry,)) for edge in reversed(leaving.get(entry, []))
    ]
    while stack:
        path, visited = stack.pop()
        if path.target not in inner:
            done.append(path)
            continue
        if path.target in visited:
            raise fail("HP310", "a loop cannot be atomic", span, help="use forall")
        for edge in reversed(leaving.get(path.target, [])):
            joined = compose(path, edge)
            if joined is not None:
                stack.append((joined, (*visited, path.target)))
        if len(done) + len(stack) > MAX_PATHS:
            raise fail("HP310", "the atomic block has too many branches", span)
    return done


def fuse(
    edges: list[Edge],
    entry: int,
    keep: set[int],
    is_local: Callable[[Edge], bool],
) -> list[Edge]:
    """Join every step that is local with the steps before it.

    NOTE(fusing): at a point whose leaving edges all are local (they touch nothing that
    another process or the property touches) and of which one is always enabled, what
    others do meanwhile commutes with the local step. So no interleaving is lost by
    taking it at once. Points in `keep` (waits, ends, observed ones, the first one) and
    points on a cycle of local steps stay.
    """
    leaving: dict[int, list[Edge]] = {}
    for edge in edges:
        leaving.setdefault(edge.source, []).append(edge)
    local = {
        point
        for point, out in leaving.items()
        if point not in keep and all(is_local(edge) for edge in out)
    }
    order = _last_first(local, leaving)
    # From each local point: the edges to points that stay, through local points only.
    ways: dict[int, list[Edge]] = {}

    def extend(edge: Edge) -> list[Edge]:
        if edge.target not in ways:
            return [edge]
        joined = [compose(edge, way) for way in ways[edge.target]]
        return [j for j in joined if j is not None]

    for point in order:
        ways[point] = [j for edge in leaving[point] for j in extend(edge)]
    result: list[Edge] = []
    for edge in edges:
        if edge.source not in ways:
            result += extend(edge)
    return reachable(result, entry)


def _last_first(points: set[int], leaving: dict[int, list[Edge]]) -> list[int]:
    """The points that lie on no cycle of `points`, successors before predecessors."""
    import networkx as nx

    graph: nx.DiGraph = nx.DiGraph()
    graph.add_nodes_from(sorted(points))
    for point in sorted(points):
        for edge in leaving[point]:
            if edge.target in points:
                graph.add_edge(point, edge.target)
    for component in list(nx.strongly_connected_components(graph)):
        some = next(iter(component))
        if len(component) > 1 or graph.has_edge(some, some):
            graph.remove_nodes_from(component)
    return list(reversed(list(nx.topological_sort(graph))))


def is_silent(edge: Edge) -> bool:
    """Is it always enabled, and does it nothing?"""
    return edge.guard == TRUE and not edge.effects and not edge.choices


def begun(
    edges: list[Edge], entry: int, stay: set[int], avoid: Collection[int] = ()
) -> tuple[list[Edge], int]:
    """The edges without silent ones at the beginning, and where that is then.

    Points in `stay` are not left in this way, and those in `avoid` not entered.
    """
    while entry not in stay:
        leaving = [edge for edge in edges if edge.source == entry]
        if len(leaving) != 1 or not is_silent(leaving[0]):
            break
        if leaving[0].target in avoid or any(e.target == entry for e in edges):
            break
        edges = [edge for edge in edges if edge is not leaving[0]]
        entry = leaving[0].target
    return edges, entry


def reachable(edges: list[Edge], entry: int) -> list[Edge]:
    """The edges that control flow can reach from `entry`, in their order."""
    leaving: dict[int, list[Edge]] = {}
    for edge in edges:
        leaving.setdefault(edge.source, []).append(edge)
    seen = {entry}
    stack = [entry]
    while stack:
        for edge in leaving.get(stack.pop(), []):
            if edge.target not in seen:
                seen.add(edge.target)
                stack.append(edge.target)
    return [edge for edge in edges if edge.source in seen]
