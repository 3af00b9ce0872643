"""From a program to the transition system that a certificate speaks of.

This front end is shared with the search and is trusted: parser, linker, slicing, fusing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cpuhp.engines.beginnings import Beginnings
from cpuhp.engines.certificate.claims import condition_count
from cpuhp.engines.certificate.digest import model_digest, text_digest
from cpuhp.engines.certificate.format import (
    Certificate,
    Part,
    clause_of,
    clauses_json,
)
from cpuhp.engines.certificate.sentences import in_sentences
from cpuhp.graph.claim import fold, thinned
from cpuhp.graph.cycles import watching
from cpuhp.graph.holding import demand_readers_once
from cpuhp.graph.races import plain_variables
from cpuhp.language.compile import Lowered, claims, lower
from cpuhp.language.library import read_unit, shipped
from cpuhp.language.link import link
from cpuhp.language.program import Program
from cpuhp.model.invariant import Invariant
from cpuhp.model.system import Expectation, Property, TransitionSystem


class Rejected(Exception):
    """The certificate does not prove what it claims; the message says why."""


@dataclass(frozen=True)
class Obligation:
    """What has to be checked: the clauses prove the claim about the system.

    The system is the program over the variables in `only`, if not all; the claim is the
    program's, or that there is no data race on those in `races`.
    """

    system: TransitionSystem
    prop: Property
    invariant: Invariant
    only: frozenset[str] | None = None
    races: frozenset[str] = frozenset()


def program_of(certificate: Certificate, spec: str | None = None) -> Program:
    """Load the spec afresh, with the certificate's options and hotplug table.

    `spec` is a file to take instead of the one that the certificate names. Raises
    InputError for a spec that cannot be loaded.
    """
    library, file = shipped(), spec or certificate.file
    if file is None:
        unit = library.find(certificate.scenario.replace("-", "_"))
    else:
        unit = read_unit(Path(file))
        if library.units.get(unit.name) != unit:
            library = library.with_units([unit])
    return link(unit, library, certificate.table, dict(certificate.options))


def claim_of(whole: Lowered, check: str, number: int) -> Property:
    """One of the program's claims. Raises Rejected if there is no such claim."""
    declared = whole.program.checks.get(check)
    if declared is None:
        raise Rejected(f"the spec has no check '{check}'")
    props = claims(whole, declared)
    if not 0 <= number < len(props):
        raise Rejected(f"check '{check}' has no claim number {number}")
    return props[number]


def texts_of(program: Program, *checks: str) -> tuple[tuple[str, str], ...]:
    """Name and SHA-256 of every text that the program and the checks come from."""
    sources = {unit.span.source for unit in program.units}
    for check in checks:
        if check in program.checks:
            sources.add(program.checks[check].span.source)
    return tuple(sorted((s.name, text_digest(s.text)) for s in sources))


def certificate_of(
    program: Program,
    scenario: str,
    file: str | None,
    options: Mapping[str, str],
    claim: tuple[Property, int],
    together: tuple[tuple[str, int], ...],
    obligations: Iterable[Obligation],
) -> Certificate:
    """The certificate of a proof.

    `file` is where the scenario came from if it is not a shipped one; `claim` comes with
    its number in its check, and `together` are the claims, itself among them, that the
    system was made for, if several.
    """
    prop, number = claim
    return Certificate(
        scenario=scenario,
        file=file,
        options=tuple(sorted(options.items())),
        table=program.table,
        texts=texts_of(program, prop.check, *(check for check, _ in together)),
        check=prop.check,
        number=number,
        together=together,
        kind=prop.expectation.value,
        claim=prop.text,
        parts=tuple(map(_part_of, obligations)),
    )


def _part_of(obligation: Obligation) -> Part:
    system, prop, invariant = obligation.system, obligation.prop, obligation.invariant
    only = obligation.only
    return Part(
        races=tuple(sorted(obligation.races)),
        only=None if only is None else tuple(sorted(only)),
        model=model_digest(system, prop),
        clauses=clauses_json(system, invariant),
        conditions=condition_count(system, prop, invariant),
    )


