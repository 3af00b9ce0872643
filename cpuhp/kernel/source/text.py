"""C source as text: comments masked, conditionals tracked, arguments split.

This is the half of the reading that no macro can derail. Texts are latin-1 decoded
bytes, so a character offset here is a byte offset for tree-sitter, too.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

_TOKENS = re.compile(
    r"/\*.*?(?:\*/|\Z)|//(?:\\\n|[^\n])*"
    r"|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])+'",
    re.DOTALL,
)
_NOT_NEWLINE = re.compile(r"[^\n]")
_DIRECTIVE = re.compile(
    r"^[ \t]*#[ \t]*(if|ifdef|ifndef|elif|elifdef|elifndef|else|endif)\b"
    r"((?:\\\n|[^\n])*)",
    re.MULTILINE,
)
_CONSTANT = re.compile(
    r"^[ \t]*#[ \t]*(?:el)?if\b(?:\\\n|[^\n])*?\b[01]U?L*\b", re.MULTILINE
)
_VALUE = re.compile(r"([01])[UL]*")
_DEFINE = re.compile(
    r"^[ \t]*#[ \t]*define[ \t]+(\w+)(\([^()\n]*\))?((?:\\\n|[^\n])*)", re.MULTILINE
)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.MULTILINE)
_OPEN = {"(": ")", "[": "]", "{": "}"}
_GUARD = re.compile(r"\s*#[ \t]*define[ \t]+(\w+)")
MAX_NESTING = 100  # conditionals inside each other that are told apart
MAX_CONDITION = 1000  # characters of a condition that is looked into
MAX_ARGUMENTS = 20_000  # characters of one argument list


def decoded(text: str) -> str:
    """A piece of latin-1 text as the UTF-8 that the kernel's sources are in."""
    return text.encode("latin-1", "replace").decode("utf-8", "replace")


def squeezed(text: str) -> str:
    """`text` with line continuations gone and every run of space made one."""
    return " ".join(text.replace("\\\n", " ").split())


@dataclass(frozen=True)
class Macro:
    """`#define name(parameters) body` at a line, under some conditions."""

    name: str
    parameters: tuple[str, ...] | None
    body: str
    line: int
    start: int
    end: int
    guards: tuple[str, ...]


@dataclass(frozen=True)
class CText:
    """One C file; `text` keeps all characters at their byte offsets."""

    text: str

    @classmethod
    def of(cls, data: bytes) -> CText:
        return cls(data.decode("latin-1"))

    @cached_property
    def code(self) -> str:
        """The text with comments blanked."""
        return _TOKENS.sub(_blank_comment, self.text)

    @cached_property
    def bare(self) -> str:
        """The text with comments and the insides of literals blanked."""
        return _TOKENS.sub(_blank_all, self.text)

    @cached_property
    def compiled(self) -> CText:
        """The file without the branches that `#if 0` and `#if 1` leave out.

        They are blanked, comments and all, so that every offset stays as it is.
        """
        text, at, kept = self.text, 0, []
        for start, end in _left_out(self.code, self.bare):
            kept += [text[at:start], _NOT_NEWLINE.sub(" ", text[start:end])]
            at = end
        return CText("".join((*kept, text[at:]))) if kept else self

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0] + [match.end() for match in re.finditer("\n", self.text)]

    def line(self, offset: int) -> int:
        """The line, from 1, of an offset."""
        return bisect_right(self._line_starts, offset)

    @cached_property
    def _conditions(self) -> tuple[list[int], list[tuple[str, ...]]]:
        return _conditions(self.code, self.bare)

    def guards(self, offset: int) -> tuple[str, ...]:
        """The preprocessor conditions around an offset, outermost first."""
        starts, stacks = self._conditions
        return stacks[bisect_right(starts, offset) - 1]

    @cached_property
    def macros(self) -> dict[str, tuple[Macro, ...]]:
        """All `#define`s by name, in the order of the file."""
        found: dict[str, list[Macro]] = {}
        for match in _DEFINE.finditer(self.code):
            name, parameters, body = match.groups()
            names = None
            if parameters is not None:
                inner = parameters[1:-1].strip()
                names = tuple(p.strip() for p in inner.split(",")) if inner else ()
            macro = Macro(
                name,
                names,
                squeezed(body),
                self.line(match.start(1)),
                match.start(),
                match.end(),
                self.guards(match.start(1)),
            )
            found.setdefault(name, []).append(macro)
        return {name: tuple(macros) for name, macros in found.items()}

    @cached_property
    def includes(self) -> tuple[tuple[str, str], ...]:
        """`("<" or '"', path)` of every include."""
        return tuple((m[1], m[2]) for m in _INCLUDE.finditer(self.code))

    def arguments(self, opening: int) -> tuple[list[tuple[int, int]], int] | None:
        """Spans of the comma-separated pieces after the bracket at `opening`.

        Also the offset just past the closing bracket. None if it never closes.
        """
        return split_arguments(self.bare, opening)

    def piece(self, span: tuple[int, int]) -> str:
        """The code in a span, comments gone, on one line."""
        return decoded(squeezed(self.code[span[0] : span[1]]))


