"""The system that decides one claim: sliced, folded and fused.

The search and the checker of certificates both begin here, so that they speak of the
same system; nothing else is common to them.
"""

from __future__ import annotations

from cpuhp.graph.constants import folded
from cpuhp.graph.slicing import Depth, project, relevant
from cpuhp.language.build import build
from cpuhp.language.compile import Lowered, claims, lower
from cpuhp.model.system import Property, TransitionSystem


def system_of(
    whole: Lowered, prop: Property, number: int, depth: Depth = Depth.ALL
) -> tuple[TransitionSystem, Property, frozenset[str]]:
    """The smallest system of this depth that decides `prop`, claim `number` of its check.

    Also the claim in the system's terms, and the names of the parts that are left.
    """
    check = whole.program.checks[prop.check]
    kept = relevant(folded(whole), (prop,), depth)
    lowered = folded(lower(whole.program, kept.parts))
    again = claims(lowered, check, number)[0]
    projected = project(lowered, relevant(lowered, (again,), depth))
    system, told = build(projected, again)
    assert told is not None
    return system, told, kept.parts
