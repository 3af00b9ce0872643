"""Tasks with costs, orders and exclusive resources; when each of them runs.

The rule is the one of a kernel that never idles on purpose: a task begins as soon as
all tasks before it have finished and every resource that it uses is free; who has
waited longest goes first, and who stands first in the input if two have waited alike.
A resource is a lane (an actor, which does one thing at a time), a lock, or a pool of
several workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush

from cpuhp.diagnostics import fail


@dataclass(frozen=True, slots=True)
class Task:
    """A piece of work that takes `seconds` and is not interrupted.

    `name` is its own; `step` says what it is an instance of (the same for all CPUs),
    `lane` who does it ("" for nobody: a point in time), `after` names tasks that must
    have finished, `holds` the locks and pools that it uses besides its lane. `phase` is
    for people.
    """

    name: str
    seconds: float
    lane: str
    step: str = ""
    after: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    phase: str = ""


@dataclass(frozen=True, slots=True)
class Placed:
    """A task with its time, in seconds from the beginning.

    `cause` is the task whose end let it begin, None if it began at 0. `waited_for`
    names the lane, lock or pool if that was what it waited for last.
    """

    task: Task
    start: float
    end: float
    cause: str | None = None
    waited_for: str | None = None


@dataclass(frozen=True)
class Schedule:
    """When every task runs, in order of their starts. All times in seconds."""

    placed: tuple[Placed, ...]
    makespan: float
    _by_name: Mapping[str, Placed] = field(repr=False, compare=False)

    def at(self, name: str) -> Placed:
        return self._by_name[name]

    @cached_property
    def critical_path(self) -> tuple[Placed, ...]:
        """The chain of tasks without a gap that ends last, first task first."""
        if not self.placed:
            return ()
        last = max(self.placed, key=lambda p: p.end)  # the first one of them
        chain = [last]
        while chain[-1].cause is not None:
            chain.append(self._by_name[chain[-1].cause])
        return tuple(reversed(chain))

    @cached_property
    def work(self) -> float:
        """Seconds of all tasks together: how long one worker alone would take."""
        return sum(p.task.seconds for p in self.placed)

    @cached_property
    def lanes(self) -> dict[str, float]:
        """Seconds that each lane is busy, lanes in order of their first task."""
        found: dict[str, float] = {}
        for placed in self.placed:
            lane = placed.task.lane
            if lane:
                found[lane] = found.get(lane, 0.0) + placed.task.seconds
        return found

    @property
    def utilisation(self) -> float:
        """Part of all lanes' time that is spent working, 0 to 1."""
        total = self.makespan * len(self.lanes)
        return self.work / total if total else 0.0

    @cached_property
    def serial_fraction(self) -> float:
        """Part of the makespan during which exactly one task runs, 0 to 1."""
        return alone(((p.start, p.end) for p in self.placed), self.makespan)

    def on_path(self) -> dict[str, tuple[float, int]]:
        """Per step: seconds and number of times on the critical path, most first.

        The number is the derivative of the makespan by the step's cost: how many
        seconds less it takes if each instance of the step takes a second less (as
        long as the path stays the critical one).
        """
        found: dict[str, tuple[float, int]] = {}
        for placed in self.critical_path:
            seconds, times = found.get(placed.task.step, (0.0, 0))
            entry = (seconds + placed.end - placed.start, times + 1)
            found[placed.task.step] = entry
        return dict(sorted(found.items(), key=lambda item: (-item[1][0], item[0])))


def schedule(
    tasks: Iterable[Task], capacity: Mapping[str, int] | None = None
) -> Schedule:
    """Run the tasks as early as their order and their resources allow.

    `capacity` says how many tasks may use a lane, lock or pool at once, where that is
    not one. The result is deterministic. Raises InputError HP901 for two tasks of one
    name, an unknown predecessor, a cost that is negative or not a number, and HP902
    for a circle of predecessors.
    """
    listed = list(tasks)
    numbers = _numbered(listed)
    return _Run(listed, numbers, dict(capacity or {})).result()


def alone(spans: Iterable[tuple[float, float]], makespan: float) -> float:
    """Part of `makespan` that is covered by exactly one of the spans."""
    changes: dict[float, int] = {}
    for start, end in spans:
        if end > start:
            changes[start] = changes.get(start, 0) + 1
            changes[end] = changes.get(end, 0) - 1
    single = before = 0.0
    running = 0
    for time in sorted(changes):
        if running == 1:
            single += time - before
        running += changes[time]
        before = time
    return single / makespan if makespan else 0.0