def split_arguments(
    bare: str, opening: int
) -> tuple[list[tuple[int, int]], int] | None:
    """The comma-separated spans inside the bracket at `opening`, and its end."""
    stack = [_OPEN[bare[opening]]]
    pieces: list[tuple[int, int]] = []
    start = opening + 1
    for offset in range(start, min(len(bare), opening + MAX_ARGUMENTS)):
        char = bare[offset]
        if char in _OPEN:
            stack.append(_OPEN[char])
        elif char == stack[-1]:
            stack.pop()
            if not stack:
                if bare[start:offset].strip() or pieces:
                    pieces.append((start, offset))
                return pieces, offset + 1
        elif char in ")]}":
            return None
        elif char == "," and len(stack) == 1:
            pieces.append((start, offset))
            start = offset + 1
    return None


def string_value(expression: str) -> str | None:
    """The value of adjacent string literals; None for anything else."""
    rest = expression.strip()
    while rest.startswith("(") and rest.endswith(")"):
        rest = rest[1:-1].strip()
    parts = []
    while rest:
        match = re.match(r'"((?:\\.|[^"\\])*)"\s*', rest)
        if not match:
            return None
        parts.append(match[1])
        rest = rest[match.end() :]
    if not parts:
        return None
    escapes = {"\\n": "\n", "\\t": "\t", '\\"': '"', "\\\\": "\\"}
    return re.sub(r"\\.", lambda m: escapes.get(m[0], m[0]), "".join(parts))


def _blank_comment(match: re.Match[str]) -> str:
    token = match[0]
    return _NOT_NEWLINE.sub(" ", token) if token[0] == "/" else token


def _blank_all(match: re.Match[str]) -> str:
    token = match[0]
    if token[0] == "/":
        return _NOT_NEWLINE.sub(" ", token)
    return token[0] + _NOT_NEWLINE.sub("_", token[1:-1]) + token[-1]


def _left_out(code: str, bare: str) -> Iterator[tuple[int, int]]:
    """Spans that no configuration compiles, in order."""
    if not _CONSTANT.search(code):
        return
    frames: list[tuple[bool, bool]] = []  # is a branch left out, are those after it
    depth, start = 0, 0  # conditionals around that leave out, and since where
    for match in _DIRECTIVE.finditer(code):
        if bare[match.start(1) : match.end(1)] != match[1]:
            continue  # inside a string
        word, was = match[1], depth
        ends = not word.startswith("if")
        if ends and not frames:
            continue
        out, taken = frames.pop() if ends else (False, False)
        depth -= out
        if word != "endif":
            value = _truth(squeezed(match[2])) if word in ("if", "elif") else None
            frames.append((taken or value is False, taken or value is True))
            depth += frames[-1][0]
        if depth and not was:
            start = match.end()
        elif was and not depth:
            yield start, match.start()


