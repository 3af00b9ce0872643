"""Which CPU mask does a callback choose a CPU from, and is that mask stale?

Classes, as seen while CPUs go down as a batch: ONLINE and TOPOLOGY masks (and masks
that the driver never clears) still hold CPUs that are on their way down; a PRIVATE mask
whose own bit every CPU clears first hands over in a chain; ACTIVE is cleared first of
all, so it is right behind a barrier.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice

from cpuhp.kernel.hazards.loops import leaves_early, whole_loop, written_out
from cpuhp.kernel.hazards.walk import MAX_PLACES, Reached
from cpuhp.kernel.source.text import squeezed


class Mask(Enum):
    """What a mask is to a CPU that chooses from it."""

    ONLINE = "A"
    TOPOLOGY = "B"
    PRIVATE = "C"
    ACTIVE = "D"
    SAFE = "N"  # dying CPUs are taken out


@dataclass(frozen=True)
class Pick:
    """A choice of a CPU: the expression, the mask's class, and the masks in it."""

    where: Reached
    offset: int
    call: str
    masks: tuple[str, ...]
    mask: Mask
    result: str | None
    is_loop: bool
    is_target: bool  # something is handed to the chosen CPU


# How many leading arguments of each picker are masks, and where they begin.
_PICKERS = {
    "cpumask_any_but": (0, 1),
    "cpumask_any_and_but": (0, 2),
    "cpumask_any_andnot_but": (0, 1),
    "cpumask_any": (0, 1),
    "cpumask_any_and": (0, 2),
    "cpumask_first_andnot": (0, 1),
    "cpumask_next_andnot": (1, 1),
    "cpumask_any_distribute": (0, 1),
    "cpumask_any_and_distribute": (0, 2),
    "cpumask_first": (0, 1),
    "cpumask_first_and": (0, 2),
    "cpumask_last": (0, 1),
    "cpumask_next": (1, 1),
    "cpumask_next_and": (1, 2),
    "cpumask_next_wrap": (1, 1),
    "cpumask_nth": (1, 1),
    "cpumask_nth_and": (1, 2),
    "cpumask_nth_andnot": (1, 1),
    "cpumask_nth_and_andnot": (1, 2),
    "cpumask_first_and_and": (0, 3),
    "cpumask_next_and_wrap": (1, 2),
    "cpumask_random": (0, 1),
    "cpumask_local_spread": (0, 0),  # of all that are online
    "housekeeping_any_cpu": (0, 0),
}
_REST = {  # pickers that leave out the CPUs of another mask, and which argument it is
    "cpumask_any_andnot_but": 1,
    "cpumask_first_andnot": 1,
    "cpumask_next_andnot": 2,
    "cpumask_nth_andnot": 2,
    "cpumask_nth_and_andnot": 3,
    "for_each_cpu_andnot": 2,
}
_PICK = re.compile(rf"\b({'|'.join(_PICKERS)})\s*\(")
_LOOP = re.compile(
    r"\b(for_each_(?:online|possible|present)_cpu|for_each_online_cpu_wrap"
    r"|for_each_cpu(?:_and|_andnot|_or|_wrap|_from)?)\s*\("
)
# The choice is one of the two values of a conditional expression.
_CHOSEN = re.compile(
    r"([A-Za-z_][\w.\[\]]*(?:->[\w.\[\]]+)*)\s*=(?!=)[^;{}=]*(?:[=!<>]=[^;{}=]*)?"
    r"[?:]\s*$"
)
_LEFT = re.compile(r"([A-Za-z_][\w.\[\]]*(?:->[\w.\[\]]+)*)\s*=\s*$")
_ONLINE = re.compile(r"\bcpu_online_mask\b|\bcpu_online_map\b|\bcpus_read_online\b")
_ACTIVE = re.compile(r"\bcpu_active_mask\b")
_TOPOLOGY = re.compile(
    r"\bcpumask_of_node\b|\bcpumask_of_pcibus\b|\btopology_\w*cpumask\b|\bcpu_\w*_mask\b"
    r"|\bcpu_\w*_map\b|\bcpu_\w*_mask_var\b|\bcpu_possible_mask\b|\bcpu_present_mask\b"
    r"|\bget_hisi_\w*\b|\bcpu_coregroup_mask\b|\bcpu_\w*shared_map\b"
)
_WRITE = r"\bcpumask_(and|andnot|copy|or|xor)\s*(?=\(\s*&?\s*{name}\s*,)"
_MAX_DEPTH = 6


