"""A timeline of a trace as SVG: a lane for each CPU, its actors one above the other.

Time without an operation is cut out, and the cut says how much it was. Calls that would
be narrower than half a pixel are left out; the caption says how many.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape

from cpuhp.kernel.traces.conform import Conformance
from cpuhp.kernel.traces.operations import KICK_WORK, Operation, OperationKind, is_up
from cpuhp.kernel.traces.spans import Actor, SpanOfCall

WIDTH, LEFT, TOP, CUT = 1200, 70, 92, 26
ROW, GAP = 12, 10
MAX_BOXES = 20_000
NARROWEST = 0.5
_ACTORS = tuple(Actor)
LANE = ROW * len(_ACTORS) + 4
# Okabe and Ito's colours, which colour-blind eyes tell apart.
COLOURS = {
    Actor.CONTROL: "#0072b2",
    Actor.IDLE: "#cc79a7",
    Actor.STOPPER: "#d55e00",
    Actor.THREAD: "#009e73",
}
_BACK = {OperationKind.BRINGUP: "#eef4fa", OperationKind.TEAR_DOWN: "#f6f0e6"}
_STYLE = (
    "text{font:11px sans-serif;fill:#1a1a1a}.h{font-size:17px;font-weight:bold}"
    ".n{fill:#555}.bad{fill:#b00020;font-weight:bold}"
    ".op{stroke:#777;stroke-width:.6}.cut{stroke:#777;stroke-dasharray:2 3}"
)


@dataclass(frozen=True)
class Scale:
    """Time to pixels: parts of the trace with cuts in between. `parts` ascend."""

    parts: tuple[tuple[float, float], ...]

    @property
    def per_second(self) -> float:
        busy = sum(end - start for start, end in self.parts) or 1e-9
        return (WIDTH - LEFT - 20 - CUT * (len(self.parts) - 1)) / busy

    def at(self, time: float) -> float:
        x = float(LEFT)
        for start, end in self.parts:
            if time <= end:
                return x + max(0.0, time - start) * self.per_second
            x += (end - start) * self.per_second + CUT
        return x - CUT

    def covers(self, time: float) -> bool:
        return any(start <= time <= end for start, end in self.parts)


def scale_of(operations: Iterable[Operation]) -> Scale:
    """Parts in which something goes up or down; at most twelve of them."""
    times = sorted((o.start, o.end) for o in operations)
    parts: list[tuple[float, float]] = []
    for start, end in times:
        if parts and start <= parts[-1][1]:
            parts[-1] = (parts[-1][0], max(end, parts[-1][1]))
        else:
            parts.append((start, end))
    busy = sum(end - start for start, end in parts)
    limit = 0.05 * busy
    while True:
        merged: list[tuple[float, float]] = []
        for start, end in parts:
            if merged and start - merged[-1][1] <= limit:
                merged[-1] = (merged[-1][0], end)
            else:
                merged.append((start, end))
        if len(merged) <= 12:
            return Scale(tuple(merged))
        limit *= 2


def timeline(answer: Conformance, calls: Iterable[SpanOfCall], title: str) -> str:
    """The picture's text. It tells its contents in words, too."""
    shown = [o for o in answer.operations if o.kind is not OperationKind.REGISTRATION]
    cpus = sorted({o.cpu for o in shown})
    rows = {cpu: TOP + n * (LANE + GAP) for n, cpu in enumerate(cpus)}
    scale = scale_of(shown)
    bottom = TOP + len(cpus) * (LANE + GAP)
    boxes, left_out = _calls(calls, scale, rows, answer.names)
    words = _words(answer, shown, cpus)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
        f'height="{bottom + 44}" viewBox="0 0 {WIDTH} {bottom + 44}" role="img" '
        'aria-labelledby="title desc">'
    )
    out = [
        head,
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="desc">{escape(words)}</desc>',
        f"<style>{_STYLE}</style>",
        f'<rect width="{WIDTH}" height="{bottom + 44}" fill="#fff"/>',
        f'<text class="h" x="12" y="26">{escape(title)}</text>',
        *_legend(),
        *(_lane(cpu, y) for cpu, y in rows.items()),
        *(_operation(o, scale, rows[o.cpu]) for o in shown),
        *boxes,
        *_cuts(scale, bottom),
        _caption(answer, left_out, bottom),
        "</svg>",
    ]
    return "\n".join(out) + "\n"


def _words(answer: Conformance, shown: list[Operation], cpus: list[int]) -> str:
    ups = sum(o.kind is OperationKind.BRINGUP for o in shown)
    rolled = sum(o.rolled_back for o in shown)
    text = (
        f"{len(shown)} operations on {len(cpus)} CPUs: {ups} bringups and "
        f"{len(shown) - ups} tear-downs, {rolled} rolled back."
    )
    for wave in answer.parallel:
        text += f" Up to {wave.most_at_once} of {len(wave.cpus)} CPUs came up at once."
    for o in shown[:64]:
        end = ", rolled back" if o.rolled_back else ""
        bad = "" if o.explained else ", deviates"
        text += (
            f" CPU{o.cpu} {o.kind.value} {_known(o.before)} to {_known(o.after)} "
            f"in {_time(o.end - o.start)}{end}{bad}."
        )
    return text


