"""Claims of one program, proved together for every number of CPUs.

What the claims of a scenario need is for the most part the same: what the hotplug core
guarantees. So a few claims are proved by one invariant, over the variables that matter
to any of them. A claim that fails does not spoil the others; it is answered alone.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from cpuhp.engines.answer import (
    Answer,
    ClaimNumber,
    OutOfMemory,
    Proved,
    Settings,
    Sliced,
    memory_watch,
)
from cpuhp.engines.checking import Checker
from cpuhp.engines.clock import now
from cpuhp.engines.parametric import prove, prove_in_attempts
from cpuhp.engines.parametric.lessons import Lessons, lessons_of
from cpuhp.engines.parametric.sampling import Samples
from cpuhp.engines.parametric.together import Scopes
from cpuhp.engines.refinement import Refinement
from cpuhp.graph.claim import Thinned
from cpuhp.language.build import observed_by
from cpuhp.model.system import Expectation, Property, TransitionSystem
from cpuhp.model.verdict import Result, Verdict

Answers = dict[ClaimNumber, Answer]
_SEVERAL = 12  # claims at most that are proved together,
_WEIGHT = 16  # and what they may have beside what most claims have: variables,
_POINTER = 4  # and one that holds a CPU counts as so many
_SAMPLES = 3_000, 50  # states and walks,
_NARROW = 6_000, 200  # where there are auxiliary variables
_ALONE = 0.5  # seconds for a claim that has few variables,
_SHARE = 2.0  # and for each of those that are proved together, in one attempt
_HEAVY = 50_000  # conditions (a clause after an action) that are much to check again


def groups(
    checker: Checker, chosen: Iterable[ClaimNumber]
) -> list[tuple[ClaimNumber, ...]]:
    """The claims that can be proved so, those together that need much the same.

    They are those with `always` or `never`, and any with `sometimes` among the `chosen`
    is taken for one that never happens.
    """
    able = [
        claim
        for claim in chosen
        if checker.claim(*claim).to_prove.expectation is Expectation.ALWAYS
    ]
    needs: dict[ClaimNumber, frozenset[str]] = {}
    pointers: set[str] = set()
    special: set[str] = set()
    for claim in able:
        thin = checker.thinned(*claim)
        needs[claim] = thin.data() | observed_by(thin.props)
        pointers |= thin.pointers()
        special |= thin.auxiliary() | thin.locks()
    count = Counter(name for needed in needs.values() for name in needed)
    common = {name for name, times in count.items() if 2 * times > len(able)}

    def weight(variables: Iterable[str]) -> int:
        return sum(_POINTER if name in pointers else 1 for name in variables)

    own = {claim: needed - common for claim, needed in needs.items()}
    found = _packed(own, weight, special)
    found.sort(key=lambda group: weight(group.variables))
    pilots = [group for group in found if not group.variables & special][:1]
    # The lightest one goes ahead. What takes long comes next, so that several workers
    # end at much the same time.
    rest = [group for group in found if group not in pilots]
    rest.sort(key=lambda g: (bool(g.variables & special), len(g.members)))
    return [group.members for group in (*pilots, *reversed(rest))]


class _Group(NamedTuple):
    members: tuple[ClaimNumber, ...]
    variables: frozenset[str]  # that they need beside what most claims need


def _packed(
    own: dict[ClaimNumber, frozenset[str]],
    weight: Callable[[Iterable[str]], int],
    special: set[str],
) -> list[_Group]:
    """Each claim where it adds least, the heaviest first; `special` ones among equals."""
    found: list[_Group] = []
    for claim in sorted(own, key=lambda claim: -weight(own[claim])):
        more = {
            place: weight(own[claim] - group.variables)
            for place, group in enumerate(found)
            if own[claim] & special == group.variables & special
            and len(group.members) < _SEVERAL
            and weight(group.variables | own[claim]) <= _WEIGHT
        }
        if more:
            place = min(more, key=lambda place: more[place])
            members, variables = found[place]
            found[place] = _Group((*members, claim), variables | own[claim])
        else:
            found.append(_Group((claim,), own[claim]))
    return found


def settle(
    checker: Checker,
    group: Iterable[ClaimNumber],
    settings: Settings,
    lessons: Lessons = (),
) -> Answers:
    """Answers to those claims of a group that could be proved for every CPU count.

    `lessons` are what another group of the program has taught.
    """
    until = now() + settings.timeout
    found: Answers = {}
    left = []
    for claim in group:
        answer = _alone(checker, claim, settings, until)
        if answer is None:
            left.append(claim)
        else:
            found[claim] = answer
    pending = [left] if left else []
    try:
        while pending:
            some = pending.pop()
            fitting, answers = _together(checker, some, settings, lessons, until)
            found |= answers
            if len(fitting) < len(some):
                pending += [fitting] if fitting else []
            elif not answers and len(some) > 1 and now() < until:
                middle = len(some) // 2
                pending += [some[middle:], some[:middle]]
    except OutOfMemory:  # each alone may fit
        pass
    return found


def lighter(
    checker: Checker, claim: ClaimNumber, answer: Answer, settings: Settings
) -> Answer:
    """The proof of a claim by itself, where one that it shares is much to check again.

    That is about fewer variables, and has a third of the clauses or half of them.
    """
    if _weight(answer) <= _HEAVY or len(answer.sliced.together) < 2:
        return answer
    until = now() + settings.timeout
    _, found = _together(checker, [claim], settings, (), until)
    mine = found.get(claim, answer)
    if _weight(mine) >= _weight(answer):
        return answer
    seconds = answer.result.seconds + mine.result.seconds
    return replace(mine, result=replace(mine.result, seconds=seconds))


def _weight(answer: Answer) -> int:
    return sum(
        len(proved.invariant.clauses) * len(proved.sliced.system.actions)
        for proved in answer.proofs or ()
    )


def taught(answers: Iterable[Answer]) -> Lessons:
    """What the longest of these proofs teaches."""
    proofs = [proved for answer in answers for proved in answer.proofs or ()]
    longest = max(proofs, key=lambda p: len(p.invariant.clauses), default=None)
    return (
        () if longest is None else lessons_of(longest.sliced.system, longest.invariant)
    )


def _alone(
    checker: Checker, claim: ClaimNumber, settings: Settings, until: float
) -> Answer | None:
    """The proof of a claim that its own callback decides."""
    began = time.monotonic()
    thin = checker.thinned(*claim).to_prove
    narrow = Refinement(thin, until).shallow()
    if narrow is None:
        return None
    deadline = min(until, now() + _ALONE)
    proof = prove(
        narrow.system,
        narrow.prop,
        deadline=deadline,
        progress=memory_watch(settings),
        samples=narrow.samples,
    )
    if proof.invariant is None:
        return None
    sliced = Sliced(narrow.system, narrow.prop, thin.kept.parts, narrow.only)
    result = replace(proof.result, seconds=time.monotonic() - began)
    proofs = (Proved(sliced, proof.invariant),)
    return Answer(_told(checker, claim, result), sliced, proofs)


def _told(checker: Checker, claim: ClaimNumber, proved: Result) -> Result:
    """What a proof says of the claim: of what should happen, that it never does."""
    prop = checker.claim(*claim)
    if prop.expectation is Expectation.SOMETIMES:
        return replace(proved, prop=prop, verdict=Verdict.UNREACHABLE)
    return proved


def _together(
    checker: Checker,
    chosen: list[ClaimNumber],
    settings: Settings,
    lessons: Lessons,
    until: float,
) -> tuple[list[ClaimNumber], Answers]:
    """The claims that no sample violates and, if that is all of them, proofs."""
    began = time.monotonic()
    thin = checker.thinned_together(tuple(chosen)).to_prove
    many = _SAMPLES
    if thin.auxiliary():  # its relations are narrow; other proofs' clauses hide them
        lessons, many = (), _NARROW
    for part in _slices(thin):
        system, props = part.system, part.props
        samples = Samples(system, props, _scopes(checker, chosen, system))
        violated = {seen.prop for seen in samples.collect(*many, until)}
        if not violated:
            break
    else:
        return [c for c, p in zip(chosen, props) if p not in violated], {}
    proofs = prove_in_attempts(
        system,
        props,
        samples,
        until=until,
        seconds=_SHARE * (1 + len(chosen)),
        progress=memory_watch(settings),
        lessons=lessons,
    )
    share = (time.monotonic() - began) / len(chosen)
    found: Answers = {}
    for claim, prop, proof in zip(chosen, props, proofs):
        if proof.invariant is not None:
            told = _told(checker, claim, replace(proof.result, seconds=share))
            sliced = Sliced(system, prop, thin.kept.parts, part.data, tuple(chosen))
            found[claim] = Answer(told, sliced, (Proved(sliced, proof.invariant),))
    return chosen, found


class _Slice(NamedTuple):
    data: frozenset[str]  # the variables that it is about
    system: TransitionSystem
    props: tuple[Property, ...]


def _slices(thin: Thinned) -> Iterator[_Slice]:
    """The data that decide, and on what decides, if that is simpler; then all data."""
    data = thin.data()
    whole = _Slice(data, *thin.together(data))
    near = data & thin.auxiliary().union(thin.shallow(), *thin.nearby())
    if near < data:
        part = _Slice(near, *thin.together(near))
        if len(part.system.actions) < len(whole.system.actions):
            yield part
    yield whole


def _scopes(
    checker: Checker, chosen: list[ClaimNumber], system: TransitionSystem
) -> Scopes:
    """For each claim the variables that a proof of it alone would be about."""
    every = {variable.name for variable in system.variables}
    mine = [checker.thinned(*claim).data() & every for claim in chosen]
    shared = every - frozenset[str]().union(*mine)
    return tuple(frozenset(names | shared) for names in mine)
