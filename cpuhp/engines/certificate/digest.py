"""One digest for one model: the same for the same system, on every machine.

The system and the claim are written down as nested lists, without what equality leaves
out (spans, texts for people), and with the members of sets in order. Parameters, whose
numbers tell only how much else was elaborated before, are numbered as they come.
"""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from enum import Enum
from hashlib import sha256
from typing import Any

from cpuhp.model.expr import Param
from cpuhp.model.system import Property, TransitionSystem


def text_digest(text: str) -> str:
    """SHA-256 of a text in UTF-8."""
    return sha256(text.encode()).hexdigest()


def model_digest(system: TransitionSystem, prop: Property) -> str:
    """SHA-256 of the canonical form of a transition system and its claim."""
    return text_digest(canonical(plain((system, prop))))


def canonical(data: object) -> str:
    """JSON without any freedom in how it is written."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def plain(value: object) -> Any:
    """The value as nested lists of texts and numbers."""
    return _plain(value, {})


def _plain(value: object, params: dict[str, str]) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Param):
        name = params.setdefault(value.name, f"{value.name.split('#')[0]}#{len(params)}")
        return ["Param", name, _plain(value.sort, params)]
    if is_dataclass(value) and not isinstance(value, type):
        kept = [f.name for f in fields(value) if f.compare]
        return [type(value).__name__, *(_plain(getattr(value, n), params) for n in kept)]
    if isinstance(value, tuple):
        return [_plain(part, params) for part in value]
    if isinstance(value, frozenset):
        return sorted((_plain(part, params) for part in value), key=canonical)
    if value is None or isinstance(value, str | int):
        return value
    raise TypeError(f"no canonical form of {type(value).__name__}")
