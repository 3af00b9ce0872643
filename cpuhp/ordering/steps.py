"""A step that is to be placed: its callbacks, and a scenario with it in some slot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from cpuhp.diagnostics import Span, fail, suggestion
from cpuhp.language import tree as t
from cpuhp.language.library import shipped
from cpuhp.language.tree import nodes_below
from cpuhp.model.table import HotplugState, Section, Table
from cpuhp.ordering.variant import Options, Variant, own_options

SLEEPS = frozenset(
    {
        "might_sleep",
        "mutex_lock",
        "down_read",
        "down_write",
        "wait_for_completion",
        "synchronize_srcu",
        "synchronize_rcu",
    }
)


@dataclass(frozen=True)
class Step:
    """Callbacks of one hotplug state. `unit` is the user's file, if there is one;
    `options`: values that are given to options of the file, or of scenarios.
    """

    state: str
    callbacks: tuple[t.Callback, ...]
    unit: t.Unit | None = None
    options: Options = ()

    @property
    def name(self) -> str:
        return ", ".join(c.name for c in self.callbacks)


@dataclass(frozen=True)
class Slot:
    """A gap of the table: right above the row `lower`, right below the row `upper`."""

    number: int
    lower: HotplugState
    upper: HotplugState
    section: Section

    def __str__(self) -> str:
        return f"between {shown(self.lower)} and {shown(self.upper)}"


def shown(row: HotplugState) -> str:
    """A row as the kernel's header names it, or as it was registered."""
    return row.enumerator or f'"{row.name}"'


def step_in(unit: t.Unit, state: str | None = None) -> Step:
    """The step that a file is about: the hotplug state of its first callback, or `state`.

    Raises InputError HP520 if there is no such callback.
    """
    callbacks = [item for item in unit.items if isinstance(item, t.Callback)]
    if not callbacks or unit.kind not in ("component", "scenario"):
        raise fail(
            "HP520",
            f"{unit.span.source.name} has no step to be placed",
            Span(unit.span.source, 0, 0),
            help="component NAME; ... teardown NAME(cpu) for CPUHP_... { }",
        )
    wanted = state or callbacks[0].state
    found = tuple(c for c in callbacks if c.state == wanted)
    if not found:
        names = [c.state for c in callbacks]
        raise fail(
            "HP520",
            f"{unit.span.source.name} has no callback for '{wanted}'",
            help=suggestion(wanted, names) or f"it has: {', '.join(names)}",
        )
    return Step(wanted, found, unit)


def shipped_step(state: str, table: Table) -> Step:
    """The shipped models of a hotplug state. Raises InputError HP521."""
    row = table.find(state)
    names = {state} | ({row.name, row.enumerator} if row else set())
    if names & _landmarks():
        raise fail(
            "HP521",
            f"'{state}' cannot be moved: the walk over the table changes hands there",
            help="'cpuhp list steps shutdown-serial' names steps that have a model",
        )
    models = [
        item for item in _nodes("specs/callbacks/") if isinstance(item, t.Callback)
    ]
    found = [callback for callback in models if callback.state in names]
    if not found:
        known = sorted({callback.state for callback in models} - _landmarks())
        raise fail(
            "HP521",
            f"there is no model of a step '{state}'",
            help=suggestion(state, known)
            or "give a file with its callbacks, or a step that 'cpuhp list steps "
            "shutdown-serial' names",
        )
    return Step(found[0].state, tuple(found))


def _landmarks() -> set[str]:
    """Hotplug states that the walk over the table itself names."""
    names = {n.name for n in _nodes("specs/core/") if isinstance(n, t.Name)}
    return {name for name in names if name.startswith("CPUHP_")}


def _nodes(folder: str) -> Iterator[object]:
    for unit in shipped().units.values():
        if unit.span.source.name.startswith(folder):
            yield from nodes_below(unit.items)


def with_step(base: Variant, step: Step) -> Variant:
    """The scenario with the step; its models stand in for shipped ones of their states."""
    if step.unit is None:
        return base
    mine = [item for item in step.unit.items if isinstance(item, t.Callback)]
    places = {(c.state, c.direction) for c in mine}
    places |= {
        (other, c.direction) for c in mine for other in _names(c.state, base.table)
    }
    names = {c.name for c in mine}
    units: dict[str, t.Unit] = {step.unit.name: step.unit}
    for unit in shipped().units.values():
        if unit.name == step.unit.name:
            continue
        left = tuple(
            item
            for item in unit.items
            if not isinstance(item, t.Callback)
            or ((item.state, item.direction) not in places and item.name not in names)
        )
        if len(left) != len(unit.items):
            units[unit.name] = replace(unit, items=left)
    if step.unit.kind == "scenario":
        with_it = replace(base, scenario=step.unit, units=tuple(units.values()))
        return own_options(with_it, base.table, dict(step.options))
    scenario = units.get(base.scenario.name, base.scenario)
    span = step.unit.span
    use = t.Use((t.Name(step.unit.name, span),), span)
    scenario = replace(scenario, items=(*scenario.items, use))
    with_it = replace(base, scenario=scenario, units=tuple(units.values()))
    return own_options(with_it, base.table, dict(step.options))


