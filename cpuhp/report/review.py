"""A review as the text of a reply mail, in 80 columns of ASCII, and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from cpuhp.kernel.source.tree import shown
from cpuhp.report.hazards import (
    ascii_only,
    finding_json,
    missed,
    model_json,
    told_models,
)

if TYPE_CHECKING:
    from cpuhp.kernel.hazards.rules import Finding
    from cpuhp.kernel.patches.claims import Claim
    from cpuhp.kernel.patches.review import Need, Review, Reviewed
    from cpuhp.kernel.registrations.diff import Difference
    from cpuhp.report.answers import ShownAnswer

WIDTH = 76  # leaves room for the marks of those who quote this
MOST = 12  # places in one list
_VERDICTS = {
    "holds": "holds",
    "partly": "holds in part",
    "refuted": "does not hold",
    "open": "cannot be told",
}


def mail(found: Review, answers: dict[str, ShownAnswer]) -> str:
    """The whole answer; ends with a newline."""
    lines = [*_head(found), ""]
    for patch in found.patches:
        lines += [*_patch(patch), ""]
    lines += [*_series(found)]
    models = told_models(_hazards(found), answers)
    if models:
        lines += ["", "Models of the hazards, all CPUs but one going down at once:", ""]
        lines += [f"  {line}" for line in models]
    return "".join(f"{ascii_only(line).rstrip()}\n" for line in lines)


def _hazards(found: Review) -> list[Finding]:
    return [f for patch in found.patches for f in patch.findings]


def _fill(text: str, lead: str = "", rest: str | None = None) -> list[str]:
    return wrap(
        ascii_only(" ".join(text.split())),
        WIDTH,
        initial_indent=lead,
        subsequent_indent=lead if rest is None else rest,
        break_on_hyphens=False,
    ) or [lead.rstrip()]


def _head(found: Review) -> Iterator[str]:
    count = len(found.patches)
    version = found.before.extraction.version
    yield from _fill(
        f"{_many(count, 'patch', 'patches')} of {found.series.name}, applied one by "
        f"one to a copy of Linux {version}: {found.before.callbacks} hotplug callbacks "
        f"followed {found.before.depth} calls deep, "
        f"{_many(found.files, 'file')} changed."
    )
    if found.series.merges:
        merges = _many(found.series.merges, "merge commit is", "merge commits are")
        yield from _fill(f"{merges} left out: what a merge itself changes is not seen.")
    if found.series.missing:
        numbers = [str(number) for number in found.series.missing]
        more = f" and {len(numbers) - MOST} more" if len(numbers) > MOST else ""
        yield from _fill(
            f"The series is not whole: {_many(len(numbers), 'patch', 'patches')} of "
            f"{found.series.patches[0].total} missing, "
            f"number {', '.join(numbers[:MOST])}{more}."
        )


def _patch(patch: Reviewed) -> Iterator[str]:
    yield from _fill(patch.patch.title, "> ")
    yield ""
    yield from _applies(patch)
    for damage in patch.damages:
        yield from _fill(
            f"It {damage.text} ({shown(damage.file)}:{damage.line}).", "", "    "
        )
    yield from _findings("It removes", patch.removed)
    yield from _findings(
        "It hides, in callbacks that nobody can read then,", patch.hidden
    )
    yield from _instead(patch.instead)
    yield from _findings("It introduces", patch.introduced)
    turned = [c.after for c in patch.turned if c.after]
    yield from _findings("It only gives another form to", turned)
    yield from _findings("It leaves, in files that it touches,", patch.stays)
    yield from _table(patch.table)
    changed = patch.removed or patch.hidden or patch.introduced or turned
    if not (changed or patch.table.words):
        yield "It changes no hazard and no registration."
    yield from _need(patch)
    for claim in patch.claims:
        yield from _claim(claim, patch.patch.subject)


def _applies(patch: Reviewed) -> Iterator[str]:
    for failure in patch.applied.failures:
        yield from _fill(
            f"Does not apply: {shown(failure.file)}: {failure.reason}.", "", "    "
        )
        if failure.hunk is not None:
            yield f"    > {failure.hunk.header}"[:WIDTH]
            for mark, text in failure.hunk.lines[:8]:
                plain = text.encode("latin-1", "replace").decode("utf-8", "replace")
                yield f"    > {mark}{shown(plain.expandtabs().rstrip())}"[:WIDTH]
            if len(failure.hunk.lines) > 8:
                yield f"    > ({len(failure.hunk.lines) - 8} more lines)"
    shifts = patch.applied.shifts
    if shifts:
        far = max(abs(s.offset) for s in shifts)
        fuzz = max(s.fuzz for s in shifts)
        text = f"{_many(len(shifts), 'hunk')} moved, at most {far} lines"
        text += f", {fuzz} lines of context ignored" if fuzz else ""
        yield from _fill(f"{text}.")


def _findings(lead: str, found: Sequence[Finding]) -> Iterator[str]:
    if not found:
        return
    yield from _fill(f"{lead} {_many(len(found), 'hazard')}:")
    told = Counter(_told(finding) for finding in found)
    for (text, ways), count in list(told.items())[:MOST]:
        more = f", in {count} callbacks" if count > 1 else ""
        yield from _fill(f"{text}{more}", "  ", "    ")
        if ways:
            yield from _fill(ways, "    ", "    ")
    if len(told) > MOST:
        yield f"  and {len(told) - MOST} more"


def _told(finding: Finding) -> tuple[str, str]:
    """A finding in a line, and the calls that lead to it if there are any."""
    place = f"{shown(finding.file)}:{finding.line}"
    chain = [f"{p.function}()" for p in finding.chain]
    text = f"{place}: {finding.message} [{finding.rule}]"
    return text, " -> ".join(chain) if len(chain) > 1 else ""


def _instead(found: Sequence[Finding]) -> Iterator[str]:
    """What stands where a hazard stood, and what it takes for granted."""
    from cpuhp.kernel.hazards.rules import GIVEN

    for finding in [f for f in found if f.rule in GIVEN][:MOST]:
        place = f"{shown(finding.file)}:{finding.line}"
        text = f"{place}: now {finding.message} [{finding.rule}]: right only if"
        yield from _fill(f"{text} {GIVEN[finding.rule]}.", "  ", "    ")


def _table(table: Difference) -> Iterator[str]:
    for what, names in (
        ("states added", table.added_states),
        ("states removed", table.removed_states),
        ("states renamed", [f"{r.before} -> {r.after}" for r in table.renamed_states]),
        ("states moved", [m.state for m in table.moved_states]),
        ("states under other conditions", [r.state for r in table.restated]),
        ("registrations added", [_row(r) for r in table.added]),
        ("registrations removed", [_row(r) for r in table.removed]),
        ("registrations changed", [_changed(c) for c in table.changed]),
    ):
        if names:
            text = ", ".join(str(name) for name in names[:MOST])
            yield from _fill(f"Table: {what}: {text}", "", "    ")


def _row(row: Any) -> str:
    return f"{row.name or row.name_expression} ({row.state or '?'})"


def _changed(change: Any) -> str:
    parts = [f"{column} {old} -> {new}" for column, old, new in change.columns]
    return f"{change.name}: {', '.join(parts)}"


def _need(patch: Reviewed) -> Iterator[str]:
    need = patch.need
    if need is None:
        return
    if need.left:
        text = f"Needed: without it {_many(len(need.left), 'hazard')} would stay."
        yield from _fill(text)
    for sentence in need.broken[:MOST]:
        yield from _fill(f"Needed: {sentence}.", "", "    ")
    if need.table and not need.left:
        yield "Needed: the table of the series is another one without it."
    if need.cured:
        text = f"Without it {_many(len(need.cured), 'hazard')} would not be there."
        yield from _fill(text)
    if patch.removed and not need.is_needed:
        yield "Redundant: the rest of the series removes the same hazards."


def _claim(claim: Claim, subject: str) -> Iterator[str]:
    yield ""
    source = "Subject: " if claim.sentence == subject else ""
    yield from _fill(f"{source}{claim.sentence}", "> ")
    yield from _fill(f"This {_VERDICTS[claim.verdict]}: {claim.reason}.")
    for place in claim.places[:MOST]:
        yield f"  {place}"
    if len(claim.places) > MOST:
        yield f"  and {len(claim.places) - MOST} more"


def _series(found: Review) -> Iterator[str]:
    yield "The whole series"
    yield ""
    yield from _fill(said(found))
    removed, introduced = found.removed, found.introduced
    hidden = f", and hides {len(found.hidden)}" if found.hidden else ""
    text = (
        f"It removes {_many(len(removed), 'hazard')} and introduces "
        f"{len(introduced)}{hidden}; {_errors(found.after.findings)} of the errors and "
        f"{_warnings(found.after.findings)} of the warnings of the tree remain."
    )
    yield from _fill(text)
    for title, names in groups(found).items():
        if names:
            yield from _fill(f"{title}: {', '.join(names)}.", "", "    ")
    yield from _on_the_way(found)
    unread = missed(found.after)
    for sentence in unread[:MOST]:
        yield from _fill(f"Note: {sentence}.", "", "    ")
    if len(unread) > MOST:
        yield f"Note: and {len(unread) - MOST} more that could not be looked at."


def said(found: Review) -> str:
    """Does the series do what it says?"""
    counts = {"holds": 0, "partly": 0, "refuted": 0, "open": 0}
    for patch in found.patches:
        for claim in patch.claims:
            counts[claim.verdict] += 1
    total = sum(counts.values())
    if any(p.applied.failures or p.damages for p in found.patches):
        answer = "no, parts of it do not apply or cannot be built"
    elif counts["refuted"]:
        answer = "no"
    elif found.introduced:
        answer = "not without new hazards"
    elif counts["partly"]:
        answer = "in part"
    elif counts["holds"]:
        answer = "yes, as far as findings can tell"
    else:
        answer = "its claims cannot be told from findings"
    if not total:
        answer = answer if answer.startswith("n") else "it says nothing of parallelism"
        return f"Does it do what it says? {answer[0].upper()}{answer[1:]}."
    return (
        f"Does it do what it says? {answer[0].upper()}{answer[1:]}. Of "
        f"{_many(total, 'claim that bears', 'claims that bear')} on parallelism "
        f"{counts['holds']} hold, "
        f"{counts['partly']} hold in part, {counts['refuted']} do not hold, and "
        f"{counts['open']} cannot be told."
    )


def groups(found: Review) -> dict[str, list[str]]:
    """Patches by what the series needs them for, as numbers in it."""
    answer: dict[str, list[str]] = {
        "Needed": [],
        "Redundant": [],
        "Harmful": [],
        "Hiding": [],
        "Of no effect on hazards or table": [],
    }
    for at, patch in enumerate(found.patches, 1):
        answer[_group(patch, patch.need)].append(str(at))
    return answer


def _group(patch: Reviewed, need: Need | None) -> str:
    if patch.introduced and not patch.removed and (need is None or need.cured):
        return "Harmful"
    if patch.removed or patch.table.words if need is None else need.is_needed:
        return "Needed"
    if patch.hidden:
        return "Hiding"
    return "Redundant" if patch.removed else "Of no effect on hazards or table"


def _on_the_way(found: Review) -> Iterator[str]:
    """Hazards that one patch introduces and a later one removes."""
    end = {_same(f) for f in found.after.findings}
    for at, patch in enumerate(found.patches, 1):
        passing = [f for f in patch.introduced if _same(f) not in end]
        if passing and at < len(found.patches):
            yield from _fill(
                f"Between patch {at} and the one that mends it the tree has "
                f"{_many(len(passing), 'hazard')} more: a bisection may stop there."
            )


def _same(finding: Finding) -> tuple[str, ...]:
    return (finding.rule, finding.role, finding.chain[0].file, finding.message)


def _errors(found: Iterable[Finding]) -> int:
    return sum(f.level == "error" for f in found)


def _warnings(found: Iterable[Finding]) -> int:
    return sum(f.level == "warning" for f in found)


def _many(count: int, one: str, more: str | None = None) -> str:
    return f"{count} {one if count == 1 else more or one + 's'}"


def as_json(found: Review, answers: dict[str, ShownAnswer]) -> str:
    """The same as JSON, with everything that the mail leaves out."""

    def finding(item: Finding | None) -> dict[str, Any] | None:
        if item is None:
            return None
        return {**finding_json(item), "model": model_json(item, answers)}

    patches = [
        {
            "number": at,
            "subject": patch.patch.subject,
            "title": patch.patch.title,
            "author": patch.patch.author,
            "applies": not patch.applied.failures,
            "failures": [
                {
                    "file": shown(f.file),
                    "reason": f.reason,
                    "hunk": f.hunk and f.hunk.header,
                    "lines": [
                        mark + shown(text.rstrip("\n"))
                        for mark, text in (f.hunk.lines if f.hunk else ())
                    ],
                }
                for f in patch.applied.failures
            ],
            "shifts": [
                {
                    "file": shown(s.file),
                    "hunk": s.hunk.header,
                    "offset": s.offset,
                    "fuzz": s.fuzz,
                }
                for s in patch.applied.shifts
            ],
            "files": [shown(file) for file in patch.applied.touched],
            "damages": [
                {"file": shown(d.file), "line": d.line, "text": d.text}
                for d in patch.damages
            ],
            "table": list(_table(patch.table)),
            "changes": [
                {
                    "before": finding(c.before),
                    "after": finding(c.after),
                    "unread": c.unread,
                }
                for c in patch.changes
            ],
            "removed": [finding(f) for f in patch.removed],
            "hidden": [finding(f) for f in patch.hidden],
            "introduced": [finding(f) for f in patch.introduced],
            "turned": [finding(c.after) for c in patch.turned],
            "stays": [finding(f) for f in patch.stays],
            "claims": [
                {
                    "sentence": claim.sentence,
                    "topics": list(claim.topics),
                    "verdict": claim.verdict,
                    "reason": claim.reason,
                    "places": list(claim.places),
                }
                for claim in patch.claims
            ],
            "group": _group(patch, patch.need),
            "without": None
            if patch.need is None
            else {
                "left": [finding(f) for f in patch.need.left],
                "cured": [finding(f) for f in patch.need.cured],
                "broken": list(patch.need.broken),
                "table": patch.need.table,
            },
        }
        for at, patch in enumerate(found.patches, 1)
    ]
    data = {
        "format": "cpuhp-review",
        "version": 1,
        "series": found.series.name,
        "missing": list(found.series.missing),
        "merges": found.series.merges,
        "kernel": found.before.extraction.version,
        "clean": found.is_clean,
        "answer": said(found),
        "groups": groups(found),
        "removed": [finding(f) for f in found.removed],
        "hidden": [finding(f) for f in found.hidden],
        "introduced": [finding(f) for f in found.introduced],
        "table": list(_table(found.table)),
        "unread": missed(found.after),
        "patches": patches,
    }
    return json.dumps(data, indent=1) + "\n"
