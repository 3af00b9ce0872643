"""The dependency graph as a picture: kinds of edges, unsafe pairs, cycles."""

from __future__ import annotations

import html
import re
from itertools import pairwise

import graphviz
import networkx as nx

from cpuhp.graph.dependency import Dependencies, Tie
from cpuhp.graph.footprint import Step
from cpuhp.model.system import Runs
from cpuhp.report.diagrams.canvas import (
    WIDE,
    Picture,
    link,
    markup,
    name_of,
    quoted,
    shortened,
    tooltip,
)
from cpuhp.report.diagrams.theme import MONO, SANS, Theme

NAMES = 3  # variables that an edge's label tells
WORDS = {
    "unsafe": "unsafe pair: same variable, may happen in parallel, no common lock",
    "conflict": "conflict, but never in parallel",
    "lock": "same lock",
    "wait": "waits for it",
    "use": "reads what the other writes",
    "order": "order of the table",
}


def picture(
    title: str,
    found: Dependencies,
    theme: Theme,
    base: str | None = None,
    *,
    full: bool = False,
    focus: str | None = None,
) -> Picture:
    """The graph. Without `full`, conflicts that never happen at once are left out."""
    calls = {step.key for step in found.steps if step.callback is not None}
    shown = [
        t for t in found.ties
        if t.kind != "order" and (full or focus or _matters(t, calls))
    ]  # fmt: skip
    tied = {key for t in shown for key in (t.source, t.target)}
    steps = [s for s in found.steps if full or s.key in tied or s.key == focus]
    keys = {step.key for step in steps}
    shown += _order(steps)
    shown = [t for t in shown if t.source in keys and t.target in keys]
    alone = len(found.steps) - len(steps)
    graph = _graph(f"{title}: dependency graph", theme)
    taken: dict[str, str] = {}
    parts = _cyclic(found)
    for number, (label, group) in enumerate(_groups(steps)):
        with graph.subgraph(name=f"cluster_{number}") as cluster:
            cluster.attr(
                label="", style="filled", color=theme.faint, margin="10",
                fillcolor=theme.band[number % 2], tooltip=quoted(label),
            )  # fmt: skip
            # The name is a node: edges keep away from nodes, and not from labels.
            cluster.node(
                f"name_{number}", label=quoted(label), shape="plaintext", style="",
                fontname=SANS, fontsize="11", fontcolor=theme.ink, height="0.1",
                tooltip=quoted(label), margin="0.02",
            )  # fmt: skip
            for step in group:
                _node(cluster, step, found, theme, taken, base, focus, parts)
                cluster.edge(f"name_{number}", name_of(step.key, taken), style="invis",
                             weight="0", minlen="1")  # fmt: skip
    groups = {step.key: _actor(step) for step in steps if step.callback}
    for tie in _merged(shown):
        _edge(graph, tie, theme, taken, groups)
    remarks = [f"May happen in parallel: {found.parallel.basis}."]
    if alone > 0:
        remarks.append(
            f"Steps without a tie to others, left out here: {alone} (--full)."
        )
    _legend(graph, theme, remarks, {_kind(t) for t in shown})
    unsafe = [
        f"{t.source} and {t.target} ({', '.join(t.unsafe)})" for t in found.unsafe
    ]
    words = (
        f"{len(steps)} steps, {len(shown)} ties. Unsafe pairs: "
        f"{'; '.join(unsafe) or 'none'}. {' '.join(remarks)}"
    )
    return Picture(str(graph.source), f"{title}: dependency graph", words)


def _matters(tie: Tie, calls: set[str]) -> bool:
    """What the picture is about: callbacks, and what may go wrong between any two."""
    about = tie.source in calls or tie.target in calls or tie.source == tie.target
    return about and (bool(tie.unsafe) or tie.kind in ("lock", "use"))


def _order(steps: list[Step]) -> list[Tie]:
    """The order of the table among the callbacks that are drawn."""
    runs: dict[str, list[Step]] = {}
    for step in steps:
        if step.callback is not None:
            direction = step.callback.callback.direction
            runs.setdefault(f"{_actor(step)} {direction}", []).append(step)
    ties = []
    for run in runs.values():
        down = run[0].callback is not None and (
            run[0].callback.callback.direction == "teardown"
        )
        run.sort(key=lambda s: s.callback.state.number if s.callback else 0,
                 reverse=down)  # fmt: skip
        ties += [Tie("order", a.key, b.key) for a, b in pairwise(run)]
    return ties


