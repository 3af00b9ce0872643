"""`cpuhp estimate`: how long a scenario takes, and what would help most."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cpuhp.cli._options import assignments, order_option, settings_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from cpuhp.api import Scenario
    from cpuhp.kernel.tables.states_file import KernelTable
    from cpuhp.timing.setup import Setup

GROUP = "design"
PLOTS = ("png", "svg", "pdf", "dot")


@click.command(
    "estimate",
    short_help="How long a scenario takes, and what would help.",
    epilog="Exit status: 0 estimated, 2 the input is not usable.",
)
@click.argument("scenario", metavar="[SCENARIO|FILE.hp]", required=False)
@click.option(
    "--cpus",
    type=click.IntRange(1, 4096),
    metavar="N",
    help="CPUs of the machine; default as the costs say.",
)
@click.option(
    "--costs",
    metavar="NAME|FILE.toml",
    help="What steps cost: a shipped machine or a file (docs/estimate.md); default "
    "what is shipped for the scenario.",
)
@click.option(
    "--param",
    "params",
    multiple=True,
    callback=assignments,
    metavar="NAME=VALUE",
    help="A parameter or constant of the costs ('early=8 ms'), or an option of the "
    "scenario.",
)
@click.option(
    "--trace",
    type=click.Path(),
    metavar="FILE",
    help="Take the costs from a recorded trace (see cpuhp record and conform).",
)
@click.option(
    "--states",
    type=click.Path(),
    metavar="FILE",
    help="The hotplug/states file of the traced kernel. Default: the file beside the "
    "trace that ends in .states.",
)
@click.option(
    "--sweep",
    metavar="NAME=LOW..HIGH",
    help="'cpus=2..1024' doubles, 'cpus=10,20,40' lists; or a parameter of the costs.",
)
@click.option(
    "--plot",
    metavar="FILE",
    help="Draw the schedule, or the sweep: .png, .svg or .pdf (needs matplotlib); "
    ".dot is the critical path as Graphviz text.",
)
@click.option(
    "--claims", is_flag=True, help="The sources' numbers against the model's."
)
@click.option("--samples", type=click.IntRange(0, 100_000), default=0,
              metavar="N",
              help="Draw the costs that are distributions so many times.")  # fmt: skip
@click.option(
    "--seed", type=int, default=0, metavar="N", help="Seed of the draws; default 0."
)
@order_option
@settings_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    help="Default text.",
)
def command(
    scenario: str | None,
    cpus: int | None,
    costs: str | None,
    params: dict[str, str],
    trace: str | None,
    states: str | None,
    sweep: str | None,
    plot: str | None,
    claims: bool,
    samples: int,
    seed: int,
    order: str | None,
    options: dict[str, str],
    form: str,
) -> None:
    """Run SCENARIO against the clock: makespan, critical path, what would help.

    The scenario's own waits, locks and completions decide what overlaps; the costs of
    its steps come from a file or from a trace. Costs of shipped machines are used if
    none are named.
    """
    if claims:
        _claims(scenario, form)
        return
    if scenario is None:
        raise click.UsageError("name a scenario, or ask for --claims")
    from cpuhp.api import load

    if sweep is not None and samples:
        raise click.UsageError("a sweep draws no samples: leave out --samples")
    kind = _kind(plot)
    loaded = load(scenario, order=order, options=options)
    setup = loaded.timing(
        costs=costs, params=params, trace=trace, states=states_of(trace, states)
    )
    if sweep is not None:

        def again(name: str, value: str) -> Setup:
            return loaded.timing(
                costs=costs,
                params={**params, name: value},
                trace=trace,
                states=states_of(trace, states),
            )

        _sweep(loaded, setup, sweep, cpus, again, plot, kind, form)
    else:
        _estimate(loaded, setup, cpus, samples, seed, plot, kind, form)


def _kind(plot: str | None) -> str:
    from pathlib import Path

    from cpuhp.diagnostics import fail

    if plot is None:
        return ""
    kind = Path(plot).suffix.lower().removeprefix(".")
    if kind not in PLOTS:
        raise fail("HP930", f"'{plot}' does not tell a form of picture",
                   help="a name that ends in .png, .svg, .pdf or .dot")  # fmt: skip
    if not Path(plot).parent.is_dir():
        raise fail("HP930", f"there is no folder '{Path(plot).parent}' to write to")
    return kind


def states_of(trace: str | None, states: str | None) -> KernelTable | None:
    """The table that names the traced steps: given, or beside the trace."""
    if trace is None:
        return None
    from cpuhp.cli.conform import table_beside

    return table_beside(trace, states)


def _estimate(
    loaded: Scenario,
    setup: Setup,
    cpus: int | None,
    samples: int,
    seed: int,
    plot: str | None,
    kind: str,
    form: str,
) -> None:
    from cpuhp.api import DEFAULT_CPUS
    from cpuhp.report.estimates import data, text
    from cpuhp.timing.estimate import estimate

    count = cpus or setup.costs.cpus or DEFAULT_CPUS
    found = estimate(
        setup.model, loaded.name, count, setup.costs, samples=samples, seed=seed
    )
    if plot:
        from cpuhp.report.plots import critical_dot, gantt

        drawn = critical_dot(found) if kind == "dot" else gantt(found, kind)
        _write(plot, drawn)
    _print(data(found) if form == "json" else text(found))


def _sweep(
    loaded: Scenario,
    setup: Setup,
    wanted: str,
    cpus: int | None,
    again: Callable[[str, str], Setup],
    plot: str | None,
    kind: str,
    form: str,
) -> None:
    from cpuhp.api import DEFAULT_CPUS
    from cpuhp.report.estimates import sweep_data, sweep_text
    from cpuhp.timing.sweep import swept

    count = cpus or setup.costs.cpus or DEFAULT_CPUS
    found = swept(setup, wanted, count, again)
    if plot:
        from cpuhp.diagnostics import fail
        from cpuhp.report.plots import scaling

        if kind == "dot":
            raise fail("HP930", "a sweep is drawn as .png, .svg or .pdf")
        _write(plot, scaling(loaded.name, setup.costs.name, found, kind))
    least = int(found.points[0].value) if found.name == "cpus" else count
    if form == "json":
        _print(sweep_data(loaded.name, setup.costs, found, least))
    else:
        over = "" if found.name == "cpus" else f" on {count} CPUs"
        _print(sweep_text(f"{loaded.name}{over}", setup.costs, found, least))


def _claims(scenario: str | None, form: str) -> None:
    from cpuhp.diagnostics import fail
    from cpuhp.report.claims import claims_data, claims_text
    from cpuhp.timing.claims import settle, shipped_claims

    rows = settle(shipped_claims())
    if scenario is not None:
        rows = tuple(row for row in rows if scenario in row.claim.scenarios)
        if not rows:
            raise fail("HP941", f"no source claims anything of '{scenario}'")
    _print(claims_data(rows) if form == "json" else claims_text(rows))


def _print(found: object) -> None:
    import json

    if isinstance(found, str):
        click.echo(found, nl=False)
    else:
        click.echo(json.dumps(found, indent=2))


def _write(plot: str, drawn: str | bytes) -> None:
    from pathlib import Path

    from cpuhp.files import write_whole

    write_whole(Path(plot), drawn)
