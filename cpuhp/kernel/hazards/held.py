"""Which locks a function holds at a place: those taken and not given back before."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from cpuhp.kernel.hazards.locks import functions_in
from cpuhp.kernel.hazards.walk import MAX_BODY, MAX_PLACES, Reached
from cpuhp.kernel.source.text import CText, split_arguments

# Calls that take and give locks by the look of their name, or by what they do.
_CALL = re.compile(
    r"\bguard\s*\(\s*(?P<kind>\w+)\s*\)\s*\("
    r"|\bscoped_guard\s*\(\s*(?P<scoped>\w+)\s*,"
    r"|\b(?P<name>[A-Za-z_]\w*)\s*(?P<opening>\()"
)
_TAKES = re.compile(
    r"(?:^|_)(?:(?:re)?lock|down_read|down_write)(?:_irq|_irqsave|_bh|_nested|_killable"
    r"|_interruptible|_sparse|_nest_lock|_irqsave_nested|_hotplug)?$"
    r"|^(?:pause_and_lock|cpus_read_lock)$"
)
_GIVES = re.compile(r"(?:^|_)(?:unlock|up_read|up_write)(?:_|$)")
# Short names that others have, too: what they are given must look like a semaphore.
_DOWN = re.compile(r"down(?:_interruptible|_killable|_timeout)?\Z")
_SEMAPHORE = re.compile(r"\s*(?:&|[^,();]*sem)")
_TRIES = re.compile(r"(?:^|_)trylock(?:_|$)")
_INTERRUPTED = re.compile(r"_(?:interruptible|killable|timeout)\Z")
_NO_LOCK = re.compile(
    r"^(?:rcu_read_|local_|preempt_|srcu_|migrate_)|sched_clock|block"
)
_LEAVES = re.compile(r"\b(?:return|goto|continue|break)\b")


@dataclass(frozen=True)
class Held:
    """A lock that is held: the call that took it, and what it was given.

    `helper`: a function of the file made that call for who holds the lock.
    """

    call: str
    lock: str
    helper: bool = False


def held_at(where: Reached, offset: int) -> list[Held]:
    """Locks held at an offset of a function, its callers' on the way here included."""
    found = held(where.body[:offset], where.source)
    if where.caller is not None:
        caller, at = where.caller
        found = [*held_at(caller, at), *found]
    return found


def held(before: str, source: CText | None = None) -> list[Held]:
    """Locks taken and not given back in the text of a function up to a place.

    With the function's file, helpers of it that take or give locks count, too.
    """
    return _changed(before, source, _HELPERS)[0]


_HELPERS = 2  # of a helper that calls a helper


def _changed(
    before: str, source: CText | None, depth: int
) -> tuple[list[Held], list[str]]:
    """Locks that are held behind a text, and those given that it has not taken."""
    taken: list[Held] = []
    given: list[str] = []
    first = before.find("{")
    for match in _CALL.finditer(before, max(first, 0)):
        kind, after = match["kind"] or match["scoped"], before[match.end() :]
        if kind:
            inside = _open(after) if match["scoped"] else _ended(after) is None
            if inside and kind not in ("rcu", "preempt", "irqsave", "srcu", "irq"):
                argument = _argument(before, match.end())
                taken.append(Held(f"guard({kind})", argument))
            continue
        name = match["name"]
        if _NO_LOCK.search(name):
            continue
        takes, gives = _of_helper(before, match, source, depth)
        if takes:
            taken += takes
        elif gives:
            if not _leaves(after):
                given += [g for g in gives if all(h.lock != g for h in taken)]
                taken = [h for h in taken if h.lock not in gives]
        elif _GIVES.search(name) or (name == "up" and _SEMAPHORE.match(after)):
            argument = _argument(before, match.end())
            if not _leaves(after):
                if argument and all(h.lock != argument for h in taken):
                    given.append(argument)
                taken = [h for h in taken if h.lock != argument] if argument else []
        elif _takes(before, match):
            taken.append(Held(name, _argument(before, match.end())))
    return taken, given


def _takes(text: str, call: re.Match[str]) -> bool:
    """True if a call takes a lock, and has got it by the end of the text."""
    name = call["name"]
    if _TRIES.search(name):
        return _got(text, call, fails=name == "down_trylock") or False
    if not _TAKES.search(name):
        if not (_DOWN.match(name) and _SEMAPHORE.match(text, call.end())):
            return False
    if _INTERRUPTED.search(name):
        return _got(text, call, fails=True) is not False
    return True


