"""Lock order with contexts."""

from __future__ import annotations

import graphviz

from cpuhp.graph.cycles import LockOrder
from cpuhp.report.diagrams.canvas import (
    Picture,
    markup,
    name_of,
    shortened,
    tooltip,
)
from cpuhp.report.diagrams.dependency import _graph, _legend, _small, stacked
from cpuhp.report.diagrams.theme import Theme


def picture(title: str, order: LockOrder, theme: Theme) -> Picture:
    """Locks, who takes them in which context, and which is taken under which."""
    whole = f"{title}: lock order"
    graph = _graph(whole, theme)
    graph.attr(rankdir="LR")
    taken: dict[str, str] = {}
    circular = {lock for cycle in order.cycles for lock in cycle}
    asked = {lock for _, lock in order.interrupted}
    doubtful = {lock for pair in order.nested for lock in pair}
    alone = [lock for lock in order.graph if not order.graph.degree(lock)]
    plain = [lock for lock in alone if lock not in {*order.inversions, *asked}]
    for lock in order.graph:
        if lock in plain:
            continue
        contexts = ", ".join(order.contexts[lock])
        users = order.users[lock]
        rows = [
            f"<B>{markup(shortened(lock, 40))}</B>",
            _small(f"{order.kinds[lock]}, taken with {contexts}", theme.faint),
        ]
        rows += [_small(shortened(f"{u}()", 46), theme.ink) for u in users[:6]]
        if len(users) > 6:
            rows.append(_small(f"and {len(users) - 6} more", theme.faint))
        bad = lock in circular or lock in order.inversions or lock in asked
        if lock in order.inversions:
            rows.append(_small("⚠ an interrupt may find it held", theme.bad, True))
        if lock in circular:
            rows.append(_small("⚠ taken in a circle", theme.bad, True))
        if lock in doubtful:
            rows.append(_small("two CPUs might nest theirs crosswise", theme.bad, True))
        graph.node(
            name_of(lock, taken),
            label=stacked(rows),
            tooltip=tooltip(f"{order.kinds[lock]} {lock}: {contexts}", *users),
            color=theme.bad if bad else theme.ink,
            fillcolor=theme.bad_fill if bad else theme.box,
            penwidth="2" if bad else "1",
            style="filled,bold" if "irqs off" in contexts else "filled",
        )
    for outer, inner, steps in order.graph.edges(data="steps"):
        bad = outer in circular and inner in circular
        names = [f"{step}()" for step in steps]
        shown = ", ".join(shortened(n, 30) for n in names[:2])
        if len(names) > 2:
            shown += f" +{len(names) - 2}"
        graph.edge(
            name_of(outer, taken),
            name_of(inner, taken),
            label=f"<{markup(shown)}>",
            color=theme.bad if bad else theme.ink,
            penwidth="2.4" if bad else "1.2",
            tooltip=tooltip(f"{inner} is taken under {outer}", *names),
        )
    for (held, lock), steps in order.interrupted.items():
        graph.edge(
            name_of(held, taken),
            name_of(lock, taken),
            label=f"<{markup(shortened(f'{steps[0]}() interrupts', 40))}>",
            color=theme.bad,
            style="dashed",
            penwidth="2.4",
            tooltip=tooltip(f"an interrupt asks for {lock} under {held}", *steps),
        )
    if plain:
        _alone(graph, order, plain, theme)
    remarks = [
        "An arrow: the second lock is taken while the first is held"
        + (", dashed: by an interrupt." if order.interrupted else "."),
        f"Circles: {_told(order.cycles)}. "
        f"Interrupt inversions: {', '.join(order.inversions) or 'none'}.",
        "lock[cpu] is the lock of the CPU itself, lock[*] that of some CPU.",
    ]
    if not order.graph:
        remarks.insert(0, "No lock is taken.")
    _legend(graph, theme, remarks, set())
    words = (
        f"{len(order.graph)} locks: {', '.join(order.graph)}. "
        + "; ".join(f"{b} under {a}" for a, b in order.graph.edges)
        + ". "
        + " ".join(remarks)
    )
    return Picture(str(graph.source), whole, words)


def _alone(
    graph: graphviz.Digraph, order: LockOrder, locks: list[str], theme: Theme
) -> None:
    """One table of the locks that never nest."""
    rows = ['<TR><TD COLSPAN="3" ALIGN="LEFT"><B>taken alone</B></TD></TR>']
    for lock in locks:
        users = order.users[lock]
        more = f" +{len(users) - 3}" if len(users) > 3 else ""
        shown = ", ".join(shortened(f"{u}()", 40) for u in users[:3]) + more
        cells = (lock, f"{order.kinds[lock]}, {', '.join(order.contexts[lock])}", shown)
        rows.append(
            "<TR>"
            + "".join(f'<TD ALIGN="LEFT">{markup(cell)} </TD>' for cell in cells)
            + "</TR>"
        )
    graph.node(
        "alone",
        label=f'<<TABLE BORDER="0" CELLSPACING="3" CELLPADDING="1">{"".join(rows)}'
        "</TABLE>>",
        tooltip=tooltip("Locks that are never taken while another is held", *locks),
        fontsize="9", fillcolor=theme.quiet, color=theme.faint,
    )  # fmt: skip


def _told(cycles: tuple[tuple[str, ...], ...]) -> str:
    return "; ".join(" – ".join(cycle) for cycle in cycles) or "none"
