"""`cpuhp why` as text for a terminal or a mail: 80 columns, plain ASCII."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from cpuhp.ordering.minimal import Sets
from cpuhp.ordering.questions import Outcome
from cpuhp.ordering.why import Cell, Role, Row, Why
from cpuhp.report.prose import WIDTH, wrapped

MARKS = {
    Role.NEEDED: "N",
    Role.REDUNDANT: "r",
    Role.HARMFUL: "H",
    Role.NEITHER: "x",
    Role.WITNESS: "w",
    Role.UNRELATED: ".",
    Role.UNKNOWN: "?",
}
LEGEND = (
    "N  needed: the check fails without it",
    "r  redundant: the check depends on it, and holds without it",
    "H  harmful: the check fails with it, and holds without it",
    "x  the check fails with it and without it",
    "w  what the check is about is not reached without it (its `sometimes`)",
    ".  no effect: the check is decided by the very same system without it",
)


def text(found: Why) -> Iterator[str]:
    """The whole page, line by line."""
    yield f"{found.scenario}: what is each piece for?"
    yield f"  all interleavings of {found.bound}; violations replayed"
    options = [r for r in found.rows if r.element.kind == "option"]
    if options:
        yield from _tables(found, options)
        yield from _options(options)
        yield from _sets(found)
    yield from _pieces([r for r in found.rows if r.element.kind != "option"])
    yield from _failing(found)
    yield ""
    yield f"{found.asked} questions, {found.runs} systems searched"


def _tables(found: Why, rows: Sequence[Row]) -> Iterator[str]:
    widest = max(len(name) for name in found.holds)
    for at, part in enumerate(_pages(rows, WIDTH - 2 - widest)):
        yield ""
        yield "Checks by options" + (" (continued)" if at else "")
        heads = [f" {_short(row.element.name):>3}" for row in part]
        yield " " * (widest + 2) + "".join(heads)
        silent = []
        for check in found.holds:
            marks = [MARKS[row.cells[check].role] for row in part]
            if set(marks) == {"."}:
                silent.append(check)
                continue
            line = "".join(f"{m:>{len(h)}}" for m, h in zip(marks, heads))
            yield f"  {check:<{widest}}{line}"
        if silent:
            yield from wrapped(f"no effect on: {', '.join(silent)}", "  ", "    ")
    yield ""
    yield from (f"  {line}" for line in LEGEND)


def _pages(rows: Sequence[Row], room: int) -> Iterator[list[Row]]:
    page: list[Row] = []
    used = 0
    for row in rows:
        width = 1 + max(3, len(_short(row.element.name)))
        if page and used + width > room:
            yield page
            page, used = [], 0
        page.append(row)
        used += width
    yield page


def _short(name: str) -> str:
    """A column's head: patch7 is p7; other options by their first letters."""
    if name.startswith("patch") and name[5:].isdigit():
        return f"p{name[5:]}"
    words = name.partition("=")[0].removeprefix("fix_").split("_")
    return "".join(words)[:4] if len(words) == 1 else "".join(w[:2] for w in words)[:4]


def _options(rows: Sequence[Row]) -> Iterator[str]:
    yield ""
    yield "Options"
    for row in rows:
        yield from _row(row, f"  {row.element.name:<10} ")


def _row(row: Row, lead: str) -> Iterator[str]:
    told = list(_told(row))
    for number, line in enumerate(told or ["no check depends on it"]):
        head = lead if number == 0 else " " * len(lead)
        yield from wrapped(line, head, " " * len(lead) + "  ")


def _told(row: Row) -> Iterator[str]:
    if row.unused:
        yield row.unused
    if "=" in row.element.name:
        yield from _with_value(row)
        return
    if row.carries:
        yield f"brings in the code that {_list(row.carries)} change"
    needed = row.checks(Role.NEEDED)
    if needed:
        because = {row.cells[check].because for check in needed}
        told = (
            f", because of {_list(*because)}"
            if len(because) == 1 and because != {()}
            else ""
        )
        yield f"NEEDED by {_list(needed)}{told}"
    for check in needed[:1]:
        yield f"without it {_counterexample(row.cells[check])}"
    if row.checks(Role.HARMFUL):
        yield f"HARMFUL to {_list(row.checks(Role.HARMFUL))}"
    if row.checks(Role.WITNESS):
        yield f"reached by it only: {_list(row.checks(Role.WITNESS))}"
    redundant = row.checks(Role.REDUNDANT)
    if row.narrows and not needed:
        yield f"redundant: it only leaves candidates out of the choice in {row.narrows}()"
    elif redundant and not needed and not row.carries:
        yield f"redundant: no check of the {len(redundant)} that depend on it needs it"
    elif redundant:
        yield f"redundant for {len(redundant)} {'other checks' if needed else 'checks'}"
    if row.checks(Role.UNKNOWN):
        yield f"not known for {_list(row.checks(Role.UNKNOWN))}"


def _with_value(row: Row) -> Iterator[str]:
    """What is different where an option has this other value."""
    if row.checks(Role.NEEDED):
        yield f"then {_list(row.checks(Role.NEEDED))} fails"
    if row.checks(Role.HARMFUL):
        yield f"then what fails now holds: {_list(row.checks(Role.HARMFUL))}"
    if row.checks(Role.WITNESS):
        yield f"then not reached: {_list(row.checks(Role.WITNESS))}"
    if row.checks(Role.REDUNDANT):
        yield f"all the same for {len(row.checks(Role.REDUNDANT))} checks"
    if row.checks(Role.UNKNOWN):
        yield f"not known for {_list(row.checks(Role.UNKNOWN))}"


