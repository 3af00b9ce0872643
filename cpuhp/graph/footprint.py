"""What each step of a program touches, under which locks and in which context.

A *step* is what a person takes for one thing: a hotplug callback, or a function of the
core in the process that runs it. Its footprint comes from the lowered control flow, so
it holds for every CPU count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cpuhp.diagnostics import Span
from cpuhp.graph.holding import Hold, Holds, held_at, hold_of, under_which
from cpuhp.language.compile import Lowered, LoweredProcess
from cpuhp.language.flow import Edge
from cpuhp.language.program import IRQS_OFF, Registered
from cpuhp.model.expr import FALSE, TRUE, Boot, Const, Expr, Param, Read, walk
from cpuhp.model.system import Assign, Origin, Runs

Held = frozenset[str]
_BLOCKS = re.compile(r"\bwait|lock|\bdown_|^interrupt$")


@dataclass(frozen=True)
class Access:
    """One step reads or writes a variable.

    `own`: positions of the indices that are the CPU on which the step runs. `waits`:
    the read is what the step is blocked on, so the write is meant to be seen.
    """

    step: str
    variable: str
    write: bool
    own: frozenset[int]
    locks: Held
    waits: bool
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Taken:
    """A lock is taken: what may be held already, and whether interrupts may be on.

    `asks`: the step waits for it. `stopped`: held by whom the step may have interrupted.
    """

    step: str
    lock: Hold
    asks: bool
    held: Holds
    context: str  # "interrupt", "irqs off" or "irqs on"
    stopped: Holds = frozenset()
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Step:
    """A node of the dependency graph. `key` is its name within the program."""

    key: str
    name: str
    process: str
    runs: Runs
    kind: str  # kind of the process
    callback: Registered | None = None
    span: Span | None = field(default=None, compare=False)

    @property
    def origin(self) -> Origin | None:
        registered = self.callback
        if registered is None or not registered.source:
            return None
        return Origin(registered.source, registered.callback.name)


@dataclass(frozen=True)
class Footprints:
    """All steps in order of first occurrence, and what they do."""

    steps: Mapping[str, Step]
    accesses: tuple[Access, ...]
    taken: tuple[Taken, ...]
    locks: Mapping[str, str]  # name and kind of each lock

    def of(self, key: str) -> tuple[Access, ...]:
        return tuple(a for a in self.accesses if a.step == key)

    def crosses(self, key: str) -> bool:
        """Does the step wait, or touch what somebody writes and is not its own CPU's?"""
        written = {a.variable for a in self.accesses if a.write}
        return any(
            a.variable in written and (a.waits or not a.own) for a in self.of(key)
        )


def step_key(process: str, edge: Edge) -> str:
    """Which step an edge of a process belongs to."""
    note = edge.note
    if note is None:
        return process
    if note.callback is not None:
        return note.callback
    inner = note.places[-1] if note.places else process
    return process if inner == process else f"{process}/{inner}"


def footprints(lowered: Lowered) -> Footprints:
    """Steps and their accesses. Lock sets are the locks held on every way there."""
    program = lowered.program
    locks = {
        name: getattr(declared.declaration.type, "name", "lock")
        for name, declared in program.variables.items()
        if declared.lock
    }
    registered = {c.callback.name: c for c in program.callbacks}
    steps: dict[str, Step] = {}
    accesses: dict[Access, None] = {}
    taken: dict[Taken, None] = {}
    exposed = {p.name: _exposed(p, lowered) for p in lowered.processes}
    for process in lowered.processes:
        must, may = held_at(process, every=True), held_at(process, every=False)
        masked = _masked(process)
        stopped = _stopped(process, lowered, exposed)
        for edge in process.flow.edges:
            key = step_key(process.name, edge)
            if key not in steps:
                steps[key] = _step(key, process, edge, registered)
            sure = must.get(edge.source, frozenset()) | _taken_by(edge)
            held = frozenset(hold.name for hold in sure)
            for access in _accesses(process, edge, key, held, program.variables.keys()):
                if access.variable not in locks:
                    accesses[access] = None
            context = _context(process, masked.get(edge.source, frozenset()), edge)
            span = edge.note.span if edge.note else None
            for use, before in under_which(edge, may.get(edge.source, frozenset())):
                if use.asks or use.held != FALSE:
                    args = hold_of(use), use.asks, before, context, stopped, span
                    taken[Taken(key, *args)] = None
    return Footprints(steps, tuple(accesses), tuple(taken), locks)


def _taken_by(edge: Edge) -> Holds:
    return frozenset(hold_of(use) for use in edge.locks if use.held == TRUE)


