"""Watching the order in which the processes of a run come to ask for locks.

A program is watched by variables that no step depends on: who holds a lock for writing
(`x.holder.P`; who reads is known anyway, see reader_locks.py), and `x.before.y`: there is
a chain from `x` to `y`, of locks each of which was asked for while the one before was
held. Asking is a step of its own, an observer's, that changes nothing else: it is there
as long as a process is about to take the lock, also if it waits for ever. A lock that is
before itself is an inversion.

An interrupt handler holds what the processes that it interrupts hold: they cannot let go
before it has ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cpuhp.language import tree as t
from cpuhp.language.flow import Edge, Flow, LockUse, compose
from cpuhp.language.program import Declared, Dependency, Grip, Program, Watch
from cpuhp.model.expr import (
    FALSE,
    TRUE,
    Boot,
    Expr,
    Param,
    Read,
    and_,
    conjuncts,
    eq,
    exists,
    or_,
    reads,
    rebuild,
)
from cpuhp.model.sorts import BOOL, CPU, IndexSort
from cpuhp.model.system import Assign, Choice, Runs

if TYPE_CHECKING:
    from cpuhp.language.compile import Lowered, LoweredProcess
    from cpuhp.language.terms import Terms

HOLDER, BEFORE, READ = ".holder.", ".before.", ".read"  # in names of variables
HELD, ASKED = "held", "asked"  # the locks that an observer picks
Pairs = tuple[Dependency, ...]


def queued(lowered: Lowered) -> frozenset[str]:
    """The locks whose readers wait for a writer that waits: a `rwsem` somebody writes."""
    asked = {
        use.place.variable
        for process in lowered.processes
        for edge in process.flow.edges
        for use in edge.locks
        if use.asks and not use.shared
    }
    writers = (n for n in lowered.program.variables if ".writer." in n)
    return frozenset(asked & {name.split(".writer.")[0] for name in writers})


def blocks(queued: frozenset[str], asked: Grip, held: Grip) -> bool:
    """Whether who asks for a lock in one way may wait for who holds it in the other.

    Of two readers one does where a writer can stand between them in the queue.
    """
    readers = asked[1] and held[1]
    return asked[0] == held[0] and (not readers or asked[0] in queued)


def chains(watch: Watch) -> Pairs:
    """All pairs of a lock that is held and one that a chain from it asks for."""
    found = dict.fromkeys(watch.dependencies)
    while True:
        more = [
            (outer, inner)
            for outer, asked in found
            for held, inner in found
            if blocks(watch.queued, asked, held) and (outer, inner) not in found
        ]
        if not more:
            return tuple(sorted(found))
        found |= dict.fromkeys(more)


def watched(lowered: Lowered, dependencies: Iterable[Dependency]) -> Program:
    """The program, in which these dependencies between locks are watched for."""
    program = lowered.program
    watch = Watch(tuple(sorted(dependencies)), queued(lowered))
    added: dict[str, Declared] = {}
    written = {lock for (lock, shared), _ in watch.dependencies if not shared}
    for lock in sorted(written):
        for process in lowered.processes:
            if any(_gets(use, lock) for e in process.flow.edges for use in e.locks):
                own = (CPU,) if process.actor else ()
                name = _owner(lock, False, process.name)
                added[name] = _flag(program, lock, name, own)
    for pair in chains(watch):
        more = program.variables[pair[1][0]].indices
        added[_before(pair)] = _flag(program, pair[0][0], _before(pair), more)
    return replace(program, watch=watch, variables={**program.variables, **added})


def _gets(use: LockUse, lock: str) -> bool:
    return use.place.variable == lock and not use.shared and use.held != FALSE


def _flag(
    program: Program, lock: str, name: str, more: tuple[IndexSort, ...]
) -> Declared:
    declared = program.variables[lock]
    word = t.NamedType("atomic_t", False, declared.declaration.span)
    node = replace(declared.declaration, type=word, name=name, value=None)
    return Declared(node, BOOL, declared.indices + more, False, declared.component)


def _owner(lock: str, shared: bool, process: str) -> str:
    """The flag that says that a process holds a lock."""
    return f"{lock}{'.reader.' if shared else HOLDER}{process}"


def _before(pair: Dependency) -> str:
    (outer, reads_outer), (inner, reads_inner) = pair
    return BEFORE.join((outer + READ * reads_outer, inner + READ * reads_inner))


def inversion(terms: Terms) -> Expr:
    """Some lock is before itself."""
    program = terms.program
    assert program.watch is not None
    found: list[Expr] = []
    for outer, inner in chains(program.watch):
        if blocks(program.watch.queued, inner, outer):
            xs = _fresh(terms, outer, "l")
            circle: Expr = Read(_before((outer, inner)), xs + xs, BOOL)
            for param in xs:
                circle = exists(param, circle)
            found.append(circle)
    return or_(*found)


def _fresh(terms: Terms, grip: Grip, name: str) -> tuple[Param, ...]:
    """Parameters that pick one of the locks."""
    indices = terms.program.variables[grip[0]].indices
    return tuple(terms.fresh(name, sort) for sort in indices)


def with_observers(lowered: Lowered) -> Iterator[LoweredProcess]:
    """The processes, and what watches them, where the program is watched."""
    watch = lowered.program.watch
    for process in lowered.processes:
        if watch:
            watcher = _Watcher(lowered, process, watch, chains(watch))
            yield replace(process, flow=watcher.flow())
        else:
            yield process


@dataclass(frozen=True)
class _Watcher:
    lowered: Lowered
    process: LoweredProcess
    watch: Watch
    pairs: Pairs

    @property
    def program(self) -> Program:
        return self.lowered.program

    def flow(self) -> Flow:
        edges: list[Edge] = []
        for edge in self.process.flow.edges:
            edges += self._observers(edge)
            held = self._after(edge.locks).effects
            holders = tuple(e for e in held if HOLDER in e.variable)
            edges.append(replace(edge, effects=edge.effects + holders))
        flow = self.process.flow
        return Flow(flow.names, edges, flow.waits, flow.resting, flow.labels)

    def _observers(self, edge: Edge) -> Iterator[Edge]:
        """They notice that the step is next, but for locks that somebody else has."""
        locks = {use.place.variable for use in edge.locks if use.asks}
        free = and_(*(p for p in conjuncts(edge.guard) if not _is_about(p, locks)))
        for number, use in enumerate(edge.locks):
            if not use.asks:
                continue
            before = self._after(edge.locks[:number])
            for held, asked in self.watch.dependencies:
                if asked != (use.place.variable, use.shared):
                    continue
                seen = compose(before, self._asked(use, held))
                if seen is None:
                    continue
                effects = tuple(e for e in seen.effects if BEFORE in e.variable)
                text = f"about to {edge.note.text} under {held[0]}" if edge.note else ""
                yield Edge(
                    edge.source,
                    edge.source,
                    and_(free, seen.guard),
                    edge.choices + seen.choices,
                    effects,
                    edge.note and replace(edge.note, text=text),
                )

    def _after(self, uses: Iterable[LockUse]) -> Edge:
        """What is held after these uses of locks, one after the other."""
        step = Edge(0, 0)
        for use in uses:
            after = compose(step, Edge(0, 0, effects=tuple(self._held_after(use))))
            assert after is not None, "it has no condition"
            step = after
        return step

    def _asked(self, use: LockUse, held: Grip) -> Edge:
        """The lock is asked for under one that is held: all chains through both."""
        terms, asked = self.lowered.terms, (use.place.variable, use.shared)
        at, hs = _fresh(terms, asked, ASKED), _fresh(terms, held, HELD)
        under = self._held(held, hs)
        # Which locks they are is a choice without a choice: proofs need names for them.
        named = zip(at, use.place.indices)
        choices = tuple(Choice(param, eq(param, index)) for param, index in named)
        choices += tuple(Choice(param) for param in hs)
        if hs:
            choices = (*choices[:-1], replace(choices[-1], among=under))
        effects: list[Assign] = []
        # What is seen comes before what follows from it.
        for outer, inner in sorted(self.pairs, key=lambda p: p != (held, asked)):
            xs, zs = _fresh(terms, outer, "l"), _fresh(terms, inner, "l")
            up = [_same(xs, hs)] if outer == held else []
            up += [
                Read(_before((outer, last)), xs + hs, BOOL)
                for first, last in self.pairs
                if first == outer and blocks(self.watch.queued, last, held)
            ]
            down = [_same(zs, at)] if inner == asked else []
            down += [
                Read(_before((first, inner)), at + zs, BOOL)
                for first, last in self.pairs
                if last == inner and blocks(self.watch.queued, asked, first)
            ]
            new = and_(or_(*up), or_(*down))
            if new != FALSE:
                name, bound = _before((outer, inner)), xs + zs
                value = or_(Read(name, bound, BOOL), new)
                effects.append(Assign(name, bound, value, bound))
        return Edge(0, 0, TRUE if hs else under, choices, tuple(effects))

    def _held(self, grip: Grip, where: tuple[Expr, ...]) -> Expr:
        """The process holds the lock, or one does that it has interrupted."""
        mine = self._flag(grip, self.process, where, self.process.actor)
        if self.process.kind != "interrupt":
            return mine
        cpu: Expr = self.process.actor or Boot()
        below = [
            self._flag(grip, process, where, cpu)
            for process in self.lowered.processes
            if process.kind not in ("interrupt", "environment")
        ]
        return or_(mine, *below)

    def _flag(
        self,
        grip: Grip,
        process: LoweredProcess,
        where: tuple[Expr, ...],
        cpu: Expr | None,
    ) -> Expr:
        """A process holds the lock; one without a CPU does if `cpu` is its own."""
        name = _owner(*grip, process.name)
        if name not in self.program.variables:
            return FALSE
        if process.runs is not Runs.ONCE:
            assert cpu is not None
            return Read(name, (*where, cpu), BOOL)
        here = TRUE if cpu is None else eq(cpu, Boot())
        return and_(Read(name, where, BOOL), here)

    def _held_after(self, use: LockUse) -> Iterator[Assign]:
        own = (self.process.actor,) if self.process.actor else ()
        mine = _owner(use.place.variable, use.shared, self.process.name)
        where = (*use.place.indices, *own)
        if use.held != FALSE:
            if mine in self.program.variables:
                flag = Read(mine, where, BOOL)
                yield Assign(mine, where, or_(flag, use.held))
        elif use.shared:
            yield Assign(mine, where, FALSE)
        elif not use.asks:
            yield from self._dropped(use)

    def _dropped(self, use: LockUse) -> Iterator[Assign]:
        """Whoever held it: another one may have taken it than lets it go."""
        for process in self.lowered.processes:
            name = _owner(use.place.variable, False, process.name)
            if name in self.program.variables:
                bound: tuple[Param, ...] = ()
                if process.actor:
                    bound = (self.lowered.terms.fresh("h", CPU),)
                yield Assign(name, use.place.indices + bound, FALSE, bound)


def _same(params: tuple[Param, ...], indices: tuple[Expr, ...]) -> Expr:
    return and_(*(eq(param, index) for param, index in zip(params, indices)))


def _is_about(condition: Expr, locks: set[str]) -> bool:
    """Does it speak of who has these locks, and of nothing else?"""

    def visit(part: Expr) -> Expr | None:
        about = isinstance(part, Read) and part.variable.split(".")[0] in locks
        return TRUE if about else None

    return condition != TRUE and not reads(rebuild(condition, visit))
