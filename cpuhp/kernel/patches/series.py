"""A patch series as it was sent: an mbox, a directory of patches, or a git range.

Nothing here touches a tree. Diffs are read with unidiff, file by file, so that one
damaged file leaves the others readable.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import cast

from cpuhp.diagnostics import fail
from cpuhp.kernel.source.tree import read_plain, shown

MAX_PATCHES = 500
_SUFFIXES = (".patch", ".diff", ".eml", ".mbox", ".mbx", ".txt")
# What begins a mail: the sentence "From the log of 12:30" does not.
_FROM = re.compile(
    rb"(?:\A|(?<=\n\n)|(?<=\n\r\n))"
    rb"From [^\n]*\d\d:\d\d:\d\d (?:[^\n]*[ ])?\d{4}\b[^\n]*\n"
)
_HEADER = re.compile(rb"\A(?:>?From [^\n]*\n)?[A-Za-z][\w-]*:[ \t]")
_START = re.compile(r"^(?:diff --git |--- [^\n]+\n\+\+\+ |Index: )", re.MULTILINE)
_FILE = re.compile(r"^(?=diff --git )", re.MULTILINE)
_TAG = re.compile(r"^\s*(?:\[[^\]]*\]\s*)+")
_NUMBER = re.compile(r"\[[^\]]*?\b(\d{1,4})/(\d{1,4})\b[^\]]*\]")
_TRAILER = re.compile(r"^[A-Z][\w-]+(?:-by|-to|)?:\s.*$|^(?:Cc|Fixes|Link|To): .*$")


@dataclass(frozen=True)
class Hunk:
    """One hunk. `lines` are pairs of a mark (space, + or -) and a line with its end.

    `start` is the first line, from 1, that it is about in the old file; `at` the line
    of its header in the patch's diff.
    """

    header: str
    start: int
    lines: tuple[tuple[str, str], ...]
    at: int

    @property
    def index(self) -> int:
        """How many old lines stand before it: one without old lines follows `start`."""
        has_old = any(mark != "+" for mark, _ in self.lines)
        return max(0, self.start - has_old)


@dataclass(frozen=True)
class FileChange:
    """What a patch does to one file; a path is None where there is no such file.

    `problem` says why the part could not be read; it then has no hunks. A copy leaves
    the file `before` where it is.
    """

    before: str | None
    after: str | None
    hunks: tuple[Hunk, ...] = ()
    problem: str | None = None
    is_copy: bool = False

    @property
    def path(self) -> str:
        return self.after or self.before or "?"


@dataclass(frozen=True)
class Patch:
    """One mail or commit: `subject` without its [PATCH] tag, `text` without trailers.

    `number` is what the tag says and `total` of how many, 0 if it says nothing; `source`
    where it was read.
    """

    subject: str
    tag: str
    number: int
    author: str
    text: str
    changes: tuple[FileChange, ...]
    source: str
    total: int = 0

    @property
    def title(self) -> str:
        return f"{self.tag} {self.subject}".strip()


@dataclass(frozen=True)
class Series:
    """Patches in the order in which they are meant to be applied.

    `missing` are the numbers that no patch has, of a series whose patches say how many
    there are, be it one patch alone. `merges` counts the merge commits of a git range:
    they are no patches, and what they change themselves is not seen.
    """

    name: str
    patches: tuple[Patch, ...]
    cover: Patch | None = None
    missing: tuple[int, ...] = ()
    merges: int = 0


def read_series(path: str | Path) -> Series:
    """The series in a file or directory. Raises InputError HP640-HP642."""
    name = shown(os.fspath(path))
    place = Path(path)
    if place.is_dir():
        mails = [m for file in _files(place) for m in _mails(file)]
    else:
        mails = _mails(place)
    return series_of(name, [(read_mail(data, source)) for data, source in mails])


def series_of(name: str, found: Sequence[Patch | None]) -> Series:
    """A series of what was read; HP642 if there is no patch in it."""
    read = [patch for patch in found if patch is not None]
    patches = [patch for patch in read if patch.changes]
    if not patches:
        raise fail(
            "HP642",
            f"'{name}' has no patch in it",
            help="give an mbox, a directory of patches, or a git range A..B",
        )
    if len(patches) > MAX_PATCHES:
        raise fail("HP642", f"'{name}' has more than {MAX_PATCHES} patches")
    numbers = [patch.number for patch in patches]
    if all(numbers) and len(set(numbers)) == len(numbers):
        patches.sort(key=lambda patch: patch.number)
    cover = next((p for p in read if not p.changes and p.number == 0 and p.tag), None)
    return Series(name, tuple(patches), cover, _missing(patches))


def _missing(patches: Sequence[Patch]) -> tuple[int, ...]:
    totals = {patch.total for patch in patches}
    if len(totals) != 1 or max(totals) > MAX_PATCHES:
        return ()
    there = {patch.number for patch in patches}
    return tuple(n for n in range(1, max(totals) + 1) if n not in there)


def _files(folder: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise fail("HP640", f"'{shown(str(folder))}': {error.strerror}") from error
    if "series" in names:
        return list(_listed(folder))
    return [folder / name for name in names if name.lower().endswith(_SUFFIXES)]


def _listed(folder: Path) -> Iterator[Path]:
    """The patches that quilt's file `series` lists."""
    name = shown(str(folder / "series"))
    data, reason = read_plain(os.fspath(folder / "series"))
    if data is None:
        raise fail("HP640", f"'{name}': {reason}")
    lines = data.decode("utf-8", "surrogateescape").splitlines()
    for number, line in enumerate(lines, 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        place = f"'{name}', line {number}"
        if words[0].startswith("/") or ".." in words[0].split("/"):
            raise fail("HP640", f"{place}: '{shown(words[0])}' leads out of the folder")
        if "-R" in words:
            raise fail(
                "HP640",
                f"{place}: '{shown(words[0])}' is to be taken back (-R)",
                help="reverse the patch itself, by 'interdiff PATCH /dev/null'",
            )
        if not (folder / words[0]).is_file():
            raise fail("HP640", f"{place}: there is no '{shown(words[0])}'")
        yield folder / words[0]


def _mails(path: Path) -> list[tuple[bytes, str]]:
    name = shown(os.fspath(path))
    data, reason = read_plain(os.path.realpath(path))
    if data is None:
        raise fail("HP640", f"'{name}': {reason}")
    return [(mail, name) for mail in split_mbox(data)]


def split_mbox(data: bytes) -> list[bytes]:
    """The mails of an mbox; a file that is none is one mail."""
    starts = [match.start() for match in _FROM.finditer(data)]
    if not starts or starts[0] != 0:
        return [data]
    ends = [*starts[1:], len(data)]
    return [data[a:b] for a, b in zip(starts, ends, strict=True)]


def read_mail(data: bytes, source: str) -> Patch | None:
    """The patch in a mail, a patch file or a bare diff; None for a reply without one.

    A mail without a diff that is no reply is kept: it may be the cover letter.
    """
    subject, author, body = "", "", data.decode("latin-1")
    if _HEADER.match(data):
        first, _, rest = data.partition(b"\n")
        mail = message_from_bytes(
            rest if first.startswith((b"From ", b">From ")) else data,
            policy=policy.default,
        )
        subject = _one_line(mail, "subject")
        author = _one_line(mail, "from")
        body = _body(mail)
    if re.match(r"(?:re|aw|sv)\s*:", subject, re.IGNORECASE):
        return None
    start = _START.search(body)
    head = body[: start.start()] if start else body
    diff = body[start.start() :] if start else ""
    tag = _TAG.match(subject)
    number = _NUMBER.match(subject)
    plain = subject[tag.end() :] if tag else subject
    return Patch(
        plain or Path(source).name,
        tag[0].strip() if tag else "",
        int(number[1]) if number else 0,
        author,
        _text(head),
        tuple(_changes(diff)),
        source,
        int(number[2]) if number else 0,
    )


def _one_line(mail: object, name: str) -> str:
    try:
        value = str(cast(EmailMessage, mail)[name] or "")
    except (ValueError, LookupError, AttributeError, IndexError, TypeError):
        return ""  # a header that is damaged beyond what the library repairs
    value = value.encode("utf-8", "replace").decode()
    return "".join(c for c in " ".join(value.split()) if c.isprintable())


def _body(mail: EmailMessage) -> str:
    """The text parts of a mail, bytes as latin-1."""
    parts = []
    for part in mail.walk():
        if part.get_content_type() == "text/html":
            continue  # the text once more
        if part.get_content_maintype() in ("text", "application"):
            try:
                payload = part.get_payload(decode=True)
            except (ValueError, LookupError, AssertionError):
                payload = None
            if isinstance(payload, bytes):
                parts.append(payload.decode("latin-1").replace("\r\n", "\n"))
    return "\n".join(parts)


def _text(head: str) -> str:
    """The message above the diff: UTF-8, without the part below --- and trailers."""
    text = head.encode("latin-1").decode("utf-8", "replace")
    text = re.split(r"^---\s*$", text, maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line.rstrip() for line in text.splitlines()]
    kept = [line for line in lines if not _TRAILER.match(line)]
    return "\n".join(kept).strip()


def _changes(diff: str) -> Iterator[FileChange]:
    line = 1
    for part in _FILE.split(diff):
        if part.strip():
            yield from _part(part, line)
        line += part.count("\n")


def _part(part: str, line: int) -> Iterator[FileChange]:
    from unidiff.errors import UnidiffParseError
    from unidiff.patch import PatchSet

    lines = [text + "\n" for text in part.split("\n")]
    lines[-1] = lines[-1][:-1]
    try:
        files = PatchSet(lines)
    except (UnidiffParseError, ValueError, IndexError, AttributeError) as error:
        name = re.search(r"^(?:diff --git a/|--- a/|\+\+\+ b/)(\S+)", part, re.M)
        path = name[1] if name else "?"
        yield FileChange(path, path, problem=f"the diff is damaged: {_said(error)}")
        return
    headers = re.findall(r"^@@", part, re.MULTILINE)
    unread = len(headers) != sum(len(file) for file in files)
    is_copy = re.search(r"^copy from ", part, re.MULTILINE) is not None
    for file in files:
        before = None if file.is_added_file else _path(file.source_file)
        after = None if file.is_removed_file else _path(file.target_file)
        problem = "a binary change" if file.is_binary_file else None
        if file.is_symlink or file.is_submodule:
            problem = "a symbolic link or submodule"
        elif unread:
            problem = "the diff is damaged: a header of a hunk cannot be read"
        elif not len(file) and not problem:
            problem = _without_hunk(part)
        hunks = tuple(
            Hunk(
                f"@@ -{h.source_start},{h.source_length} "
                f"+{h.target_start},{h.target_length} @@ {h.section_header}".rstrip(),
                h.source_start,
                tuple(_lines(h)),
                line - 2 + min((x.diff_line_no or 2) for x in h),
            )
            for h in file
            if len(h)
        )
        yield FileChange(before, after, () if problem else hunks, problem, is_copy)


def _without_hunk(part: str) -> str | None:
    """Why a part is damaged that has no hunk; None if it moves, makes or drops a file."""
    if re.search(r"^GIT binary patch$", part, re.MULTILINE):
        return "a binary change"
    if re.search(r"^--- .*\n\+\+\+ ", part, re.MULTILINE):
        return "the diff is damaged: it has no hunk"
    return None


def _lines(hunk: Sequence[object]) -> Iterator[tuple[str, str]]:
    for at, line in enumerate(hunk):
        kind, value = getattr(line, "line_type", " "), getattr(line, "value", "")
        if kind not in (" ", "+", "-"):
            continue  # a marker, or an empty line behind the hunk
        following = hunk[at + 1] if at + 1 < len(hunk) else None
        if getattr(following, "line_type", "") == "\\":
            value = value.rstrip("\n")
        yield (kind, value)


def _path(name: str) -> str:
    plain = re.sub(r"^[abciow]/", "", name)
    return plain.encode("latin-1", "replace").decode("utf-8", "replace")


def _said(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return "".join(c for c in (text[0] if text else "") if c.isprintable())[:80]
