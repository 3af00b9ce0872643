"""Hazards in the registered callbacks of a source tree."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cpuhp.kernel.hazards.checks import findings
from cpuhp.kernel.hazards.masks import picks
from cpuhp.kernel.hazards.rules import Finding, Subject
from cpuhp.kernel.hazards.summary import Summary, summary
from cpuhp.kernel.hazards.walk import DEPTH, Reached, Sources, walk
from cpuhp.kernel.registrations.extract import extract
from cpuhp.kernel.registrations.model import NO, Callback, Definition, Extraction, Row
from cpuhp.kernel.source.scan import Progress, quiet
from cpuhp.kernel.source.tree import Tree

_LEVELS = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True)
class Unread:
    """A callback that is registered in `file` and was not looked at, and why."""

    file: str
    line: int
    role: str
    callback: str
    state: str
    name: str
    why: str

    def __str__(self) -> str:
        what = f"{self.role} {self.callback} of {self.state} {self.name!r}"
        return f"{self.file}:{self.line}: {what} was not looked at: {self.why}"


@dataclass(frozen=True)
class Lint:
    """The findings of a tree, in the order of level, file and line."""

    extraction: Extraction
    findings: tuple[Finding, ...]
    callbacks: int
    functions: int
    depth: int
    unread: tuple[Unread, ...] = ()

    def has_read(self, finding: Finding) -> bool:
        """Could the callback be looked at that a finding, of another tree, is in?"""
        registered = (finding.role, finding.state, finding.name)
        return registered not in {(u.role, u.state, u.name) for u in self.unread}


@dataclass(frozen=True)
class Explanation:
    """What was looked at for one file: callback, functions reached, what they do."""

    state: str
    name: str
    role: str
    callback: str
    reached: tuple[str, ...]
    choices: tuple[str, ...]
    summary: Summary
    findings: tuple[Finding, ...]


def lint(
    path: str | Path,
    *,
    arch: str | None = None,
    config: str | Path | None = None,
    depth: int = DEPTH,
    progress: Progress = quiet,
) -> Lint:
    """All findings in the callbacks that the tree at `path` registers."""
    extraction = extract(path, arch=arch, config=config, progress=progress)
    return lint_tree(Tree(Path(extraction.tree)), extraction, depth, progress=progress)


def lint_tree(
    tree: Tree,
    extraction: Extraction,
    depth: int = DEPTH,
    before: Looked | None = None,
    progress: Progress = quiet,
) -> Lint:
    """All findings in a tree with its overlay, of which `extraction` is the table.

    `before` is what was looked at in another run over the same tree, with another
    overlay; what no change can have touched is taken from there.
    """
    looked = before if before is not None else Looked()
    subjects = list(_subjects(tree, extraction, depth, progress, looked))
    found = [finding for subject in subjects for finding in looked.findings(subject)]
    functions = {
        (where.file, where.function.name) for s in subjects for where in s.reached
    }
    return Lint(
        extraction,
        tuple(sorted(_distinct(found), key=_order)),
        len(subjects),
        len(functions),
        depth,
        tuple(_unread(extraction, looked)),
    )


def _unread(extraction: Extraction, looked: Looked) -> Iterable[Unread]:
    """Callbacks without a function that could be followed, and why."""
    for row in extraction.rows:
        if row.present == NO:
            continue
        for pair in _pairs(row):
            for role, callback in zip(("startup", "teardown"), pair, strict=True):
                if not callback.exists or _stubbed(callback):
                    continue
                functions = _functions(callback)
                if any(looked.walks.get((d.file, d.name)) for d in functions):
                    continue
                name = row.name or row.name_expression
                why = callback.reason or "no function of that name could be read"
                at, state = (row.file, row.line), row.state or "?"
                yield Unread(*at, role, callback.expression, state, name, why)


def _stubbed(callback: Callback) -> bool:
    """True if a callback is NULL, or not built, in all that is known of it."""
    definition = callback.definition
    places = (definition, *callback.alternatives) if definition else ()
    return bool(places) and not any(
        d.kind == "function" and d.present != NO for d in places
    )


@dataclass
class Looked:
    """Walks and findings that hold as long as no file near them changes."""

    overlay: Mapping[str, bytes | None] = field(default_factory=dict)
    walks: dict[tuple[str, str], tuple[Reached, ...]] = field(default_factory=dict)
    _found: dict[tuple[object, ...], tuple[Subject, list[Finding]]] = field(
        default_factory=dict
    )

    def move_to(self, overlay: Mapping[str, bytes | None]) -> None:
        """Forgets every walk that a difference between the overlays may touch."""
        changed = {
            file
            for file in {*overlay, *self.overlay}
            if overlay.get(file, ...) != self.overlay.get(file, ...)
        }
        folders = {posixpath.dirname(file) for file in changed}
        folders |= {posixpath.dirname(folder) for folder in folders}  # members_about()
        headers = {file for file in changed if file.endswith(".h")}
        for key, walked in list(self.walks.items()):
            near = {posixpath.dirname(where.file) for where in walked}
            near.add(posixpath.dirname(key[0]))
            if near & folders or headers & _included(walked):
                del self.walks[key]
        self.overlay = dict(overlay)

    def findings(self, subject: Subject) -> list[Finding]:
        """The findings in a callback, from before if it is the same one."""
        first = subject.reached[0]
        key = (subject.row, subject.role, first.file, first.function.name)
        kept = self._found.get(key)
        if kept is not None and _same(kept[0], subject):
            return kept[1]
        found = findings(subject)
        self._found[key] = (subject, found)
        return found


def _same(one: Subject, other: Subject) -> bool:
    pairs = [
        (one.reached, other.reached),
        (one.other, other.other),
        (one.opposite, other.opposite),
    ]
    return all(
        len(a) == len(b) and all(x is y for x, y in zip(a, b, strict=True))
        for a, b in pairs
    )


def _included(walked: Iterable[Reached]) -> set[str]:
    found = set()
    for where in walked:
        folder = posixpath.dirname(where.file)
        for _, name in where.source.includes:
            found |= {f"include/{name}", posixpath.normpath(f"{folder}/{name}")}
    return found


def explain(found: Lint, file: str) -> list[Explanation]:
    """Why the callbacks registered or defined in a file were reported or not."""
    answer = []
    tree = Tree(Path(found.extraction.tree))
    looked = Looked()
    for subject in _subjects(tree, found.extraction, found.depth, quiet, looked):
        row, callback = subject.row, subject.reached[0]
        if file not in (row.file, callback.file):
            continue
        own = tuple(findings(subject))
        answer.append(
            Explanation(
                row.state or "?",
                row.name or row.name_expression,
                subject.role,
                f"{callback.function.name} ({callback.file}:{callback.function.line})",
                tuple(
                    f"{'  ' * (len(w.chain) - 1)}{w.function.name} ({w.file}:"
                    f"{w.function.line})"
                    for w in subject.reached
                ),
                tuple(
                    f"{p.where.file}:{p.where.line(p.offset)}: {p.call}() from "
                    f"{', '.join(p.masks)}: class {p.mask.value}"
                    + ("" if p.is_target else ", nothing is handed over")
                    for p in picks(subject.reached)
                ),
                summary(subject, own),
                own,
            )
        )
    return answer


def _subjects(
    tree: Tree,
    extraction: Extraction,
    depth: int,
    progress: Progress,
    looked: Looked,
) -> Iterable[Subject]:
    sources = Sources(tree)
    looked.move_to(tree.overlay)

    def reached(definition: Definition) -> tuple[Reached, ...]:
        key = (definition.file, definition.name)
        if key not in looked.walks:
            looked.walks[key] = tuple(walk(sources, definition, depth))
        return looked.walks[key]

    beside = _by_file(extraction)
    for at, row in enumerate(extraction.rows):
        progress("following callbacks", at + 1, len(extraction.rows))
        if row.present == NO:
            continue
        for startup, teardown in _pairs(row):
            up = [r for d in _functions(startup) for r in reached(d)]
            down = [r for d in _functions(teardown) for r in reached(d)]
            for role, callback, other in (
                ("startup", startup, down),
                ("teardown", teardown, up),
            ):
                for definition in _functions(callback):
                    own = reached(definition)
                    if own:
                        opposite = "teardown" if role == "startup" else "startup"
                        others = beside.get((row.file, opposite), [])
                        more = [r for d in others for r in reached(d)] if other else []
                        yield Subject(row, role, own, tuple(other), tuple(more))


def _by_file(extraction: Extraction) -> dict[tuple[str, str], list[Definition]]:
    """The callbacks that each file registers, by role."""
    found: dict[tuple[str, str], list[Definition]] = {}
    for row in extraction.rows:
        for startup, teardown in _pairs(row):
            found.setdefault((row.file, "startup"), []).extend(_functions(startup))
            found.setdefault((row.file, "teardown"), []).extend(_functions(teardown))
    return found


def _pairs(row: Row) -> list[tuple[Callback, Callback]]:
    if row.variants:
        return [(v.startup, v.teardown) for v in row.variants]
    return [(row.startup, row.teardown)]


def _functions(callback: Callback) -> list[Definition]:
    """The functions that a callback may be: not the stubs of other branches."""
    if callback.definition is None:
        return []
    found = [callback.definition, *callback.alternatives]
    functions = [d for d in found if d.kind == "function" and d.present != NO]
    if callback.kind == "function":
        return functions[:1]
    return functions


def _distinct(found: Iterable[Finding]) -> list[Finding]:
    """One finding a place and rule, however many registrations lead there."""
    chosen: dict[tuple[str, str, int, str, str], Finding] = {}
    for finding in found:
        shared = finding.file.startswith("include/")  # each caller has its own
        user = finding.chain[0].file if shared else ""
        key = (finding.rule, finding.file, finding.line, finding.role, user)
        other = chosen.get(key)
        if other is None or _weight(finding) < _weight(other):
            chosen[key] = finding
    return list(chosen.values())


def _weight(finding: Finding) -> tuple[int, int]:
    return (_LEVELS[finding.level], len(finding.chain))


def _order(finding: Finding) -> tuple[int, str, int, str]:
    return (_LEVELS[finding.level], finding.file, finding.line, finding.rule)
