"""`cpuhp check`: verdicts, and the interleaving of each violation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cpuhp.cli._options import assignments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cpuhp.cli._work import Plan
    from cpuhp.report.answers import ShownAnswer
    from cpuhp.report.terminal import Style

GROUP = "verify"


def _cpus(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    if value == "all":
        return None
    if value.isdigit() and 1 <= int(value) <= 64:
        return int(value)
    raise click.BadParameter(f"'{value}' is neither 'all' nor a number from 1 to 64")


@click.command()
@click.argument("scenarios", nargs=-1, metavar="[SCENARIO|FILE.hp]...")
@click.option("--order", metavar="FILE", help="hotplug/states file or .table file.")
@click.option("--tree", metavar="DIR", help="Kernel tree to take the order from.")
@click.option(
    "--cpus",
    default="all",
    callback=_cpus,
    metavar="N|all",
    help="Cover exactly N CPUs, the control CPU among them; default all.",
)
@click.option(
    "--check", "checks", default="*", metavar="GLOB", help="Only these checks."
)
@click.option(
    "-D",
    "options",
    multiple=True,
    callback=assignments,
    metavar="OPTION=VALUE",
    help="Set an option of the scenario.",
)
@click.option(
    "--jobs", type=click.IntRange(1, 256), help="Processes; default all cores."
)
@click.option(
    "--timeout", type=click.FloatRange(0.1), default=60.0, help="Seconds per claim."
)
@click.option(
    "--memory", type=click.IntRange(64), metavar="MIB", help="Limit per process."
)
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text")
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    help="Write results and certificates here.",
)
@click.option(
    "--resume",
    type=click.Path(exists=True, file_okay=False),
    help="Skip what has its certificate in this folder; write the rest there.",
)
@click.option(
    "--expect", is_flag=True, help="Compare with the verdicts in the headers."
)
@click.option("--steps", is_flag=True, help="Name the steps that have no model.")
@click.option("--quiet", is_flag=True, help="Verdicts only, no interleavings.")
@click.pass_context
def command(
    ctx: click.Context,
    scenarios: tuple[str, ...],
    order: str | None,
    tree: str | None,
    cpus: int | None,
    checks: str,
    options: dict[str, str],
    jobs: int | None,
    timeout: float,
    memory: int | None,
    style: str,
    out: str | None,
    resume: str | None,
    expect: bool,
    steps: bool,
    quiet: bool,
) -> None:
    """Check scenarios: every claim gets a verdict, every violation an interleaving.

    Without arguments, all shipped scenarios. A scenario is a name that `cpuhp list`
    shows, or a spec file.
    """
    from cpuhp.cli._work import Folder, certified, order_of, plan

    table = order_of(order, tree)
    earlier = certified(resume) if resume else {}
    limit = memory and memory << 20
    todo: Plan = plan(scenarios, table, checks, options, cpus, timeout, limit, earlier)
    folder = out or resume
    keep = Folder(folder).keep if folder else None
    answers: list[ShownAnswer] = []
    interrupted = False
    try:
        for answer in _answers(todo, jobs, style, quiet):
            answers.append(keep(answer) if keep else answer)
    except KeyboardInterrupt:
        interrupted = True
        click.echo(f"interrupted: {len(answers)} of {len(todo.jobs)} done", err=True)
    if style == "json":
        import json

        from cpuhp.report.answers import as_json

        click.echo(json.dumps(as_json(answers), indent=1))
    else:
        _tail(todo, answers, steps, expect)
    ctx.exit(130 if interrupted else _status(answers, expect))


def _answers(
    todo: Plan, jobs: int | None, style: str, quiet: bool
) -> Iterator[ShownAnswer]:
    from cpuhp.cli._progress import Progress
    from cpuhp.cli._work import run
    from cpuhp.report.terminal import heading, row, violation

    text = style == "text"
    look = _style()
    shown: str | None = None
    violations: list[ShownAnswer] = []
    with Progress(len(todo.jobs)) as progress:
        for answer in run(todo, jobs, progress.tell):
            if text:
                if answer.scenario != shown:
                    shown = answer.scenario
                    for line in heading(answer):
                        progress.print(line)
                progress.print(row(answer, look))
                if answer.is_failure or answer.is_unknown:
                    violations.append(answer)
            yield answer
    if text and not quiet:
        for answer in violations:
            for line in violation(answer, look):
                click.echo(line)


def _style() -> Style:
    import os
    import shutil
    import sys

    from cpuhp.report.terminal import Style

    if not sys.stdout.isatty():
        return Style()
    width = min(shutil.get_terminal_size().columns, 120)
    return Style(width, "NO_COLOR" not in os.environ)


def _tail(todo: Plan, answers: list[ShownAnswer], steps: bool, expect: bool) -> None:
    from cpuhp.report.terminal import clean, summary

    click.echo()
    if steps:
        for scenario in todo.scenarios:
            click.echo(f"{scenario.name}: steps of the table without a model:")
            for state in scenario.passed_through:
                click.echo(f"  {state.number:3} {clean(state.name)}")
    for scenario in todo.scenarios:
        added = [s for s in scenario.program.table.states if s.added]
        for state in added:
            click.echo(
                f"added to the table by {scenario.name}: {state.number} {state.name}"
            )
    if expect:
        wrong = [a for a in answers if not a.is_as_expected]
        told = sum(a.expected is not None for a in answers)
        click.echo(f"expectations: {told - len(wrong)} of {told} met")
    click.echo(summary(answers))


def _status(answers: list[ShownAnswer], expect: bool) -> int:
    if expect:
        return 0 if all(a.is_as_expected for a in answers) else 1
    if any(a.is_failure for a in answers):
        return 1
    return 3 if any(a.is_unknown for a in answers) else 0
