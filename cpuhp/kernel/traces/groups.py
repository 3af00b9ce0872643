"""A registration in a trace: one step on one CPU after the other."""

from __future__ import annotations

from dataclasses import dataclass

from cpuhp.kernel.traces.operations import Call, Operation, OperationKind


@dataclass(slots=True)
class Group:
    """A registration under way: one step, CPU after CPU."""

    calls: list[Call]
    owed: frozenset[int]
    follows_failure: bool
    clean: bool = True


def extends(group: Group, call: Call) -> bool:
    """Is the call the same step, on a CPU further on?"""
    last = group.calls[-1].enter
    return (
        last.step == call.enter.step
        and last.function == call.enter.function
        and last.cpu < call.enter.cpu
    )


def registration(
    group: Group, cpus: tuple[int, ...], failed: int, cut: bool
) -> Operation:
    """The operation that the group is, on these CPUs; `failed` is its error, or 0."""
    first, last = group.calls[0].enter, group.calls[-1].exit
    return Operation(
        OperationKind.REGISTRATION,
        cpus[0],
        cpus,
        first.line,
        last.line,
        first.time,
        last.time,
        None,
        None,
        None,
        len(group.calls),
        False,
        failed,
        first.step if failed else None,
        group.clean,
        cut and failed == 0,
        first.step,
        first.function,
    )
