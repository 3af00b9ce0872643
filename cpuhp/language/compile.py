"""From a linked program to the transition system of one property.

`lower` turns the chosen parts of a program (callbacks and processes) into control flow;
`claims` elaborates the checks over it; `build` fuses local steps and writes down the
transition system. Which parts to choose is for `cpuhp.graph` to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from cpuhp.diagnostics import Span, fail, suggestion
from cpuhp.language import tree as t
from cpuhp.language.flow import Edge, Flow, Note, fuse, reachable
from cpuhp.language.lower import Context, Lowering, default_of
from cpuhp.language.primitives import irqs_off
from cpuhp.language.program import HPSTATE, Declared, DeclaredProcess, Program
from cpuhp.language.terms import Terms, location_variable
from cpuhp.model.expr import (
    FALSE,
    TRUE,
    Boot,
    Const,
    Expr,
    Param,
    Read,
    and_,
    eq,
    exists,
    not_,
    or_,
    reads,
    walk,
)
from cpuhp.model.sorts import BOOL, CPU, EnumSort, Sort
from cpuhp.model.system import (
    Action,
    Assign,
    Expectation,
    Process,
    Property,
    Role,
    Runs,
    TransitionSystem,
    Variable,
)

_RUNS = {"cpus": Runs.EVERY_CPU, "aps": Runs.EVERY_AP}


@dataclass(frozen=True)
class LoweredProcess:
    declared: DeclaredProcess
    runs: Runs
    actor: Param | None
    flow: Flow
    entry: int
    end: int
    locals: tuple[Variable, ...]
    assertions: frozenset[int]
    invoked: frozenset[str]
    sort: EnumSort  # of the location variable

    @property
    def name(self) -> str:
        return self.declared.declaration.name

    @property
    def kind(self) -> str:
        return self.declared.declaration.kind


@dataclass(frozen=True)
class Lowered:
    """The chosen parts of a program as control flow."""

    program: Program
    processes: tuple[LoweredProcess, ...]
    terms: Terms


def lower(program: Program, keep: frozenset[str] | None = None) -> Lowered:
    """Control flow of the callbacks and processes named in `keep` (None: all).

    Raises InputError HP3xx where the text is wrong.
    """
    callbacks = tuple(
        c for c in program.callbacks if keep is None or c.callback.name in keep
    )
    rows = {state.number: state for state in program.landmarks}
    for registered in callbacks:
        rows.setdefault(registered.state.number, registered.state)
    names = tuple(rows[n].enumerator or rows[n].name for n in sorted(rows))
    terms = Terms(program, EnumSort(HPSTATE, names))
    chosen = [
        p for p in program.processes if keep is None or p.declaration.name in keep
    ]
    lowered = [_lower_process(p, terms, callbacks) for p in chosen]
    return Lowered(program, tuple(_preempted(lowered, terms)), terms)


def _lower_process(
    declared: DeclaredProcess, terms: Terms, callbacks: tuple[object, ...]
) -> LoweredProcess:
    node = declared.declaration
    if node.on is not None and node.on not in (*_RUNS, "boot"):
        raise fail("HP316", f"a process runs on cpus, aps or boot, not '{node.on}'",
                   node.span)  # fmt: skip
    runs = _RUNS[node.on or "cpus"] if node.param else Runs.ONCE
    if node.on in _RUNS and not node.param:
        raise fail("HP316", "a process that runs per CPU names its CPU", node.span,
                   help=f"{node.kind} {node.name}(cpu) on {node.on} {{ ... }}")  # fmt: skip
    actor = Param(f"{node.param}@{node.name}", CPU) if node.param else None
    self_cpu: Expr = actor or Boot()
    work = Lowering(
        terms,
        node.name,
        actor,
        self_cpu,
        callbacks,
        node.kind != "process",  # type: ignore[arg-type]
    )
    scope = {node.param: actor} if node.param and actor else {}
    context = Context(
        scope=scope,
        function=node.name,
        component=declared.component,
        places=(node.name,),
        leave=-1,
    )
    entry = work.flow.point(f"{node.name}:start", (node.name,))
    end = work.flow.point(f"{node.name}:end")
    start = entry
    leave = end
    if node.kind == "interrupt":
        start = work.flow.point(f"{node.name}:handler", (node.name,))
        flag = irqs_off(terms, self_cpu)
        guard = TRUE if flag is None else not_(flag)
        note = Note("interrupt", node.span)
        work.flow.edges.append(Edge(entry, start, guard, note=note))
        work.flow.waits.add(entry)
        work.flow.resting.add(entry)
        leave = entry
    work.block(node.body, start, leave, replace(context, leave=leave))
    return LoweredProcess(
        declared,
        runs,
        actor,
        work.flow,
        entry,
        end,
        tuple(work.locals.values()),
        frozenset(work.assertions),
        frozenset(work.invoked),
        EnumSort(location_variable(node.name), _unique(work.flow.names)),
    )


def _unique(names: list[str]) -> tuple[str, ...]:
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}.{seen[name]}")
    return tuple(result)


def _preempted(
    processes: list[LoweredProcess], terms: Terms
) -> Iterator[LoweredProcess]:
    """While an interrupt handler runs on a CPU, nothing else does."""
    handlers = [p for p in processes if p.kind == "interrupt"]
    for process in processes:
        if process.kind in ("interrupt", "environment") or not handlers:
            yield process
            continue
        cpu: Expr = process.actor or Boot()
        quiet = and_(*(_at_entry(handler, cpu) for handler in handlers))
        flow = Flow(
            process.flow.names,
            [replace(e, guard=and_(e.guard, quiet)) for e in process.flow.edges],
            process.flow.waits | {e.source for e in process.flow.edges},
            process.flow.resting,
            process.flow.labels,
        )
        yield replace(process, flow=flow)


def _at_entry(process: LoweredProcess, cpu: Expr) -> Expr:
    read = Read(location_variable(process.name), (cpu,), process.sort)
    return eq(read, Const(process.entry, process.sort))


# -- claims ------------------------------------------------------------------


def claims(lowered: Lowered, check: t.CheckDeclaration) -> tuple[Property, ...]:
    """The properties that a check claims, over the lowered program."""
    terms = replace(lowered.terms, locate=_locator(lowered))
    found = []
    for claim in check.claims:
        text = " ".join(claim.span.text.split()).rstrip(";")
        formula, goal = TRUE, TRUE
        if claim.formula is not None:
            formula = _closed(terms, claim.formula, lowered)
        if claim.goal is not None:
            goal = _closed(terms, claim.goal, lowered)
        kind = claim.kind
        if kind == "never":
            kind, formula = "always", not_(formula)
        expectation = Expectation(kind)
        found.append(Property(check.name, expectation, formula, goal, text, claim.span))
    return tuple(found)


def _closed(terms: Terms, node: t.Term, lowered: Lowered) -> Expr:
    if isinstance(node, t.Unary) and node.op == "!":
        return not_(_closed(terms, node.arg, lowered))
    if isinstance(node, t.Call) and node.name == "bug" and not node.args:
        return _bug(lowered)
    return terms.boolean(node, {})


def _bug(lowered: Lowered) -> Expr:
    """Some process has failed an assertion."""
    found: list[Expr] = []
    for process in lowered.processes:
        if not process.assertions:
            continue
        actor = process.actor
        read = Read(
            location_variable(process.name), (actor,) if actor else (), process.sort
        )
        here = or_(
            *(eq(read, Const(p, process.sort)) for p in sorted(process.assertions))
        )
        found.append(exists(actor, here) if actor else here)
    return or_(*found)


def _locator(lowered: Lowered):  # type: ignore[no-untyped-def]
    by_name = {process.name: process for process in lowered.processes}

    def locate(process: str, place: str, span: Span) -> tuple[Sort, frozenset[int]]:
        if process not in by_name:
            known = [p.declaration.name for p in lowered.program.processes]
            if process in known:  # sliced away: never anywhere but at its start
                raise fail("HP317", f"process '{process}' is not part of this", span)
            raise fail("HP301", f"there is no process '{process}'", span,
                       help=suggestion(process, known))  # fmt: skip
        flow = by_name[process].flow
        if place == "end":
            return by_name[process].sort, frozenset({by_name[process].end})
        if place == "resting":
            return by_name[process].sort, frozenset(flow.resting)
        if place not in flow.labels:
            known = [*flow.labels]
            callbacks = {c.callback.name for c in lowered.program.callbacks}
            if place in callbacks or place in lowered.program.functions:
                return by_name[process].sort, frozenset()
            raise fail("HP301", f"'{process}' has no place '{place}'", span,
                       help=suggestion(place, known))  # fmt: skip
        return by_name[process].sort, frozenset(flow.labels[place])

    return locate


def processes_named(node: object) -> frozenset[str]:
    """Processes that a check looks at with `at(...)`."""
    found: set[str] = set()
    stack = [node]
    while stack:
        top = stack.pop()
        if isinstance(top, t.Call) and top.name == "at" and top.args:
            base = top.args[0]
            base = base.base if isinstance(base, t.Index) else base
            if isinstance(base, t.Name):
                found.add(base.name)
        if isinstance(top, tuple):
            stack.extend(top)
        elif hasattr(top, "__dataclass_fields__") and not isinstance(top, Span):
            stack.extend(getattr(top, f) for f in top.__dataclass_fields__)
    return frozenset(found)


# -- the transition system -----------------------------------------------------


def build(
    lowered: Lowered, props: tuple[Property, ...] = (), *, fused: bool = True
) -> TransitionSystem:
    """The transition system, with the steps joined that `props` cannot observe.

    With `fused=False` every statement stays a step of its own (replay, data races).
    """
    observed: frozenset[str] = frozenset()
    points: dict[str, set[int]] = {}
    for prop in props:
        for formula in (prop.formula, prop.goal):
            observed |= reads(formula)
            _observed_points(formula, points)
        fused = fused and prop.expectation is not Expectation.RACE_FREE
    private = _private(lowered) if fused else {}
    written = _written(lowered)
    actions: list[Action] = []
    processes: list[Process] = []
    variables: list[Variable] = []
    for process in lowered.processes:
        edges = reachable(process.flow.edges, process.entry)
        if fused:
            mine = private[process.name]
            seen = observed - {location_variable(process.name)}

            def is_local(
                edge: Edge, mine: frozenset[str] = mine, seen: frozenset[str] = seen
            ) -> bool:
                touched = edge.reads() & written
                return touched <= mine and edge.writes() <= mine - seen

            keep = (
                process.flow.waits
                | process.flow.resting
                | process.assertions
                | {process.entry, process.end}
                | points.get(location_variable(process.name), set())
            )
            edges = fuse(edges, process.entry, keep, is_local)
        actions += [_action(process, edge) for edge in edges]
        processes.append(_process(process))
        variables += process.locals
        variables.append(_location(process))
    used = frozenset[str]().union(observed, *(a.read | a.written for a in actions))
    declared = [
        _variable(lowered.terms, d)
        for name, d in lowered.program.variables.items()
        if name in used
    ]
    assumptions = tuple(
        formula
        for item in lowered.program.assumptions
        if reads(formula := lowered.terms.boolean(item.condition, {})) <= used
    )
    return TransitionSystem(
        name=lowered.program.scenario.name,
        variables=(*declared, *(v for v in variables if v.name in used)),
        processes=tuple(processes),
        actions=tuple(actions),
        assumptions=assumptions,
        sizes=tuple(sorted(lowered.program.sizes.items())),
    )


def _observed_points(formula: Expr, points: dict[str, set[int]]) -> None:
    """Program points that a formula compares with."""
    for part in walk(formula):
        sort = getattr(part, "sort", None)
        if isinstance(part, Const) and isinstance(sort, EnumSort):
            if sort.name.startswith("at."):
                points.setdefault(sort.name, set()).add(part.value)


def _private(lowered: Lowered) -> dict[str, frozenset[str]]:
    """Per process: the variables that it alone uses, each CPU's instance its own."""
    users: dict[str, set[str]] = {}
    shared: set[str] = set()
    for process in lowered.processes:
        for edge in process.flow.edges:
            for name, indices in _accesses(edge):
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


