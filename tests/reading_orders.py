"""The order in which locks are asked for, by nothing but docs/language.md.

A lock is its name, and the CPU whose it is. A hold is who has it, the lock, and whether
it is held for reading; a dependency is what is held, and what is asked for then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import networkx as nx
from second_reading import NONE, Reached, State, Thread, TooManyError, reachable, steps


@dataclass(frozen=True)
class Use:
    """What a step does with a lock: it takes it, tries to, waits for it, or drops it."""

    does: str
    lock: str
    cpu: Callable | None = None
    shared: bool = False

    def booked(self, before: State, after: State | None) -> State | None:
        """The state after the step, with the books; None if it has to wait.

        Whoever is only asked goes on also where others have the lock.
        """
        if "holds" not in before:
            return after
        lock = self.lock, self.cpu(before) if self.cpu else None
        asks = self.does in ("takes", "waits") and lock[1] != NONE
        if "asked" in before:
            after = before if after is None else after
            if asks:
                under = {h[1:] for h in before["holds"] if h[0] in before["below"]}
                new = {(held, (lock, self.shared)) for held in under}
                after = after | {"asked": before["asked"] | new}
        if after is None or lock[1] == NONE or self.does == "waits":
            return after
        mine, holds = (before["me"], lock, self.shared), before["holds"]
        if self.does == "drops":
            gone = {mine} if self.shared else {h for h in holds if h[1:] == mine[1:]}
            return after | {"holds": holds - gone}
        return after | {"holds": holds | {mine}}


def inverted(
    firsts: Iterable[State], threads: tuple[Thread, ...], queued: set[str], most: int
) -> bool:
    """Has some run locks that are asked for in a circle? `queued`: see `_is_circle`."""
    begun = [first | {"holds": frozenset()} for first in firsts]
    found = reachable(begun, threads, most)
    asked = [_asked(one) for one in found]
    if not _is_circle(frozenset().union(*asked), queued):
        return False
    waiting = [(n, asked[n]) for n in range(len(begun))]
    seen = set(waiting)
    while waiting:
        number, order = waiting.pop()
        if _is_circle(order, queued):
            return True
        for _, to in found[number].after:
            node = to, order | asked[to]
            if node not in seen:
                seen.add(node)
                waiting.append(node)
        if len(seen) > 5 * most:
            raise TooManyError
    return False


def _asked(one: Reached) -> frozenset:
    """The dependencies that there are in this state."""
    found: set = set()
    for at, thread in enumerate(one.threads):
        below = {at}
        if thread.when:
            below |= {
                n
                for n, other in enumerate(one.threads)
                if other.cpu == thread.cpu and other.kind in ("process", "service")
            }
        asking = {"asked": frozenset(), "below": frozenset(below)}
        for _, state in steps(one.threads, at, one.shared | asking):
            found |= state["asked"]
    return frozenset(found)


def _is_circle(order: frozenset, queued: set[str]) -> bool:
    """Two readers wait for each other only at a lock that is `queued` for."""
    graph: nx.DiGraph = nx.DiGraph()
    graph.add_nodes_from(order)
    for one in order:
        for other in order:
            (lock, reads), (held, shared) = one[1], other[0]
            if lock == held and (not (reads and shared) or lock[0] in queued):
                graph.add_edge(one, other)
    return not nx.is_directed_acyclic_graph(graph)
