"""`cpuhp schedule`: what may overlap, and how long it takes at best."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cpuhp.cli._advice import Advice, advice_options

if TYPE_CHECKING:
    from cpuhp.ordering.variant import Variant
    from cpuhp.timing.costs import CostTable

GROUP = "design"


@click.command(
    "schedule",
    short_help="The fastest way through a scenario that keeps every check.",
    epilog="Exit status: 0 there is one, 1 there is none, 2 bad input, 3 none was found "
    "before --limit.",
)
@click.argument("scenario", metavar="SCENARIO|FILE.hp")
@click.option("--goal", type=click.Choice(["latency"]), default="latency",
              help="What to make small; default latency.")  # fmt: skip
@click.option(
    "--costs",
    metavar="NAME|FILE.toml",
    help="What steps cost, as for estimate.",
)
@click.option(
    "--machine",
    type=click.IntRange(2, 1024),
    metavar="N",
    help="CPUs of the machine that is timed; default as the costs say.",
)
@click.option(
    "--trace",
    metavar="TRACE",
    help="Share what a section costs among its steps as in this trace.",
)
@click.option(
    "--options",
    "by_options",
    is_flag=True,
    help="Only combinations of the scenario's own options.",
)
@click.option(
    "--program", is_flag=True, help="Also print each schedule as text of the language."
)
@click.option(
    "--limit",
    type=click.FloatRange(0.1),
    metavar="SECONDS",
    help="Stop after so long in all, and tell what is known; default none.",
)
@advice_options
@click.pass_context
def command(
    ctx: click.Context,
    scenario: str,
    goal: str,
    costs: str | None,
    machine: int | None,
    trace: str | None,
    by_options: bool,
    program: bool,
    limit: float | None,
    advice: Advice,
) -> None:
    """The fastest way through a scenario that keeps every check.

    Of a shutdown in phases: which steps of which CPUs may overlap, where all CPUs have
    to meet, what must stay serial and because of what. Of other scenarios: the
    combinations of their options that change how long they take. Each candidate is
    searched for violations before it is called safe.
    """
    from cpuhp.api import DEFAULT_CPUS
    from cpuhp.ordering.phases import PROTOCOL
    from cpuhp.ordering.workers import TimeIsUp

    base = advice.base(scenario)
    first = advice.scenario(scenario).timing(costs=costs)
    count = machine or first.costs.cpus or DEFAULT_CPUS
    phased = PROTOCOL in {unit.name for unit in base.program().units}
    try:
        if phased and not by_options:
            status = _phases(base, advice, first.costs, count, trace, program, limit)
        else:
            status = _options(base, advice, costs, first.costs, count, limit)
    except TimeIsUp:
        click.echo(
            f"nothing is known after {limit:g} s; with --cache DIR the next run goes on "
            "from here",
            err=True,
        )
        status = 3
    ctx.exit(status)


def _phases(
    base: Variant,
    advice: Advice,
    known: CostTable,
    count: int,
    trace: str | None,
    program: bool,
    limit: float | None,
) -> int:
    from cpuhp.api import Scenario
    from cpuhp.cli.estimate import states_of
    from cpuhp.ordering.assign import assign
    from cpuhp.ordering.phases import program_text, rows_of
    from cpuhp.report import phases as page
    from cpuhp.report.estimates import beyond_data, not_there
    from cpuhp.timing.estimate import estimate
    from cpuhp.timing.points import DOWN
    from cpuhp.timing.share import of_rows

    rows = rows_of(base)
    options = dict(base.options)
    whole = Scenario(base.program(), options)
    traced = whole.timing(trace=trace, states=states_of(trace, None)) if trace else None
    functions = {
        each.state.number: each.callback.name
        for each in base.program().callbacks
        if each.callback.direction == DOWN
    }
    table, seconds = of_rows(
        known, rows.online, functions, traced.costs if traced else None
    )

    def clock(variant: Variant) -> float:
        made = Scenario(variant.program(), dict(variant.options)).timing(costs=table)
        return estimate(made.model, "", count, made.costs).makespan

    with advice.judges(limit) as judges:
        found = assign(base, judges, clock, seconds, count)
    advice.print({**page.as_json(found, known.name, count), **beyond_data(known, count)},
                 [*page.text(found, known.name, count), *not_there(known, count)])  # fmt: skip
    if program and advice.style == "text":
        for step in found.steps:
            click.echo(f"\n// {step.seconds:.3f} s")
            click.echo(program_text(base, rows, step.assignment), nl=False)
    return _status(any(step.safe for step in found.steps), found.stopped)


def _options(
    base: Variant,
    advice: Advice,
    costs: str | None,
    known: CostTable,
    count: int,
    limit: float | None,
) -> int:
    from cpuhp.api import Scenario
    from cpuhp.ordering.parallel import fastest
    from cpuhp.report import parallel as page
    from cpuhp.report.estimates import beyond_data, not_there
    from cpuhp.timing.estimate import Estimate, estimate

    def clock(variant: Variant) -> Estimate:
        setup = Scenario(variant.program(), dict(variant.options)).timing(costs=costs)
        return estimate(setup.model, "", count, setup.costs)

    with advice.judges(limit) as judges:
        found = fastest(base, judges, clock, count, known.name)
    advice.print({**page.as_json(found), **beyond_data(known, count)},
                 [*page.text(found), *not_there(known, count)])  # fmt: skip
    return _status(bool(found.best), found.stopped)


def _status(found: bool, stopped: bool) -> int:
    return 0 if found else 3 if stopped else 1
