"""A series out of a git repository, and the files as they were before it.

git only reads: no hooks, filters, external diffs or pagers of the repository run.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from cpuhp.diagnostics import fail
from cpuhp.kernel.patches.series import Series, read_mail, series_of, split_mbox
from cpuhp.kernel.source.tree import MAX_FILE, Tree, shown

_RANGE = re.compile(
    r"(?:(?P<folder>.+):)?(?P<old>[^\s:.][^\s:]*?)\.\.(?P<new>[^\s:.]*)"
)
_TIMEOUT = 120  # seconds
_MAX_OUTPUT = 64 << 20
MAX_BASE = 20_000  # files that differ between the tree and the start of a range


@dataclass(frozen=True)
class Range:
    """`old..new` in the repository at `folder`; None is the tree itself."""

    folder: str | None
    old: str
    new: str


def parse_range(text: str) -> Range | None:
    """`A..B` or `DIR:A..B`; None if it is something else."""
    found = _RANGE.fullmatch(text)
    if found is None or found["old"].startswith("-"):
        return None
    return Range(found["folder"], found["old"], found["new"] or "HEAD")


def read_range(wanted: Range, tree: Tree) -> tuple[Series, Tree]:
    """The commits of a range as patches, and the tree that they start from.

    If the repository is the tree's own, the files that differ between its first commit
    and the tree are taken as that commit has them. Raises InputError HP644.
    """
    folder = wanted.folder or os.fspath(tree.root)
    old = _commit(folder, wanted.old)
    new = _commit(folder, wanted.new)
    options = ["--no-signature", "--no-ext-diff", "--no-textconv", "--no-renames"]
    options += ["--src-prefix=a/", "--dst-prefix=b/"]
    data = _git(folder, "format-patch", "--stdout", *options, f"{old}..{new}")
    name = f"{wanted.old}..{wanted.new}"
    series = series_of(name, [read_mail(mail, name) for mail in split_mbox(data)])
    merges = _git(folder, "rev-list", "--count", "--min-parents=2", f"{old}..{new}")
    series = replace(series, merges=int(merges))
    top = _git(folder, "rev-parse", "--show-toplevel").decode("utf-8", "replace")
    if Path(top.rstrip("\n")) == tree.root:
        tree = replace(tree, overlay=_base(folder, old))
    return series, tree


def _commit(folder: str, name: str) -> str:
    given = [
        "rev-parse",
        "--verify",
        "--quiet",
        "--end-of-options",
        f"{name}^{{commit}}",
    ]
    found = _git(folder, *given, missing=f"there is no commit '{shown(name)}'")
    return found.decode("ascii", "replace").strip()


def _base(folder: str, commit: str) -> dict[str, bytes | None]:
    """Files of the work tree that differ from a commit, as the commit has them."""
    options = ["--no-ext-diff", "--no-textconv", "--no-renames", "--ignore-submodules"]
    listed = _git(folder, "diff", *options, "--name-only", "-z", commit)
    names = [os.fsdecode(name) for name in listed.split(b"\0") if name]
    if len(names) > MAX_BASE:
        raise fail(
            "HP644",
            f"the tree differs from the start of the range in {len(names)} files",
            help="check out a commit of the range, or its start",
        )
    asked = "".join(f"{commit}:{name}\n" for name in names if "\n" not in name)
    answer = _git(folder, "cat-file", "--batch", text=os.fsencode(asked))
    overlay: dict[str, bytes | None] = {}
    at = 0
    for name in (n for n in names if "\n" not in n):
        end = answer.index(b"\n", at)
        head = answer[at:end].split()
        at = end + 1
        if head[-1:] == [b"missing"] or len(head) != 3:
            overlay[name] = None
            continue
        size = int(head[2])
        if head[1] == b"blob" and size <= MAX_FILE:
            overlay[name] = answer[at : at + size]
        at += size + 1
    return overlay


def _git(folder: str, *words: str, text: bytes = b"", missing: str = "") -> bytes:
    command = ["git", "--no-pager", "-C", folder]
    command += ["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]
    above = os.path.dirname(
        os.path.realpath(folder)
    )  # a repository around it is not it
    environment = {
        **os.environ,
        "GIT_CEILING_DIRECTORIES": above,
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
    }
    try:
        done = subprocess.run(
            [*command, *words],
            input=text,
            capture_output=True,
            timeout=_TIMEOUT,
            env=environment,
            check=False,
        )
    except FileNotFoundError as error:
        raise fail("HP644", "git is not installed", help="give an mbox") from error
    except subprocess.TimeoutExpired as error:
        raise fail("HP644", f"git took more than {_TIMEOUT} s") from error
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        said = shown(lines[0]) if lines else "git failed"
        said = (
            "it is no git repository" if "not a git repo" in said else missing or said
        )
        raise fail("HP644", f"'{shown(folder)}': {said}")
    if len(done.stdout) > _MAX_OUTPUT:
        raise fail("HP644", f"the range has more than {_MAX_OUTPUT >> 20} MiB of text")
    return done.stdout
