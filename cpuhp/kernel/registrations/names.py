"""Constants by name: what string, or which hotplug state, does an expression mean?"""

from __future__ import annotations

import posixpath
import re
from collections import OrderedDict
from dataclasses import dataclass, field

from cpuhp.kernel.registrations.config import Config
from cpuhp.kernel.registrations.model import NO
from cpuhp.kernel.source.syntax import Parsed
from cpuhp.kernel.source.text import Macro, decoded, squeezed, string_value
from cpuhp.kernel.source.tree import Tree

_PIECE = re.compile(r'\s*("(?:\\.|[^"\\])*"|[A-Za-z_]\w*)\s*')
# An allocation by format; a format that is alone and has no % is the string.
_PRINTED = re.compile(r"(?:devm_)?kasprintf(?:_const)?\s*\(.*,\s*([^,()]+)\)")
_MAX_DEPTH = 8
_MAX_CACHED = 64
_MAX_HEADERS = 60


@dataclass(frozen=True)
class Meaning:
    """A value, or the sentence why there is none."""

    value: str | None
    reason: str | None = None


@dataclass
class Files:
    """Files of a tree, parsed when first needed and kept in bounded number."""

    tree: Tree
    config: Config = field(default_factory=Config)
    _cache: OrderedDict[str, Parsed | None] = field(default_factory=OrderedDict)

    def parsed(self, path: str) -> Parsed | None:
        """The file, or None if it cannot be read."""
        if path in self._cache:
            self._cache.move_to_end(path)
            return self._cache[path]
        data = self.tree.read(path)
        parsed = None if data is None else Parsed.of(data)
        self._cache[path] = parsed
        if len(self._cache) > _MAX_CACHED:
            self._cache.popitem(last=False)
        return parsed

    def macro(self, path: str, name: str) -> Macro | None:
        """The object-like macro that `name` is in a file or the headers it takes in."""
        for file in (path, *self._headers(path)):
            parsed = self.parsed(file)
            if parsed is None:
                continue
            plain = [
                macro
                for macro in parsed.source.macros.get(name, ())
                if macro.parameters is None
            ]
            built = [m for m in plain if self.config.present(file, m.guards) != NO]
            if plain:
                return (built or plain)[0]
        return None

    def _headers(self, path: str) -> list[str]:
        found: list[str] = []
        pending = [path]
        while pending and len(found) < _MAX_HEADERS:
            current = pending.pop(0)
            parsed = self.parsed(current)
            if parsed is None:
                continue
            for style, name in parsed.source.includes:
                header = self._header(current, style, name)
                if header and header not in found:
                    found.append(header)
                    if style == '"':
                        pending.append(header)
        return found[:_MAX_HEADERS]

    def _header(self, path: str, style: str, name: str) -> str | None:
        folder = posixpath.dirname(path)
        places = [f"include/{name}"]
        arch = re.match(r"arch/[^/]+/", path)
        if arch:
            places.insert(0, f"{arch[0]}include/{name}")
        if style == '"':
            places.insert(0, posixpath.normpath(posixpath.join(folder, name)))
        for place in places:
            if not place.startswith("..") and self.tree.has(place):
                return place
        return None


def string_of(
    files: Files, path: str, function: str | None, expression: str
) -> Meaning:
    """The string that an expression in a function of a file stands for."""
    return _string(files, path, function, expression, 0)


def _string(
    files: Files, path: str, function: str | None, expression: str, depth: int
) -> Meaning:
    plain = string_value(expression)
    if plain is not None:
        return Meaning(plain)
    if depth > _MAX_DEPTH:
        return Meaning(None, f"{expression} is defined by way of itself")
    text, parts, at = expression.strip(), [], 0
    while at < len(text):
        match = _PIECE.match(text, at)
        if match is None:
            return Meaning(None, f"{text} is not a constant string")
        at = match.end()
        word = match[1]
        if word.startswith('"'):
            parts.append(string_value(word) or "")
            continue
        meaning = _named(files, path, function, word, depth)
        if meaning.value is None:
            return meaning
        parts.append(meaning.value)
    return Meaning("".join(parts)) if parts else Meaning(None, "there is no name")


def _named(
    files: Files, path: str, function: str | None, name: str, depth: int
) -> Meaning:
    macro = files.macro(path, name)
    if macro is not None and macro.body:
        return _string(files, path, function, macro.body, depth + 1)
    parsed = files.parsed(path)
    if parsed is None:
        return Meaning(None, f"{name} is not defined in this file")
    made = _assigned(files, path, parsed, function, name, depth)
    if made is not None:
        return made
    array = re.compile(
        rf"\bchar\b[\w\s*]*?\b{re.escape(name)}\s*(?:\[[^\]]*\])?[\w\s]*=\s*([^;]*);"
    )
    for match in array.finditer(parsed.source.code):
        body = decoded(squeezed(match[1])).strip("{} ")
        return _string(files, path, function, body, depth + 1)
    return Meaning(None, f"{name} is not defined in this file or in its headers")


def _assigned(
    files: Files,
    path: str,
    parsed: Parsed,
    function: str | None,
    name: str,
    depth: int,
) -> Meaning | None:
    where = next((f for f in parsed.functions if f.name == function), None)
    if where is None:
        return None
    body = parsed.source.code[where.start : where.end]
    found = re.findall(rf"(?<![\w.>]){re.escape(name)}\s*=(?!=)\s*([^;]*);", body)
    if not found:
        if name in where.parameters:
            return Meaning(None, f"{name} is a parameter of {function}()")
        return None
    values = [string_value(squeezed(text)) for text in found]
    if None not in values and len(set(values)) == 1:
        return Meaning(values[0])
    shown = decoded(squeezed(found[-1]))
    printed = _PRINTED.fullmatch(squeezed(found[0])) if len(found) == 1 else None
    if printed and depth <= _MAX_DEPTH:
        form = _string(files, path, None, printed[1], depth + 1).value
        if form is not None and "%" not in form:
            return Meaning(form)
    return Meaning(None, f"{name} is made at run time, by {shown}")