def _counterexample(cell: Cell) -> str:
    assert cell.finding is not None and cell.question is not None
    found = cell.finding
    through = f", through {_list(found.callbacks)}" if found.callbacks else ""
    name = cell.question.check
    return f"{name} fails in {found.steps} steps of {found.cpus} CPUs{through}"


def _sets(found: Why) -> Iterator[str]:
    if not found.sets:
        return
    yield ""
    given = f", given {_list(found.given)}" if found.given else ""
    yield f"Minimal sets of options for which a check holds{given}"
    groups: dict[tuple[object, ...], list[str]] = {}
    for check, sets in found.sets.items():
        if sets.sufficient != (frozenset(),) or not sets.complete:
            key = (sets.sufficient, sets.insufficient, sets.complete)
            groups.setdefault(key, []).append(check)
    for checks in groups.values():
        yield from wrapped(_list(checks), "  ", "    ")
        sets = found.sets[checks[0]]
        for one in sets.sufficient:
            yield from wrapped(_braces(one), "    enough:     ", " " * 18)
        for one in sets.insufficient:
            yield from wrapped(_braces(one), "    not enough: ", " " * 18)
        if not sets.complete:
            yield "    there may be others: not all was searched"
    rest = [c for c, s in found.sets.items() if s.sufficient == (frozenset(),)]
    if rest:
        yield from wrapped(f"none needed: {_list(rest)}", "  ", "    ")
    for one in found.together[:4]:
        yield from wrapped(f"all of these together: {_braces(one)}", "  ", "    ")


def _pieces(rows: Sequence[Row]) -> Iterator[str]:
    titles = {
        "lock": "Locks",
        "wait": "Waits and barriers",
        "choice": "Conditions on whom a choice takes",
        "order": "Order of callbacks",
    }
    for kind, title in titles.items():
        part = [row for row in rows if row.element.kind == kind]
        if not part:
            continue
        yield ""
        yield title
        for row in part:
            if row.checks(Role.NEEDED) or row.checks(Role.UNKNOWN):
                name = f"{row.element.name}  ({row.element.where})"
                yield from wrapped(name, "  ", "    ")
                yield from _row(row, "    ")
        rest = [r for r in part if not r.checks(Role.NEEDED)]
        seen = [r for r in rest if r.checks(Role.REDUNDANT)]
        yield from _names("redundant, though checks depend on it:", seen)
        idle = [r for r in rest if not r.checks(Role.REDUNDANT)]
        yield from _names("no check that holds depends on it:", idle)


def _names(title: str, rows: Sequence[Row]) -> Iterator[str]:
    if not rows:
        return
    yield f"  {title}"
    if rows[0].element.kind == "order":
        pairs = [row.element.pair for row in rows]
        yield from wrapped(_list([f"{a}/{b}" for a, b in pairs]), "    ", "    ")
        return
    for row in rows:
        place = row.element.where.removeprefix("specs/")
        name = row.element.name
        room = WIDTH - 6 - len(place)
        name = name if len(name) <= room else name[: room - 3] + "..."
        yield f"    {name:<{room}}  {place}"


def _failing(found: Why) -> Iterator[str]:
    failing = [c for c, o in found.holds.items() if o is Outcome.FAILS]
    if not failing:
        return
    yield ""
    yield "Fails as it is; options that are off and would mend it alone"
    room = max(len(c) for c in failing)
    for check in failing:
        told = ", ".join(found.remedies.get(check, ())) or "-"
        yield from wrapped(told, f"  {check:<{room}}  ", " " * (room + 4))


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)


def _braces(names: frozenset[str]) -> str:
    ordered = sorted(names, key=lambda n: (len(n), n))
    return "{ " + " ".join(ordered) + " }" if ordered else "{ } (nothing)"


def as_json(found: Why) -> dict[str, Any]:
    """The documented form (docs/why.md), version 1."""
    return {
        "version": 1,
        "scenario": found.scenario,
        "bound": found.bound,
        "checks": {name: outcome.value for name, outcome in found.holds.items()},
        "pieces": [_piece(row) for row in found.rows],
        "given": list(found.given),
        "sets": {name: _all_sets(sets) for name, sets in found.sets.items()},
        "together": [sorted(one) for one in found.together],
        "remedies": {name: list(some) for name, some in found.remedies.items()},
        "questions": found.asked,
        "runs": found.runs,
    }


def _piece(row: Row) -> dict[str, Any]:
    return {
        "kind": row.element.kind,
        "name": row.element.name,
        "at": row.element.where,
        "unused": row.unused or None,
        "carries": list(row.carries),
        "checks": {
            check: {"role": cell.role.name, **_short_finding(cell)}
            for check, cell in row.cells.items()
            if cell.role is not Role.UNRELATED
        },
    }


def _short_finding(cell: Cell) -> dict[str, Any]:
    if cell.finding is None:
        return {}
    told = asdict(cell.finding)
    told["outcome"] = cell.finding.outcome.value
    return told


def _all_sets(sets: Sets) -> dict[str, Any]:
    return {
        "sufficient": [sorted(one) for one in sets.sufficient],
        "insufficient": [sorted(one) for one in sets.insufficient],
        "complete": sets.complete,
    }
