"""`cpuhp why --mutate` as text and as JSON: 80 columns, ASCII."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from typing import Any

from cpuhp.ordering.mutate import Fate, Mutation
from cpuhp.report.prose import WIDTH


def text(found: Mutation) -> Iterator[str]:
    """The whole page, line by line: survivors last, as they are what is to be read."""
    yield f"{found.scenario}: mutants, all interleavings of {found.bound}"
    if found.failing:
        yield f"  fail as they are, and notice nothing: {', '.join(found.failing)}"
    yield ""
    yield "Killed"
    for fate in found.killed:
        names = list(dict.fromkeys(q.check for q, _ in fate.killers))
        more = f" and {len(names) - 2} more" if len(names) > 2 else ""
        yield from _line(fate, f"by {', '.join(names[:2])}{more}")
    if found.broken:
        yield ""
        yield "Do not compile"
        for fate in found.broken:
            yield from _line(fate, fate.broken.split(": ", 1)[-1])
    yield ""
    yield "Survive"
    for fate in found.survivors:
        told = f"unnoticed by {fate.looked} claims"
        if fate.unknown:
            told = f"not known for {fate.unknown} of {fate.looked}"
        yield from _line(fate, told if fate.looked else "no check sees it")
    yield ""
    killed, left = len(found.killed), len(found.survivors)
    yield (
        f"mutation score {found.score:.0%}: {killed} killed, {left} survive, "
        f"{len(found.broken)} do not compile"
    )
    yield f"{found.asked} questions, {found.runs} systems searched"


def _line(fate: Fate, told: str) -> Iterator[str]:
    mutant = fate.mutant
    head = f"{mutant.where}: {mutant.how}, {told}"
    yield from wrap(head, WIDTH, initial_indent="  ", subsequent_indent="    ")
    name = mutant.text
    yield "      " + (name if len(name) <= WIDTH - 6 else name[: WIDTH - 9] + "...")


def as_json(found: Mutation) -> dict[str, Any]:
    """The documented form (docs/why.md), version 1."""
    return {
        "version": 1,
        "scenario": found.scenario,
        "bound": found.bound,
        "score": round(found.score, 4),
        "failing": list(found.failing),
        "mutants": [
            {
                "how": fate.mutant.how,
                "text": fate.mutant.text,
                "at": fate.mutant.where,
                "killed_by": sorted({q.check for q, _ in fate.killers}),
                "depend": fate.looked,
                "does_not_compile": fate.broken or None,
            }
            for fate in found.fates
        ],
    }
