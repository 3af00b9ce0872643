"""`cpuhp why`: what each piece of a scenario is for, and which pieces suffice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cpuhp.cli._advice import Advice, advice_options

if TYPE_CHECKING:
    from cpuhp.ordering.variant import Variant
    from cpuhp.ordering.why import Why

GROUP = "design"
KINDS = ("option", "lock", "wait", "choice", "order")


@click.command(
    "why",
    short_help="Which checks need which option, lock, wait and order.",
    epilog="Exit status: 0 told, 2 bad input.",
)
@click.argument("scenario", metavar="SCENARIO|FILE.hp")
@click.option(
    "--check", "checks", default="*", metavar="GLOB", help="Only these checks."
)
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(KINDS),
    help="Only pieces of this kind; repeatable; default all.",
)
@click.option(
    "--mutate", is_flag=True, help="Change each statement in turn: which checks notice?"
)
@click.option(
    "--traces",
    is_flag=True,
    help="Print the interleaving for each piece that is needed.",
)
@advice_options
@click.pass_context
def command(
    ctx: click.Context,
    scenario: str,
    checks: str,
    kinds: tuple[str, ...],
    mutate: bool,
    traces: bool,
    advice: Advice,
) -> None:
    """Why is each option, lock, wait, condition and order there?

    Each is taken away in turn. What no check notices is redundant, or a check is
    missing.
    """
    from cpuhp.report import why as page

    base = advice.base(scenario)
    if mutate:
        _mutate(base, advice)
        ctx.exit(0)
    with advice.judges() as judges:
        from cpuhp.ordering.why import why

        found = why(base, judges, checks, kinds or KINDS)
        if not found.holds:
            advice.scenario(scenario).claims(checks)  # tells which checks there are
        advice.print(page.as_json(found), page.text(found))
        if traces and advice.style == "text":
            _traces(found, advice)
    ctx.exit(0)


def _mutate(base: Variant, advice: Advice) -> None:
    from cpuhp.ordering.mutate import mutate
    from cpuhp.report import mutate as page

    own = {unit.span.source.name for unit in base.units}
    sources = frozenset({base.scenario.span.source.name, *own})
    with advice.judges() as judges:
        found = mutate(base, judges, sources)
    advice.print(page.as_json(found), page.text(found))


def _traces(found: Why, advice: Advice) -> None:
    from cpuhp.ordering.why import Role

    for row in found.rows:
        for check in row.checks(Role.NEEDED):
            cell = row.cells[check]
            assert cell.question is not None
            advice.interleaving(
                row.element.without, cell.question, f"without {row.element.name}"
            )
