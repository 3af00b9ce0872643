"""`enum cpuhp_state` and the static table of `kernel/cpu.c`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cpuhp.kernel.registrations.model import Enumerator
from cpuhp.kernel.source.constants import constant
from cpuhp.kernel.source.text import CText, split_arguments
from cpuhp.model.table import Section

DYNAMIC = ("CPUHP_BP_PREPARE_DYN", "CPUHP_AP_ONLINE_DYN")
_ENUM = re.compile(r"\benum\s+cpuhp_state\s*\{")
_TABLE = re.compile(r"\bstruct\s+cpuhp_step\s+cpuhp_hp_states\s*\[[^\]]*\]\s*=\s*\{")
_ENTRY = re.compile(r"\[\s*(\w+)\s*\]\s*=\s*\{")
_FIELD = re.compile(r"\.\s*([\w.]+)\s*=\s*")
_DIRECTIVE = re.compile(r"^[ \t]*#(?:\\\n|[^\n])*", re.MULTILINE)


@dataclass(frozen=True)
class StaticEntry:
    """One initialiser `[state] = { ... }` of `cpuhp_hp_states`; fields as written."""

    state: str
    line: int
    fields: Mapping[str, str]
    guards: tuple[str, ...]


def read_enum(source: CText) -> tuple[Enumerator, ...]:
    """The constants of `enum cpuhp_state`, in order; empty if it is not there."""
    match = _ENUM.search(source.bare)
    split = split_arguments(source.bare, match.end() - 1) if match else None
    if split is None:
        return ()
    values: dict[str, int] = {}
    names: list[tuple[str, int | None, int, tuple[str, ...]]] = []
    following: int | None = 0
    for start, end in split[0]:
        piece = _DIRECTIVE.sub(lambda m: " " * len(m[0]), source.bare[start:end])
        name = re.search(r"\w+", piece)
        if name is None:
            continue
        _, equals, expression = piece.partition("=")
        value = constant(expression.strip(), values) if equals else following
        following = None if value is None else value + 1
        if value is not None:
            values[name[0]] = value
        at = start + name.start()
        names.append((name[0], value, source.line(at), source.guards(at)))
    return tuple(
        Enumerator(name, value, section_of(value, values), line, guards)
        for name, value, line, guards in names
    )


def section_of(value: int | None, values: Mapping[str, int]) -> Section | None:
    """The section of a hotplug state by its number; None if it has none."""
    bringup = values.get("CPUHP_BRINGUP_CPU")
    teardown = values.get("CPUHP_TEARDOWN_CPU")
    if bringup is None or value is None or value < 0:
        return None
    if value <= bringup:
        return Section.PREPARE
    if teardown is None:
        return None
    return Section.STARTING if value <= teardown else Section.ONLINE


def read_static(source: CText) -> tuple[StaticEntry, ...]:
    """The entries of the static table, one for each #if alternative."""
    match = _TABLE.search(source.bare)
    split = split_arguments(source.bare, match.end() - 1) if match else None
    if split is None:
        return ()
    found = []
    for start, end in split[0]:
        entry = _ENTRY.search(source.bare, start, end)
        if entry is None:
            continue
        inner = split_arguments(source.bare, entry.end() - 1)
        fields = _fields(source, inner[0]) if inner else {}
        line = source.line(entry.start())
        guards = source.guards(entry.start())
        found.append(StaticEntry(entry[1], line, fields, guards))
    return tuple(found)


def _fields(source: CText, pieces: list[tuple[int, int]]) -> dict[str, str]:
    fields = {}
    for start, end in pieces:
        field = _FIELD.search(source.bare, start, end)
        if field:
            fields[field[1]] = source.piece((field.end(), end))
    return fields
