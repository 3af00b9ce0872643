"""Findings of an unchanged tree, kept from one run to the next.

A kept result counts only if nothing in the tree has changed: every source and makefile
by size, times and inode, and by content all files that the result speaks of; and if it
was made by this very version of the code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from cpuhp.diagnostics import InputError
from cpuhp.files import write_whole
from cpuhp.kernel.hazards.lint import Lint, Unread
from cpuhp.kernel.hazards.rules import Finding
from cpuhp.kernel.hazards.walk import Place
from cpuhp.kernel.registrations.as_json import from_json, to_json
from cpuhp.kernel.source.tree import CORE_FILE, ENUM_HEADER, MAX_DEPTH, Tree, read_plain

_NAMES = (".c", ".h", "Makefile", "Kbuild", ".config")
_MADE_BY = ("source", "registrations", "hazards")  # packages of this room
_MAX_BYTES = 64 << 20
WORTH = 2000  # files; a smaller tree is read as fast as a cache


def load(tree: Tree, folder: Path, settings: str) -> Lint | None:
    """The kept result for a tree; None if there is none or anything has changed."""
    place = _place(tree, folder, settings)
    try:
        if place.stat().st_size > _MAX_BYTES:
            return None
        kept = json.loads(place.read_text("utf-8"))
        if kept["tree"] != fingerprint(tree) or kept["code"] != _code():
            return None
        if kept["contents"] != _contents(tree, kept["files"]):
            return None
        return Lint(
            from_json(kept["extraction"], str(place)),
            tuple(_finding(finding) for finding in kept["findings"]),
            int(kept["callbacks"]),
            int(kept["functions"]),
            int(kept["depth"]),
            tuple(Unread(**unread) for unread in kept["unread"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError, InputError):
        return None


def store(tree: Tree, folder: Path, settings: str, found: Lint, before: str) -> None:
    """Keeps a result, if the tree is still as it was `before` the run began."""
    if fingerprint(tree) != before:
        return
    files = sorted(_files(found))
    kept = {
        "tree": before,
        "code": _code(),
        "files": files,
        "contents": _contents(tree, files),
        "extraction": to_json(found.extraction),
        "findings": [asdict(finding) for finding in found.findings],
        "callbacks": found.callbacks,
        "functions": found.functions,
        "depth": found.depth,
        "unread": [asdict(unread) for unread in found.unread],
    }
    place = _place(tree, folder, settings)
    with suppress(OSError, UnicodeError):  # a cache that cannot be kept is no error
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(place, json.dumps(kept))


def fingerprint(tree: Tree) -> str:
    """A digest of which sources and makefiles there are, and when they changed."""
    digest = sha256()
    for line in sorted(_stats(os.fspath(tree.root), "", 0)):
        digest.update(os.fsencode(line))
    return digest.hexdigest()


def _stats(root: str, folder: str, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        return
    try:
        with os.scandir(os.path.join(root, folder) if folder else root) as entries:
            found = list(entries)
    except OSError:
        yield f"{folder} unreadable\n"
        return
    for entry in found:
        path = f"{folder}/{entry.name}" if folder else entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _stats(root, path, depth + 1)
        elif entry.name.endswith(_NAMES):
            s = entry.stat(follow_symlinks=False)
            times = f"{s.st_mtime_ns} {s.st_ctime_ns}"
            yield f"{path} {s.st_mode} {s.st_size} {times} {s.st_ino}\n"


def _files(found: Lint) -> set[str]:
    files = {ENUM_HEADER, CORE_FILE}
    for row in found.extraction.rows:
        files.add(row.file)
        for callback in (row.startup, row.teardown):
            if callback.definition:
                files.add(callback.definition.file)
    for finding in found.findings:
        files |= {finding.file, *(place.file for place in finding.chain)}
    return files


def _contents(tree: Tree, files: list[str]) -> str:
    digest = sha256()
    for file in files:
        data = tree.read(file)
        digest.update(f"{file} {-1 if data is None else len(data)}\n".encode())
        digest.update(data or b"")
    return digest.hexdigest()


def _code() -> str:
    digest = sha256()
    for package in _MADE_BY:
        for path in sorted((Path(__file__).parents[1] / package).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _place(tree: Tree, folder: Path, settings: str) -> Path:
    key = sha256(os.fsencode(f"{tree.root}\n{settings}")).hexdigest()[:32]
    return folder / f"lint-{key}.json"


def settings_key(arch: str | None, config: str | None, depth: int) -> str:
    """What a result depends on beside the tree; a configuration by its content."""
    data = read_plain(os.path.realpath(config))[0] if config else None
    digest = sha256(data).hexdigest() if data is not None else config
    return f"{arch} {config} {digest} {depth}"


def _finding(data: dict[str, Any]) -> Finding:
    chain = tuple(Place(**place) for place in data["chain"])
    return Finding(**{**data, "chain": chain})
