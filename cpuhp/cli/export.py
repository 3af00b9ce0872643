"""`cpuhp export`: a claim for another checker, at one number of CPUs or for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cpuhp.cli._options import order_option, settings_option, timeout_option

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cpuhp.api import Scenario
    from cpuhp.diagnostics import InputError
    from cpuhp.model.invariant import Invariant
    from cpuhp.model.system import Property, TransitionSystem

GROUP = "export"


@click.command(
    "export",
    short_help="Write a claim for SPIN, Cubicle, ...; a run for Perfetto.",
    epilog="Exit status: 0 the file was written, 2 the input is not usable.",
)
@click.argument("subject", metavar="SCENARIO|FILE.hp|CERT.json|RESULT.json|TRACE")
@click.option(
    "--to",
    required=True,
    metavar="FORM",
    help="promela (SPIN), murphi (Rumur) or smt2, a claim with so many CPUs; cubicle or "
    "mypyvy, with any number; perfetto, a run.",
)
@click.option("--check", metavar="NAME", help="The check; needed if there are several.")
@click.option(
    "--claim",
    "number",
    type=click.IntRange(0),
    metavar="N",
    help="Which claim of the check, from 0; needed if there are several.",
)
@click.option(
    "--cpus",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Number of CPUs, the control CPU among them; for promela, murphi and smt2.",
)
@click.option(
    "--boot",
    default=0,
    type=click.IntRange(0),
    metavar="N",
    help="Number of the control CPU; default 0.",
)
@order_option
@settings_option
@click.option(
    "--depth",
    type=click.IntRange(0, 1000),
    metavar="N",
    help="Steps, for smt2; default 20.",
)
@timeout_option("for finding the proof that cubicle and mypyvy are given")
@click.option(
    "-o", "--output", metavar="FILE", help="Write here; default standard output."
)
def command(
    subject: str,
    to: str,
    check: str | None,
    number: int | None,
    cpus: int | None,
    boot: int,
    order: str | None,
    options: dict[str, str],
    depth: int | None,
    timeout: float,
    output: str | None,
) -> None:
    """Write one claim as a model of another checker.

    What is written is the slice that decides the claim, with the same meaning: the
    other checker's answer must be ours. Models for every number of CPUs get the clauses
    of our proof, which is that of a certificate CERT.json or is searched for.

    To perfetto: the interleaving in a RESULT.json of `cpuhp check --format json`, or a
    recorded TRACE, as a trace file for ui.perfetto.dev and chrome://tracing.
    """
    if to == "perfetto":
        _write(_perfetto(subject, check, number or 0, order), output)
        return
    from cpuhp.api import load
    from cpuhp.files import CERTIFICATE
    from cpuhp.report.export import covers_every_count, export, export_unbounded
    from cpuhp.report.export.plain import demand_single_states

    if covers_every_count(to):
        if cpus is not None or boot or depth is not None:
            raise click.UsageError(
                f"--to {to} is for every number of CPUs: no --cpus, --boot and --depth"
            )
        if subject.endswith(CERTIFICATE):
            proof = _certified(subject)
        else:
            loaded = load(subject, order=order, options=options)
            name, which, prop = _claim(loaded, check, number)
            # Before a proof is looked for.
            demand_single_states(prop.expectation, prop.span)
            proof = _proved(loaded, name, which, timeout)
        _write([export_unbounded(proof[0], proof[1], to, proof[2])], output)
        return
    if cpus is None:
        raise click.UsageError(f"--to {to} takes --cpus, the number of CPUs")
    loaded = load(subject, order=order, options=options)
    name, which, _ = _claim(loaded, check, number)
    sliced = loaded.checker.slice(name, which)
    _write([export(sliced.system, sliced.prop, to, cpus, boot, depth)], output)


def _certified(file: str) -> tuple[TransitionSystem, Property, Invariant | None]:
    """What a certificate is about. Raises InputError HP837 if it is not accepted."""
    from cpuhp.diagnostics import fail
    from cpuhp.engines.certificate import (
        Rejected,
        obligations_of,
        program_of,
        read_certificate,
    )
    from cpuhp.model.system import Expectation
    from cpuhp.report.export.plain import demand_single_states

    certificate = read_certificate(file)
    try:
        obligations = obligations_of(certificate, program_of(certificate))
    except Rejected as error:
        raise fail(
            "HP837", f"{file}: {error}", help="write it anew: check --out"
        ) from None
    demand_single_states(Expectation(certificate.kind))
    (made,) = obligations
    return made.system, made.prop, made.invariant


def _proved(
    loaded: Scenario, check: str, number: int, timeout: float
) -> tuple[TransitionSystem, Property, Invariant | None]:
    """The slice of the claim, and the clauses that prove it if some are found."""
    from cpuhp.api import Settings

    answer = loaded.checker.answer(check, number, Settings(timeout=timeout))
    if not answer.proofs:
        click.echo(
            f"without invariants: {check} is {answer.result.verdict.value}, and no proof "
            "for every number of CPUs is known",
            err=True,
        )
    invariant = answer.proofs[0].invariant if answer.proofs else None
    return answer.sliced.system, answer.sliced.prop, invariant


def _write(text: Iterable[str], output: str | None) -> None:
    if output is None:
        for piece in text:
            click.echo(piece, nl=False)
        return
    from pathlib import Path

    from cpuhp.files import write_whole

    write_whole(Path(output), text)


def _perfetto(
    subject: str, check: str | None, number: int, order: str | None
) -> Iterable[str]:
    """The pieces of the file. Raises InputError HP810, HP811 or what a trace may."""
    if not subject.endswith(".json"):
        from cpuhp.cli.conform import perfetto_of

        return perfetto_of(subject, order)
    from cpuhp.cli._files import read_results
    from cpuhp.report.results import interleaving_of
    from cpuhp.report.step_events import step_events

    found = interleaving_of(read_results(subject), check, number, subject)
    return step_events(found, subject)


def _claim(
    scenario: Scenario, check: str | None, number: int | None
) -> tuple[str, int, Property]:
    """The one claim that is meant. Raises InputError HP501 or HP833."""
    found = scenario.claims(check or "*")
    if check is None:
        own = {item.check for item in scenario.program.expectations}
        found = [c for c in found if c[0] in own] or found
    if number is not None:
        found = [c for c in found if c[1] == number]
    if len(found) == 1:
        return found[0]
    raise _which(scenario, found, check, number)


def _which(
    scenario: Scenario,
    found: list[tuple[str, int, Property]],
    check: str | None,
    number: int | None,
) -> InputError:
    from cpuhp.diagnostics import fail

    listed = found or scenario.claims(check or "*")
    names = [f"--check {name} --claim {n}  ({p.text})" for name, n, p in listed]
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    what = "no such claim" if not found else f"{len(found)} claims"
    return fail(
        "HP833",
        f"'{scenario.name}' has {what}: name one",
        help="one of\n    " + "\n    ".join(names[:12]) + more,
    )
