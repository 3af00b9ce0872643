"""A program: the units of a scenario with every name resolved once.

It holds declarations, not yet behaviour: options have their values, enums and
variables their sorts, callbacks their rows of the hotplug table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cpuhp.language import tree as t
from cpuhp.model.sorts import EnumSort, IndexSort, Sort
from cpuhp.model.table import HotplugState, Section, Table

HPSTATE = "hpstate"
IRQS_OFF = "irqs_off"  # the flag of a CPU whose interrupts are masked
LOCKS = frozenset(
    {"mutex", "spinlock", "raw_spinlock", "rwsem", "rwlock", "srcu_struct"}
)
READS = {"rwsem": "down_read", "rwlock": "read_lock", "srcu_struct": "srcu_read_lock"}
WRITES = {
    "rwsem": "down_write",
    "rwlock": "write_lock",
    "srcu_struct": "synchronize_srcu",
}
Grip = tuple[str, bool]  # a lock, and whether it is shared: held by readers
Dependency = tuple[Grip, Grip]  # the first is held while the second is asked for


@dataclass(frozen=True)
class Declared:
    """A variable: its declaration with the sorts worked out."""

    declaration: t.VariableDeclaration
    sort: Sort
    indices: tuple[IndexSort, ...]
    lock: bool
    component: str


@dataclass(frozen=True)
class Registered:
    """A callback and the row of the hotplug table that it belongs to."""

    callback: t.Callback
    state: HotplugState
    section: Section
    component: str
    source: str | None


@dataclass(frozen=True)
class DeclaredProcess:
    declaration: t.ProcessDeclaration
    component: str
    source: str | None


@dataclass(frozen=True)
class OptionValue:
    declaration: t.OptionDeclaration
    sort: Sort
    value: int
    component: str


@dataclass(frozen=True)
class Watch:
    """Dependencies between locks that are watched for; where writers hold up readers."""

    dependencies: tuple[Dependency, ...]
    queued: frozenset[str]


@dataclass(frozen=True)
class Program:
    scenario: t.Unit
    units: tuple[t.Unit, ...]
    table: Table
    options: Mapping[str, OptionValue]
    enums: Mapping[str, EnumSort]
    sizes: Mapping[str, int]
    variables: Mapping[str, Declared]
    functions: Mapping[str, t.Function]
    callbacks: tuple[Registered, ...]
    unplaced: tuple[t.Callback, ...]  # models of states that the table does not have
    processes: tuple[DeclaredProcess, ...]
    checks: Mapping[str, t.CheckDeclaration]
    expectations: tuple[t.Expect, ...]
    assumptions: tuple[t.Assume, ...]
    landmarks: tuple[HotplugState, ...]  # hotplug states that the text names
    watch: Watch | None = None  # if the order of locks is watched

    def components(self) -> frozenset[str]:
        return frozenset(unit.name for unit in self.units)

    def files(self) -> dict[str, str]:
        """The file of each function, callback and process."""
        declared: tuple[t.Function | t.Callback | t.ProcessDeclaration, ...] = (
            *self.functions.values(),
            *(registered.callback for registered in self.callbacks),
            *(process.declaration for process in self.processes),
        )
        return {it.name: it.span.source.name for it in declared}
