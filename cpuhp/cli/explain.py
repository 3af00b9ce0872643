"""`cpuhp explain`: what a check claims and why it matters, or why its proof holds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from cpuhp.cli._options import order_option, settings_option, timeout_option

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cpuhp.language.tree import CheckDeclaration
    from cpuhp.report.answers import ShownAnswer

GROUP = "verify"
_POINT = re.compile(r"\b(\w+):\w")  # a program point begins with the function's name


@click.command(
    "explain",
    short_help="What a check claims, and why; with --proof, why it holds.",
    epilog="Exit status: 0 explained, 2 bad input; with --proof 3 if it is not proved.",
)
@click.argument("names", nargs=-1, required=True, metavar="[SCENARIO|FILE.hp] CHECK")
@click.option(
    "--proof", is_flag=True, help="SCENARIO CHECK: the invariant in sentences."
)
@order_option
@settings_option
@timeout_option("of the proof")
@click.pass_context
def command(
    ctx: click.Context,
    names: tuple[str, ...],
    proof: bool,
    order: str | None,
    options: dict[str, str],
    timeout: float,
) -> None:
    """Explain a check: its claims, why they matter, which scenarios they apply to.
    Without a scenario, it is one of those that are shipped.

    With --proof, the invariant that proves it in a scenario: sentences that hold at the
    start, that every step keeps, and from which the claim follows. Each can be held
    against the code; program points are lines of the spec.
    """
    if proof:
        if len(names) != 2:
            raise click.UsageError("--proof takes a scenario and a check")
        ctx.exit(_proof(names[0], names[1], order, options, timeout))
    if len(names) > 2:
        raise click.UsageError("one check at a time")
    _explain(_checks(names[0] if len(names) == 2 else None, order, options), names[-1])


def _checks(
    scenario: str | None, order: str | None, options: dict[str, str]
) -> Mapping[str, CheckDeclaration]:
    """The checks that are shipped, or those that a scenario is asked."""
    from cpuhp.api import load
    from cpuhp.language.library import shipped

    if scenario is None:
        return shipped().checks
    return load(scenario, order=order, options=options).program.checks


def _explain(checks: Mapping[str, CheckDeclaration], name: str) -> None:
    from cpuhp.diagnostics import fail, suggestion

    if name not in checks:
        raise fail(
            "HP503",
            f"there is no check '{name}'",
            help=suggestion(name, checks)
            or "one of a file of yours: cpuhp explain FILE.hp CHECK",
        )
    check = checks[name]
    click.echo(f"{name}  ({check.span})\n")
    for line in check.doc.splitlines():
        click.echo(f"  {line}")
    if check.doc:
        click.echo()
    for claim in check.claims:
        click.echo("  " + " ".join(claim.span.text.split()))
    if check.requires:
        used = ", ".join(required.name for required in check.requires)
        click.echo(f"\n  applies to scenarios that use: {used}")


def _proof(
    scenario: str,
    check: str,
    order: str | None,
    options: dict[str, str],
    timeout: float,
) -> int:
    from cpuhp.api import Settings, load

    loaded = load(scenario, order=order, options=options)
    settings = Settings(timeout=timeout)
    status = 0
    for name, number, _ in loaded.claims(check):
        # Each for itself: a proof for several claims, or one that another has taught,
        # is found faster, but it has more clauses to read.
        answer = loaded.answer(name, number, settings)
        for line in _told(answer, loaded.program.files()):
            click.echo(line)
        if answer.invariant is None and answer.kind != "sometimes":
            status = 3
    return status


def _words(sentences: str) -> Iterator[str]:
    """What sentences say in words of their own."""
    if re.search(r"\bother\b", sentences):
        yield "  other: a CPU that the sentence does not name, nor the control CPU"
    for mask in dict.fromkeys(re.findall(r"\|(\w+)\|", sentences)):
        yield f"  |{mask}|: how many CPUs are in {mask}"


def _told(answer: ShownAnswer, files: dict[str, str]) -> Iterator[str]:
    """The invariant, and where the functions stand whose lines it names."""
    from cpuhp.report.prose import wrapped

    yield from wrapped(f"{answer.verdict}  {answer.check}: {answer.claim}", "", "    ")
    if answer.reason:
        yield from wrapped(answer.reason, "  ", "  ")
    for about, said in answer.told_parts():
        if about:
            yield from wrapped(f"{about}{':' if said else ''}", "  ", "    ")
        for sentence in dict.fromkeys(said):
            yield from wrapped(sentence, "  - ", "      ")
    points = _POINT.findall("\n".join(answer.invariant or ()))
    yield from _words("\n".join(answer.invariant or ()))
    named = sorted(files.keys() & points)
    for file in sorted({files[name] for name in named}):
        here = [name for name in named if files[name] == file]
        yield from wrapped(f"{file}: {', '.join(here)}", "  ", "      ")
