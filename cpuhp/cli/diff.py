"""`cpuhp diff`: what changed in the hotplug table between two kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cpuhp.cli._options import json_option

if TYPE_CHECKING:
    from cpuhp.kernel.registrations.diff import Changed, Difference, Moved
    from cpuhp.kernel.registrations.model import Callback, Extraction, Row

CROSSED = 6

GROUP = "kernel"


@click.command(
    "diff",
    short_help="Compare the hotplug tables of two kernels.",
    epilog="Exit status: 0 the same, 1 they differ, 2 the input is not usable.",
)
@click.argument("before", metavar="BEFORE", type=click.Path())
@click.argument("after", metavar="AFTER", type=click.Path())
@click.option("--arch", metavar="ARCH", help="Architecture; others are left aside.")
@json_option
def command(before: str, after: str, arch: str | None, as_json: bool) -> None:
    """Compare the hotplug tables BEFORE and AFTER.

    Each is a kernel source tree, or a table that `cpuhp extract -o` wrote. Rows that
    --arch rules out in both are left aside.
    """
    from cpuhp.kernel.registrations.diff import difference

    found = difference(_read(before, arch), _read(after, arch))
    if as_json:
        import json

        click.echo(json.dumps(_as_json(found), indent=1))
    else:
        _print(found)
    raise SystemExit(0 if found.empty else 1)


def _read(path: str, arch: str | None) -> Extraction:
    from dataclasses import replace
    from pathlib import Path

    from cpuhp.cli.extract import progress
    from cpuhp.diagnostics import fail
    from cpuhp.kernel.registrations.as_json import from_json
    from cpuhp.kernel.registrations.extract import extract
    from cpuhp.kernel.source.tree import read_plain, shown

    if Path(path).is_dir():
        found = extract(path, arch=arch, progress=progress())
    else:
        data, reason = read_plain(str(Path(path).absolute()))
        if data is None:
            raise fail("HP622", f"'{shown(path)}': {reason}")
        found = from_json(data.decode("utf-8", "replace"), path)
    rows = tuple(row for row in found.rows if row.present != "no")
    return replace(found, rows=rows)


def _print(found: Difference) -> None:
    from cpuhp.kernel.source.tree import shown

    for side, mark in ((found.before, "---"), (found.after, "+++")):
        click.echo(f"{mark} Linux {side.version or '?'} in {shown(side.tree)}")
    if found.empty:
        click.echo("no difference")
        return
    _states(found)
    if found.moved_states:
        click.echo(f"\n{len(found.moved_states)} states moved")
        for moved in found.moved_states:
            click.echo(f"  {_moved(moved)}")
    if found.restated:
        click.echo(f"\n{len(found.restated)} states under other conditions")
        for r in found.restated:
            was, now = r.before or "none", r.after or "none"
            click.echo(f"  {r.state}: {r.what} {was} -> {now}")
    for title, rows, mark in (
        ("registrations removed", found.removed, "-"),
        ("registrations added", found.added, "+"),
    ):
        if rows:
            click.echo(f"\n{len(rows)} {title}")
            for row in rows:
                click.echo(f"  {mark} {_row(row)}")
    if found.changed:
        click.echo(f"\n{len(found.changed)} registrations changed")
        for change in found.changed:
            click.echo(f"  {_change(change)}")
    _edges(found)
    _affected(found)


def _edges(found: Difference) -> None:
    """Callbacks that run on the other side of others, and the checks that know them."""
    turned = [change for change in found.changed if change.crossed]
    if not turned:
        return
    specs = affected_specs(found)
    click.echo(f"\n{len(turned)} callbacks changed their order")
    for change in turned:
        click.echo(f"  {_order(change)}")
        click.echo(f"    across {_some(change.crossed)}")
        checks = checks_of(change, specs)
        click.echo(f"    checks: {', '.join(checks) or 'none has a model of it'}")


def _order(change: Changed) -> str:
    columns = {name: (a, b) for name, a, b in change.columns}
    before, after = columns["state"]
    functions = ", ".join(f"{name}()" for name in change.functions)
    return f"{functions or change.name}: {before} -> {after}"


def checks_of(change: Changed, specs: list[tuple[str, list[str]]]) -> list[str]:
    """Shipped files that name the callbacks or the new state of a registration."""
    own = {*change.functions, change.state, change.name}
    return [path for path, words in specs if own & set(words)]


def _some(names: tuple[str, ...]) -> str:
    more = len(names) - CROSSED
    return ", ".join(names[:CROSSED]) + (f" and {more} more" if more > 0 else "")


def _states(found: Difference) -> None:
    for title, names, mark, side in (
        ("states removed", found.removed_states, "-", found.before),
        ("states added", found.added_states, "+", found.after),
    ):
        if names:
            click.echo(f"\n{len(names)} {title}")
            for name in names:
                click.echo(f"  {mark} {side.value(name):3} {name}")
    if found.renamed_states:
        click.echo(f"\n{len(found.renamed_states)} states renamed")
        for renamed in found.renamed_states:
            click.echo(f"  {renamed.before} -> {renamed.after} ({renamed.why})")


def _moved(moved: Moved) -> str:
    text = f"{moved.state} {moved.before} -> {moved.after}"
    if moved.section_before is not moved.section_after:
        old = moved.section_before.value if moved.section_before else "?"
        new = moved.section_after.value if moved.section_after else "?"
        text += f", from {old} to {new}"
    if moved.crossed:
        text += f", across {_some(moved.crossed)}"
    return text


def _row(row: Row) -> str:
    callbacks = [
        f"{role} {_said(callback)}"
        for role, callback in (("startup", row.startup), ("teardown", row.teardown))
        if callback.exists
    ]
    where = f"{row.state or '?'} {row.name or row.name_expression!r}"
    return f"{where} {', '.join(callbacks)} ({_place(row)})"


def _said(callback: Callback) -> str:
    return callback.function or " or ".join(callback.candidates) or callback.expression


def _change(change: Changed) -> str:
    from cpuhp.kernel.source.tree import shown

    columns = "; ".join(
        f"{name} {shown(a) or 'none'} -> {shown(b) or 'none'}"
        for name, a, b in change.columns
    )
    return f"{change.name!r} at {_place(change.after)}: {columns}"


def _place(row: Row) -> str:
    from cpuhp.kernel.source.tree import shown

    return f"{shown(row.file)}:{row.line}"


def _affected(found: Difference) -> None:
    specs = affected_specs(found)
    if specs:
        click.echo(f"\n{len(specs)} shipped models and checks name what changed")
        for path, words in specs:
            click.echo(f"  {path}: {', '.join(words)}")


def affected_specs(found: Difference) -> list[tuple[str, list[str]]]:
    """Shipped spec files that name a changed state, callback or registered name.

    A check counts as well if it requires a component from such a file.
    """
    import re
    from pathlib import Path

    package = Path(__file__).resolve().parent.parent
    named: dict[str, list[str]] = {}
    components: set[str] = set()
    texts: dict[str, str] = {}
    for base in (package / "data", package.parent):
        for folder in ("specs", "checks"):
            for path in sorted((base / folder).rglob("*.hp")):
                text = path.read_text("utf-8", "replace")
                texts.setdefault(str(path.relative_to(base)), text)
    for name, text in sorted(texts.items()):
        words = sorted(found.words & set(re.findall(r'\w+|(?<=")[^"\n]+(?=")', text)))
        if words:
            named[name] = words
            components |= set(re.findall(r"\bcomponent\s+(\w+)", text))
    for name, text in sorted(texts.items()):
        required = re.findall(r"\brequires\s+([\w,\s]+?)\s*[{;]", text)
        needs = sorted(components & set(re.findall(r"\w+", " ".join(required))))
        if needs and name not in named:
            named[name] = [f"requires {component}" for component in needs]
    return sorted(named.items())


def _as_json(found: Difference) -> dict[str, object]:
    specs = affected_specs(found)
    return {
        "format": "cpuhp-table-diff",
        "version": 1,
        "before": found.before.version,
        "after": found.after.version,
        "states": {
            "added": list(found.added_states),
            "removed": list(found.removed_states),
            "renamed": [vars_of(r) for r in found.renamed_states],
            "moved": [vars_of(m) for m in found.moved_states],
            "restated": [vars_of(r) for r in found.restated],
        },
        "registrations": {
            "added": [_row_json(row) for row in found.added],
            "removed": [_row_json(row) for row in found.removed],
            "changed": [
                {
                    "name": change.name,
                    "state": change.state,
                    "at": _place(change.after),
                    "columns": {
                        name: {"before": a, "after": b} for name, a, b in change.columns
                    },
                    "crossed": list(change.crossed),
                    "checks": checks_of(change, specs),
                }
                for change in found.changed
            ],
        },
        "affected": [
            {"file": path, "because": words} for path, words in affected_specs(found)
        ],
    }


def vars_of(record: object) -> dict[str, object]:
    """The fields of a frozen record, sections by their value."""
    from dataclasses import asdict

    from cpuhp.model.table import Section

    fields = asdict(record)  # type: ignore[call-overload]
    return {k: v.value if isinstance(v, Section) else v for k, v in fields.items()}


def _row_json(row: Row) -> dict[str, object]:
    return {
        "state": row.state,
        "name": row.name,
        "at": _place(row),
        "startup": _said(row.startup) if row.startup.exists else None,
        "teardown": _said(row.teardown) if row.teardown.exists else None,
    }
