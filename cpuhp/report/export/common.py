"""What heads every export: the claim, and which name of the spec became which."""

from __future__ import annotations

from collections.abc import Iterator

from cpuhp.model.sorts import IndexSort
from cpuhp.report.export.ground import Command, Grounded
from cpuhp.report.export.infix import Infix
from cpuhp.report.export.names import comment


def heading(claim: Grounded) -> Iterator[str]:
    """Sentences about the claim and the machine, safe to stand in a comment."""
    prop, machine = claim.prop, claim.machine
    kind = prop.expectation.value
    yield comment(f"{machine.system.name}: {prop.check}")
    yield comment(f"claim: {prop.text or kind}", 400)
    yield f"{machine.cpus} CPUs, the control CPU is number {machine.boot}"
    if claim.is_witness:
        yield "the invariant is the negation of the claim: a violation is a witness"
    elif kind == "deadlock_free":
        yield "the invariant: somebody who owes progress can move, or all are at rest"
    elif kind == "finally":
        yield "the invariant: somebody who owes progress can move, or the claim holds"


def dictionary(infix: Infix) -> Iterator[str]:
    """`identifier = name in the spec`, for variables."""
    for variable in infix.claim.variables:
        over = "".join(f"[{_index(sort)}]" for sort in variable.indices)
        name = infix.variable_names[variable.name]
        yield comment(f"{name} = {variable.name}{over}: {variable.sort}")


def _index(sort: IndexSort) -> str:
    return sort.name


def titles(claim: Grounded) -> Iterator[tuple[str, Command]]:
    """The commands, each with a number of its own and its name in the spec."""
    for number, command in enumerate(claim.commands):
        yield comment(f"{number} {command.label}"), command