def picks(reached: Sequence[Reached]) -> list[Pick]:
    """All choices of a CPU in the functions that a callback reaches."""
    cleared = cleared_masks(reached)
    found: list[Pick] = []
    looks = _LOOKS | {w.function.name for w in reached if _chooses(w.body)}
    for where in reached:
        body = where.body
        loops = list(written_out(body))
        visits = frozenset[int]().union(*(loop.choices for loop in loops))
        for match in islice(_PICK.finditer(body), MAX_PLACES):
            if match.start() in visits or _in_loop_head(body, match.start()):
                continue
            start, count = _PICKERS[match[1]]
            given = _arguments(where, match.end() - 1)[start : start + count]
            given = given if count else ["cpu_online_mask"]
            if not given:
                continue
            call = _Call(match.start(), match[1], match.end() - 1)
            found.append(_pick(where, call, given, cleared, looks))
        for match in islice(_LOOP.finditer(body), MAX_PLACES):
            if not leaves_early(body, match.end() - 1):
                continue
            given = _arguments(where, match.end() - 1)
            masks = given[1:3] if match[1].endswith(("_and", "_or")) else given[1:2]
            kind = re.search("online|possible|present", match[1])
            if kind is not None:
                masks = [f"cpu_{kind[0]}_mask"]
                if kind[0] != "online" and not _asks_online(body[match.start() :]):
                    continue  # who else is there may be down already
            if masks and given:
                call = _Call(match.start(), match[1], match.end() - 1)
                found.append(_pick(where, call, masks, cleared, looks, given[0]))
        for loop in loops:
            start, count = _PICKERS[loop.picker]
            given = _arguments(where, loop.opening)[start : start + count]
            if given and leaves_early(body, loop.head):
                call = _Call(loop.start, loop.picker, loop.opening)
                found.append(_pick(where, call, given, cleared, looks, loop.cpu))
    return _configured(found)


def _chooses(body: str) -> bool:
    """True for a function that returns a CPU: what it is given is where to begin."""
    for loop in islice(_VISITS.finditer(body), MAX_PLACES):
        if re.search(rf"\breturn\s+{loop[1]}\s*;", body[loop.end() : loop.end() + 600]):
            return True
    return bool(_GIVES.search(body))


def _configured(found: list[Pick]) -> list[Pick]:
    """A helper that leaves out dying CPUs, and with the option off does not.

    Without the option no CPUs go down as a batch: the other branch is no choice.
    """
    safe = {id(p.where) for p in found if p.mask is Mask.SAFE}
    return [
        p
        for p in found
        if p.mask is Mask.SAFE
        or id(p.where) not in safe
        or not re.search(r"\bCONFIG_\w+", p.where.body)
    ]


@dataclass(frozen=True)
class _Call:
    """What chooses: where it or its loop begins, its name, its opening bracket."""

    start: int
    name: str
    opening: int


