"""The table of claims as text and as data."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

from cpuhp.report.estimates import seconds
from cpuhp.timing.claims import Settled
from cpuhp.timing.cost_file import UNITS

HEAD = ("claim", "claimed", "model", "ratio", "", "run", "what")
MISSED = 1e-4  # a fit that is further away is none


def claims_text(rows: Sequence[Settled]) -> str:
    """One line a claim; notes on contradictions under the table."""
    table = [HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[at]) for line in table) for at in range(len(HEAD) - 1)]
    lines = []
    for line in table:
        cells = [
            cell.rjust(width) if 0 < at < 4 else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(line, widths))
        ]
        lines.append("  ".join([*cells, line[-1]]).rstrip())
    fitted = [row for row in rows if row.claim.fits]
    predicted = [row for row in rows if not row.claim.fits and row.ratio is not None]
    lines += ["", f"{len(fitted)} rows settle parameters (fitted), {len(predicted)} are "
              "predicted with them."]  # fmt: skip
    lines += _spread(predicted)
    lines += _fitted(fitted)
    lines += _contradictions(rows)
    return "\n".join(lines) + "\n"


def _cells(row: Settled) -> tuple[str, ...]:
    claim = row.claim
    ratio = "-" if row.ratio is None else f"{row.ratio:.3f}"
    mark = kind(row) + (" !" if claim.contradiction else "")
    run = claim.run.scenario or claim.run.model
    run += f" {claim.run.cpus}" if claim.run.scenario else ""
    return (claim.name, claim.claimed or "-", _shown(row), ratio, mark, run, claim.text)


def kind(row: Settled) -> str:
    """Fitted, predicted, or not fitted: no value of the parameter gives the claim."""
    if not row.claim.fits:
        return "predicted"
    missed = row.ratio is None or abs(row.ratio - 1) > MISSED
    return "not fitted" if missed else "fitted"


def _shown(row: Settled) -> str:
    claim = row.claim
    if claim.unit in UNITS or not (claim.claimed or claim.over):
        return seconds(row.model)
    return f"{row.model:.6g} {claim.unit}".rstrip()


def _spread(predicted: Sequence[Settled]) -> list[str]:
    ratios = [
        row.ratio
        for row in predicted
        if row.ratio is not None and not row.claim.contradiction and not row.claim.bound
    ]
    if not ratios:
        return []
    near = sum(0.9 <= ratio <= 1.1 for ratio in ratios)
    return [
        f"Of {len(ratios)} predictions without a mark {near} are within 10 %; the ratios "
        f"are {min(ratios):.2f} to {max(ratios):.2f}."
    ]


def _fitted(rows: Sequence[Settled]) -> list[str]:
    lines = ["", "parameters and the rows that settle them"]
    for row in rows:
        assert row.parameter is not None
        lines.append(
            f"  {row.claim.run.costs}: {row.claim.fits} = {_value(row.parameter)} "
            f"({row.claim.name})"
        )
    return lines


def _value(value: float) -> str:
    return f"{value * 1e9:.3f} ns" if value < 1e-6 else seconds(value)


def _contradictions(rows: Sequence[Settled]) -> list[str]:
    marked = [row for row in rows if row.claim.contradiction]
    lines = ["", "! the sources contradict each other"] if marked else []
    for row in marked:
        told = f"{row.claim.name}: {row.claim.contradiction}"
        lines += wrap(told, 86, initial_indent="  ", subsequent_indent="    ")
    return lines


def claims_data(rows: Sequence[Settled]) -> dict[str, Any]:
    """The same for programs; docs/estimate.md tells the fields."""
    return {
        "claims": [
            {
                "claim": row.claim.name,
                "text": row.claim.text,
                "where": row.claim.where,
                "claimed": row.claim.claimed,
                "value": row.claim.value,
                "bound": row.claim.bound or None,
                "model": row.model,
                "unit": "s" if row.claim.unit in UNITS else row.claim.unit,
                "ratio": row.ratio,
                "kind": kind(row),
                "parameter": row.claim.fits or None,
                "parameter_value": row.parameter,
                "scenario": row.claim.run.scenario or None,
                "system": row.claim.run.model or None,
                "costs": row.claim.run.costs or None,
                "cpus": row.claim.run.cpus if row.claim.run.scenario else None,
                "contradiction": row.claim.contradiction or None,
            }
            for row in rows
        ]
    }
