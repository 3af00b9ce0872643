"""What a patch series does to the hotplug table and to the hazards of a tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from cpuhp.kernel.hazards.lint import Lint, Looked, lint_tree
from cpuhp.kernel.hazards.rules import Finding
from cpuhp.kernel.hazards.walk import DEPTH
from cpuhp.kernel.patches.apply import Applied, apply
from cpuhp.kernel.patches.claims import Claim, claims, given, judged
from cpuhp.kernel.patches.damage import Damage, damages
from cpuhp.kernel.patches.series import Patch, Series
from cpuhp.kernel.registrations.config import Config, load_config
from cpuhp.kernel.registrations.diff import Difference, difference
from cpuhp.kernel.registrations.extract import extract_tree
from cpuhp.kernel.registrations.memo import Memo
from cpuhp.kernel.registrations.model import Extraction
from cpuhp.kernel.source.scan import Progress, quiet
from cpuhp.kernel.source.tree import Tree

MAX_LEFT_OUT = 60  # longer series are not tried without each of their patches


@dataclass(frozen=True)
class Change:
    """A hazard of a callback before and after a patch; None is none of that sort.

    Not so if only one of the two callbacks could be looked at (`unread`): then nobody
    knows whether the other one has it.
    """

    before: Finding | None
    after: Finding | None
    unread: bool = False


@dataclass(frozen=True)
class Need:
    """What the series is without one patch.

    `left` are findings that only this patch removes, `cured` those that are gone
    without it, `broken` sentences about later patches that then fail.
    """

    left: tuple[Finding, ...] = ()
    cured: tuple[Finding, ...] = ()
    broken: tuple[str, ...] = ()
    table: bool = False

    @property
    def is_needed(self) -> bool:
        return bool(self.left or self.broken or self.table)


@dataclass(frozen=True)
class Reviewed:
    """One patch: how it applies, what it changes, and what of its text holds.

    `stays` are hazards in callbacks of the files it touches that it does not remove.
    `need` is None if the series was too long to find out.
    """

    patch: Patch
    applied: Applied
    table: Difference
    changes: tuple[Change, ...]
    stays: tuple[Finding, ...]
    damages: tuple[Damage, ...]
    claims: tuple[Claim, ...] = ()
    need: Need | None = None

    @property
    def removed(self) -> tuple[Finding, ...]:
        """Hazards that are gone, or no more than a note."""
        return _gone(self.changes)

    @property
    def hidden(self) -> tuple[Finding, ...]:
        """Hazards of callbacks that cannot be looked at any more."""
        return _out_of_sight(self.changes)

    @property
    def instead(self) -> tuple[Finding, ...]:
        """Notes that stand where a hazard stood."""
        return tuple(
            c.after
            for c in self.changes
            if c.before and c.after and c.after.level == "note" != c.before.level
        )

    @property
    def introduced(self) -> tuple[Finding, ...]:
        """Hazards that were not there, or only as a note."""
        return _come(self.changes)

    @property
    def turned(self) -> tuple[Change, ...]:
        """Hazards that are still there, of the same sort and in another form."""
        return tuple(
            c
            for c in self.changes
            if c.before
            and c.after
            and c.after.level != "note"
            and c.before.rule == c.after.rule
        )

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings that a report of this patch speaks of, each once."""
        found = [f for c in self.changes for f in (c.before, c.after) if f]
        found += self.stays
        if self.need:
            found += [*self.need.left, *self.need.cured]
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Review:
    """A series on a tree. `before` and `after` are the tree's findings."""

    series: Series
    patches: tuple[Reviewed, ...]
    before: Lint
    after: Lint
    table: Difference
    files: int

    @cached_property
    def changes(self) -> tuple[Change, ...]:
        """What the whole series changes."""
        return _changes(self.before, self.after)

    @property
    def removed(self) -> tuple[Finding, ...]:
        return _gone(self.changes)

    @property
    def hidden(self) -> tuple[Finding, ...]:
        """Hazards of callbacks that cannot be looked at any more."""
        return _out_of_sight(self.changes)

    @property
    def introduced(self) -> tuple[Finding, ...]:
        return _come(self.changes)

    @property
    def is_clean(self) -> bool:
        """True if all is there and applies, no hazard comes or hides, no claim is refuted."""
        odd = self.introduced or self.hidden or self.series.missing
        return not odd and not any(
            p.applied.failures
            or p.damages
            or any(claim.verdict == "refuted" for claim in p.claims)
            for p in self.patches
        )


