"""`cpuhp place` as text, as JSON, and as a comment for a header: 80 columns, ASCII."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from cpuhp.model.table import HotplugState
from cpuhp.ordering.placement import Constraint, Placement, Proofs, Range, Reason
from cpuhp.ordering.steps import shown
from cpuhp.report.prose import WIDTH, wrapped


def text(found: Placement) -> Iterator[str]:
    """The whole page, line by line."""
    count = sum(len(r.slots) for r in found.ranges)
    yield f"{found.step.name}  for {found.step.state}"
    bound = f"{count} slots of {found.table.name}; all interleavings of {found.bound}"
    yield from wrapped(bound, "  ", "    ")
    yield from wrapped(f"scenarios: {', '.join(found.scenarios)}", "  ", "    ")
    yield ""
    if found.everywhere:
        known = all(_is_known(reason) for reason in found.everywhere)
        fails = "Fails" if known else "Fails or is not known"
        aside = "all else is told as if these checks were not"
        yield from wrapped(f"{fails} wherever it stands; {aside}", "", "")
        for reason in found.everywhere:
            yield from _reason(reason.text, [reason])
        yield ""
    yield "May stand" + (", but for these checks" if found.everywhere else "")
    for one in found.allowed:
        yield from wrapped(_between(one), "  ", "    ")
        here = " (where it is now)" if found.own in one.slots else ""
        yield f"      {_slots(one)}{here}"
    if not found.allowed:
        yield "  nowhere"
    yield ""
    yield "May not stand"
    for one in found.ranges:
        if one.reasons:
            yield from _forbidden(one, found)
    yield ""
    yield "Constraints"
    told = [*map(_constraint, found.constraints), *_rules(found)]
    told += [f"{name}() is not run in any of the scenarios" for name in found.unrun]
    if found.blind:
        told.append("no check looks at what the step does: give it one")
    for line in told or ["none"]:
        yield from wrapped(line, "  ", "    ")
    for scenario, check in found.excluded:
        yield from wrapped(
            f"left out: {check} fails in {scenario} as it is", "  ", "    "
        )
    yield ""
    if found.proofs is not None:
        yield from _proofs(found.proofs)
    yield from wrapped(_cost(found), "", "  ")


def _is_known(reason: Reason) -> bool:
    return reason.finding is None or reason.finding.is_known


def _proofs(found: Proofs) -> Iterator[str]:
    told = f"{found.proved} of {found.claims} claims PROVED for every number of CPUs"
    yield from wrapped(f"where it may stand, {told}", "", "  ")
    checks: dict[str, list[str]] = {}
    for one in found.bounded:
        where = "" if one.slots == found.slots else f" in {one.slots} slots"
        checks.setdefault(one.scenario, []).append(one.check + where)
    for scenario, names in checks.items():
        yield from wrapped(
            f"searched only ({scenario}): {', '.join(names)}", "  ", "    "
        )


def _cost(found: Placement) -> str:
    return (
        f"{found.relevant} of {found.questions} claims depend on the step; "
        f"{found.systems} systems searched, where checking each slot by itself "
        f"takes {found.naive} searches"
    )


def _between(one: Range) -> str:
    return f"after {shown(one.lower)} and before {shown(one.upper)}"


def _slots(one: Range) -> str:
    sections = ", ".join(dict.fromkeys(s.section.value for s in one.slots))
    count = len(one.slots)
    return f"{count} slot{'s' if count > 1 else ''}, {sections} section"


def _forbidden(one: Range, found: Placement) -> Iterator[str]:
    yield from wrapped(_between(one), "  ", "    ")
    here = " (where it is now)" if found.own in one.slots else ""
    yield f"      {_slots(one)}{here}"
    groups: dict[str, list[Reason]] = {}
    for reason in one.reasons:
        groups.setdefault(reason.text, []).append(reason)
    told = False
    for name, reasons in groups.items():
        yield from _reason(name, reasons)
        story = next((r.finding.story for r in reasons if r.finding), ())
        if story and not told:
            told = True
            yield from (f"          {line}"[:WIDTH] for line in ("...", *story))


def _reason(name: str, reasons: list[Reason]) -> Iterator[str]:
    where = ", ".join(dict.fromkeys(r.scenario for r in reasons if r.scenario))
    finding = reasons[0].finding
    line = name + (f" ({where})" if where else "")
    if finding is not None and finding.steps:
        line += f": fails in {finding.steps} steps of {finding.cpus} CPUs"
    if reasons[0].responsible:
        line += f"; because of {', '.join(reasons[0].responsible)}"
    yield from wrapped(line, "      - ", "        ")


def _constraint(constraint: Constraint) -> str:
    side = "above" if constraint.above else "below"
    return f"{side} {shown(constraint.row)}: else {constraint.check} fails"


def _rules(found: Placement) -> Iterator[str]:
    for section, reasons in found.ruled.items():
        for why in reasons:
            yield f"not in the {section.value} section: {why}"


def comment(found: Placement) -> Iterator[str]:
    """The constraints as a comment block for the header that numbers the states."""
    yield "/*"
    yield f" * {found.step.state}: {found.step.name}"
    for one in found.allowed:
        yield from wrapped(_between(one), " *   may stand ", " *     ")
    for line in (*map(_constraint, found.constraints), *_rules(found)):
        yield from wrapped(line, " *   ", " *     ")
    for reason in found.everywhere:
        fails = " fails" if _is_known(reason) else ""
        line = f"wherever it stands {reason.text}{fails} ({reason.scenario})"
        yield from wrapped(line, " *   ", " *     ")
    if not found.allowed:
        yield " *   no slot keeps all checks"
    bound = f"cpuhp place, {found.bound}, {', '.join(found.scenarios)}"
    yield from wrapped(bound, " * checked by: ", " *     ")
    yield " */"


def as_json(found: Placement) -> dict[str, Any]:
    """The documented form (docs/place.md), version 1."""
    return {
        "version": 1,
        "step": found.step.state,
        "callbacks": [c.name for c in found.step.callbacks],
        "table": found.table.name,
        "bound": found.bound,
        "scenarios": list(found.scenarios),
        "own": found.own and found.own.number,
        "ranges": [_range(one) for one in found.ranges],
        "constraints": [
            {
                "side": "above" if c.above else "below",
                "row": _row(c.row),
                "check": c.check,
                "scenario": c.scenario,
            }
            for c in found.constraints
        ],
        "rules": {section.value: list(why) for section, why in found.ruled.items()},
        "everywhere": [_told(reason) for reason in found.everywhere],
        "unrun": list(found.unrun),
        "blind": found.blind,
        "excluded": [list(pair) for pair in found.excluded],
        "unknown": [list(pair) for pair in found.unknown],
        "claims": {"all": found.questions, "relevant": found.relevant},
        "proofs": found.proofs and asdict(found.proofs),
        "searches": {"done": found.systems, "each_slot": found.naive},
    }


def _range(one: Range) -> dict[str, Any]:
    return {
        "allowed": not one.reasons,
        "above": _row(one.lower),
        "below": _row(one.upper),
        "slots": [
            {"number": s.number, "above": _row(s.lower), "below": _row(s.upper)}
            for s in one.slots
        ],
        "reasons": [_told(reason) for reason in one.reasons],
    }


def _told(reason: Reason) -> dict[str, Any]:
    finding = reason.finding and asdict(reason.finding)
    if finding:
        finding["outcome"] = reason.finding and reason.finding.outcome.value
    return {
        "reason": reason.text,
        "check": reason.question and reason.question.check,
        "scenario": reason.scenario or None,
        "responsible": list(reason.responsible),
        "finding": finding,
    }


def _row(row: HotplugState) -> dict[str, Any]:
    return {"number": row.number, "name": row.name, "enumerator": row.enumerator}
