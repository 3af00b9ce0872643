"""`cpuhp schedule`: what may overlap, and how long it takes at best."""

from __future__ import annotations

import click

from cpuhp.cli._advice import Advice, advice_options

GROUP = "design"


@click.command(
    "schedule",
    short_help="The fastest way through a scenario that keeps every check.",
    epilog="Exit status: 0 there is one, 1 there is none, 2 bad input.",
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
@advice_options
@click.pass_context
def command(
    ctx: click.Context,
    scenario: str,
    goal: str,
    costs: str | None,
    machine: int | None,
    advice: Advice,
) -> None:
    """The fastest way through a scenario that keeps every check.

    Candidates are the combinations of the scenario's options that change how long it
    takes. Each is searched for violations before it is called safe.
    """
    from cpuhp.api import DEFAULT_CPUS, Scenario
    from cpuhp.ordering.parallel import fastest
    from cpuhp.ordering.variant import Variant
    from cpuhp.report import parallel as page
    from cpuhp.timing.estimate import Estimate, estimate

    base = advice.base(scenario)
    first = advice.scenario(scenario).timing(costs=costs)
    count = machine or first.costs.cpus or DEFAULT_CPUS

    def clock(variant: Variant) -> Estimate:
        setup = Scenario(variant.program(), dict(variant.options)).timing(costs=costs)
        return estimate(setup.model, "", count, setup.costs)

    with advice.judges() as judges:
        found = fastest(base, judges, clock, count, first.costs.name)
    advice.print(page.as_json(found), page.text(found))
    ctx.exit(0 if found.best else 1)