def _kind(tie: Tie) -> str:
    return "unsafe" if tie.unsafe else tie.kind


def _graph(title: str, theme: Theme) -> graphviz.Digraph:
    graph = graphviz.Digraph("cpuhp", comment=quoted(title))
    graph.attr(
        rankdir="TB", bgcolor=theme.paper, pad="0.25", nodesep="0.3", ranksep="0.4",
        label=f"<<B>{markup(title)}</B>>", labelloc="t", labeljust="l", fontsize="16",
        fontname=SANS, fontcolor=theme.ink, tooltip=quoted(title), newrank="true",
    )  # fmt: skip
    graph.attr("node", shape="box", fontname=MONO, fontsize="10", fontcolor=theme.ink,
               color=theme.ink, style="filled", fillcolor=theme.box)  # fmt: skip
    graph.attr(
        "edge", fontname=MONO, fontsize="8", fontcolor=theme.ink, arrowsize="0.7"
    )
    return graph


def _groups(steps: list[Step]) -> list[tuple[str, list[Step]]]:
    """Steps by who runs them, callbacks in the order of the table."""
    groups: dict[str, list[Step]] = {}
    for step in steps:
        groups.setdefault(_actor(step), []).append(step)
    return sorted(groups.items(), key=lambda item: item[0])


def _actor(step: Step) -> str:
    where = {
        Runs.ONCE: "on the control CPU",
        Runs.EVERY_CPU: "on every CPU",
        Runs.EVERY_AP: "on every hotplugged CPU",
    }[step.runs]
    if step.callback is not None:
        return f"{step.callback.section.value} callbacks, {step.process} {where}"
    return f"core: {step.process} {where}"


def _cyclic(found: Dependencies) -> dict[str, int]:
    """Steps in a circle of waits, by number of the circle."""
    graph = found.graph(("wait",))
    parts = [sorted(p) for p in nx.strongly_connected_components(graph) if len(p) > 1]
    return {key: number for number, part in enumerate(sorted(parts)) for key in part}


def _node(
    graph: graphviz.Digraph,
    step: Step,
    found: Dependencies,
    theme: Theme,
    taken: dict[str, str],
    base: str | None,
    focus: str | None,
    parts: dict[str, int],
) -> None:
    rows = [f"<B>{markup(shortened(step.name, 40))}()</B>"]
    tip = [f"{step.key}, {_actor(step)}"]
    file = None
    if step.callback is not None:
        state = step.callback.state
        told = f"{state.number} {state.label}"
        rows.append(_small(shortened(told, 44), theme.faint))
        file = step.callback.source
        tip += [" ".join(step.callback.callback.doc.split()), file or ""]
    alone = next((t for t in found.unsafe if t.source == t.target == step.key), None)
    if alone is not None:
        text = f"⚠ with itself on another CPU: {_names(alone.unsafe)}"
        rows.append(_small(text, theme.bad, bold=True))
        tip.append(f"may run on two CPUs at once, both touch {', '.join(alone.unsafe)}")
    if step.key in parts:
        rows.append(_small("↻ part of a circle of hand-shakes", theme.good))
    if step.span is not None:
        tip.append(f"{step.span.source.name}:{step.span.line}")
    attributes = {
        "label": stacked(rows, _width(rows)),
        "tooltip": tooltip(*tip),
        "fillcolor": theme.call if step.callback else theme.box,
        "penwidth": "3" if step.key == focus else "2" if alone else "1",
    }
    if alone is not None:
        attributes |= {"color": theme.bad, "fillcolor": theme.bad_fill}
    url = link(base, file)
    if url:
        attributes |= {"URL": str(graphviz.escape(url)), "target": "_blank"}
    graph.node(name_of(step.key, taken), **attributes)


def stacked(rows: list[str], width: float = 0) -> str:
    """An HTML-like label of rows that are markup already, at least `width` points wide.

    Fonts differ between who lays out and who shows; room for the widest keeps text in.
    """
    cells = "".join(f"<TR><TD>{row}</TD></TR>" for row in rows)
    wide = f' WIDTH="{width:.0f}"' if width else ""
    return (
        '<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="1" CELLPADDING="0"'
        f"{wide}>{cells}</TABLE>>"
    )


