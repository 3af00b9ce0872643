"""The hotplug table: `enum cpuhp_state` as registered on some kernel, in order."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

from cpuhp.diagnostics import Span


class Section(Enum):
    """Who runs a callback, and where."""

    PREPARE = "PREPARE"  # the control CPU
    STARTING = "STARTING"  # the CPU itself, interrupts off
    ONLINE = "ONLINE"  # the CPU's hotplug thread


@dataclass(frozen=True, slots=True)
class HotplugState:
    """One row: `number` orders the rows, `name` is what was registered.

    `enumerator` is the kernel's `CPUHP_*` constant where the number is a fixed one;
    states in a dynamic range have None. `added` marks a driver that the scenario
    registered and the recorded machine did not have.
    """

    number: int
    name: str
    enumerator: str | None = None
    added: bool = False
    span: Span | None = field(default=None, compare=False)

    @property
    def identifier(self) -> str:
        """What programs call it: the kernel's constant, if it has one."""
        return self.enumerator or self.name

    @property
    def label(self) -> str:
        """What people call it: the registered name, if it has one."""
        return self.name or self.enumerator or str(self.number)


@dataclass(frozen=True)
class Table:
    """Rows in ascending order of number, and where the sections and slots lie.

    `enumerators` gives the numbers of the kernel's constants, also of states that
    nothing is registered for (CPUHP_AP_ONLINE_IDLE has no name by design).
    """

    name: str
    states: tuple[HotplugState, ...]
    bringup: int  # CPUHP_BRINGUP_CPU, the last number of PREPARE
    teardown: int  # CPUHP_TEARDOWN_CPU, the last number of STARTING
    dynamic: range  # slots of CPUHP_AP_ONLINE_DYN
    prepare_dynamic: range  # slots of CPUHP_BP_PREPARE_DYN
    enumerators: tuple[tuple[str, int], ...] = ()

    def section(self, number: int) -> Section:
        if number <= self.bringup:
            return Section.PREPARE
        return Section.STARTING if number <= self.teardown else Section.ONLINE

    def find(self, name: str) -> HotplugState | None:
        """The row with this registered name or enumerator."""
        for state in self.states:
            if name in (state.name, state.enumerator):
                return state
        for enumerator, number in self.enumerators:
            if enumerator == name:
                return HotplugState(number, "", enumerator)
        return None

    def with_dynamic(self, name: str) -> Table | None:
        """The table after a module registered `name` in CPUHP_AP_ONLINE_DYN.

        The kernel gives out the first free slot. None if all are taken.
        """
        taken = {state.number for state in self.states}
        slot = next((n for n in self.dynamic if n not in taken), None)
        if slot is None:
            return None
        row = HotplugState(slot, name, added=True)
        rows = sorted((*self.states, row), key=lambda state: state.number)
        return replace(self, states=tuple(rows))