def _legend() -> list[str]:
    out = []
    for n, actor in enumerate(_ACTORS):
        x = LEFT + n * 150
        out.append(
            f'<rect x="{x}" y="42" width="14" height="{ROW - 2}" '
            f'fill="{COLOURS[actor]}"/><text x="{x + 20}" y="51">{actor.value}</text>'
        )
    x = LEFT + len(_ACTORS) * 150
    for n, (kind, colour) in enumerate(_BACK.items()):
        out.append(
            f'<rect class="op" x="{x + n * 130}" y="42" width="14" height="10" '
            f'fill="{colour}"/><text x="{x + 20 + n * 130}" y="51">{kind.value}</text>'
        )
    out.append(
        f'<text class="n" x="{LEFT}" y="72">In a lane the rows are, from above: '
        f"{', '.join(a.value for a in _ACTORS)}.</text>"
    )
    return out


def _lane(cpu: int, y: int) -> str:
    return (
        f'<text x="12" y="{y + LANE / 2 + 4:.0f}">CPU{cpu}</text>'
        f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y + LANE}" y2="{y + LANE}" '
        'stroke="#ddd"/>'
    )


def _operation(o: Operation, scale: Scale, y: int) -> str:
    x, end = scale.at(o.start), scale.at(o.end)
    told = f"CPU{o.cpu} {o.kind.value} {_known(o.before)} to {_known(o.after)}, "
    told += f"{_time(o.end - o.start)}, lines {o.first_line} to {o.last_line}"
    mark = ""
    if o.rolled_back or not o.explained:
        sign, what = ("!", "deviates") if not o.explained else ("R", "rolled back")
        told += f", {what}"
        mark = f'<text class="bad" x="{x:.1f}" y="{y - 1}">{sign}</text>'
    return (
        f'<rect class="op" x="{x:.1f}" y="{y}" width="{max(1.0, end - x):.1f}" '
        f'height="{LANE}" fill="{_BACK[o.kind]}"><title>{escape(told)}</title></rect>'
        + mark
    )


def _calls(
    calls: Iterable[SpanOfCall],
    scale: Scale,
    rows: Mapping[int, int],
    names: Mapping[int, str],
) -> tuple[list[str], int]:
    boxes: list[str] = []
    left_out = 0
    for span in calls:
        enter, exit_ = span.call
        if enter.cpu not in rows or not scale.covers(enter.time):
            continue
        x = scale.at(enter.time)
        width = scale.at(exit_.time) - x
        if width < NARROWEST or len(boxes) >= MAX_BOXES:
            left_out += 1
            continue
        y = rows[enter.cpu] + 2 + ROW * _ACTORS.index(span.actor)
        # Calls that enclose others are only outlined, or they would hide them.
        outer = enter.function == KICK_WORK or _encloses(span)
        paint = f'fill="{COLOURS[span.actor]}"'
        if outer:
            paint = f'fill="none" stroke="{COLOURS[span.actor]}"'
        boxes.append(
            f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 2}" {paint}>'
            f"<title>{escape(_told(span, names))}</title></rect>"
        )
    return boxes, left_out


def _encloses(span: SpanOfCall) -> bool:
    name = span.call.enter.function
    return name in ("bringup_cpu", "cpuhp_bringup_ap", "takedown_cpu")


def _told(span: SpanOfCall, names: Mapping[int, str]) -> str:
    enter, exit_ = span.call
    name = names.get(enter.step, "")
    way = "up" if is_up(enter) else "down"
    result = f", result {exit_.ret}" if exit_.ret else ""
    return (
        f"CPU{enter.cpu} {way}: step {enter.step} {name} ({enter.function}), "
        f"{span.actor.value}, {_time(span.call.seconds)}{result}, line {enter.line}"
    )


def _cuts(scale: Scale, bottom: int) -> list[str]:
    out = []
    for (_, end), (start, _) in zip(scale.parts, scale.parts[1:], strict=False):
        x = scale.at(end) + CUT / 2
        out.append(
            f'<line class="cut" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" '
            f'y2="{bottom}"/><text class="n" x="{x:.1f}" y="{bottom + 12}" '
            f'text-anchor="middle">{_time(start - end)}</text>'
        )
    return out


def _caption(answer: Conformance, left_out: int, bottom: int) -> str:
    share = "conforms" if answer.conforms else f"{len(answer.deviations)} deviations"
    share = share if answer.checked else "nothing checked"
    text = f"Linux {answer.kernel or 'of unknown version'}; {share}."
    if left_out:
        text += f" {left_out} short calls are not drawn."
    return f'<text class="n" x="12" y="{bottom + 32}">{escape(text)}</text>'


def _known(state: int | None) -> str:
    return "?" if state is None else str(state)


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s"
    if seconds >= 0.001:
        return f"{seconds * 1e3:.2f} ms"
    return f"{seconds * 1e6:.0f} us"
