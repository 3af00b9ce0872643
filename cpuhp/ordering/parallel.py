"""The fastest way through a scenario that keeps every check.

What may overlap, and where the barriers stand, is what the scenario's own options say
(hotplug threads kicked one by one or at once, one rendezvous a CPU or one for all). Each
combination is a candidate; they are tried from the fastest on, and each is searched for
violations before it is called safe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from cpuhp.diagnostics import InputError
from cpuhp.model.sorts import BOOL
from cpuhp.ordering.elements import remedies
from cpuhp.ordering.questions import ENDLESS, Outcome, Question, questions
from cpuhp.ordering.variant import Variant
from cpuhp.ordering.workers import Judges
from cpuhp.timing.estimate import Estimate

MATTERS = 0.01  # part of the makespan that an option must change to count
MAX_OPTIONS = 5  # candidates are all combinations of so many
Clock = Callable[[Variant], Estimate]


@dataclass(frozen=True)
class Candidate:
    """A combination of options that decide what overlaps; `seconds` is its makespan.

    `failing`: checks that hold where nothing overlaps, and fail here. `mended_by`: for
    each of them the options that are off and would mend it. `fixes`: those that were
    turned on together, and whether the candidate then keeps all checks.
    """

    options: Mapping[str, bool]
    variant: Variant
    seconds: float
    failing: tuple[str, ...]
    unknown: tuple[str, ...]
    mended_by: Mapping[str, tuple[str, ...]]
    fixes: tuple[str, ...] = ()
    safe_with_fixes: bool = False

    @property
    def safe(self) -> bool:
        return not self.failing and not self.unknown


@dataclass(frozen=True)
class Plan:
    """All candidates, fastest first, and what the fastest safe one spends its time on."""

    scenario: str
    bound: str
    cpus: int
    costs: str
    checks: int
    candidates: tuple[Candidate, ...]
    best: Candidate | None
    best_estimate: Estimate | None
    asked: int
    runs: int


def fastest(base: Variant, judges: Judges, clock: Clock, cpus: int, costs: str) -> Plan:
    """Every combination of the options that change the makespan, fastest first.

    Raises InputError if the scenario cannot be run against the clock as it is.
    """
    names = _deciding(base, clock)
    timed = []
    for values in product((True, False), repeat=len(names)):
        told = {n: ("true" if v else "false") for n, v in zip(names, values)}
        variant = base.with_options(**told)
        timed.append((clock(variant).makespan, dict(zip(names, values)), variant))
    timed.sort(key=lambda one: one[0])
    slowest = next(v for _, on, v in timed if not any(on.values()))
    claims = [
        q
        for q in questions(slowest.checker(), sometimes=False)
        if q.kind not in ENDLESS
    ]
    outcomes = judges.findings([(slowest, q) for q in claims])
    wanted = [q for q, f in zip(claims, outcomes) if f.outcome is Outcome.HOLDS]
    found = [
        _candidate(values, variant, seconds, wanted, judges)
        for seconds, values, variant in _distinct(timed)
    ]
    best = next((c for c in found if c.safe or c.safe_with_fixes), None)
    return Plan(
        base.scenario.name.replace("_", "-"),
        str(judges.bound),
        cpus,
        costs,
        len({q.check for q in wanted}),
        tuple(found),
        best,
        clock(best.variant) if best else None,
        judges.asked,
        judges.runs,
    )


def _deciding(base: Variant, clock: Clock) -> list[str]:
    """Options that are on and change the makespan when they are off."""
    whole = clock(base).makespan
    found: list[tuple[float, str]] = []
    for name, option in base.program().options.items():
        if option.sort != BOOL or not option.value or name == "starts_online":
            continue
        try:
            other = clock(base.with_options(**{name: "false"})).makespan
        except InputError:
            continue  # without it the scenario does not come to its end
        if abs(other - whole) > MATTERS * max(whole, other):
            found.append((-abs(other - whole), name))
    return [name for _, name in sorted(found)[:MAX_OPTIONS]]


def _distinct(
    timed: Sequence[tuple[float, dict[str, bool], Variant]],
) -> list[tuple[float, dict[str, bool], Variant]]:
    """One of those that take equally long: the one with the fewest options off."""
    found: dict[str, tuple[float, dict[str, bool], Variant]] = {}
    for one in timed:
        key = f"{one[0]:.6g}"
        known = found.get(key)
        if known is None or sum(one[1].values()) > sum(known[1].values()):
            found[key] = one
    return list(found.values())


def _candidate(
    values: Mapping[str, bool],
    variant: Variant,
    seconds: float,
    wanted: Sequence[Question],
    judges: Judges,
) -> Candidate:
    there = set(questions(variant.checker(), sometimes=False))
    asked = [q for q in wanted if q in there]
    outcomes = dict(zip(asked, judges.findings([(variant, q) for q in asked])))
    bad = [q for q, f in outcomes.items() if f.outcome is Outcome.FAILS]
    unknown = {q.check for q, f in outcomes.items() if f.outcome is Outcome.UNKNOWN}
    helps = mended(variant, bad, judges)
    fixes = tuple(dict.fromkeys(names[0] for names in helps.values() if names))
    safe = False
    if bad and all(helps.values()):
        fixed = variant.with_options(**{name: "true" for name in fixes})
        there = set(questions(fixed.checker(), sometimes=False))
        again = [q for q in wanted if q in there]
        found = judges.findings([(fixed, q) for q in again])
        safe = all(f.outcome is Outcome.HOLDS for f in found)
    return Candidate(
        dict(values),
        variant,
        seconds,
        tuple(dict.fromkeys(q.check for q in bad)),
        tuple(sorted(unknown)),
        helps,
        fixes,
        safe,
    )


def mended(
    variant: Variant, bad: Sequence[Question], judges: Judges
) -> dict[str, tuple[str, ...]]:
    """For each failing check the options that are off and would mend it alone."""
    pieces = list(remedies(variant, variant.program())) if bad else []
    found = judges.findings([(p.without, q) for p in pieces for q in bad])
    good = {
        (p.name, q): f.outcome is Outcome.HOLDS
        for (p, q), f in zip([(p, q) for p in pieces for q in bad], found)
    }
    result: dict[str, tuple[str, ...]] = {}
    for check in dict.fromkeys(q.check for q in bad):
        mine = [q for q in bad if q.check == check]
        result[check] = tuple(
            p.name for p in pieces if all(good[p.name, q] for q in mine)
        )
    return result
