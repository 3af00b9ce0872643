"""An interleaving as a chart: a lane for each CPU, time downwards."""

from __future__ import annotations

from itertools import groupby

from cpuhp.report.diagrams.canvas import (
    SLIM,
    WIDE,
    Chart,
    Line,
    Picture,
    folded,
    link,
    shortened,
    tooltip,
)
from cpuhp.report.diagrams.evidence import Evidence, Moment
from cpuhp.report.diagrams.theme import Theme

GUTTER = 30.0
LEFT = 44.0
GAP = 12.0
SIZE = 9.0
HEAD = 26.0
FOLD = 32.0
ROOM = 8.0  # above a step that an arrow enters
SHORT = 24  # so many steps need no folding


def chart(
    found: Evidence, theme: Theme, base: str | None = None, *, full: bool = False
) -> Picture:
    """The chart of an interleaving. `base`: where links to the kernel's source lead.

    Without `full`, steps that say nothing about the claim are folded, if there are many.
    """
    if full or len(found.moments) <= SHORT:
        for moment in found.moments:
            moment.told = True
    used = sorted({m.cpu for m in found.moments})
    lane = {cpu: at for at, cpu in enumerate(used)}
    wide = 300.0 if len(used) <= 3 else 240.0
    title = f"{found.scenario.replace('_', '-')}: {found.check}"
    # One lane alone would cut the title.
    width = max(LEFT + len(used) * (wide + GUTTER), min(LEFT + 9.2 * len(title), 700))
    drawing = Chart(title, _words(found), theme)
    top = _heading(drawing, found, theme, width, title)
    blocks = [_lines(m, theme, wide) for m in found.moments]
    places: dict[int, _At] = {}
    folds: list[tuple[list[Moment], _At]] = []
    at = top + HEAD + 12
    for told, group in groupby(found.moments, key=lambda m: m.told):
        run = list(group)
        if told:
            for moment in run:
                if any(not found.moments[w].told for w, _ in moment.came):
                    moment.came = [c for c in moment.came if found.moments[c[0]].told]
                at += ROOM if moment.came else 0
                high = 8 + sum(n.size * 1.32 for n in blocks[moment.number - 1])
                x = LEFT + GUTTER / 2 + lane[moment.cpu] * (wide + GUTTER)
                places[moment.number - 1] = (x, at, wide, high)
                at += high + GAP
            continue
        for cpu in used:
            mine = [m for m in run if m.cpu == cpu]
            if mine:
                x = LEFT + GUTTER / 2 + lane[cpu] * (wide + GUTTER)
                folds.append((mine, (x, at, wide, FOLD)))
        at += FOLD + GAP
    _lanes(drawing, found, theme, used, wide, top, at)
    _arrows(drawing, found, theme, places, lane)
    for number, place in places.items():
        _step(drawing, found.moments[number], blocks[number], place, theme, base)
    for mine, place in folds:
        _fold(drawing, mine, place, theme)
    if found.loop is not None and found.loop in places:
        y = places[found.loop][1] - GAP / 2
        drawing.box("loop", (LEFT, y - 6, width - LEFT, 12),
                    [Line("from here on it repeats for ever", 9, True,
                          color=theme.bad)])  # fmt: skip
    _ending(drawing, found, theme, at + 4, width)
    return drawing.picture()


_At = tuple[float, float, float, float]


def _fold(drawing: Chart, mine: list[Moment], place: _At, theme: Theme) -> None:
    """One box for steps of one CPU that say nothing about the claim."""
    who = ", ".join(dict.fromkeys(m.callback or m.process for m in mine))
    count = f"{len(mine)} steps" if len(mine) > 1 else "1 step"
    room = int((place[2] - 14) / (8 * WIDE))
    first, last = mine[0].number, mine[-1].number
    which = f"{first} … {last}" if first != last else f"{first}"
    lines = [Line(f"{which}: {count}", SIZE, True),
             Line(shortened(who, room), 8, color=theme.faint)]  # fmt: skip
    drawing.box(
        f"fold {mine[0].number}", place, lines, fill=theme.quiet, stroke=theme.faint,
        style="dotted", tip=tooltip(*(f"{m.number} {m.text}" for m in mine)),
        marks=" ".join(["steps", *(f"s{m.number}" for m in mine)]),
    )  # fmt: skip