def _accesses(edge: Edge) -> Iterator[tuple[str, tuple[Expr, ...]]]:
    roots = [edge.guard, *(choice.among for choice in edge.choices)]
    for effect in edge.effects:
        yield effect.variable, effect.indices
        roots += [effect.value, *effect.indices]
    for root in roots:
        for part in walk(root):
            if isinstance(part, Read):
                yield part.variable, part.indices


def _written(lowered: Lowered) -> frozenset[str]:
    found: set[str] = set()
    for process in lowered.processes:
        found.add(location_variable(process.name))
        for edge in process.flow.edges:
            found |= edge.writes()
    return frozenset(found)


def _process(process: LoweredProcess) -> Process:
    names = process.sort.values
    return Process(
        name=process.name,
        runs=process.runs,
        location=location_variable(process.name),
        initial=names[process.entry],
        final=frozenset({names[process.end]}),
        resting=frozenset(names[p] for p in process.flow.resting),
        environment=process.kind == "environment",
        spontaneous=process.kind == "interrupt",
        kind=process.kind,
        span=process.declared.declaration.span,
    )


def _location(process: LoweredProcess) -> Variable:
    name = location_variable(process.name)
    indices = (CPU,) if process.actor else ()
    params = (Param(f"{name}#", CPU),) if process.actor else ()
    initial = Const(process.entry, process.sort)
    return Variable(
        name, process.sort, indices, initial, params, Role.LOCATION, process.name
    )


