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
from cpuhp.report.estimates import condensed, seconds
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
    """Who does what when; the critical path has a dark rim. `kind`: png, svg or pdf."""
    placed = found.schedule.placed
    lanes, hidden = _lanes(found)
    figure, axes = _figure(11, 1.8 + 0.28 * len(lanes))
    unit, factor = _unit(found.makespan)
    colour = _colours(found)
    critical = {p.task.name for p in found.schedule.critical_path}
    row = {lane: at for at, lane in enumerate(lanes)}
    for one in placed:
        if one.task.lane in row:
            _bar(
                axes, one, row[one.task.lane], factor, colour, one.task.name in critical
            )
    for phase in found.phases:
        axes.axvline(phase.start * factor, color=LIGHT.faint, lw=0.6, ls=":")
    axes.set_yticks(range(len(lanes)), lanes, fontsize=7)
    axes.set_ylim(len(lanes) - 0.4, -0.6)
    axes.set_xlim(0, max(found.makespan * factor, 1e-12))
    axes.set_xlabel(
        f"time ({unit})" + (f"; {hidden} lanes not drawn" if hidden else "")
    )
    axes.set_title(
        f"{found.scenario}, {found.cpus} CPUs: {seconds(found.makespan)}  "
        f"({found.costs.name})",
        fontsize=10,
    )
    _legend(axes, colour)
    return _saved(figure, kind)


def _bar(
    axes: Any, one: Placed, row: int, factor: float, colour: dict[str, str], dark: bool
) -> None:
    axes.barh(
        row,
        (one.end - one.start) * factor,
        left=one.start * factor,
        height=0.72,
        color=colour.get(one.task.step, OTHER),
        edgecolor=LIGHT.ink if dark else "none",
        linewidth=0.9 if dark else 0,
        hatch=None,
    )


def _lanes(found: Estimate) -> tuple[list[str], int]:
    """The lanes to draw: the control task, then the first and last CPUs of each kind."""
    every = sorted(found.schedule.lanes, key=_lane_order)
    if len(every) <= LANES:
        return every, 0
    half = LANES // 2
    kept = [*every[:half], *every[-half:]]
    return kept, len(every) - len(kept)


def _lane_order(lane: str) -> tuple[int, str]:
    kind, _, cpu = lane.rpartition("/")
    return (int(cpu), kind) if cpu.isdigit() else (-1, lane)


def _colours(found: Estimate) -> dict[str, str]:
    """Colours for the steps that take most time, the critical path's first."""
    totals: dict[str, float] = {}
    for help_ in found.helps:
        totals[help_.step] = help_.on_path * 1e6
    for one in found.schedule.placed:
        totals[one.task.step] = totals.get(one.task.step, 0.0) + one.task.seconds
    ranked = sorted(totals, key=lambda step: (-totals[step], step))
    return dict(zip(ranked, COLOURS))


def _legend(axes: Any, colour: dict[str, str]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=shade, label=step) for step, shade in colour.items()]
    handles.append(Patch(facecolor=OTHER, label="other steps"))
    handles.append(Patch(facecolor="none", edgecolor=LIGHT.ink, label="critical path"))
    axes.legend(
        handles=handles, fontsize=7, ncols=5, loc="upper center",
        bbox_to_anchor=(0.5, -0.9 / (0.28 * max(1, len(axes.get_yticks())) + 0.6)),
        frameon=False,
    )  # fmt: skip


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
    """The critical path as DOT text: a box for each part, arrows say what was waited for."""
    rows = condensed(found.schedule.critical_path)
    title = f"{found.scenario}, {found.cpus} CPUs: {seconds(found.makespan)}"
    lines = [
        "digraph critical_path {",
        f'  label="{quoted(title)}"; labelloc=t; rankdir=LR;',
        f'  node [shape=box, style="rounded,filled", fillcolor="{LIGHT.call}", '
        f'fontname="Helvetica"];',
        '  edge [fontname="Helvetica", fontsize=10];',
    ]
    for number, (first, last, count) in enumerate(rows):
        lines.append(f'  n{number} [label="{_box(first, last, count)}"];')
        if number:
            label = f' [label="{quoted(first.waited_for)}"]' if first.waited_for else ""
            lines.append(f"  n{number - 1} -> n{number}{label};")
    return "\n".join([*lines, "}"]) + "\n"


def _box(first: Placed, last: Placed, count: int) -> str:
    lane = first.task.lane
    if last.task.lane != lane:
        lane += f" .. {last.task.lane.rpartition('/')[2]}"
    times = f" x {count}" if count > 1 else ""
    parts: Sequence[str] = (
        f"{clean(first.task.step)}{times}",
        lane,
        seconds(last.end - first.start),
    )
    return "\\n".join(quoted(part) for part in parts)
