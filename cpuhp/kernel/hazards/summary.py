"""What a callback does, as far as it was followed: for those who want to know why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from cpuhp.kernel.hazards.held import held_at
from cpuhp.kernel.hazards.locks import irqs_off_at
from cpuhp.kernel.hazards.rules import Finding, Subject
from cpuhp.kernel.hazards.waits import waits
from cpuhp.kernel.hazards.walk import MAX_PLACES, Reached, member_of, runs_atomic
from cpuhp.kernel.source.text import CText
from cpuhp.model.table import Section

NEAR = 3  # places of a chain; what is farther off is told by its findings only


@dataclass(frozen=True)
class Summary:
    """Sentences and names, each with its place as `file:line`.

    `writes` and `reads` are variables of files and members that are reached through
    pointers; `returns` says whether the callback can fail; `unfollowed` are calls
    through pointers that may lead anywhere.
    """

    writes: tuple[str, ...]
    reads: tuple[str, ...]
    locks: tuple[str, ...]
    waits: tuple[str, ...]
    asks: tuple[str, ...]
    claims: tuple[str, ...]
    returns: str
    unfollowed: tuple[str, ...]


def summary(subject: Subject, findings: Iterable[Finding]) -> Summary:
    """What the functions that a callback reaches read, write, take and wait for."""
    near = [where for where in subject.reached if len(where.chain) <= NEAR]
    told = list(findings)
    written = _distinct(name for where in near for name in _written(where))
    read = _distinct(name for where in near for name in _file_variables(where))
    return Summary(
        tuple(written),
        tuple(name for name in read if name not in written),
        tuple(_distinct(text for where in near for text in _locks(subject, where))),
        tuple(_distinct(text for where in near for text in _waits(where))),
        _of_rules(told, "last-one-out", "online-count"),
        _of_rules(told, "serial-claim"),
        _returns(subject),
        tuple(
            _distinct(text for where in near for text in _unfollowed(subject, where))
        ),
    )


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _of_rules(found: Iterable[Finding], *rules: str) -> tuple[str, ...]:
    return tuple(f"{f.message}, {f.file}:{f.line}" for f in found if f.rule in rules)


@lru_cache(maxsize=64)
def _declared(source: CText) -> frozenset[str]:
    """Variables that a file declares outside of functions."""
    plain = re.findall(
        r"^(?:static\s+|const\s+|extern\s+|unsigned\s+|struct\s+)*\w+\s+\**(\w+)"
        r"(?:\[[^\]\n]*\])*\s*(?:__\w+\s*)*[=;,]",
        source.bare,
        re.MULTILINE,
    )
    made = re.findall(
        r"^(?:static\s+)?(?:DEFINE|DECLARE)_\w+\s*\((?:[^(),\n]*,\s*)?(\w+)\s*[,)]"
        r"|^(?:static\s+)?LIST_HEAD\s*\(\s*(\w+)",
        source.bare,
        re.MULTILINE,
    )
    return frozenset(plain) | {name for pair in made for name in pair if name}


def _file_variables(where: Reached) -> Iterator[str]:
    known = _declared(where.source)
    for match in re.finditer(r"(?<![\w.>])[A-Za-z_]\w*", where.body):
        if match[0] in known:
            yield match[0]


_ASSIGNED = re.compile(
    r"(?<![\w.>])(?P<step>\+\+|--)?([A-Za-z_]\w*)((?:(?:->|\.)\w+|\[[^\]\n]*\])*)\s*"
    r"(?(step)|(?:[-+|&^]?=(?!=)|\+\+|--))"
)


def _written(where: Reached) -> Iterator[str]:
    known = _declared(where.source)
    start = max(0, where.body.find("{"))
    for match in islice(_ASSIGNED.finditer(where.body, start), 4 * MAX_PLACES):
        if match[2] in known or "->" in match[3]:
            yield re.sub(r"\[[^\]]*\]", "[]", match[2] + match[3])


_TAKEN = re.compile(
    r"\b(?:\w+_)?(?P<how>"
    r"(?:raw_)?(?:spin|read|write)_lock(?:_irqsave|_irq|_bh|_nested)?|"
    r"mutex_lock(?:_nested)?|down_(?:read|write)|cpus_read_lock|guard)\s*\("
)


def _locks(subject: Subject, where: Reached) -> Iterator[str]:
    start = max(0, where.body.find("{"))
    for match in islice(_TAKEN.finditer(where.body, start), MAX_PLACES):
        end = where.source.arguments(where.function.start + match.end() - 1)
        given = where.source.piece(end[0][0]) if end and end[0] else ""
        how = match["how"]
        spins = "spin" in how or how.startswith(("read", "write", "raw"))
        if "irq" in how or irqs_off_at(where, match.start()) or runs_atomic(where):
            context = "interrupts off"
        elif subject.row.section is Section.STARTING:
            context = "interrupts off, as in all of STARTING"
        else:
            context = "interrupts on"
        context += "" if spins or how == "guard" else ", may sleep"
        place = f"{where.file}:{where.line(match.start())}"
        yield f"{match[0].rstrip('( ')}({given}), {context}, {place}"


def _waits(where: Reached) -> Iterator[str]:
    for offset, wait in waits(where):
        held = ", ".join(f"{h.call}({h.lock})" for h in held_at(where, offset))
        place = f"{where.file}:{where.line(offset)}"
        yield f"{wait}{f' under {held}' if held else ''}, {place}"


_RETURN = re.compile(r"\breturn\s+([^;]+);")


def _returns(subject: Subject) -> str:
    values = _distinct(
        " ".join(match[1].split())
        for match in _RETURN.finditer(subject.reached[0].body)
    )
    if all(value in ("0", "NOTIFY_OK", "NOTIFY_DONE") for value in values):
        return "never fails"
    return f"may return {', '.join(v for v in values if v != '0')}"


_CALL = re.compile(r"\b([A-Za-z_]\w*)\s*\(")


def _unfollowed(subject: Subject, where: Reached) -> Iterator[str]:
    """Calls through members that no function was found for."""
    followed = {
        (w.caller[0].file, w.caller[0].function.name, w.caller[1])
        for w in subject.reached
        if w.caller is not None
    }
    known = {w.function.name for w in subject.reached}
    for match in islice(_CALL.finditer(where.body), 8 * MAX_PLACES):
        owner = member_of(where.body, match.start())
        if owner is None or match[1] in known:
            continue
        if (where.file, where.function.name, match.start()) not in followed:
            place = f"{where.file}:{where.line(match.start())}"
            yield f"{owner or '...'}->{match[1]}(), {place}"
