"""Safety for every number of CPUs: an answer, with the invariant behind it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from cpuhp.engines.clock import now
from cpuhp.engines.formulas import apart
from cpuhp.engines.parametric.learner import GiveUp, Learner, Progress
from cpuhp.engines.parametric.lessons import Lessons
from cpuhp.engines.parametric.sampling import Samples
from cpuhp.engines.parametric.verify import Undecided
from cpuhp.model.invariant import Invariant
from cpuhp.model.system import Expectation, Property, TransitionSystem
from cpuhp.model.verdict import Result, Verdict

ENGINE = "parametric"
_PATIENCE = 6  # guesses that may turn out wrong at first, and more in each attempt:
_ATTEMPTS = 8  # who guessed wrong gains by beginning anew, with what was learnt and
_MORE = 18_000, 150  # states and walks more, and each time
_TIMES = 2  # so many times more
PROVABLE = (Expectation.ALWAYS, Expectation.FINALLY, Expectation.DEADLOCK_FREE)


@dataclass(frozen=True)
class Proof:
    """The answer and, if PROVED, the inductive invariant that implies the property.

    `misled`: guesses turned out to be wrong, so that another attempt may do better.
    """

    result: Result
    invariant: Invariant | None = None
    stats: dict[str, int] = field(default_factory=dict)
    misled: bool = False


def prove(
    system: TransitionSystem,
    prop: Property,
    *,
    deadline: float | None = None,
    progress: Progress | None = None,
    samples: Samples | None = None,
    lessons: Lessons = (),
) -> Proof:
    """Try to prove a property for every number of CPUs.

    `deadline` is a time of `clock.now()`. The verdict is PROVED, with cpus None,
    or UNKNOWN with the reason; never anything else.
    """
    return prove_together(
        system,
        (prop,),
        deadline=deadline,
        progress=progress,
        samples=samples,
        lessons=lessons,
    )[0]


@apart()
def prove_together(
    system: TransitionSystem,
    props: tuple[Property, ...],
    *,
    deadline: float | None = None,
    progress: Progress | None = None,
    samples: Samples | None = None,
    lessons: Lessons = (),
    seed: int = 0,
    patience: int | None = None,
) -> tuple[Proof, ...]:
    """Try to prove properties by one invariant; those that fail do not spoil the others.

    Each proof tells the seconds that were spent on all. `samples` may grow;
    `lessons` are guesses from other proofs about the same program. Another `seed` looks
    for the proof in another order. Who has `patience` gives up after so many guesses
    that were wrong.
    """
    start = time.monotonic()
    stats: dict[str, int] = {}
    invariant, reason, misled = None, "", False
    able = tuple(prop for prop in props if prop.expectation in PROVABLE)
    lost = {
        prop: f"'{prop.expectation.value}' is not proved for every number of CPUs"
        for prop in props
        if prop not in able
    }
    if able:
        learner = Learner(
            system, able, deadline, progress, samples, lessons, seed, patience
        )
        try:
            invariant = learner.run()
        except (GiveUp, Undecided) as error:
            reason, misled = str(error), learner.stats["dropped"] > 0
        else:
            stats, lost = learner.stats, lost | learner.lost
    seconds = time.monotonic() - start

    def proof(prop: Property) -> Proof:
        proved = invariant is not None and prop not in lost
        verdict = Verdict.PROVED if proved else Verdict.UNKNOWN
        told = None if proved else lost.get(prop, reason)
        result = Result(
            prop, verdict, reason=told, seconds=seconds, engine=ENGINE, stats=stats
        )
        return Proof(result, invariant if proved else None, stats, misled)

    return tuple(proof(prop) for prop in props)


def prove_in_attempts(
    system: TransitionSystem,
    props: tuple[Property, ...],
    samples: Samples,
    *,
    until: float,
    seconds: float,
    progress: Progress | None = None,
    lessons: Lessons = (),
) -> tuple[Proof, ...]:
    """The same, begun anew on more samples when too many guesses were wrong.

    Each attempt takes at most `seconds`; `until` is when all must end.
    """
    states, walks = _MORE
    for seed in range(_ATTEMPTS):
        if seed:
            if any(samples.collect(states, walks, until)):
                break  # a state violates a property
            states, walks = _TIMES * states, _TIMES * walks
        deadline = min(until, now() + seconds)
        proofs = prove_together(
            system,
            props,
            deadline=deadline,
            progress=progress,
            samples=samples,
            lessons=lessons,
            seed=seed,
            patience=_PATIENCE * (1 + seed),
        )
        ended = now()
        if any(proof.invariant for proof in proofs) or ended > until:
            break
        if ended < deadline and not any(proof.misled for proof in proofs):
            break  # what it was told is not enough, however it begins
    return proofs