def _numbered(tasks: list[Task]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for number, task in enumerate(tasks):
        if task.name in numbers:
            raise fail("HP901", f"two tasks are called '{task.name}'")
        if not 0 <= task.seconds < float("inf"):
            raise fail(
                "HP901", f"task '{task.name}' takes {task.seconds} s, which is no cost"
            )
        numbers[task.name] = number
    for task in tasks:
        for before in task.after:
            if before not in numbers:
                raise fail(
                    "HP901", f"task '{task.name}' is after '{before}', which is no task"
                )
    try:
        TopologicalSorter({t.name: t.after for t in tasks}).prepare()
    except CycleError as error:
        circle = " after ".join(reversed(error.args[1]))
        raise fail("HP902", f"tasks wait for each other: {circle}") from None
    return numbers


@dataclass
class _Run:
    """One pass over time. Queues hold numbers of tasks; numbers break ties."""

    tasks: list[Task]
    numbers: dict[str, int]
    capacity: dict[str, int]

    def __post_init__(self) -> None:
        count = len(self.tasks)
        self.missing = [len(set(task.after)) for task in self.tasks]
        self.next: list[list[int]] = [[] for _ in range(count)]
        for number, task in enumerate(self.tasks):
            for before in dict.fromkeys(task.after):
                self.next[self.numbers[before]].append(number)
        self.needs = [
            tuple(dict.fromkeys((t.lane, *t.holds) if t.lane else t.holds))
            for t in self.tasks
        ]
        self.used: dict[str, int] = {}
        self.freed_by: dict[str, int] = {}
        self.queue: dict[str, list[tuple[float, int]]] = {}
        self.ready: list[float] = [0.0] * count
        self.cause: list[int] = [-1] * count
        self.waited: list[str | None] = [None] * count
        self.starts: list[float] = [0.0] * count
        self.running: list[tuple[float, int]] = []
        self.order: list[int] = []

    def result(self) -> Schedule:
        for number, missing in enumerate(self.missing):
            if not missing:
                self.begin(number, 0.0)
        makespan = 0.0
        while self.running:
            now = makespan = self.running[0][0]
            ended = []
            while self.running and self.running[0][0] == now:
                ended.append(heappop(self.running)[1])
            self.end(ended, now)
        placed = tuple(self.placed(number) for number in self.order)
        by_name = {p.task.name: p for p in placed}
        return Schedule(placed, makespan, by_name)

    def placed(self, number: int) -> Placed:
        task, start, cause = self.tasks[number], self.starts[number], self.cause[number]
        name = self.tasks[cause].name if cause >= 0 else None
        return Placed(task, start, start + task.seconds, name, self.waited[number])

    def begin(self, number: int, now: float) -> bool:
        """Start the task, or queue it at what it has to wait for."""
        for need in self.needs[number]:
            if self.used.get(need, 0) >= self.capacity.get(need, 1):
                entry = (self.ready[number], number)
                heappush(self.queue.setdefault(need, []), entry)
                self.waited[number] = need
                return False
        for need in self.needs[number]:
            self.used[need] = self.used.get(need, 0) + 1
        waited = self.waited[number]
        if waited is not None:
            self.cause[number] = self.freed_by[waited]
        self.starts[number] = now
        self.order.append(number)
        heappush(self.running, (now + self.tasks[number].seconds, number))
        return True

    def end(self, ended: list[int], now: float) -> None:
        """All that end at the same time end before anything begins."""
        freed: dict[str, None] = {}
        ready: list[int] = []
        for number in ended:
            for need in self.needs[number]:
                self.used[need] -= 1
                self.freed_by[need] = number
                freed[need] = None
            for after in self.next[number]:
                self.missing[after] -= 1
                self.cause[after] = number
                self.ready[after] = now
                if not self.missing[after]:
                    ready.append(after)
        # Who waited for a resource was there before who has just become ready.
        for need in freed:
            queue = self.queue.get(need, [])
            while queue and self.used[need] < self.capacity.get(need, 1):
                self.begin(heappop(queue)[1], now)
        for number in sorted(ready):
            self.begin(number, now)
