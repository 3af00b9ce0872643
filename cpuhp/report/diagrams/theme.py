"""Colours and fonts. Colours are of the Okabe-Ito set, told apart by colour-blind eyes.

Nothing is told by colour alone: line style, arrow head and words say the same, so that
`mono` loses nothing in print.
"""

from __future__ import annotations

from dataclasses import dataclass

SANS = "Helvetica,Arial,sans-serif"
MONO = "DejaVu Sans Mono,Menlo,Consolas,monospace"


@dataclass(frozen=True)
class Theme:
    """`kinds` gives for each kind of edge colour, line style, width and arrow head."""

    name: str
    paper: str
    ink: str
    faint: str  # rules and remarks
    quiet: str  # fill of what needs no attention
    box: str  # fill of a step
    call: str  # fill of a callback
    wait: str  # fill of a wait
    band: tuple[str, str]  # fills of the phases, alternating
    bad: str
    bad_fill: str
    good: str
    message: str
    kinds: dict[str, tuple[str, str, str, str]]


def _kinds(
    order: str, conflict: str, unsafe: str, lock: str, wait: str, use: str
) -> dict[str, tuple[str, str, str, str]]:
    return {
        "order": (order, "solid", "1", "normal"),
        "conflict": (conflict, "dashed", "1.2", "none"),
        "unsafe": (unsafe, "bold", "2.6", "none"),
        "lock": (lock, "dotted", "1.8", "none"),
        "wait": (wait, "solid", "1.6", "vee"),
        "use": (use, "dashed", "1.2", "empty"),
    }


LIGHT = Theme(
    "light", "#ffffff", "#1a1a1a", "#6b6b6b", "#f1f1ef", "#ffffff", "#dcebf7",
    "#fdf3d8", ("#f7f8fa", "#eef1f5"), "#b03a00", "#fde3d6", "#007a5a", "#005a8f",
    _kinds("#8a8a8a", "#b07a00", "#c24400", "#0072b2", "#007a5a", "#9c4f7c"),
)  # fmt: skip
DARK = Theme(
    "dark", "#16191d", "#f0f0f0", "#a3a9b1", "#2a2f36", "#22272e", "#173a55",
    "#453a18", ("#1b1f24", "#20252b"), "#ff8c52", "#55230c", "#2fd0a2", "#6cc0f2",
    _kinds("#8b939c", "#e69f00", "#ff7a38", "#56b4e9", "#2fd0a2", "#e39ac2"),
)  # fmt: skip
PRINT = Theme(
    "mono", "#ffffff", "#000000", "#404040", "#ffffff", "#ffffff", "#e4e4e4",
    "#ffffff", ("#ffffff", "#f4f4f4"), "#000000", "#cfcfcf", "#000000", "#000000",
    _kinds("#707070", "#000000", "#000000", "#000000", "#000000", "#000000"),
)  # fmt: skip
THEMES = {"light": LIGHT, "dark": DARK, "mono": PRINT}
