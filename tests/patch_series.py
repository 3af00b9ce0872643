"""Patch series made from edits, as git would have sent them."""

import difflib
from pathlib import Path


def diff(path, old, new):
    """A git diff between two texts of a file; None is no such file."""
    lines = difflib.unified_diff(
        (old or "").splitlines(keepends=True),
        (new or "").splitlines(keepends=True),
        "/dev/null" if old is None else f"a/{path}",
        "/dev/null" if new is None else f"b/{path}",
        n=3,
    )
    head = f"diff --git a/{path} b/{path}\n"
    if old is None:
        head += "new file mode 100644\n"
    if new is None:
        head += "deleted file mode 100644\n"
    return head + "".join(lines)


def mail(subject, text, diffs, number=1, total=1):
    """One patch as `git format-patch` writes it."""
    return (
        "From 0123456789abcdef0123456789abcdef01234567 Mon Sep 17 00:00:00 2001\n"
        "From: A Developer <developer@example.com>\n"
        "Date: Mon, 1 Jan 2024 00:00:00 +0000\n"
        f"Subject: [PATCH {number}/{total}] {subject}\n\n"
        f"{text}\n\nSigned-off-by: A Developer <developer@example.com>\n---\n"
        f" files | 1 +\n\n{''.join(diffs)}-- \n2.39.2\n\n"
    )


class Maker:
    """Collects edits of a tree as patches. The tree itself is only read."""

    def __init__(self, tree):
        self.tree = Path(tree)
        self.now = {}
        self.patches = []

    def text(self, path):
        if path not in self.now:
            place = self.tree / path
            exists = place.is_file()
            self.now[path] = place.read_text("latin-1") if exists else None
        return self.now[path]

    def patch(self, subject, text, edits):
        """`edits` maps a path to a function of its text, or to its new text."""
        diffs = []
        for path, edit in edits.items():
            old = self.text(path)
            new = edit(old) if callable(edit) else edit
            assert new != old, f"{path} would not change"
            diffs.append(diff(path, old, new))
            self.now[path] = new
        self.patches.append((subject, text, diffs))
        return self

    def mbox(self, place):
        total = len(self.patches)
        mails = [
            mail(*patch, number, total) for number, patch in enumerate(self.patches, 1)
        ]
        place.write_text("".join(mails), "latin-1")
        return place
