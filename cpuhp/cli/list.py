"""`cpuhp list`: what there is to check."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from cpuhp.cli._options import order_option

if TYPE_CHECKING:
    from cpuhp.api import Scenario

GROUP = "look"


@click.command(
    "list",
    short_help="List scenarios, checks, hotplug steps or options.",
    epilog="Exit status: 0 listed, 2 bad input.",
)
@click.argument(
    "what",
    type=click.Choice(["scenarios", "checks", "steps", "options"]),
    default="scenarios",
)
@click.argument("scenario", required=False)
@order_option
def command(what: str, scenario: str | None, order: str | None) -> None:
    """List scenarios, checks, hotplug steps or options.

    Without arguments the shipped scenarios. steps and options are those of a SCENARIO,
    a name or a spec file; checks are all of the catalogue, or those of a SCENARIO.
    """
    lines = {"scenarios": _scenarios, "checks": _checks}
    if what in lines and not (what == "checks" and scenario):
        if scenario or order:
            raise click.UsageError(f"'cpuhp list {what}' takes no scenario, no --order")
        for line in lines[what]():
            click.echo(line)
        return
    if scenario is None:
        raise click.UsageError(f"'cpuhp list {what}' takes a scenario")
    from cpuhp.api import load

    loaded = load(scenario, order=order)
    tell = {"checks": _own_checks, "steps": _steps, "options": _options}[what]
    for line in tell(loaded):
        click.echo(line)


def _scenarios() -> list[str]:
    from cpuhp.api import scenarios
    from cpuhp.language.library import shipped

    units = shipped().units
    return [
        f"{name:<34} {_first_sentence(units[name.replace('-', '_')].doc)}"
        for name in scenarios()
    ]


def _checks() -> list[str]:
    from cpuhp.language.library import shipped

    return [
        f"{name:<42} {_first_sentence(check.doc)}"
        for name, check in sorted(shipped().checks.items())
        if check.span.source.name.startswith("checks/")
    ]


def _own_checks(loaded: Scenario) -> list[str]:
    return [f"{p.check:<42} {p.text}" for _, _, p in loaded.claims()]


def _steps(loaded: Scenario) -> list[str]:
    return [
        f"{row.number:3} {row.section:<8} {row.name + (' (added)' * row.added):<38} "
        f"{', '.join(row.models) or '-'}"
        for row in loaded.shown().rows
    ]


def _options(loaded: Scenario) -> list[str]:
    return [
        f"{name} = {value}  ({sort})  {_first_sentence(doc)}"
        for name, sort, value, doc in loaded.options()
    ]


def _first_sentence(doc: str) -> str:
    text = re.sub(r"^\d+\. ", "", " ".join(doc.split()))
    return text.split(". ")[0].rstrip(".")
