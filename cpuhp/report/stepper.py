"""An interleaving in a terminal, a screen for each step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import wrap

from cpuhp.report.answers import Context, ShownAnswer, ShownStep, ShownTrace, as_json
from cpuhp.report.diagrams.evidence import MAX_STEPS, Moment, evidence
from cpuhp.report.terminal import Style

AROUND = 3  # lines of the spec above and below
VALUES = 12  # values that are told at a step


@dataclass(frozen=True)
class Stepper:
    """The interleaving of an answer; `context` has the spec text, if it is known."""

    answer: ShownAnswer
    trace: ShownTrace
    context: Context
    moments: tuple[Moment, ...]

    def frame(self, number: int, style: Style) -> list[str]:
        """The lines for step `number`; 0 is the start, before anybody moved."""
        count = len(self.trace.steps)
        place = (
            f"step {number} of {count}" if number else f"start, {count} steps follow"
        )
        name = style.text(f"{self.answer.check}  ({self.answer.scenario})")
        room = style.width - len(place) - 2
        if len(name) > room:
            name = name[: max(1, room - 3)] + "..."
        lines = [f"{name:<{room}}  {place}", *self._claim(style), "-" * style.width]
        lines += self._lanes(number, style)
        if number:
            lines += ["", *self._step(number, style)]
            lines += ["", *self._spec(self.trace.steps[number - 1], style)]
        lines += ["", *self._values(number, style)]
        return lines

    def _claim(self, style: Style) -> list[str]:
        verdict = style.verdict(self.answer.verdict)
        first = style.width - len(self.answer.verdict) - 2
        told = wrap(style.text(self.answer.claim), max(20, first)) or [""]
        return [f"{verdict}  {told[0]}", *(f"  {line}" for line in told[1:4])]

    def _lanes(self, number: int, style: Style) -> Iterator[str]:
        """A column for each CPU, with the step that it took last."""
        wide = style.width // self.trace.cpus
        if wide < 12:
            return
        last = [0] * self.trace.cpus
        for at, step in enumerate(self.trace.steps[:number], 1):
            last[self._cpu(step)] = at
        for line in range(2):
            row = ""
            for cpu, at in enumerate(last):
                own = self.trace.steps[at - 1] if at else None
                now = ">" if at == number and at else " "
                head = f"{now}CPU{cpu}" + " (control)" * (cpu == self.trace.boot)
                head += f" step {at}" if at else ""
                who = (own.callback or own.process) if own else "-"
                told = head if line == 0 else f"  {who}"
                row += style.text(told)[: wide - 1].ljust(wide)
            yield row.rstrip()

    def _cpu(self, step: ShownStep) -> int:
        return self.trace.boot if step.cpu is None else step.cpu

    def _step(self, number: int, style: Style) -> Iterator[str]:
        step = self.trace.steps[number - 1]
        who = f"CPU{self._cpu(step)} {step.process}"
        if step.callback:
            who += f" in {step.callback}"
            who += f" of {step.hotplug_state}" if step.hotplug_state else ""
        yield from _folded(who + ":", "", style)
        yield from _folded(step.action, "    ", style)
        for cell, (old, new) in step.changes.items():
            yield from _folded(f"{cell}: {old} -> {new}", "      ", style)
        moment = self.moments[number - 1] if self.moments else None
        for writer, name in moment.came if moment else ():
            yield from _folded(
                f"reads {name}, written by step {writer + 1}", "    ", style
            )
        if moment and moment.bad:
            yield from _folded(f"{moment.fault.upper()}: {moment.bad}", "  ! ", style)
        if step.origin:
            yield from _folded(f"kernel: {step.origin}", "    ", style)

    def _spec(self, step: ShownStep, style: Style) -> Iterator[str]:
        file, _, told = (step.source or "").rpartition(":")
        text = self.context.sources.get(file)
        if text is None or not told.isdecimal():
            yield from _folded(f"at {step.source}" if step.source else "", "", style)
            return
        yield from _folded(file, "", style)
        lines, here = text.splitlines(), int(told)
        for number in range(max(1, here - AROUND), min(len(lines), here + AROUND) + 1):
            mark = ">" if number == here else " "
            line = style.text(lines[number - 1].expandtabs(4))
            yield f"{mark}{number:4} | {line}"[: style.width].rstrip()

    def _values(self, number: int, style: Style) -> Iterator[str]:
        """What has changed so far, latest first, as it stands now."""
        found: dict[str, str] = {}
        for step in reversed(self.trace.steps[:number]):
            for cell, (_, new) in step.changes.items():
                found.setdefault(cell, new)
        if number == 0:
            found = dict(list(self.trace.initial.items())[:VALUES])
        told = [f"{cell} = {value}" for cell, value in list(found.items())[:VALUES]]
        more = f", and {len(found) - VALUES} more" if len(found) > VALUES else ""
        lead = "now: " if number else "first: "
        yield from _folded(lead + ", ".join(told) + more, "", style)


def stepper(answer: ShownAnswer, context: Context) -> Stepper:
    """The answer's interleaving, which it must have."""
    assert answer.trace is not None
    moments: tuple[Moment, ...] = ()
    if len(answer.trace.steps) <= MAX_STEPS:
        (result,) = as_json([answer])["results"]
        moments = evidence(result, answer.check).moments
    return Stepper(answer, answer.trace, context, moments)


def _folded(text: str, indent: str, style: Style) -> list[str]:
    return wrap(
        style.text(text),
        style.width,
        initial_indent=indent,
        subsequent_indent=" " * len(indent) + ("  " if indent else ""),
    )
