"""Does a teardown ask whether its CPU is the last, or how many are online?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from cpuhp.kernel.hazards.held import held_at
from cpuhp.kernel.hazards.masks import (
    HINT,
    Mask,
    Pick,
    classify,
    cleared_masks,
    clearings,
    holds_cpus,
    picks,
    shown_masks,
)
from cpuhp.kernel.hazards.rules import Finding, Subject, report
from cpuhp.kernel.hazards.walk import MAX_PLACES, Reached
from cpuhp.model.table import Section

_COMPARED = r"\s*(?:[<>=!]=|[<>])\s*"
_LAST = re.compile(
    rf"\bnum_(?:online|active)_cpus\s*\(\s*\){_COMPARED}\w+|"
    rf"(?<![\w.])\d+{_COMPARED}num_(?:online|active)_cpus\s*\(\s*\)|"
    rf"(?<![\w.])\d+{_COMPARED}cpumask_weight(?:_and)?\s*"
    r"\(((?:[^;{}()]|\([^;{}()]*\)){0,200}?)\)|"
    r"\bpolicy_is_inactive\s*\(\s*\w+\s*\)|"
    rf"\bcpumask_weight(?:_and)?\s*\(([^;{{}}]{{0,200}}?)\){_COMPARED}\d|"
    r"!\s*cpumask_weight(?:_and)?\s*\(([^;{}]{0,200}?)\)|"
    r"\bcpumask_empty\s*\(([^;{}]{0,200}?)\)|"
    r"\bcpumask_first\s*\(([^;{}]{0,200}?)\)\s*[=!]=\s*\w*cpu\b"
)
_INTERSECTS = re.compile(r"\bcpumask_intersects\s*\(([^;{}]{0,200}?)\)\s*\)")
_COUNT = re.compile(
    r"\bnum_online_cpus\s*\(\s*\)"
    r"|\bcpumask_weight(?:_and)?\s*\([^;{}]{0,200}?\bcpu_online_mask\b"
    r"(?:[^;{}()]|\([^;{}()]*\)){0,80}?\)"
)


def last_one(subject: Subject) -> Iterator[Finding]:
    """Tests for the last CPU, and what is done only if there is no other."""
    if not subject.teardown:
        return
    near = [where for where in subject.reached if len(where.chain) <= 4]
    cleared = cleared_masks(near)
    locks = _clearing_locks(near)
    for where in near:
        for start, said in _asked_outright(where, cleared):
            message = f"{where.function.name}() depends on {said}"
            level = _level(where, start, said, locks)
            yield report(subject, "last-one-out", level, message, where, start)
    for pick in picks(near):
        name = pick.where.function.name
        if pick.is_target and _left_behind(subject, pick):
            message = f"{name}() acts on there being none left in {shown_masks(pick)}"
            yield _of_pick(subject, message, pick, locks)
        if pick.is_target or pick.mask in (Mask.SAFE, Mask.ACTIVE):
            continue
        if not (_answers(pick) if pick.is_loop else _asked(pick)):
            continue
        if pick.call == "cpumask_first" and pick.mask is Mask.TOPOLOGY:
            continue  # the first CPU of a group is its name
        if HINT.search(pick.result or ""):
            continue
        message = f"{name}() asks whether any of {shown_masks(pick)}"
        yield _of_pick(subject, message, pick, locks)


Locks = dict[str, set[tuple[str, str]]]


def _of_pick(subject: Subject, message: str, pick: Pick, locks: Locks) -> Finding:
    where, offset = pick.where, pick.offset
    said = " ".join(pick.masks) if pick.mask is Mask.PRIVATE else ""
    level = _level(where, offset, said, locks)
    return report(subject, "last-one-out", level, message, where, offset)


def _clearing_locks(near: list[Reached]) -> Locks:
    """Of each mask that CPUs leave, the locks that are held wherever they do."""
    found: Locks = {}
    for where in near:
        for offset, mask in clearings(where):
            name = mask.lstrip("&")
            if re.search(rf"\bcpumask_(?:var_)?t\s+{re.escape(name)}\b", where.body):
                continue  # its own copy
            held = {(h.call, h.lock) for h in held_at(where, offset)}
            found[name] = found[name] & held if name in found else held
    return found


def _level(where: Reached, offset: int, said: str, locks: Locks) -> str:
    """`note` if the CPU leaves the mask and asks about it under one lock.

    Then exactly one CPU of a batch finds itself last, whatever their order.
    """
    policy = re.search(r"policy_is_inactive\s*\(\s*(\w+)", said)
    asked_of = f"{policy[1]}->cpus" if policy else said
    asked = {(h.call, h.lock) for h in held_at(where, offset)}
    own = [locks[mask] for mask in sorted(locks) if mask in asked_of]
    return "note" if own and all(asked & held for held in own) else "warning"


def _asked_outright(
    where: Reached, cleared: frozenset[str]
) -> Iterator[tuple[int, str]]:
    for match in islice(_LAST.finditer(where.body), MAX_PLACES):
        mask = next((group for group in match.groups() if group), "")
        if not mask or holds_cpus(where, mask, cleared):
            yield match.start(), " ".join(match[0].split())
    for match in islice(_INTERSECTS.finditer(where.body), MAX_PLACES):
        masks = match[1].split(",")
        kinds = [classify(where, m, match.start(), cleared, 0) for m in masks]
        if Mask.ONLINE in kinds:
            said = " ".join(match[0].split())
            yield (
                match.start(),
                said[:-1] if said.count(")") > said.count("(") else said,
            )


def online_count(subject: Subject) -> Iterator[Finding]:
    """Numbers that are made of how many CPUs are online."""
    if not subject.teardown:
        return
    dead = subject.row.section is Section.PREPARE  # by now the count is right
    level = "note" if dead else "warning"
    for where in subject.reached:
        if len(where.chain) > 3:
            break
        asked = [m.span() for m in _LAST.finditer(where.body)]
        for match in islice(_COUNT.finditer(where.body), MAX_PLACES):
            start = match.start()
            if any(a <= start < b for a, b in asked) or _only_looped(where.body, start):
                continue
            said = " ".join(match[0].split())
            message = f"{where.function.name}() counts {said}"
            yield report(subject, "online-count", level, message, where, start)


def _only_looped(body: str, start: int) -> bool:
    """True for a count that is handed to something that runs code on those CPUs."""
    line = body[body.rfind("\n", 0, start) + 1 : start]
    return bool(re.search(r"\.\s*num_threads\s*=\s*$", line))


_NONE = r"\b{name}\s*>=\s*nr_cpu\w*[^{{;]*?\)\s*(\{{[^}}]*\}}|[^;]*;)"
_SOME = (
    r"\b{name}\s*<\s*nr_cpu\w*[^{{;]*?\)\s*(?:\{{[^}}]*\}}|[^;{{]*;)"
    r"\s*else\s*(\{{[^}}]*\}}|[^;{{]*;)"
)
_TALK = re.compile(r"\b\w*(?:err|warn|info|dbg|notice|printk|WARN\w*)\w*\s*\(")


def _left_behind(subject: Subject, pick: Pick) -> bool:
    """True if the last CPU of a mask does more than to say so and return."""
    if pick.mask is Mask.ACTIVE:
        return False
    if subject.row.section is Section.PREPARE and pick.mask is not Mask.PRIVATE:
        return False
    body = pick.where.body[pick.offset :]
    name = re.escape(pick.result or "?")
    if re.search(rf"\w\s*=\s*\(?\s*{name}\s*>=\s*nr_cpu", body):
        return True  # the answer is kept, and looked at later
    none = re.search(_NONE.format(name=name), body) or re.search(
        _SOME.format(name=name), body
    )
    if none is None or re.search(
        rf"\b{name}\s*=\s*cpumask_\w+\(", body[: none.start()]
    ):
        return False
    return any(_acts(part, name) for part in none[1].strip("{} \t\n").split(";"))


def _acts(statement: str, chosen: str) -> bool:
    text = " ".join(statement.split())
    if not text or _TALK.match(text) or re.match(r"return\b|goto\b|else\b", text):
        return False
    return not re.match(rf"{chosen}\s*=(?!=)\s*[a-z]", text)  # another choice


def _asked(pick: Pick) -> bool:
    """True if a condition depends on whether there is such a CPU."""
    body = pick.where.body
    before = body[max(0, pick.offset - 400) : pick.offset]
    if re.search(r"\b(?:if|while)\s*\([^;{]*$", before):
        inner = re.search(r"\b(\w+)\s*\(\s*&?\s*$", before)
        return inner is None or inner[1] in ("if", "while", "likely", "unlikely")
    name = re.escape(pick.result or "")
    condition = (
        rf"\b(?:if|while)\s*\([^;{{]{{0,400}}{name}\b"
        rf"|\b{name}\s*(?:[<>!=]=?)[^;]{{0,400}}\?"
    )
    return bool(name and re.search(condition, body[pick.offset :]))


def _answers(pick: Pick) -> bool:
    body = pick.where.body[pick.offset :]
    return bool(re.search(r"\breturn\s+(?:true|false|0|1)\s*;", body))
