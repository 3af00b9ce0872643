"""Proofs that hold for every number of CPUs."""

from cpuhp.engines.parametric.proof import (
    Proof,
    prove,
    prove_in_attempts,
    prove_together,
)
from cpuhp.engines.parametric.sampling import collect_samples
from cpuhp.engines.parametric.verify import verify

__all__ = [
    "Proof",
    "collect_samples",
    "prove",
    "prove_in_attempts",
    "prove_together",
    "verify",
]
