"""What is told of a scenario's run against the clock: how long, why, and what helps."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, linear_regression

from cpuhp.timing.costs import CostTable
from cpuhp.timing.points import DOWN, UP
from cpuhp.timing.schedule import Placed, Schedule, Task, alone
from cpuhp.timing.simulate import Model, Run, Span, simulate

DOMINANT = 0.7  # part of a phase that makes a part of it worth to be split
HELPS = 8  # steps of the critical path whose removal is tried
_TRIED = 4_000_000  # steps of all those runs together
_SWEPT = 1_500_000  # steps after which a sweep goes on without running, if it may


@dataclass(frozen=True, slots=True)
class PhaseTime:
    """A function of the control task, from when to when it ran, in seconds."""

    name: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Help:
    """A step of the critical path, and what it would bring to be rid of it.

    `on_path`: seconds and number of times on the critical path; the number is the
    derivative of the makespan by the step's cost. `without` is the makespan if the step
    cost nothing, None if that was not tried.
    """

    step: str
    on_path: float
    times: int
    without: float | None


@dataclass(frozen=True, slots=True)
class Sampled:
    """Makespans of runs with costs drawn from their distributions, in seconds."""

    count: int
    seed: int
    mean: float
    p50: float
    p99: float
    least: float
    most: float


@dataclass(frozen=True, repr=False)
class Estimate:
    """The answer for one number of CPUs. Times in seconds."""

    scenario: str
    table: str
    costs: CostTable
    cpus: int
    makespan: float
    schedule: Schedule
    phases: tuple[PhaseTime, ...]
    utilisation: float  # part of all CPUs' time that is spent in steps, 0 to 1
    serial_fraction: float  # part of the makespan in which one CPU alone works, 0 to 1
    work: float  # seconds of all steps together
    helps: tuple[Help, ...]
    without_cost: tuple[tuple[str, int], ...]  # steps that ran for nothing, how often
    unused: tuple[str, ...]  # costs of steps that did not run
    sampled: Sampled | None = None

    def __repr__(self) -> str:
        return f"{self.scenario} on {self.cpus} CPUs: {self.makespan:.6g} s"


def estimate(
    model: Model,
    scenario: str,
    cpus: int,
    costs: CostTable,
    *,
    samples: int = 0,
    seed: int = 0,
) -> Estimate:
    """Run the scenario on so many CPUs and explain the time it takes.

    With `samples` the costs that are distributions are drawn so many times. Raises
    InputError HP91x if the scenario cannot be run (see `simulate`).
    """
    run = simulate(model, cpus, costs)
    schedule = as_schedule(run)
    busy = _own_time(run.spans)
    work = sum(end - start for start, end in busy)
    whole = run.makespan
    return Estimate(
        scenario,
        model.lowered.program.table.name,
        costs,
        cpus,
        whole,
        schedule,
        tuple(_phases(run)),
        work / (whole * cpus) if whole else 0.0,
        alone(busy, whole),
        work,
        tuple(_helps(model, cpus, costs, run, schedule)),
        tuple(run.without_cost.items()),
        unused(model, costs, run),
        _sampled(model, cpus, costs, samples, seed) if samples else None,
    )


def as_schedule(run: Run) -> Schedule:
    """The run as tasks with their times and causes."""
    names = [f"{span.step} #{number}" for number, span in enumerate(run.spans)]
    placed = []
    for name, span in zip(names, run.spans):
        cause = names[span.cause] if span.cause is not None else None
        after = (cause,) if cause else ()
        task = Task(name, span.end - span.start, lane_of(span), span.step, after)
        placed.append(Placed(task, span.start, span.end, cause, span.waited_for))
    by_name = {p.task.name: p for p in placed}
    return Schedule(tuple(placed), run.makespan, by_name)


def lane_of(span: Span) -> str:
    """Who ran it, for people."""
    return "control CPU" if span.cpu is None else f"{span.process}/{span.cpu}"


def _own_time(spans: Iterable[Span]) -> list[tuple[float, float]]:
    """When CPUs work, as intervals; what overlaps on one CPU counts once."""
    found: list[tuple[float, float]] = []
    until: dict[int, float] = {}
    for span in sorted(spans, key=lambda s: (s.start, s.end)):
        cpu = span.cpu or 0
        start = max(span.start, until.get(cpu, 0.0))
        if span.end > start:
            found.append((start, span.end))
            until[cpu] = span.end
    return found


# -- phases ------------------------------------------------------------------------


def _phases(run: Run) -> list[PhaseTime]:
    """Functions of the control task, split where one is nearly everything."""
    marks = [*run.control, (run.makespan, ())]
    pieces = [
        (start, end, places)
        for (start, places), (end, _) in zip(marks, marks[1:])
        if end > start
    ]
    return _split(pieces, 0)


_Piece = tuple[float, float, tuple[str, ...]]


def _split(pieces: list[_Piece], depth: int) -> list[PhaseTime]:
    groups: list[list[_Piece]] = []
    for piece in pieces:
        name = _name(piece, depth)
        if groups and _name(groups[-1][-1], depth) == name:
            groups[-1].append(piece)
        else:
            groups.append([piece])
    total = pieces[-1][1] - pieces[0][0] if pieces else 0.0
    found: list[PhaseTime] = []
    for group in groups:
        start, end = group[0][0], group[-1][1]
        deeper = {_name(piece, depth + 1) for piece in group}
        kinds = deeper - {_name(group[0], depth)}
        if end - start >= DOMINANT * total and kinds and _in_order(group, depth + 1):
            found += _split(group, depth + 1)
        else:
            found.append(PhaseTime(_name(group[0], depth), start, end))
    return found


def _name(piece: _Piece, depth: int) -> str:
    places = piece[2]
    return places[min(depth, len(places) - 1)] if places else ""


def _in_order(group: list[_Piece], depth: int) -> bool:
    """No function comes back after another one: they are phases, not a loop's body."""
    seen: list[str] = []
    for piece in group:
        name = _name(piece, depth)
        if seen and seen[-1] == name:
            continue
        if name in seen:
            return False
        seen.append(name)
    return True


