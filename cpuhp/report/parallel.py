"""`cpuhp schedule` as text and as JSON: 80 columns, ASCII."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cpuhp.ordering.parallel import Candidate, Plan
from cpuhp.report.prose import wrapped


def text(found: Plan) -> Iterator[str]:
    """The whole page, line by line."""
    yield f"{found.scenario}: the fastest way that keeps every check"
    line = (
        f"{found.cpus} CPUs, costs {found.costs}; {found.checks} checks that hold "
        f"where least overlaps, all interleavings of {found.bound}"
    )
    yield from wrapped(line, "  ", "  ")
    for candidate in found.candidates:
        yield ""
        yield from _candidate(candidate, found.serial)
    yield ""
    best = found.best
    if found.stopped:
        yield "stopped at --limit: slower candidates were not searched"
    if best is None and not found.stopped:
        yield "no candidate keeps every check"
    if best is not None:
        told = "as it is" if best.safe else f"with {', '.join(best.fixes)}"
        # One that was not searched can be faster than a faster one with fixes.
        which = "fastest of these" if found.stopped else "fastest"
        yield from wrapped(
            f"{which} that keeps every check: {_options(best)}, {told}, "
            f"{best.takes:.3f} s",
            "",
            "  ",
        )
        if found.best_estimate is not None:
            yield "what its time goes to, and what it would take if a step cost nothing"
            for help_ in found.best_estimate.helps[:5]:
                without = "" if help_.without is None else f"{help_.without:9.3f} s"
                name = help_.step[:38]
                yield f"  {name:<38} {help_.on_path:9.3f} s, {help_.times:4} times {without}"
    yield f"{found.asked} questions, {found.runs} systems searched"


def _candidate(candidate: Candidate, serial: float) -> Iterator[str]:
    gain = serial / candidate.seconds if candidate.seconds else 0.0
    if candidate.safe:
        verdict = "safe"
    elif candidate.failing:
        verdict = f"{len(candidate.failing)} checks fail"
    else:
        verdict = f"not known: {', '.join(candidate.unknown)}"
    head = f"  {candidate.seconds:9.3f} s  {gain:5.1f} x  {_options(candidate)}"
    yield from wrapped(f"{head}: {verdict}", "", "      ")
    for check in candidate.failing:
        names = candidate.mended_by.get(check, ())
        told = f"mended by {' or '.join(names)}" if names else "no option mends it"
        yield from wrapped(f"{check}: {told}", "      - ", "        ")
    if candidate.failing:
        yes = "keeps every check" if candidate.safe_with_fixes else "is not enough"
        if candidate.safe_with_fixes and candidate.takes != candidate.seconds:
            yes += f", and takes {candidate.takes:.3f} s"
        if candidate.fixes:
            yield from wrapped(
                f"with {', '.join(candidate.fixes)} it {yes}", "      ", "        "
            )


def _options(candidate: Candidate) -> str:
    off = [name for name, on in candidate.options.items() if not on]
    return f"without {', '.join(off)}" if off else "all overlap that there is"


def as_json(found: Plan) -> dict[str, Any]:
    """The documented form (docs/schedule.md), version 1."""
    return {
        "version": 1,
        "scenario": found.scenario,
        "bound": found.bound,
        "cpus": found.cpus,
        "costs": found.costs,
        "checks": found.checks,
        "candidates": [
            {
                "options": dict(c.options),
                "seconds": c.seconds,
                "safe": c.safe,
                "failing": list(c.failing),
                "unknown": list(c.unknown),
                "mended_by": {k: list(v) for k, v in c.mended_by.items()},
                "fixes": list(c.fixes),
                "safe_with_fixes": c.safe_with_fixes,
                "seconds_with_fixes": c.takes if c.safe_with_fixes else None,
            }
            for c in found.candidates
        ],
        "best": found.best and dict(found.best.options),
        "stopped": found.stopped,
    }