def obligations_of(
    certificate: Certificate, program: Program
) -> tuple[Obligation, ...]:
    """Rebuild the models and read the clauses in their terms.

    Raises Rejected if the certificate is about another claim or another model, InputError
    HP705 if a clause is malformed, HP507 or HP508 if no verdict is told of such a spec.
    """
    unit = program.scenario.shown_name
    if unit != certificate.scenario:
        raise Rejected(
            f"it is about another scenario: it says '{certificate.scenario}', "
            f"the spec is '{unit}'"
        )
    whole = lower(program)
    Beginnings(whole).demand()
    demand_readers_once(whole)
    prop = claim_of(whole, certificate.check, certificate.number)
    if prop.expectation is Expectation.INVERSION_FREE:
        whole = lower(watching(whole))
        prop = claim_of(whole, certificate.check, certificate.number)
    prop = prop.to_prove
    if (prop.text, prop.expectation.value) != (certificate.claim, certificate.kind):
        raise Rejected(
            f"it is about another claim: it says '{certificate.claim}', "
            f"the spec says '{prop.text}'"
        )
    _demand_whole_claim(certificate, prop, whole)
    return tuple(_obligation(certificate, part, whole) for part in certificate.parts)


def _demand_whole_claim(
    certificate: Certificate, prop: Property, whole: Lowered
) -> None:
    """The parts are all that the claim takes: one, or one for each that can race."""
    if prop.expectation is not Expectation.RACE_FREE:
        if len(certificate.parts) != 1 or certificate.parts[0].races:
            raise Rejected("it does not have the one part that such a claim takes")
        return
    can_race = frozenset(plain_variables(whole))
    for part in certificate.parts:
        if not part.races or not can_race.issuperset(part.races):
            raise Rejected("a part of it is about no variable that can race")
    named = [name for part in certificate.parts for name in part.races]
    shown = frozenset(named)
    if len(named) > len(shown):  # so that there are not more parts than variables
        raise Rejected("two of its parts are about the same variable")
    missing = ", ".join(sorted(can_race - shown))
    if missing:
        raise Rejected(f"it says nothing about data races on {missing}")


def _obligation(certificate: Certificate, part: Part, whole: Lowered) -> Obligation:
    system, prop, only = _model(certificate, part, whole)
    if model_digest(system, prop) != part.model:
        raise Rejected(
            f"it is about another model: {_difference(certificate, whole.program)}"
        )
    clauses = tuple(clause_of(system, data) for _, data in part.clauses)
    said = in_sentences(system, clauses)
    for number, (says, _) in enumerate(part.clauses):
        if said[number] != says:
            raise Rejected(
                f"the sentence of clause {number + 1} is not what the clause forbids"
            )
    invariant = Invariant(clauses)
    if condition_count(system, prop, invariant) != part.conditions:
        raise Rejected("the number of its conditions is not what the clauses make it")
    return Obligation(system, prop, invariant, only, frozenset(part.races))


def _model(
    certificate: Certificate, part: Part, whole: Lowered
) -> tuple[TransitionSystem, Property, frozenset[str] | None]:
    """The system that a part speaks of, its claim in terms of that, and its variables."""
    own = certificate.check, certificate.number
    chosen = certificate.together or (own,)
    if own not in chosen or len(set(chosen)) < len(chosen):
        raise Rejected("its model is not for the claim that it is about")
    claimed = [(claim_of(whole, check, number), number) for check, number in chosen]
    races = frozenset(part.races)
    thin = thinned(fold(whole, races), *claimed).to_prove
    kinds = {other.expectation for other in thin.props}
    if len(chosen) > 1 and kinds != {Expectation.ALWAYS}:
        raise Rejected("only claims with 'always' or 'never' are proved together")
    only = None if part.only is None else frozenset(part.only)
    if only is not None and not thin.may_do_more:
        raise Rejected("only a claim with 'always' or 'never' may leave variables out")
    system, told = thin.together(only)
    return system, told[chosen.index(own)], only


def _difference(certificate: Certificate, program: Program) -> str:
    checks = (check for check, _ in certificate.together)
    now = dict(texts_of(program, certificate.check, *checks))
    changed = [
        name
        for name, digest in certificate.texts
        if now.get(name, digest) != digest or name not in now
    ]
    changed += [name for name in now if name not in dict(certificate.texts)]
    if changed:
        return f"since then {', '.join(sorted(changed))} changed"
    return "the spec texts are the same, but options, table or cpuhp itself differ"
