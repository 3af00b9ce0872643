"""`cpuhp place`: where a step may stand in the table, and why nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cpuhp.cli._advice import Advice, advice_options

if TYPE_CHECKING:
    from cpuhp.model.table import Table
    from cpuhp.ordering.placement import Placement
    from cpuhp.ordering.steps import Step
    from cpuhp.ordering.variant import Options, Variant

GROUP = "design"


@click.command(
    "place",
    short_help="Where a step may stand in the table, and why nowhere else.",
    epilog="Exit status: 0 there is a slot, 1 there is none, 2 bad input.",
)
@click.argument("step", metavar="STEP.hp|CPUHP_STATE")
@click.option(
    "--step",
    "state",
    metavar="STATE",
    help="Which step of the file, if it has several.",
)
@click.option(
    "--section",
    type=click.Choice(["PREPARE", "STARTING", "ONLINE"], case_sensitive=False),
    help="Only the slots of this section.",
)
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    metavar="NAME",
    help="Only this scenario; repeatable; default all of the table's architecture.",
)
@click.option(
    "--all",
    "thorough",
    is_flag=True,
    help="Every check that fails in a slot, not only the first that is found.",
)
@click.option(
    "--prove",
    is_flag=True,
    help="Prove for every number of CPUs what holds in the slots that are left.",
)
@click.option("--comment", is_flag=True, help="Only a comment block for the header.")
@click.option(
    "--traces", is_flag=True, help="Print the interleaving for each forbidden range."
)
@advice_options
@click.pass_context
def command(
    ctx: click.Context,
    step: str,
    state: str | None,
    section: str | None,
    scenarios: tuple[str, ...],
    thorough: bool,
    prove: bool,
    comment: bool,
    traces: bool,
    advice: Advice,
) -> None:
    """Where may a step stand in the hotplug table?

    STEP.hp is a component with the startup and teardown of the step. The step is tried
    in every slot of the table, with all checks of all scenarios that run callbacks. A
    model in the file stands in for the shipped one of its state. A hotplug state moves
    the model that is shipped for it.
    """
    from cpuhp.model.table import Section
    from cpuhp.ordering.place import place
    from cpuhp.report import place as page

    bases = _bases(scenarios, advice)
    wanted = _step(step, state, bases[0].table, tuple(sorted(advice.options.items())))
    with advice.judges() as judges:
        where = Section(section.upper()) if section else None
        found = place(wanted, bases, judges, where, thorough, prove)
    if comment and advice.style == "text":
        for line in page.comment(found):
            click.echo(line)
    else:
        advice.print(page.as_json(found), page.text(found))
    if traces and advice.style == "text":
        _traces(found, advice)
    ctx.exit(0 if found.allowed and not found.everywhere else 1)


def _step(name: str, state: str | None, table: Table, options: Options) -> Step:
    from dataclasses import replace
    from pathlib import Path

    from cpuhp.language.library import read_unit
    from cpuhp.ordering.steps import shipped_step, step_in

    if name.endswith(".hp") or "/" in name and Path(name).exists():
        found = step_in(read_unit(Path(name)), state)
    else:
        found = shipped_step(name, table)
    return replace(found, options=options)


def _bases(names: tuple[str, ...], advice: Advice) -> list[Variant]:
    """The scenarios with the table; those of another architecture are left out."""
    from cpuhp.api import DEFAULT_TABLE, scenarios
    from cpuhp.kernel.tables.order import architecture, shipped_order
    from cpuhp.ordering.variant import own_options, variant_of

    table = advice.table()
    found: list[Variant] = []
    if table is None and not names:
        table = shipped_order(DEFAULT_TABLE)
    wanted = architecture(table) if table else None
    for name in names or scenarios():
        if not names and wanted:
            default = architecture(advice.plain(name, None).program.table)
            if default and wanted != default:
                continue
        base = variant_of(advice.plain(name, table).program, {})
        table = table or base.table
        found.append(own_options(base, table, advice.options))
    return found


def _traces(found: Placement, advice: Advice) -> None:
    for one in found.ranges:
        for reason in one.reasons:
            if reason.variant and reason.question and reason.finding:
                if reason.finding.steps:
                    title = f"{found.step.state} {one.slots[0]}"
                    advice.interleaving(reason.variant, reason.question, title)
                    break
