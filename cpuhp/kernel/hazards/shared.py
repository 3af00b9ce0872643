"""Shared variables that are read, changed and written, with nobody kept out."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuhp.kernel.hazards.held import held_at
from cpuhp.kernel.hazards.rules import Finding, Subject, report
from cpuhp.kernel.hazards.walk import MAX_PLACES, Reached

_PLAIN = re.compile(
    r"(?<![\w.>])([a-z_]\w*)(?:\s*(?:\+\+|--)|\s*[-+|&]=)|(?:\+\+|--)\s*([a-z_]\w*)\b"
    r"(?!\s*(?:->|\.|\[))"
)
_AGAIN = re.compile(r"(?<![\w.>])([a-z_]\w*)\s*=\s*\1\s*[-+|&](?![&|>])")
_TURNED = re.compile(
    r"(?<![\w.>])([a-z_]\w*)\s*=\s*[\w.>()-]+?\s*(?:\+|\|(?!\|)|&(?!&))\s*\1\s*;"
)
_ONCE = re.compile(
    r"\bWRITE_ONCE\s*\(\s*([\w.>-]+)\s*,\s*(?:\1\s*[-+|&]|\w+\s*[+|&]\s*\1\s*\))"
)
_PATTERNS = (_PLAIN, _AGAIN, _TURNED, _ONCE)
_MEMBER = re.compile(
    r"(?:\+\+|--)\s*([a-z_]\w*)((?:->|\.)[\w.>-]+)"
    r"|(?<![\w.>\]])([a-z_]\w*)(->[\w.>-]+?)\s*(?:\+\+|--|[-+]=)"
)
_MEMBER_AGAIN = re.compile(
    r"(?<![\w.>\]])([a-z_]\w*)(->[\w.>-]+?)\s*=\s*"
    r"(?:\1\2\s*[-+](?![->+])|[\w.>()-]+?\s*\+\s*\1\2\s*;)"
)
_REGISTER = re.compile(r"^\s*([A-Z][A-Z0-9_]+\s*\([^;()]*\))\s*[&|^]=", re.MULTILINE)
_MEMBERS = (_MEMBER, _MEMBER_AGAIN)
_OWN = re.compile(
    r"^\s*&?\s*(?:raw_|get_|this_|__this_)?(?:per_cpu|cpu_ptr|cpu_rq|cpu_data|cpu_var"
    r"|this_rq|cpu_read)\w*\s*\(|\[\s*(?:\w*cpu\w*|smp_processor_id\s*\(\s*\))\s*\]"
    r"|^\s*&?\s*(?:current|k[mzc]\w*alloc\w*|get_cpu_device|idle_thread_get)\b"
)


_FOUND = re.compile(r"^\*|^[\w.>\[\]-]+(?:->|\[)[\w.\]-]+$|hlist_entry|container_of")


def plain_rmw(subject: Subject) -> Iterator[Finding]:
    """Changes in place of a file's variable, of what CPUs share, of a register."""
    for where in subject.reached:
        if len(where.chain) > 4:
            break
        for offset, name in _changes(where):
            if held_at(where, offset):
                continue
            message = f"{where.function.name}() changes {name} in place, with no lock"
            yield report(subject, "plain-rmw", "warning", message, where, offset)


def _changes(where: Reached) -> Iterator[tuple[int, str]]:
    body = where.body
    if len(where.chain) <= 2:
        plain = [m for pattern in _PATTERNS for m in pattern.finditer(body)]
        for match in plain[: 4 * MAX_PLACES]:
            name = match[1] or match[match.re.groups]
            if not re.fullmatch(r"\w+", name) or _file_scope(where, name):
                yield match.start(), name
        for match in list(_REGISTER.finditer(body))[:MAX_PLACES]:
            yield match.start(1), " ".join(match[1].split())
    members = [m for pattern in _MEMBERS for m in pattern.finditer(body)]
    for match in members[: 2 * MAX_PLACES]:
        base, member = (part for part in match.groups() if part)
        deeper = member.count("->") > 1 and _is_own(where, base)
        if deeper or _is_shared(where, base, 0):
            yield match.start(), base + member


def _file_scope(where: Reached, name: str) -> bool:
    declared = rf"^(?:static\s+)?(?:\w+\s+)+\**{name}\s*(?:=[^;]*)?;"
    outside = re.compile(declared, re.MULTILINE)
    local = re.compile(rf"^\s+(?:\w+\s+)+\**(?:\w+[\s,=\d]+)*{name}\b", re.MULTILINE)
    found = outside.search(where.source.bare)
    own = local.search(where.body)
    return bool(found and "DEFINE_PER_CPU" not in found[0] and not own)


def _is_shared(where: Reached, base: str, depth: int) -> bool:
    """True if a pointer leads to something that several CPUs reach.

    What a per-CPU pointer points to is the CPU's own, and so is what it has made;
    what is found by one more step, or in a list, is not.
    """
    values = _values(where, base)
    if base in where.arguments:
        passed, caller = where.arguments[base]
        root = re.match(r"&?\s*([a-z_]\w*)", passed)
        if _OWN.search(passed) or root is None or depth > 3:
            return False
        if root[1] != passed.lstrip("& ") and re.search(r"->", passed):
            return _is_shared(caller, root[1], depth + 1) or not _is_own(
                caller, root[1]
            )
        return _is_shared(caller, root[1], depth + 1)
    if not values:
        return False
    for value in values:
        if _OWN.search(value) or value.startswith("&"):
            return False
    return any(_FOUND.search(value) for value in values)


def _is_own(where: Reached, base: str) -> bool:
    values = _values(where, base)
    return bool(values) and all(_OWN.search(value) for value in values)


def _values(where: Reached, name: str) -> list[str]:
    pattern = rf"(?<![\w.>]){name}\s*=(?!=)\s*([^;,]*(?:\([^;]*?\))?[^;,]*)[;,]"
    return [" ".join(v.split()) for v in re.findall(pattern, where.body)]
