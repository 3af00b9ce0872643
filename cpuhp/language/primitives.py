"""Kernel primitives by their own names: each is one atomic step of its caller.

A primitive gives a guard (the caller is blocked until it holds), effects, and for some
a value. To add one, write a function and enter it in `PRIMITIVES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cpuhp.diagnostics import fail
from cpuhp.language import tree as t
from cpuhp.language.flow import LockUse
from cpuhp.language.program import IRQS_OFF, READS, WRITES
from cpuhp.language.terms import Scope, Terms, wrong_arity
from cpuhp.model.expr import (
    FALSE,
    TRUE,
    Const,
    Expr,
    Op,
    Read,
    and_,
    arithmetic,
    eq,
    none_of,
    not_,
)
from cpuhp.model.sorts import BOOL, CPU, CounterSort, IndexSort, RangeSort
from cpuhp.model.system import Assign


@dataclass(frozen=True)
class Step:
    """One atomic step; with `first`, after a step of its own that does that.

    Where `asserts` does not hold the process ends up at a failed assertion instead.
    """

    guard: Expr = TRUE
    first: tuple[Assign, ...] = ()
    effects: tuple[Assign, ...] = ()
    value: Expr | None = None
    asserts: Expr | None = None
    goes_on: bool = False  # also where what it asserts does not hold
    lock: LockUse | None = None


Primitive = Callable[[Terms, Expr, t.Call, Scope], Step]


def _args(call: t.Call, arity: int) -> tuple[t.Term, ...]:
    if len(call.args) != arity or call.filter is not None:
        raise wrong_arity(call, arity)
    return call.args


def place_of(terms: Terms, node: t.Term, scope: Scope) -> Read:
    found = terms.value(node, scope)
    if not isinstance(found, Read):
        raise fail("HP312", "a variable is needed here", node.span)
    return found


def _set(place: Read, value: Expr) -> Assign:
    return Assign(place.variable, place.indices, value)


def one_lock(terms: Terms, call: t.Call, scope: Scope) -> Read:
    """The lock that is the one argument of a call."""
    return _any_lock(terms, _args(call, 1)[0], scope)


def _lock(terms: Terms, node: t.Term, scope: Scope) -> Read:
    place = _any_lock(terms, node, scope)
    kind = terms.program.variables[place.variable].declaration.type
    if isinstance(kind, t.NamedType) and kind.name in READS:
        raise fail(
            "HP302",
            f"'{place.variable}' has type {kind.name}, it is no mutex or spinlock",
            node.span,
            help=f"{READS[kind.name]}(...) or {WRITES[kind.name]}(...)",
        )
    return place


def _any_lock(terms: Terms, node: t.Term, scope: Scope) -> Read:
    place = place_of(terms, node, scope)
    declared = terms.program.variables.get(place.variable)
    if declared is None or not declared.lock:
        raise fail(
            "HP302",
            "this is not a lock",
            node.span,
            help="locks are declared as mutex, spinlock, raw_spinlock, rwsem, ...",
        )
    return place


def irqs_off(terms: Terms, cpu: Expr) -> Read | None:
    """The flag of a CPU whose interrupts are masked, where the program has it."""
    if IRQS_OFF not in terms.program.variables:
        return None
    return Read(IRQS_OFF, (cpu,), BOOL)


def _acquire(masks: bool) -> Primitive:
    def step(terms: Terms, self_cpu: Expr, call: t.Call, scope: Scope) -> Step:
        lock = _lock(terms, _args(call, 1)[0], scope)
        effects: tuple[Assign, ...] = (_set(lock, self_cpu),)
        flag = irqs_off(terms, self_cpu)
        if masks and flag is not None:
            effects = (*effects, _set(flag, TRUE))
        use = LockUse(lock, asks=True, held=TRUE)
        return Step(eq(lock, none_of(CPU)), effects=effects, lock=use)

    return step


def _release(unmasks: bool) -> Primitive:
    def step(terms: Terms, self_cpu: Expr, call: t.Call, scope: Scope) -> Step:
        lock = _lock(terms, _args(call, 1)[0], scope)
        effects: tuple[Assign, ...] = (_set(lock, none_of(CPU)),)
        flag = irqs_off(terms, self_cpu)
        if unmasks and flag is not None:
            effects = (*effects, _set(flag, FALSE))
        return Step(effects=effects, lock=LockUse(lock, asks=False, held=FALSE))

    return step


def _trylock(terms: Terms, self_cpu: Expr, call: t.Call, scope: Scope) -> Step:
    from cpuhp.model.expr import ite

    lock = _lock(terms, _args(call, 1)[0], scope)
    free = eq(lock, none_of(CPU))
    held = ite(free, self_cpu, lock)
    use = LockUse(lock, asks=False, held=free)
    return Step(TRUE, effects=(_set(lock, held),), value=free, lock=use)


def _completion(terms: Terms, node: t.Term, scope: Scope) -> Read:
    place = place_of(terms, node, scope)
    if place.sort != BOOL or place.variable not in terms.program.variables:
        raise fail("HP302", "this is not a completion", node.span)
    return place


def _complete(terms: Terms, self_cpu: Expr, call: t.Call, scope: Scope) -> Step:
    return Step(
        TRUE, effects=(_set(_completion(terms, _args(call, 1)[0], scope), TRUE),)
    )


def _wait_for(terms: Terms, self_cpu: Expr, call: t.Call, scope: Scope) -> Step:
    place = _completion(terms, _args(call, 1)[0], scope)
    return Step(place, effects=(_set(place, FALSE),))


def _reinit(terms: Terms, self_cpu: Expr, call: t.Call, scope: Scope) -> Step:
    return Step(
        TRUE, effects=(_set(_completion(terms, _args(call, 1)[0], scope), FALSE),)
    )


def _irqs(value: Expr) -> Primitive:
    def step(terms: Terms, self_cpu: Expr, call: t.Call, scope: Scope) -> Step:
        _args(call, 0)
        flag = irqs_off(terms, self_cpu)
        if flag is None:
            raise fail(
                "HP301",
                f"there is no '{IRQS_OFF}' here",
                call.span,
                help=f"declare `percpu bool {IRQS_OFF};` or use the component that does",
            )
        return Step(TRUE, effects=(_set(flag, value),))

    return step


def _bit(terms: Terms, call: t.Call, scope: Scope) -> Read:
    cpu, mask = _args(call, 2)
    found = terms.mask(mask, scope)
    index = terms.value(cpu, scope, IndexSort(found.sort.name, nullable=True))
    place = found.member(index)
    if not isinstance(place, Read):
        raise fail("HP312", "a cpumask variable is needed here", mask.span)
    return place


def _set_bit(value: Expr, tested: bool) -> Primitive:
    def step(terms: Terms, self_cpu: Expr, call: t.Call, scope: Scope) -> Step:
        place = _bit(terms, call, scope)
        return Step(
            TRUE, effects=(_set(place, value),), value=place if tested else None
        )

    return step


def _atomic_add(op: Op, tested: bool = False) -> Primitive:
    def step(terms: Terms, self_cpu: Expr, call: t.Call, scope: Scope) -> Step:
        place = place_of(terms, _args(call, 1)[0], scope)
        if not isinstance(place.sort, RangeSort | CounterSort):
            raise fail("HP302", "this is not a number", call.args[0].span)
        one = Const(1, RangeSort(0, 1))
        after = arithmetic(op, place, one, place.sort)
        value = eq(after, Const(0, place.sort)) if tested else None
        return Step(TRUE, effects=(_set(place, after),), value=value)

    return step


def _assert(negated: bool, goes_on: bool = False) -> Primitive:
    def step(terms: Terms, self_cpu: Expr, call: t.Call, scope: Scope) -> Step:
        condition = terms.boolean(_args(call, 1)[0], scope)
        asserted = not_(condition) if negated else condition
        return Step(asserts=asserted, goes_on=goes_on)

    return step


def _nothing(terms: Terms, self_cpu: Expr, call: t.Call, scope: Scope) -> Step:
    _args(call, 0)
    return Step()


def _assume(terms: Terms, self_cpu: Expr, call: t.Call, scope: Scope) -> Step:
    return Step(and_(terms.boolean(_args(call, 1)[0], scope)))


PRIMITIVES: dict[str, Primitive] = {
    "complete": _complete,
    "wait_for_completion": _wait_for,
    "reinit_completion": _reinit,
    "local_irq_disable": _irqs(TRUE),
    "local_irq_enable": _irqs(FALSE),
    "cpumask_set_cpu": _set_bit(TRUE, tested=False),
    "cpumask_clear_cpu": _set_bit(FALSE, tested=False),
    "might_sleep": _nothing,
    "atomic_inc": _atomic_add(Op.ADD),
    "atomic_dec": _atomic_add(Op.SUB),
    "assert": _assert(negated=False),
    "BUG_ON": _assert(negated=True),
    "WARN_ON": _assert(negated=True, goes_on=True),
}
ATOMIC = frozenset({"atomic_inc", "atomic_dec", "atomic_dec_and_test"})
for _kind in ("mutex", "spin", "raw_spin"):
    PRIMITIVES[f"{_kind}_lock"] = _acquire(masks=False)
    PRIMITIVES[f"{_kind}_unlock"] = _release(unmasks=False)
for _kind in ("spin", "raw_spin"):
    for _suffix in ("irq", "irqsave"):
        PRIMITIVES[f"{_kind}_lock_{_suffix}"] = _acquire(masks=True)
    for _suffix in ("irq", "irqrestore"):
        PRIMITIVES[f"{_kind}_unlock_{_suffix}"] = _release(unmasks=True)

VALUE_PRIMITIVES: dict[str, Primitive] = {
    "cpumask_test_and_set_cpu": _set_bit(TRUE, tested=True),
    "cpumask_test_and_clear_cpu": _set_bit(FALSE, tested=True),
    "atomic_dec_and_test": _atomic_add(Op.SUB, tested=True),
    "mutex_trylock": _trylock,
    "spin_trylock": _trylock,
    "raw_spin_trylock": _trylock,
}
