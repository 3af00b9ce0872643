"""`cpuhp extract`: the hotplug table of a kernel source tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cpuhp.cli._options import json_option

if TYPE_CHECKING:
    from pathlib import Path

    from cpuhp.kernel.registrations.model import Callback, Extraction, Row
    from cpuhp.kernel.source.scan import Progress

SHOWN = 20

GROUP = "kernel"


@click.command(
    "extract",
    short_help="Read the hotplug table out of a kernel source tree.",
    epilog="Exit status: 0 the table was read, 2 the input is not usable.",
)
@click.argument("tree", metavar="TREE", type=click.Path())
@click.option(
    "--arch", metavar="ARCH", help="Architecture, as in arch/ or as uname -m prints it."
)
@click.option(
    "--config",
    type=click.Path(),
    metavar="FILE",
    help="Kernel configuration that decides what is built. Default: .config in TREE.",
)
@click.option(
    "--states",
    type=click.Path(),
    metavar="FILE",
    help="A recorded /sys/devices/system/cpu/hotplug/states file to join by name.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    metavar="FILE",
    help="Write the table as JSON.",
)
@json_option
@click.option("--rows", is_flag=True, help="Also print every row.")
def command(
    tree: str,
    arch: str | None,
    config: str | None,
    states: str | None,
    output: str | None,
    as_json: bool,
    rows: bool,
) -> None:
    """Read every hotplug callback registration out of the kernel sources in TREE.

    Nothing in TREE is changed and nothing outside it is read. What cannot be
    resolved is kept in the table, with the reason.
    """
    from cpuhp.kernel.registrations.as_json import to_json
    from cpuhp.kernel.registrations.extract import extract
    from cpuhp.kernel.registrations.join import join
    from cpuhp.kernel.tables.states_file import read_states

    target = _target(output, tree) if output else None
    recorded = read_states(states) if states else None
    found = extract(tree, arch=arch, config=config, progress=progress())
    if recorded is not None:
        found = join(found, recorded)
    if target is not None:
        write_atomically(target, to_json(found))
    if as_json:
        click.echo(to_json(found), nl=False)
        return
    _summary(found)
    if rows:
        _rows(found)
    if target is not None:
        click.echo(f"written to {target}")


def progress() -> Progress:
    """Progress on stderr where that is a terminal; silence elsewhere."""
    import sys

    from cpuhp.kernel.source.scan import quiet

    stream = sys.stderr
    if not stream.isatty():
        return quiet

    def show(what: str, done: int, total: int) -> None:
        end = "\r\x1b[K" if done >= total else ""
        stream.write(f"\r{what}: {done} of {total} files{end}")
        stream.flush()

    return show


def write_atomically(target: Path, text: str) -> None:
    """Writes a file so that it is whole or not there. Raises InputError HP620."""
    from cpuhp.diagnostics import fail
    from cpuhp.files import write_whole

    try:
        write_whole(target, text)
    except OSError as error:
        raise fail("HP620", f"cannot write '{target}': {error.strerror}") from error


def _target(output: str, tree: str) -> Path:
    from pathlib import Path

    from cpuhp.diagnostics import fail

    target = Path(output)
    place = target.parent.resolve()
    root = Path(tree).resolve()
    if place == root or root in place.parents:
        raise fail(
            "HP621",
            f"'{output}' lies inside the source tree, which is never written to",
            help="give a place outside it",
        )
    return target


def _summary(found: Extraction) -> None:
    from cpuhp.kernel.registrations.as_json import counts, dynamic_ranges
    from cpuhp.kernel.source.tree import shown
    from cpuhp.model.table import Section

    number = counts(found)
    click.echo(f"Linux {found.version or '(unknown version)'} in {shown(found.tree)}")
    settings = [
        f"architecture {found.arch}" if found.arch else "every architecture",
        f"configuration {found.config}" if found.config else "no configuration",
    ]
    click.echo(f"{', '.join(settings)}; {found.files_scanned} files scanned")
    click.echo(
        f"{len(found.enumerators)} constants in enum cpuhp_state; "
        + "; ".join(f"{n} {a}..{b}" for n, (a, b) in dynamic_ranges(found).items())
    )
    click.echo(
        f"{number['call_sites']} call sites in {number['files']} files and "
        f"{number['static']} entries of the static table, "
        f"{number['multi_instance']} multi-instance"
    )
    for section in Section:
        inside = [row for row in found.rows if row.section is section]
        dynamic = sum(row.dynamic is not None for row in inside)
        extra = f", {dynamic} of them dynamic" if dynamic else ""
        click.echo(f"  {section.value:8} {len(inside):4} rows{extra}")
    if found.arch or found.config:
        _presence(found)
    _join_summary(found)
    _unresolved(found)
    print_notes(found)


def _presence(found: Extraction) -> None:
    from collections import Counter

    number = Counter(row.present for row in found.rows)
    click.echo(
        f"in this kernel: {number['yes']} rows certainly, {number['maybe']} perhaps, "
        f"{number['no']} not"
    )


def _join_summary(found: Extraction) -> None:
    if found.join is None:
        return
    missing = found.join.not_in_tree
    click.echo(
        f"recorded in {found.join.source}: {found.join.matched} states have a row, "
        f"{len(missing)} have none"
    )
    for state in missing[:SHOWN]:
        click.echo(f"  {state.number:3}: {state.name} is not registered in this tree")
    for name in found.join.ambiguous:
        click.echo(f"  {name} has several rows: --arch and --config tell them apart")


def _unresolved(found: Extraction) -> None:
    rows = [row for row in found.rows if row.unresolved]
    if not rows:
        click.echo("every column of every row is resolved")
        return
    click.echo(f"{len(rows)} rows with something unresolved:")
    for row in rows[:SHOWN]:
        click.echo(f"  {_place(row)}: {'; '.join(row.unresolved)}")
    if len(rows) > SHOWN:
        click.echo(f"  and {len(rows) - SHOWN} more")


def _rows(found: Extraction) -> None:
    def order(row: Row) -> tuple[int, bool, str, int]:
        number = row.recorded.number if row.recorded else row.number
        return (9999 if number is None else number, row.is_call, row.file, row.line)

    for row in sorted(found.rows, key=order):
        number = row.recorded.number if row.recorded else row.number
        where = row.section.value if row.section else "?"
        live = " live" if row.recorded else ""
        click.echo(
            f"{'?' if number is None else number:>3} {where:8} "
            f"{row.state or '?'} {row.name or row.name_expression!r} {row.kind}{live}"
        )
        click.echo(
            f"      {row.api} at {_place(row)} in {row.function or 'no function'}"
        )
        for role, found_callback in (("up", row.startup), ("down", row.teardown)):
            if found_callback.exists:
                click.echo(f"      {role:4} {_callback(found_callback)}")
        conditions = [*row.guards, *row.runtime_guards]
        conditions += [row.kbuild] if row.kbuild else []
        if conditions:
            click.echo(f"      if   {' && '.join(conditions)} ({row.present})")


def _callback(callback: Callback) -> str:
    name = callback.function or " or ".join(callback.candidates) or callback.expression
    if callback.definition is None:
        return f"{name} ({callback.reason})" if callback.reason else name
    from cpuhp.kernel.source.tree import shown

    place = callback.definition
    return f"{name} at {shown(place.file)}:{place.line}"


def _place(row: Row) -> str:
    from cpuhp.kernel.source.tree import shown

    return f"{shown(row.file)}:{row.line}"


def print_notes(found: Extraction) -> None:
    """What could not be read of the tree, to be told by every verb that reads one."""
    for note in found.notes[:SHOWN]:
        click.echo(f"note: {note.file}: {note.message}")
    if len(found.notes) > SHOWN:
        click.echo(f"note: and {len(found.notes) - SHOWN} more notes")