def _pick(
    where: Reached,
    call: _Call,
    masks: list[str],
    cleared: frozenset[str],
    looks: frozenset[str],
    variable: str | None = None,
) -> Pick:
    body, start, is_loop = where.body, call.start, variable is not None
    kinds = [classify(where, mask, start, cleared, 0) for mask in masks]
    if call.name == "for_each_cpu_or":
        kinds = [either(kinds)]
    left = _LEFT.search(body, max(0, start - 160), start)
    left = left or _CHOSEN.search(
        body, max(body.rfind(";", 0, start), start - 300), start
    )
    result = variable or (left[1] if left else None)
    if is_loop and result and _TESTS_ONLINE.search(body, start):
        kinds.append(Mask.ONLINE)
    if _leaves_out_dying(where, call, is_loop):
        kinds.append(Mask.SAFE)
    macro = where.source.text.startswith("#", where.function.start)
    returned = macro or bool(re.search(r"\breturn\s*$", body[:start]))
    mask = together(kinds)
    # The first CPU of a group is its name; a successor would not be the CPU itself.
    first = call.name == "cpumask_first" and not is_loop
    names_group = first and mask is Mask.TOPOLOGY
    decides = is_loop and _ANSWER.search(whole_loop(body[start:]))
    handed = returned or _passed(body, start, looks)
    if result is not None and not handed and not HINT.search(result):
        handed = _handed(where, result, start, is_loop, looks)
    return Pick(
        where,
        start,
        call.name,
        tuple(masks),
        mask,
        result,
        is_loop,
        handed and not names_group and not decides,
    )


def _leaves_out_dying(where: Reached, call: _Call, is_loop: bool) -> bool:
    """True if a choice passes over CPUs that are on their way down."""
    if not is_loop or call.name in _REST:
        at = _REST.get(call.name)
        given = _arguments(where, call.opening) if at is not None else []
        return at is not None and len(given) > at and "cpu_dying_mask" in given[at]
    body = whole_loop(where.body[call.start :])
    for test in _TESTS_DYING.finditer(body):
        after = body[test.end() : test.end() + 60]
        skips = bool(re.match(r"[^;{]*\{?\s*continue\b", after))
        if skips != bool(test[1]):
            return True
    return False


_TESTS_DYING = re.compile(
    r"(!?)\s*(?:cpu_dying\s*\([^()]*\)|cpumask_test_cpu\s*\([^()]*cpu_dying_mask\s*\))"
)


def _asks_online(rest: str) -> bool:
    return bool(_TESTS_ONLINE.search(whole_loop(rest)))


def _passed(body: str, start: int, looks: frozenset[str]) -> bool:
    """True if a choice is itself an argument of a call that acts."""
    lead = body[max(body.rfind(";", 0, start) + 1, start - 300) : start]
    call = re.search(r"\b(\w+)\s*\((?:[^()]|\([^()]*\))*$", lead)
    return bool(call and call[1] not in looks)


def _handed(
    where: Reached,
    result: str,
    offset: int,
    is_loop: bool,
    looks: frozenset[str],
    depth: int = 0,
) -> bool:
    """True if a chosen CPU is stored, returned or passed to something that acts."""
    body = where.body
    local = re.search(rf"\b(?:int|long|unsigned|u32|u16)\s[^;(]*\b{result}\b", body)
    if re.search(r"->|\.|\[", result) or not (
        local or result in where.function.parameters
    ):
        return True
    name = rf"(?<![\w.>]){re.escape(result)}\b"
    rest = _until_reused(body[offset:], re.escape(result), is_loop)
    if re.search(rf"(?:->|\.|\]|\*)[\w.\[\]>-]*\s*=(?!=)\s*[^;]{{0,400}}{name}", rest):
        return True
    if re.search(rf"\breturn\s+{name}\s*;", rest):
        return True
    # What is that CPU's is found by its number, and written to.
    for kept in re.finditer(
        rf"\b(\w+)\s*=\s*[&*]?\s*{_PER_CPU}[^;]{{0,99}}{name}[^;]{{0,99}};", rest
    ):
        if re.search(rf"\b{kept[1]}->[\w.>-]+\s*=(?!=)", rest[kept.end() :]):
            return True
    for call in re.finditer(rf"\b(\w+)\s*\((?=[^;{{}}]{{0,400}}?{name})", rest):
        at = call.end() - 1
        depth = 0
        for end in range(at, min(len(rest), at + 2000)):
            depth += (rest[end] == "(") - (rest[end] == ")")
            if depth == 0:
                break
        inside = rest[at:end]
        if call[1] not in looks and re.search(name, inside):
            return True
    for copy in re.finditer(rf"(?<![\w.>])(\w+)\s*=\s*{name}\s*;", rest):
        at = offset + copy.end()
        if depth < 2 and copy[1] != result and not HINT.search(copy[1]):
            if _handed(where, copy[1], at, False, looks, depth + 1):
                return True
    return False


