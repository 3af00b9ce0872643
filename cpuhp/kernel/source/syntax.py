"""Calls, functions and initialisers of a C file, by tree-sitter.

tree-sitter is imported when first needed: a start without it must stay fast.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

from cpuhp.kernel.source.text import CText, squeezed

if TYPE_CHECKING:
    from tree_sitter import Node, Parser, Tree

_NAME = re.compile(r"[A-Za-z_]\w*")
MAX_PARSED = 4 << 20  # bytes; beyond that only the text is read
_NOT_FUNCTIONS = frozenset(
    {"if", "for", "while", "switch", "return", "sizeof", "defined", "do", "else"}
)


@dataclass(frozen=True)
class Function:
    """A function definition: `line` is the line of its name."""

    name: str
    parameters: tuple[str, ...]
    line: int
    start: int
    end: int
    static: bool
    parsed: bool  # False if tree-sitter lost it and the text search found it


@cache
def parser() -> Parser:
    """The one C parser of this process."""
    import tree_sitter
    import tree_sitter_c

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_c.language()))


@dataclass(frozen=True)
class Parsed:
    """One C file, as text and as tree."""

    data: bytes
    source: CText

    @classmethod
    def of(cls, data: bytes) -> Parsed:
        return cls(data, CText.of(data))

    @cached_property
    def tree(self) -> Tree:
        """The syntax tree; empty for a file that is too large to be real."""
        return parser().parse(self.data if len(self.data) <= MAX_PARSED else b"")

    @cached_property
    def functions(self) -> tuple[Function, ...]:
        """All function definitions, by position.

        The look of a definition in the text is more robust than its parse where
        macros stand between functions; tree-sitter adds what looks unusual.
        """
        found = {f.start: f for f in text_functions(self.source)}
        covered = sorted((f.start, f.end) for f in found.values())
        for function in self._tree_functions():
            at = bisect_left(covered, (function.end, 0))
            if at == 0 or covered[at - 1][1] <= function.start:
                found[function.start] = function
        return tuple(found[start] for start in sorted(found))

    def _tree_functions(self) -> Iterator[Function]:
        for node in _of_type(self.tree.root_node, "function_definition", top=True):
            declarator = _function_declarator(node)
            if declarator is None:
                continue
            name = _declared_name(declarator)
            if name is None:
                continue
            text = self.source.text
            head = text[node.start_byte : declarator.start_byte]
            yield Function(
                text[name.start_byte : name.end_byte],
                _parameters(declarator, text),
                self.source.line(name.start_byte),
                node.start_byte,
                node.end_byte,
                bool(re.search(r"\bstatic\b", head)),
                True,
            )

    def enclosing(self, offset: int) -> Function | None:
        """The function whose body holds an offset."""
        inside = [f for f in self.functions if f.start <= offset < f.end]
        if not inside:
            return None
        return max(inside, key=lambda f: f.start)

    def call_at(self, offset: int) -> Node | None:
        """The call expression whose function name starts at an offset."""
        if len(self.data) > MAX_PARSED:
            return None
        node = self.tree.root_node.descendant_for_byte_range(offset, offset + 1)
        while node is not None and node.start_byte == offset:
            if node.type == "call_expression":
                return node
            node = node.parent
        return None


def named_nodes(node: Node, kind: str) -> Iterator[Node]:
    """All descendants of a type, in no particular order."""
    return _of_type(node, kind, top=False)


def _of_type(root: Node, kind: str, *, top: bool) -> Iterator[Node]:
    pending = [root]
    while pending:
        node = pending.pop()
        if node.type == kind:
            yield node
            if top and not node.has_error:
                continue
        if top and node.type in ("declaration", "type_definition", "comment"):
            continue
        pending.extend(node.children)


def _function_declarator(node: Node) -> Node | None:
    inner = node.child_by_field_name("declarator")
    while inner is not None and inner.type != "function_declarator":
        inner = inner.child_by_field_name("declarator") or next(
            (c for c in inner.named_children if c.type.endswith("declarator")), None
        )
    return inner


def _declared_name(declarator: Node) -> Node | None:
    inner = declarator.child_by_field_name("declarator")
    while inner is not None and inner.type != "identifier":
        inner = inner.child_by_field_name("declarator") or next(
            (c for c in inner.named_children if c.type.endswith("declarator")), None
        )
    return inner


def _parameters(declarator: Node, text: str) -> tuple[str, ...]:
    listed = declarator.child_by_field_name("parameters")
    if listed is None:
        return ()
    return tuple(
        parameter_name(text[node.start_byte : node.end_byte])
        for node in listed.named_children
        if node.type == "parameter_declaration"
    )


def parameter_name(declaration: str) -> str:
    """The name that a parameter declaration declares; '' if it declares none."""
    pointer = re.search(r"\(\s*\*\s*(?:\w+\s+)*(\w+)\s*\)", declaration)
    if pointer:
        return pointer[1]
    names = _NAME.findall(re.sub(r"\[[^\]]*\]", "", declaration))
    return names[-1] if len(names) > 1 else ""


# A definition starts in the first column and its name is followed by "(".
_HEAD = re.compile(r"^(?![ \t#/*{}])(?:[\w \t*]*[ \t*\n])?(\w+)[ \t]*\(", re.MULTILINE)
_MAX_ATTRIBUTES = 4  # with arguments, before the name of a function
_BODY = re.compile(r"(?:\s*\b__\w+\b(?:\([^()]*\))?){0,8}\s*\{")
# What may stand between an attribute, __printf(1, 2) say, and the next name.
_AFTER = re.compile(r"[\w \t*\n]*[ \t*\n](\w+)[ \t]*\(")


def text_functions(
    source: CText, names: frozenset[str] | None = None
) -> Iterator[Function]:
    """Function definitions by their look in the text; all, or those named."""
    bare = source.bare
    for match in _HEAD.finditer(bare):
        name = match[1]
        unwanted = names is not None and name not in names
        if name in _NOT_FUNCTIONS or (unwanted and not name.startswith("__")):
            continue
        start = match.start()
        split = source.arguments(match.end() - 1)
        for _ in range(_MAX_ATTRIBUTES):
            attribute = split is not None and name.startswith("__")
            following = _AFTER.match(bare, split[1]) if attribute and split else None
            if following is None:
                break
            match, name = following, following[1]
            split = source.arguments(match.end() - 1)
        if split is None or (names is not None and name not in names):
            continue
        pieces, after = split
        body = _BODY.match(bare, after)
        if not body:
            continue
        end = _body_end(bare, body.end())
        head = bare[start : match.start(1)]
        yield Function(
            name,
            tuple(parameter_name(squeezed(bare[a:b])) for a, b in pieces),
            source.line(match.start(1)),
            start,
            end,
            bool(re.search(r"\bstatic\b", head)),
            False,
        )


def _body_end(bare: str, inside: int) -> int:
    newline = bare.find("\n", inside)
    line = bare[inside:newline]
    depth = 1
    for offset, char in enumerate(line, inside):
        depth += (char == "{") - (char == "}")
        if depth == 0:
            return offset + 1
    end = bare.find("\n}", inside - 1)
    return len(bare) if end < 0 else end + 2
