"""The sequence chart: lanes side by side, phases as bands, time downwards."""

from __future__ import annotations

from dataclasses import dataclass

from cpuhp.report.diagrams.canvas import (
    WIDE,
    Chart,
    Line,
    Picture,
    fitted,
    folded,
    link,
    quoted,
    shortened,
    tooltip,
)
from cpuhp.report.diagrams.sequence import Item, Sequence
from cpuhp.report.diagrams.theme import Theme

LANE = 208.0
GUTTER = 34.0
LEFT = 14.0
GAP = 23.0  # above a row that an arrow enters; arrows run here
SMALL_GAP = 7.0
HEAD = 40.0
BAND_HEAD = 34.0
SIZE = 9.0


@dataclass(frozen=True)
class _Place:
    row: int
    height: float
    lines: tuple[Line, ...]


def chart(sequence: Sequence, theme: Theme, base: str | None = None) -> Picture:
    """The chart of a sequence. `base`: where links to the kernel's source lead."""
    width = LEFT + len(sequence.lanes) * (LANE + GUTTER)
    drawing = Chart(f"{sequence.title}: sequence", _words(sequence), theme)
    top = _title(drawing, sequence, theme, width)
    places = [_lines(item, theme) for item in sequence.items]
    rows = _rows(sequence)
    tops, _, bands, bottom = _heights(sequence, rows, places, top + HEAD + 8)
    _background(drawing, sequence, theme, top, bands, bottom, width)
    boxes: list[tuple[float, float, float, float]] = []
    for item, row, lines in zip(sequence.items, rows, places):
        high = _height(lines)
        x = _lane_left(item.lane)
        boxes.append((x, tops[row], LANE, high))
    _arrows(drawing, sequence, theme, boxes, rows, tops)
    for number, (item, lines, at) in enumerate(zip(sequence.items, places, boxes)):
        _box(drawing, theme, number, item, lines, at, base)
    if sequence.ending:
        drawing.box("ending", (LEFT, bottom, width - LEFT, 20),
                    [Line(sequence.ending, 11, True, color=theme.bad)])  # fmt: skip
        bottom += 26
    _legend(drawing, theme, bottom + 6, width)
    return drawing.picture()


def _words(sequence: Sequence) -> str:
    parts = [*sequence.remarks]
    for number, band in enumerate(sequence.bands):
        inside = [i for i in sequence.items if i.band == number]
        names = ", ".join(i.title for i in inside if i.kind in ("call", "step"))
        parts.append(f"Phase {number + 1}, {band.title}: {names}.")
    return " ".join(parts)


def _title(drawing: Chart, sequence: Sequence, theme: Theme, width: float) -> float:
    drawing.box("title", (LEFT, 0, width - LEFT, 24),
                [Line(sequence.title, 16, True)])  # fmt: skip
    top = 26.0
    for number, remark in enumerate(sequence.remarks):
        for line in folded(remark, int((width - 20) / (10 * 0.55)), 2):
            drawing.box(f"remark {number} {top}", (LEFT, top, width - LEFT, 14),
                        [Line(line, 10, color=theme.faint)])  # fmt: skip
            top += 14
    return top + 6


def _lane_left(lane: int) -> float:
    return LEFT + GUTTER / 2 + lane * (LANE + GUTTER)


def _room(size: float) -> int:
    return int((LANE - 14) / (size * WIDE))


