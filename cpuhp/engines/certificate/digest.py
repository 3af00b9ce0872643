"""One digest for one model: the same for the same system, on every machine.

The system and the claim are written down as nested lists, without what equality leaves
out (spans, texts for people), and with the members of sets in order. Parameters, whose
numbers tell only how much else was elaborated before, are numbered as they come. A sort
is written out where it comes first and is a number from there on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from functools import cache
from hashlib import sha256
from typing import Any

from cpuhp.model.expr import Param
from cpuhp.model.sorts import Sort
from cpuhp.model.system import Property, TransitionSystem


def text_digest(text: str) -> str:
    """SHA-256 of a text in UTF-8."""
    return sha256(text.encode()).hexdigest()


def model_digest(system: TransitionSystem, prop: Property) -> str:
    """SHA-256 of the canonical form of a transition system and its claim."""
    return text_digest(canonical_model(system, prop))


def canonical_model(system: TransitionSystem, prop: Property) -> str:
    """A text that is the same for the same system and claim, and for no other."""
    return _Writer().text((system, prop))


def canonical(data: object) -> str:
    """JSON without any freedom in how it is written."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


@dataclass
class _Writer:
    """Writes values down; knows the parameters and sorts that it met."""

    params: dict[str, int] = field(default_factory=dict)
    sorts: dict[Sort, int] = field(default_factory=dict)

    def text(self, value: object) -> str:
        if value is None or isinstance(value, str | int):
            return json.dumps(value)
        if isinstance(value, Enum):
            return json.dumps(value.value)
        if isinstance(value, tuple):
            return self._list(map(self.text, value))
        if isinstance(value, Param):
            number = self.params.setdefault(value.name, len(self.params))
            name = json.dumps(f"{value.name.split('#')[0]}#{number}")
            return self._list(('"Param"', name, self.text(value.sort)))
        if isinstance(value, Sort):
            return self._sort(value)
        if isinstance(value, frozenset):
            return self._list(sorted(map(self.text, value)))
        if is_dataclass(value):
            return self._record(value)
        raise TypeError(f"no canonical form of {type(value).__name__}")

    def _sort(self, sort: Sort) -> str:
        if sort in self.sorts:
            return f'["Sort",{self.sorts[sort]}]'
        self.sorts[sort] = len(self.sorts)
        return self._record(sort)

    def _record(self, value: object) -> str:
        kind: Any = type(value)
        parts = (self.text(getattr(value, name)) for name in _compared(kind))
        return self._list((f'"{kind.__name__}"', *parts))

    def _list(self, parts: Iterable[str]) -> str:
        return f"[{','.join(parts)}]"


@cache
def _compared(kind: Any) -> tuple[str, ...]:
    """The fields of a class that make two of its objects different."""
    return tuple(f.name for f in fields(kind) if f.compare)