@dataclass
class _Lab:
    """Looks at one tree under many overlays."""

    settings: Config
    depth: int
    memo: Memo
    looked: Looked = field(default_factory=Looked)
    _seen: list[tuple[Tree, Lint]] = field(default_factory=list)

    def look(self, tree: Tree) -> Lint:
        for known, found in self._seen:
            if known.overlay == tree.overlay:
                return found
        extraction = extract_tree(tree, self.settings, self.memo)
        found = lint_tree(tree, extraction, self.depth, self.looked)
        self._seen = [*self._seen[-3:], (tree, found)]
        return found


def review(
    series: Series,
    tree: Tree,
    *,
    arch: str | None = None,
    config: str | Path | None = None,
    depth: int = DEPTH,
    progress: Progress = quiet,
) -> Review:
    """Applies the patches one by one to a copy in memory and compares each step."""
    settings = load_config(tree, arch, config)
    lab = _Lab(settings, depth, Memo(progress))
    before = now = lab.look(tree)
    patches: list[Reviewed] = []
    current = tree
    for at, patch in enumerate(series.patches):
        progress("applying patches", at + 1, len(series.patches))
        applied = apply(current, patch)
        after = lab.look(applied.tree)
        patches.append(_reviewed(patch, current, applied, now, after))
        current, now = applied.tree, after
    end = _damaged(tree, current, patches)
    patches = [replace(p, damages=end.get(i, ())) for i, p in enumerate(patches)]
    patches = [
        replace(
            p,
            claims=tuple(
                given(claim, p.instead)
                for claim in judged(
                    claims(p.patch), p.removed, p.introduced, _left(p, now), now
                )
            ),
        )
        for p in patches
    ]
    if 1 < len(patches) <= MAX_LEFT_OUT:
        patches = _with_needs(lab, tree, patches, now, progress)
    files = {file for p in patches for file in p.applied.touched}
    table = difference(_built(before.extraction), _built(now.extraction))
    return Review(series, tuple(patches), before, now, table, len(files))


def _built(extraction: Extraction) -> Extraction:
    rows = tuple(row for row in extraction.rows if row.present != "no")
    return replace(extraction, rows=rows)


def _reviewed(
    patch: Patch, tree: Tree, applied: Applied, before: Lint, after: Lint
) -> Reviewed:
    touched = set(applied.touched)
    changes = _changes(before, after)
    gone = {id(c.after) for c in changes if not c.unread}
    stays = tuple(
        f
        for f in after.findings
        if f.level != "note"
        and id(f) not in gone
        and ({f.file, f.chain[0].file} & touched)
    )
    table = difference(_built(before.extraction), _built(after.extraction))
    return Reviewed(patch, applied, table, changes, stays, ())


def _left(patch: Reviewed, after: Lint) -> list[Finding]:
    """Hazards at the end of the series in the callbacks of the files of a patch."""
    touched = set(patch.applied.touched)
    return [
        f
        for f in after.findings
        if f.level != "note" and {f.file, f.chain[0].file} & touched
    ]


def _key(finding: Finding) -> tuple[str, ...]:
    """The same finding in two versions of a file, wherever its line has gone."""
    place = finding.chain[0]
    message = finding.message
    return (finding.rule, finding.role, place.file, place.function, message)


def _callback(finding: Finding) -> tuple[str, ...]:
    family = "target" if finding.mask else finding.rule
    return (family, finding.role, finding.chain[0].file, finding.chain[0].function)


def _registration(finding: Finding) -> tuple[str, ...]:
    """The callback of a file as it is registered, whatever its function is called."""
    family, role, file, _ = _callback(finding)
    return (family, role, file, finding.state, finding.name)


