"""What of a variant is proved for every number of CPUs, beyond the bound of a search.

A few variants deserve it: those that somebody is told to build. Claims are proved a few
together; the first group goes ahead, and the others learn from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from cpuhp.diagnostics import InputError
from cpuhp.engines.answer import ClaimNumber, Settings
from cpuhp.engines.joint import groups, settle, taught
from cpuhp.engines.parametric.lessons import Lessons
from cpuhp.model.system import Expectation
from cpuhp.model.verdict import Verdict
from cpuhp.ordering.content import content_of
from cpuhp.ordering.questions import Finding, Outcome, Question
from cpuhp.ordering.variant import Variant
from cpuhp.ordering.workers import Cache

EVERY = "every number of CPUs"
PROVEN = (Expectation.ALWAYS, Expectation.INVERSION_FREE)


@dataclass(frozen=True)
class Proved:
    """Claims that are proved, and what their proof teaches."""

    claims: frozenset[ClaimNumber]
    lessons: Lessons = ()


def proved(
    variant: Variant,
    asked: Iterable[Question],
    executor: Executor | None,
    cache: Cache,
    seconds: float,
) -> frozenset[Question]:
    """Those of the questions that hold for every number of CPUs.

    At most `seconds` for each claim. Claims about data races and deadlocks are searched
    at fixed counts only.
    """
    able = [q for q in asked if q.kind in PROVEN and q.variable is None]
    keys = {q: _key(variant, q) for q in able}
    done = {q for q in able if cache.get(keys[q]) is not None}
    left = [q for q in able if q not in done]
    found = _settled(variant, [(q.check, q.number) for q in left], executor, seconds)
    for question in left:
        if (question.check, question.number) in found:
            done.add(question)
            cache.put(keys[question], Finding(Outcome.HOLDS, 0, reason=EVERY))
    return frozenset(done)


def _key(variant: Variant, question: Question) -> str:
    sliced = variant.checker().slice(question.check, question.number)
    return content_of(sliced.system, sliced.prop, EVERY)


def _settled(
    variant: Variant,
    claims: Sequence[ClaimNumber],
    executor: Executor | None,
    seconds: float,
) -> frozenset[ClaimNumber]:
    first, *others = groups(variant.checker(), claims) or [()]
    begun = Proved(frozenset())
    if first:
        (begun,) = _all(executor, [(variant, first, seconds, ())])
    rest = [(variant, group, seconds, begun.lessons) for group in others]
    found = begun.claims.union(*(one.claims for one in _all(executor, rest)))
    alone = [(variant, (c,), seconds, begun.lessons) for c in claims if c not in found]
    return found.union(*(one.claims for one in _all(executor, alone)))


_Job = tuple[Variant, tuple[ClaimNumber, ...], float, Lessons]


def _all(executor: Executor | None, jobs: Sequence[_Job]) -> Iterator[Proved]:
    if executor is None:
        yield from (settled(*job) for job in jobs)
        return
    futures = [executor.submit(settled, *job) for job in jobs]
    yield from (future.result() for future in futures)


def settled(
    variant: Variant,
    group: tuple[ClaimNumber, ...],
    seconds: float,
    lessons: Lessons,
) -> Proved:
    """Prove a few claims together, or one alone. This runs in a worker process."""
    settings = Settings(timeout=seconds, confirm=False)
    try:
        checker = variant.checker()
        if len(group) > 1:
            answers = settle(checker, group, settings, lessons)
            return Proved(frozenset(answers), taught(answers.values()))
        answer = checker.answer(*group[0], settings, lessons=lessons)
    except (InputError, MemoryError, RecursionError):
        return Proved(frozenset())
    every = answer.result.verdict is Verdict.PROVED and answer.proofs is not None
    return Proved(frozenset(group if every else ()), taught([answer]))


__all__ = ["proved"]
