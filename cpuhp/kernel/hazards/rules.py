"""What in a callback is unsafe once CPUs go down as a batch: one function a rule."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from cpuhp.kernel.hazards.held import held_at, kept_at_return
from cpuhp.kernel.hazards.locks import unsafe_locks
from cpuhp.kernel.hazards.masks import (
    Mask,
    Pick,
    cleared_masks,
    holds_cpus,
    last_name,
    picks,
)
from cpuhp.kernel.hazards.walk import MAX_PLACES, Place, Reached
from cpuhp.kernel.registrations.model import Row
from cpuhp.model.table import Section


@dataclass(frozen=True)
class Rule:
    """A stable id, what it finds, and why that is unsafe in a batch."""

    id: str
    title: str
    why: str


@dataclass(frozen=True)
class Finding:
    """One finding in one callback. `level` is `error`, `warning` or `note`.

    `file` and `line` say where it is, `chain` how the callback gets there.
    """

    rule: str
    level: str
    message: str
    file: str
    line: int
    chain: tuple[Place, ...]
    state: str
    name: str
    role: str
    mask: str | None = None


@dataclass(frozen=True)
class Subject:
    """A registered callback with everything that it reaches."""

    row: Row
    role: str  # startup or teardown
    reached: tuple[Reached, ...]
    other: tuple[Reached, ...]  # what the opposite callback reaches

    @property
    def teardown(self) -> bool:
        return self.role == "teardown"


RULES = (
    Rule(
        "target-from-online-mask",
        "A hand-off chooses its target from cpu_online_mask",
        "A CPU is in cpu_online_mask until its very last steps. While CPUs go down as "
        "a batch, the chosen one may be going down, too, and may have run its own "
        "teardown already: what is handed to it is never handed on.",
    ),
    Rule(
        "target-from-stale-mask",
        "A hand-off chooses its target from a topology, node or fixed mask",
        "Such a mask keeps a CPU until it is dead, or for ever. It is as stale as "
        "cpu_online_mask while CPUs go down as a batch.",
    ),
    Rule(
        "target-from-private-mask",
        "A hand-off chooses its target from a mask that each CPU leaves first",
        "Each CPU leaves the mask before it looks for a successor, so the chain of "
        "hand-offs ends well if clearing and choosing cannot interleave. A test for "
        "the last CPU changes its meaning in a batch.",
    ),
    Rule(
        "target-from-active-mask",
        "A hand-off chooses its target from cpu_active_mask",
        "All CPUs of a batch must have left cpu_active_mask before the first one runs "
        "this: that needs a barrier behind the ACTIVE teardown.",
    ),
    Rule(
        "target-not-dying",
        "A hand-off leaves out the CPUs that are on their way down",
        "Right if every CPU of a batch is in cpu_dying_mask before the first of them "
        "runs this, and none is in it that stays up.",
    ),
    Rule(
        "last-one-out",
        "A teardown asks whether its CPU is the last one",
        "CPUs that go down as a batch see each other: none of them finds itself last, "
        "or several do, with no race needed.",
    ),
    Rule(
        "plain-rmw",
        "A shared variable is read, changed and written without a lock",
        "Two CPUs that run this at the same time lose one of the two updates.",
    ),
    Rule(
        "serial-claim",
        "A comment or an assertion claims that hotplug is serial",
        "The claim is false once callbacks of several CPUs run at the same time.",
    ),
    Rule(
        "teardown-can-fail",
        "A teardown can fail where failure is not allowed",
        "In PREPARE and STARTING the error of a teardown is logged and ignored: the "
        "CPU goes on down half torn down, and in a batch nobody waits for it.",
    ),
    Rule(
        "wait-under-lock",
        "A teardown waits while it holds a lock",
        "The CPUs of a batch queue up behind the lock, each for the whole wait; if "
        "what is waited for needs another CPU of the batch, they deadlock.",
    ),
    Rule(
        "lock-irq-unsafe",
        "A lock that an interrupt takes, too, is taken with interrupts on",
        "The interrupt may come on this very CPU while it holds the lock, and then "
        "waits for ever for what it has interrupted. The more CPUs hand over at once, "
        "the likelier.",
    ),
    Rule(
        "lock-not-released",
        "A function returns with a lock that it releases elsewhere",
        "The next CPU that wants the lock waits for ever. One by one that may go "
        "unnoticed until the next hotplug operation; in a batch it stops the others.",
    ),
    Rule(
        "one-sided-mask",
        "A startup enters its CPU in a mask that the teardown never leaves",
        "The mask keeps CPUs that are gone, so who chooses from it may choose one.",
    ),
)
BY_ID = {rule.id: rule for rule in RULES}
_CLASSES = {
    Mask.ONLINE: ("target-from-online-mask", "error"),
    Mask.TOPOLOGY: ("target-from-stale-mask", "error"),
    Mask.PRIVATE: ("target-from-private-mask", "note"),
    Mask.ACTIVE: ("target-from-active-mask", "note"),
    Mask.SAFE: ("target-not-dying", "note"),
}


def findings(subject: Subject) -> list[Finding]:
    """All findings of all rules in one callback."""
    found = [finding for rule in _CHECKS for finding in rule(subject)]
    return list(dict.fromkeys(found))


def _finding(
    subject: Subject,
    rule: str,
    level: str,
    message: str,
    where: Reached,
    offset: int,
    mask: str | None = None,
) -> Finding:
    row = subject.row
    return Finding(
        rule,
        level,
        message,
        where.file,
        where.line(offset),
        where.chain,
        row.state or "?",
        row.name or row.name_expression,
        subject.role,
        mask,
    )


def _targets(subject: Subject) -> Iterator[Finding]:
    if not subject.teardown:
        return
    for pick in picks(subject.reached):
        if pick.mask not in _CLASSES or not pick.is_target:
            continue
        rule, level = _CLASSES[pick.mask]
        if subject.row.section is Section.PREPARE and level == "error":
            level = "note"  # the CPUs that are gone have left the online mask by now
        yield _finding(
            subject,
            rule,
            level,
            f"{pick.where.function.name}() takes its target from {_masks(pick)}",
            pick.where,
            pick.offset,
            pick.mask.value,
        )


def _masks(pick: Pick) -> str:
    masks = " and ".join(mask.lstrip("&") for mask in pick.masks)
    return f"{masks}, by {pick.call}()"


_LAST = re.compile(
    r"\bnum_online_cpus\s*\(\s*\)\s*(?:[<>=!]=?)\s*\w+|"
    r"\bpolicy_is_inactive\s*\(\s*\w+\s*\)|"
    r"\bnum_active_cpus\s*\(\s*\)\s*(?:[<>=!]=?)\s*\w+|"
    r"\bcpumask_weight\s*\(([^;{}]{0,200}?)\)\s*(?:[<>=!]=)\s*\d|"
    r"\bcpumask_empty\s*\(([^;{}]{0,200}?)\)|"
    r"\bcpumask_first\s*\(([^;{}]{0,200}?)\)\s*[=!]=\s*\w*cpu\b"
)


def _last_one(subject: Subject) -> Iterator[Finding]:
    if not subject.teardown:
        return
    near = [where for where in subject.reached if len(where.chain) <= 3]
    cleared = cleared_masks(near)
    for where in near:
        for match in islice(_LAST.finditer(where.body), MAX_PLACES):
            mask = next((group for group in match.groups() if group), "")
            if mask and not holds_cpus(where, mask, cleared):
                continue
            said = " ".join(match[0].split())
            message = f"{where.function.name}() depends on {said}"
            yield _finding(
                subject, "last-one-out", "warning", message, where, match.start()
            )
    for pick in picks(near):
        if pick.mask is Mask.PRIVATE and pick.is_target and _ends_with_last(pick):
            message = f"{pick.where.function.name}() acts on there being none left"
            message += f" in {_masks(pick)}"
            yield _finding(
                subject, "last-one-out", "warning", message, pick.where, pick.offset
            )
        if pick.is_target or pick.mask in (Mask.SAFE, Mask.ACTIVE):
            continue
        if not pick.is_loop and not _asked(pick):
            continue
        if pick.is_loop and not _answers(pick):
            continue
        message = f"{pick.where.function.name}() asks whether any of {_masks(pick)}"
        yield _finding(
            subject, "last-one-out", "warning", message, pick.where, pick.offset
        )


def _ends_with_last(pick: Pick) -> bool:
    """True if the last CPU of a mask does more than just return."""
    body = pick.where.body[pick.offset :]
    name = re.escape(pick.result or "?")
    none = re.search(rf"{name}\s*>=\s*nr_cpu_ids([^{{;]*)(\{{[^}}]*|[^;]*;)", body)
    return bool(
        none and not re.fullmatch(r"\)\s*\{?\s*return[^;]*;\s*", none[1] + none[2])
    )


def _asked(pick: Pick) -> bool:
    """True if a condition depends on whether there is such a CPU."""
    body = pick.where.body
    if re.search(
        r"\b(?:if|while)\s*\([^;{]*$", body[max(0, pick.offset - 400) : pick.offset]
    ):
        return True
    name = re.escape(pick.result or "")
    condition = rf"\b(?:if|while)\s*\([^;{{]{{0,400}}{name}\b|\b{name}\s*(?:[<>!=]=?)[^;]{{0,400}}\?"
    return bool(name and re.search(condition, body[pick.offset :]))


def _answers(pick: Pick) -> bool:
    body = pick.where.body[pick.offset :]
    return bool(re.search(r"\breturn\s+(?:true|false|0|1)\s*;", body))


_PLAIN = re.compile(
    r"(?<![\w.>])([a-z_]\w*)(?:\s*(?:\+\+|--)|\s*[-+|&]=)|(?:\+\+|--)\s*([a-z_]\w*)\b"
)
_ONCE = re.compile(r"\bWRITE_ONCE\s*\(\s*([\w.>-]+)\s*,\s*\1\s*[-+|&]")


def _plain_rmw(subject: Subject) -> Iterator[Finding]:
    for where in subject.reached:
        if len(where.chain) > 2:
            break
        body = where.body
        found = [*_PLAIN.finditer(body), *_ONCE.finditer(body)]
        for match in found[: 4 * MAX_PLACES]:
            name = match[1] or match[2]
            if held_at(where, match.start()):
                continue
            if re.fullmatch(r"\w+", name) and not _file_scope(where, name):
                continue
            message = f"{where.function.name}() changes {name} in place, with no lock"
            yield _finding(
                subject, "plain-rmw", "warning", message, where, match.start()
            )


def _file_scope(where: Reached, name: str) -> bool:
    declared = rf"^(?:static\s+)?(?:\w+\s+)+\**{name}\s*(?:=[^;]*)?;"
    outside = re.compile(declared, re.MULTILINE)
    local = re.compile(rf"^\s+(?:\w+\s+)+\**(?:\w+[\s,=\d]+)*{name}\b", re.MULTILINE)
    found = outside.search(where.source.bare)
    own = local.search(where.body)
    return bool(found and "DEFINE_PER_CPU" not in found[0] and not own)


_ASSERTED = re.compile(r"\bASSERT_EXCLUSIVE_(?:WRITER|ACCESS)\w*\s*\(")
_CLAIM = re.compile(
    r"hotplug[^.;]{0,60}(?:serial|exclusi|concurren)|"
    r"(?:serial|exclusi)\w*[^.;]{0,60}hotplug|globally\s+serial|"
    r"protected\s+by\s+(?:the\s+)?cpu\s+hotplug|"
    r"caller\w*[^.;]{0,30}serial|no\s+concurren|never\s+concurren"
    r"|(?:can(?:not|'t)|not)\s+race[^.;]{0,40}(?:hotplug|offline|online)",
    re.IGNORECASE,
)
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)


def _serial_claim(subject: Subject) -> Iterator[Finding]:
    for where in subject.reached:
        if len(where.chain) > 3:
            break
        for match in _ASSERTED.finditer(where.body):
            message = f"{where.function.name}() asserts that nobody else writes"
            yield _finding(
                subject, "serial-claim", "warning", message, where, match.start()
            )
        for start, comment in _comments(where):
            words = " ".join(re.sub(r"[*/]+", " ", comment).split())
            claim = _claim(words)
            if claim:
                lead = words[max(0, claim.start() - 40) : claim.end() + 40]
                message = f'a comment of {where.function.name}() says "{lead.strip()}"'
                yield _finding(
                    subject, "serial-claim", "warning", message, where, start
                )


def _file_claim(subject: Subject) -> Iterator[Finding]:
    """Claims beside the data, outside of any function, in the callback's own file."""
    if not subject.reached:
        return
    where = subject.reached[0]
    text, start = where.source.text, where.function.start
    for match in _COMMENT.finditer(text):
        words = " ".join(re.sub(r"[*/]+", " ", match[0]).split())
        claim = _claim(words)
        if claim is None or len(words) > 400:
            continue
        after = text[match.end() : match.end() + 200].lstrip()
        if re.match(
            r"(?:static\s+)?(?:struct|int|unsigned|bool|u\d+|LIST_HEAD)\b", after
        ):
            if re.match(r"[^;={]*\(", after):
                continue  # it stands above a function
            message = f'a comment of {where.file} says "{words[:120]}"'
            offset = match.start() - start
            yield _finding(subject, "serial-claim", "warning", message, where, offset)


