"""Certificates of proofs for every number of CPUs, and their checker.

The checker shares the front end with the search (parser, slicing, fusing) and nothing
else: of other engines it imports only what says if a machine begins as is assumed.
"""

from cpuhp.engines.certificate.check import FORMS, Failure, Outcome, check, scripts
from cpuhp.engines.certificate.digest import model_digest
from cpuhp.engines.certificate.format import (
    Certificate,
    read_certificate,
    write_certificate,
)
from cpuhp.engines.certificate.rebuild import (
    Obligation,
    Rejected,
    certificate_of,
    obligations_of,
    program_of,
)
from cpuhp.engines.certificate.sentences import in_sentences
from cpuhp.engines.certificate.solvers import present
from cpuhp.engines.certificate.translate import Unsupported

__all__ = [
    "FORMS",
    "Certificate",
    "Failure",
    "Obligation",
    "Outcome",
    "Rejected",
    "Unsupported",
    "certificate_of",
    "check",
    "model_digest",
    "obligations_of",
    "present",
    "program_of",
    "read_certificate",
    "scripts",
    "in_sentences",
    "write_certificate",
]