def _truth(condition: str, depth: int = 0) -> bool | None:
    """What a condition is in every configuration; None if they differ, or nobody knows."""
    text = condition.strip()
    if depth > MAX_NESTING or len(text) > MAX_CONDITION or "?" in text:
        return None
    for operator, decisive in (("||", True), ("&&", False)):
        parts = _split(text, operator)
        if len(parts) > 1:
            values = {_truth(part, depth + 1) for part in parts}
            if decisive in values:
                return decisive
            return None if None in values else not decisive
    if text.startswith("!"):
        inner = _truth(text[1:], depth + 1)
        return None if inner is None else not inner
    if text.startswith("(") and closes(text, 0) == len(text) - 1:
        return _truth(text[1:-1], depth + 1)
    value = _VALUE.fullmatch(text)
    return value[1] == "1" if value else None


def _split(text: str, operator: str) -> list[str]:
    """The operands of an operator that stands in no parentheses."""
    parts, start, at = [], 0, 0
    while at < len(text):
        if text[at] == "(":
            at = closes(text, at)
        elif text.startswith(operator, at):
            parts.append(text[start:at])
            at += 1
            start = at + 1
        at += 1
    return [*parts, text[start:]]


def closes(text: str, opening: int, pair: str = "()") -> int:
    """Where the bracket closes that opens there; behind the text if it does not."""
    opens, ends = pair[0], pair[1]
    depth = 0
    for at in range(opening, len(text)):
        depth += (text[at] == opens) - (text[at] == ends)
        if not depth:
            return at
    return len(text)


def _conditions(code: str, bare: str) -> tuple[list[int], list[tuple[str, ...]]]:
    starts: list[int] = [0]
    stacks: list[tuple[str, ...]] = [()]
    frames: list[list[str]] = []  # the branches of each open conditional so far
    terms: list[str] = []  # what each of them says at this point
    for match in _DIRECTIVE.finditer(code):
        if bare[match.start(1) : match.end(1)] != match[1]:
            continue  # inside a string
        word, rest = match[1], decoded(squeezed(match[2]))
        if word in ("if", "ifdef", "ifndef"):
            frames.append([_condition(word, rest, code, match.end())])
            terms.append(_taken(frames[-1]))
        elif word == "endif":
            if frames:
                frames.pop()
                terms.pop()
        elif frames and len(frames[-1]) < MAX_NESTING:
            branch = "" if word == "else" else _condition(word[2:], rest, code, 0)
            frames[-1].append(branch)
            terms[-1] = _taken(frames[-1])
        starts.append(match.end())
        stacks.append(tuple(term for term in terms[:MAX_NESTING] if term))
    return starts, stacks


def _condition(word: str, rest: str, code: str, end: int) -> str:
    if word in ("ifdef", "def"):
        return _defined(rest.split(" ")[0])
    if word in ("ifndef", "ndef"):
        name = rest.split(" ")[0]
        defined = _GUARD.match(code, end) if end else None
        if defined and defined[1] == name:
            return ""  # a guard against double inclusion says nothing
        return f"!{_defined(name)}"
    return rest


def _defined(name: str) -> str:
    return name if name.startswith("CONFIG_") else f"defined({name})"


def _taken(frame: list[str]) -> str:
    before = [_negated(branch) for branch in frame[:-1] if branch]
    terms = before + ([frame[-1]] if frame[-1] else [])
    if len(terms) > 1:
        terms = [f"({t})" if re.search(r"\|\||\?", t) else t for t in terms]
    return " && ".join(terms)


def _negated(condition: str) -> str:
    if re.fullmatch(r"!(\w+|\w+\(\w+\))", condition):
        return condition[1:]
    if re.fullmatch(r"\w+|\w+\s?\(\w+\)", condition):
        return f"!{condition}"
    return f"!({condition})"