def _words(found: Evidence) -> str:
    told = [f"{found.verdict}: {found.claim}."]
    for m in found.moments:
        changes = ", ".join(f"{c} becomes {b}" for c, (_, b) in m.changes.items())
        told.append(f"Step {m.number}, CPU{m.cpu} {m.process}: {m.text}. {changes}")
        if m.bad:
            told.append(f"{m.fault.capitalize()}: {m.bad}.")
    return " ".join(told)


def _heading(
    drawing: Chart, found: Evidence, theme: Theme, width: float, title: str
) -> float:
    room = width - LEFT
    drawing.box("title", (LEFT, 0, room, 24),
                [Line(shortened(title, int(room / 9)), 16, True)])  # fmt: skip
    top = 26.0
    violated = found.verdict == "VIOLATED"
    claim = folded(f"{found.verdict}  {found.claim}", int(room / (10 * WIDE)), 3)
    for number, text in enumerate(claim):
        drawing.box(f"claim {number}", (LEFT, top, room, 14),
                    [Line(text, 10, number == 0, True,
                          theme.bad if violated else theme.good)])  # fmt: skip
        top += 14
    steps = len(found.moments)
    count = f"{steps} steps" if steps != 1 else "1 step"
    remark = f"{found.cpus} CPUs, {count}, control CPU {found.boot}"
    drawing.box("remark", (LEFT, top, room, 14), [Line(remark, 9, color=theme.faint)])
    return top + 20


def _lines(moment: Moment, theme: Theme, wide: float) -> list[Line]:
    room = int((wide - 14) / (SIZE * WIDE))
    small = int((wide - 14) / (8 * WIDE))
    who = moment.callback or moment.process
    where = f" in {moment.hotplug_state}" if moment.hotplug_state else ""
    lines = [Line(shortened(f"{moment.number}  {who}{where}", small), 8, True,
                  color=theme.faint)]  # fmt: skip
    lines += [Line(t, SIZE, True, True) for t in folded(moment.text, room, 3)]
    changes = [f"{c}: {a} → {b}" for c, (a, b) in moment.changes.items()]
    for text in changes[:4]:
        lines.append(Line(shortened(text, small), 8, code=True, color=theme.message))
    if len(changes) > 4:
        lines.append(Line(f"and {len(changes) - 4} more changes", 8, color=theme.faint))
    for place in (moment.source, moment.origin):
        if place:
            told = shortened(place, int((wide - 14) / (7.5 * SLIM)))
            lines.append(Line(told, 7.5, color=theme.faint))
    if moment.bad:
        lines += [Line(t, 8.5, True, color=theme.bad)
                  for t in folded(f"{moment.fault.upper()}: {moment.bad}", small, 5)]  # fmt: skip
    return lines


def _lanes(
    drawing: Chart,
    found: Evidence,
    theme: Theme,
    used: list[int],
    wide: float,
    top: float,
    bottom: float,
) -> None:
    for number, cpu in enumerate(used):
        x = LEFT + GUTTER / 2 + number * (wide + GUTTER)
        drawing.box(f"life {cpu}", (x + wide / 2 - 0.5, top, 1, bottom - top), [],
                    fill=theme.faint)  # fmt: skip
        name = f"CPU{cpu}" + (", the control CPU" if cpu == found.boot else "")
        drawing.box(f"lane {cpu}", (x, top, wide, HEAD), [Line(name, 11, True)],
                    fill=theme.quiet, stroke=theme.ink, align="CENTER", tip=name)  # fmt: skip


