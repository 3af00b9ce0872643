"""The system that decides one claim: sliced, folded and fused.

The search and the checker of certificates both begin here, so that they speak of the
same system; nothing else is common to them.
"""

from __future__ import annotations

from cpuhp.graph.constants import constants, folded
from cpuhp.graph.slicing import Depth, project, relevant
from cpuhp.language.build import build
from cpuhp.language.compile import Lowered, claims, lower
from cpuhp.model.system import Property, TransitionSystem


def system_of(
    whole: Lowered,
    prop: Property,
    number: int,
    depth: Depth = Depth.ALL,
    accessed: frozenset[str] = frozenset(),
) -> tuple[TransitionSystem, Property, frozenset[str]]:
    """The smallest system of this depth that decides `prop`, claim `number` of its check.

    Also the claim in the system's terms, and the names of the parts that are left. For
    data races, `accessed` names the variables of which all accesses are kept.
    """
    check = whole.program.checks[prop.check]
    known = constants(whole, accessed)
    thinner = folded(whole, known, accessed)
    kept = relevant(thinner, (prop,), depth, accessed=accessed)
    lowered = folded(lower(whole.program, kept.parts), known, accessed)
    again = claims(lowered, check, number)[0]
    projected = project(lowered, relevant(lowered, (again,), depth, accessed=accessed))
    system, told = build(projected, again)
    assert told is not None
    return system, told, kept.parts
