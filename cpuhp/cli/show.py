"""`cpuhp show`: steps through an interleaving in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cpuhp.cli._options import style, width

if TYPE_CHECKING:
    from cpuhp.report.stepper import Stepper
    from cpuhp.report.terminal import Style

GROUP = "look"
NEXT = frozenset(["n", " ", "\r", "\n", "l", "j", "\x1b[C", "\x1b[B"])
BACK = frozenset(["p", "b", "h", "k", "\x7f", "\x1b[D", "\x1b[A"])
FIRST = frozenset(["g", "\x1b[H", "\x1b[1~"])
LAST = frozenset(["G", "\x1b[F", "\x1b[4~"])
QUIT = frozenset(["q", "\x03", "\x04", "\x1b"])
KEYS = "n next   p back   g start   G end   q quit"


@click.command(
    "show",
    short_help="Step through an interleaving in the terminal.",
    epilog="Exit status: 0 it was shown, 2 the input is not usable.",
)
@click.argument("result", metavar="RESULT.json")
@click.argument("check", metavar="[CHECK]", required=False)
@click.option(
    "--claim",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Which of the check's interleavings, from 0; violations come first.",
)
@click.option(
    "--step", type=click.IntRange(0), metavar="N", help="Show this step only."
)
@width
def command(
    result: str, check: str | None, claim: int, step: int | None, width: int | None
) -> None:
    """Step through the interleaving of CHECK in what `cpuhp check --format json` wrote.

    In a terminal the keys n and p (or the arrows) go on and back, g and G to the start
    and the end, q ends. Elsewhere all steps are printed. Without CHECK it is the first
    violation.
    """
    import sys

    from cpuhp.cli._files import read_results
    from cpuhp.diagnostics import fail
    from cpuhp.report.results import interleaving_of
    from cpuhp.report.stepper import stepper

    results = read_results(result)
    found = interleaving_of(results, check, claim, result)
    chosen = stepper(found, results.context)
    look = style(width)
    count = len(chosen.trace.steps)
    if step is not None:
        if step > count:
            raise fail("HP811", f"the interleaving has {count} steps, not {step}")
        _print(chosen, step, look)
    elif sys.stdin.isatty() and sys.stdout.isatty():
        _walk(chosen, look, count)
    else:
        _everything(chosen, look)


def _print(chosen: Stepper, number: int, look: Style) -> None:
    for line in chosen.frame(number, look):
        click.echo(line)


def _everything(chosen: Stepper, look: Style) -> None:
    from cpuhp.report.terminal import violation

    for line in list(violation(chosen.answer, look))[1:]:
        click.echo(line)
    for moment in chosen.moments:
        if moment.bad:
            told = look.text(f"{moment.fault} in step {moment.number}: {moment.bad}")
            click.echo(click.wrap_text(told, look.width))


def _walk(chosen: Stepper, look: Style, count: int) -> None:
    """A screen a step, until the reader has seen enough."""
    at = 0
    while True:
        click.clear()
        _print(chosen, at, look)
        click.echo()
        click.echo(KEYS[: look.width])
        try:
            key = click.getchar()
        except EOFError:  # Ctrl-D
            return
        if key in QUIT:
            return
        if key in NEXT:
            at = min(count, at + 1)
        elif key in BACK:
            at = max(0, at - 1)
        elif key in FIRST:
            at = 0
        elif key in LAST:
            at = count
