"""Reader-writer locks and SRCU: who reads is kept per process, so that it is exact.

A lock `x` of type `rwsem`, `rwlock` or `srcu_struct` has, beside its holder, a flag for
each process that may read it (`x.reader.P`), for each that may wait to write it
(`x.writer.P`), and for each pair of a waiting and a reading process of SRCU what the
grace period still waits for (`x.gp.S.P`). A counter would not do: it saturates, and a
proof for every CPU count needs to know which CPU it is that reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from cpuhp.diagnostics import fail
from cpuhp.language import tree as t
from cpuhp.language.flow import LockUse
from cpuhp.language.primitives import Step, one_lock
from cpuhp.language.terms import Scope, Terms
from cpuhp.model.expr import (
    FALSE,
    TRUE,
    Expr,
    Param,
    Read,
    and_,
    eq,
    forall,
    none_of,
    not_,
)
from cpuhp.model.sorts import BOOL, CPU
from cpuhp.model.system import Assign


@dataclass(frozen=True)
class Caller:
    """Who runs a primitive: `actor` is its CPU if the process runs per CPU."""

    process: str
    actor: Param | None
    cpu: Expr


@dataclass(frozen=True)
class _Lock:
    """A lock at its place, and the flags of the processes that use it."""

    terms: Terms
    caller: Caller
    call: t.Call
    place: Read

    def flags(self, role: str) -> list[Read]:
        """`x.role.*` of everybody, for a parameter in place of each process's CPU."""
        prefix = f"{self.place.variable}.{role}."
        variables = self.terms.program.variables
        return [self._for_all(n) for n in variables if n.startswith(prefix)]

    def _for_all(self, name: str) -> Read:
        indices = self.terms.program.variables[name].indices
        more = indices[len(self.place.indices) :]
        params = tuple(self.terms.fresh("c", sort) for sort in more)
        return Read(name, (*self.place.indices, *params), BOOL)

    def mine(self, role: str) -> Read:
        """The caller's own flag. Raises InputError HP319 if it never takes the lock."""
        name = f"{self.place.variable}.{role}.{self.caller.process}"
        if name not in self.terms.program.variables:
            raise fail(
                "HP319",
                f"process '{self.caller.process}' never locks '{self.place.variable}' "
                "for reading",
                self.call.span,
            )
        return Read(name, self.place.indices + self.me, BOOL)

    @property
    def me(self) -> tuple[Expr, ...]:
        return (self.caller.actor,) if self.caller.actor else ()

    def nobody(self, role: str) -> Expr:
        return and_(*(self._nowhere(flag) for flag in self.flags(role)))

    def _nowhere(self, flag: Read) -> Expr:
        found = not_(flag)
        for param in _bound(flag, self.place):
            found = forall(param, found)
        return found

    @property
    def free(self) -> Expr:
        return eq(self.place, none_of(CPU))

    # -- SRCU: `x.gp.S.P` [of S's CPU] [of P's CPU] -------------------------------

    def periods(self, waiter: str | None, reader: str | None) -> Iterator[_Period]:
        """What grace periods wait for, of one waiter or for one reader."""
        prefix = f"{self.place.variable}.gp."
        for name, declared in self.terms.program.variables.items():
            if not name.startswith(prefix):
                continue
            by, whom = name.removeprefix(prefix).split(".")
            if waiter in (None, by) and reader in (None, whom):
                reads = f"{self.place.variable}.reader.{whom}"
                of_reader = len(self.terms.program.variables[reads].indices)
                more = len(declared.indices) - len(self.place.indices)
                per_reader = of_reader - len(self.place.indices)
                yield _Period(name, reads, more - per_reader == 1, per_reader == 1)


@dataclass(frozen=True)
class _Period:
    name: str
    reader: str
    waiter_per_cpu: bool
    reader_per_cpu: bool


def _bound(flag: Read, place: Read) -> tuple[Param, ...]:
    return tuple(
        index
        for index in flag.indices[len(place.indices) :]
        if isinstance(index, Param)
    )


def _lock(terms: Terms, caller: Caller, call: t.Call, scope: Scope, kind: str) -> _Lock:
    place = one_lock(terms, call, scope)
    declared = terms.program.variables[place.variable].declaration.type
    if not isinstance(declared, t.NamedType) or declared.name != kind:
        raise fail("HP302", f"'{call.name}' takes a lock of type {kind}", call.args[0].span,
                   help=f"declare it: {kind} {place.variable};")  # fmt: skip
    return _Lock(terms, caller, call, place)