def _step(
    drawing: Chart,
    moment: Moment,
    lines: list[Line],
    place: tuple[float, float, float, float],
    theme: Theme,
    base: str | None,
) -> None:
    fill = theme.call if moment.callback else theme.box
    origin = (moment.origin or "").split(" ")[0] or None
    tip = tooltip(
        f"step {moment.number}: CPU{moment.cpu} {moment.process}",
        moment.text,
        *(f"{c}: {a} → {b}" for c, (a, b) in moment.changes.items()),
        moment.source or "",
        moment.origin or "",
        moment.bad or "",
    )
    drawing.box(
        f"step {moment.number}", place, lines,
        fill=theme.bad_fill if moment.bad else fill,
        stroke=theme.bad if moment.bad else theme.ink,
        width=2.6 if moment.bad else 1, tip=tip, url=link(base, origin),
        marks=f"steps s{moment.number}",
    )  # fmt: skip


def _arrows(
    drawing: Chart,
    found: Evidence,
    theme: Theme,
    places: dict[int, _At],
    lane: dict[int, int],
) -> None:
    """From the writer of a value to its reader, beside the lanes and between the rows."""
    slots: dict[int, int] = {}
    for at, moment in enumerate(found.moments):
        for number, (writer, name) in enumerate(moment.came):
            if writer not in places or at not in places:
                continue
            source = found.moments[writer]
            x, y, w, h = places[writer]
            tx, ty, tw, th = places[at]
            right = lane[moment.cpu] > lane[source.cpu]
            same = lane[moment.cpu] == lane[source.cpu]
            gutter = lane[source.cpu] + (1 if right else 0)
            slot = slots.get(gutter, 0)
            slots[gutter] = slot + 1
            shift = 5 + 4 * (slot % 3)
            start = (x + w if right else x, y + h / 2 + 3 * (slot % 3))
            bend = start[0] + (shift if right else -shift)
            stale = moment.fault == "bad read" and name in (moment.bad or "")
            color = theme.bad if stale else theme.good
            marks = f"reads s{at + 1}"
            tip = tooltip(f"step {moment.number} reads {name}, written by step "
                          f"{source.number}")  # fmt: skip
            if same:
                level = ty + th / 2
                path = [start, (bend, start[1]), (bend, level), (tx, level)]
                drawing.arrow(path, color, 1.3, tip, marks)
                continue
            level = ty - GAP / 2
            end = tx + tw / 2 + (24 + 60 * number) * (-1 if right else 1)
            path = [start, (bend, start[1]), (bend, level), (end, level), (end, ty)]
            drawing.arrow(path, color, 1.3, tip, marks)
            label = shortened(name, 26)
            wide = len(label) * 7 * WIDE + 4
            left = end - wide - 4 if right else end + 4
            drawing.box(f"read {at} {number}", (left, level - 9, wide, 9),
                        [Line(label, 7, code=True, color=color)],
                        marks=marks)  # fmt: skip


def _ending(
    drawing: Chart, found: Evidence, theme: Theme, top: float, width: float
) -> None:
    room = width - LEFT - 12
    bad = found.verdict == "VIOLATED"
    lead = "Now the claim is broken: " if bad else "Now it has happened: "
    values = found.reason or ", ".join(found.ending[:16])
    chars = int(room / (9 * 0.58))
    lines = [Line(t, 10, True, color=theme.bad if bad else theme.good)
             for t in folded(lead + found.claim, int(chars * 0.88), 3)]  # fmt: skip
    lines += [Line(t, 9, code=True) for t in folded(values, int(room / (9 * WIDE)), 4)
              if t]  # fmt: skip
    high = 8 + sum(line.size * 1.34 for line in lines)
    drawing.box("ending", (LEFT + 4, top, room, high), lines,
                fill=theme.bad_fill if bad else theme.quiet,
                stroke=theme.bad if bad else theme.good, width=2)  # fmt: skip
