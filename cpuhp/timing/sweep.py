"""What a sweep goes over: numbers of CPUs, or values of a parameter of the costs."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

from cpuhp.diagnostics import InputError, fail
from cpuhp.timing.cost_file import time_of
from cpuhp.timing.estimate import Point, Sweep, scalings, sweep_cpus, top_step
from cpuhp.timing.setup import Setup
from cpuhp.timing.simulate import simulate

MOST_CPUS = 4096
STEPS = 12  # values of a parameter between low and high
_SWEEP = re.compile(r"([A-Za-z_][\w-]*)=(.+)")


def swept(
    setup: Setup, wanted: str, cpus: int, with_parameter: Callable[[str, str], Setup]
) -> Sweep:
    """The makespans that `cpus=2..1024`, `cpus=10,20,40` or `early=1ms..50ms` asks for.

    `with_parameter` makes the setup for a value of a parameter. Raises InputError HP931
    if the text asks for nothing of the kind, HP207 if there is no such parameter.
    """
    match = _SWEEP.fullmatch(wanted.strip())
    if match is None:
        raise _wrong(wanted)
    name, values = match[1].replace("-", "_"), match[2]
    if name == "cpus":
        return sweep_cpus(setup.model, _counts(wanted, values), setup.costs)
    points = []
    for seconds in _times(wanted, values):
        made = with_parameter(name, f"{seconds!r} s")
        run = simulate(made.model, cpus, made.costs)
        points.append(Point(seconds, run.makespan, run.steps, top_step(run)))
    return Sweep(name, tuple(points), *scalings(points))


def _counts(wanted: str, values: str) -> list[int]:
    low, dots, high = values.partition("..")
    first = last = 0
    try:
        if not dots:
            found = [int(value) for value in values.split(",")]
        else:
            first, last = int(low), int(high)
            found = [first << n for n in range(14) if first << n < last] + [last]
    except ValueError:
        raise _wrong(wanted) from None
    ascending = all(a < b for a, b in pairwise(found)) and first <= last
    if not ascending or not 1 <= found[0] <= found[-1] <= MOST_CPUS:
        raise fail(
            "HP931", f"'{wanted}': numbers of CPUs are 1 to {MOST_CPUS}, ascending"
        )
    return found


def _times(wanted: str, values: str) -> list[float]:
    low, dots, high = values.partition("..")
    parts = [low, high] if dots else values.split(",")
    found = [time_of(part.strip()) for part in parts]
    times = [seconds for seconds in found if seconds is not None]
    if len(times) < len(found):
        raise _wrong(wanted)
    if not dots:
        return times
    first, last = times
    if not 0 < first < last:
        raise fail("HP931", f"'{wanted}': from a time above 0 to a longer one")
    factor = (last / first) ** (1 / (STEPS - 1))
    return [first * factor**n for n in range(STEPS - 1)] + [last]


def _wrong(wanted: str) -> InputError:
    return fail(
        "HP931",
        f"'{wanted}' is nothing to sweep over",
        help="'cpus=2..1024', 'cpus=10,20,40', or a parameter: 'early=1ms..50ms'",
    )
