"""Loops over CPUs in the text of a function: what they visit, and whether they leave early.

`for_each_cpu()` and its like are found by their name (masks.py); here are those that are
written out with `for` or `while`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from cpuhp.kernel.hazards.walk import MAX_PLACES
from cpuhp.kernel.source.text import closes

_STEP = r"(?P<cpu>\w+)\s*=\s*(?P<picker>cpumask_(?:first|next)(?:_and|_andnot)?)\s*"
# for (i = cpumask_first(m); ...; i = cpumask_next(i, m))
_FOR = re.compile(
    rf"\bfor\s*(?P<head>\()\s*(?:(?:unsigned\s+)?int\s+)?{_STEP}(?P<opening>\()"
)
# while ((i = cpumask_next(i, m)) < nr_cpu_ids)
_WHILE = re.compile(rf"\bwhile\s*(?P<head>\()\s*\(\s*{_STEP}(?P<opening>\()")
_GOES_ON = re.compile(r"\s*\)\s*(?:<|!=)")
# i = cpumask_first(m); while (i < nr_cpu_ids) { ... i = cpumask_next(i, m); }
_FIRST = re.compile(rf"(?<![\w.>]){_STEP}(?P<opening>\()")
_THEN = re.compile(r"\s*;(?P<between>[^{}]{0,200}?)\b(?P<loop>while)\s*(?P<head>\()")


@dataclass(frozen=True)
class Loop:
    """A loop over the CPUs of a mask: where it begins and its head opens, its variable,
    what chooses and where its arguments begin; `choices` are the places of all that do.
    """

    start: int
    head: int
    cpu: str
    picker: str
    opening: int
    choices: frozenset[int]


def written_out(body: str) -> Iterator[Loop]:
    """The loops of a function that choose the next CPU of a mask by themselves."""
    for match in islice(_FOR.finditer(body), MAX_PLACES):
        inside = range(match.start("head"), _behind(body, match.start("head")))
        yield _found(match, match.start(), match.start("head"), inside, body)
    for match in islice(_WHILE.finditer(body), MAX_PLACES):
        if _GOES_ON.match(body, _behind(body, match.start("opening"))):
            inside = range(match.start("picker"), match.end("picker"))
            yield _found(match, match.start(), match.start("head"), inside, body)
    for match in islice(_FIRST.finditer(body), MAX_PLACES):
        then = _THEN.match(body, _behind(body, match.start("opening")))
        if then is None or re.search(rf"\b{match['cpu']}\b", then["between"]):
            continue
        begin = _behind(body, then.start("head"))
        if not _goes_on_with(match["cpu"], body[then.start("head") : begin]):
            continue
        end = statement(body, begin)
        again = (
            rf"(?<![\w.>]){match['cpu']}\s*=\s*cpumask_next\w*\s*\(\s*{match['cpu']}\b"
        )
        if re.search(again, body[begin:end]):
            inside = range(match.start("picker"), end)
            yield _found(match, then.start("loop"), then.start("head"), inside, body)


def _goes_on_with(cpu: str, head: str) -> bool:
    """True if a loop with this head goes on only while the variable is a CPU."""
    limit = r"(?:nr_\w+|NR_CPUS)\b"
    bound = rf"\b{cpu}\s*(?:<|!=)\s*{limit}|\b{limit}\s*(?:>|!=)\s*{cpu}\b"
    return "||" not in head and bool(re.search(bound, head))


def _found(
    match: re.Match[str], start: int, head: int, inside: range, body: str
) -> Loop:
    again = re.compile(rf"(?<![\w.>]){match['cpu']}\s*=\s*(?=cpumask_(?:first|next))")
    choices = {found.end() for found in again.finditer(body, 0, inside.stop + 8)}
    return Loop(
        start,
        head,
        match["cpu"],
        match["picker"],
        match.start("opening"),
        frozenset(at for at in choices if at in inside),
    )


def whole_loop(rest: str) -> str:
    """The loop that a text begins with, with its body."""
    return rest[: statement(rest, _behind(rest, rest.find("(")))]


def leaves_early(body: str, opening: int) -> bool:
    """True if a loop looks for one CPU, it does not visit all.

    Then its body leaves it, or its head does: `for (...; i < nr_cpu_ids && i == cpu; ...)`.
    """
    begin = _behind(body, opening)
    text = body[begin : statement(body, begin)]
    left = re.search(r"\bbreak\s*;|\breturn\b", _without_inner(text))
    return "&&" in body[opening:begin] or left is not None


_INNER = re.compile(r"\b(?:for\w*|while|switch)\s*\(")


def _without_inner(text: str) -> str:
    """A loop's body without the loops and switches in it, whose breaks are theirs."""
    found = _INNER.search(text)
    while found is not None:
        brace = text.find("{", found.end())
        semicolon = re.compile(r"\)\s*;").search(text, found.end())
        if brace < 0 or (semicolon and semicolon.start() < brace):
            return text
        end = _behind(text, brace, "{}")
        inner = re.sub(r"\bbreak\s*;", "", text[found.start() : end])
        text = text[: found.start()] + inner + text[end:]
        found = _INNER.search(text, found.start() + len(inner))
    return text


_HEAD = re.compile(r"\s*(if|while|switch|for\w*|\w+_for_each\w*)\s*(?=\()")
_BRACE = re.compile(r"\s*(?=\{)")
_ELSE = re.compile(r"\s*else\b")


def statement(text: str, at: int, depth: int = 0) -> int:
    """Where the statement ends that begins there: at its brace, or at its semicolon."""
    if _BRACE.match(text, at):
        return _behind(text, text.index("{", at), "{}")
    head = _HEAD.match(text, at) if depth < 20 else None
    if head is None:
        end = text.find(";", at)
        return len(text) if end < 0 else end + 1
    end = statement(text, _behind(text, head.end()), depth + 1)
    other = _ELSE.match(text, end) if head[1] == "if" else None
    return statement(text, other.end(), depth + 1) if other else end


def _behind(text: str, opening: int, pair: str = "()") -> int:
    """The place behind the bracket that closes the one that is opened there."""
    return min(closes(text, max(opening, 0), pair) + 1, len(text))
