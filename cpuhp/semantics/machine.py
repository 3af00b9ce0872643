"""A transition system on a machine with so many CPUs, and how its states lie."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

from cpuhp.diagnostics import fail
from cpuhp.model.sorts import (
    NONE,
    CounterSort,
    EnumSort,
    IndexSort,
    RangeSort,
    Sort,
    values_of,
)
from cpuhp.model.system import (
    Action,
    Process,
    Runs,
    TransitionSystem,
    Variable,
    location_sort,
)


@dataclass(frozen=True, eq=False)
class Machine:
    """CPUs are numbered 0..cpus-1; `boot` is the control CPU.

    A state is a flat tuple of ints: variable by variable as declared, each row-major
    over its indices. Raises `InputError` HP601 if there is no such machine.
    """

    system: TransitionSystem
    cpus: int
    boot: int = 0

    def __post_init__(self) -> None:
        if self.cpus < 1:
            raise fail("HP601", f"a machine needs at least 1 CPU, not {self.cpus}")
        if not 0 <= self.boot < self.cpus:
            raise fail(
                "HP601",
                f"control CPU {self.boot} is not among the {self.cpus} CPUs",
                help=f"give a number from 0 to {self.cpus - 1}",
            )

    @cached_property
    def sizes(self) -> dict[str, int]:
        """The number of elements of every index sort."""
        return {"cpu": self.cpus, **dict(self.system.sizes)}

    @cached_property
    def offsets(self) -> dict[str, int]:
        """Where each variable's first cell lies in a state."""
        found: dict[str, int] = {}
        length = 0
        for variable in self.system.variables:
            found[variable.name] = length
            length += self.width(variable)
        return found

    @cached_property
    def cells(self) -> tuple[tuple[Variable, tuple[int, ...]], ...]:
        """Which variable and indices each position of a state belongs to."""
        return tuple(
            (variable, indices)
            for variable in self.system.variables
            for indices in product(*map(self.elements, variable.indices))
        )

    def width(self, variable: Variable) -> int:
        """The number of cells of a variable."""
        width = 1
        for sort in variable.indices:
            width *= self.sizes[sort.name]
        return width

    def elements(self, sort: IndexSort) -> range:
        """The elements of an index sort; NONE is not one of them."""
        return range(self.sizes[sort.name])

    def values(self, sort: Sort) -> range:
        """All values that a variable of this sort can have."""
        return values_of(sort, self.sizes)

    def cell(self, variable: str, indices: tuple[int, ...]) -> int | None:
        """The position of a cell, or None if an index is NONE."""
        position = 0
        for sort, index in zip(self.system.variable(variable).indices, indices):
            if index == NONE:
                return None
            position = position * self.sizes[sort.name] + index
        return self.offsets[variable] + position

    def actors(self, process: Process) -> tuple[int, ...]:
        """The CPUs on which a process runs; empty for a process that runs once."""
        match process.runs:
            case Runs.ONCE:
                return ()
            case Runs.EVERY_CPU:
                return tuple(range(self.cpus))
            case Runs.EVERY_AP:
                return tuple(c for c in range(self.cpus) if c != self.boot)

    def actor_domain(self, action: Action) -> tuple[int, ...]:
        """The values that `action.actor` can take."""
        return self.actors(self.system.process(action.process))

    def instances(self, process: Process) -> tuple[int | None, ...]:
        """One entry for each running instance: its CPU, or None if it runs once."""
        return (None,) if process.runs is Runs.ONCE else self.actors(process)

    def initial_location(self, process: Process) -> int:
        """The number of the program point at which the process starts."""
        return location_sort(self.system, process).values.index(process.initial)


def default_value(sort: Sort) -> int:
    """What a read through a NONE index yields: the first value of the sort.

    Pointers yield NONE and counters 0, so that no CPU is special.
    """
    match sort:
        case RangeSort(low, _):
            return low
        case IndexSort():
            return NONE
        case EnumSort() | CounterSort():
            return 0
        case _:
            return 0
