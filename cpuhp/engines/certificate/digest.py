"""One digest for one model: the same for the same system, on every machine.

The system and the claim are written down as nested lists, without what equality leaves
out (spans, texts for people), and with the members of sets in order.
"""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from enum import Enum
from hashlib import sha256
from typing import Any

from cpuhp.model.system import Property, TransitionSystem


def text_digest(text: str) -> str:
    """SHA-256 of a text in UTF-8."""
    return sha256(text.encode()).hexdigest()


def model_digest(system: TransitionSystem, prop: Property) -> str:
    """SHA-256 of the canonical form of a transition system and its claim."""
    return text_digest(canonical([plain(system), plain(prop)]))


def canonical(data: object) -> str:
    """JSON without any freedom in how it is written."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def plain(value: object) -> Any:
    """The value as nested lists of texts and numbers."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        kept = [f.name for f in fields(value) if f.compare]
        return [type(value).__name__, *(plain(getattr(value, n)) for n in kept)]
    if isinstance(value, tuple):
        return [plain(part) for part in value]
    if isinstance(value, frozenset):
        return sorted((plain(part) for part in value), key=canonical)
    if value is None or isinstance(value, str | int):
        return value
    raise TypeError(f"no canonical form of {type(value).__name__}")