def _exposed(process: LoweredProcess, lowered: Lowered) -> Holds:
    """What the process may hold where an interrupt may come."""
    if process.kind in ("interrupt", "environment"):
        return frozenset()
    unsteady = any(_turns_on(other, process) for other in lowered.processes)
    masked = _masked(process)
    return frozenset[Hold]().union(
        *(
            holds
            for point, holds in held_at(process, every=False).items()
            if unsteady or masked.get(point) != frozenset({True})
        )
    )


def _turns_on(other: LoweredProcess, process: LoweredProcess) -> bool:
    """May somebody else turn on the interrupts that the process has turned off?"""
    for edge in other.flow.edges:
        for effect in edge.effects:
            if effect.variable == IRQS_OFF and effect.value != TRUE:
                own = _is_own_flag(effect, other)
                if not own or (other is not process and _may_share(other, process)):
                    return True
    return False


def _stopped(
    handler: LoweredProcess, lowered: Lowered, exposed: Mapping[str, Holds]
) -> Holds:
    if handler.kind != "interrupt":
        return frozenset()
    return frozenset[Hold]().union(
        *(exposed[p.name] for p in lowered.processes if _may_share(handler, p))
    )


def _may_share(one: LoweredProcess, other: LoweredProcess) -> bool:
    """Can both run on one CPU?"""
    return {one.runs, other.runs} != {Runs.ONCE, Runs.EVERY_AP}


def _step(
    key: str, process: LoweredProcess, edge: Edge, registered: Mapping[str, Registered]
) -> Step:
    callback = registered.get(key)
    name = key if callback else key.split("/")[-1]
    span = edge.note.span if edge.note else process.declared.declaration.span
    if callback is not None:
        span = callback.callback.span
    return Step(key, name, process.name, process.runs, process.kind, callback, span)


def _accesses(
    process: LoweredProcess, edge: Edge, key: str, held: Held, known: object
) -> Iterator[Access]:
    names = set(known)  # type: ignore[call-overload]
    blocked = is_wait(process, edge)
    span = edge.note.span if edge.note else None

    def read(root: Expr, waits: bool) -> Iterator[Access]:
        for part in walk(root):
            if isinstance(part, Read) and part.variable in names:
                own = _own(part.indices, process.actor)
                yield Access(key, part.variable, False, own, held, waits, span)

    yield from read(edge.guard, blocked)
    for choice in edge.choices:
        yield from read(choice.among, blocked)
    for effect in edge.effects:
        if effect.variable in names:
            own = _own(effect.indices, process.actor)
            yield Access(key, effect.variable, True, own, held, False, span)
        for root in (effect.value, *effect.indices):
            yield from read(root, False)


def _own(indices: tuple[Expr, ...], actor: Param | None) -> frozenset[int]:
    if actor is None:
        return frozenset()
    return frozenset(at for at, index in enumerate(indices) if index == actor)


def is_wait(process: LoweredProcess, edge: Edge) -> bool:
    """Can the process be blocked on the edge's guard?"""
    if edge.source not in process.flow.waits or edge.guard == TRUE:
        return False
    # With interrupts every point is a wait; the text tells those of the process.
    return edge.note is None or bool(_BLOCKS.search(edge.note.text))


def _masked(process: LoweredProcess) -> dict[int, frozenset[bool]]:
    """What the interrupt flag of the process's own CPU may be at each point."""
    leaving = _leaving(process)
    found: dict[int, frozenset[bool]] = {process.entry: frozenset({False})}
    todo = [process.entry]
    while todo:
        at = todo.pop()
        for edge in leaving.get(at, ()):
            after = found[at]
            for effect in edge.effects:
                if effect.variable == IRQS_OFF:
                    value = effect.value
                    if not isinstance(value, Const):
                        after = frozenset({False, True})
                    elif _is_own_flag(effect, process):
                        after = frozenset({bool(value.value)})
                    else:  # it may be that of another CPU
                        after |= {bool(value.value)}
            joined = found.get(edge.target, frozenset()) | after
            if joined != found.get(edge.target):
                found[edge.target] = joined
                todo.append(edge.target)
    return found


def _is_own_flag(effect: Assign, process: LoweredProcess) -> bool:
    """Does it turn the interrupts of the CPU on or off on which the process runs?"""
    own = (process.actor or Boot(),)
    return effect.variable == IRQS_OFF and effect.indices == own


def _context(process: LoweredProcess, masked: frozenset[bool], edge: Edge) -> str:
    if process.kind == "interrupt":
        return "interrupt"
    masks = any(_is_own_flag(e, process) and e.value == TRUE for e in edge.effects)
    return "irqs off" if masks or masked == frozenset({True}) else "irqs on"


def _leaving(process: LoweredProcess) -> dict[int, list[Edge]]:
    leaving: dict[int, list[Edge]] = {}
    for edge in process.flow.edges:
        leaving.setdefault(edge.source, []).append(edge)
    return leaving
