"""`cpuhp certify`: check a certificate again, from the spec and the certificate alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from cpuhp.cli._options import timeout_option

if TYPE_CHECKING:
    from cpuhp.engines.certificate import Certificate, Obligation, Outcome
    from cpuhp.engines.certificate.claims import Script
    from cpuhp.model.table import Table

GROUP = "verify"


@click.command(
    "certify",
    short_help="Check the certificates of proofs again, without the search.",
    epilog="Exit status: 0 accepted, 1 rejected, 2 bad input, 3 a solver does not know.",
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--solver",
    "solvers",
    multiple=True,
    metavar="z3|cvc5",
    help="Only this solver; default all that are installed.",
)
@click.option(
    "--form",
    "forms",
    multiple=True,
    type=click.Choice(["qf", "forall"]),
    help="Without quantifiers, or with real ones; default both.",
)
@click.option(
    "--spec", metavar="FILE.hp", help="The scenario, if it is not where it was."
)
@click.option(
    "--export",
    "folder",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Write the conditions as .smt2 files.",
)
@timeout_option("per condition")
@click.pass_context
def command(
    ctx: click.Context,
    files: tuple[str, ...],
    solvers: tuple[str, ...],
    forms: tuple[str, ...],
    spec: str | None,
    folder: str | None,
    timeout: float,
) -> None:
    """Check certificates that `cpuhp check --out DIR` wrote.

    The spec is loaded anew, and every condition is put to z3 and cvc5. Nothing of the
    search that found the proof is used.
    """
    from cpuhp.engines.certificate import FORMS, present
    from cpuhp.engines.certificate.solvers import start

    chosen = solvers or tuple(present())
    for name in chosen:
        start(name, 1000)  # so that a solver that is missing is known at once
    worst = 0
    for file in files:
        status = _certify(file, chosen, forms or FORMS, spec, folder, timeout)
        worst = max(worst, status, key=(0, 3, 1).index)
    ctx.exit(worst)


def _certify(
    file: str,
    solvers: tuple[str, ...],
    forms: tuple[str, ...],
    spec: str | None,
    folder: str | None,
    timeout: float,
) -> int:
    """Check one certificate and print what comes of it; the exit status."""
    from cpuhp.engines.certificate import (
        Rejected,
        Unsupported,
        check,
        obligations_of,
        program_of,
        read_certificate,
        scripts,
    )

    certificate = read_certificate(file)
    _heading(file, certificate)
    try:
        obligations = obligations_of(certificate, program_of(certificate, spec))
        _models(obligations)
        outcomes = []
        for form in forms:
            made = scripts(obligations, form)
            if folder is not None:
                _export(folder, certificate, form, made)
            for solver in solvers:
                outcomes.append(check(made, form, solver, timeout))
                _row(outcomes[-1])
    except (Rejected, Unsupported) as error:
        click.echo(f"REJECTED: {error}")
        return 1
    return _verdict(outcomes)


def _heading(file: str, certificate: Certificate) -> None:
    options = ", ".join(f"{name}={value}" for name, value in certificate.options)
    click.echo(f"{file}")
    click.echo(f"  {certificate.scenario}: {certificate.check}: {certificate.claim}")
    table = certificate.table
    rows = (
        f"{len(table.states)} rows{'' if _is_as_named(table) else ', NOT AS SHIPPED'}"
    )
    click.echo(f"  order {table.name} ({rows}), "
               f"options {options or 'as they are by default'}")  # fmt: skip


def _is_as_named(table: Table) -> bool:
    """Whether it is the shipped table of its name, if there is one."""
    from cpuhp.kernel.tables.order import shipped_order
    from cpuhp.kernel.tables.states_file import shipped_tables

    if table.name not in shipped_tables():
        return True
    own = tuple(row for row in table.states if not row.added)
    return replace(table, states=own) == shipped_order(table.name)


def _models(obligations: Sequence[Obligation]) -> None:
    from cpuhp.report.prose import wrapped

    for obligation in obligations:
        system, clauses = obligation.system, obligation.invariant.clauses
        if obligation.races:
            names = ", ".join(sorted(obligation.races))
            for line in wrapped(f"no data race on {names}", "  ", "    "):
                click.echo(line)
        click.echo(f"  the model is the certificate's: {len(system.variables)} "
                   f"variables, {len(system.actions)} actions, "
                   f"{len(clauses)} clauses")  # fmt: skip
    if not obligations:
        click.echo("  no variable can race: nothing has to be checked")


def _row(outcome: Outcome) -> None:
    form = {"qf": "without quantifiers", "forall": "with quantifiers"}[outcome.form]
    failed = Counter(failure.group for failure in outcome.failures)
    for group, count in outcome.counts:
        wrong = f", {failed[group]} not refuted" if failed[group] else ""
        click.echo(f"  {group:11} {count:4} condition{'s' if count != 1 else ' '} "
                   f"{form} by {outcome.solver} {outcome.version}{wrong}")  # fmt: skip
    click.echo(f"  {outcome.seconds:16.2f} s")


def _verdict(outcomes: list[Outcome]) -> int:
    failures = [f for outcome in outcomes for f in outcome.failures]
    for failure in dict.fromkeys(map(str, failures)):
        click.echo(f"  {failure}")
    if not failures:
        by = " and ".join(dict.fromkeys(outcome.solver for outcome in outcomes))
        click.echo(f"ACCEPTED by {by}: it holds for every number of CPUs")
        return 0
    if all(o.is_unknown or o.is_accepted for o in outcomes):
        click.echo("REJECTED: a solver does not know; try a longer --timeout")
        return 3
    click.echo(f"REJECTED: {failures[0]}")
    return 1


def _export(
    folder: str, certificate: Certificate, form: str, made: list[Script]
) -> None:
    from pathlib import Path

    from cpuhp.engines.certificate.check import exported
    from cpuhp.files import write_whole

    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    stem = f"{certificate.scenario}.{certificate.check}.{certificate.number}"
    for script in made:
        path = root / f"{stem}.{form}.{script.name}.smt2"
        write_whole(path, exported(script))
