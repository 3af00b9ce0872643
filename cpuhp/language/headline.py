"""Statements in one line, for people."""

from __future__ import annotations

import re

from cpuhp.diagnostics import Span
from cpuhp.language import tree as t

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


def headline(node: object) -> str:
    """The statement in one line, without the bodies of loops and branches."""
    span: Span = node.span  # type: ignore[attr-defined]
    text = _COMMENT.sub("", span.text)
    if isinstance(node, t.If | t.While | t.ForEach | t.Callback):
        text = _head(text) if not isinstance(node, t.Callback) else text.split("{")[0]
    text = " ".join(text.split()).rstrip(";")
    return text if len(text) <= 90 else text[:87] + "..."


def _head(text: str) -> str:
    """`if (condition)` of `if (condition) { ... }`."""
    depth = 0
    for offset, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == ")" and depth == 0:
            return text[: offset + 1]
    return text
