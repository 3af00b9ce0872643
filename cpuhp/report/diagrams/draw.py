"""Pictures by kind: of a lowered program, of an answer, of a hotplug table."""

from __future__ import annotations

from collections.abc import Iterable

from cpuhp.diagnostics import fail, suggestion
from cpuhp.engines.parallel_steps import parallel
from cpuhp.engines.transitions import state_machine
from cpuhp.engines.walk import run
from cpuhp.graph.cycles import lock_order
from cpuhp.graph.dependency import Dependencies, dependencies, neighbourhood
from cpuhp.graph.footprint import footprints
from cpuhp.language.compile import Lowered
from cpuhp.model.table import Table
from cpuhp.report.answers import ShownAnswer, as_json
from cpuhp.report.diagrams import dependency, lockdep, machine
from cpuhp.report.diagrams.canvas import Picture
from cpuhp.report.diagrams.counterexample import chart as interleaving_chart
from cpuhp.report.diagrams.evidence import choose, evidence
from cpuhp.report.diagrams.sequence import of_run
from cpuhp.report.diagrams.sequence_chart import chart as sequence_chart
from cpuhp.report.diagrams.sequence_table import of_table
from cpuhp.report.diagrams.theme import LIGHT, Theme

KINDS = ("sequence", "dependency", "counterexample", "state-machine", "lockdep")
OF_PROGRAMS = tuple(kind for kind in KINDS if kind != "counterexample")


def of_program(
    kind: str,
    name: str,
    whole: Lowered,
    theme: Theme = LIGHT,
    base: str | None = None,
    *,
    full: bool = False,
    focus: str | None = None,
) -> Picture:
    """A picture of a scenario, one of OF_PROGRAMS. `base`: where links to sources lead.

    Raises InputError HP805 if `focus` names nothing in the graph, HP820 if it is no
    variable to draw as a state machine.
    """
    if kind == "sequence":
        found = of_run(whole, footprints(whole), run(whole), full)
        return sequence_chart(found, theme, base)
    if kind == "dependency":
        return _dependency(name, whole, theme, base, full, focus)
    if kind == "state-machine":
        return machine.picture(name, state_machine(whole, focus), theme, base)
    assert kind == "lockdep", kind
    return lockdep.picture(name, lock_order(whole), theme)


def of_answers(
    answers: Iterable[ShownAnswer],
    name: str,
    theme: Theme = LIGHT,
    base: str | None = None,
    *,
    full: bool = False,
    focus: str | None = None,
) -> Picture:
    """The chart of an interleaving among the answers: of check `focus`, or the first.

    Raises InputError HP811 if there is none.
    """
    found = evidence(choose(as_json(answers), focus, name), name)
    return interleaving_chart(found, theme, base, full=full)


def on_table(
    table: Table,
    whole: Lowered | None,
    theme: Theme = LIGHT,
    base: str | None = None,
    *,
    full: bool = False,
) -> Picture:
    """The kernel's own way down through a table; `whole` tells which rows have a model."""
    models = list(_models(whole)) if whole else []
    return sequence_chart(of_table(table, models, full), theme, base)


def _models(whole: Lowered) -> Iterable[tuple[int, str, str, bool]]:
    """Rows of the table with a teardown model, and if other CPUs notice it."""
    found = footprints(whole)
    for key, step in found.steps.items():
        registered = step.callback
        if registered is None or registered.state.added:
            continue
        if registered.callback.direction == "teardown":
            number, source = registered.state.number, registered.source or ""
            yield number, key, source, found.crosses(key)


def _dependency(
    name: str,
    whole: Lowered,
    theme: Theme,
    base: str | None,
    full: bool,
    focus: str | None,
) -> Picture:
    steps = footprints(whole)
    found = dependencies(steps, parallel(whole, steps))
    key = None
    if focus is not None:
        keys = _focused(found, focus)
        found = neighbourhood(found, keys)
        key = keys[0]
    return dependency.picture(name, found, theme, base, full=full, focus=key)


def _focused(found: Dependencies, focus: str) -> list[str]:
    """The steps that a name means: a step, its hotplug state, or a source file."""
    keys = []
    for step in found.steps:
        names = {step.key, step.name}
        if step.callback is not None:
            state = step.callback.state
            names |= {str(state.number), state.name, state.enumerator or state.name}
            names.add(step.callback.source or step.key)
        if step.span is not None:
            names.add(step.span.source.name)
        if focus in names:
            keys.append(step.key)
    if not keys:
        known = [step.name for step in found.steps]
        raise fail(
            "HP805",
            f"no step of the graph is called '{focus}', belongs to such a hotplug "
            "state or stands in such a file",
            help=suggestion(focus, known) or f"steps: {', '.join(known[:8])}, ...",
        )
    return keys
