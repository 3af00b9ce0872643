"""What a step costs: a number of seconds, or a distribution of such numbers."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from cpuhp.diagnostics import Span

_P99 = 2.3263478740408408  # the 99th percentile of the standard normal distribution


@dataclass(frozen=True, slots=True)
class Cpus:
    """A set of CPUs that is said for any machine: part of the ids, or some ids.

    `low` and `high` are parts of the number of CPUs, 0 to 1; `every` takes each such
    one of them, from the first; `ids` are single CPUs.
    """

    low: float = 0.0
    high: float = 1.0
    every: int = 1
    ids: tuple[int, ...] | None = None

    def has(self, cpu: int, cpus: int) -> bool:
        if self.ids is not None:
            return cpu in self.ids
        first = math.ceil(self.low * cpus - 1e-9)
        return (
            first <= cpu < self.high * cpus - 1e-9 and (cpu - first) % self.every == 0
        )


EVERY_CPU = Cpus()


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds that a step takes.

    `seconds` is the value of a run without chance. A distribution is given by `p99`
    (log-normal; its median is `median`, or `seconds`), by `low` and `high` (uniform), or
    by `values` that were measured (each as likely).

    `inclusive`: the step waits for others, and its seconds include their time; it ends
    no sooner than so many seconds after it began. On other CPUs than `cpus` it takes
    `otherwise`.
    """

    seconds: float
    p99: float | None = None
    low: float | None = None
    high: float | None = None
    values: tuple[float, ...] = ()
    inclusive: bool = False
    cpus: Cpus = EVERY_CPU
    otherwise: float = 0.0
    source: str = ""
    median: float | None = None
    span: Span | None = field(default=None, compare=False)

    @property
    def is_random(self) -> bool:
        return self.p99 is not None or self.low is not None or bool(self.values)

    def of(self, cpu: int, cpus: int, chance: random.Random | None = None) -> float:
        """Seconds on this CPU of so many; drawn with `chance`, if it is given."""
        if self.cpus is not EVERY_CPU and not self.cpus.has(cpu, cpus):
            return self.otherwise
        if chance is None or not self.is_random:
            return self.seconds
        if self.values:
            return chance.choice(self.values)
        if self.p99 is not None:
            median = self.seconds if self.median is None else self.median
            sigma = math.log(self.p99 / median) / _P99
            return median * math.exp(chance.gauss(0.0, sigma))
        assert self.low is not None and self.high is not None
        return chance.uniform(self.low, self.high)


@dataclass(frozen=True)
class CostTable:
    """Costs by the name of what they are of, and what belongs with them.

    A name is a callback, a function, a process or a label of the scenario, one of those
    and a variable that it writes (`device.begun`), or a hotplug state with a direction:
    `sched:active teardown`, `CPUHP_AP_ACTIVE startup`, `191 startup`. `options` and `constants` say what the machine is like; `cpus` how
    many it had.
    """

    name: str
    costs: Mapping[str, Cost]
    options: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, Cpus] = field(default_factory=dict)
    cpus: int | None = None
    source: str = ""
    parameters: Mapping[str, float] = field(default_factory=dict)  # in seconds

    @cached_property
    def is_random(self) -> bool:
        return any(cost.is_random for cost in self.costs.values())

    def beyond(self, cpus: int) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Costs and constants that name CPUs which so many do not have, with those CPUs."""
        sets = {n: c.cpus for n, c in self.costs.items() if c.seconds or c.otherwise}
        found = []
        for name, chosen in (*sets.items(), *self.constants.items()):
            ids = tuple(cpu for cpu in chosen.ids or () if cpu >= cpus)
            if ids:
                found.append((name, ids))
        return tuple(found)

    def without(self, name: str) -> CostTable:
        """The same, with a step that costs nothing."""
        free = replace(self.costs[name], seconds=0.0, otherwise=0.0, p99=None, low=None)
        return replace(
            self, costs={**self.costs, name: replace(free, high=None, values=())}
        )


NO_COSTS = CostTable("no costs", {})
