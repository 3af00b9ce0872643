"""A summary in the Markdown of GitHub, for pull requests and job summaries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

from cpuhp.report.answers import ShownAnswer
from cpuhp.report.results import Results
from cpuhp.report.terminal import Style, clean, interleaving, summary

MAX_STEPS = 400  # of one interleaving; job summaries have a limit


def markdown(results: Results) -> str:
    """Verdicts as tables, and each violation with its interleaving folded away."""
    return "\n".join(_lines(results)) + "\n"


def code(untrusted: str) -> str:
    """Untrusted text as code, also in a cell of a table: no markup, link or mention."""
    plain = " ".join(clean(untrusted).split()) or " "
    longest = max((len(run) for run in re.findall(r"`+", plain)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest else ""
    # A bar would end the cell, even in code; the table's own escape stands for one.
    return f"{fence}{pad}{plain}{pad}{fence}".replace("|", "\\|")


def _lines(results: Results) -> Iterator[str]:
    yield f"## {summary(list(results.answers))}"
    groups: dict[tuple[str, str], list[ShownAnswer]] = {}
    for answer in results.answers:
        options = " ".join(f"{k}={v}" for k, v in answer.options.items())
        groups.setdefault((answer.scenario, options), []).append(answer)
    for (scenario, options), answers in groups.items():
        first = answers[0]
        given = f" with {code(options)}" if options else ""
        yield ""
        yield f"### {code(scenario)}{given}"
        yield f"{first.modelled} of {first.steps} steps modelled"
        yield ""
        yield "| | verdict | CPUs | check | claim | seconds |"
        yield "|---|---|---|---|---|---:|"
        yield from (_row(answer) for answer in answers)
        for answer in answers:
            if answer.is_failure and answer.trace:
                yield from _violation(answer)
    if results.context.command:
        yield ""
        yield f"Made by {code(results.context.command)}"


def _row(answer: ShownAnswer) -> str:
    sign = "❌" if answer.is_failure else "❔" if answer.is_unknown else "✅"
    surprise = (
        "" if answer.is_as_expected else f" (expected {code(answer.expected or '')})"
    )
    reason = f" {code(answer.reason)}" if answer.reason else ""
    return (
        f"| {sign} | {answer.verdict}{surprise} | {answer.cpus} | {code(answer.check)} "
        f"| {code(answer.claim)}{reason} | {answer.seconds:.2f} |"
    )


def _violation(answer: ShownAnswer) -> Iterator[str]:
    assert answer.trace is not None
    steps = list(interleaving(answer.trace, Style()))
    count = len(answer.trace.steps)
    yield ""
    name = escape(clean(answer.check))
    yield f"<details><summary>{answer.verdict} <code>{name}</code>: {count} steps</summary>"
    yield ""
    shown = steps[:MAX_STEPS]
    longest = max(
        (len(run) for line in shown for run in re.findall(r"`+", line)), default=0
    )
    fence = "`" * max(3, longest + 1)
    yield f"{fence}text"
    yield from shown
    if len(steps) > len(shown):
        yield f"... and {len(steps) - len(shown)} lines more"
    yield fence
    yield ""
    yield "</details>"
