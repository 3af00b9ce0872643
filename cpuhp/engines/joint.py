"""Claims of one program, proved together for every number of CPUs.

What the claims of a scenario need is for the most part the same: what the hotplug core
guarantees. So a few claims are proved by one invariant, over the variables that matter
to any of them. A claim that fails does not spoil the others; it is answered alone.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from cpuhp.engines.checking import (
    Answer,
    Checker,
    ClaimNumber,
    OutOfMemory,
    Settings,
    Sliced,
    memory_watch,
)
from cpuhp.engines.parametric import Proof, prove, prove_together
from cpuhp.engines.parametric.lessons import Lessons, lessons_of
from cpuhp.engines.parametric.sampling import Samples
from cpuhp.engines.parametric.together import Scopes
from cpuhp.engines.refinement import Refinement
from cpuhp.language.build import observed_by
from cpuhp.model.system import Expectation, TransitionSystem
from cpuhp.model.verdict import Verdict

Answers = dict[ClaimNumber, Answer]
_SEVERAL = 8  # claims at most that are proved together,
_WEIGHT = 8  # and what they may have beside what most claims have: variables,
_POINTER = 4  # and one that holds a CPU counts as so many
_LIGHT = 4  # who needs more is alone, or with those who need the same
_SAMPLES = 6_000, 50  # states and walks
_ALONE = 3.0  # seconds for a claim that has few variables,
_SHARE = 2.0  # and for each of those that are proved together, in one attempt;
_ATTEMPTS = 6  # who was led astray by a view that no state has gains by beginning anew


def groups(
    checker: Checker, chosen: Iterable[ClaimNumber]
) -> list[tuple[ClaimNumber, ...]]:
    """The claims with `always` or `never`, those together that need much the same."""
    able = [
        claim
        for claim in chosen
        if checker.claim(*claim).expectation is Expectation.ALWAYS
    ]
    needs: dict[ClaimNumber, frozenset[str]] = {}
    pointers: set[str] = set()
    for claim in able:
        thin = checker.thinned(*claim)
        needs[claim] = thin.data() | observed_by(thin.props)
        pointers |= thin.pointers()
    count = Counter(name for needed in needs.values() for name in needed)
    common = {name for name, times in count.items() if 2 * times > len(able)}

    def weight(variables: Iterable[str]) -> int:
        return sum(_POINTER if name in pointers else 1 for name in variables)

    light = sorted(able, key=lambda claim: weight(needs[claim] - common))
    found: list[tuple[list[ClaimNumber], frozenset[str]]] = []
    for claim in light:
        own = needs[claim] - common
        for position, (members, variables) in enumerate(found):
            both = variables | own
            alike = own <= variables or variables <= own
            if weight(own) <= _LIGHT:
                room = len(members) < _SEVERAL and weight(both) <= _WEIGHT
            else:
                room = alike and weight(variables) > _LIGHT
            if room:
                found[position] = ([*members, claim], both)
                break
        else:
            found.append(([claim], own))
    found.sort(key=lambda group: -weight(group[1]))
    return [tuple(sorted(members)) for members, _ in found]


def settle(
    checker: Checker,
    group: Iterable[ClaimNumber],
    settings: Settings,
    lessons: Lessons = (),
) -> Answers:
    """Answers to those claims of a group that could be proved for every CPU count.

    `lessons` are what another group of the program has taught.
    """
    until = time.monotonic() + settings.timeout
    found: Answers = {}
    left = []
    for claim in group:
        answer = _alone(checker, claim, settings, until)
        if answer is None:
            left.append(claim)
        else:
            found[claim] = answer
    try:
        while left:
            fitting, answers = _together(checker, left, settings, lessons, until)
            if len(fitting) == len(left):
                return found | answers
            left = fitting
    except OutOfMemory:  # each alone may fit
        pass
    return found


def taught(answers: Iterable[Answer]) -> Lessons:
    """What the longest of these proofs teaches."""
    proofs = [(a.sliced.system, a.invariant) for a in answers if a.invariant]
    longest = max(proofs, key=lambda proof: len(proof[1].clauses), default=None)
    return () if longest is None else lessons_of(*longest)


def _alone(
    checker: Checker, claim: ClaimNumber, settings: Settings, until: float
) -> Answer | None:
    """The proof of a claim that its own callback decides."""
    began = time.monotonic()
    thin = checker.thinned(*claim)
    narrow = Refinement(thin, until).shallow()
    if narrow is None:
        return None
    deadline = min(until, time.monotonic() + _ALONE)
    proof = prove(
        narrow.system,
        narrow.prop,
        deadline=deadline,
        progress=memory_watch(settings),
        samples=narrow.samples,
    )
    if proof.result.verdict is not Verdict.PROVED:
        return None
    sliced = Sliced(narrow.system, narrow.prop, thin.kept.parts, narrow.only)
    result = replace(proof.result, seconds=time.monotonic() - began)
    return Answer(result, sliced, proof.invariant)


def _together(
    checker: Checker,
    chosen: list[ClaimNumber],
    settings: Settings,
    lessons: Lessons,
    until: float,
) -> tuple[list[ClaimNumber], Answers]:
    """The claims that no sample violates and, if that is all of them, proofs."""
    began = time.monotonic()
    thin = checker.thinned_together(tuple(chosen))
    if thin.auxiliary():  # its relations are narrow; other proofs' clauses hide them
        lessons = ()
    only = thin.data()
    system, props = thin.together(only)
    scopes = _scopes(checker, chosen, system)
    proofs: tuple[Proof, ...] = ()
    for seed in range(_ATTEMPTS):
        samples = Samples(system, props, scopes, seed)
        violated = {seen.prop for seen in samples.collect(*_SAMPLES, until)}
        if violated:
            return [c for c, p in zip(chosen, props) if p not in violated], {}
        proofs = prove_together(
            system,
            props,
            deadline=min(until, time.monotonic() + _SHARE * (1 + len(chosen))),
            progress=memory_watch(settings),
            samples=samples,
            lessons=lessons,
            seed=seed,
        )
        if any(proof.invariant for proof in proofs) or time.monotonic() > until:
            break
    share = (time.monotonic() - began) / len(chosen)
    return chosen, {
        claim: Answer(
            replace(proof.result, seconds=share),
            Sliced(system, prop, thin.kept.parts, only, tuple(chosen)),
            proof.invariant,
        )
        for claim, prop, proof in zip(chosen, props, proofs)
        if proof.result.verdict is Verdict.PROVED
    }


def _scopes(
    checker: Checker, chosen: list[ClaimNumber], system: TransitionSystem
) -> Scopes:
    """For each claim the variables that a proof of it alone would be about."""
    every = {variable.name for variable in system.variables}
    mine = [checker.thinned(*claim).data() & every for claim in chosen]
    shared = every - frozenset[str]().union(*mine)
    return tuple(frozenset(names | shared) for names in mine)