def _width(rows: list[str]) -> float:
    """Of rows in the fixed-width font, the first in 10 points and the others in 8."""
    plain = [html.unescape(re.sub(r"<[^>]*>", "", row)) for row in rows]
    return WIDE * max(len(t) * (8 if n else 10) for n, t in enumerate(plain))


def _small(text: str, color: str, bold: bool = False) -> str:
    inner = f"<B>{markup(text)}</B>" if bold else markup(text)
    return f'<FONT POINT-SIZE="8" COLOR="{color}">{inner}</FONT>'


def _names(names: tuple[str, ...]) -> str:
    more = f" +{len(names) - NAMES}" if len(names) > NAMES else ""
    return ", ".join(shortened(n, 28) for n in names[:NAMES]) + more


def _merged(ties: list[Tie]) -> list[Tie]:
    """Between two steps the weightiest tie of each direction; no self-loops."""
    weight = ("unsafe", "conflict", "lock", "wait", "use", "order")
    best: dict[tuple[str, str], Tie] = {}
    for tie in ties:
        if tie.source == tie.target:
            continue
        pair = (tie.source, tie.target)
        both = tie if tie.kind in ("conflict", "lock") else None
        back = best.get(pair[::-1])
        if both is not None and back is not None and _kind(back) in weight[:3]:
            continue
        old = best.get(pair)
        if old is None or weight.index(_kind(tie)) < weight.index(_kind(old)):
            best[pair] = tie
    return list(best.values())


def _edge(
    graph: graphviz.Digraph,
    tie: Tie,
    theme: Theme,
    taken: dict[str, str],
    groups: dict[str, str],
) -> None:
    kind = _kind(tie)
    color, style, width, head = theme.kinds[kind]
    names = tie.unsafe or tie.names
    where = f" ({', '.join(sorted(tie.where))})" if tie.where else ""
    tip = f"{WORDS[kind]}{where}: {', '.join(names)}" if names else WORDS[kind]
    attributes = {
        "color": color, "style": style, "penwidth": width, "arrowhead": head,
        "tooltip": tooltip(f"{tie.source} – {tie.target}", tip), "fontcolor": color,
    }  # fmt: skip
    if kind in ("unsafe", "conflict", "lock"):
        attributes["dir"] = "none"
    if kind == "unsafe":
        attributes |= {"dir": "both", "arrowhead": "dot", "arrowtail": "dot"}
    column = groups.get(tie.source)
    if kind != "order" and column is not None and column == groups.get(tie.target):
        attributes["constraint"] = "false"  # the order of the table stays a column
    if kind == "order":
        attributes["weight"] = "8"
    else:
        attributes["weight"] = "2" if kind == "unsafe" else "1"
    if kind in ("unsafe", "lock"):
        attributes["label"] = f"<  {markup(_names(names))}  >"
    attributes["labeltooltip"] = attributes["tooltip"]
    graph.edge(name_of(tie.source, taken), name_of(tie.target, taken), **attributes)


def _legend(
    graph: graphviz.Digraph, theme: Theme, remarks: list[str], kinds: set[str]
) -> None:
    """What the lines mean, as a table with samples in words and in kind."""
    samples = {"unsafe": "●━━●", "conflict": "╌╌╌", "lock": "┈┈┈", "wait": "──≻",
               "use": "╌╌▷", "order": "──▶"}  # fmt: skip
    rows = []
    for kind, words in WORDS.items():
        if kind in kinds:
            color = theme.kinds[kind][0]
            rows.append(
                f'<TR><TD ALIGN="LEFT"><FONT COLOR="{color}">{samples[kind]}</FONT></TD>'
                f'<TD ALIGN="LEFT">{markup(words)}</TD></TR>'
            )
    for remark in remarks:
        rows.append(f'<TR><TD COLSPAN="2" ALIGN="LEFT">{markup(remark)}</TD></TR>')
    table = "".join(rows)
    graph.node(
        "legend",
        label=f'<<TABLE BORDER="0" CELLSPACING="2" CELLPADDING="0">{table}</TABLE>>',
        shape="plain", fontname=SANS, fontsize="9", style="", tooltip=" ",
    )  # fmt: skip
