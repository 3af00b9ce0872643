"""Content of a sliced system: two systems with the same content have the same verdict.

That is what makes thousands of questions cheap: an option that a check cannot see, or a
slot from which a step looks the same, leads to a system that was answered before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from functools import cache

from cpuhp import __version__
from cpuhp.model.system import Property, TransitionSystem


def content_of(system: TransitionSystem, prop: Property, settings: str) -> str:
    """SHA-256 of all that a verdict depends on: no names of scenarios, spans or texts."""
    nameless = replace(system, name="")
    claim = replace(prop, check="")
    digest = hashlib.sha256(f"{__version__} {settings}".encode())
    memo: dict[int, bytes] = {}
    digest.update(_told(nameless, memo))
    digest.update(_told(claim, memo))
    return digest.hexdigest()


def _told(node: object, memo: dict[int, bytes]) -> bytes:
    """A text that is equal for equal nodes. `memo` is by identity: nodes are shared."""
    if isinstance(node, Enum):
        return node.name.encode()
    if is_dataclass(node) and not isinstance(node, type):
        known = memo.get(id(node))
        if known is None:
            parts = (_told(getattr(node, name), memo) for name in _compared(type(node)))
            text = type(node).__name__.encode() + b"(" + b",".join(parts) + b")"
            known = text if len(text) < 64 else hashlib.sha256(text).digest()
            memo[id(node)] = known
        return known
    if isinstance(node, tuple):
        return b"[" + b",".join(_told(part, memo) for part in node) + b"]"
    if isinstance(node, frozenset):
        return b"{" + b",".join(sorted(_told(part, memo) for part in node)) + b"}"
    return repr(node).encode()


@cache
def _compared(kind: type) -> tuple[str, ...]:
    """The fields that take part in equality; a span does not."""
    return tuple(_names(kind))


def _names(kind: type) -> Iterator[str]:
    for field in fields(kind):
        if field.compare:
            yield field.name
