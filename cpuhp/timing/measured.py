"""Costs out of a trace: the durations that a real machine's callbacks had."""

from __future__ import annotations

from collections.abc import Iterable

from cpuhp.graph.footprint import Footprints
from cpuhp.kernel.traces.conform import Conformance
from cpuhp.kernel.traces.operations import OperationKind
from cpuhp.timing.costs import Cost, CostTable
from cpuhp.timing.points import DOWN, UP


def measured(answer: Conformance, name: str, waiting: Iterable[str]) -> CostTable:
    """The cost of each step of the trace: the mean, since what follows each other adds up.

    Drawn are values of a log-normal distribution with the median and p99 of the calls.
    A step with several instances is called for each of them, and costs them all. Of
    callbacks in `waiting`, which wait for others, that time was measured, too. A step
    goes by the name of its function and by that of its state.
    """
    costs: dict[str, Cost] = {}
    inclusive = frozenset(waiting)
    walks = {
        True: _complete(answer, OperationKind.BRINGUP),
        False: _complete(answer, OperationKind.TEAR_DOWN),
    }
    for step in answer.costs:
        if not step.calls:
            continue
        instances = max(1, round(step.calls / max(1, walks[step.up])))
        median, p99 = step.median * instances, step.p99 * instances
        spread = 0 < median < p99
        cost = Cost(
            max(0.0, step.total / step.calls) * instances,
            p99=p99 if spread else None,
            median=median if spread else None,
            inclusive=step.function in inclusive,
            source=f"{name}: {step.calls} calls",
        )
        state = answer.names.get(step.step) or str(step.step)
        costs[step.function] = cost
        costs[f"{state} {UP if step.up else DOWN}"] = cost
    return CostTable(name, costs, source="measured: mean of all calls and CPUs")


def _complete(answer: Conformance, kind: OperationKind) -> int:
    """How many operations of this kind the trace shows from beginning to end."""
    return sum(o.kind is kind and not o.cut for o in answer.operations)


def waits_for_others(found: Footprints) -> frozenset[str]:
    """Callbacks of a program that wait for more than locks."""
    return frozenset(
        access.step
        for access in found.accesses
        if access.waits and found.steps[access.step].callback is not None
    )
