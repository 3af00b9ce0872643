"""A patch applied to a private copy of a tree: in memory, never on disk.

Hunks are placed as `patch` places them: where they say, else nearby, else with up to
two lines of context fewer at either end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cpuhp.diagnostics import fail
from cpuhp.kernel.patches.series import FileChange, Hunk, Patch
from cpuhp.kernel.source.tree import Tree

MAX_FUZZ = 2
MAX_OVERLAY = 256 << 20  # bytes of changed files


@dataclass(frozen=True)
class Failure:
    """A part of a patch that does not apply; `hunk` None if it is the whole file."""

    file: str
    reason: str
    hunk: Hunk | None = None


@dataclass(frozen=True)
class Shift:
    """A hunk that applies `offset` lines off, or with `fuzz` lines of context fewer."""

    file: str
    hunk: Hunk
    offset: int
    fuzz: int


@dataclass(frozen=True)
class Applied:
    """The tree after a patch. What failed was left out; `touched` are the rest."""

    tree: Tree
    touched: tuple[str, ...]
    failures: tuple[Failure, ...]
    shifts: tuple[Shift, ...]


def apply(tree: Tree, patch: Patch) -> Applied:
    """`tree` with what can be applied of `patch`; HP643 if that is too much."""
    overlay: dict[str, bytes | None] = dict(tree.overlay)
    failures: list[Failure] = []
    shifts: list[Shift] = []
    touched: set[str] = set()
    for change in patch.changes:
        now = replace(tree, overlay=overlay)
        reason = _unsafe(change) or change.problem or _misplaced(now, change)
        if reason:
            failures.append(Failure(change.path, reason))
            continue
        _one(now, change, overlay, touched, failures, shifts)
    if sum(len(data) for data in overlay.values() if data) > MAX_OVERLAY:
        raise fail("HP643", f"the patches change more than {MAX_OVERLAY >> 20} MiB")
    return Applied(
        replace(tree, overlay=overlay),
        tuple(sorted(touched)),
        tuple(failures),
        tuple(shifts),
    )


def _one(
    tree: Tree,
    change: FileChange,
    overlay: dict[str, bytes | None],
    touched: set[str],
    failures: list[Failure],
    shifts: list[Shift],
) -> None:
    data = tree.read(change.before) if change.before else b""
    lines = _split(data or b"")
    drift, done = 0, 0
    for hunk in change.hunks:
        placed = _place(lines, hunk, drift)
        if placed is None:
            failures.append(Failure(change.path, _why(lines, hunk), hunk))
            continue
        at, fuzz, new, count = placed
        lines[at : at + count] = new
        offset = at - fuzz - hunk.index - drift
        if (offset or fuzz) and change.before:
            shifts.append(Shift(change.path, hunk, offset, fuzz))
        drift += offset + len(new) - count
        done += 1
    if change.hunks and not done:
        return
    if change.after is None and change.hunks and lines:
        reason = "it removes the file, but not all of its lines"
        failures.append(Failure(change.path, reason))
        return
    if change.before and change.before != change.after and not change.is_copy:
        overlay[change.before] = None
        touched.add(change.before)
    if change.after:
        overlay[change.after] = "".join(lines).encode("latin-1")
        touched.add(change.after)


def _unsafe(change: FileChange) -> str | None:
    for path in (change.before, change.after):
        if path is None:
            continue
        parts = path.split("/")
        if path.startswith("/") or ".." in parts or ".git" in parts or "" in parts:
            return "its path leads out of the tree"
        if not path.isprintable():
            return "its path has characters that no source file has"
    return None


def _misplaced(tree: Tree, change: FileChange) -> str | None:
    if change.after not in (None, change.before) and tree.has(change.after):
        return "the file exists already"
    if change.before is None:
        return None
    if tree.has(change.before):
        data, reason = tree.read_or_reason(change.before)
        return reason if data is None else None
    if tree.overlay.get(change.before, b"") is None:
        return "an earlier patch has removed the file"
    return "the tree has no such file"


def _split(data: bytes) -> list[str]:
    lines = [line + "\n" for line in data.decode("latin-1").split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _place(
    lines: list[str], hunk: Hunk, drift: int
) -> tuple[int, int, list[str], int] | None:
    """Where a hunk goes: line, fuzz, the new lines, and how many they replace."""
    leading = _context(hunk.lines)
    trailing = _context(hunk.lines[::-1])
    for fuzz in range(MAX_FUZZ + 1):
        head, tail = min(fuzz, leading), min(fuzz, trailing)
        if fuzz and head + tail == 0:
            return None
        part = hunk.lines[head : len(hunk.lines) - tail]
        old = [text for mark, text in part if mark != "+"]
        if fuzz and not old:
            return None
        guess = hunk.index + drift + head
        at = _find(lines, old, guess)
        if at is not None:
            return at, head, [text for mark, text in part if mark != "-"], len(old)
    return None


def _context(lines: tuple[tuple[str, str], ...]) -> int:
    for count, (mark, _) in enumerate(lines):
        if mark != " ":
            return count
    return len(lines)


def _find(lines: list[str], old: list[str], guess: int) -> int | None:
    """The place nearest to `guess` where `old` stands."""
    last = len(lines) - len(old)
    if not old:
        return max(guess, 0) if guess <= len(lines) else None
    places = [
        at
        for at in range(last + 1)
        if lines[at] == old[0] and lines[at : at + len(old)] == old
    ]
    return min(places, key=lambda at: (abs(at - guess), at), default=None)


def _why(lines: list[str], hunk: Hunk) -> str:
    new = [text for mark, text in hunk.lines if mark != "-"]
    if any(mark == "+" for mark, _ in hunk.lines) and (
        _find(lines, new, hunk.start) is not None
    ):
        return "what it adds is there already"
    old = [text for mark, text in hunk.lines if mark != "+"]
    if not old:
        return f"the file ends before line {hunk.start}"
    known = set(lines)
    foreign = next((text for text in old if text not in known), None)
    if foreign is not None:
        return f'the file has no line "{_shown(foreign)}"'
    return "its lines do not stand together in the file"


def _shown(line: str) -> str:
    text = line.encode("latin-1", "replace").decode("utf-8", "replace")
    return "".join(c for c in " ".join(text.split()) if c.isprintable())[:72]
