"""Callback expressions: from what a call passes to the function that will run."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from cpuhp.kernel.registrations.config import Config
from cpuhp.kernel.registrations.facts import is_null
from cpuhp.kernel.registrations.find import (
    Caller,
    FieldValue,
    Find,
    Wanted,
    local_definitions,
)
from cpuhp.kernel.registrations.model import MAYBE, NO, YES, Callback, Definition
from cpuhp.kernel.registrations.names import Files
from cpuhp.kernel.source.kbuild import Built, Kbuild
from cpuhp.kernel.source.text import closes, squeezed

_NAME = re.compile(r"[A-Za-z_]\w*")
_CAST = re.compile(r"\((?:[\w\s]+\*+|[\w\s]+\(\s*\*\s*\)\s*\([^()]*\))\s*\)\s*")
_FIELD = re.compile(r"(?:.*?)(\w+)\s*(?:\[[^\]]*\])?\s*(?:->|\.)\s*(\w+)")
_RANK = {YES: 0, MAYBE: 1, NO: 2}
_MAX_CANDIDATES = 16


@dataclass(frozen=True)
class Context:
    """Where an expression stands."""

    file: str
    function: str | None
    parameters: tuple[str, ...]
    guards: tuple[str, ...] = ()


@dataclass
class Known:
    """Everything found so far, and what is still wanted to make sense of it."""

    files: Files
    kbuild: Kbuild
    config: Config
    definitions: dict[str, list[Definition]] = field(default_factory=dict)
    fields: dict[str, list[FieldValue]] = field(default_factory=dict)
    callers: dict[str, list[Caller]] = field(default_factory=dict)
    local: dict[tuple[str, str], tuple[Definition, ...]] = field(default_factory=dict)
    searched: Wanted = field(default_factory=Wanted)
    wanted: Wanted = field(default_factory=Wanted)
    _built: dict[str, Built] = field(default_factory=dict)

    def add(self, finds: Iterable[Find]) -> None:
        """Takes in what a pass has found."""
        for find in finds:
            if isinstance(find, Definition):
                self.definitions.setdefault(find.name, []).append(find)
            elif isinstance(find, FieldValue):
                self.fields.setdefault(find.field, []).append(find)
            else:
                self.callers.setdefault(find.wrapper, []).append(find)

    def built(self, file: str) -> Built:
        if file not in self._built:
            self._built[file] = self.kbuild.built(file)
        return self._built[file]

    def present(self, file: str, guards: tuple[str, ...]) -> str:
        built = self.built(file)
        return self.config.present(file, guards, built.condition, built.complete)

    def want(self, wanted: Wanted) -> None:
        self.wanted = self.wanted | (wanted - self.searched)

    def defined_in(self, file: str, name: str) -> tuple[Definition, ...]:
        """Definitions in the file itself."""
        key = (file, name)
        if key not in self.local:
            parsed = self.files.parsed(file)
            names = frozenset({name})
            found = local_definitions(parsed, file, names) if parsed else ()
            self.local[key] = found
        return self.local[key]


def callback(known: Known, expression: str, context: Context) -> Callback:
    """What a callback expression stands for, as far as it is known by now."""
    text = _bare(expression)
    if not text:
        return Callback(expression, "unresolved", reason="there is no expression")
    if is_null(text):
        return Callback(expression, "null")
    if _NAME.fullmatch(text):
        if text in context.parameters:
            return Callback(expression, "parameter")
        return _function(known, expression, text, context, 0)
    choice = _branches(text)
    if choice:
        return _choice(known, expression, choice, context)
    access = _FIELD.fullmatch(text)
    if access:
        return _field(known, expression, access[1], access[2], context)
    return Callback(
        expression, "unresolved", reason=f"{expression} is not a function's name"
    )


def _bare(expression: str) -> str:
    text = expression.strip()
    while True:
        before = text
        cast = _CAST.match(text)
        if cast and cast.end() < len(text):
            text = text[cast.end() :].strip()
        text = text.removeprefix("&").strip()
        if text.startswith("(") and closes(text, 0) == len(text) - 1:
            text = text[1:-1].strip()
        if text == before:
            return text


def _branches(text: str) -> tuple[str, str] | None:
    match = re.fullmatch(r"[^?]*\?\s*([^?:]*?)\s*:\s*([^?:]*)", text)
    return (match[1], match[2]) if match else None


def _function(
    known: Known, expression: str, name: str, context: Context, depth: int
) -> Callback:
    found = known.defined_in(context.file, name)
    if not any(d.kind == "function" for d in found):
        known.want(Wanted(names=frozenset({name})))
        found = (*found, *_visible(known, name, context.file))
    distinct = dict.fromkeys(
        replace(d, present=known.present(d.file, d.guards)) for d in found
    )
    ordered = sorted(distinct, key=lambda d: _preference(d, context))
    if ordered and ordered[0].kind == "macro" and depth < 4:
        return _alias(known, expression, ordered[0], context, depth)
    if ordered:
        return Callback(
            expression, "function", name, (), ordered[0], tuple(ordered[1:])
        )
    pointer = _pointer(known, name, context)
    if pointer:
        return _choice(known, expression, pointer, context)
    return Callback(
        expression,
        "unresolved",
        name,
        reason=f"{name} is defined in no file that was read",
    )


def _visible(known: Known, name: str, file: str) -> list[Definition]:
    arch = re.match(r"arch/[^/]+/", file)
    found = known.definitions.get(name, [])
    if arch:
        # A file of one architecture cannot be linked with another one's.
        return [
            d
            for d in found
            if not d.file.startswith("arch/") or d.file.startswith(arch[0])
        ]
    return found


def _preference(
    definition: Definition, context: Context
) -> tuple[int, int, int, int, int, int, str, int]:
    folder = posixpath.dirname(context.file)
    clash = any(
        f"!{guard}" in definition.guards or f"!{other}" in context.guards
        for guard in context.guards
        for other in definition.guards
    )
    return (
        _RANK[definition.present],
        int(clash),
        int(definition.file != context.file),
        ("function", "macro", "null").index(definition.kind),
        int(not definition.file.endswith(".c")),
        int(posixpath.dirname(definition.file) != folder),
        definition.file,
        definition.line,
    )


def _alias(
    known: Known, expression: str, macro: Definition, context: Context, depth: int
) -> Callback:
    parsed = known.files.parsed(macro.file)
    bodies = parsed.source.macros.get(macro.name, ()) if parsed else ()
    body = next((m.body for m in bodies if m.line == macro.line), "")
    if not _NAME.fullmatch(body) or body == macro.name:
        reason = f"{macro.name} is a macro for {squeezed(body) or 'nothing'}"
        return Callback(expression, "unresolved", macro.name, reason=reason)
    inner = _function(known, expression, body, context, depth + 1)
    return replace(inner, alternatives=(*inner.alternatives, macro))


def _choice(
    known: Known, expression: str, values: Iterable[str], context: Context
) -> Callback:
    parts = [callback(known, value, context) for value in dict.fromkeys(values)]
    return _together(expression, "choice", parts)


def _together(expression: str, kind: str, parts: list[Callback]) -> Callback:
    names = tuple(dict.fromkeys(p.function for p in parts if p.function))
    places = [d for p in parts if p.definition for d in (p.definition, *p.alternatives)]
    reasons = [p.reason for p in parts if p.kind == "unresolved" and p.reason]
    if not names or reasons:
        reason = reasons[0] if reasons else f"{expression} has no known value"
        return Callback(expression, "unresolved", None, names, reason=reason)
    only = names[0] if len(names) == 1 and len(parts) == 1 else None
    places.sort(key=lambda d: _RANK[d.present])
    return Callback(expression, kind, only, names, places[0], tuple(places[1:]))


def _field(
    known: Known, expression: str, owner: str, name: str, context: Context
) -> Callback:
    known.want(Wanted(fields=frozenset({name})))
    if name not in known.searched.fields:
        return Callback(expression, "field")
    found = known.fields.get(name, [])
    structure = _structure(known, context.file, owner)
    if structure is not None:
        found = [f for f in found if f.structure == structure]
    parts = [
        callback(known, f.value, Context(f.file, None, ()))
        for f in dict.fromkeys(found)
    ]
    if not parts or len(parts) > _MAX_CANDIDATES:
        some = f"{len(parts)} initialisers" if parts else "no initialiser"
        reason = f"{some} of .{name} in this tree could be meant"
        return Callback(expression, "unresolved", reason=reason)
    return _together(expression, "field", parts)


def _structure(known: Known, file: str, variable: str) -> str | None:
    parsed = known.files.parsed(file)
    if parsed is None:
        return None
    pattern = rf"\bstruct\s+(\w+)\s*\**\s*(?:\w+\s+)*\**{re.escape(variable)}\b"
    match = re.search(pattern, parsed.source.bare)
    return match[1] if match else None


def _pointer(known: Known, name: str, context: Context) -> list[str]:
    parsed = known.files.parsed(context.file)
    if parsed is None:
        return []
    where = next((f for f in parsed.functions if f.name == context.function), None)
    if where is None:
        return []
    body = parsed.source.code[where.start : where.end]
    if not re.search(rf"\(\s*\*\s*{re.escape(name)}\s*\)\s*\(", body):
        return []
    pattern = rf"\b{re.escape(name)}\s*(?:\)\s*\([^()]*\)\s*)?=(?!=)\s*([^;,]*)[;,]"
    values = [squeezed(v) for v in re.findall(pattern, body)]
    return [value for value in values if value != name][:_MAX_CANDIDATES]
