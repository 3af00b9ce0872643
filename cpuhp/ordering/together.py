"""Several questions about one variant, answered by one search.

A claim that looks at no more than another one does is decided by the other's system, at
hardly any cost. What holds there holds; what does not is asked once more by itself, so
that each violation is the shortest one of its own system and is replayed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cpuhp.engines.checking import Checker
from cpuhp.engines.explicit import Limits, check_many
from cpuhp.engines.explicit.symmetry import is_symmetric
from cpuhp.model.system import Expectation, Property, TransitionSystem
from cpuhp.model.verdict import Verdict
from cpuhp.ordering.content import content_of
from cpuhp.ordering.questions import (
    Bound,
    Finding,
    Known,
    Outcome,
    Question,
    in_any_order,
    seen,
)
from cpuhp.ordering.variant import Variant

ONE_BY_ONE = 2  # so few questions are not worth the look at what each of them needs


@dataclass(frozen=True)
class Told:
    """A question that holds: the content of what decided it, and if it was searched."""

    question: Question
    key: str
    finding: Finding
    searched: bool


def together(
    variant: Variant, listed: Sequence[Question], bound: Bound, known: Known
) -> Iterator[Told]:
    """Those of the questions that hold in a system that they share with others."""
    if len(listed) <= ONE_BY_ONE:
        return
    checker = variant.checker()
    for group in _groups(checker, listed):
        if group[0].variable is None:
            yield from _claims(checker, group, bound, known)
        else:
            yield from _races(checker, group, bound, known)


def _groups(checker: Checker, listed: Sequence[Question]) -> Iterator[list[Question]]:
    """Questions of which the first needs all that the others look at."""
    always = [q for q in listed if q.kind is Expectation.ALWAYS]
    races: dict[tuple[str, int], list[Question]] = {}
    for q in listed:
        if q.variable is not None:
            races.setdefault((q.check, q.number), []).append(q)
    for members in (always, *races.values()):
        groups: list[tuple[frozenset[str], list[Question]]] = []
        needs = {q: seen(checker, q).variables for q in members}
        for question in sorted(members, key=lambda q: -len(needs[q])):
            own = frozenset({question.variable} - {None})
            for needed, group in groups:
                if needs[question] - own <= needed:
                    group.append(question)
                    break
            else:
                groups.append((needs[question], [question]))
        yield from (group for _, group in groups if len(group) > 1)


def _claims(
    checker: Checker, group: Sequence[Question], bound: Bound, known: Known
) -> Iterator[Told]:
    chosen = tuple((q.check, q.number) for q in group)
    system, props = checker.thinned_together(chosen).together()
    keys = [content_of(system, prop, str(bound.cpus)) for prop in props]
    earlier = [known(key) for key in keys]
    left = [p for p, found in zip(props, earlier) if found is None]
    good = _holding(system, left, bound)
    searched = True
    for question, key, prop, found in zip(group, keys, props, earlier):
        if found is not None:
            yield Told(question, key, found, False)
        elif id(prop) in good:
            yield Told(question, key, _holds(bound), searched)
            searched = False


def _races(
    checker: Checker, group: Sequence[Question], bound: Bound, known: Known
) -> Iterator[Told]:
    names = [q.variable for q in group if q.variable is not None]
    sliced = checker.race_slice(group[0].check, group[0].number, *names)
    key = content_of(sliced.system, sliced.prop, str(bound.cpus))
    earlier = known(key)
    if earlier is None and not _holding(sliced.system, [sliced.prop], bound):
        return
    for number, question in enumerate(group):
        yield Told(question, key, _holds(bound), number == 0 and earlier is None)


def _holds(bound: Bound) -> Finding:
    return Finding(Outcome.HOLDS, bound.cpus)


def _holding(
    system: TransitionSystem, props: Sequence[Property], bound: Bound
) -> set[int]:
    """Those of the claims, by `id`, that hold where each choice takes whom it likes."""
    wider = in_any_order(system)
    left = [prop for prop in props if is_symmetric(wider, [prop])]
    for cpus in range(2, bound.cpus + 1):
        if not left:
            break
        limits = Limits(bound.max_states, bound.timeout, None)
        results = check_many(wider, left, cpus, 0, limits, traces=False)
        left = [
            prop
            for prop, result in zip(left, results)
            if result.verdict is Verdict.PROVED
        ]
    return {id(prop) for prop in left}
