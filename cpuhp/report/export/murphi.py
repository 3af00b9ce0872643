"""Murphi, for Rumur and CMurphi: one rule for each command."""

from __future__ import annotations

from collections.abc import Iterator

from cpuhp.model.sorts import BOOL, CounterSort
from cpuhp.model.system import Variable
from cpuhp.model.verdict import State
from cpuhp.report.export.common import dictionary, heading, titles
from cpuhp.report.export.ground import Command, Grounded
from cpuhp.report.export.infix import Assignment, Infix, Words

NAME = "murphi"
SUFFIX = ".m"
WORDS = Words("&", "|", "=", "true", "false", "?", ":")
NUMBER = 1 << 30  # sums and differences may be as great as this, and as small
COUNTER = 100  # so far from its first values may a counter go, which has no bound
USAGE = (
    "rumur --deadlock-detection off --output model.c FILE",
    "cc -std=c11 -O2 -mcx16 -o model model.c -lpthread",
    "./model    (end states are the invariant's business, not the tool's)",
    "'invariant \"claim\" failed': it fails. Any other error says nothing of it.",
)


def export(claim: Grounded) -> str:
    """The claim as a Murphi model whose invariant fails if it does not hold."""
    infix = Infix(claim, WORDS, typed=True)
    lines = [f"-- {line}" for line in heading(claim)]
    lines += ["--", *(f"--   {line}" for line in USAGE), "--"]
    lines += [f"-- {line}" for line in dictionary(claim)]
    if infix.value_names:
        lines += ["", "Const"]
        for (_, value), name in infix.value_names.items():
            lines.append(f"  {name}: {value};")
    # Rumur computes in the narrowest type that has all numbers that are declared.
    lines += ["", "Type", f"  number: {-NUMBER}..{NUMBER};"]
    lines += ["", "Var", *(_declaration(infix, v) for v in claim.variables)]
    if not claim.variables:
        lines.append("  nothing: boolean;")
    for number, state in enumerate(claim.starts):
        lines += ["", f'Startstate "{number}"', "Begin"]
        lines += [f"  {step};" for step in _state(infix, state)]
        lines += ["End;"]
    for title, command in titles(claim):
        lines += ["", f'Rule "{title}"', f"  {infix.formula(command.guard)}", "==>"]
        lines += _body(infix, command)
    lines += ["", 'Invariant "claim"', f"  {infix.formula(claim.invariant)};", ""]
    return "\n".join(lines)


def _declaration(infix: Infix, variable: Variable) -> str:
    name, width = infix.variable_names[variable.name], len(infix.claim.cells(variable))
    array = f"Array [0..{width - 1}] Of " if variable.indices else ""
    return f"  {name}: {array}{_type(infix.claim, variable)};"


def _type(claim: Grounded, variable: Variable) -> str:
    if variable.sort == BOOL:
        return "boolean"
    low, high = claim.bounds(variable.sort)
    if isinstance(variable.sort, CounterSort):
        first = claim.first_values(variable)
        low, high = min(first) - COUNTER, max(first) + COUNTER
    return f"{low}..{high}"


def _state(infix: Infix, state: State) -> Iterator[str]:
    if not infix.claim.variables:
        yield "nothing := false"
    yield from (f"{place} := {text}" for place, _, text in infix.contents(state))


def _body(infix: Infix, command: Command) -> Iterator[str]:
    assignments = list(infix.assignments(command))
    if infix.overlaps(command):
        yield from _buffered(infix, command, assignments)
        return
    yield "Begin"
    for one in assignments:
        step = f"{one.place} := {one.value};"
        yield f"  If {one.found} Then {step} End;" if one.found else f"  {step}"
    yield "End;"


def _buffered(
    infix: Infix, command: Command, assignments: list[Assignment]
) -> Iterator[str]:
    """All values and places first, then the assignments."""
    yield "Var"
    for number, (write, one) in enumerate(zip(command.writes, assignments)):
        yield f"  t_{number}: {_type(infix.claim, write.variable)};"
        if one.position:
            yield f"  p_{number}: -1..{len(infix.claim.cells(write.variable)) - 1};"
    yield "Begin"
    for number, one in enumerate(assignments):
        yield f"  t_{number} := {one.value};"
        if one.position:
            yield f"  p_{number} := {one.position};"
    for number, one in enumerate(assignments):
        if one.position:
            step = f"{one.array}[p_{number}] := t_{number};"
            yield f"  If p_{number} >= 0 Then {step} End;"
        else:
            yield f"  {one.place} := t_{number};"
    yield "End;"
