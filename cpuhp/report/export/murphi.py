"""Murphi, for Rumur and CMurphi: one rule for each command."""

from __future__ import annotations

from collections.abc import Iterator

from cpuhp.model.sorts import BOOL, Sort
from cpuhp.model.system import Variable
from cpuhp.model.verdict import State
from cpuhp.report.export.common import dictionary, heading, titles
from cpuhp.report.export.ground import Command, Grounded
from cpuhp.report.export.infix import Infix, Words

NAME = "murphi"
SUFFIX = ".m"
WORDS = Words("&", "|", "=", "true", "false", "?", ":")
USAGE = (
    "rumur --deadlock-detection off --output model.c FILE",
    "cc -std=c11 -O2 -mcx16 -o model model.c -lpthread",
    "./model    (end states are the invariant's business, not the tool's)",
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
    return f"  {name}: {array}{_type(infix.claim, variable.sort)};"


def _type(claim: Grounded, sort: Sort) -> str:
    if sort == BOOL:
        return "boolean"
    low, high = claim.bounds(sort)
    return f"{low}..{high}"


def _state(infix: Infix, state: State) -> Iterator[str]:
    if not infix.claim.variables:
        yield "nothing := false"
    for variable in infix.claim.variables:
        name = infix.variable_names[variable.name]
        for index, cell in enumerate(infix.claim.cells(variable)):
            place = f"{name}[{index}]" if variable.indices else name
            value = infix.constant(state[cell], variable.sort)
            if variable.sort == BOOL:
                value = ("false", "true")[state[cell]]
            yield f"{place} := {value}"


def _body(infix: Infix, command: Command) -> Iterator[str]:
    if infix.overlaps(command):
        yield from _buffered(infix, command)
        return
    yield "Begin"
    for write in command.writes:
        tests, place = infix.place(write.variable, write.indices)
        step = f"{place} := {infix.value(write)};"
        yield f"  If {' & '.join(tests)} Then {step} End;" if tests else f"  {step}"
    yield "End;"


def _buffered(infix: Infix, command: Command) -> Iterator[str]:
    """All values and places first, then the assignments."""
    places = [infix.place(w.variable, w.indices) for w in command.writes]
    yield "Var"
    for number, write in enumerate(command.writes):
        yield f"  t_{number}: {_type(infix.claim, write.variable.sort)};"
        if places[number][0]:
            yield f"  p_{number}: -1..{len(infix.claim.cells(write.variable)) - 1};"
    yield "Begin"
    for number, (write, (tests, place)) in enumerate(zip(command.writes, places)):
        yield f"  t_{number} := {infix.value(write)};"
        if tests:
            position = place.partition("[")[2].removesuffix("]")
            found = infix.either("(" + " & ".join(tests) + ")", position, "(0 - 1)")
            yield f"  p_{number} := {found};"
    for number, (tests, place) in enumerate(places):
        if tests:
            name = place.partition("[")[0]
            step = f"{name}[p_{number}] := t_{number};"
            yield f"  If p_{number} >= 0 Then {step} End;"
        else:
            yield f"  {place} := t_{number};"
    yield "End;"
