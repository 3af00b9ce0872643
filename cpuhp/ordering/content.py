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
from typing import Any

from cpuhp.edition import edition
from cpuhp.model.expr import Param
from cpuhp.model.sorts import Sort
from cpuhp.model.system import Property, TransitionSystem


def content_of(system: TransitionSystem, prop: Property, settings: str) -> str:
    """SHA-256 of all that a verdict depends on: no names of scenarios, spans or texts.

    Bound names count by where they first appear: each elaboration makes them up anew.
    """
    nameless = replace(system, name="")
    claim = replace(prop, check="")
    digest = hashlib.sha256(f"{edition()} {settings}".encode())
    sorts: dict[int, bytes] = {}
    for name in _compared_of(nameless):
        value = getattr(nameless, name)
        digest.update(name.encode())
        for part in value if isinstance(value, tuple) else (value,):
            digest.update(_Teller(sorts).told(part))
    digest.update(_Teller(sorts).told(claim))
    return digest.hexdigest()


class _Teller:
    """Tells one part of a system. `sorts` are known by identity, and name nothing."""

    def __init__(self, sorts: dict[int, bytes]):
        self.sorts = sorts
        self.memo: dict[int, bytes] = {}  # by identity: nodes are shared
        self.names: dict[str, int] = {}

    def told(self, node: object) -> bytes:
        """A text that is equal for equal nodes."""
        if isinstance(node, Enum):
            return node.name.encode()
        if isinstance(node, Param):
            number = self.names.setdefault(node.name, len(self.names))
            return b"<%d %s>" % (number, self.told(node.sort))
        if is_dataclass(node) and not isinstance(node, type):
            memo = self.sorts if isinstance(node, Sort) else self.memo
            known = memo.get(id(node))
            if known is None:
                known = memo[id(node)] = self.fields(node)
            return known
        if isinstance(node, tuple):
            return b"[" + b",".join([self.told(part) for part in node]) + b"]"
        if isinstance(node, frozenset):
            return b"{" + b",".join(sorted(self.told(part) for part in node)) + b"}"
        return repr(node).encode()

    def fields(self, node: object) -> bytes:
        parts = [self.told(getattr(node, name)) for name in _compared_of(node)]
        text = type(node).__name__.encode() + b"(" + b",".join(parts) + b")"
        return text if len(text) < 64 else hashlib.sha256(text).digest()


def _compared_of(node: object) -> tuple[str, ...]:
    kind: Any = type(node)
    return _compared(kind)


@cache
def _compared(kind: Any) -> tuple[str, ...]:
    """The fields that take part in equality; a span does not."""
    return tuple(_names(kind))


def _names(kind: Any) -> Iterator[str]:
    for field in fields(kind):
        if field.compare:
            yield field.name
