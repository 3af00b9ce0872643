"""A state machine as a picture, and as the DOT dialect of the kernel's rvgen."""

from __future__ import annotations

import re

from cpuhp.engines.transitions import Arrow, StateMachine
from cpuhp.report.diagrams.canvas import (
    Picture,
    link,
    markup,
    name_of,
    shortened,
    tooltip,
)
from cpuhp.report.diagrams.dependency import _graph, _legend
from cpuhp.report.diagrams.theme import Theme

SHOWN = 3  # who makes a transition: so many are named


def picture(
    title: str, found: StateMachine, theme: Theme, base: str | None = None
) -> Picture:
    """States, and who makes each transition. Initial ones have an arrow from nowhere,
    those in which the system can come to rest a double line."""
    whole = f"{title}: {found.variable}"
    graph = _graph(whole, theme)
    graph.attr(rankdir="TB", nodesep="0.5", ranksep="0.6")
    taken: dict[str, str] = {}
    for value in found.values:
        end = value in found.ends
        start = value in found.initial
        told = [value]
        told += ["a first value"] if start else []
        told += ["a last value: all may rest here"] if end else []
        graph.node(
            name_of(value, taken),
            label=f"<<B>{markup(shortened(value, 40))}</B>>",
            shape="box",
            style="rounded,filled",
            peripheries="2" if end else "1",
            fillcolor=theme.call if start else theme.box,
            tooltip=tooltip(*told),
        )
    for number, value in enumerate(found.initial):
        graph.node(f"start{number}", label="", shape="circle", width="0.14",
                   fixedsize="true", fillcolor=theme.ink, tooltip="start")  # fmt: skip
        graph.edge(f"start{number}", name_of(value, taken), color=theme.ink,
                   tooltip="a first value")  # fmt: skip
    for (source, target), arrows in _pairs(found.arrows).items():
        who = list(dict.fromkeys(arrow.who for arrow in arrows))
        lines = [markup(shortened(w, 44)) for w in who[:SHOWN]]
        if len(who) > SHOWN:
            lines.append(f"and {len(who) - SHOWN} more")
        tip = [f"{source} → {target}"]
        tip += [f"{a.who}: {a.text}  ({a.place})" for a in arrows]
        attributes = {
            "label": "<"
            + "".join(f' {line} <BR ALIGN="LEFT"/>' for line in lines)
            + ">",
            "tooltip": tooltip(*tip),
            "labeltooltip": tooltip(*tip),
            "color": theme.message,
        }
        url = link(base, next((a.origin for a in arrows if a.origin), None))
        if url:
            attributes |= {"URL": url, "target": "_blank"}
        graph.edge(name_of(source, taken), name_of(target, taken), **attributes)
    remarks = [found.doc, f"Drawn: {found.basis}.",
               "Filled: first values. Double line: all may come to rest here."]  # fmt: skip
    _legend(graph, theme, [r for r in remarks if r], set())
    words = "; ".join(f"{a.source} to {a.target} by {a.who}" for a in found.arrows)
    return Picture(str(graph.source), whole, f"{words}. {' '.join(remarks)}")


def _pairs(arrows: tuple[Arrow, ...]) -> dict[tuple[str, str], list[Arrow]]:
    pairs: dict[tuple[str, str], list[Arrow]] = {}
    for arrow in arrows:
        pairs.setdefault((arrow.source, arrow.target), []).append(arrow)
    return pairs


def automaton(found: StateMachine) -> str:
    """The state machine for `rvgen` (before 6.16 `dot2k`) of the kernel's tree.

    One initial state; events are named after who makes the transition, and numbered
    where one event would lead from one state to two. Final states have a double circle.
    """
    names = {value: _identifier(value) for value in found.values}
    initial = names[found.initial[0]] if found.initial else "none"
    final = {names[value] for value in found.ends} or {initial}
    lines = ["digraph state_automaton {", "\tcenter = true;", '\tsize = "7,11";']
    lines.append(
        f'\t{{node [shape = plaintext, style=invis, label=""] "__init_{initial}"}};'
    )
    for name in names.values():
        shape = "doublecircle" if name in final else "circle"
        lines.append(f'\t{{node [shape = {shape}] "{name}"}};')
    lines.append(f'\t"__init_{initial}" -> "{initial}";')
    for name in names.values():
        color = ", color = green3" if name in final else ""
        lines.append(f'\t"{name}" [label = "{name}"{color}];')
    used: set[tuple[str, str]] = set()
    for (source, target), arrows in _pairs(found.arrows).items():
        for who in dict.fromkeys(arrow.who for arrow in arrows):
            event = base = _identifier(who.split(": ")[-1])
            number = 2
            while (source, event) in used:
                event, number = f"{base}_{number}", number + 1
            used.add((source, event))
            lines.append(
                f'\t"{names[source]}" -> "{names[target]}" [ label = "{event}" ];'
            )
    lines.append(f'\t{{ rank = min ; "__init_{initial}"; "{initial}"; }}')
    lines.append("}")
    return "\n".join(lines) + "\n"


def _identifier(name: str) -> str:
    """A C identifier in lower case, as rvgen makes enums and events of it."""
    found = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()
    return found if found and not found[0].isdigit() else f"s_{found}"
