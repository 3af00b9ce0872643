"""From a linked program to the transition system of one property.

`lower` turns the chosen parts of a program (callbacks and processes) into control flow;
`claims` elaborates the checks over it; `build` fuses local steps and writes down the
transition system. Which parts to choose is for `cpuhp.graph` to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from cpuhp.diagnostics import Span, fail, suggestion
from cpuhp.language import tree as t
from cpuhp.language.calls import demand_own_names
from cpuhp.language.context import Context
from cpuhp.language.flow import Edge, Flow, Note, begun, reachable
from cpuhp.language.lower import Lowering
from cpuhp.language.primitives import irqs_off
from cpuhp.language.program import HPSTATE, DeclaredProcess, Program, Registered
from cpuhp.language.terms import Terms, location_variable
from cpuhp.language.tree import base_name, nodes_below
from cpuhp.language.watching import inversion, with_observers
from cpuhp.model.expr import (
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
)
from cpuhp.model.sorts import CPU, EnumSort, Sort
from cpuhp.model.system import (
    Expectation,
    Property,
    Runs,
    Variable,
)
from cpuhp.model.table import HotplugState

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
    atomics: frozenset[str] = frozenset()  # operands of atomic operations

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


def lower(
    program: Program, keep: frozenset[str] | None = None, *, merge: bool = False
) -> Lowered:
    """Control flow of the callbacks and processes named in `keep` (None: all).

    A walk passes all rows of the program all the same: a CPU whose callback fails stops
    at the row before, whether or not the callback of that row is kept. With `merge`,
    rows that nothing kept names are one where they follow each other, and a step from
    it may lead to it again, as often as it likes (graph/rows.py says when no claim can
    be proved by that which does not hold).

    Raises InputError HP3xx where the text is wrong.
    """
    demand_own_names(program)
    callbacks = tuple(
        c for c in program.callbacks if keep is None or c.callback.name in keep
    )
    rows = _rows(program, callbacks if merge else program.callbacks)
    names = tuple(row.identifier for row in rows)
    every = [row.identifier for row in _rows(program, program.callbacks)]
    merged = {a for a, b in zip(every, every[1:]) if a in names and b not in names}
    terms = Terms(program, EnumSort(HPSTATE, names), merged=frozenset(merged))
    chosen = [
        p for p in program.processes if keep is None or p.declaration.name in keep
    ]
    lowered = [_lower_process(p, terms, callbacks) for p in chosen]
    _reject_uses(program, lowered)
    lowered = list(with_observers(Lowered(program, tuple(lowered), terms)))
    return Lowered(program, tuple(_preempted(lowered, terms)), terms)


def _rows(
    program: Program, callbacks: tuple[Registered, ...]
) -> tuple[HotplugState, ...]:
    """The rows of the program: those that are named, and one for others in between."""
    every = {c.state.number: c.state for c in program.callbacks}
    every |= {state.number: state for state in program.landmarks}
    named = {state.number for state in program.landmarks}
    named |= {registered.state.number for registered in callbacks}
    kept: list[HotplugState] = []
    between = False
    for number in sorted(every):
        if number in named or not between:
            kept.append(every[number])
        between = number not in named
    return tuple(kept)


def _reject_uses(program: Program, lowered: list[LoweredProcess]) -> None:
    """What is there for proofs only must not decide what happens."""
    auxiliary = {
        name
        for name, declared in program.variables.items()
        if declared.declaration.auxiliary
    }
    for edge in (edge for process in lowered for edge in process.flow.edges):
        used = edge.reads() & auxiliary
        if used:
            name = min(used)
            raise fail("HP317", f"'{name}' is auxiliary: no step may depend on it",
                       edge.note.span if edge.note else
                       program.variables[name].declaration.span,
                       help="it is written for proofs; claims may read it")  # fmt: skip


def _lower_process(
    declared: DeclaredProcess, terms: Terms, callbacks: tuple[Registered, ...]
) -> LoweredProcess:
    node = declared.declaration
    if node.on is not None and node.on not in (*_RUNS, "boot"):
        raise fail("HP316", f"a process runs on cpus, aps or boot, not '{node.on}'",
                   node.span)  # fmt: skip
    if node.when is not None and node.kind != "interrupt":
        raise fail("HP316", "only an interrupt comes 'when' something holds",
                   node.when.span, help="wait for it: wait (...);")  # fmt: skip
    if node.on == "boot" and node.param:
        raise fail("HP316", "a process on boot is one task", node.span,
                   help=f"{node.kind} {node.name} {{ ... }}, and boot inside")  # fmt: skip
    runs = _RUNS[node.on or "cpus"] if node.param else Runs.ONCE
    if node.kind == "interrupt" and not node.param:
        raise fail("HP316", "an interrupt comes on each CPU", node.span,
                   help=f"interrupt {node.name}(cpu) when (cpu == boot) {{ ... }}")  # fmt: skip
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
        node.kind != "process",
    )
    scope = {"this_cpu": self_cpu}
    if node.param and actor:
        scope[node.param] = actor
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
        if node.when is not None:
            guard = and_(guard, terms.boolean(node.when, scope))
        note = Note("interrupt", node.span, places=(node.name,))
        work.flow.edges.append(Edge(entry, start, guard, note=note))
        work.flow.waits.add(entry)
        work.flow.resting.add(entry)
        leave = entry
    work.block(node.body, start, leave, replace(context, leave=leave))
    # What options rule out is not part of the program.
    edges = reachable(work.flow.edges, entry)
    # Entering its outermost loop is no step of a process.
    stay = work.flow.waits | work.flow.resting | work.assertions
    stay |= _named(work.flow, declared, terms.program) | _left(work.flow)
    work.flow.edges, entry = begun(edges, entry, stay)
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
        frozenset(work.atomics),
    )


def _named(flow: Flow, declared: DeclaredProcess, program: Program) -> set[int]:
    """The points that labels name."""
    callbacks = {registered.callback.name for registered in program.callbacks}
    places = {declared.declaration.name, *program.functions, *callbacks}
    return {p for name, at in flow.labels.items() if name not in places for p in at}


def _left(flow: Flow) -> set[int]:
    """The points from which a step leaves a process, function or callback."""
    return {
        edge.source
        for edge in flow.edges
        for at in flow.labels.values()
        if edge.source in at and edge.target not in at
    }


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
    """While an interrupt handler runs on a CPU, nothing else does, nor another one."""
    handlers = [p for p in processes if p.kind == "interrupt"]
    for process in processes:
        others = [handler for handler in handlers if handler is not process]
        if process.kind == "environment" or not others:
            yield process
            continue
        cpu: Expr = process.actor or Boot()
        quiet = and_(*(_at_entry(handler, cpu) for handler in others))
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


def claims(
    lowered: Lowered, check: t.CheckDeclaration, only: int | None = None
) -> tuple[Property, ...]:
    """The properties that a check claims, or `only` one of them.

    A program that was sliced for one claim need not have what another looks at.
    """
    terms = replace(lowered.terms, locate=_locator(lowered))
    found = []
    for number, claim in enumerate(check.claims):
        if only not in (None, number):
            continue
        text = " ".join(claim.span.text.split()).rstrip(";")
        formula: Expr = TRUE
        goal: Expr = TRUE
        if claim.formula is not None:
            formula = _closed(terms, claim.formula, lowered)
        if claim.goal is not None:
            goal = _closed(terms, claim.goal, lowered)
        kind = claim.kind
        if kind == "never":
            kind, formula = "always", not_(formula)
        if kind == "inversion_free" and lowered.program.watch is not None:
            kind, formula = "always", not_(inversion(terms))
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
            if process in known:
                # Sliced away: the claim does not depend on where it is.
                return EnumSort(location_variable(process), ()), frozenset()
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
            elsewhere = place in callbacks or place in lowered.program.functions
            if elsewhere or place in _labels(lowered.program):
                return by_name[process].sort, frozenset()
            raise fail("HP301", f"'{process}' has no place '{place}'", span,
                       help=suggestion(place, known))  # fmt: skip
        return by_name[process].sort, frozenset(flow.labels[place])

    return locate


def _labels(program: Program) -> frozenset[str]:
    """All labels of the text, also those that options or slicing leave out."""
    nodes = nodes_below(program.units)
    return frozenset(node.name for node in nodes if isinstance(node, t.Label))


def processes_named(node: object) -> frozenset[str]:
    """Processes that a check looks at with `at(...)`."""
    named = frozenset(
        base_name(call.args[0])
        for call in nodes_below(node)
        if isinstance(call, t.Call) and call.name == "at" and call.args
    )
    return named - {""}
