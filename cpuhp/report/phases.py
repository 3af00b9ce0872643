"""The phases of `cpuhp schedule` as text and as JSON: 80 columns, ASCII."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cpuhp.model.table import HotplugState
from cpuhp.ordering.assign import Assigned, Lesson, Step
from cpuhp.report.prose import wrapped


def text(found: Assigned, costs: str, cpus: int) -> Iterator[str]:
    """The whole page, line by line."""
    yield f"{found.scenario}: the most parallel phases that keep every check"
    rows = found.rows
    count = sum(r.number in found.modelled for r in rows.online)
    yield from wrapped(
        f"{len(rows.online)} steps of the ONLINE section, {count} of them with a model; "
        f"{cpus} CPUs, {costs}; {found.checks} checks that hold CPU by CPU, all "
        f"interleavings of {found.bound}",
        "  ",
        "    ",
    )
    yield ""
    yield f"  {found.serial:9.3f} s  {1.0:5.1f} x  CPU by CPU, as the kernel does it"
    told = "all CPUs at once, three phases"
    told += ": not known to be safe" if found.failing is None else ""
    yield from _beside(found.together, found.serial, told)
    for check in found.failing or ():
        yield f"      - {check} fails"
    for step in found.steps:
        yield ""
        yield from _step(step, found)
    yield ""
    if found.stopped:
        yield "Stopped at --limit: what is not listed is not known."
    yield from _distance(found)
    if found.worth:
        yield ""
        yield "Each fix, if all the others are there: without it"
        for name, seconds in sorted(found.worth.items(), key=lambda w: (-w[1], w[0])):
            yield f"  {name:<22} {seconds:9.3f} s"
    yield ""
    yield from wrapped(
        f"{found.candidates} candidates, {len(found.lessons)} refutations learned; "
        f"{found.asked} questions, {found.runs} systems searched",
        "",
        "  ",
    )


def _beside(seconds: float, serial: float, told: str) -> Iterator[str]:
    gain = serial / seconds if seconds else 0.0
    yield from wrapped(f"  {seconds:9.3f} s  {gain:5.1f} x  {told}", "", "      ")


def _step(step: Step, found: Assigned) -> Iterator[str]:
    fixes = ", ".join(sorted(step.assignment.fixes))
    told = f"the best with {fixes}" if fixes else "the best as it is, without a fix"
    safe = "" if step.safe else ": NOT known to be safe"
    yield from _beside(step.seconds, found.serial, told + safe)
    yield from _proved(step, found)
    reasons = list(step.because)
    for phase in found.rows.phases(step.assignment):
        how = "one CPU after the other" if phase.serial else "all CPUs at once"
        span = _span(phase.rows[0], phase.rows[-1], len(phase.rows))
        yield from wrapped(f"{span}: {how}", "        ", "          ")
        if phase.serial:
            yield from _because(reasons.pop(0), found)
        last = phase.rows[-1].number
        if last in step.assignment.barriers:
            yield "        ---- all CPUs meet ----"
    yield from _stop(step, found)


def _proved(step: Step, found: Assigned) -> Iterator[str]:
    if not step.safe:
        return
    count = len(step.every)
    told = f"{count} of {found.checks} checks PROVED for every number of CPUs"
    if step.bounded:
        told += f"; {found.bound}, all interleavings: {', '.join(step.bounded)}"
    yield from wrapped(told, "        ", "          ")


def _stop(step: Step, found: Assigned) -> Iterator[str]:
    if found.rows.goes_on(step.assignment):
        yield "        and on to its stop: a stop_machine() of each CPU's own"
        return
    if step.assignment.own:
        yield "        stop: each CPU in a stop_machine() of its own"
        return
    yield "        stop: all CPUs at once, in one stop_machine()"
    names = {r.number: r for r in (found.rows.stop, *found.rows.dying)}
    for number in sorted(step.assignment.barriers & names.keys(), reverse=True):
        yield f"        ---- all CPUs meet after {names[number].label} ----"


def _because(lessons: Sequence[Lesson], found: Assigned) -> Iterator[str]:
    told: dict[str, Lesson] = {}
    for lesson in lessons:
        told.setdefault(lesson.question.check, lesson)
    for check, lesson in told.items():
        steps = lesson.finding.steps
        line = f"else {check} fails"
        if steps:
            line += f" ({steps} steps of {lesson.finding.cpus} CPUs)"
        ways = dict.fromkeys(_way(way, found) for way in lesson.told)
        yield from wrapped(f"{line}, unless: {'; '.join(ways)}", "          - ",
                           "            ")  # fmt: skip


def _way(told: str, found: Assigned) -> str:
    """Numbers of rows as their names."""
    rows = (*found.rows.online, found.rows.stop, *found.rows.dying)
    names = {str(row.number): row.label for row in rows}
    return " ".join(names.get(word, word) for word in told.split())


def _span(first: HotplugState, last: HotplugState, count: int) -> str:
    if count == 1:
        return first.label
    return f"{first.label} .. {last.label} ({count} steps)"


def _distance(found: Assigned) -> Iterator[str]:
    if not found.steps and found.stopped:
        return
    if not found.steps:
        yield "no assignment keeps every check"
        return
    now = found.steps[0]
    gap = now.seconds / found.together if found.together else 0.0
    yield from wrapped(
        f"Without a fix the optimum takes {gap:.1f} times as long as the three phases.",
        "",
        "  ",
    )
    one = next((s for s in found.steps if len(s.assignment.fixes) == 1), None)
    if one is not None:
        (name,) = one.assignment.fixes
        yield from wrapped(
            f"The single fix that buys most is {name}: {one.seconds:.3f} s, "
            f"{now.seconds - one.seconds:.3f} s less.",
            "",
            "  ",
        )
    elif found.fixes and not found.stopped:
        yield "No single fix buys anything."
    last = found.steps[-1]
    if last.seconds <= found.together * 1.001 and last is not now:
        count = len(last.assignment.fixes)
        yield from wrapped(
            f"With {count} fix{'es' if count > 1 else ''} the three phases are the "
            "optimum.",
            "",
            "  ",
        )


def as_json(found: Assigned, costs: str, cpus: int) -> dict[str, Any]:
    """The documented form (docs/schedule.md), version 1."""
    return {
        "version": 1,
        "scenario": found.scenario,
        "bound": found.bound,
        "cpus": cpus,
        "costs": costs,
        "checks": found.checks,
        "serial": found.serial,
        "three_phases": found.together,
        "failing": None if found.failing is None else list(found.failing),
        "fixes": list(found.fixes),
        "without_fix": dict(found.worth),
        "best": [_step_json(step, found) for step in found.steps],
        "lessons": [
            {
                "check": lesson.question.check,
                "variable": lesson.question.variable,
                "steps": lesson.finding.steps,
                "callbacks": list(lesson.finding.callbacks),
                "unless": [_way(way, found) for way in lesson.told],
            }
            for lesson in found.lessons
        ],
        "candidates": found.candidates,
        "questions": found.asked,
        "runs": found.runs,
        "stopped": found.stopped,
    }


def _step_json(step: Step, found: Assigned) -> dict[str, Any]:
    return {
        "seconds": step.seconds,
        "safe": step.safe,
        "proved_for_every_count": list(step.every),
        "searched_only": list(step.bounded),
        "fixes": sorted(step.assignment.fixes),
        "phases": [
            {
                "rows": [row.number for row in phase.rows],
                "names": [row.label for row in phase.rows],
                "serial": phase.serial,
            }
            for phase in found.rows.phases(step.assignment)
        ],
        "barriers_after": sorted(step.assignment.barriers, reverse=True),
        "own_stop_machine": step.assignment.own,
    }