def _lines(item: Item, theme: Theme) -> tuple[Line, ...]:
    room = _room(SIZE)
    if item.kind in ("wait", "barrier"):
        lead = "barrier: " if item.kind == "barrier" else ""
        text = folded(lead + item.title, _room(SIZE), 3)
        return tuple(Line(t, SIZE, code=True) for t in text)
    if item.kind == "fold":
        first = fitted(item.title, LANE - 14, SIZE * (1.06 if item.lines else 1))
        rest = [fitted(t, LANE - 14, 8) for t in item.lines]
        return (
            Line(
                first, SIZE, bool(item.lines), color=theme.faint if not rest else None
            ),
            *(Line(t, 8, color=theme.faint) for t in rest),
        )
    title = folded(item.title, room, 2)
    lines = [Line(t, SIZE, True, code=True) for t in title]
    limit = 3 if item.kind == "call" else 2
    shown = item.lines[:limit]
    for told in shown:
        lines.append(Line(shortened(told, _room(8)), 8, code=item.kind == "step",
                          color=theme.faint))  # fmt: skip
    if len(item.lines) > limit:
        lines.append(Line(f"and {len(item.lines) - limit} more", 8, color=theme.faint))
    return tuple(lines)


def _height(lines: tuple[Line, ...]) -> float:
    return 8 + sum(line.size * 1.32 for line in lines)


def _rows(sequence: Sequence) -> list[int]:
    """The row of each item: below the lane's last one, and below what lets it go on."""
    rows = [-1] * len(sequence.items)
    free = 0
    for band in range(len(sequence.bands)):
        inside = [n for n, item in enumerate(sequence.items) if item.band == band]
        for _ in range(len(inside) + 1):  # until nothing moves: waits push down
            last: dict[int, int] = {}
            moved = False
            for number in inside:
                item = sequence.items[number]
                row = max(free, last.get(item.lane, free - 1) + 1)
                for cause, _name in item.causes:
                    if sequence.items[cause].band == band and cause != number:
                        row = max(row, rows[cause] + 1)
                moved |= row != rows[number]
                rows[number] = row
                last[item.lane] = row
            if not moved:
                break
        free = max((rows[n] for n in inside), default=free - 1) + 1
    return rows


def _heights(
    sequence: Sequence,
    rows: list[int],
    places: list[tuple[Line, ...]],
    top: float,
) -> tuple[dict[int, float], dict[int, float], list[tuple[float, float]], float]:
    """Top and height of each row, top and bottom of each band."""
    height: dict[int, float] = {}
    band_of: dict[int, int] = {}
    entered = {row for item, row in zip(sequence.items, rows) if item.causes}
    for item, row, lines in zip(sequence.items, rows, places):
        height[row] = max(height.get(row, 0), _height(lines))
        band_of[row] = item.band
    tops: dict[int, float] = {}
    bands: list[tuple[float, float]] = []
    at = top
    for band in range(len(sequence.bands)):
        start = at
        at += BAND_HEAD
        for row in sorted(r for r, b in band_of.items() if b == band):
            at += GAP if row in entered else SMALL_GAP
            tops[row] = at
            at += height[row]
        at += SMALL_GAP + 3
        bands.append((start, at))
        at += 4
    return tops, height, bands, at + 4


def _background(
    drawing: Chart,
    sequence: Sequence,
    theme: Theme,
    top: float,
    bands: list[tuple[float, float]],
    bottom: float,
    width: float,
) -> None:
    for number, (_, (start, end)) in enumerate(zip(sequence.bands, bands)):
        drawing.box(f"band {number}", (LEFT, start, width - LEFT, end - start), [],
                    fill=theme.band[number % 2], stroke=theme.quiet)  # fmt: skip
    for number, lane in enumerate(sequence.lanes):
        x = _lane_left(number)
        middle = x + LANE / 2
        drawing.box(f"life {number}", (middle - 0.5, top, 1, bottom - top - 8), [],
                    fill=theme.faint)  # fmt: skip
        lines = [Line(shortened(lane.title, _room(10)), 11, True)]
        if lane.remark:
            lines.append(Line(shortened(lane.remark, _room(7)), 8.5, color=theme.faint))
        drawing.box(f"lane {number}", (x, top, LANE, HEAD - 4), lines, fill=theme.quiet,
                    stroke=theme.ink, align="CENTER", tip=quoted(lane.title))  # fmt: skip
    for number, (band, (start, _)) in enumerate(zip(sequence.bands, bands)):
        room = int((width - 40) / (10 * 0.6))
        lines = [Line(shortened(f"{number + 1}  {band.title}", room), 11, True)]
        if band.remark:
            lines.append(Line(shortened(band.remark, int(room * 1.15)), 9,
                              color=theme.faint))  # fmt: skip
        drawing.box(f"band title {number}",
                    (LEFT + 2, start + 2, width - LEFT - 4, BAND_HEAD - 4), lines,
                    fill=theme.band[number % 2])  # fmt: skip


