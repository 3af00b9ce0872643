"""`cpuhp check`: verdicts, and the interleaving of each violation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cpuhp.cli._options import (
    jobs_option,
    named,
    order_option,
    settings_option,
    timeout_option,
    tree_option,
)
from cpuhp.cli._options import style as style_of
from cpuhp.cli._options import width as width_option

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


@click.command(
    "check",
    short_help="Verdicts of scenarios, an interleaving a violation.",
    epilog="Exit status: 0 nothing violated (with --expect: all as expected), "
    "1 violated, 2 bad input, 3 something unknown.",
)
@click.argument("scenarios", nargs=-1, metavar="[SCENARIO|FILE.hp]...")
@order_option
@tree_option
@click.option(
    "--cpus",
    default="all",
    callback=_cpus,
    metavar="N|all",
    help="Cover exactly N CPUs, the control CPU among them; default every number.",
)
@click.option(
    "--check",
    "checks",
    multiple=True,
    metavar="GLOB",
    help="Only these checks; may be given several times.",
)
@settings_option
@jobs_option
@timeout_option("per claim")
@click.option(
    "--memory",
    type=click.IntRange(64),
    metavar="MIB",
    help="Limit per process; default none.",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "json"]),
    default="text",
    help="Default text; json is told in docs/json.md.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    callback=named,
    metavar="DIR",
    help="Write DIR/results.json and the certificates.",
)
@click.option(
    "--report",
    type=click.Path(file_okay=False),
    callback=named,
    metavar="DIR",
    help="Write DIR/report.html, a page for people, and DIR/results.json.",
)
@click.option(
    "--resume",
    type=click.Path(exists=True, file_okay=False),
    metavar="DIR",
    help="Skip what has its certificate in DIR; write the rest there.",
)
@click.option(
    "--expect", is_flag=True, help="Compare with the verdicts in the specs' headers."
)
@click.option(
    "--certify",
    "recheck",
    is_flag=True,
    help="Have each proof checked again, as 'cpuhp certify' does, before it is told.",
)
@click.option("--steps", is_flag=True, help="Name the steps that have no model.")
@width_option
@click.option("--quiet", is_flag=True, help="Verdicts only, no interleavings.")
@click.pass_context
def command(
    ctx: click.Context,
    scenarios: tuple[str, ...],
    order: str | None,
    tree: str | None,
    cpus: int | None,
    checks: tuple[str, ...],
    options: dict[str, str],
    jobs: int | None,
    timeout: float,
    memory: int | None,
    style: str,
    out: str | None,
    report: str | None,
    resume: str | None,
    expect: bool,
    recheck: bool,
    steps: bool,
    width: int | None,
    quiet: bool,
) -> None:
    """Check scenarios: every claim gets a verdict, every violation an interleaving.

    Without arguments, all shipped scenarios; with a table, those that its
    machine can run. A scenario is a name that `cpuhp list` shows, or a spec file.
    """
    from cpuhp.api import Settings
    from cpuhp.cli._work import Folder, certified, order_of, plan

    table = order_of(order, tree)
    earlier = certified(resume) if resume else {}
    folder = out or resume
    settings = Settings(
        cpus=cpus,
        timeout=timeout,
        memory=memory and memory << 20,
        certify=folder is not None,
        recheck=recheck,
    )
    todo: Plan = plan(scenarios, table, checks, options, settings, earlier)
    if todo.elsewhere:
        told = ", ".join(todo.elsewhere)
        click.echo(f"go by steps that the table lacks, left out: {told}", err=True)
    keep = Folder(folder, todo, _told()).keep if folder else None
    answers: list[ShownAnswer] = []
    interrupted = False
    try:
        for answer in _answers(
            todo, jobs, None if style == "json" else style_of(width), quiet
        ):
            answers.append(keep(answer) if keep else answer)
    except KeyboardInterrupt:
        interrupted = True
        click.echo(f"interrupted: {len(answers)} of {len(todo.claims)} done", err=True)
    if style == "json":
        click.echo(_json(todo, answers))
    else:
        _tail(todo, answers, checks, steps, expect)
    if report is not None:
        _report(todo, answers, report)
    ctx.exit(130 if interrupted else _status(answers, expect))


def _json(todo: Plan, answers: list[ShownAnswer]) -> str:
    import json

    from cpuhp.api import context_of
    from cpuhp.report.answers import as_json

    context = context_of(todo.scenarios, answers, _told())
    return json.dumps(as_json(answers, context), indent=1)


def _report(todo: Plan, answers: list[ShownAnswer], folder: str) -> None:
    from pathlib import Path

    from cpuhp.api import context_of
    from cpuhp.cli._page import of_run
    from cpuhp.cli._progress import Progress
    from cpuhp.files import write_whole
    from cpuhp.report.results import Results

    results = Results(tuple(answers), context_of(todo.scenarios, answers, _told()))
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    count = len(answers)
    with Progress(count) as progress:
        text = of_run(results, todo.scenarios, lambda told: progress.tell(count, told))
    write_whole(root / "results.json", _json(todo, answers) + "\n")
    write_whole(root / "report.html", text)
    click.echo(f"report: {root / 'report.html'}", err=True)


def _told() -> str:
    """The command as it was given."""
    import shlex
    import sys

    return shlex.join(["cpuhp", *sys.argv[1:]])


def _answers(
    todo: Plan, jobs: int | None, look: Style | None, quiet: bool
) -> Iterator[ShownAnswer]:
    from cpuhp.cli._progress import Progress
    from cpuhp.cli._work import run
    from cpuhp.report.terminal import heading, row, violation

    shown: str | None = None
    violations: list[ShownAnswer] = []
    try:
        with Progress(len(todo.claims)) as progress:
            for answer in run(todo, jobs, progress.tell):
                if look:
                    if answer.scenario != shown:
                        shown = answer.scenario
                        for line in heading(answer, look):
                            progress.print(line)
                    progress.print(row(answer, look))
                    if answer.is_failure or answer.is_unknown:
                        violations.append(answer)
                yield answer
    finally:
        if look and not quiet:
            for answer in violations:
                for line in violation(answer, look):
                    click.echo(line)


def _tail(
    todo: Plan,
    answers: list[ShownAnswer],
    checks: tuple[str, ...],
    steps: bool,
    expect: bool,
) -> None:
    from cpuhp.report.terminal import clean, summary

    click.echo()
    if steps:
        for scenario in todo.scenarios:
            click.echo(f"{scenario.name}: steps of the table without a model:")
            for state in scenario.passed_through:
                click.echo(f"  {state.number:3} {clean(state.name)}")
            for callback in scenario.program.unplaced:
                what = f"{callback.direction} {callback.name} for {callback.state}"
                click.echo(f"  without a place in the table: {clean(what)}")
    for scenario in todo.scenarios:
        added = [s for s in scenario.program.table.states if s.added]
        for state in added:
            click.echo(
                f"added to the table by {scenario.name}: {state.number} {state.name}"
            )
    _left_out(todo, checks)
    _not_asked(todo, checks)
    if expect:
        wrong = [a for a in answers if not a.is_as_expected]
        told = sum(a.expected is not None for a in answers)
        click.echo(f"expectations: {told - len(wrong)} of {told} met")
    click.echo(summary(answers))


def _left_out(todo: Plan, checks: tuple[str, ...]) -> None:
    from cpuhp.api.scenario import is_asked
    from cpuhp.report.prose import wrapped

    for scenario in todo.scenarios:
        found = {
            name: states
            for name, states in scenario.left_out.items()
            if is_asked(name, checks)
        }
        if found:
            click.echo(f"left out of {scenario.name}: claims about steps that the table "
                       "does not have")  # fmt: skip
        for name, states in found.items():
            for line in wrapped(f"{name}: {', '.join(states)}", "  ", "    "):
                click.echo(line)


def _not_asked(todo: Plan, checks: tuple[str, ...]) -> None:
    from cpuhp.api.scenario import is_asked
    from cpuhp.report.prose import wrapped

    for scenario in todo.scenarios:
        found: dict[tuple[str, ...], list[str]] = {}
        for name, components in scenario.not_asked.items():
            if is_asked(name, checks):
                found.setdefault(components, []).append(name)
        for components, names in found.items():
            click.echo(
                f"not asked of {scenario.name}, which has a copy of what they require "
                f"({', '.join(components)}):"
            )
            for line in wrapped(", ".join(names), "  ", "  "):
                click.echo(line)


def _status(answers: list[ShownAnswer], expect: bool) -> int:
    if expect:
        return 0 if all(a.is_as_expected for a in answers) else 1
    if any(a.is_failure for a in answers):
        return 1
    # Of what was asked for, all may be left out: then nothing is known.
    return 3 if not answers or any(a.is_unknown for a in answers) else 0
