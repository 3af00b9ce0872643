"""Drawing with Graphviz: safe text, and charts whose every box has its place.

Names come from specs, traces and kernel trees, so nothing of them is taken as markup:
labels are HTML-like with all characters escaped, and control characters are gone.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from itertools import pairwise
from textwrap import wrap
from urllib.parse import quote

import graphviz

from cpuhp.diagnostics import fail
from cpuhp.report.diagrams.theme import MONO, SANS, Theme

WIDE = 0.62  # of the type size: as wide as a character of the fixed-width fonts gets
SLIM = 0.56  # the same for the mean character of the others, with a margin
_SAFE_BASE = re.compile(r"(https?://|file:///|\.{0,2}/|[\w.-]+/)[^\s\"'<>\\]*$")


def clean(text: str, limit: int = 2000) -> str:
    """Untrusted text without control characters, in one line."""
    text = "".join(c if c.isprintable() else " " for c in text[: limit + 1])
    return text if len(text) <= limit else text[: limit - 1] + "…"


def markup(text: str) -> str:
    """Text for an HTML-like label."""
    return html.escape(clean(text), quote=True)


def quoted(text: str) -> str:
    """Text for an attribute of Graphviz: no escape sequence and no markup in it.

    Graphviz knows HTML entities in attributes, so `&` is written as one.
    """
    plain = clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return str(graphviz.escape(plain))


def tooltip(*lines: str) -> str:
    """A tooltip of several lines."""
    shown = [quoted(line) for line in lines if line]
    return "&#10;".join(shown) or " "


def shortened(text: str, width: int) -> str:
    """At most `width` characters, the rest an ellipsis."""
    text = clean(text)
    return text if len(text) <= width else text[: max(1, width - 1)] + "…"


def fitted(text: str, points: float, size: float) -> str:
    """As much of a text as fits into a width in a proportional font, by its letters."""
    text = clean(text)
    if _span(text, size) <= points:
        return text
    while text and _span(text + "…", size) > points:
        text = text[:-1]
    return text + "…"


def _span(text: str, size: float) -> float:
    wide = sum(c.isupper() or c in "_mw@%…" or ord(c) > 0x2E7F for c in text)
    slim = sum(c in "iljtfr.,:;|'!()[]/ " for c in text)
    return size * (0.76 * wide + 0.36 * slim + SLIM * (len(text) - wide - slim))


def folded(text: str, width: int, lines: int) -> list[str]:
    """Text over some lines of at most `width` characters."""
    found = wrap(clean(text), max(4, width), break_on_hyphens=False) or [""]
    if len(found) > lines:
        found = [*found[: lines - 1], shortened(" ".join(found[lines - 1 :]), width)]
    return found


def name_of(key: str, taken: dict[str, str]) -> str:
    """A node name that is readable and needs no quoting, the same for the same key."""
    if key not in taken:
        base = re.sub(r"\W+", "_", key, flags=re.ASCII).strip("_")[:60] or "node"
        name, number = f"n_{base}", 2
        while name in taken.values():
            name, number = f"n_{base}_{number}", number + 1
        taken[key] = name
    return taken[key]


def link(base: str | None, file: str | None) -> str | None:
    """Where the source of a node is shown. Raises InputError HP801 for a wrong base."""
    if base is None or not file:
        return None
    if not _SAFE_BASE.match(base):
        raise fail(
            "HP801",
            f"'{clean(base, 80)}' is not a base for links",
            help="give an address that begins with https://, http://, file:/// or a path",
        )
    path, _, line = file.partition(":")
    mark = f"#L{line}" if line.isdigit() else ""
    return f"{base.rstrip('/')}/{quote(path.lstrip('/'))}{mark}"


@dataclass(frozen=True)
class Picture:
    """A drawing: DOT text, and what it shows in words (alternative text)."""

    dot: str
    title: str
    description: str


@dataclass(frozen=True)
class Line:
    """A line of text in a box."""

    text: str
    size: float = 10
    bold: bool = False
    code: bool = False
    color: str | None = None


@dataclass
class Chart:
    """A canvas with its origin at the top left, in points. Boxes lie where they are put.

    Later items are drawn over earlier ones.
    """

    title: str
    description: str
    theme: Theme
    _items: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    _edges: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    _taken: dict[str, str] = field(default_factory=dict)
    _count: int = 0

    def box(
        self,
        key: str,
        at: tuple[float, float, float, float],
        lines: list[Line],
        *,
        fill: str = "none",
        stroke: str = "none",
        style: str = "solid",
        width: float = 1,
        align: str = "LEFT",
        tip: str = "",
        url: str | None = None,
        marks: str = "",
    ) -> str:
        """A box at left, top, width and height; returns the name of its node.

        `marks`: classes that the box has in an SVG.
        """
        left, top, wide, high = at
        name = name_of(key, self._taken)
        attributes = {
            "pos": f"{left + wide / 2:.1f},{-(top + high / 2):.1f}!",
            "width": f"{wide / 72:.4f}",
            "height": f"{high / 72:.4f}",
            "label": self._label(lines, wide, align) if lines else "",
            "tooltip": tip or " ",
            "penwidth": f"{0 if stroke == 'none' else width:g}",
        }
        styles = [style] if style != "solid" else []
        if fill != "none":
            styles.append("filled")
            attributes["fillcolor"] = fill
        attributes["style"] = ",".join(styles) or "solid"
        if stroke != "none":
            attributes["color"] = stroke
        if url:
            attributes["URL"] = str(graphviz.escape(url))
            attributes["target"] = "_blank"
        if marks:
            attributes["class"] = marks
        self._items.append((name, attributes))
        return name

    def _label(self, lines: list[Line], wide: float, align: str) -> str:
        rows = []
        for line in lines:
            text = markup(line.text) or " "
            if line.bold:
                text = f"<B>{text}</B>"
            face = MONO if line.code else SANS
            color = f' COLOR="{line.color}"' if line.color else ""
            text = (
                f'<FONT FACE="{face}" POINT-SIZE="{line.size:g}"{color}>{text}</FONT>'
            )
            rows.append(f'<TR><TD ALIGN="{align}">{text}</TD></TR>')
        # A table as wide as the box puts its text to the left, a narrow one lies central.
        width = f' WIDTH="{max(4, wide - 10):.0f}"' if align == "LEFT" else ""
        return (
            '<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0"'
            f"{width}>{''.join(rows)}</TABLE>>"
        )

    def line(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        *,
        color: str,
        style: str = "solid",
        width: float = 1.2,
        head: str = "none",
        tip: str = "",
        marks: str = "",
    ) -> None:
        """A straight line, with an arrow head if one is named."""
        ends = []
        for x, y in (start, end):
            self._count += 1
            name = f"p{self._count}"
            self._items.append(
                (name, {"pos": f"{x:.1f},{-y:.1f}!", "shape": "point", "width": "0",
                        "height": "0", "style": "invis", "label": ""})
            )  # fmt: skip
            ends.append(name)
        self._edges.append((ends[0], ends[1], {
            "color": color, "style": style, "penwidth": f"{width:g}",
            "arrowhead": head, "tooltip": tip or " ",
            **({"class": marks} if marks else {}),
        }))  # fmt: skip

    def arrow(
        self,
        points: list[tuple[float, float]],
        color: str,
        width: float,
        tip: str,
        marks: str = "",
    ) -> None:
        """An arrow through some points."""
        for at, (start, end) in enumerate(pairwise(points)):
            last = at == len(points) - 2
            head = "normal" if last else "none"
            self.line(
                start, end, color=color, width=width, head=head, tip=tip, marks=marks
            )

    def picture(self) -> Picture:
        graph = graphviz.Digraph("cpuhp", comment=quoted(self.title))
        graph.attr(
            layout="neato", inputscale="72", splines="line", overlap="true",
            outputorder="nodesfirst", bgcolor=self.theme.paper, pad="0.15",
            tooltip=quoted(self.title),
        )  # fmt: skip
        graph.attr(
            "node", shape="box", fixedsize="true", margin="0,0",
            fontname=SANS, fontcolor=self.theme.ink,
        )  # fmt: skip
        graph.attr("edge", headclip="false", tailclip="false", arrowsize="0.7")
        for name, attributes in self._items:
            graph.node(name, **attributes)
        for tail, head, attributes in self._edges:
            graph.edge(tail, head, **attributes)
        return Picture(str(graph.source), self.title, self.description)
