"""All rules over one callback: each check gives the findings of one rule."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from cpuhp.kernel.hazards.claims import file_claim, serial_claim
from cpuhp.kernel.hazards.held import kept_at_return, never_released
from cpuhp.kernel.hazards.lastone import last_one, online_count
from cpuhp.kernel.hazards.locks import unsafe_locks
from cpuhp.kernel.hazards.masks import Mask, picks, shown_masks
from cpuhp.kernel.hazards.rules import Finding, Subject, report
from cpuhp.kernel.hazards.shared import plain_rmw
from cpuhp.kernel.hazards.sides import one_sided
from cpuhp.kernel.hazards.waits import wait_under_lock
from cpuhp.kernel.hazards.walk import MAX_PLACES
from cpuhp.model.table import Section

_CLASSES = {
    Mask.ONLINE: ("target-from-online-mask", "error"),
    Mask.TOPOLOGY: ("target-from-stale-mask", "error"),
    Mask.PRIVATE: ("target-from-private-mask", "note"),
    Mask.ACTIVE: ("target-from-active-mask", "note"),
    Mask.SAFE: ("target-not-dying", "note"),
}


def findings(subject: Subject) -> list[Finding]:
    """All findings of all rules in one callback."""
    found = [finding for check in _CHECKS for finding in check(subject)]
    return list(dict.fromkeys(found))


def _targets(subject: Subject) -> Iterator[Finding]:
    if not subject.teardown:
        return
    for pick in picks(subject.reached):
        if pick.mask not in _CLASSES or not pick.is_target:
            continue
        rule, level = _CLASSES[pick.mask]
        if subject.row.section is Section.PREPARE and level == "error":
            level = "note"  # the CPUs that are gone have left the online mask by now
        yield report(
            subject,
            rule,
            level,
            f"{pick.where.function.name}() takes its target from {shown_masks(pick)}",
            pick.where,
            pick.offset,
            pick.mask.value,
        )


_RETURN = re.compile(r"\breturn\s+([^;]+);")


def _can_fail(subject: Subject) -> Iterator[Finding]:
    row = subject.row
    allowed = row.section in (Section.ONLINE, None) or row.state == "CPUHP_TEARDOWN_CPU"
    if not subject.teardown or allowed or not subject.reached:
        return
    where = subject.reached[0]
    for match in islice(_RETURN.finditer(where.body), MAX_PLACES):
        value = match[1].strip()
        if value in ("0", "NOTIFY_OK", "NOTIFY_DONE"):
            continue
        if value.isidentifier() and _only_zero(where.body, value):
            continue
        section = subject.row.section.value if subject.row.section else "?"
        message = f"{where.function.name}() may return {value}, in {section}"
        yield report(
            subject, "teardown-can-fail", "warning", message, where, match.start()
        )


def _only_zero(body: str, name: str) -> bool:
    values = re.findall(rf"(?<![\w.>]){name}\s*=(?!=)\s*([^;,]+)[;,]", body)
    return bool(values) and all(value.strip() == "0" for value in values)


def _irq_unsafe(subject: Subject) -> Iterator[Finding]:
    if subject.row.section is Section.STARTING:
        return  # these run with interrupts off
    for found in unsafe_locks(subject.reached):
        lock = found.lock.lstrip("&")
        message = (
            f"{found.where.function.name}() takes {lock} by {found.call}() with "
            f"interrupts on, and {found.other}"
        )
        yield report(
            subject, "lock-irq-unsafe", "error", message, found.where, found.offset
        )


def _not_released(subject: Subject) -> Iterator[Finding]:
    first = subject.reached[0]
    for offset, lock in never_released(subject.reached):
        message = f"{first.function.name}() takes {lock.call}({lock.lock}) for good"
        yield report(subject, "lock-not-released", "error", message, first, offset)
    for where in subject.reached:
        if len(where.chain) > 3:
            break
        name = where.function.name
        if "lock" in name:
            continue  # it is there to take it
        for offset, lock in kept_at_return(where):
            message = f"{name}() returns with {lock.call}({lock.lock}) not undone"
            yield report(subject, "lock-not-released", "error", message, where, offset)


_CHECKS: Sequence[Callable[[Subject], Iterator[Finding]]] = (
    _targets,
    last_one,
    online_count,
    plain_rmw,
    serial_claim,
    file_claim,
    _can_fail,
    wait_under_lock,
    _irq_unsafe,
    _not_released,
    one_sided,
)
