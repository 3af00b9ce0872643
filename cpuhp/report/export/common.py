"""What heads every export: the claim, and which name of the spec became which."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from cpuhp.model.system import Property, TransitionSystem, Variable
from cpuhp.report.export.ground import Command, Grounded
from cpuhp.report.export.names import comment, identifiers


def heading(claim: Grounded) -> Iterator[str]:
    """Sentences about the claim and the machine, safe to stand in a comment."""
    prop, machine = claim.prop, claim.machine
    kind = prop.expectation.value
    yield from claim_heading(machine.system, prop)
    yield f"{machine.cpus} CPUs, the control CPU is number {machine.boot}"
    if claim.is_witness:
        yield "the invariant is the negation of the claim: a violation is a witness"
    elif kind == "deadlock_free":
        yield "the invariant: somebody who owes progress can move, or all are at rest"
    elif kind == "finally":
        yield "the invariant: somebody who owes progress can move, or the claim holds"


def claim_heading(system: TransitionSystem, prop: Property) -> Iterator[str]:
    """The claim's name and text."""
    yield comment(f"{system.name}: {prop.check}")
    yield comment(f"claim: {prop.text or prop.expectation.value}", 400)


def variable_names(claim: Grounded) -> dict[str, str]:
    """The identifier of every variable of the claim."""
    return identifiers(((v.name, v.name) for v in claim.variables), "v")


def dictionary(claim: Grounded) -> Iterator[str]:
    """`identifier = name in the spec`, for variables."""
    yield from variable_dictionary(claim.variables, variable_names(claim))


def variable_dictionary(
    variables: Iterable[Variable], names: Mapping[str, str]
) -> Iterator[str]:
    """`identifier = name in the spec`, for these variables."""
    for variable in variables:
        over = "".join(f"[{sort.name}]" for sort in variable.indices)
        name = names[variable.name]
        yield comment(f"{name} = {variable.name}{over}: {variable.sort}")


def titles(claim: Grounded) -> Iterator[tuple[str, Command]]:
    """The commands, each with a number of its own and its name in the spec."""
    for number, command in enumerate(claim.commands):
        yield comment(f"{number} {command.label}"), command
