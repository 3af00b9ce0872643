"""Certificates, checked again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cpuhp.engines.certificate import Outcome


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
    from cpuhp.engines.certificate import (
        check,
        obligation_of,
        present,
        program_of,
        read_certificate,
        scripts,
    )

    certificate = read_certificate(file)
    obligation = obligation_of(certificate, program_of(certificate, spec))
    made = scripts(obligation.system, obligation.prop, obligation.invariant, "qf")
    return [check(made, "qf", name, timeout) for name in solvers or present()]
