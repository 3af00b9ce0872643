"""Which locks a process holds where: on every way there, or on some way there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cpuhp.diagnostics import fail
from cpuhp.language.compile import Lowered, LoweredProcess
from cpuhp.language.flow import Edge, LockUse
from cpuhp.language.program import Grip
from cpuhp.model.expr import FALSE, TRUE, Const, Expr, Param, reads


@dataclass(frozen=True)
class Hold:
    """A lock that is held. `indices` is None if what named it has changed since."""

    lock: str
    shared: bool
    indices: tuple[Expr, ...] | None

    @property
    def grip(self) -> Grip:
        return self.lock, self.shared

    @property
    def name(self) -> str:
        """`lock`, `lock[cpu]` if it is that of the CPU itself, `lock[*]` of some CPU."""
        indices = ("*",) if self.indices is None else map(_shown, self.indices)
        return self.lock + "".join(f"[{index}]" for index in indices)


Holds = frozenset[Hold]


def hold_of(use: LockUse) -> Hold:
    """The lock that a step uses, as it is held if it is."""
    return Hold(use.place.variable, use.shared, use.place.indices)


def _shown(index: Expr) -> str:
    if isinstance(index, Const):
        return str(index.value)
    return index.name.split("@")[0] if isinstance(index, Param) else "*"


def held_at(process: LoweredProcess, *, every: bool) -> dict[int, Holds]:
    """Locks held at each point: on every way there, else on some way there."""
    leaving: dict[int, list[Edge]] = {}
    for edge in process.flow.edges:
        leaving.setdefault(edge.source, []).append(edge)
    found: dict[int, Holds] = {process.entry: frozenset()}
    todo = [process.entry]
    while todo:
        at = todo.pop()
        for edge in leaving.get(at, ()):
            after = _after(edge, found[at], process, every)
            known = found.get(edge.target)
            if known is not None:
                after = known & after if every else known | after
            if after != known:
                found[edge.target] = after
                todo.append(edge.target)
    return found


def demand_readers_once(lowered: Lowered) -> None:
    """Raises InputError HP508 if a process may take a lock to read that it reads already.

    Who reads is kept as a flag: after the first release nobody would be held off.
    """
    for process in lowered.processes:
        held = held_at(process, every=False)
        for edge in process.flow.edges:
            for use, before in under_which(edge, held.get(edge.source, frozenset())):
                if use.shared and use.held != FALSE and hold_of(use) in before:
                    assert edge.note is not None
                    raise fail(
                        "HP508",
                        f"'{process.name}' may read '{use.place.variable}' already",
                        edge.note.span,
                        help="readers do not nest: take it where nobody further out has",
                    )


def under_which(
    edge: Edge, held: Holds, *, every: bool = False
) -> Iterator[tuple[LockUse, Holds]]:
    """The uses of locks in a step, each with what is held when it comes to that."""
    for use in edge.locks:
        yield use, held
        held = _used(use, held, every)


def _used(use: LockUse, held: Holds, every: bool) -> Holds:
    hold = hold_of(use)
    if use.held != FALSE:
        sure = use.held == TRUE or not every
        return held | {hold} if sure else held
    if use.asks:  # it only waits
        return held
    if not every:
        return held - {hold}
    # What is let go might be any whose name is not known any more.
    return frozenset(
        h for h in held
        if h != hold and (h.grip != hold.grip or h.indices is not None)
    )  # fmt: skip


def _after(edge: Edge, held: Holds, process: LoweredProcess, every: bool) -> Holds:
    for use in edge.locks:
        held = _used(use, held, every)
    return frozenset(_renamed(hold, edge, process) for hold in held)


def _renamed(hold: Hold, edge: Edge, process: LoweredProcess) -> Hold:
    """After the step, or one of somebody else, the same may mean another lock."""
    if not hold.indices:
        return hold
    kept = {v.name for v in process.locals} - edge.writes()
    for index in hold.indices:
        picked = isinstance(index, Param) and index != process.actor
        if picked or not reads(index) <= kept:
            return Hold(hold.lock, hold.shared, None)
    return hold
