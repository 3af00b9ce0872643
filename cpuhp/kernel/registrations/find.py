"""The two passes over a whole tree: who registers, and where things are defined."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cpuhp.kernel.registrations.facts import (
    FileFacts,
    definitions_of,
    macro_definitions,
    read_facts,
)
from cpuhp.kernel.registrations.model import Definition, Note
from cpuhp.kernel.source.syntax import Parsed, text_functions
from cpuhp.kernel.source.text import CText
from cpuhp.kernel.source.tree import Tree, shown

# What may be defined: the first name before "(" in a line that starts in the first
# column, and the name of a macro.
HEADS = re.compile(
    rb"^(?:#[ \t]*define[ \t]+(\w+)|(?:[A-Za-z_][\w \t*]*?[ \t*])?(\w+)[ \t]*\()",
    re.MULTILINE,
)
_INITIALISER = re.compile(r"\bstruct\s+(\w+)\s+(\w+)[^;={}()]*=\s*\{")
_MAX_FINDS = 64  # in one file


@dataclass(frozen=True)
class Wanted:
    """What the second pass looks for; `words` are anything worth a look at a file."""

    names: frozenset[str] = frozenset()
    fields: frozenset[str] = frozenset()
    callers: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.names or self.fields or self.callers)

    def __or__(self, other: Wanted) -> Wanted:
        return Wanted(
            self.names | other.names,
            self.fields | other.fields,
            self.callers | other.callers,
        )

    def __sub__(self, other: Wanted) -> Wanted:
        return Wanted(
            self.names - other.names,
            self.fields - other.fields,
            self.callers - other.callers,
        )


@dataclass(frozen=True)
class FieldValue:
    """`.field = value` in an initialiser of `struct structure`, where known."""

    field: str
    structure: str | None
    value: str
    file: str
    line: int


@dataclass(frozen=True)
class Caller:
    """One call of a wrapper, with the expressions that it passes."""

    wrapper: str
    arguments: tuple[str, ...]
    file: str
    line: int
    enclosing: str | None
    parameters: tuple[str, ...]
    guards: tuple[str, ...]


Find = Definition | FieldValue | Caller


def registrations(tree: Tree, files: Sequence[str]) -> list[FileFacts | Note]:
    """First pass: the facts of every file that registers hotplug callbacks."""
    found: list[FileFacts | Note] = []
    for path in files:
        data, reason = tree.listed(path)
        if data is None:
            found.append(Note(shown(path), f"not read: {reason}"))
            continue
        if b"cpuhp_" not in data:
            continue
        facts = read_facts(path, data)
        if facts is not None:
            found.append(facts)
    return found


def search(tree: Tree, files: Sequence[str], wanted: Wanted) -> list[Find]:
    """Second pass: definitions, initialisers and calls of what is wanted."""
    names = frozenset(name.encode() for name in wanted.names)
    words = [name.encode() for name in sorted(wanted.fields | wanted.callers)]
    found: list[Find] = []
    for path in files:
        data, _ = tree.listed(path)
        if data is None:
            continue
        heads: frozenset[str] = frozenset()
        if names:
            seen = {a or b for a, b in HEADS.findall(data)}
            heads = frozenset(name.decode() for name in names & seen)
        if heads or any(word in data for word in words):
            found += search_file(path, data, wanted, heads)
    return found


def search_file(
    path: str, data: bytes, wanted: Wanted, heads: frozenset[str]
) -> list[Find]:
    """What one file has of the wanted; `heads` are the names it may define."""
    parsed = Parsed.of(data)
    found: list[Find] = []
    if heads:
        found += _foreign_definitions(parsed, path, heads)
    for field in sorted(wanted.fields):
        found += _field_values(parsed.source, path, field)
    for name in sorted(wanted.callers):
        found += _callers(parsed, path, name)
    return found


def local_definitions(
    parsed: Parsed, path: str, names: frozenset[str]
) -> tuple[Definition, ...]:
    """Definitions in the very file that uses the names, static ones included."""
    return definitions_of(parsed, path, names)


def _foreign_definitions(
    parsed: Parsed, path: str, names: frozenset[str]
) -> list[Definition]:
    source = parsed.source
    found: list[Definition] = []
    for function in text_functions(source, names):
        if function.static and path.endswith(".c"):
            continue  # invisible outside its file
        guards = source.guards(function.start)
        found.append(Definition(function.name, path, function.line, "function", guards))
    return found + macro_definitions(parsed, path, names)


def _field_values(source: CText, path: str, field: str) -> list[FieldValue]:
    found = []
    pattern = re.compile(rf"\.\s*{re.escape(field)}\s*=\s*&?\s*(\w+)")
    for match in list(pattern.finditer(source.bare))[:_MAX_FINDS]:
        before = source.bare[max(0, match.start() - 8000) : match.start()]
        structure = None
        for head in _INITIALISER.finditer(before):
            structure = None if "\n}" in before[head.end() :] else head[1]
        line = source.line(match.start())
        found.append(FieldValue(field, structure, match[1], path, line))
    return found


def _callers(parsed: Parsed, path: str, name: str) -> list[Caller]:
    source = parsed.source
    found: list[Caller] = []
    for match in re.finditer(rf"\b{re.escape(name)}\b\s*\(", source.bare):
        if len(found) >= _MAX_FINDS:
            break
        where = parsed.enclosing(match.start())
        if where is None or where.name == name:
            continue
        split = source.arguments(match.end() - 1)
        if split is None:
            continue
        found.append(
            Caller(
                name,
                tuple(source.piece(span) for span in split[0]),
                path,
                source.line(match.start()),
                where.name,
                where.parameters,
                source.guards(match.start()),
            )
        )
    return found
