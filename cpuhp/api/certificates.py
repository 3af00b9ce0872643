"""Certificates, written and checked again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cpuhp.files import CERTIFICATE
from cpuhp.model.verdict import Verdict
from cpuhp.report.answers import ShownAnswer

if TYPE_CHECKING:
    from cpuhp.engines.certificate import Certificate, Outcome


def certify(
    file: str | Path,
    *,
    solvers: Iterable[str] | None = None,
    spec: str | None = None,
    timeout: float = 60.0,
) -> list[Outcome]:
    """Check a certificate again, from the spec and the certificate alone.

    One outcome a solver (of all that are installed, or those named). Raises Rejected if
    the certificate does not fit the spec, InputError if a file cannot be read.
    """
    from cpuhp.engines.certificate import read_certificate

    return recheck(read_certificate(file), solvers, spec, timeout)


def recheck(
    certificate: Certificate,
    solvers: Iterable[str] | None = None,
    spec: str | None = None,
    timeout: float = 60.0,
) -> list[Outcome]:
    """The same for a certificate that was read, or that has just been made."""
    from cpuhp.engines.certificate import (
        check,
        obligations_of,
        present,
        program_of,
        scripts,
    )

    obligations = obligations_of(certificate, program_of(certificate, spec))
    made = scripts(obligations, "qf")
    return [check(made, "qf", name, timeout) for name in solvers or present()]


def written(certificate: Certificate) -> tuple[str, str]:
    """The name and the text of its file."""
    from cpuhp.engines.certificate import write_certificate

    it = certificate
    name = f"{it.scenario}.{it.check}.{it.number}{CERTIFICATE}"
    return name, write_certificate(it)


def rechecked(
    shown: ShownAnswer, certificate: Certificate, seconds: float
) -> ShownAnswer:
    """The answer, if the checker of certificates accepts its proof; else UNKNOWN."""
    from cpuhp.engines.certificate import Rejected, Unsupported

    try:
        outcomes = recheck(certificate, timeout=seconds)
    except (Rejected, Unsupported) as error:
        reason = str(error)
    else:
        if all(outcome.is_accepted for outcome in outcomes):
            names = tuple(f"{o.solver} {o.version}" for o in outcomes)
            return replace(shown, accepted_by=names)
        reason = next(str(f) for outcome in outcomes for f in outcome.failures)
    return replace(
        shown,
        verdict=Verdict.UNKNOWN.value,
        invariant=None,
        reason=f"the checker of certificates does not accept the proof: {reason}",
    )
