"""What a trace tells about time: cost of each step, and what ran at the same time."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cpuhp.kernel.traces.events import Event
from cpuhp.kernel.traces.operations import KICK_WORK, Call


@dataclass(frozen=True, slots=True)
class StepCost:
    """Durations of one callback in seconds, over all calls and per CPU."""

    step: int
    function: str
    up: bool
    calls: int
    median: float
    p99: float
    total: float
    per_cpu: tuple[tuple[int, int, float, float], ...]  # cpu, calls, median, p99


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two steps of different CPUs that ran at the same time, in seconds."""

    first: str
    second: str
    times: int
    total: float
    longest: float


def quantile(values: Sequence[float], fraction: float) -> float:
    """The smallest of the sorted values that is not below a `fraction` of them."""
    at = -(-len(values) * fraction // 1)
    return values[max(0, int(at) - 1)]


class Costs:
    """Collects durations while a trace is read; 10 bytes a call."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[int, str, bool], array[float]] = {}
        self._cpus: dict[tuple[int, str, bool], array[int]] = {}
        self._overlaps: dict[tuple[str, str], list[float]] = {}

    def add(self, call: Call, up: bool) -> None:
        enter = call.enter
        key = (enter.step, enter.function, up)
        seconds = self._seconds.get(key)
        if seconds is None:
            seconds = self._seconds[key] = array("d")
            self._cpus[key] = array("L")
        seconds.append(call.exit.time - enter.time)
        self._cpus[key].append(enter.cpu)

    def overlap(self, call: Call, open_: Iterable[Event]) -> None:
        """Note which calls for other CPUs ran while this one did."""
        enter, exit_ = call
        for other in open_:
            if other.cpu == enter.cpu:
                continue
            seconds = exit_.time - max(enter.time, other.time)
            first, second = sorted((_title(enter), _title(other)))
            entry = self._overlaps.setdefault((first, second), [0.0, 0.0, 0.0])
            entry[0] += 1
            entry[1] += seconds
            entry[2] = max(entry[2], seconds)

    def overlaps(self) -> tuple[Overlap, ...]:
        found = (
            Overlap(first, second, int(n), total, longest)
            for (first, second), (n, total, longest) in self._overlaps.items()
        )
        return tuple(sorted(found, key=lambda o: (-o.total, o.first, o.second)))

    def steps(self) -> tuple[StepCost, ...]:
        return tuple(
            self._cost(key)
            for key in sorted(self._seconds, key=lambda k: (not k[2], k[0], k[1]))
            if key[1] != KICK_WORK
        )

    def _cost(self, key: tuple[int, str, bool]) -> StepCost:
        step, function, up = key
        by_cpu: dict[int, list[float]] = {}
        for cpu, seconds in zip(self._cpus[key], self._seconds[key], strict=True):
            by_cpu.setdefault(cpu, []).append(seconds)
        values = sorted(self._seconds[key])
        rows = []
        for cpu in sorted(by_cpu):
            own = sorted(by_cpu[cpu])
            rows.append((cpu, len(own), quantile(own, 0.5), quantile(own, 0.99)))
        return StepCost(
            step,
            function,
            up,
            len(values),
            quantile(values, 0.5),
            quantile(values, 0.99),
            sum(values),
            tuple(rows),
        )


def _title(event: Event) -> str:
    return f"{event.step} {event.function}"
