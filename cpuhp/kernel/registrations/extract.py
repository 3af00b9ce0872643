"""The hotplug table of a kernel source tree: every registration, where and what."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from cpuhp.diagnostics import fail
from cpuhp.kernel.registrations.callbacks import Known
from cpuhp.kernel.registrations.config import Config, load_config
from cpuhp.kernel.registrations.facts import MAX_SITES, FileFacts
from cpuhp.kernel.registrations.find import Wanted, search
from cpuhp.kernel.registrations.memo import Memo
from cpuhp.kernel.registrations.model import Enumerator, Extraction, Instance, Note, Row
from cpuhp.kernel.registrations.names import Files
from cpuhp.kernel.registrations.rows import call_row, static_row
from cpuhp.kernel.registrations.state_enum import StaticEntry, read_enum, read_static
from cpuhp.kernel.source.kbuild import Kbuild
from cpuhp.kernel.source.scan import Progress, quiet
from cpuhp.kernel.source.text import CText
from cpuhp.kernel.source.tree import CORE_FILE, ENUM_HEADER, Tree, open_tree, shown

_ROUNDS = 5
_SUFFIXES = (".c", ".h")


def extract(
    path: str | Path,
    *,
    arch: str | None = None,
    config: str | Path | None = None,
    progress: Progress = quiet,
    jobs: int | None = None,
) -> Extraction:
    """Everything that the tree at `path` registers in `enum cpuhp_state`.

    `arch` and `config` decide what is in the kernel that is meant; without them
    every row is kept as a maybe. Raises InputError HP610-HP617.
    """
    tree = open_tree(path)
    settings = load_config(tree, arch, config)
    return extract_tree(tree, settings, Memo(progress, jobs))


def extract_tree(tree: Tree, settings: Config, memo: Memo) -> Extraction:
    """Like `extract`, of a tree with its overlay; `memo` may be kept for the next."""
    enumerators = _enumerators(tree)
    listing = memo.listing(tree, _SUFFIXES)
    first = memo.registrations(tree, listing.files)
    facts = [item for item in first if isinstance(item, FileFacts)]
    notes = [item for item in first if isinstance(item, Note)]
    notes += [
        Note(
            shown(f.path),
            f"only the first {MAX_SITES:,} of {f.calls:,} calls were read",
        )
        for f in facts
        if f.calls
    ]
    notes += [Note(shown(s.path), f"not read: {s.reason}") for s in listing.skipped]
    entries, missing = _static(tree)
    files = Files(tree, settings)
    known = Known(files, Kbuild(tree), settings)
    _remember(known, facts)
    values = {e.name: e.value for e in enumerators if e.value is not None}
    rows: list[Row] = []
    for turn in range(_ROUNDS):
        rows = _rows(known, values, entries, facts)
        wanted = known.wanted - known.searched
        if not wanted:
            break
        _search(known, listing.files, wanted, turn, memo)
    instances = [i for f in facts for i in f.instances]
    removals = [i for f in facts for i in f.removals]
    return Extraction(
        tree=str(tree.root),
        version=tree.version,
        arch=settings.arch,
        config=settings.name,
        enumerators=enumerators,
        rows=tuple(_with_instances(rows, instances, removals)),
        instances=tuple(instances),
        notes=(*missing, *notes, *_parse_notes(rows)),
        files_scanned=len(listing.files),
    )


def _enumerators(tree: Tree) -> tuple[Enumerator, ...]:
    data = tree.read(ENUM_HEADER)
    found = read_enum(CText.of(data)) if data is not None else ()
    if not any(e.value is not None for e in found):
        raise fail(
            "HP617",
            f"{ENUM_HEADER} of '{shown(str(tree.root))}' has no readable "
            "enum cpuhp_state",
            help="the tree is older than the hotplug state machine, or not complete",
        )
    return found


def _static(tree: Tree) -> tuple[tuple[StaticEntry, ...], list[Note]]:
    data, reason = tree.read_or_reason(CORE_FILE)
    entries = read_static(CText.of(data)) if data is not None else ()
    if entries:
        return entries, []
    why = reason or "it has no cpuhp_hp_states that could be read"
    return (), [Note(CORE_FILE, f"the static table is missing: {why}")]


def _remember(known: Known, facts: Iterable[FileFacts]) -> None:
    """Spares the files with call sites a second reading."""
    for file in facts:
        for definition in file.definitions:
            key = (file.path, definition.name)
            known.local[key] = (*known.local.get(key, ()), definition)


def _rows(
    known: Known,
    values: dict[str, int],
    entries: Sequence[StaticEntry],
    facts: Sequence[FileFacts],
) -> list[Row]:
    rows = [static_row(known, values, entry) for entry in entries]
    for file in facts:
        rows += [call_row(known, values, file, site) for site in file.sites]
    return rows


def _search(
    known: Known,
    files: Sequence[str],
    wanted: Wanted,
    turn: int,
    memo: Memo,
) -> None:
    tree = known.files.tree
    rest = wanted
    if turn:
        # Later questions are about names in files that an earlier answer led to.
        near = _near(known, files)
        known.add(search(tree, near, wanted))
        rest = Wanted(
            frozenset(n for n in wanted.names if n not in known.definitions),
            wanted.fields,
            wanted.callers,
        )
    if rest:
        folders = frozenset(posixpath.dirname(file) for file, _ in known.local)
        seen = _visible_from(folders | {"kernel"}, files)
        known.add(memo.search(tree, seen, rest, folders))
    known.searched = known.searched | wanted


def _visible_from(folders: frozenset[str], files: Sequence[str]) -> list[str]:
    """All C files, and the headers that a file with a registration may include."""
    return [
        file
        for file in files
        if file.endswith(".c")
        or file.startswith("include/")
        or "/include/asm/" in file
        or posixpath.dirname(file) in folders
    ]


def _near(known: Known, files: Sequence[str]) -> list[str]:
    places = {d.file for found in known.definitions.values() for d in found}
    places |= {f.file for found in known.fields.values() for f in found}
    places |= {c.file for found in known.callers.values() for c in found}
    folders = {posixpath.dirname(place) for place in places} - {"include/linux"}
    return [file for file in files if posixpath.dirname(file) in folders]


def _with_instances(
    rows: Sequence[Row], instances: Sequence[Instance], removals: Sequence[Instance]
) -> list[Row]:
    """Ties instance and remove calls to the registration of the state they name."""
    return [
        replace(
            row,
            instances=tuple(_places(row, instances, rows)),
            removals=tuple(_places(row, removals, rows)),
        )
        for row in rows
    ]


def _places(row: Row, uses: Sequence[Instance], rows: Sequence[Row]) -> Iterable[str]:
    again = [  # the same variable takes the result of the next call
        other.line
        for other in rows
        if (other.file, other.function) == (row.file, row.function)
        and other.result == row.result
        and other.line > row.line
    ]
    end = min(again, default=1 << 30)
    for use in uses:
        state = use.state.lstrip("&*")
        fixed = row.dynamic is None and state == row.state
        kept = row.slot is not None and _last(state) == _last(row.slot)
        here = (use.file, use.function) == (row.file, row.function)
        known = row.slot is not None and row.line < use.line < end
        kept = kept and use.file == row.file and (here or not use.local)
        if fixed or kept or (here and known and state == row.result):
            yield f"{shown(use.file)}:{use.line}"


def _last(expression: str) -> str:
    return expression.replace("->", ".").rpartition(".")[2].lstrip("*")


def _parse_notes(rows: Sequence[Row]) -> list[Note]:
    return [
        Note(
            f"{row.file}:{row.line}",
            "tree-sitter could not parse this call; it was read as text",
        )
        for row in rows
        if row.parser == "text" and not row.unresolved
    ]
