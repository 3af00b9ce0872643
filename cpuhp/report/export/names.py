"""Safe identifiers for names of specs, and safe comments for texts of specs.

Whoever reads a spec of somebody else must not run his code: nothing of it reaches an
exported model but letters, digits and underscores, and comments that cannot end early.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)

_UNSAFE = re.compile(r"[^A-Za-z0-9]+")
_MOST = 48  # characters of a name that are kept


def identifiers(names: Iterable[tuple[Key, str]], prefix: str) -> dict[Key, str]:
    """An identifier for every key, made of the key's name.

    The prefix keeps it from being a keyword. Two of them never differ in the case of
    letters alone.
    """
    found: dict[Key, str] = {}
    taken: set[str] = set()
    for key, name in names:
        if key in found:
            continue
        stem = f"{prefix}_{_UNSAFE.sub('_', name).strip('_')[:_MOST]}".rstrip("_")
        choice, number = stem, 2
        while choice.lower() in taken:
            choice, number = f"{stem}_{number}", number + 1
        taken.add(choice.lower())
        found[key] = choice
    return found


def comment(text: str, most: int = 120) -> str:
    """The text on one line, of printable ASCII, without what begins or ends comments."""
    shown = "".join(c if " " <= c <= "~" else " " for c in text)
    shown = re.sub(r"[\\\"#`]", "'", " ".join(shown.split())).replace("*", "x")
    for pair in ("//", "--", "??"):  # comments of two languages; trigraphs
        while pair in shown:
            shown = shown.replace(pair, " ".join(pair))
    return shown if len(shown) <= most else shown[: most - 3] + "..."