def _claim(words: str) -> re.Match[str] | None:
    """A claim that hotplug is serial; not that something is serialised against it."""
    found = _CLAIM.search(words)
    against = found and re.search(r"serial\w*\s+against", found[0], re.IGNORECASE)
    return None if against else found


def _comments(where: Reached) -> Iterator[tuple[int, str]]:
    text, start = where.source.text, where.function.start
    above = text[max(0, start - 1500) : start].rstrip()
    if above.endswith("*/"):
        yield 0, above[above.rfind("/*") :]
    for match in _COMMENT.finditer(where.text):
        yield match.start(), match[0]


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
        yield _finding(
            subject, "teardown-can-fail", "warning", message, where, match.start()
        )


def _only_zero(body: str, name: str) -> bool:
    values = re.findall(rf"(?<![\w.>]){name}\s*=(?!=)\s*([^;,]+)[;,]", body)
    return bool(values) and all(value.strip() == "0" for value in values)


_WAIT = re.compile(
    r"\b(wait_for_completion\w*|synchronize_rcu\w*|synchronize_srcu|flush_work\w*|"
    r"cancel_(?:delayed_)?work_sync|flush_workqueue|kthread_(?:stop|park)|msleep\w*|"
    r"wait_event\w*|work_on_cpu\w*|perf_pmu_migrate_context|del_timer_sync|"
    r"timer_delete_sync)\s*\("
)


