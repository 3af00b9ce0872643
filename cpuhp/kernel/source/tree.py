"""A source tree on disk: a bounded walk that follows no links and writes nothing."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cpuhp.diagnostics import fail

MAX_FILES = 400_000
MAX_DEPTH = 40
MAX_FILE = 32 << 20  # bytes; the largest header of a kernel has 22 MB, generated
ENUM_HEADER = "include/linux/cpuhotplug.h"
CORE_FILE = "kernel/cpu.c"
SKIPPED_TOP = frozenset({"tools", "Documentation", ".git", "debian"})


@dataclass(frozen=True)
class Skipped:
    """A file that was not read, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """The files of a walk, sorted, relative to the root with `/`."""

    files: tuple[str, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class Tree:
    """A kernel source tree, by its real path.

    `overlay` holds files as they would be after a change, by path; None is a file
    that the change removes. The tree on disk stays as it is.
    """

    root: Path
    overlay: Mapping[str, bytes | None] = field(default_factory=dict, hash=False)

    @property
    def version(self) -> str | None:
        """`VERSION.PATCHLEVEL.SUBLEVEL-EXTRA` as the top Makefile states it."""
        data = self.read("Makefile")
        if data is None:
            return None
        values: dict[str, str] = {}
        for line in data[:4096].decode("utf-8", "replace").splitlines():
            name, equals, value = line.partition("=")
            if equals:
                values.setdefault(name.strip(), value.strip())
        parts = [values.get(k, "") for k in ("VERSION", "PATCHLEVEL", "SUBLEVEL")]
        if not parts[0].isdigit():
            return None
        return ".".join(p for p in parts if p) + values.get("EXTRAVERSION", "")

    def read(self, path: str) -> bytes | None:
        """The bytes of a file inside the tree; None if it cannot or must not be read.

        A link anywhere on the way, a device, or a file over MAX_FILE is not read.
        """
        return self.read_or_reason(path)[0]

    def read_or_reason(self, path: str) -> tuple[bytes | None, str]:
        """Like `read`, with the reason when there are no bytes."""
        if path.startswith("/") or ".." in path.split("/"):
            return None, "outside the tree"
        if path not in self.overlay and self._through_link(path):
            return None, "reached through a symbolic link"
        return self.listed(path)

    def listed(self, path: str) -> tuple[bytes | None, str]:
        """Like `read_or_reason`, for a path that `listing` has given."""
        if path in self.overlay:
            data = self.overlay[path]
            return data, "" if data is not None else "removed by a patch"
        return read_plain(os.path.join(self.root, path))

    def has(self, path: str) -> bool:
        """True if `path` is a plain file of the tree, not reached through a link."""
        if path.startswith("/") or ".." in path.split("/"):
            return False
        if path in self.overlay:
            return self.overlay[path] is not None
        full = os.path.join(self.root, path)
        return os.path.isfile(full) and not self._through_link(path)

    def listing(self, suffixes: tuple[str, ...]) -> Listing:
        """All plain files with one of the suffixes, documentation and tools aside."""
        files: list[str] = []
        skipped: list[Skipped] = []
        for entry in _walk(os.fspath(self.root), skipped):
            if entry.endswith(suffixes):
                files.append(entry)
                if len(files) > MAX_FILES:
                    raise fail(
                        "HP610",
                        f"'{shown(str(self.root))}' has more than {MAX_FILES} sources",
                        help="give the top directory of one kernel source tree",
                    )
        files = self.overlaid(tuple(files), suffixes)
        return Listing(tuple(files), tuple(sorted(skipped, key=_path)))

    def overlaid(self, files: tuple[str, ...], suffixes: tuple[str, ...]) -> list[str]:
        """`files` of the tree on disk, as the overlay changes them."""
        kept = [file for file in files if file not in self.overlay]
        kept += [
            file
            for file, data in self.overlay.items()
            if data is not None
            and file.endswith(suffixes)
            and file.partition("/")[0] not in SKIPPED_TOP
        ]
        return sorted(kept)

    def names(self, folder: str) -> list[str]:
        """The entries of a directory, sorted; none if it cannot be read."""
        try:
            found = set(os.listdir(os.path.join(self.root, folder)))
        except OSError:
            found = set()
        for file, data in self.overlay.items():
            if posixpath.dirname(file) == folder:
                name = posixpath.basename(file)
                found = found - {name} if data is None else found | {name}
        return sorted(found)

    def folders(self, folder: str) -> list[str]:
        """The directories right below one, sorted, links left aside."""
        try:
            with os.scandir(os.path.join(self.root, folder)) as entries:
                found = {e.name for e in entries if e.is_dir(follow_symlinks=False)}
        except OSError:
            found = set()
        above = {posixpath.dirname(file) for file in self.overlay}
        found |= {
            posixpath.basename(a) for a in above if posixpath.dirname(a) == folder
        }
        return [f"{folder}/{name}" for name in sorted(found)]

    def _through_link(self, path: str) -> bool:
        full = os.fspath(self.root)
        for part in path.split("/"):
            full = os.path.join(full, part)
            if os.path.islink(full):
                return True
        return False


def open_tree(path: str | Path) -> Tree:
    """The kernel source tree at `path`; `InputError` if it does not look like one."""
    name = shown(os.fspath(path))
    try:
        root = Path(path).resolve(strict=True)
        mode = root.stat().st_mode
    except (OSError, RuntimeError, ValueError) as error:
        detail = getattr(error, "strerror", None) or "cannot be read"
        raise fail("HP611", f"'{name}': {detail}") from error
    if not stat.S_ISDIR(mode):
        raise fail(
            "HP612",
            f"'{name}' is not a directory",
            help="unpack the source archive and give the directory it makes",
        )
    tree = Tree(root)
    if not tree.has(ENUM_HEADER):
        raise fail(
            "HP613",
            f"'{name}' is not a kernel source tree: it has no {ENUM_HEADER}",
            help="give the directory that holds MAINTAINERS, kernel/ and include/",
        )
    return tree


def shown(path: str) -> str:
    """A path fit to print: bytes that are no UTF-8 and controls are escaped."""
    raw = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in raw)


