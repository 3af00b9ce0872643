"""Is there a machine that begins as a spec assumes? If none does, every claim holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import prod

from cpuhp.diagnostics import fail
from cpuhp.language.build import assumed
from cpuhp.language.compile import Lowered
from cpuhp.model.system import TransitionSystem
from cpuhp.semantics import Machine, initial_states
from cpuhp.semantics.steps import is_free

CPUS = range(1, 9)
MANY = 100_000  # beginnings: more are not looked through


class Beginnings:
    """The machines that begin as a program assumes, by their number of CPUs."""

    def __init__(self, lowered: Lowered):
        self._assumptions = lowered.program.assumptions
        self._system = assumed(lowered)
        self._known: dict[int, bool] = {}

    def there_are(self, cpus: int) -> bool:
        """Whether one has so many CPUs; also if there are too many ways to try."""
        if cpus not in self._known:
            self._known[cpus] = not self._assumptions or _begins(self._system, cpus)
        return self._known[cpus]

    def demand(self, cpus: int | None = None) -> None:
        """Raises InputError HP507 if no machine with so many CPUs begins like that.

        Without a number: if none with up to 8 CPUs does.
        """
        counts = CPUS if cpus is None else (cpus,)
        if any(map(self.there_are, counts)):
            return
        many = f"up to {max(CPUS)} CPUs" if cpus is None else f"{cpus} CPUs"
        first = "a variable has its first value unless it is `= any` or const"
        raise fail(
            "HP507",
            f"no machine with {many} begins as is assumed",
            self._assumptions[self._too_much(counts)].span,
            help=first if cpus is None else "another number of CPUs may do",
        )

    def _too_much(self, counts: Iterable[int]) -> int:
        """The first assumption that cannot be fulfilled together with those before."""
        for number in range(len(self._assumptions)):
            some = self._system.assumptions[: number + 1]
            system = replace(self._system, assumptions=some)
            if not any(_begins(system, cpus) for cpus in counts):
                return number
        return 0


def _begins(system: TransitionSystem, cpus: int) -> bool:
    machine = Machine(system, cpus, 0)
    free = (v for v, _ in machine.cells if is_free(v))
    if prod(len(machine.values(v.sort)) for v in free) > MANY:
        return True
    return next(initial_states(machine), None) is not None