def _wait_under_lock(subject: Subject) -> Iterator[Finding]:
    if not subject.teardown:
        return
    for where in subject.reached:
        if len(where.chain) > 3:
            break
        body = where.body
        waits = _WAIT.finditer(body, max(0, body.find("{")))
        for wait in islice(waits, MAX_PLACES):
            locks = held_at(where, wait.start())
            if locks:
                first = locks[0]
                lock = f"{first.call}({first.lock})"
                message = f"{where.function.name}() calls {wait[1]}() under {lock}"
                yield _finding(
                    subject, "wait-under-lock", "warning", message, where, wait.start()
                )


def _irq_unsafe(subject: Subject) -> Iterator[Finding]:
    if subject.row.section is Section.STARTING:
        return  # these run with interrupts off
    for found in unsafe_locks(subject.reached):
        lock = found.lock.lstrip("&")
        message = (
            f"{found.where.function.name}() takes {lock} by {found.call}() with "
            f"interrupts on, and {found.other}"
        )
        yield _finding(
            subject, "lock-irq-unsafe", "error", message, found.where, found.offset
        )


def _not_released(subject: Subject) -> Iterator[Finding]:
    for where in subject.reached:
        if len(where.chain) > 3:
            break
        name = where.function.name
        if "lock" in name:
            continue  # it is there to take it
        for offset, lock in kept_at_return(where.body):
            message = f"{name}() returns with {lock.call}({lock.lock}) not undone"
            yield _finding(
                subject, "lock-not-released", "error", message, where, offset
            )


