"""Is there a machine that begins as a spec assumes? If none does, every claim holds."""

from __future__ import annotations

from math import prod

from cpuhp.diagnostics import fail
from cpuhp.language.build import assumed
from cpuhp.language.compile import Lowered
from cpuhp.model.system import TransitionSystem
from cpuhp.semantics import Machine, initial_states
from cpuhp.semantics.steps import is_free

CPUS = range(1, 9)
MANY = 100_000  # beginnings: more are not looked through


def demand_a_beginning(lowered: Lowered) -> None:
    """Raises InputError HP507 if no machine with up to 8 CPUs begins as is assumed."""
    assumptions = lowered.program.assumptions
    if not assumptions:
        return
    system = assumed(lowered)
    if not any(_begins(system, cpus) for cpus in CPUS):
        raise fail(
            "HP507",
            f"no machine with up to {max(CPUS)} CPUs begins as is assumed",
            assumptions[0].span,
            help="a variable has its first value unless it is `= any` or const",
        )


def _begins(system: TransitionSystem, cpus: int) -> bool:
    """Whether some machine does; also if there are too many ways to try them all."""
    machine = Machine(system, cpus, 0)
    free = (v for v, _ in machine.cells if is_free(v))
    if prod(len(machine.values(v.sort)) for v in free) > MANY:
        return True
    return next(initial_states(machine), None) is not None
