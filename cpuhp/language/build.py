"""From control flow to the transition system that engines work on.

Private variables with few values are unrolled into locations (unroll.py), local steps
are fused with the steps before them (flow.py), and what is left is written down as
actions. A property is carried along, since locations change under it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from cpuhp.language.compile import Lowered, LoweredProcess
from cpuhp.language.flow import Edge, begun, fuse, reachable
from cpuhp.language.places import (
    Points,
    collect_points,
    entered_points,
    observed_points,
)
from cpuhp.language.quotient import merged_loops, quotient, without_bystanders
from cpuhp.language.terms import location_variable
from cpuhp.language.unroll import HiddenReads, Known, Unrolled, is_trackable, unroll
from cpuhp.language.variables import initial_value, ties, variable, with_tied
from cpuhp.model.expr import (
    Apply,
    Const,
    Expr,
    Op,
    Param,
    Read,
    and_,
    eq,
    or_,
    reads,
    rebuild,
    walk,
)
from cpuhp.model.sorts import CPU, BoolSort, EnumSort, Sort
from cpuhp.model.system import (
    Action,
    Assign,
    Expectation,
    Process,
    Property,
    Role,
    TransitionSystem,
    Variable,
    accesses,
)

REACHABILITY = (Expectation.ALWAYS, Expectation.SOMETIMES)


@dataclass(frozen=True)
class _Located:
    """A process whose program points are final: their names, and the old one of each."""

    process: LoweredProcess
    edges: list[Edge]
    sort: EnumSort
    old: tuple[int, ...]
    locals: tuple[Variable, ...]
    start: int

    @property
    def name(self) -> str:
        return location_variable(self.process.name)

    def new(self, points: set[int]) -> set[int]:
        return {number for number, old in enumerate(self.old) if old in points}


def build(
    lowered: Lowered,
    prop: Property | None = None,
    *,
    reduced: bool = True,
    accessed: frozenset[str] = frozenset(),
) -> tuple[TransitionSystem, Property | None]:
    """The transition system, with the steps joined that `prop` cannot observe.

    With `reduced=False` every statement stays a step of its own and every variable a
    variable (replay). Data races may be looked for in a reduced system: a step that
    touches what others touch, too, is never joined with the steps before it. Those on
    variables in `accessed` alone may be looked for in a system with fewer points.
    """
    props = () if prop is None else (prop,)
    system, told = build_together(lowered, props, reduced=reduced, accessed=accessed)
    return system, next(iter(told), None)


def build_together(
    lowered: Lowered,
    props: tuple[Property, ...],
    *,
    reduced: bool = True,
    accessed: frozenset[str] = frozenset(),
) -> tuple[TransitionSystem, tuple[Property, ...]]:
    """One transition system for several claims, and the claims in its terms."""
    observed = observed_by(props)
    reachability = bool(props) and all(
        prop.expectation in REACHABILITY
        or (prop.expectation is Expectation.RACE_FREE and bool(accessed))
        for prop in props
    )
    if reduced and reachability:
        lowered = without_bystanders(lowered, observed, accessed)
    private = private_variables(lowered)
    if reduced:
        located = _unrolled(lowered, private, observed, accessed)
    else:
        located = [_as_it_is(process) for process in lowered.processes]
        observed = observed.union(*map(reads, _assumptions(lowered)))
    by_name = {item.name: item for item in located}
    located = [replace(i, edges=[_moved(e, by_name) for e in i.edges]) for i in located]
    told = tuple(
        replace(
            prop,
            formula=_relocated(prop.formula, by_name),
            goal=_relocated(prop.goal, by_name),
        )
        for prop in props
    )
    if reduced:
        points, entered = observed_points(told), entered_points(told)
        written = _written(located)
        compared = _compared_points(located, points) if reachability else {}
        loops: Points = {}
        if reachability:
            located = [_without_loops(item, compared, loops) for item in located]
        located = [
            _begun(
                _fused(
                    item, private, observed, written, points, entered, loops, accessed
                ),
                points,
                entered,
            )
            for item in located
        ]
        if reachability:
            located = [_quotient(item, compared) for item in located]
    return _system(lowered, located, observed), told


def observed_by(props: tuple[Property, ...]) -> frozenset[str]:
    """The variables that the claims read."""
    return frozenset[str]().union(*(reads(p.formula) | reads(p.goal) for p in props))


def _as_it_is(process: LoweredProcess) -> _Located:
    edges = reachable(process.flow.edges, process.entry)
    old = tuple(range(len(process.sort.values)))
    return _Located(process, edges, process.sort, old, process.locals, process.entry)


def _unrolled(
    lowered: Lowered,
    private: Mapping[str, frozenset[str]],
    observed: frozenset[str],
    accessed: frozenset[str],
) -> list[_Located]:
    tracked = {
        process.name: tuple(
            variable
            for variable in process.locals
            if is_trackable(variable, process.actor is not None)
            and variable.name in private[process.name]
            and variable.name not in observed
        )
        for process in lowered.processes
    }
    values = {
        name: _initial_values(
            lowered.terms.sort_of(declared), initial_value(lowered.terms, declared)
        )
        for name, declared in lowered.program.variables.items()
    }
    values |= {
        variable.name: _initial_values(variable.sort, variable.initial)
        for process in lowered.processes
        for variable in process.locals
    }

    def known(name: str) -> frozenset[int]:
        return frozenset(values.get(name, set()))

    while True:
        results = [_try(p, tracked[p.name], known, accessed) for p in lowered.processes]
        before = sum(len(found) for found in values.values())
        for result, _ in results:
            for name, found in result.written.items():
                values.setdefault(name, set()).update(found)
        if sum(len(found) for found in values.values()) == before:
            break
    return [
        _place(process, result, variables)
        for process, (result, variables) in zip(lowered.processes, results)
    ]


def _try(
    process: LoweredProcess,
    tracked: tuple[Variable, ...],
    known: Known,
    accessed: frozenset[str],
) -> tuple[Unrolled, tuple[Variable, ...]]:
    """Unroll by all tracked variables.

    By fewer, if that makes too many points or hides what is accessed.
    """
    edges = process.flow.edges
    while True:
        try:
            result = unroll(edges, process.entry, tracked, known, accessed)
        except HiddenReads as hidden:
            tracked = tuple(v for v in tracked if v.name not in hidden.names)
            continue
        if result is not None:
            return result, tracked
        assert tracked, "without variables the points are those of the text"
        flags = [v for v in tracked if isinstance(v.sort, BoolSort)]
        tracked = tuple(v for v in tracked if v is not (flags or [*tracked])[-1])


def _place(
    process: LoweredProcess, result: Unrolled, tracked: tuple[Variable, ...]
) -> _Located:
    names: list[str] = []
    for point, values in result.points:
        name = process.sort.values[point]
        told = [
            value.sort.values[value.value]
            for value in values
            if isinstance(value.sort, EnumSort) and value.value
        ]
        names.append(f"{name}[{','.join(told)}]" if told else name)
    seen: dict[str, int] = {}
    unique: list[str] = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name}~{seen[name]}")
    return _Located(
        process,
        list(result.edges),
        EnumSort(location_variable(process.name), tuple(unique)),
        tuple(point for point, _ in result.points),
        tuple(v for v in process.locals if v not in tracked),
        0,
    )


def _initial_values(sort: Sort, initial: Expr | None) -> set[int]:
    if not isinstance(sort, EnumSort):
        return set()
    if initial is None:
        return set(range(len(sort.values)))
    return {
        part.value
        for part in walk(initial)
        if isinstance(part, Const) and part.sort == sort
    }


def _moved(edge: Edge, located: Mapping[str, _Located]) -> Edge:
    guard = _relocated(edge.guard, located)
    return edge if guard is edge.guard else replace(edge, guard=guard)


def _relocated(expr: Expr, located: Mapping[str, _Located]) -> Expr:
    """Comparisons with old program points, told in new ones."""

    def visit(part: Expr) -> Expr | None:
        if not (isinstance(part, Apply) and part.op is Op.EQ):
            return None
        read, point = part.args
        if not (isinstance(read, Read) and isinstance(point, Const)):
            return None
        item = located.get(read.variable)
        if item is None:
            return None
        here = Read(read.variable, read.indices, item.sort)
        now = sorted(item.new({point.value}))
        return or_(*(eq(here, Const(number, item.sort)) for number in now))

    return rebuild(expr, visit)


def _fused(
    item: _Located,
    private: Mapping[str, frozenset[str]],
    observed: frozenset[str],
    written: frozenset[str],
    points: Points,
    entered: Points,
    loops: Points,
    accessed: frozenset[str],
) -> _Located:
    process = item.process
    mine = private[process.name]
    seen = observed - {item.name}
    noticed = entered.get(item.name, set())

    def is_local(edge: Edge) -> bool:
        if edge.target in noticed:
            return False
        return edge.reads() & written <= mine and edge.writes() <= mine - seen

    flow = process.flow
    ends = {process.entry, process.end}
    keep = item.new(flow.waits | flow.resting | process.assertions | ends)
    keep |= points.get(item.name, set()) | loops.get(item.name, set())
    keep |= _storing(item.edges, accessed)
    edges = fuse(reachable(item.edges, item.start), item.start, keep, is_local)
    return replace(item, edges=edges)


def _storing(edges: list[Edge], accessed: frozenset[str]) -> set[int]:
    """The points behind steps that store what they read of these variables.

    With a step that stores something else there it would be as if nothing was read.
    """
    return {
        edge.target
        for edge in edges
        for effect in edge.effects
        if any(accessed & reads(part) for part in (effect.value, *effect.indices))
    }


def _begun(item: _Located, points: Points, entered: Points) -> _Located:
    """Begin where the process first does anything."""
    # Others look at whether an interrupt has come: at whether it rests.
    stay = points.get(item.name, set()) | item.new(item.process.flow.resting)
    avoid = entered.get(item.name, set()) | item.new({item.process.end})
    edges, start = begun(item.edges, item.start, stay, avoid)
    return replace(item, edges=edges, start=start)


def _without_loops(item: _Located, compared: Points, loops: Points) -> _Located:
    """With one point for those of a loop that does nothing; `loops` names them."""
    apart = item.new({item.process.end}) | compared.get(item.name, set())
    edges, start, found = merged_loops(item.edges, item.start, apart)
    loops[item.name] = found
    return replace(item, edges=reachable(edges, start), start=start)


def _quotient(item: _Located, compared: Points) -> _Located:
    """With one point for those that cannot be told apart."""
    apart = item.new({item.process.end}) | compared.get(item.name, set())
    edges, start = quotient(item.edges, item.start, apart)
    return replace(item, edges=reachable(edges, start), start=start)


def _compared_points(located: list[_Located], observed: Points) -> Points:
    """The points that the property or a condition of a step compares with."""
    found = {name: set(points) for name, points in observed.items()}
    for item in located:
        for edge in item.edges:
            for root in (edge.guard, *(choice.among for choice in edge.choices)):
                collect_points(root, found)
            for effect in edge.effects:
                for root in (effect.value, *effect.indices):
                    collect_points(root, found)
    return found


def assumed(lowered: Lowered) -> TransitionSystem:
    """The variables that something is assumed about: a system that does nothing."""
    formulas = _assumptions(lowered)
    used = with_tied(frozenset[str]().union(*map(reads, formulas)), ties(lowered.terms))
    return TransitionSystem(
        name=lowered.program.scenario.name,
        variables=tuple(_declared(lowered, used)),
        processes=(),
        actions=(),
        assumptions=tuple(formulas),
        sizes=tuple(sorted(lowered.program.sizes.items())),
    )


def _assumptions(lowered: Lowered) -> list[Expr]:
    return [
        lowered.terms.boolean(node.condition, {})
        for node in lowered.program.assumptions
    ]


def _declared(lowered: Lowered, used: Collection[str]) -> list[Variable]:
    return [
        variable(lowered.terms, declared)
        for name, declared in lowered.program.variables.items()
        if name in used
    ]


def _system(
    lowered: Lowered, located: list[_Located], observed: frozenset[str]
) -> TransitionSystem:
    actions = _actions(located)
    formulas = _assumptions(lowered)
    used = with_tied(
        frozenset[str]().union(observed, *(a.read | a.written for a in actions)),
        ties(lowered.terms),
    )
    variables = _declared(lowered, used)
    atomics = frozenset[str]().union(*(p.atomics for p in lowered.processes))
    variables = [replace(v, plain=v.plain and v.name not in atomics) for v in variables]
    for item in located:
        variables += [v for v in item.locals if v.name in used]
        variables.append(_location(item))
    assumptions = tuple(formula for formula in formulas if reads(formula) <= used)
    return TransitionSystem(
        name=lowered.program.scenario.name,
        variables=tuple(variables),
        processes=tuple(_process(item) for item in located),
        actions=tuple(actions),
        assumptions=assumptions,
        sizes=tuple(sorted(lowered.program.sizes.items())),
    )


def private_variables(lowered: Lowered) -> dict[str, frozenset[str]]:
    """Per process: the variables that it alone uses, each CPU's instance its own."""
    users: dict[str, set[str]] = {}
    shared: set[str] = set()
    for process in lowered.processes:
        for edge in process.flow.edges:
            for name, indices in accesses(edge.guard, edge.choices, edge.effects):
                users.setdefault(name, set()).add(process.name)
                if process.actor and (not indices or indices[0] != process.actor):
                    shared.add(name)
    return {
        process.name: frozenset(
            name
            for name, by in users.items()
            if by == {process.name} and name not in shared
        )
        for process in lowered.processes
    }


