"""Locks in a callback: taken with interrupts on though an interrupt takes them, too."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from cpuhp.kernel.hazards.walk import MAX_PLACES, Reached
from cpuhp.kernel.source.syntax import Function, text_functions
from cpuhp.kernel.source.text import CText, squeezed

_PLAIN = re.compile(r"\b((?:raw_)?spin_lock)\s*\(")
_GUARD = re.compile(r"\bguard\s*\(\s*((?:raw_)?spinlock)\s*\)\s*\(")
_SCOPED = re.compile(r"\bscoped_guard\s*(?P<opening>\()\s*((?:raw_)?spinlock)\s*,")
_OFF = re.compile(
    r"\blocal_irq_(?:save|disable)\s*\(|_(?:lock_irqsave|lock_irq|trylock_irqsave)\s*\("
)
_ON = re.compile(r"\blocal_irq_(?:restore|enable)\s*\(|_unlock_irq(?:restore)?\s*\(")
_SAVED = re.compile(
    r"\b(?:raw_)?spin_(?:lock_irqsave|lock_irq|trylock_irqsave)\s*\(\s*([^;]*?)\s*[,)]"
)
_COMMON = frozenset({"lock", "ptr", "rq", "l"})  # names of many different locks
_HANDLERS = re.compile(
    r"\b(?:(?:devm_)?request_(?:threaded_|percpu_|any_context_)?irq|request_percpu_nmi|"
    r"request_nmi|timer_setup\w*|tasklet_(?:init|setup)|init_irq_work|"
    r"INIT_CSD|smp_call_function\w*|on_each_cpu\w*)\s*\(([^;]*?)\)\s*[;)]"
)
_FIELD = re.compile(
    r"\.\s*(?:handler|irq_handler|handle_irq|function|event_handler)\s*=\s*&?(\w+)"
    r"|(?:->|\.)\s*(?:function|irq_handler|handler|event_handler)\s*=\s*&?(\w+)\s*;"
)


@dataclass(frozen=True)
class Unsafe:
    """A lock taken with interrupts on; `other` says who takes it in an interrupt."""

    where: Reached
    offset: int
    call: str
    lock: str
    other: str


def unsafe_locks(reached: Sequence[Reached]) -> Iterator[Unsafe]:
    """Plain spinlocks in a callback that an interrupt handler of the file takes."""
    for where in reached:
        if _entered_with_irqs_off(where):
            continue
        body = where.body
        patterns = (_PLAIN, _GUARD, _SCOPED)
        found = [match for pattern in patterns for match in pattern.finditer(body)]
        for match in found[:MAX_PLACES]:
            if _irqs_off(body[: match.start()]):
                continue
            scoped = match.re is _SCOPED  # the lock comes behind its kind
            opening = match.start("opening") if scoped else match.end() - 1
            given = where.source.arguments(where.function.start + opening)
            if not given or len(given[0]) <= scoped:
                continue
            lock = where.source.piece(given[0][scoped])
            other = _in_interrupt(where.source, lock)
            if other and where.function.name not in handlers(where.source):
                call = match[match.re.groups]
                yield Unsafe(where, match.start(), call, lock, other)


def _irqs_off(before: str) -> bool:
    """True if a function has interrupts off at the end of a piece of its text."""
    off = [m.start() for m in _OFF.finditer(before)]
    on = [m.start() for m in _ON.finditer(before)]
    return bool(off) and (not on or off[-1] > on[-1])


def irqs_off_at(where: Reached, offset: int) -> bool:
    """True if the function, or a caller on the way, has interrupts off at an offset."""
    return _irqs_off(where.body[:offset]) or _entered_with_irqs_off(where)


def _entered_with_irqs_off(where: Reached) -> bool:
    """True if a caller on the way here has switched interrupts off."""
    step = where
    while step.caller is not None:
        caller, offset = step.caller
        if _irqs_off(caller.body[:offset]):
            return True
        step = caller
    return False


def _in_interrupt(source: CText, lock: str) -> str | None:
    """Who takes a lock of this name in an interrupt, or has to expect one."""
    name = _last(lock)
    taken = re.compile(
        rf"\b(?:raw_)?spin_(?:try)?lock(?:_irqsave|_irq)?\s*\(\s*&?[^;,]*?\b{name}\s*[,)]"
    )
    for function in functions_in(source):
        if function.name in handlers(source):
            if taken.search(source.bare[function.start : function.end]):
                return f"{function.name}() takes it in an interrupt"
    same = [m for m in _SAVED.finditer(source.bare) if _plain(m[1]) == _plain(lock)]
    if same and name not in _COMMON:
        return f"line {source.line(same[0].start())} takes it with interrupts off"
    return None


@lru_cache(maxsize=512)
def handlers(source: CText) -> frozenset[str]:
    """Functions of a file that run in interrupts, and what those call in it."""
    names: set[str] = set()
    for match in _HANDLERS.finditer(source.bare):
        names |= set(re.findall(r"\b[A-Za-z_]\w*\b", match[1]))
    for match in _FIELD.finditer(source.bare):
        names |= {match[1] or match[2]}
    for match in re.finditer(r"\birqreturn_t\s+(\w+)\s*\(", source.bare):
        names.add(match[1])
    functions = {function.name: function for function in functions_in(source)}
    pending = sorted(names & functions.keys())
    found: set[str] = set()
    while pending:
        name = pending.pop()
        if name in found:
            continue
        found.add(name)
        function = functions[name]
        body = source.bare[function.start : function.end]
        called = set(re.findall(r"\b([A-Za-z_]\w*)\s*\(", body)) & functions.keys()
        pending += sorted(called - found)
    return frozenset(found)


@lru_cache(maxsize=512)
def functions_in(source: CText) -> tuple[Function, ...]:
    """All functions of a file, by position."""
    return tuple(text_functions(source))


def _plain(expression: str) -> str:
    return re.sub(r"[\s&()]+", "", expression)


def _last(expression: str) -> str:
    names = re.findall(r"[A-Za-z_]\w*", squeezed(expression))
    return re.escape(names[-1]) if names else ""