def read_plain(full: str) -> tuple[bytes | None, str]:
    """The bytes of a plain file up to MAX_FILE, or None and the reason."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(full, flags)
    except (OSError, ValueError) as error:
        return None, getattr(error, "strerror", None) or "cannot be opened"
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None, "not a plain file"
        if status.st_size > MAX_FILE:
            return None, f"{status.st_size >> 20} MiB is too large to be a source"
        data = os.read(descriptor, status.st_size + 1)
        while len(data) < status.st_size:  # a short read, as on network mounts
            more = os.read(descriptor, status.st_size - len(data))
            if not more:
                break
            data += more
        return data, ""
    except OSError as error:
        return None, error.strerror or "cannot be read"
    finally:
        os.close(descriptor)


def _walk(root: str, skipped: list[Skipped]) -> Iterator[str]:
    pending = [("", 0)]
    while pending:
        folder, depth = pending.pop()
        try:
            with os.scandir(os.path.join(root, folder) if folder else root) as entries:
                found = list(entries)
        except OSError as error:
            skipped.append(Skipped(folder or ".", error.strerror or "cannot be read"))
            continue
        for entry in found:
            path = f"{folder}/{entry.name}" if folder else entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    if not folder and entry.name in SKIPPED_TOP:
                        continue
                    if depth >= MAX_DEPTH:
                        skipped.append(Skipped(path, "nested too deeply"))
                    else:
                        pending.append((path, depth + 1))
                elif entry.is_file(follow_symlinks=False):
                    yield path
            except OSError as error:
                skipped.append(Skipped(path, error.strerror or "cannot be read"))


def _path(item: Skipped) -> str:
    return item.path
