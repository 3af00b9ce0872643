"""Is there a machine that begins as a spec assumes? Of others every claim holds.

A slice has those assumptions only that it has a use for, so it cannot tell.
"""

from __future__ import annotations

from math import prod

from cpuhp.diagnostics import fail
from cpuhp.language.build import assumed
from cpuhp.language.compile import Lowered
from cpuhp.semantics import Machine, initial_states
from cpuhp.semantics.steps import is_free

CPUS = range(1, 9)
MANY = 100_000  # beginnings: more are not looked through


def demand_a_beginning(lowered: Lowered) -> None:
    """Raises InputError HP507 if no machine with up to 8 CPUs begins as is assumed."""
    assumptions = lowered.program.assumptions
    if not assumptions:
        return
    if not any(begins(lowered, cpus) for cpus in CPUS):
        raise fail(
            "HP507",
            f"no machine with up to {max(CPUS)} CPUs begins as is assumed",
            assumptions[0].span,
            help="a variable has its first value unless it is `= any` or const",
        )


def begins(lowered: Lowered, cpus: int) -> bool:
    """Whether a machine with so many CPUs begins as is assumed.

    Also if there are too many ways to try them all.
    """
    if not lowered.program.assumptions:
        return True
    machine = Machine(assumed(lowered), cpus, 0)
    free = (v for v, _ in machine.cells if is_free(v))
    if prod(len(machine.values(v.sort)) for v in free) > MANY:
        return True
    return next(initial_states(machine), None) is not None