# -- what helps, what is missing -----------------------------------------------------


def _helps(
    model: Model, cpus: int, costs: CostTable, run: Run, schedule: Schedule
) -> Iterable[Help]:
    keys = {span.step: span.key for span in run.spans}
    tried = 0
    for step, (seconds, times) in schedule.on_path().items():
        without = None
        if tried < HELPS and run.steps * (tried + 1) <= _TRIED:
            without = simulate(model, cpus, costs.without(keys[step])).makespan
        tried += 1
        yield Help(step, seconds, times, without)


def unused(model: Model, costs: CostTable, run: Run) -> tuple[str, ...]:
    """Costs of steps that did not run, the longest first, and constants of no variable.

    A cost goes by the first of its names. Those of startups are of no interest where
    only teardowns ran, and the other way round.
    """
    names: dict[int, list[str]] = {}
    for name, cost in costs.costs.items():
        names.setdefault(id(cost), []).append(name)
    ran = {id(costs.costs[key]) for key in run.with_cost}
    ways = _ways(name for each in ran for name in names[each])
    found: list[str] = []
    for each, known in names.items():
        cost, way = costs.costs[known[0]], _ways(known)
        other = bool(ways and way and not ways & way)
        if each not in ran and not other and (cost.seconds or cost.otherwise):
            found.append(known[0])
    found.sort(key=lambda name: (-costs.costs[name].seconds, name))
    opened = {v.name for v in model.system.variables if v.initial is None}
    return (*found, *sorted(costs.constants.keys() - opened))


def _ways(names: Iterable[str]) -> frozenset[str]:
    """Directions that the names of costs tell."""
    return frozenset(name.rpartition(" ")[2] for name in names) & {UP, DOWN}


