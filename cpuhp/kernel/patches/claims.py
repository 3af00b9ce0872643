"""What a patch says about parallelism, held against what its code does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from cpuhp.kernel.hazards.lint import Lint
from cpuhp.kernel.hazards.rules import GIVEN, Finding
from cpuhp.kernel.patches.series import Patch

HOLDS, PARTLY, REFUTED, OPEN = "holds", "partly", "refuted", "open"


@dataclass(frozen=True)
class Topic:
    """Words that a claim uses, and the rules whose findings it is about."""

    name: str
    words: re.Pattern[str]
    rules: frozenset[str]


@dataclass(frozen=True)
class Claim:
    """A sentence of a subject or text. `verdict` is holds, partly, refuted or open.

    `is_total` if it speaks of all places; then the whole tree is looked at.
    """

    sentence: str
    topics: tuple[str, ...]
    is_total: bool
    verdict: str = OPEN
    reason: str = ""
    places: tuple[str, ...] = ()


def _words(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


_LOCKS = frozenset({"lock-irq-unsafe", "lock-not-released", "wait-under-lock"})
_TARGETS = frozenset({"target-from-online-mask", "target-from-stale-mask"})
TOPICS = (
    Topic(
        "target",
        _words(
            r"any_but|any_and_but|\w*online_mask|dying|hand\w*[ -]?o(?:ver|ff)|"
            r"\btarget|migrat\w+|successor|new owner|going down|picks?\b|choos\w+"
        ),
        _TARGETS,
    ),
    Topic(
        "race",
        _words(
            r"\brac(?:e|es|y|ing)\b|concurren\w+|parallel\w*|simultan\w+|"
            r"same time|atomic\w*|lost update|serial\w*|exclusive"
        ),
        frozenset({"plain-rmw", "serial-claim", *_TARGETS, *_LOCKS}),
    ),
    Topic(
        "lock",
        _words(r"\block\w*|spin_?lock\w*|mutex\w*|irq_?save|deadlock\w*|\bwaits?\b"),
        _LOCKS,
    ),
    Topic(
        "last",
        _words(r"\blast (?:\w+ )?cpu\b|num_online_cpus|only (?:online )?cpu"),
        frozenset({"last-one-out", "online-count"}),
    ),
    Topic(
        "failure",
        _words(r"\b(?:fail\w*|errors?|return(?:s|ed)? (?:code|value)|roll\w*back)\b"),
        frozenset({"teardown-can-fail"}),
    ),
    Topic(
        "symmetry",
        _words(r"a?symmetr\w+|\bundo\w*|counterpart|unbalanced|\bleak\w*"),
        frozenset({"one-sided"}),
    ),
)
_BEARS = _words(
    r"parallel|concurren|simultan|same time|\brac(?:e|es|y)\b|serial|dying|offlin|"
    r"online|hot-?(?:un)?plug|cpuhp|tear(?:ing)? ?down|batch|going down|all cpus|"
    r"any_but|any_and_but|shutdown|cpu_\w*mask|last cpu|deadlock|irq_?save"
)
_ACTS = _words(
    r"\b(?:fix\w*|replac\w*|us(?:e|es|ing)|avoid\w*|prevent\w*|mak(?:e|es|ing)|"
    r"convert\w*|switch\w*|protect\w*|remov\w*|chang\w*|add\w*|ensur\w*|never|"
    r"no longer|not|safe|allow\w*|so that|stop\w*|guard\w*|only)\b|n't"
)
_TOTAL = _words(
    r"\b(?:all|every|each|everywhere|no (?:more|other)|any more|remaining|whole)\b"
    r"(?! (?:cpus?|victims?|other cpus?|of the cpus?|online|its|their)\b)"
)
_FIXES = _words(r"\b(?:replac|fix|convert|switch|avoid|prevent|remov|get rid|use)\w*")


def claims(patch: Patch) -> Iterator[Claim]:
    """The sentences of a patch that bear on parallelism, the subject first."""
    for sentence in dict.fromkeys([patch.subject, *_sentences(patch.text)]):
        if not (_BEARS.search(sentence) and _ACTS.search(sentence)):
            continue
        topics = tuple(t.name for t in TOPICS if t.words.search(sentence))
        if topics:
            yield Claim(sentence, topics, bool(_TOTAL.search(sentence)))


def _sentences(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text):
        joined = " ".join(paragraph.split())
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z\"'(])", joined):
            plain = sentence.strip()
            if 8 < len(plain) < 600:
                yield plain


def judged(
    found: Iterable[Claim],
    removed: Sequence[Finding],
    introduced: Sequence[Finding],
    left: Sequence[Finding],
    end: Lint,
) -> Iterator[Claim]:
    """Each claim with a verdict.

    `removed` and `introduced` are the hazards that the patch changes, `left` those that the series
    leaves in the files of the patch, `end` is the tree at the end of the series.
    """
    for claim in found:
        rules = frozenset().union(*(t.rules for t in TOPICS if t.name in claim.topics))
        gone = [f for f in removed if f.rule in rules]
        stay = [f for f in left if f.rule in rules]
        if gone:
            stay = _meant(claim, gone, stay)
        if claim.is_total and gone:
            same = {f.rule for f in gone}
            stay = [f for f in end.findings if f.rule in same and f.level != "note"]
        new = [f for f in introduced if f.rule in rules]
        yield _against(claim, new) if new and not gone else _verdict(claim, gone, stay)


def given(claim: Claim, instead: Sequence[Finding]) -> Claim:
    """A claim that holds, with what it needs: `instead` are notes where hazards stood."""
    wanted = frozenset().union(*(t.rules for t in TOPICS if t.name in claim.topics))
    needs = dict.fromkeys(GIVEN[f.rule] for f in instead if f.rule in GIVEN)
    if claim.verdict not in (HOLDS, PARTLY) or not (needs and wanted & _TARGETS):
        return claim
    text = f"{claim.reason}; what stands there now is right only if {'; '.join(needs)}"
    return replace(claim, reason=text)


def _against(claim: Claim, new: Sequence[Finding]) -> Claim:
    places = tuple(dict.fromkeys(f"{f.file}:{f.line}" for f in new))
    text = f"the patch itself brings {_count(new)} of the kind"
    return replace(claim, verdict=REFUTED, reason=text, places=places)


def _meant(claim: Claim, gone: Sequence[Finding], stay: list[Finding]) -> list[Finding]:
    """Of the hazards that stay, those with the call that the claim speaks of."""
    words = re.findall(r"\b(?:cpumask|for_each|cpu)_\w+", claim.sentence)
    named = [w for w in words if any(w in f.message for f in gone)]
    return [f for f in stay if all(w in f.message for w in named)]


def _verdict(claim: Claim, gone: list[Finding], stay: list[Finding]) -> Claim:
    where = "tree" if claim.is_total and gone else "files that it touches"
    places = tuple(dict.fromkeys(f"{f.file}:{f.line}" for f in stay))
    callbacks = len({(f.chain[0].file, f.chain[0].function) for f in stay})
    if gone and not stay:
        text = f"{_count(gone)} gone, none of the kind left in the {where}"
        return replace(claim, verdict=HOLDS, reason=text)
    if gone:
        text = f"{_count(gone)} gone, but {callbacks} callbacks in the {where} keep one"
        verdict = REFUTED if claim.is_total else PARTLY
        return replace(claim, verdict=verdict, reason=text, places=places)
    if stay and _FIXES.search(claim.sentence):
        text = f"none gone, and {callbacks} callbacks in the {where} have one"
        return replace(claim, verdict=REFUTED, reason=text, places=places)
    return replace(claim, reason="no finding changes that would tell")


def _count(found: Sequence[Finding]) -> str:
    return f"{len(found)} finding{'s' if len(found) != 1 else ''}"
