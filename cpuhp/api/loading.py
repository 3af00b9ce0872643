"""Scenarios by name, from a file or from a text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cpuhp.api.scenario import Scenario
from cpuhp.diagnostics import Source, fail, suggestion
from cpuhp.kernel.tables.order import order_of, read_order, shipped_order
from cpuhp.language import tree as t
from cpuhp.language.library import Library, read_unit, shipped
from cpuhp.language.link import link
from cpuhp.language.parser import parse
from cpuhp.language.program import Program
from cpuhp.model.table import Table


def load(
    name: str,
    *,
    order: str | Path | None = None,
    table: Table | None = None,
    options: Mapping[str, str] | None = None,
) -> Scenario:
    """Load a shipped scenario by name, or a spec file by path (it ends in `.hp`).

    `order` is a file in the format of /sys/devices/system/cpu/hotplug/states or of
    specs/tables. Raises InputError for anything that is wrong with the input.
    """
    library = shipped()
    if name.endswith(".hp") or "/" in name:
        library, unit = _from_file(Path(name), library)
    else:
        unit = _by_name(name, library)
    return _linked(name, unit, library, order, table, options)


def _by_name(name: str, library: Library) -> t.Unit:
    unit = library.units.get(name.replace("-", "_"))
    if unit is None:
        raise fail(
            "HP201",
            f"there is no scenario '{name}'",
            help=suggestion(name, map(t.shown_name, library.units))
            or "'cpuhp list' names them; the name of a spec file ends in .hp",
        )
    return unit


def _linked(
    name: str,
    unit: t.Unit,
    library: Library,
    order: str | Path | None,
    table: Table | None,
    options: Mapping[str, str] | None,
) -> Scenario:
    if unit.kind != "scenario":
        raise fail(
            "HP502",
            f"'{name}' is a {unit.kind or 'file of checks'}, not a scenario",
            help="a file that can be checked begins with 'scenario NAME;'"
            + ("; 'cpuhp place' tries callbacks" if unit.kind == "component" else ""),
        )
    if table is None:
        table = read_order(Path(order)) if order else order_of(unit)
    given = dict(options or {})
    program = link(unit, library, table, given)
    _known_to_some_kernel(program)
    return Scenario(program, given)


def _known_to_some_kernel(program: Program) -> None:
    """A model may be of a state that this table lacks, but not of one that none has."""
    from cpuhp.kernel.tables.states_file import shipped_tables

    odd = [c for c in program.unplaced if c.state.startswith("CPUHP_")]
    tables = [shipped_order(name) for name in shipped_tables()] if odd else []
    for callback in odd:
        if not any(table.find(callback.state) for table in tables):
            known = {name for table in tables for name, _ in table.enumerators}
            raise fail(
                "HP206",
                f"no kernel that is known here has a hotplug state '{callback.state}'",
                callback.span,
                help=suggestion(callback.state, sorted(known)),
            )


def loads(
    text: str,
    *,
    name: str = "text.hp",
    order: str | Path | None = None,
    options: Mapping[str, str] | None = None,
) -> Scenario:
    """Load a scenario from its text. `name` is what errors and steps call it.

    Raises InputError for anything that is wrong with the text.
    """
    unit = parse(Source(name, text))
    return _linked(name, unit, shipped().with_units([unit]), order, None, options)


def scenarios() -> list[str]:
    """Names of the shipped scenarios that run without arguments."""
    return sorted(
        unit.shown_name
        for unit in shipped().units.values()
        if unit.kind == "scenario"
        and unit.span.source.name.startswith(("specs/scenarios/", "specs/systems/"))
    )


def _from_file(path: Path, library: Library) -> tuple[Library, t.Unit]:
    unit = read_unit(path)
    known = library.units.get(unit.name)
    if known is not None and known == unit:
        return library, known
    return library.with_units([unit]), unit