def _sampled(
    model: Model, cpus: int, costs: CostTable, samples: int, seed: int
) -> Sampled:
    found = []
    for number in range(samples):
        chance = random.Random(f"{seed}/{number}")
        found.append(simulate(model, cpus, costs, chance).makespan)
    found.sort()

    def quantile(part: float) -> float:
        return found[max(0, math.ceil(part * len(found)) - 1)]

    return Sampled(samples, seed, fmean(found), quantile(0.5), quantile(0.99),
                   found[0], found[-1])  # fmt: skip


# -- sweeps --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a sweep. `continued`: not run, but continued from the points before.

    `on_path` names the step that takes most of the critical path ("" if continued).
    """

    value: float
    makespan: float
    steps: int
    on_path: str
    continued: bool = False


@dataclass(frozen=True, slots=True)
class Scaling:
    """makespan ~ value ** exponent, fitted log-log between two values of a sweep.

    `worst` is the largest factor by which the fit and a point differ.
    """

    exponent: float
    first: float
    last: float
    worst: float


@dataclass(frozen=True)
class Sweep:
    """Makespans over numbers of CPUs, or over values of a parameter."""

    name: str
    points: tuple[Point, ...]
    whole: Scaling | None
    upper: Scaling | None  # the upper half of the points alone


def sweep_cpus(model: Model, counts: Sequence[int], costs: CostTable) -> Sweep:
    """Makespans for growing numbers of CPUs.

    Where a run would be long (a scenario in which all CPUs take part in each CPU's turn
    is quadratic) and the last three points lie on a straight line to 9 digits, the line
    is continued, and the point says so.
    """
    points: list[Point] = []
    for count in sorted(set(counts)):
        line = _line(points)
        if line is not None and _steps(points, count) > _SWEPT:
            slope, offset = line
            points.append(Point(count, slope * count + offset, 0, "", True))
            continue
        run = simulate(model, count, costs)
        points.append(Point(count, run.makespan, run.steps, top_step(run)))
    return Sweep("cpus", tuple(points), *scalings(points))


def top_step(run: Run) -> str:
    """The step that takes most of the critical path."""
    seconds: dict[str, float] = {}
    at = run.last
    while at is not None:
        span = run.spans[at]
        seconds[span.step] = seconds.get(span.step, 0.0) + span.end - span.start
        at = span.cause
    return max(seconds, key=lambda step: (seconds[step], step), default="")


def _steps(points: Sequence[Point], count: int) -> float:
    """How many steps a run would have, if they grow as between the last two runs."""
    ran = [p for p in points if not p.continued]
    if len(ran) < 2:
        return 0.0
    one, two = ran[-2:]
    power = math.log(two.steps / one.steps) / math.log(two.value / one.value)
    return float(two.steps * (count / two.value) ** power)


def _line(points: Sequence[Point]) -> tuple[float, float] | None:
    if len(points) < 3:
        return None
    a, b, c = points[-3:]
    slope = (c.makespan - b.makespan) / (c.value - b.value)
    before = (b.makespan - a.makespan) / (b.value - a.value)
    if slope <= 0 or abs(slope - before) > 1e-9 * slope:
        return None
    return slope, c.makespan - slope * c.value


def scalings(points: Sequence[Point]) -> tuple[Scaling | None, Scaling | None]:
    """The fit over all points, and over their upper half."""
    return _fit(points), _fit(points[len(points) // 2 :])


def _fit(points: Sequence[Point]) -> Scaling | None:
    used = [p for p in points if p.value > 0 and p.makespan > 0]
    if len(used) < 2:
        return None
    xs = [math.log(p.value) for p in used]
    ys = [math.log(p.makespan) for p in used]
    slope, offset = linear_regression(xs, ys)
    worst = max(abs(y - slope * x - offset) for x, y in zip(xs, ys))
    return Scaling(slope, used[0].value, used[-1].value, math.exp(worst))
