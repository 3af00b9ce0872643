"""What one walk over a section costs, shared out among the rows of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cpuhp.model.table import HotplugState
from cpuhp.timing.costs import Cost, CostTable
from cpuhp.timing.points import DOWN

WALK = "cpuhp"  # the hotplug thread: its whole walk over the ONLINE section


def of_rows(
    costs: CostTable,
    rows: Sequence[HotplugState],
    functions: Mapping[int, str],
    trace: CostTable | None = None,
) -> tuple[CostTable, dict[int, float]]:
    """The costs with one for each teardown, and the seconds of each row by number.

    `functions` are the teardowns that have a model, by number; a cost may have the name
    of one. If the costs know the whole walk, the rows share it: as they do in `trace`,
    or else in equal parts, beside what `costs` says of each. Without the walk they cost
    that alone.
    """
    own = {row.number: _cost(costs, row, functions) or Cost(0.0) for row in rows}
    whole = costs.costs.get(WALK)
    if whole is None:
        return costs, {n: c.seconds for n, c in own.items()}
    seen = {row.number: _cost(trace, row, functions) if trace else None for row in rows}
    parts = {n: c.seconds if c else 0.0 for n, c in seen.items()}
    total = sum(parts.values())
    if not total:
        parts, total = {n: 1.0 for n in parts}, float(len(parts))
    rest = {name: cost for name, cost in costs.costs.items() if name != WALK}
    for row in rows:
        part = whole.seconds * parts[row.number] / total
        rest[f"{row.label} {DOWN}"] = _longer(own[row.number], part)
    return replace(costs, costs=rest), {
        row.number: rest[f"{row.label} {DOWN}"].seconds for row in rows
    }


def _longer(cost: Cost, part: float) -> Cost:
    """The cost and a part of the walk, for runs without chance."""
    return Cost(
        cost.seconds + part,
        inclusive=cost.inclusive,
        cpus=cost.cpus,
        otherwise=cost.otherwise + part,
        source=f"its part of {WALK}",
    )


def _cost(
    costs: CostTable, row: HotplugState, functions: Mapping[int, str]
) -> Cost | None:
    for name in (row.name, row.enumerator, str(row.number)):
        if name and f"{name} {DOWN}" in costs.costs:
            return costs.costs[f"{name} {DOWN}"]
    return costs.costs.get(functions.get(row.number, ""))