def _of_helper(
    before: str, call: re.Match[str], source: CText | None, depth: int
) -> tuple[list[Held], list[str]]:
    """What a call of a helper takes for its caller, or what it gives back."""
    effect = _effect(source, call["name"], depth) if source and depth else None
    split = split_arguments(before, call.start("opening")) if effect else None
    if effect is None or split is None:
        return [], []
    parameters, takes, gives = effect
    values = [re.sub(r"\s+", "", before[a:b]) for a, b in split[0]]
    passed = dict(zip(parameters, values, strict=False))
    return (
        [Held(h.call, _seen(h.lock, passed), helper=True) for h in takes],
        [_seen(lock, passed) for lock in gives],
    )


_Effect = tuple[tuple[str, ...], list[Held], list[str]]


@lru_cache(maxsize=4096)
def _effect(source: CText, name: str, depth: int) -> _Effect | None:
    """Parameters, and locks taken or given, of a function or macro of a file.

    None if it does neither, or both: a lock that has two names seems to be two.
    """
    found = _bodies(source).get(name)
    if found is None:
        return None
    parameters, body = found
    # Up to the last brace: what stands before it must not seem a branch that leaves.
    held_then, gives = _changed(body[: body.rfind("}")], source, depth - 1)
    takes = [h for h in held_then if not h.call.startswith("guard")]
    return (parameters, takes, gives) if bool(takes) != bool(gives) else None


@lru_cache(maxsize=64)
def _bodies(source: CText) -> dict[str, tuple[tuple[str, ...], str]]:
    """Parameters and text of each function and macro of a file."""
    found = {
        macro.name: (macro.parameters, f"{{ {macro.body} }}")
        for macros in source.macros.values()
        for macro in macros
        if macro.parameters is not None
    }
    for function in functions_in(source):
        end = min(function.end, function.start + MAX_BODY)
        body = source.bare[function.start : end]
        found[function.name] = (function.parameters, body)
    return found


def _seen(lock: str, passed: dict[str, str]) -> str:
    """A helper's lock as its caller writes it."""
    root = re.match(r"([A-Za-z_]\w*)(->)?", lock)
    if root is None or root[1] not in passed:
        return lock
    value, rest = passed[root[1]], lock[root.end() :]
    if value.startswith("&"):
        return f"{value[1:]}.{rest}" if root[2] else f"{value[1:]}{rest}"
    return f"{value}{root[2] or ''}{rest}"


_TESTED = re.compile(r"\b(if|while)\s*(\()")
_KEPT = re.compile(r"(?<![\w.>])(\w+)\s*=\s*$")


def _got(text: str, call: re.Match[str], fails: bool) -> bool | None:
    """Has a lock that a call tried to take been got by the end of the text?

    `fails`: the call gives 0 if it got the lock. None if nobody looks at the answer.
    """
    start, end = call.span()
    begin = max(text.rfind(char, 0, start) for char in ";{}") + 1
    test = _TESTED.search(text, begin, start)
    negated = text[begin:start].rstrip().endswith("!")
    kept = None if test else _KEPT.search(text, begin, start)
    if kept:  # the answer is looked at later
        tested = rf"\b(if)\s*(?=\(\s*(!)?\s*{kept[1]}\s*\))(\()"
        test = re.compile(tested).search(text, end)
        negated = bool(test and test[2])
    negated ^= fails
    if test is None:
        return None
    condition = split_arguments(text, test.end() - 1)
    if condition is None:
        return False
    then = _statement(text, condition[1])
    if then is None:
        return not negated
    other = re.compile(r"\s*else\b").match(text, then)
    if other is None:
        leaves = _LEAVES.search(text, condition[1], then)
        return negated and (test[1] == "while" or leaves is not None)
    last = _statement(text, other.end())
    if last is None:
        return negated
    first, second = (condition[1], then) if negated else (other.end(), last)
    return _LEAVES.search(text, first, second) is not None


def _statement(text: str, start: int) -> int | None:
    """Where the statement ends that begins at an offset; None if the text is over."""
    brace, end = text.find("{", start), text.find(";", start)
    if 0 <= brace and (end < 0 or brace < end):
        ended = _ended(text[brace + 1 :])
        return None if ended is None else brace + ended + 2
    return end + 1 or None


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
_GIVEN = r"(?:unlock\w*|up_(?:read|write)\w*|\bup)\s*\(\s*&?\s*"


def kept_at_return(where: Reached) -> list[tuple[int, Held]]:
    """Returns with a lock that the function gives back elsewhere: offset and lock.

    A `goto` counts if it passes over all that gives the lock back.
    """
    found = []
    body = where.body
    for match in islice(_RETURN.finditer(body, max(0, body.find("{"))), 2 * MAX_PLACES):
        label = match[1] and re.search(rf"^\s*{match[1]}\s*:", body, re.MULTILINE)
        if match[1] and (not label or label.start() < match.start()):
            continue
        passed = _squeezed(body[label.end() :]) if label else ""
        if label and "goto" in passed:
            continue  # it may come back
        for lock in held(body[: match.start()], where.source):
            if lock.helper or lock.call.startswith("guard") or not lock.lock:
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
