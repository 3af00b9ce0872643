"""What a run tells of the order of locks, where that is watched (language/watching.py)."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx

from cpuhp.language.watching import ASKED, BEFORE, HELD, HOLDER, READ
from cpuhp.model.sorts import format_value
from cpuhp.model.verdict import Step, Trace


def is_of_observers(variable: str) -> bool:
    """Does no process but only who watches it have the variable?"""
    return HOLDER in variable or BEFORE in variable


def order_seen(step: Step) -> tuple[str, str] | None:
    """The lock that is held and the one asked for, if an observer notices it here."""
    names = (e.variable for e in step.action.effects if BEFORE in e.variable)
    first = next(names, None)
    if first is None:
        return None
    outer, inner = (name.removesuffix(READ) for name in first.split(BEFORE))
    return outer + _at(step, HELD), inner + _at(step, ASKED)


def _at(step: Step, role: str) -> str:
    return "".join(
        f"[{format_value(param.sort, value)}]"
        for param, value in zip(step.action.params, step.binding)
        if param.name.startswith(f"{role}#")
    )


def circle(trace: Trace) -> str | None:
    """The circle of locks that the last step closes, in words."""
    seen = [pair for pair in map(order_seen, trace.steps) if pair is not None]
    if not seen:
        return None
    outer, inner = seen[-1]
    if outer == inner:
        who = trace.steps[-1].action.process
        return f"{who} asks for {outer} where it is held already"
    graph: nx.DiGraph = nx.DiGraph(sorted(seen))
    if not nx.has_path(graph, inner, outer):
        return None
    names = [outer, *nx.shortest_path(graph, inner, outer)]
    told = [f"{later} under {earlier}" for earlier, later in pairwise(names)]
    return f"locks are asked for in a circle: {', '.join(told)}"