def _action(process: LoweredProcess, edge: Edge) -> Action:
    name = location_variable(process.name)
    indices: tuple[Expr, ...] = (process.actor,) if process.actor else ()
    here = Read(name, indices, process.sort)
    guard = and_(eq(here, Const(edge.source, process.sort)), edge.guard)
    move = Assign(name, indices, Const(edge.target, process.sort))
    note = edge.note
    names = process.sort.values
    return Action(
        name=f"{process.name}: {note.text if note else names[edge.target]}",
        process=process.name,
        source=names[edge.source],
        target=names[edge.target],
        actor=process.actor,
        choices=edge.choices,
        guard=guard,
        effects=(*edge.effects, move),
        text=note.text if note else "",
        hotplug_state=note.hotplug_state if note else None,
        callback=note.callback if note else None,
        origin=note.origin if note else None,
        span=note.span if note else None,
    )


def _variable(terms: Terms, declared: Declared) -> Variable:
    node = declared.declaration
    sort = terms.sort_of(declared)
    params = tuple(Param(f"{node.name}#{i}", s) for i, s in enumerate(declared.indices))
    return Variable(
        node.name,
        sort,
        declared.indices,
        _initial(terms, declared, sort, params),
        params,
        Role.LOCK if declared.lock else Role.DATA,
        plain=not declared.lock and _is_plain(node),
        constant=node.constant,
        doc=node.doc,
        span=node.span,
    )


def _is_plain(node: t.VariableDeclaration) -> bool:
    atomic = ("cpumask", "completion", "atomic_t")
    return not (isinstance(node.type, t.NamedType) and node.type.name in atomic)


def _initial(
    terms: Terms, declared: Declared, sort: Sort, params: tuple[Param, ...]
) -> Expr | None:
    node = declared.declaration
    if node.value is None:
        return None if node.constant else default_of(sort)
    scope: Mapping[str, Expr] = {}
    if params and params[0].sort.name == "cpu":
        scope = {"cpu": params[0]}
    elif params:
        scope = {params[0].sort.name: params[0]}
    is_mask = isinstance(node.type, t.NamedType) and node.type.name == "cpumask"
    if is_mask:
        return terms.mask(node.value, scope).member(params[-1])
    if node.value == t.Name("any", node.value.span):
        return None
    value = terms.value(node.value, scope, sort)
    if reads(value):
        raise fail("HP318", "an initial value cannot read variables", node.value.span)
    return value


__all__ = ["Lowered", "build", "claims", "lower", "processes_named"]
