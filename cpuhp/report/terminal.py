"""Verdict tables and interleavings for a terminal or a mail: plain text, 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from textwrap import wrap

from cpuhp.report.answers import ShownAnswer, ShownStep, ShownTrace

_COLORS = {
    "PROVED": "32",
    "WITNESSED": "32",
    "HOLDS_TO_BOUND": "33",
    "UNKNOWN": "33",
    "UNREACHABLE": "31",
    "VIOLATED": "31;1",
}


@dataclass(frozen=True)
class Style:
    """Columns, and what the reader can show: colours, and more than ASCII."""

    width: int = 80
    color: bool = False
    ascii: bool = True

    def text(self, untrusted: str) -> str:
        """Text that harms no terminal, as far as the reader can show it."""
        plain = clean(untrusted)
        return plain.encode("ascii", "replace").decode() if self.ascii else plain

    def verdict(self, verdict: str, width: int = 0) -> str:
        padded = verdict.ljust(width)
        if not self.color:
            return padded
        return f"\x1b[{_COLORS[verdict]}m{verdict}\x1b[0m{padded[len(verdict) :]}"


def clean(text: str) -> str:
    """Untrusted text without control characters."""
    return "".join(c if c.isprintable() else "?" for c in text)


def table(answers: Iterable[ShownAnswer], style: Style) -> Iterator[str]:
    """One row a claim, grouped by scenario."""
    scenario = None
    for answer in answers:
        if answer.scenario != scenario:
            scenario = answer.scenario
            yield from heading(answer, style)
        yield row(answer, style)


def heading(answer: ShownAnswer, style: Style = Style()) -> Iterator[str]:
    options = " ".join(f"{k}={v}" for k, v in answer.options.items())
    yield ""
    yield f"{style.text(answer.scenario)}  {style.text(options)}".rstrip()
    yield f"  {answer.modelled} of {answer.steps} steps modelled"


def row(answer: ShownAnswer, style: Style) -> str:
    verdict = style.verdict(answer.verdict, 11)
    covers = f"cpus={answer.cpus}"
    surprise = "" if answer.is_as_expected else f"  expected {answer.expected}"
    name = style.text(answer.check)
    if answer.kind not in ("always", "never"):
        name += f" ({answer.kind})"
    room = style.width - 38 - len(surprise)
    if len(name) > room:
        name = name[: room - 3] + "..."
    return f"  {verdict} {covers:<9} {name:<{room}} {answer.seconds:6.2f} s{surprise}"


def violation(answer: ShownAnswer, style: Style) -> Iterator[str]:
    """The interleaving of a violated claim, one line a step, a column per CPU."""
    yield ""
    told = style.text(f"{answer.verdict}  {answer.check}: {answer.claim}")
    first, *more = wrap(told, style.width, subsequent_indent="    ")
    yield style.verdict(answer.verdict) + first[len(answer.verdict) :]
    yield from more
    yield f"  scenario {style.text(answer.scenario)}"
    if answer.reason:
        yield from (
            f"  {line}" for line in wrap(style.text(answer.reason), style.width - 2)
        )
    if answer.trace:
        yield from interleaving(answer.trace, style)


def interleaving(trace: ShownTrace, style: Style) -> Iterator[str]:
    """Steps in time order. Each CPU has a column; only what changed is told."""
    yield from wrap(
        f"{trace.cpus} CPUs, control CPU {trace.boot}; {len(trace.steps)} steps, "
        f"replayed as {trace.replayed} steps of the program",
        style.width,
        initial_indent="  ",
        subsequent_indent="    ",
    )
    indent = 4
    for number, step in enumerate(trace.steps, 1):
        if trace.loop is not None and number - 1 == trace.loop:
            yield "  -- from here on it repeats for ever:"
        column = 2 * (step.cpu or 0)
        lead = f"{number:3} " + " " * column
        room = style.width - indent - column
        text = style.text(f"CPU{step.cpu} {step.process}: {step.action}")
        yield lead + (text if len(text) <= room else text[: room - 3] + "...")
        yield from _details(step, indent + column + 2, style)


def _details(step: ShownStep, indent: int, style: Style) -> Iterator[str]:
    told = ", ".join(f"{k}: {a} -> {b}" for k, (a, b) in step.changes.items())
    changes = style.text(told)
    if changes:
        lines = wrap(changes, max(20, style.width - indent))
        yield from (" " * indent + line for line in lines)
    places = [p for p in (step.source, step.origin) if p]
    if places and (step.changes or step.origin):
        text = style.text("  ".join(places))
        yield " " * indent + "at " + text[: max(20, style.width - indent - 3)]


def summary(answers: list[ShownAnswer]) -> str:
    """The last lines: one count a verdict, to be found by grep."""
    counts: dict[str, int] = {}
    for answer in answers:
        counts[answer.verdict] = counts.get(answer.verdict, 0) + 1
    told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    lines = [f"verdicts: {told or 'none'}"]
    accepted = [a.accepted_by for a in answers if a.accepted_by]
    if accepted:
        solvers = " and ".join(dict.fromkeys(name for by in accepted for name in by))
        proofs = "proof" if len(accepted) == 1 else "proofs"
        lines.append(f"accepted by {solvers}: {len(accepted)} {proofs}")
    return "\n".join(lines)
