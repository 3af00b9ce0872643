"""Linking: from the units of a scenario to one program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from cpuhp.diagnostics import fail, suggestion
from cpuhp.language import tree as t
from cpuhp.language.declarations import (
    Names,
    Types,
    demand_a_free_name,
    enums_of,
    options_of,
    variables_of,
)
from cpuhp.language.library import Library, checks_of
from cpuhp.language.program import DeclaredProcess, Program, Registered
from cpuhp.language.reader_flags import reader_flags
from cpuhp.language.tree import names_in, nodes_below
from cpuhp.model.table import HotplugState, Table


def link(
    scenario: t.Unit,
    library: Library,
    table: Table,
    options: Mapping[str, str],
) -> Program:
    """Resolve a scenario against a library, a hotplug table and option values.

    Raises InputError: HP201 unknown unit, HP204 defined twice, HP205 unknown type,
    HP206 unknown or missing hotplug state, HP207 bad option, HP208 no free dynamic slot,
    HP209 a verdict expected of a check that is not asked.
    """
    units = tuple(_closure(scenario, library))
    table = _registered_drivers(units, table)
    names = Names()
    enums = enums_of(units, names)
    sizes = {
        i.name: i.count for u in units for i in u.items if isinstance(i, t.Instances)
    }
    resolve = Types(enums, sizes)
    values = options_of(units, resolve, names, options)
    variables = variables_of(units, resolve, names)
    functions = {}
    for unit in units:
        for item in unit.items:
            if isinstance(item, t.Function):
                names.add(item.name, item.span)
                functions[item.name] = item
                for param in item.params:
                    demand_a_free_name(param.name, param.span)
    callbacks, unplaced = _callbacks(units, table, names)
    processes = []
    for unit in units:
        for item in unit.items:
            if isinstance(item, t.ProcessDeclaration):
                names.add(item.name, item.span)
                processes.append(DeclaredProcess(item, unit.name, unit.source))
    _demand_what_is_walked_by(units, table, unplaced)
    checks = _checks(units, library)
    _demand_what_is_expected(scenario, library, checks)
    bodies = [c.callback for c in callbacks]
    variables |= dict(reader_flags(variables, functions, bodies, processes))
    return Program(
        scenario=scenario,
        units=units,
        table=table,
        options=values,
        enums=enums,
        sizes=sizes,
        variables=variables,
        functions=functions,
        callbacks=callbacks,
        unplaced=unplaced,
        processes=tuple(processes),
        checks=checks,
        expectations=tuple(
            i for u in units for i in u.items if isinstance(i, t.Expect)
        ),
        assumptions=tuple(i for u in units for i in u.items if isinstance(i, t.Assume)),
        landmarks=_landmarks((*units, *checks.values()), table),
    )


def _closure(scenario: t.Unit, library: Library) -> Iterator[t.Unit]:
    """The units that the scenario uses, each once, used ones before their users."""
    done: dict[str, bool] = {}
    stack: list[tuple[t.Unit, bool]] = [(scenario, False)]
    while stack:
        unit, expanded = stack.pop()
        if expanded:
            if not done[unit.name]:
                done[unit.name] = True
                yield unit
            continue
        if unit.name in done:
            continue
        done[unit.name] = False
        stack.append((unit, True))
        used = [n for i in unit.items if isinstance(i, t.Use) for n in i.names]
        stack += [(library.find(n.name, n.span), False) for n in reversed(used)]


def _registered_drivers(units: tuple[t.Unit, ...], table: Table) -> Table:
    for unit in units:
        for item in unit.items:
            if not isinstance(item, t.Register):
                continue
            found = table.find(item.name)
            if found is not None and not found.name:
                table = _registered_at(table, found)
            elif found is None:
                extended = table.with_dynamic(item.name)
                if extended is None:
                    raise fail(
                        "HP208",
                        f"no free slot in CPUHP_AP_ONLINE_DYN for '{item.name}'",
                        item.span,
                    )
                table = extended
    return table


def _registered_at(table: Table, state: HotplugState) -> Table:
    """The table with a driver in a fixed state that the recorded machine left empty."""
    row = replace(state, name=state.enumerator or "", added=True)
    rows = [s for s in table.states if s.number != row.number]
    rows = sorted((*rows, row), key=lambda s: s.number)
    return replace(table, states=tuple(rows))


def _callbacks(
    units: tuple[t.Unit, ...], table: Table, names: Names
) -> tuple[tuple[Registered, ...], tuple[t.Callback, ...]]:
    found: dict[tuple[int, str], Registered] = {}
    unplaced: list[t.Callback] = []
    for unit in units:
        for item in unit.items:
            if not isinstance(item, t.Callback):
                continue
            names.add(item.name, item.span)
            state = table.find(item.state)
            if state is None or not state.name:
                unplaced.append(item)
                continue
            key = (state.number, item.direction)
            if key in found:
                raise fail(
                    "HP204",
                    f"hotplug state '{state.name}' has two {item.direction} models",
                    item.span,
                    notes=(("the other one", found[key].callback.span),),
                )
            found[key] = Registered(
                item, state, table.section(state.number), unit.name,
                item.source or unit.source,
            )  # fmt: skip
    order = sorted(found, key=lambda key: (key[0], key[1]))
    return tuple(found[key] for key in order), tuple(unplaced)


def _demand_what_is_walked_by(
    units: tuple[t.Unit, ...], table: Table, unplaced: tuple[t.Callback, ...]
) -> None:
    """Raises InputError HP206 if a walk goes by a state whose row is empty.

    It does if it hands the state to a function; to compare with one, any row will do.
    """
    walks = tuple(
        item
        for unit in units
        for item in unit.items
        if isinstance(item, t.Function | t.ProcessDeclaration)
    )
    calls = [node for node in nodes_below(walks) if isinstance(node, t.Call)]
    named = {name: span for call in calls for name, span in names_in(call)}
    for callback in unplaced:
        if callback.state in named and table.find(callback.state):
            raise fail(
                "HP206",
                f"the machine of the hotplug table '{table.name}' has no step "
                f"'{callback.state}', and the scenario goes by it",
                named[callback.state],
                notes=(("the model of the step", callback.span),),
                help=f'the table of another machine, or register "{callback.state}";',
            )


def _checks(
    units: tuple[t.Unit, ...], library: Library
) -> dict[str, t.CheckDeclaration]:
    """The checks of the catalogue that apply: their components are all in use."""
    present = {unit.name for unit in units}
    own = {check.name: check for unit in units for check in checks_of(unit)}
    others = {name: library.checks[name] for name in library.catalogue}
    for check in (*own.values(), *others.values()):
        for required in check.requires:
            library.demand(required.name, required.span)
    for told in (i for u in units for i in u.items if isinstance(i, t.Expect)):
        library.demand_check(told.check, told.span)
    found = others | own
    return {
        name: check
        for name, check in sorted(found.items())
        if name in own or all(r.name in present for r in check.requires)
    }


def _demand_what_is_expected(
    scenario: t.Unit, library: Library, checks: Mapping[str, t.CheckDeclaration]
) -> None:
    """Raises InputError HP209 if a verdict is expected of a check that is not asked."""
    for told in scenario.items:
        if isinstance(told, t.Expect) and told.check not in checks:
            requires = [name.name for name in library.checks[told.check].requires]
            raise fail(
                "HP209",
                f"'{told.check}' is not asked of '{scenario.name}'",
                told.span,
                help=f"it requires components that have to be in use: "
                f"{', '.join(requires)}"
                if told.check in library.catalogue
                else "it belongs to another spec",
            )


def _landmarks(texts: Iterable[object], table: Table) -> tuple[HotplugState, ...]:
    found: dict[str, HotplugState] = {}
    for text in texts:
        for name, span in names_in(text):
            if name.startswith("CPUHP_") and name not in found:
                state = table.find(name)
                if state is None:
                    known = [n for n, _ in table.enumerators]
                    known += [s.enumerator for s in table.states if s.enumerator]
                    raise fail(
                        "HP206",
                        f"the hotplug table '{table.name}' has no state '{name}'",
                        span,
                        help=suggestion(name, known),
                    )
                found[name] = replace(state, enumerator=name)
    return tuple(sorted(found.values(), key=lambda state: state.number))
