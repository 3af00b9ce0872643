"""From a linked program and the user's wishes to what can be run against the clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cpuhp.diagnostics import fail, suggestion
from cpuhp.graph.footprint import footprints
from cpuhp.kernel.tables.states_file import KernelTable
from cpuhp.kernel.traces.conform import conform
from cpuhp.kernel.traces.events import read_trace
from cpuhp.language.library import Library
from cpuhp.language.link import link
from cpuhp.language.program import Program
from cpuhp.timing.cost_file import find_costs, names_in, usual_costs
from cpuhp.timing.costs import NO_COSTS, CostTable
from cpuhp.timing.measured import measured, waits_for_others
from cpuhp.timing.simulate import Model, model


@dataclass(frozen=True)
class Setup:
    """A program with the options that its costs ask for, and the costs."""

    program: Program
    model: Model
    costs: CostTable


def set_up(
    program: Program,
    library: Library,
    given: Mapping[str, str],
    *,
    costs: str | CostTable | None = None,
    params: Mapping[str, str] | None = None,
    trace: str | Path | None = None,
    states: KernelTable | None = None,
) -> Setup:
    """Find the costs, set parameters and options, and make the model.

    `costs` is a shipped name, a `.toml` file or a table; without it a trace's, else
    those of `usual_costs`. `params` are parameters or constants of the costs, or options
    of the scenario. Options that the costs bring along give way to `given`. Raises InputError
    HP207 for an option or parameter that nobody has, HP42x for the trace, HP92x for the
    costs.
    """
    chosen = costs
    if chosen is None and trace is None:
        chosen = usual_costs(program.scenario.shown_name)
    times, sets, options = _divided(program, chosen, params or {})
    found = NO_COSTS
    if isinstance(chosen, CostTable):
        found = chosen
    elif chosen is not None:
        found = find_costs(chosen, times, sets)
    brought = {n: v for n, v in found.options.items() if n in program.options}
    wanted = {**brought, **given, **options}
    if wanted != dict(given):
        program = _linked(program, library, wanted)
    made = model(program)
    if trace is not None:
        waiting = waits_for_others(footprints(made.lowered))
        answer = conform(read_trace(str(trace)), states, states is not None)
        own = measured(answer, Path(trace).name, waiting)
        name = own.name if found is NO_COSTS else f"{own.name} and {found.name}"
        found = replace(
            found, name=name, source=own.source, costs={**found.costs, **own.costs}
        )
    return Setup(program, made, found)


def _linked(program: Program, library: Library, options: Mapping[str, str]) -> Program:
    # The drivers that the scenario registers are added by linking.
    rows = tuple(state for state in program.table.states if not state.added)
    table = replace(program.table, states=rows)
    return link(program.scenario, library, table, dict(options))


def _divided(
    program: Program, costs: str | CostTable | None, params: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Parameters of the costs, constants of the costs, and options of the scenario."""
    file = costs if isinstance(costs, str) else None
    times = names_in(file, "parameters") if file else frozenset[str]()
    sets = names_in(file, "constants") if file else frozenset[str]()
    kinds = (times, sets, frozenset(program.options))
    found: tuple[dict[str, str], ...] = ({}, {}, {})
    for name, value in params.items():
        for known, chosen in zip(kinds, found):
            if name in known:
                chosen[name] = value
                break
        else:
            raise fail(
                "HP207",
                f"neither the costs nor the scenario have '{name}'",
                help=suggestion(name, sorted(frozenset().union(*kinds)))
                or f"parameters of the costs: {', '.join(sorted(times)) or 'none'}",
            )
    return found[0], found[1], found[2]
