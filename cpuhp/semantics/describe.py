"""Names and values of a state's cells as the spec writes them."""

from __future__ import annotations

from cpuhp.model.sorts import format_value
from cpuhp.model.verdict import State
from cpuhp.semantics.machine import Machine


def cell_name(machine: Machine, cell: int) -> str:
    """`active`, `online[CPU1]`, `route[irq0][CPU2]`."""
    variable, indices = machine.cells[cell]
    parts = (format_value(s, i) for s, i in zip(variable.indices, indices))
    return variable.name + "".join(f"[{part}]" for part in parts)


def cell_value(machine: Machine, cell: int, value: int) -> str:
    """The value of a cell in words."""
    return format_value(machine.cells[cell][0].sort, value)


def describe(machine: Machine, state: State) -> dict[str, str]:
    """All cells of a state, in order."""
    return {
        cell_name(machine, cell): cell_value(machine, cell, value)
        for cell, value in enumerate(state)
    }


def changes(
    machine: Machine, before: State, after: State
) -> dict[str, tuple[str, str]]:
    """The cells that differ, each with its value before and after."""
    return {
        cell_name(machine, cell): (
            cell_value(machine, cell, old),
            cell_value(machine, cell, new),
        )
        for cell, (old, new) in enumerate(zip(before, after))
        if old != new
    }
