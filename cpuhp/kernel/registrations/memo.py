"""Answers about a tree's files, kept from one run to the next over small changes.

A review looks at the same tree again and again, with a few files changed each time.
What the other files say needs to be read only once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from cpuhp.kernel.registrations.facts import FileFacts
from cpuhp.kernel.registrations.find import Caller, Find, Wanted, registrations, search
from cpuhp.kernel.registrations.model import Note
from cpuhp.kernel.source.scan import Progress, over_files, quiet
from cpuhp.kernel.source.tree import Listing, Tree

Fact = FileFacts | Note


@dataclass
class Memo:
    """What was found in the tree on disk; every answer is for one tree with overlay.

    Used for a single run, it costs nothing. All trees must have the same root.
    """

    progress: Progress = quiet
    jobs: int | None = None
    _listing: dict[tuple[str, ...], Listing] = field(default_factory=dict)
    _facts: list[Fact] | None = None
    _finds: list[Find] = field(default_factory=list)
    _searched: Wanted = field(default_factory=Wanted)
    _folders: frozenset[str] = frozenset()

    def listing(self, tree: Tree, suffixes: tuple[str, ...]) -> Listing:
        """Like `tree.listing`."""
        if suffixes not in self._listing:
            self._listing[suffixes] = Tree(tree.root).listing(suffixes)
        kept = self._listing[suffixes]
        if not tree.overlay:
            return kept
        return Listing(tuple(tree.overlaid(kept.files, suffixes)), kept.skipped)

    def registrations(self, tree: Tree, files: Sequence[str]) -> list[Fact]:
        """What the files register, in the order of the files."""
        what = "looking for registrations"
        if self._facts is None:
            plain, known = _on_disk(tree, files)
            self._facts = over_files(
                plain, known, registrations, what, self.progress, self.jobs
            )
        changed = tree.overlay
        kept = [fact for fact in self._facts if _place(fact) not in changed]
        kept += registrations(tree, [f for f in files if f in changed])
        return sorted(kept, key=_place)

    def search(
        self, tree: Tree, files: Sequence[str], wanted: Wanted, folders: frozenset[str]
    ) -> list[Find]:
        """What the files say about the wanted; `folders` are those of headers seen."""
        if folders - self._folders:
            self._finds, self._searched, self._folders = [], Wanted(), folders
        missing = wanted - self._searched
        if missing:
            plain, known = _on_disk(tree, files)
            task = partial(search, wanted=missing)
            self._finds += over_files(
                plain, known, task, "looking for definitions", self.progress, self.jobs
            )
            self._searched = self._searched | missing
        changed = tree.overlay
        kept = [f for f in self._finds if f.file not in changed and _is_for(f, wanted)]
        kept += search(tree, [f for f in files if f in changed], wanted)
        return sorted(kept, key=_file)


def _on_disk(tree: Tree, files: Sequence[str]) -> tuple[Tree, list[str]]:
    """The tree without its overlay, and the files as they are there."""
    plain = Tree(tree.root)
    known = {file for file in files if file not in tree.overlay}
    known |= {file for file in tree.overlay if plain.has(file)}
    return plain, sorted(known)


def _place(fact: Fact) -> str:
    return fact.path if isinstance(fact, FileFacts) else fact.file


def _file(find: Find) -> str:
    return find.file


def _is_for(find: Find, wanted: Wanted) -> bool:
    if isinstance(find, Caller):
        return find.wrapper in wanted.callers
    name = getattr(find, "field", None)
    return name in wanted.fields if name else getattr(find, "name", "") in wanted.names