_SET = re.compile(r"\bcpumask_(?:test_and_)?set_cpu\s*\(")


def _one_sided(subject: Subject) -> Iterator[Finding]:
    if subject.teardown or not subject.other:
        return
    left = {
        name
        for where in subject.other
        for name in re.findall(r"\w+", " ".join(_cleared_masks(where)))
    }
    for where in subject.reached:
        if len(where.chain) > 2:
            break
        for match in islice(_SET.finditer(where.body), MAX_PLACES):
            opening = where.function.start + match.end() - 1
            split = where.source.arguments(opening)
            given = [where.source.piece(s) for s in split[0]] if split else []
            own = where.function.parameters[:1]
            if len(given) != 2 or (given[0],) != own or last_name(given[1]) in left:
                continue
            message = (
                f"{where.function.name}() enters its CPU in {given[1].lstrip('&')}, "
                "which the teardown does not leave"
            )
            yield _finding(
                subject, "one-sided-mask", "note", message, where, match.start()
            )


def _cleared_masks(where: Reached) -> Iterator[str]:
    for match in re.finditer(r"\bcpumask_\w*clear\w*\s*\(([^;]*)\)", where.body):
        yield match[1]


_CHECKS: Sequence[Callable[[Subject], Iterator[Finding]]] = (
    _targets,
    _last_one,
    _plain_rmw,
    _serial_claim,
    _file_claim,
    _can_fail,
    _wait_under_lock,
    _irq_unsafe,
    _not_released,
    _one_sided,
)
