"""The system that decides one claim: sliced, folded and fused.

The search and the checker of certificates both begin here, so that they speak of the
same system; nothing else is common to them.
"""

from __future__ import annotations

from dataclasses import dataclass

from cpuhp.graph.constants import Constants, constants, folded
from cpuhp.graph.slicing import Depth, project, relevant
from cpuhp.language.build import build
from cpuhp.language.compile import Lowered, claims, lower
from cpuhp.model.system import Property, TransitionSystem


@dataclass(frozen=True)
class Folded:
    """A whole program without what never changes: claims of one program share it."""

    whole: Lowered
    known: Constants
    thinner: Lowered


def fold(whole: Lowered, accessed: frozenset[str] = frozenset()) -> Folded:
    """Constants of the whole program, those in `accessed` left out, and what is left."""
    known = constants(whole, accessed)
    return Folded(whole, known, folded(whole, known, accessed))


def system_of(
    start: Folded,
    prop: Property,
    number: int,
    depth: Depth = Depth.ALL,
    accessed: frozenset[str] = frozenset(),
) -> tuple[TransitionSystem, Property, frozenset[str]]:
    """The smallest system of this depth that decides `prop`, claim `number` of its check.

    Also the claim in the system's terms, and the names of the parts that are left. For
    data races, `accessed` names the variables of which all accesses are kept; `start` is
    `fold(whole, accessed)`.
    """
    projected, again, parts = projection_of(start, prop, number, depth, accessed)
    system, told = build(projected, again)
    assert told is not None
    return system, told, parts


def projection_of(
    start: Folded,
    prop: Property,
    number: int,
    depth: Depth = Depth.ALL,
    accessed: frozenset[str] = frozenset(),
) -> tuple[Lowered, Property, frozenset[str]]:
    """The same before its steps are fused: each statement that matters is an edge."""
    program = start.whole.program
    check = program.checks[prop.check]
    kept = relevant(start.thinner, (prop,), depth, accessed=accessed)
    lowered = folded(lower(program, kept.parts), start.known, accessed)
    again = claims(lowered, check, number)[0]
    projected = project(lowered, relevant(lowered, (again,), depth, accessed=accessed))
    return projected, again, kept.parts
