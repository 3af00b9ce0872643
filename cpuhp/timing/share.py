"""What one walk over a section costs, shared out among the rows of the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cpuhp.model.table import HotplugState
from cpuhp.timing.costs import Cost, CostTable
from cpuhp.timing.points import DOWN

WALK = "cpuhp"  # the hotplug thread: its whole walk over the ONLINE section


def of_rows(
    costs: CostTable, rows: Sequence[HotplugState], trace: CostTable | None = None
) -> tuple[CostTable, dict[int, float]]:
    """The costs with one for each teardown, and the seconds of each row by number.

    If the costs know the whole walk only, the rows share it: as they do in `trace`, or
    else in equal parts. Without the walk they cost what `costs` says of each.
    """
    own = {row.number: _cost(costs, row) for row in rows}
    whole = costs.costs.get(WALK)
    if whole is None or any(cost is not None for cost in own.values()):
        return costs, {n: c.seconds if c else 0.0 for n, c in own.items()}
    seen = {row.number: _cost(trace, row) if trace else None for row in rows}
    parts = {n: c.seconds if c else 0.0 for n, c in seen.items()}
    total = sum(parts.values())
    if not total:
        parts, total = {n: 1.0 for n in parts}, float(len(parts))
    seconds = {n: whole.seconds * part / total for n, part in parts.items()}
    rest = {name: cost for name, cost in costs.costs.items() if name != WALK}
    for row in rows:
        key = f"{row.label} {DOWN}"
        rest[key] = Cost(seconds[row.number], source=f"its part of {WALK}")
    return replace(costs, costs=rest), seconds


def _cost(costs: CostTable, row: HotplugState) -> Cost | None:
    for name in (row.name, row.enumerator, str(row.number)):
        if name and f"{name} {DOWN}" in costs.costs:
            return costs.costs[f"{name} {DOWN}"]
    return None