def _changes(before: Lint, after: Lint) -> tuple[Change, ...]:
    """What differs, each finding that went beside one that came in its callback, or in
    the one that is registered in its place."""
    old = _minus(before.findings, after.findings)
    new = _minus(after.findings, before.findings)
    partners: dict[int, Finding] = {}
    for key in (_callback, _registration):
        for at, gone in enumerate(old):
            partner = next((f for f in new if key(f) == key(gone)), None)
            if partner is not None and at not in partners:
                new.remove(partner)
                partners[at] = partner
    changes = [
        Change(gone, partner, partner is None and not after.has_read(gone))
        for gone, partner in ((gone, partners.get(at)) for at, gone in enumerate(old))
    ]
    return (*changes, *(Change(None, come, not before.has_read(come)) for come in new))


def _gone(changes: Iterable[Change]) -> tuple[Finding, ...]:
    known = (c for c in changes if not c.unread)
    return tuple(c.before for c in known if c.before and _heavy(c.before, c.after))


def _come(changes: Iterable[Change]) -> tuple[Finding, ...]:
    known = (c for c in changes if not c.unread)
    return tuple(c.after for c in known if c.after and _heavy(c.after, c.before))


def _out_of_sight(changes: Iterable[Change]) -> tuple[Finding, ...]:
    lost = (c.before for c in changes if c.unread)
    return tuple(f for f in lost if f and f.level != "note")


def _minus(some: Iterable[Finding], others: Iterable[Finding]) -> list[Finding]:
    left = Counter(map(_key, others))
    found = []
    for finding in some:
        if left[_key(finding)] > 0:
            left[_key(finding)] -= 1
        else:
            found.append(finding)
    return found


_WEIGHT = {"note": 0, "warning": 1, "error": 2}


def _heavy(one: Finding, other: Finding | None) -> bool:
    """True if a finding counts, and what stands beside it counts less."""
    if one.level == "note":
        return False
    return other is None or other.level == "note" or other.rule != one.rule


def _damaged(
    start: Tree, end: Tree, patches: Sequence[Reviewed]
) -> dict[int, tuple[Damage, ...]]:
    """By patch, the names that exist nowhere and the code that no longer parses."""
    found: dict[int, tuple[Damage, ...]] = {}
    before = start
    for at, patch in enumerate(patches):
        found[at] = tuple(damages(before, patch.applied, patch.patch))
        before = patch.applied.tree
    return found


def _with_needs(
    lab: _Lab,
    tree: Tree,
    patches: Sequence[Reviewed],
    after: Lint,
    progress: Progress,
) -> list[Reviewed]:
    answer = []
    for at, patch in enumerate(patches):
        progress("leaving out patches", at + 1, len(patches))
        answer.append(replace(patch, need=_need(lab, tree, patches, at, after)))
    return answer


def _need(
    lab: _Lab, tree: Tree, patches: Sequence[Reviewed], at: int, after: Lint
) -> Need:
    current = tree
    broken: list[str] = []
    for number, other in enumerate(patches):
        if number == at:
            continue
        before = current
        applied = apply(current, other.patch)
        current = applied.tree
        if number < at:
            continue
        known = {(f.file, f.hunk and f.hunk.header) for f in other.applied.failures}
        new = [
            f
            for f in applied.failures
            if (f.file, f.hunk and f.hunk.header) not in known
        ]
        title = other.patch.title
        if new:
            broken.append(f"'{title}' then does not apply to {new[0].file}")
            continue  # what it lacks then says nothing more
        old = {d.text for d in other.damages}
        for damage in damages(before, applied, other.patch):
            if damage.text not in old:
                broken.append(f"'{title}' then {damage.text}")
    found = lab.look(current)
    changes = _changes(after, found)
    left, cured = _come(changes), _gone(changes)
    table = not difference(_built(after.extraction), _built(found.extraction)).empty
    cured = () if broken else cured  # what cannot be built says nothing
    return Need(left, cured, tuple(dict.fromkeys(broken)), table)