def _set(place: Read, value: Expr) -> Assign:
    return Assign(place.variable, place.indices, value)


def _read(lock: _Lock, step: Step) -> Step:
    """The step by which the caller becomes a reader, which it must not be yet.

    A lock of one name is refused where that may be (HP508). Of several, one may be read
    under two names.
    """
    mine = lock.mine("reader")
    asserts = not_(mine) if lock.place.indices else None
    return replace(step, effects=(_set(mine, TRUE),), asserts=asserts)


def _begin_read(lock: _Lock) -> Step:
    guard = and_(lock.free, lock.nobody("writer"))
    use = LockUse(lock.place, asks=True, held=TRUE, shared=True)
    return _read(lock, Step(guard, lock=use))


def _end_read(lock: _Lock) -> Step:
    effects = (_set(lock.mine("reader"), FALSE),)
    return Step(effects=effects, lock=_let_go(lock))


def _let_go(lock: _Lock) -> LockUse:
    return LockUse(lock.place, asks=False, held=FALSE, shared=True)


def _down_write(lock: _Lock) -> Step:
    # Whoever waits to write is known: new readers queue up behind.
    waits = lock.mine("writer")
    guard = and_(lock.free, lock.nobody("reader"))
    taken = (_set(lock.place, lock.caller.cpu), _set(waits, FALSE))
    use = LockUse(lock.place, asks=True, held=TRUE)
    return Step(guard, (_set(waits, TRUE),), taken, lock=use)


def _write_lock(lock: _Lock) -> Step:
    guard = and_(lock.free, lock.nobody("reader"))
    use = LockUse(lock.place, asks=True, held=TRUE)
    return Step(guard, effects=(_set(lock.place, lock.caller.cpu),), lock=use)


def _end_write(lock: _Lock) -> Step:
    use = LockUse(lock.place, asks=False, held=FALSE)
    return Step(effects=(_set(lock.place, none_of(CPU)),), lock=use)


def _srcu_read_lock(lock: _Lock) -> Step:
    use = LockUse(lock.place, asks=False, held=TRUE, shared=True)
    return _read(lock, Step(lock=use))


def _srcu_read_unlock(lock: _Lock) -> Step:
    effects = [_set(lock.mine("reader"), FALSE)]
    for period in lock.periods(None, lock.caller.process):
        bound: tuple[Param, ...] = ()
        if period.waiter_per_cpu:
            bound = (lock.terms.fresh("w", CPU),)
        indices = lock.place.indices + bound + lock.me
        effects.append(Assign(period.name, indices, FALSE, bound))
    return Step(effects=tuple(effects), lock=_let_go(lock))


def _synchronize(lock: _Lock) -> Step:
    """Take the snapshot of the readers of now; wait until each of them has left."""
    snapshot: list[Assign] = []
    left: Expr = TRUE
    for period in lock.periods(lock.caller.process, None):
        bound = (lock.terms.fresh("r", CPU),) if period.reader_per_cpu else ()
        reader = Read(period.reader, lock.place.indices + bound, BOOL)
        indices = lock.place.indices + lock.me + bound
        snapshot.append(Assign(period.name, indices, reader, bound))
        gone = not_(Read(period.name, indices, BOOL))
        left = and_(left, forall(bound[0], gone) if bound else gone)
    return Step(left, tuple(snapshot), lock=LockUse(lock.place, True, FALSE))


def _primitive(kind: str, step: Callable[[_Lock], Step]) -> ReaderPrimitive:
    def primitive(terms: Terms, caller: Caller, call: t.Call, scope: Scope) -> Step:
        return step(_lock(terms, caller, call, scope, kind))

    return primitive


ReaderPrimitive = Callable[[Terms, Caller, t.Call, Scope], Step]

READER_PRIMITIVES: Mapping[str, ReaderPrimitive] = {
    "down_read": _primitive("rwsem", _begin_read),
    "up_read": _primitive("rwsem", _end_read),
    "down_write": _primitive("rwsem", _down_write),
    "up_write": _primitive("rwsem", _end_write),
    "read_lock": _primitive("rwlock", _begin_read),
    "read_unlock": _primitive("rwlock", _end_read),
    "write_lock": _primitive("rwlock", _write_lock),
    "write_unlock": _primitive("rwlock", _end_write),
    "srcu_read_lock": _primitive("srcu_struct", _srcu_read_lock),
    "srcu_read_unlock": _primitive("srcu_struct", _srcu_read_unlock),
    "synchronize_srcu": _primitive("srcu_struct", _synchronize),
}
