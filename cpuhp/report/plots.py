"""Schedules and sweeps as pictures, by matplotlib, which need not be installed.

The critical path is also there as DOT text, which needs nothing.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from cpuhp.diagnostics import fail
from cpuhp.report.diagrams.canvas import clean, quoted
from cpuhp.report.diagrams.theme import LIGHT
from cpuhp.report.estimates import Row, condensed, folded, seconds
from cpuhp.timing.estimate import Estimate, Scaling, Sweep
from cpuhp.timing.schedule import Placed

LANES = 28  # rows of a chart at most
COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#0072b2", "#d55e00")
OTHER = "#b8b8b8"


def _figure(width: float, height: float) -> tuple[Any, Any]:
    """A figure and its axes. Raises InputError HP932 without matplotlib."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        raise fail(
            "HP932",
            "a plot needs matplotlib, and it is not installed",
            help="pip install 'cpuhp[plot]'; the critical path as .dot needs nothing",
        ) from None
    # The same input gives the same file.
    matplotlib.rcParams["svg.hashsalt"] = "cpuhp"
    matplotlib.rcParams["font.family"] = ["DejaVu Sans"]
    figure, axes = pyplot.subplots(figsize=(width, height), layout="constrained")
    return figure, axes


def _saved(figure: Any, kind: str) -> bytes:
    from matplotlib import pyplot

    out = io.BytesIO()
    when = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[kind]
    figure.savefig(out, format=kind, dpi=150, metadata=when)
    pyplot.close(figure)
    return out.getvalue()


# -- schedules ---------------------------------------------------------------------


def gantt(found: Estimate, kind: str) -> bytes:
    """What each CPU does when; a line under a bar: the critical path.

    `kind`: png, svg or pdf. Of many CPUs the first and the last are drawn.
    """
    lanes, hidden = _lanes(found)
    height = 1.7 + 0.26 * len(lanes)
    figure, axes = _figure(11, height)
    unit, factor = _unit(found.makespan)
    colour = _colours(found)
    row = {lane: at for at, lane in enumerate(lanes)}
    bars: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for one in found.schedule.placed:
        at = row.get(_cpu(one.task.lane))
        if at is not None:
            shade = colour.get(one.task.step, OTHER)
            length = (one.end - one.start) * factor
            bars.setdefault((at, shade), []).append((one.start * factor, length))
    for (at, shade), spans in sorted(bars.items()):
        axes.broken_barh(spans, (at - 0.4, 0.7), facecolors=shade)
    marks: dict[int, list[tuple[float, float]]] = {}
    for one in found.schedule.critical_path:
        at = row.get(_cpu(one.task.lane))
        if at is not None:
            length = (one.end - one.start) * factor
            marks.setdefault(at, []).append((one.start * factor, length))
    for at, spans in marks.items():
        axes.broken_barh(spans, (at + 0.34, 0.1), facecolors=LIGHT.ink)
    for phase in found.phases:
        axes.axvline(phase.start * factor, color=LIGHT.faint, lw=0.6, ls=":")
    names = [f"CPU {cpu}" if cpu else "control CPU" for cpu in lanes]
    axes.set_yticks(range(len(lanes)), names, fontsize=7)
    axes.set_ylim(len(lanes) - 0.4, -0.6)
    axes.set_xlim(0, max(found.makespan * factor, 1e-12))
    axes.set_xlabel(f"time ({unit})" + (f"; {hidden} CPUs not drawn" if hidden else ""))
    axes.set_title(
        f"{found.scenario}, {found.cpus} CPUs: {seconds(found.makespan)}  "
        f"({found.costs.name})",
        fontsize=10,
    )
    _legend(figure, colour)
    return _saved(figure, kind)


def _cpu(lane: str) -> int:
    """The number of the CPU; 0 is the control CPU."""
    number = lane.rpartition("/")[2]
    return int(number) if number.isdigit() else 0


def _lanes(found: Estimate) -> tuple[list[int], int]:
    """The CPUs to draw, and how many others there are."""
    every = sorted({_cpu(lane) for lane in found.schedule.lanes})
    if len(every) <= LANES:
        return every, 0
    half = LANES // 2
    return [*every[:half], *every[-half:]], len(every) - 2 * half


def _colours(found: Estimate) -> dict[str, str]:
    """Colours for the steps that take most time, the critical path's first."""
    totals: dict[str, float] = {}
    for help_ in found.helps:
        totals[help_.step] = help_.on_path * 1e6
    for one in found.schedule.placed:
        totals[one.task.step] = totals.get(one.task.step, 0.0) + one.task.seconds
    ranked = sorted(totals, key=lambda step: (-totals[step], step))
    return dict(zip(ranked, COLOURS))


