"""A picture of Graphviz inside a page: only what draws, ids of its own, tooltips as titles."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html import escape

_TAGS = frozenset("svg g a polygon path ellipse polyline text title desc".split())
_ATTRIBUTES = frozenset(
    "viewBox transform fill fill-opacity stroke stroke-width stroke-dasharray "
    "stroke-opacity points d cx cy rx ry x y text-anchor font-family font-size "
    "font-weight font-style class role".split()
)
_XLINK = "{http://www.w3.org/1999/xlink}"
_SAFE = re.compile(r"(https?://|file:///|\.{0,2}/|[\w.-]+/)[^\s\"'<>\\]*$")
_POINTS = re.compile(r"([\d.]+)pt")


def embedded(svg: str, prefix: str) -> str:
    """The SVG as part of an HTML page. `prefix` makes its ids unique.

    What is not known to draw is left out, so that no name in the picture can do harm
    even if Graphviz failed to escape it.
    """
    root = ET.fromstring(svg)
    # The fixed names: an attribute of the picture never reaches a page unread.
    label = f' aria-labelledby="{prefix}-title {prefix}-desc" focusable="false"'
    size = "".join(
        f' {name}="{float(found.group(1)) * 4 / 3:.0f}"'
        for name in ("width", "height")
        if (found := _POINTS.fullmatch(root.get(name, "")))
    )
    inner = "".join(_element(child, prefix) for child in root)
    return f"<svg{_attributes(root)}{size}{label}>{inner}</svg>"


def _element(node: ET.Element, prefix: str) -> str:
    tag = _local(node.tag)
    if tag not in _TAGS or _is_paper(node):
        return ""
    inner = escape(node.text or "") if tag in ("text", "title", "desc") else ""
    inner += "".join(_element(child, prefix) for child in node)
    if tag in ("title", "desc"):
        own = f' id="{prefix}-{tag}"' if node.get("id") else ""
        return f"<{tag}{own}>{inner}</{tag}>"
    if tag != "a":
        return f"<{tag}{_attributes(node)}>{inner}</{tag}>"
    tip = node.get(f"{_XLINK}title", "").strip()
    told = f"<title>{escape(tip)}</title>" if tip else ""
    address = node.get(f"{_XLINK}href", "")
    if not _SAFE.match(address):
        return f"<g>{told}{inner}</g>"
    where = f' href="{escape(address)}" target="_blank" rel="noreferrer"'
    return f"<a{where}>{told}{inner}</a>"


def _is_paper(node: ET.Element) -> bool:
    return _local(node.tag) == "polygon" and node.get("stroke") == "transparent"


def _attributes(node: ET.Element) -> str:
    return "".join(_told(node))


def _told(node: ET.Element) -> Iterator[str]:
    for name, value in node.attrib.items():
        if name in _ATTRIBUTES and "url(" not in value:
            yield f' {name}="{escape(value)}"'


def _local(tag: object) -> str:
    return str(tag).rpartition("}")[2]
