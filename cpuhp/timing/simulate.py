"""A scenario, run against the clock: what its processes do, and when.

Each process does what its control flow says, as soon as it can: steps with a cost take
their time, all else takes none. Who waits for a lock gets it in the order of asking.
Nothing is assumed about phases: they come out, because the spec's own waits, locks and
completions hold the processes back.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from types import CodeType
from typing import Any

from cpuhp.diagnostics import fail
from cpuhp.language.build import build
from cpuhp.language.compile import Lowered, LoweredProcess, lower
from cpuhp.language.flow import Edge
from cpuhp.language.program import Program
from cpuhp.model.expr import Apply, Const, Op, Read, conjuncts, reads
from cpuhp.model.sorts import NONE
from cpuhp.model.system import Role, Runs, TransitionSystem
from cpuhp.timing.code import Layout
from cpuhp.timing.costs import CostTable
from cpuhp.timing.initial import initial_state
from cpuhp.timing.points import Named, Points, Row, points_of
from cpuhp.timing.step_code import (
    ANY_CELL,
    CHOSEN,
    define,
    step_functions,
)

MAX_STEPS = 50_000_000
_SPIN = 4096  # steps without any effect after which a process is taken to poll


@dataclass(frozen=True, slots=True)
class Span:
    """A step that took time, on the CPU `cpu` (None: a task of the control CPU).

    `about` is the CPU that a loop around a task without a CPU had come to. `cause` is the span
    whose end let this one begin; `waited_for` the variable that told.
    """

    step: str
    key: str
    process: str
    cpu: int | None
    about: int | None
    start: float
    end: float
    cause: int | None
    waited_for: str | None


@dataclass(frozen=True)
class Run:
    """What happened. Times in seconds; `control` tells in which functions the task was."""

    spans: tuple[Span, ...]
    makespan: float
    last: int | None  # the span that ended last on the way to the end
    steps: int
    control: tuple[tuple[float, tuple[str, ...]], ...]
    without_cost: dict[str, int]  # name of a step, how often it ran
    with_cost: frozenset[str]  # keys of costs whose steps ran, if only for no time


@dataclass(frozen=True, eq=False)
class Model:
    """A program, ready to be run on any number of CPUs."""

    lowered: Lowered
    system: TransitionSystem
    layout: Layout
    code: CodeType
    first: dict[str, dict[int, int]]  # process -> point -> number of its functions
    locks: frozenset[int]  # variables that only ever are awaited to be free


def model(program: Program) -> Model:
    """Everything about the program that costs and CPU counts do not change.

    The environment and interrupts take no part. Raises InputError HP3xx where the text
    of the spec is wrong.
    """
    keep = {c.callback.name for c in program.callbacks}
    keep |= {
        p.declaration.name
        for p in program.processes
        if p.declaration.kind not in ("environment", "interrupt")
    }
    lowered = lower(program, frozenset(keep))
    system, _ = build(lowered, None, reduced=False)
    layout = Layout(system.variables, dict(system.sizes))
    first: dict[str, dict[int, int]] = {}
    parts: list[str] = []
    for process in lowered.processes:
        mine = first.setdefault(process.name, {})
        by_source: dict[int, list[Any]] = {}
        for edge in process.flow.edges:
            by_source.setdefault(edge.source, []).append(edge)
        for point, edges in by_source.items():
            mine[point] = len(parts)
            parts.append(step_functions(layout, len(parts), edges, process.actor))
    code = compile("\n".join(parts), "<simulation>", "exec")
    return Model(lowered, system, layout, code, first, _plain_locks(lowered, layout))


def _plain_locks(lowered: Lowered, layout: Layout) -> frozenset[int]:
    """Locks of which a release is of use to one who waits only.

    Of locks with an index it is not told here who waits for which.
    """
    locks = {
        v.name for v in layout.variables
        if v.role is Role.LOCK and getattr(v.sort, "nullable", False) and not v.indices
    }  # fmt: skip
    for process in lowered.processes:
        for edge in process.flow.edges:
            for test in conjuncts(edge.guard):
                free = (
                    isinstance(test, Apply)
                    and test.op is Op.EQ
                    and isinstance(test.args[0], Read)
                    and isinstance(test.args[1], Const)
                    and test.args[1].value == NONE
                )
                if not free:
                    locks -= reads(test)
    return frozenset(layout.numbers[name] for name in locks)


def simulate(
    model: Model, cpus: int, table: CostTable, chance: random.Random | None = None
) -> Run:
    """Run the scenario on so many CPUs, the control CPU being number 0.

    Deterministic; with `chance` costs are drawn from their distributions. Raises
    InputError HP912 if there is no CPU, HP913 if the scenario does not come to its end,
    HP910 and HP911 for what the spec leaves open.
    """
    if cpus < 1:
        raise fail("HP912", f"a machine needs at least 1 CPU, not {cpus}")
    return _Simulation(model, cpus, table, chance).run()


@dataclass
class _Actor:
    """One process, on one CPU or as the one task that it is."""

    number: int
    process: LoweredProcess
    points: Points
    cpu: int | None
    at: int
    functions: dict[int, tuple[Any, Any]]
    now: float = 0.0
    cause: int = -1
    waited_for: str | None = None
    loops: dict[int, int] = field(default_factory=dict)  # by point, innermost last
    blocked: bool = False
    epoch: int = 0
    waker: int = -1  # the span that the one who woke it came from
    woke: str | None = None
    baton: int | None = None  # the lock that it was woken for, alone of all who wait
    paid: set[int] = field(default_factory=set)
    begun: dict[int, tuple[float, int, str | None]] = field(default_factory=dict)
    rows: deque[Row] = field(default_factory=deque)
    stopped: bool = False

    @property
    def about(self) -> int | None:
        """The CPU that the innermost loop around the process has come to."""
        return next(reversed(self.loops.values()), None)


class _Simulation:
    def __init__(
        self, model: Model, cpus: int, table: CostTable, chance: random.Random | None
    ) -> None:
        self.model, self.cpus, self.chance = model, cpus, chance
        self.changed: list[tuple[int, int]] = []
        functions = define(model.code, cpus, self.changed)
        self.state = initial_state(model.system, model.layout, cpus, table.constants)
        self.names = [""] + [v.name for v in model.layout.variables]
        self.waiting: list[dict[int, deque[tuple[_Actor, int]]]]
        self.waiting = [{} for _ in self.names]
        self.polling: list[_Actor] = []
        self.spans: list[Span] = []
        self.without: dict[str, int] = {}
        self.met: set[str] = set()
        self.control: list[tuple[float, tuple[str, ...]]] = []
        self.actors: list[_Actor] = []
        self.ready: deque[_Actor] = deque()
        self.timers: list[tuple[float, int, _Actor]] = []
        self.steps = self.sequence = 0
        self.now = 0.0
        self.last = -1
        named = Named(model.lowered, table)
        for process in sorted(model.lowered.processes, key=_tasks_first):
            points = points_of(process, named)
            pairs = {
                point: (functions[f"take_{n}"], functions[f"watch_{n}"])
                for point, n in model.first[process.name].items()
            }
            for cpu in self._instances(process):
                actor = _Actor(
                    len(self.actors), process, points, cpu, process.entry, pairs
                )
                self.actors.append(actor)

    def _instances(self, process: LoweredProcess) -> list[int | None]:
        match process.runs:
            case Runs.ONCE:
                return [None]
            case Runs.EVERY_CPU:
                return list(range(self.cpus))
            case Runs.EVERY_AP:
                return list(range(1, self.cpus))

    def run(self) -> Run:
        ready, timers = self.ready, self.timers
        ready.extend(self.actors)
        while True:
            while ready:
                self.advance(ready.popleft())
                if self.steps > MAX_STEPS:
                    raise fail(
                        "HP914", f"more than {MAX_STEPS} steps on {self.cpus} CPUs"
                    )
            if not timers:
                break
            self.now = timers[0][0]
            while timers and timers[0][0] == self.now:
                ready.append(heappop(timers)[2])
        self._check_end()
        return Run(
            tuple(self.spans),
            self.now,
            self.last if self.last >= 0 else None,
            self.steps,
            tuple(self.control),
            dict(sorted(self.without.items())),
            frozenset(self.met),
        )

    # -- one process ---------------------------------------------------------

    def advance(self, actor: _Actor) -> None:
        """Go on until the process waits, spends time, or has let others go on."""
        actor.now = self.now
        points, functions = actor.points, actor.functions
        own = actor.cpu if actor.cpu is not None else 0
        state, changed = self.state, self.changed
        idle = 0
        while True:
            point = actor.at
            if actor.rows and self._pay_rows(actor):
                return
            if (points.due.get(point) or points.inside.get(point)) and self._pay(actor):
                return
            pair = functions.get(point)
            if pair is None:
                actor.stopped = True
                return
            taken = pair[0](state, own)
            self.steps += 1
            if taken < 0:
                self._block(actor, pair[1](state, own))
                return
            if actor.blocked:
                self._unblocked(actor)
            self._moved(actor, point, taken)
            if changed:
                idle = 0
                if self._wake(actor):
                    self.ready.append(actor)
                    return
            else:
                idle += 1
                if idle > _SPIN:
                    self._poll(actor)
                    return

    def _moved(self, actor: _Actor, point: int, taken: int) -> None:
        points = actor.points
        edge = points.edges[point][taken]
        actor.at = edge.target
        for number in points.closes.get(point, ()):
            actor.paid.discard(number)
            actor.begun.pop(number, None)
        if actor.at in actor.process.flow.resting:
            actor.paid.clear()
            actor.begun.clear()
        if actor.cpu is None:
            self._looped(actor, point, edge)
            if actor.process.kind == "process":
                self._mark(points.places[point])
        gap = points.gaps.get((point, taken))
        if gap is not None:
            number = self.model.layout.numbers[gap.variable]
            value = self.state[number]
            value = value if actor.cpu is None else value[actor.cpu]
            actor.rows.extend(gap.rows.get(value, ()))
        entered = points.entered.get((point, taken))
        if entered is not None:
            self.without[entered] = self.without.get(entered, 0) + 1

    def _looped(self, actor: _Actor, point: int, edge: Edge) -> None:
        """The edge may go round a loop over CPUs, or out of it."""
        if not edge.note or not edge.note.text.startswith("for "):
            return
        if point in actor.loops:
            while actor.loops.popitem()[0] != point:
                pass
        if edge.choices:
            actor.loops[point] = self.state[CHOSEN]

    def _mark(self, places: tuple[str, ...]) -> None:
        """From now on the control task is in these functions."""
        if not self.control or self.control[-1][1] != places:
            if self.control and self.control[-1][0] == self.now:
                self.control.pop()
            self.control.append((self.now, places))

    # -- time ----------------------------------------------------------------

    def _pay_rows(self, actor: _Actor) -> bool:
        """Steps of the table without a model, one after the other."""
        while actor.rows:
            row = actor.rows.popleft()
            if row.cost is None:
                self.without[row.name] = self.without.get(row.name, 0) + 1
                continue
            self.met.add(row.key)
            seconds = row.cost.of(self._whose(actor), self.cpus, self.chance)
            if seconds > 0:
                start = (self.now, actor.cause, actor.waited_for)
                self._spend(actor, row.name, row.key, start, self.now + seconds)
                return True
        return False

    def _pay(self, actor: _Actor) -> bool:
        """Steps that take their time here, if they have not yet. True if time passes."""
        points, point = actor.points, actor.at
        for number in points.inside.get(point, ()):
            if number not in actor.begun:
                start = (self.now, actor.cause, actor.waited_for)
                actor.begun[number] = start
        for number in points.due.get(point, ()):
            if number in actor.paid:
                continue
            actor.paid.add(number)
            self.met.add(points.keys[number])
            name, cost = points.steps[number]
            start = (self.now, actor.cause, actor.waited_for)
            if cost.inclusive:
                start = actor.begun.get(number, start)
            end = start[0] + cost.of(self._whose(actor), self.cpus, self.chance)
            if end > self.now:
                self._spend(actor, name, points.keys[number], start, end)
                return True
        return False

    def _whose(self, actor: _Actor) -> int:
        if actor.cpu is not None:
            return actor.cpu
        return actor.about if actor.about is not None else 0

    def _spend(
        self,
        actor: _Actor,
        name: str,
        key: str,
        start: tuple[float, int, str | None],
        end: float,
    ) -> None:
        begin, cause, waited = start
        number = len(self.spans)
        if actor.cpu is None and actor.process.kind == "process":
            self._mark(actor.points.places.get(actor.at, (actor.process.name,)))
        about = actor.about if actor.cpu is None else actor.cpu
        self.spans.append(
            Span(name, key, actor.process.name, actor.cpu, about, begin, end,
                 cause if cause >= 0 else None, waited)
        )  # fmt: skip
        actor.cause, actor.waited_for = number, None
        self.last = (
            number if self.last < 0 or end >= self.spans[self.last].end else self.last
        )
        self.sequence += 1
        heappush(self.timers, (end, self.sequence, actor))

    # -- waiting -------------------------------------------------------------

    def _block(self, actor: _Actor, pairs: list[tuple[int, int]]) -> None:
        actor.blocked = True
        entry = (actor, actor.epoch)
        baton, actor.baton = actor.baton, None
        taken = baton is not None and not self._is_free(baton)
        for variable, cell in pairs:
            queue = self.waiting[variable].setdefault(cell, deque())
            if taken and variable == baton:
                queue.appendleft(entry)  # somebody was quicker; it is still the first
            else:
                queue.append(entry)
        if baton is not None and not taken:
            # It was woken for a lock, but waits for something else now.
            self._wake_one(baton, actor.waker)

    def _unblocked(self, actor: _Actor) -> None:
        actor.blocked = False
        actor.epoch += 1
        if actor.waker != actor.cause:
            actor.cause, actor.waited_for = actor.waker, actor.woke
        baton, actor.baton = actor.baton, None
        if baton is not None and self._is_free(baton):
            self._wake_one(baton, actor.cause)  # it went another way

    def _poll(self, actor: _Actor) -> None:
        """A loop that changes nothing: look again when somebody has changed something."""
        actor.blocked = True
        self.polling.append(actor)

    def _wake(self, actor: _Actor) -> bool:
        """Let those look again who wait for what has just changed."""
        before = len(self.ready)
        cause = actor.cause
        for variable, cell in self.changed:
            waiting = self.waiting[variable]
            if not waiting:
                continue
            if variable in self.model.locks:
                if self._is_free(variable):
                    self._wake_one(variable, cause)
                continue
            cells = list(waiting) if cell == ANY_CELL else (cell, ANY_CELL)
            for each in cells:
                for entry in waiting.pop(each, ()):
                    self._rouse(entry, variable, cause)
        self.changed.clear()
        for poller in self.polling:
            poller.waker, poller.woke = cause, None
            self.ready.append(poller)
        self.polling.clear()
        return len(self.ready) > before

    def _is_free(self, lock: int) -> bool:
        return bool(self.state[lock] == NONE)

    def _wake_one(self, lock: int, cause: int) -> None:
        queue = self.waiting[lock].get(ANY_CELL)
        while queue:
            entry = queue.popleft()
            if self._rouse(entry, lock, cause):
                entry[0].baton = lock
                return

    def _rouse(self, entry: tuple[_Actor, int], variable: int, cause: int) -> bool:
        actor, epoch = entry
        if not actor.blocked or actor.epoch != epoch:
            return False
        actor.epoch += 1
        actor.waker, actor.woke = cause, self.names[variable]
        self.ready.append(actor)
        return True

    def _check_end(self) -> None:
        for actor in self.actors:
            if actor.process.kind == "process" and actor.at != actor.process.end:
                edges = actor.points.edges.get(actor.at, [])
                note = edges[0].note if edges else None
                who = actor.process.name + (f"[CPU{actor.cpu}]" if actor.cpu else "")
                raise fail(
                    "HP913",
                    f"'{who}' never gets to its end on {self.cpus} CPUs: it stops here",
                    note.span if note else actor.process.declared.declaration.span,
                    help="the environment and interrupts take no part in an estimate; "
                    "options that let something fail may end the scenario early",
                )


def _tasks_first(process: LoweredProcess) -> bool:
    return process.runs is not Runs.ONCE
