"""Comments and assertions that claim that hotplug is serial, or rely on its lock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from cpuhp.kernel.hazards.rules import Finding, Subject, report
from cpuhp.kernel.hazards.walk import Reached
from cpuhp.kernel.source.text import CText

_ASSERTED = re.compile(r"\bASSERT_EXCLUSIVE_(?:WRITER|ACCESS)\w*\s*\(")
_CLAIM = re.compile(
    r"hotplug[^.;]{0,60}(?:serial|exclusi|concurren)|"
    r"(?:serial|exclusi)\w*[^.;]{0,60}hotplug|globally\s+serial|"
    r"(?:protected|guarded)\s+by\s+(?:the\s+)?cpu[\s-]?hotplug|"
    r"hotplug[\s-]locks?\s+(?:(?:is|are|to\s+be|must\s+be)\s+)?(?:still\s+)?held|"
    r"only\s+be\s+one\s+(?:cpu[\s-])?hotplug|"
    r"caller\w*[^.;]{0,30}serial|no\s+concurren|never\s+concurren"
    r"|(?:can(?:not|'t)|not)\s+race[^.;]{0,40}(?:hotplug|offline|online)",
    re.IGNORECASE,
)
_MAY_CLAIM = re.compile(r"hotplug|serial|concurren|race", re.IGNORECASE)
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_DECLARES = re.compile(
    r"(?:static\s+)?(?:struct|int|unsigned|bool|u\d+|LIST_HEAD|cpumask_\w+)\b"
    r"(?![^;={]*\)\s*\{)([^;={]*)"
)
_LONG = 400  # characters of a comment that is about one variable


def serial_claim(subject: Subject) -> Iterator[Finding]:
    """Assertions and comments in the functions that a callback reaches."""
    for where in subject.reached:
        if len(where.chain) > 3:
            break
        for match in _ASSERTED.finditer(where.body):
            message = f"{where.function.name}() asserts that nobody else writes"
            yield _claimed(subject, message, where, match.start())
        for start, comment in comments(where):
            words = plain(comment)
            claim = claimed(words)
            if claim:
                lead = words[max(0, claim.start() - 40) : claim.end() + 40].strip()
                message = f'a comment of {where.function.name}() says "{lead}"'
                yield _claimed(subject, message, where, start)


def file_claim(subject: Subject) -> Iterator[Finding]:
    """Claims beside the data, outside of any function, that a callback works on."""
    done: set[str] = set()
    for where in subject.reached:
        if where.file in done or len(where.chain) > 4:
            continue
        done.add(where.file)
        own = " ".join(w.body for w in subject.reached if w.file == where.file)
        for place, words, declared in _beside_data(where.source):
            offset = place - where.function.start
            names = set(re.findall(r"[A-Za-z_]\w*", declared)) - _COMMON
            if any(re.search(rf"\b{name}\b", own) for name in names):
                message = f'a comment of {where.file} says "{words[:120]}"'
                yield _claimed(subject, message, where, offset)


_COMMON = frozenset(
    "static struct int unsigned long bool const list_head LIST_HEAD cpumask cpumask_t "
    "__read_mostly __initdata __percpu".split()
)


@lru_cache(maxsize=1024)
def _beside_data(source: CText) -> tuple[tuple[int, str, str], ...]:
    """Claims beside a file's variables: place, words, and what is declared there."""
    text = source.text
    found = []
    for match in _COMMENT.finditer(text) if _MAY_CLAIM.search(text) else ():
        words = plain(match[0])
        if len(words) > _LONG or claimed(words) is None:
            continue
        line = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
        before = _DECLARES.match(line)
        after = _DECLARES.match(text[match.end() : match.end() + 200].lstrip())
        if before and line.rstrip().endswith(";"):
            found.append((match.start(), words, before[0]))
        elif after and not line.strip():
            if re.match(r"[^;={]*\(", after[0]) and "LIST_HEAD" not in after[0]:
                continue  # it stands above a function
            found.append((match.start(), words, after[0]))
    return tuple(found)


def _claimed(subject: Subject, message: str, where: Reached, at: int) -> Finding:
    return report(subject, "serial-claim", "warning", message, where, at)


def plain(comment: str) -> str:
    """The words of a comment."""
    return " ".join(re.sub(r"[*/]+", " ", comment).split())


def claimed(words: str) -> re.Match[str] | None:
    """A claim that hotplug is serial; not that something is serialised against it."""
    found = _CLAIM.search(words)
    against = found and re.search(r"serial\w*\s+against", found[0], re.IGNORECASE)
    return None if against else found


def comments(where: Reached) -> Iterator[tuple[int, str]]:
    """The comment above a function and those in it, with their offsets."""
    text, start = where.source.text, where.function.start
    above = text[max(0, start - 1500) : start].rstrip()
    begin = above.rfind("/*")
    line = above[above.rfind("\n", 0, max(begin, 0)) + 1 : max(begin, 0)]
    if above.endswith("*/") and not line.strip():
        yield 0, above[begin:]
    for match in _COMMENT.finditer(where.text):
        yield match.start(), match[0]
