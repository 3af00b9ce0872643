"""A clause's literal about a counter."""

from __future__ import annotations

from cpuhp.engines.certificate.terms import disj, equal, integer
from cpuhp.model.invariant import FAR, NEAR, Literal


def near(text: str, literal: Literal) -> str:
    """The difference of a counter to what it counts is one of the literal's values."""
    found = []
    for value in sorted(literal.values, key=str):
        assert isinstance(value, int)
        if value == FAR:
            least, most = integer(NEAR[0]), integer(NEAR[-1])
            found.append(f"(or (< {text} {least}) (< {most} {text}))")
        else:
            found.append(equal(text, integer(value)))
    return disj(found)