def _box(
    drawing: Chart,
    theme: Theme,
    number: int,
    item: Item,
    lines: tuple[Line, ...],
    at: tuple[float, float, float, float],
    base: str | None,
) -> None:
    look = {
        "call": (theme.call, theme.message, "solid", 1.4),
        "step": (theme.box, theme.ink, "solid", 1.0),
        "wait": (theme.wait, theme.good, "dashed", 1.2),
        "barrier": (theme.wait, theme.good, "bold", 2.4),
        "fold": (theme.quiet, theme.faint, "dotted", 1.0),
    }
    fill, stroke, style, width = look[item.kind]
    tip = tooltip(*(item.tip or [item.title, *item.lines]))
    drawing.box(f"{number} {item.title}", at, list(lines), fill=fill, stroke=stroke,
                style=style, width=width, tip=tip, url=link(base, item.file))  # fmt: skip


def _arrows(
    drawing: Chart,
    sequence: Sequence,
    theme: Theme,
    boxes: list[tuple[float, float, float, float]],
    rows: list[int],
    tops: dict[int, float],
) -> None:
    """From what happened to who waited for it, between the lanes and the rows."""
    used: dict[int, int] = {}
    for number, item in enumerate(sequence.items):
        for at, (cause, names) in enumerate(item.causes):
            source = sequence.items[cause]
            x, y, w, h = boxes[cause]
            tx, ty, tw, _ = boxes[number]
            right = item.lane > source.lane
            gutter = source.lane if right else source.lane - 1
            slot = used.get(gutter, 0)
            used[gutter] = slot + 1
            start = (x + w if right else x, y + h / 2)
            shift = 7 + 5 * (slot % 4)
            bend = start[0] + (shift if right else -shift)
            end_x = tx + tw / 2 + (14 * at - 20) * (1 if right else -1)
            level = ty - GAP / 2 + (4 if right else -1)
            tip = tooltip(f"{names}: {source.title} lets {item.title} go on")
            drawing.arrow(
                [start, (bend, start[1]), (bend, level), (end_x, level), (end_x, ty)],
                theme.good,
                1.5,
                tip,
            )
            label = shortened(names, _room(8) // 2)
            wide = len(label) * 8 * WIDE + 4
            left = end_x - wide - 6 if right else end_x + 6
            drawing.box(f"message {number} {at}", (left, level - 10, wide, 9),
                        [Line(label, 8, code=True, color=theme.good)])  # fmt: skip


def _legend(drawing: Chart, theme: Theme, top: float, width: float) -> None:
    kinds = [
        ("callback()", "callback that other CPUs notice", theme.call, theme.message,
         "solid"),
        ("function()", "step of the core", theme.box, theme.ink, "solid"),
        ("wait (...)", "waits; arrow: who lets it go on; bold: barrier", theme.wait, theme.good,
         "dashed"),
        ("12 steps", "folded: no known effect on others", theme.quiet, theme.faint,
         "dotted"),
    ]  # fmt: skip
    for number, (sample, text, fill, stroke, style) in enumerate(kinds):
        columns = max(1, int(width // 240))
        x = LEFT + number % columns * 240
        top += 20 if number and number % columns == 0 else 0
        drawing.box(f"legend {number}", (x, top, 62, 16),
                    [Line(sample, 8, code=True)], fill=fill, stroke=stroke,
                    style=style, align="CENTER")  # fmt: skip
        drawing.box(f"legend text {number}", (x + 64, top, 176, 16),
                    [Line(text, 8, color=theme.faint)])  # fmt: skip