def _written(located: list[_Located]) -> frozenset[str]:
    found = {item.name for item in located}
    for item in located:
        for edge in item.edges:
            found |= edge.writes()
    return frozenset(found)


def _process(item: _Located) -> Process:
    process, names = item.process, item.sort.values
    return Process(
        name=process.name,
        runs=process.runs,
        location=item.name,
        initial=names[item.start],
        final=frozenset(names[p] for p in item.new({process.end})),
        resting=frozenset(names[p] for p in item.new(process.flow.resting)),
        environment=process.kind == "environment",
        spontaneous=process.kind == "interrupt",
        kind=process.kind,
        span=process.declared.declaration.span,
    )


def _location(item: _Located) -> Variable:
    indices = (CPU,) if item.process.actor else ()
    params = (Param(f"{item.name}#", CPU),) if item.process.actor else ()
    initial = Const(item.start, item.sort)
    return Variable(
        item.name, item.sort, indices, initial, params, Role.LOCATION,
        item.process.name,
    )  # fmt: skip


def _actions(located: list[_Located]) -> list[Action]:
    """All actions. Two between the same points are told apart by a number."""
    actions: list[Action] = []
    count: dict[str, int] = {}
    for item in located:
        for edge in item.edges:
            action = _action(item, edge)
            count[action.name] = seen = count.get(action.name, 0) + 1
            if seen > 1:
                action = replace(action, name=f"{action.name} ({seen})")
            actions.append(action)
    return actions


def _action(item: _Located, edge: Edge) -> Action:
    actor = item.process.actor
    indices: tuple[Expr, ...] = (actor,) if actor else ()
    here = Read(item.name, indices, item.sort)
    guard = and_(eq(here, Const(edge.source, item.sort)), edge.guard)
    move = Assign(item.name, indices, Const(edge.target, item.sort))
    note, names = edge.note, item.sort.values
    return Action(
        name=f"{item.process.name}: {names[edge.source]} -> {names[edge.target]}",
        process=item.process.name,
        source=names[edge.source],
        target=names[edge.target],
        actor=actor,
        choices=edge.choices,
        guard=guard,
        effects=(*edge.effects, move),
        text=note.text if note else "",
        hotplug_state=note.hotplug_state if note else None,
        callback=note.callback if note else None,
        origin=note.origin if note else None,
        span=note.span if note else None,
    )
