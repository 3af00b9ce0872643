"""A trace against the models of a scenario: what ran without a model, and the reverse."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cpuhp.kernel.traces.conform import Conformance
from cpuhp.kernel.traces.costs import StepCost
from cpuhp.language.program import Program
from cpuhp.model.table import Section


@dataclass(frozen=True)
class Met:
    """A step in one direction. `names` are functions of the trace or of models."""

    step: int
    state: str
    up: bool
    names: tuple[str, ...]
    calls: int = 0


@dataclass(frozen=True)
class Comparison:
    """Steps of a trace and models of a scenario, each in the order of the table.

    `core` are steps that the scenario's text names itself. `silent` are models of the
    STARTING section, where a CPU that is not online leaves no events. `renamed` pairs
    the model's name with the functions that ran there instead.
    """

    modelled: tuple[Met, ...]
    core: tuple[Met, ...]
    without_model: tuple[Met, ...]
    without_step: tuple[Met, ...]
    silent: tuple[Met, ...]
    renamed: tuple[tuple[str, Met], ...]


def compare(answer: Conformance, program: Program) -> Comparison:
    """Hold the steps of a trace against the callbacks of a scenario.

    Only directions that the trace shows count: a trace of bringups alone says nothing
    about teardowns.
    """
    table = program.table
    states = {state.number: state.name for state in table.states} | answer.names
    ran = _ran(answer.costs, states)
    models = {
        (c.state.number, c.callback.direction == "startup"): c.callback.name
        for c in program.callbacks
    }
    own = {state.number for state in program.landmarks}
    ways = {up for _, up in ran}
    missing = [
        Met(number, states.get(number, ""), up, (name,))
        for (number, up), name in models.items()
        if (number, up) not in ran and up in ways
    ]
    quiet = [met for met in missing if table.section(met.step) is Section.STARTING]
    return Comparison(
        _sorted(met for key, met in ran.items() if key in models),
        _sorted(m for k, m in ran.items() if k not in models and k[0] in own),
        _sorted(m for k, m in ran.items() if k not in models and k[0] not in own),
        _sorted(met for met in missing if met not in quiet),
        _sorted(quiet),
        tuple(
            (models[key], met)
            for key, met in sorted(ran.items())
            if key in models and models[key] not in met.names
        ),
    )


def _ran(
    costs: tuple[StepCost, ...], states: dict[int, str]
) -> dict[tuple[int, bool], Met]:
    found: dict[tuple[int, bool], Met] = {}
    for cost in costs:
        key = (cost.step, cost.up)
        before = found.get(key)
        names = (*before.names, cost.function) if before else (cost.function,)
        calls = cost.calls + (before.calls if before else 0)
        found[key] = Met(cost.step, states.get(cost.step, ""), cost.up, names, calls)
    return found


def _sorted(found: Iterable[Met]) -> tuple[Met, ...]:
    return tuple(sorted(found, key=lambda met: (not met.up, met.step)))
