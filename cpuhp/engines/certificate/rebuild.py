"""From a program to the transition system that a certificate speaks of.

This front end is shared with the search and is trusted: parser, linker, slicing, fusing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cpuhp.engines.certificate.digest import model_digest, text_digest
from cpuhp.engines.certificate.format import (
    Certificate,
    clause_of,
    clauses_json,
)
from cpuhp.engines.certificate.sentences import sentence
from cpuhp.graph.slicing import project, relevant
from cpuhp.language.build import build
from cpuhp.language.compile import claims, lower
from cpuhp.language.program import Program
from cpuhp.model.invariant import Invariant
from cpuhp.model.system import Property, TransitionSystem


class Rejected(Exception):
    """The certificate does not prove what it claims; the message says why."""


@dataclass(frozen=True)
class Obligation:
    """What has to be checked: the clauses prove the claim about the system."""

    system: TransitionSystem
    prop: Property
    invariant: Invariant


def model_of(
    program: Program, check: str, number: int
) -> tuple[TransitionSystem, Property]:
    """The smallest system that decides a claim. Raises Rejected if there is no claim."""
    declared = program.checks.get(check)
    if declared is None:
        raise Rejected(f"the spec has no check '{check}'")
    whole = lower(program)
    props = claims(whole, declared)
    if not 0 <= number < len(props):
        raise Rejected(f"check '{check}' has no claim number {number}")
    kept = relevant(whole, (props[number],))
    lowered = lower(program, kept.parts)
    again = claims(lowered, declared)[number]
    system, told = build(project(lowered, relevant(lowered, (again,))), again)
    assert told is not None
    return system, told


def texts_of(program: Program, check: str) -> tuple[tuple[str, str], ...]:
    """Name and SHA-256 of every text that the program and the check come from."""
    sources = {unit.span.source for unit in program.units}
    if check in program.checks:
        sources.add(program.checks[check].span.source)
    return tuple(sorted((s.name, text_digest(s.text)) for s in sources))


def certificate_of(
    program: Program,
    scenario: str,
    file: str | None,
    options: Iterable[tuple[str, str]],
    number: int,
    system: TransitionSystem,
    prop: Property,
    invariant: Invariant,
    conditions: int,
) -> Certificate:
    """The certificate of a proof."""
    return Certificate(
        scenario=scenario,
        file=file,
        options=tuple(sorted(options)),
        table=program.table,
        texts=texts_of(program, prop.check),
        check=prop.check,
        number=number,
        kind=prop.expectation.value,
        claim=prop.text,
        model=model_digest(system, prop),
        clauses=clauses_json(system, invariant),
        conditions=conditions,
    )


def obligation_of(certificate: Certificate, program: Program) -> Obligation:
    """Rebuild the model and read the clauses in its terms.

    Raises Rejected if the certificate is about another claim or another model, InputError
    HP705 if a clause is malformed.
    """
    system, prop = model_of(program, certificate.check, certificate.number)
    if (prop.text, prop.expectation.value) != (certificate.claim, certificate.kind):
        raise Rejected(
            f"it is about another claim: it says '{certificate.claim}', "
            f"the spec says '{prop.text}'"
        )
    if model_digest(system, prop) != certificate.model:
        raise Rejected(f"it is about another model: {_difference(certificate, program)}")
    clauses = []
    for number, (says, data) in enumerate(certificate.clauses):
        clause = clause_of(system, data)
        if sentence(system, clause) != says:
            raise Rejected(
                f"the sentence of clause {number + 1} is not what the clause forbids"
            )
        clauses.append(clause)
    return Obligation(system, prop, Invariant(tuple(clauses)))


def _difference(certificate: Certificate, program: Program) -> str:
    now = dict(texts_of(program, certificate.check))
    changed = [
        name
        for name, digest in certificate.texts
        if now.get(name, digest) != digest or name not in now
    ]
    changed += [name for name in now if name not in dict(certificate.texts)]
    if changed:
        return f"since then {', '.join(sorted(changed))} changed"
    return "the spec texts are the same, but options, table or cpuhp itself differ"