def _legend(figure: Any, colour: dict[str, str]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Patch(facecolor=c, label=step) for step, c in colour.items()]
    handles.append(Patch(facecolor=OTHER, label="other steps"))
    handles.append(Line2D([], [], color=LIGHT.ink, lw=2, label="critical path"))
    figure.legend(handles=handles, fontsize=7, ncols=5, loc="outside lower center",
                  frameon=False)  # fmt: skip


def _unit(makespan: float) -> tuple[str, float]:
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if makespan * factor >= 1:
            return unit, factor
    return "us", 1e6


# -- sweeps ------------------------------------------------------------------------


def scaling(scenario: str, costs: str, found: Sweep, kind: str) -> bytes:
    """Makespan over CPUs or a parameter, log-log, with the exponents that were fitted."""
    figure, axes = _figure(7.5, 5)
    ran = [p for p in found.points if not p.continued and p.makespan > 0]
    more = [p for p in found.points if p.continued]
    axes.plot([p.value for p in ran], [p.makespan for p in ran], "o", color=COLOURS[5],
              label="run")  # fmt: skip
    if more:
        axes.plot([p.value for p in more], [p.makespan for p in more], "o", mfc="none",
                  color=COLOURS[5], label="straight line continued")  # fmt: skip
    fits = ((found.whole, "--", COLOURS[6]), (found.upper, "-", COLOURS[2]))
    for fit, style, shade in fits:
        if fit is not None:
            _fitted(axes, fit, found, style, shade)
    axes.set_xscale("log", base=2 if found.name == "cpus" else 10)
    axes.set_yscale("log")
    axes.set_xlabel("CPUs" if found.name == "cpus" else f"{found.name} (s)")
    axes.set_ylabel("makespan (s)")
    if found.name == "cpus":
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(True, which="both", lw=0.3, color=LIGHT.faint, alpha=0.5)
    axes.set_title(f"{scenario} ({costs})", fontsize=10)
    axes.legend(fontsize=8)
    return _saved(figure, kind)


def _fitted(axes: Any, fit: Scaling, found: Sweep, style: str, shade: str) -> None:
    ends = (fit.first, fit.last)
    inside = [
        p for p in found.points if fit.first <= p.value <= fit.last and p.makespan
    ]
    # The line goes through the points' middle, as the fit did.
    from math import exp, log
    from statistics import fmean

    middle_x = fmean(log(p.value) for p in inside)
    middle_y = fmean(log(p.makespan) for p in inside)
    ys = [exp(middle_y + fit.exponent * (log(x) - middle_x)) for x in ends]
    label = f"x^{fit.exponent:.2f} from {fit.first:g} to {fit.last:g}"
    axes.plot(ends, ys, style, color=shade, lw=1.2, label=label)


# -- the critical path as a graph ----------------------------------------------------


def critical_dot(found: Estimate) -> str:
    """The critical path as DOT text.

    A box for each part; what comes round again and again stands in a frame of its own.
    Arrows say what was waited for.
    """
    title = f"{found.scenario}, {found.cpus} CPUs: {seconds(found.makespan)}"
    lines = [
        "digraph critical_path {",
        f'  label="{quoted(title)}"; labelloc=t; fontname="Helvetica";',
        f'  node [shape=box, style="rounded,filled", fillcolor="{LIGHT.call}", '
        'fontname="Helvetica"];',
        '  edge [fontname="Helvetica", fontsize=10];',
    ]
    number = 0
    for part, (rounds, rows) in enumerate(
        folded(condensed(found.schedule.critical_path))
    ):
        each = len(rows) // rounds
        first = number
        if rounds > 1:
            lines.append(f"  subgraph cluster_{part} {{")
            lines.append(f'    label="{rounds} times"; style=rounded;')
        for at in range(each):
            lines.append(f'    n{number} [label="{_box(rows[at::each])}"];')
            number += 1
        if rounds > 1:
            lines.append("  }")
            lines.append(f"  n{number - 1} -> n{first}{_waits(rows[each][0])}")
        for at in range(first, number):
            if at:
                lines.append(f"  n{at - 1} -> n{at}{_waits(rows[at - first][0])}")
    return "\n".join([*lines, "}"]) + "\n"


def _waits(placed: Placed) -> str:
    if not placed.waited_for:
        return ";"
    return f' [label="{quoted(placed.waited_for)}"];'


def _box(rows: Sequence[Row]) -> str:
    first, last = rows[0][0], rows[-1][1]
    lane = first.task.lane
    if last.task.lane != lane:
        lane += f" .. {last.task.lane.rpartition('/')[2]}"
    times = f" x {rows[0][2]}" if rows[0][2] > 1 else ""
    total = sum(row[1].end - row[0].start for row in rows)
    parts = (f"{clean(first.task.step)}{times}", lane, seconds(total))
    return "\\n".join(quoted(part) for part in parts)
