"""Estimates as text for people and as data for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from cpuhp.timing.costs import CostTable
from cpuhp.timing.estimate import Estimate, Point, Scaling, Sweep
from cpuhp.timing.schedule import Placed

SHOWN = 12
PERIOD = 128  # longest round of a loop that is looked for

Row = tuple[Placed, Placed, int]  # first and last of a step's turns, how many


def seconds(value: float) -> str:
    """A time in the unit in which it is read best."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if abs(value) * factor >= 0.9995:
            digits = 3 if abs(value) * factor < 100 else 1
            return f"{value * factor:.{digits}f} {unit}"
    return "0" if value == 0 else f"{value * 1e9:.0f} ns"


def percent(part: float) -> str:
    shown = f"{part * 100:.1f}"
    return "<0.1 %" if shown == "0.0" and part > 0 else f"{shown} %"


# -- text --------------------------------------------------------------------------


def text(found: Estimate) -> str:
    """The estimate on a screen."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Estimate) -> Iterator[str]:
    yield f"{found.scenario} on {found.cpus} CPUs, order {found.table}"
    yield f"costs: {found.costs.name}" + (
        f" ({found.costs.source})" if found.costs.source else ""
    )
    yield ""
    yield f"makespan         {seconds(found.makespan)}"
    yield f"work             {seconds(found.work)} of all CPUs together"
    yield f"utilisation      {percent(found.utilisation)} of the CPUs' time"
    yield f"serial fraction  {percent(found.serial_fraction)} of the makespan one CPU " \
          "works alone"  # fmt: skip
    if found.sampled is not None:
        told = found.sampled
        yield (
            f"drawn            {told.count} runs, seed {told.seed}: mean "
            f"{seconds(told.mean)}, p50 {seconds(told.p50)}, p99 {seconds(told.p99)}"
        )
    if len(found.phases) > 1:
        yield ""
        yield "phases of the control task"
        for phase in found.phases[:SHOWN]:
            yield f"  {seconds(phase.start):>11} .. {seconds(phase.end):>11}  {phase.name}"
        if len(found.phases) > SHOWN:
            yield f"  ... and {len(found.phases) - SHOWN} more"
    if found.helps:
        yield ""
        yield from _critical(found)
        yield ""
        yield from _helps(found)
    yield from _missing(found)
    if not found.costs.costs:
        yield ""
        yield "No costs for this scenario are shipped: give some with --costs or --trace."


def _critical(found: Estimate) -> Iterator[str]:
    yield "critical path"
    parts = folded(condensed(found.schedule.critical_path))
    cut = len(parts) > SHOWN
    shown = [*parts[: SHOWN // 2], *parts[-SHOWN // 2 :]] if cut else parts
    for number, (rounds, rows) in enumerate(shown):
        if cut and number == SHOWN // 2:
            yield f"  ... {len(parts) - SHOWN} more parts"
        first, last = rows[0][0], rows[-1][1]
        span = f"  {seconds(first.start):>11} .. {seconds(last.end):>11}  "
        if rounds == 1:
            yield span + _told(rows)
            continue
        yield f"{span}{rounds} times:"
        yield from _rounds(rounds, rows)


def _rounds(rounds: int, rows: Sequence[Row]) -> Iterator[str]:
    """The steps of a loop with the seconds of all rounds; only the longest of many."""
    each = len(rows) // rounds
    steps = [rows[at::each] for at in range(each)]
    totals = [sum(last.end - first.start for first, last, _ in same) for same in steps]
    longest = sorted(range(each), key=lambda at: (-totals[at], at))[:SHOWN]
    for at in sorted(longest):
        yield f"{seconds(totals[at]):>28}    {_told(steps[at])}"
    if each > SHOWN:
        rest = sum(totals) - sum(totals[at] for at in longest)
        yield f"{seconds(rest):>28}    {each - SHOWN} shorter steps"


def _told(rows: Sequence[Row]) -> str:
    """A step, where it ran, and what it had waited for."""
    first, last = rows[0][0], rows[-1][1]
    lane = first.task.lane
    if last.task.lane != lane:
        lane += f" .. {last.task.lane.rpartition('/')[2]}"
    count = rows[0][2]
    times = f", {count} times" if count > 1 else ""
    waits = {row[0].waited_for for row in rows} - {None}
    waited = f", after {' or '.join(sorted(map(str, waits)))}" if waits else ""
    return f"{first.task.step} ({lane}{times}{waited})"


def folded(rows: Sequence[Row]) -> list[tuple[int, tuple[Row, ...]]]:
    """Rows, where the same ones come round three times or more as one part.

    A part is a number of rounds and the rows of all rounds.
    """
    keys = [(row[0].task.step, _kind(row[0])) for row in rows]
    parts: list[tuple[int, tuple[Row, ...]]] = []
    at = 0
    while at < len(rows):
        best = (1, 1)  # rounds, length of a round
        for length in range(1, PERIOD + 1):
            if keys[at + length : at + length + 1] != keys[at : at + 1]:
                continue
            rounds = 1
            while (
                keys[at + rounds * length : at + (rounds + 1) * length]
                == keys[at : at + length]
            ):
                rounds += 1
            if rounds >= 3 and rounds * length > best[0] * best[1]:
                best = (rounds, length)
        end = at + best[0] * best[1]
        parts.append((best[0], tuple(rows[at:end])))
        at = end
    return parts


def condensed(path: Sequence[Placed]) -> list[Row]:
    """Parts of a path in which one step follows itself, on one CPU or the next."""
    rows: list[Row] = []
    for placed in path:
        if rows and _alike(rows[-1][1], placed):
            rows[-1] = (rows[-1][0], placed, rows[-1][2] + 1)
        else:
            rows.append((placed, placed, 1))
    return rows


def _alike(one: Placed, other: Placed) -> bool:
    return one.task.step == other.task.step and _kind(one) == _kind(other)


def _kind(placed: Placed) -> str:
    """Its lane, without the number of the CPU."""
    lane = placed.task.lane
    return lane.rpartition("/")[0] or lane


def _helps(found: Estimate) -> Iterator[str]:
    yield "what would help most"
    yield "  on the path    share  times   without it  step"
    for help_ in found.helps[:SHOWN]:
        without = "-" if help_.without is None else seconds(help_.without)
        share = percent(help_.on_path / found.makespan) if found.makespan else "-"
        yield f"  {seconds(help_.on_path):>11} {share:>8} {help_.times:6} " \
              f"{without:>12}  {help_.step}"  # fmt: skip


def _missing(found: Estimate) -> Iterator[str]:
    if found.without_cost:
        names = [name for name, _ in found.without_cost]
        yield ""
        yield f"{len(names)} steps ran without a cost: {_some(names)}"
    if found.unused:
        count = len(found.unused)
        which = "the longest first: " if count > 1 else ""
        yield f"{count} costs are of steps that did not run: {which}{_some(found.unused)}"
    yield from not_there(found.costs, found.cpus)


def not_there(costs: CostTable, cpus: int) -> Iterator[str]:
    """Which costs a machine of so many CPUs has no part for: one line, or none."""
    names = [f"{name} ({_ids(ids)})" for name, ids in costs.beyond(cpus)]
    if names:
        yield f"costs of CPUs that a machine of {cpus} does not have: {_some(names)}"


def _ids(cpus: Sequence[int]) -> str:
    """CPUs as a list of ranges: `CPU 8-127,200`."""
    ranges: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if ranges and ranges[-1][1] == cpu - 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    told = [str(a) if a == b else f"{a}-{b}" for a, b in ranges]
    return "CPU " + ",".join(told)


def _some(names: Iterable[str], most: int = 6) -> str:
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def sweep_text(title: str, costs: CostTable, found: Sweep, cpus: int) -> str:
    """A sweep as a table, with the exponents; `cpus` has the smallest machine."""
    lines = [title, f"costs: {costs.name}", ""]
    unit = "CPUs" if found.name == "cpus" else found.name
    lines.append(
        f"{unit:>12} {'makespan':>12}    {'each':>11}  most of the critical path"
    )
    for point in found.points:
        lines.append(_row(found.name, point))
    lines += ["", *(_scaling(s) for s in (found.whole, found.upper) if s is not None)]
    if any(point.continued for point in found.points):
        lines.append("~ not run: the straight line of the points before it, continued")
        lines += _not_in_line(costs, found)
    lines += not_there(costs, cpus)
    return "\n".join(lines).rstrip() + "\n"


def _not_in_line(costs: CostTable, found: Sweep) -> Iterator[str]:
    """Costs of CPUs that points of a line have, and none of the points it comes from."""
    ran = max(int(p.value) for p in found.points if not p.continued)
    last = int(found.points[-1].value)
    names = [name for name, ids in costs.beyond(ran) if min(ids) < last]
    if names:
        yield f"which has no part for CPUs above {ran - 1}, as in: {_some(names)}"


def _row(name: str, point: Point) -> str:
    value = f"{point.value:g}" if name == "cpus" else seconds(point.value)
    mark = "~" if point.continued else " "
    each = seconds(point.makespan / point.value) if name == "cpus" else ""
    return (
        f"{value:>12} {seconds(point.makespan):>12} {mark}  {each:>11}  {point.on_path}"
    ).rstrip()


def _scaling(found: Scaling) -> str:
    return (
        f"exponent {found.exponent:.3f} from {found.first:g} to {found.last:g} "
        f"(makespan ~ x^{found.exponent:.3f}; a point is off by a factor of "
        f"{found.worst:.2f} at most)"
    )


# -- data --------------------------------------------------------------------------


def data(found: Estimate) -> dict[str, Any]:
    """The estimate as JSON data; docs/estimate.md tells the fields."""
    path = found.schedule.critical_path
    return {
        "scenario": found.scenario,
        "order": found.table,
        "costs": {"name": found.costs.name, "source": found.costs.source},
        "cpus": found.cpus,
        "makespan": found.makespan,
        "work": found.work,
        "utilisation": found.utilisation,
        "serial_fraction": found.serial_fraction,
        "phases": [asdict(phase) for phase in found.phases],
        "critical_path": [
            {
                "step": p.task.step,
                "lane": p.task.lane,
                "start": p.start,
                "end": p.end,
                "waited_for": p.waited_for,
            }
            for p in path
        ],
        "helps": [asdict(help_) for help_ in found.helps],
        "without_cost": dict(found.without_cost),
        "unused_costs": list(found.unused),
        **beyond_data(found.costs, found.cpus),
        "sampled": asdict(found.sampled) if found.sampled else None,
    }


def beyond_data(costs: CostTable, cpus: int) -> dict[str, Any]:
    """What `not_there` tells, as JSON data."""
    return {"costs_beyond": {name: list(ids) for name, ids in costs.beyond(cpus)}}


def sweep_data(
    scenario: str, costs: CostTable, found: Sweep, cpus: int
) -> dict[str, Any]:
    """A sweep as JSON data; `cpus` has the smallest machine."""
    return {
        "scenario": scenario,
        "costs": costs.name,
        "over": found.name,
        "points": [asdict(point) for point in found.points],
        "exponents": [asdict(s) for s in (found.whole, found.upper) if s is not None],
        **beyond_data(costs, cpus),
    }
