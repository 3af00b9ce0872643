"""Costs out of a trace: the durations that a real machine's callbacks had."""

from __future__ import annotations

from collections.abc import Iterable

from cpuhp.graph.footprint import Footprints
from cpuhp.kernel.conform import Conformance
from cpuhp.timing.costs import Cost, CostTable
from cpuhp.timing.points import DOWN, UP


def measured(answer: Conformance, name: str, waiting: Iterable[str]) -> CostTable:
    """The cost of each step of the trace: its median, and its p99 for drawing.

    `waiting` names callbacks that wait for others: what was measured of them includes
    that time. A step goes by the name of its function and by that of its state.
    """
    costs: dict[str, Cost] = {}
    inclusive = frozenset(waiting)
    for step in answer.costs:
        if not step.calls:
            continue
        median = max(step.median, 0.0)
        cost = Cost(
            median,
            p99=step.p99 if 0 < median < step.p99 else None,
            inclusive=step.function in inclusive,
            source=f"{name}: {step.calls} calls",
        )
        state = answer.names.get(step.step) or str(step.step)
        costs[step.function] = cost
        costs[f"{state} {UP if step.up else DOWN}"] = cost
    return CostTable(name, costs, source="measured: median of all calls and CPUs")


def waits_for_others(found: Footprints) -> frozenset[str]:
    """Callbacks of a program that wait for more than locks."""
    return frozenset(
        access.step
        for access in found.accesses
        if access.waits and found.steps[access.step].callback is not None
    )