def _names(state: str, table: Table) -> set[str]:
    """All names of a hotplug state."""
    row = table.find(state)
    return {name for name in (row.name, row.enumerator) if name} if row else {state}


def without_step(variant: Variant, step: Step) -> Variant:
    """The same with the step's callbacks left out."""
    names = {c.name for c in step.callbacks}
    return without_callbacks(variant, names)


def without_callbacks(variant: Variant, names: set[str] | frozenset[str]) -> Variant:
    """The variant without some callbacks: their hotplug states are passed through."""
    from cpuhp.ordering.variant import Edit, place_of

    edits = [
        Edit(place_of(c.callback), None)
        for c in variant.program().callbacks
        if c.callback.name in names
    ]
    return variant.with_edits(*edits)


def slots(table: Table, state: str) -> list[Slot]:
    """The gaps of the table without the step itself, lowest first."""
    rows = _others(table, state)
    found = []
    for number, (lower, upper) in enumerate(zip(rows, rows[1:])):
        # A gap belongs to the section of what stands there: above the last row of a
        # section begins the next one.
        section = table.section(lower.number + 1)
        found.append(Slot(number, lower, upper, section))
    return found


def _others(table: Table, state: str) -> list[HotplugState]:
    names = _names(state, table) | {state}
    kept = [row for row in table.states if not {row.name, row.enumerator} & names]
    known = {row.number for row in kept}
    # States without a name of their own count too: the kernel's walks begin there.
    silent = [
        HotplugState(number, "", name)
        for name, number in table.enumerators
        if name == "CPUHP_AP_ONLINE_IDLE" and number not in known and name not in names
    ]
    return sorted((*kept, *silent), key=lambda row: row.number)


def moved(table: Table, state: str, slot: Slot) -> Table:
    """The table with the step's row in a slot. Numbers are doubled to make room."""
    names = _names(state, table) | {state}
    rows = [row for row in table.states if not {row.name, row.enumerator} & names]
    here = 2 * slot.lower.number + 1
    old = table.find(state)
    row = replace(old or HotplugState(here, state), number=here)
    row = replace(row, name=row.name or state)
    if old is None and state.startswith("CPUHP_"):
        row = replace(row, enumerator=state)
    doubled = [replace(other, number=2 * other.number) for other in rows]
    constants = [
        (name, here if name in names else 2 * number)
        for name, number in table.enumerators
    ]
    return replace(
        table,
        name=f"{table.name} with {state} in slot {slot.number}",
        states=tuple(sorted((*doubled, row), key=lambda r: r.number)),
        bringup=2 * table.bringup,
        teardown=2 * table.teardown,
        dynamic=range(2 * table.dynamic.start, 2 * table.dynamic.stop),
        prepare_dynamic=range(
            2 * table.prepare_dynamic.start, 2 * table.prepare_dynamic.stop
        ),
        enumerators=tuple(constants),
    )


def own_slot(table: Table, state: str, gaps: Sequence[Slot]) -> Slot | None:
    """Where the table has the step now, if it has it."""
    row = table.find(state)
    if row is None or not row.name:
        return None
    return next((s for s in gaps if s.lower.number < row.number < s.upper.number), None)


def rules(
    step: Step, functions: dict[str, t.Function]
) -> Iterator[tuple[Section, str]]:
    """Sections in which the kernel has no such callback, and why."""
    for callback in step.callbacks:
        sleep = next(_sleeps(callback, functions), None)
        if sleep:
            yield (
                Section.STARTING,
                f"{callback.name}() may sleep ({sleep}()), and interrupts are off",
            )
        if callback.may_fail:
            yield Section.STARTING, f"{callback.name}() may fail, and nobody heeds it"
        if callback.may_fail and callback.direction == "teardown":
            yield (
                Section.PREPARE,
                f"{callback.name}() may fail, and the CPU is dead already",
            )


def _sleeps(callback: t.Callback, functions: dict[str, t.Function]) -> Iterator[str]:
    seen: set[str] = set()
    stack: list[object] = [callback.body]
    while stack:
        for node in nodes_below(stack.pop()):
            if not isinstance(node, t.Call):
                continue
            if node.name in SLEEPS:
                yield node.name
            if node.name in functions and node.name not in seen:
                seen.add(node.name)
                stack.append(functions[node.name].body)