def _until_reused(rest: str, name: str, is_loop: bool) -> str:
    """The text in which a loop's variable still holds the CPU that was chosen."""
    if not is_loop:
        return rest
    after = len(whole_loop(rest))
    again = re.compile(
        rf"\bfor\w*\s*\(\s*{name}\b|(?<![\w.>]){name}\s*=(?!=)(?![^;]*\b{name}\b)"
    )
    found = again.search(rest, after)
    return rest[: found.start()] if found else rest


# Calls and keywords that look at a CPU number without handing anything over.
_LOOKS = frozenset(
    [
        "if",
        "while",
        "for",
        "switch",
        "return",
        "likely",
        "unlikely",
        "sizeof",
        "cpu_online",
        "cpu_active",
        "cpu_possible",
        "cpu_present",
        "cpumask_test_cpu",
        "cpu_to_node",
        "per_cpu",
        "per_cpu_ptr",
        "cpu_rq",
        "cpu_data",
        "cpumask_of",
        "WARN_ON",
        "WARN_ON_ONCE",
        "BUG_ON",
        "WARN",
        "pr_debug",
        "pr_info",
        "pr_err",
        "pr_warn",
        "dev_dbg",
        "dev_info",
        "dev_err",
        "min",
        "max",
        "topology_physical_package_id",
        "cpu_is_offline",
        "cpumask_next",
        "cpumask_next_and",
        "cpumask_next_wrap",
        "cpumask_next_andnot",
        "for_each_cpu",
        "for_each_cpu_andnot",
        "for_each_cpu_from",
        "for_each_cpu_or",
        "for_each_possible_cpu",
        "for_each_present_cpu",
        "for_each_online_cpu",
        "for_each_cpu_and",
        "for_each_cpu_wrap",
        "cpumask_any_but",
        "rcu_dereference",
        "rcu_access_pointer",
        "raw_cpu_ptr",
        "get_cpu_cacheinfo",
        "get_cpu_device",
        "arch_scale_cpu_capacity",
        "cpu_cpu_mask",
        "rcu_dereference_protected",
        "READ_ONCE",
        "defined",
        "irqd_get",
        "idle_cpu",
    ]
)
HINT = re.compile(r"\bwake_cpu$")  # where to wake up; the scheduler decides
_PER_CPU = r"(?:cpu_rq|per_cpu\w*|cpu_data)\s*\("
_VISITS = re.compile(r"\bfor_each_(?:online_)?cpu\w*\s*\(\s*(\w+)")
_GIVES = re.compile(r"\breturn\s+cpumask_(?:any|first|last|next)\w*\s*\(")
_ANSWER = re.compile(r"\breturn\s+(?:true|false|[01])\s*;")
_TESTS_ONLINE = re.compile(r"\bcpu_online\s*\(")


def together(kinds: Iterable[Mask]) -> Mask:
    """The class of the intersection of masks."""
    found = set(kinds)
    for kind in (Mask.SAFE, Mask.ACTIVE, Mask.ONLINE, Mask.PRIVATE):
        if kind in found:
            return kind
    return Mask.TOPOLOGY


def either(kinds: Iterable[Mask]) -> Mask:
    """The class of the union of masks: that of the worst of them."""
    found = set(kinds)
    for kind in (Mask.ONLINE, Mask.TOPOLOGY, Mask.PRIVATE, Mask.ACTIVE, Mask.SAFE):
        if kind in found:
            return kind
    return Mask.TOPOLOGY


