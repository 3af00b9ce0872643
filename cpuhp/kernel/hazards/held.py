"""Which locks a function holds at a place: those taken and not given back before."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from cpuhp.kernel.hazards.walk import MAX_PLACES, Reached

# Calls by the look of their name; what only sounds like a lock is left aside.
_CALL = re.compile(
    r"\b(?P<name>\w*(?:lock|down_(?:read|write)|up_(?:read|write))\w*)\s*\("
    r"|\bguard\s*\(\s*(?P<kind>\w+)\s*\)\s*\("
    r"|\bscoped_guard\s*\(\s*(?P<scoped>\w+)\s*,"
)
_TAKES = re.compile(
    r"(?:^|_)(?:(?:re)?lock|down_read|down_write)(?:_irq|_irqsave|_bh|_nested|_killable"
    r"|_interruptible|_sparse|_nest_lock|_irqsave_nested|_hotplug)?$"
    r"|^(?:pause_and_lock|cpus_read_lock)$"
)
_GIVES = re.compile(r"(?:^|_)(?:unlock|up_read|up_write)(?:_|$)")
_NO_LOCK = re.compile(
    r"^(?:rcu_read_|local_|preempt_|srcu_|migrate_)|sched_clock|block"
)
_LEAVES = re.compile(r"\b(?:return|goto|continue|break)\b")


@dataclass(frozen=True)
class Held:
    """A lock that is held: the call that took it, and what it was given."""

    call: str
    lock: str


def held_at(where: Reached, offset: int) -> list[Held]:
    """Locks held at an offset of a function, its callers' on the way here included."""
    found = held(where.body[:offset])
    if where.caller is not None:
        caller, at = where.caller
        found = [*held_at(caller, at), *found]
    return found


def held(before: str) -> list[Held]:
    """Locks taken and not given back in the text of a function up to a place."""
    taken: list[Held] = []
    first = before.find("{")
    for match in _CALL.finditer(before, max(first, 0)):
        argument = _argument(before, match.end())
        kind, after = match["kind"] or match["scoped"], before[match.end() :]
        if kind:
            inside = _open(after) if match["scoped"] else _ended(after) is None
            if inside and kind not in ("rcu", "preempt", "irqsave", "srcu", "irq"):
                taken.append(Held(f"guard({kind})", argument))
            continue
        name = match["name"]
        if _NO_LOCK.search(name):
            continue
        if _GIVES.search(name):
            if not _leaves(after):
                taken = [h for h in taken if h.lock != argument] if argument else []
        elif _TAKES.search(name):
            taken.append(Held(name, argument))
    return taken


def _argument(text: str, start: int) -> str:
    found = re.compile(r"\s*&?\s*([^,();]*(?:\([^()]*\))?[^,();]*)").match(text, start)
    return re.sub(r"\s+", "", found[1]) if found else ""


def _leaves(after: str) -> bool:
    """True if the block that the text starts in ends, and ends by leaving."""
    end = _ended(after)
    return end is not None and bool(_LEAVES.search(after[:end]))


def _ended(after: str) -> int | None:
    """Where the block that the text starts in ends; None if it goes on."""
    depth = 0
    for at, char in enumerate(after):
        depth += (char == "{") - (char == "}")
        if depth < 0:
            return at
    return None


def _open(after: str) -> bool:
    """True if the block that follows has not ended by the end of the text."""
    start = after.find("{")
    statement = after.find(";")
    if start < 0 or 0 <= statement < start:
        return statement < 0
    depth = 0
    for char in after[start:]:
        depth += (char == "{") - (char == "}")
        if depth == 0:
            return False
    return True


_PRIMITIVE = re.compile(
    r"(?:raw_)?(?:spin|read|write)_lock(?:_|\Z)|mutex_lock|down_(?:read|write)"
)


def never_released(reached: Sequence[Reached]) -> list[tuple[int, Held]]:
    """Locks that a callback takes and that nothing it reaches gives back.

    The offset is that of the function's end.
    """
    body = reached[0].body
    found = []
    for lock in held(body):
        last = re.findall(r"\w+", lock.lock)[-1:]
        if not _PRIMITIVE.match(lock.call) or not last:
            continue
        given = re.compile(rf"(?:unlock|up_read|up_write)\w*\s*\([^;]*\b{last[0]}\b")
        if not any(given.search(where.body) for where in reached):
            found.append((len(body) - 1, lock))
    return found


_RETURN = re.compile(r"\breturn\b|\bgoto\s+(\w+)\s*;")
_GIVEN = r"(?:unlock\w*|up_(?:read|write)\w*)\s*\(\s*&?\s*"


def kept_at_return(body: str) -> list[tuple[int, Held]]:
    """Returns with a lock that the function gives back elsewhere: offset and lock.

    A `goto` counts if it passes over all that gives the lock back.
    """
    found = []
    for match in islice(_RETURN.finditer(body, max(0, body.find("{"))), 2 * MAX_PLACES):
        label = match[1] and re.search(rf"^\s*{match[1]}\s*:", body, re.MULTILINE)
        if match[1] and (not label or label.start() < match.start()):
            continue
        passed = _squeezed(body[label.end() :]) if label else ""
        if label and "goto" in passed:
            continue  # it may come back
        for lock in held(body[: match.start()]):
            if lock.call.startswith("guard") or not lock.lock:
                continue
            taken = body.rfind(f"{lock.call}(", 0, match.start())
            if _ended(body[taken : match.start()]) is not None:
                continue  # in another branch
            given = re.compile(rf"{_GIVEN}{re.escape(lock.lock)}\s*[,)]")
            rest = _squeezed(body[match.end() :])
            if given.search(rest) and not given.search(passed):
                found.append((match.start(), lock))
    return found


def _squeezed(text: str) -> str:
    return re.sub(r"\s+(?=[\w>.-])", "", text)