def classify(
    where: Reached, expression: str, offset: int, cleared: frozenset[str], depth: int
) -> Mask:
    """The class of one mask expression at an offset of a function."""
    text = expression.strip().lstrip("&( ").rstrip(") ") if depth < _MAX_DEPTH else ""
    if _ACTIVE.search(text):
        return Mask.ACTIVE
    if _ONLINE.search(text) or "cpu_dying_mask" in text:
        return Mask.ONLINE
    if _TOPOLOGY.search(text):
        return Mask.TOPOLOGY
    name = re.match(r"[A-Za-z_]\w*", text)
    if name is None:
        return Mask.TOPOLOGY
    written = _written(where, text, offset, cleared, depth)
    if written is not None:
        return written
    if text in where.arguments:
        passed, caller = where.arguments[text]
        return classify(caller, passed, len(caller.body), cleared, depth + 1)
    return Mask.PRIVATE if last_name(text) in cleared else Mask.TOPOLOGY


def shown_masks(pick: Pick) -> str:
    """The masks that a CPU is chosen from, and by what."""
    masks = " and ".join(mask.lstrip("&") for mask in pick.masks)
    return f"{masks}, by {pick.call}()"


def holds_cpus(where: Reached, expression: str, cleared: frozenset[str]) -> bool:
    """False for a member of a struct that has nothing to do with hotplug."""
    text = expression.strip().lstrip("&(")
    if "->" not in text or _ONLINE.search(text) or _TOPOLOGY.search(text):
        return True
    return last_name(text) in cleared


def _written(
    where: Reached, text: str, offset: int, cleared: frozenset[str], depth: int
) -> Mask | None:
    """The class of what was last written to a mask before an offset."""
    body = where.body[:offset]
    name = re.escape(text)
    found: list[tuple[int, Mask]] = []
    for match in re.finditer(_WRITE.format(name=name), body):
        parts = _arguments(where, match.end())[1:]
        kinds = [classify(where, p, match.start(), cleared, depth + 1) for p in parts]
        if match[1] == "andnot":
            safe = len(parts) > 1 and "cpu_dying_mask" in parts[1]
            kind = Mask.SAFE if safe else kinds[0]
        else:
            kind = (either if match[1] in ("or", "xor") else together)(kinds)
        found.append((match.start(), kind))
    for match in re.finditer(rf"(?<![\w.>]){name}\s*=(?!=)\s*([^;]+);", body):
        value = squeezed(match[1])
        if text not in value:
            kind = classify(where, value, match.start(), cleared, depth + 1)
            found.append((match.start(), kind))
    return together(kind for _, kind in found) if found else None


def cleared_masks(reached: Sequence[Reached]) -> frozenset[str]:
    """Masks from which a callback takes its own CPU, by their last name."""
    return frozenset(
        last_name(mask) for where in reached for _, mask in clearings(where)
    )


def clearings(where: Reached) -> list[tuple[int, str]]:
    """Where a function takes a CPU out of a mask, and which."""
    found = []
    for match in islice(_CLEARS.finditer(where.body), MAX_PLACES):
        given = _arguments(where, match.end() - 1)
        if len(given) == 2:
            found.append((match.start(), given[1]))
    return found


_CLEARS = re.compile(r"\bcpumask_(?:test_and_)?clear_cpu\s*\(")


def last_name(expression: str) -> str:
    """`cpu_mask` of `&d->hdr.cpu_mask`."""
    names = re.findall(r"[A-Za-z_]\w*", expression)
    return names[-1] if names else ""


def _arguments(where: Reached, opening: int) -> list[str]:
    split = where.source.arguments(where.function.start + opening)
    return [where.source.piece(span) for span in split[0]] if split else []


def _in_loop_head(body: str, offset: int) -> bool:
    line = body[body.rfind("\n", 0, offset) + 1 : offset]
    return bool(re.search(r"\bfor\s*\(|\bfor_each_\w+\s*\(", line))
