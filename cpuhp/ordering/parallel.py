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
from cpuhp.ordering.workers import Judges, TimeIsUp
from cpuhp.timing.estimate import Estimate

MATTERS = 0.01  # part of the makespan that an option must change to count
MAX_OPTIONS = 5  # candidates are all combinations of so many
Clock = Callable[[Variant], Estimate]
_Timed = tuple[float, dict[str, bool], Variant]  # seconds, values of the options


@dataclass(frozen=True)
class Candidate:
    """A combination of options that decide what overlaps; `seconds` is its makespan.

    `failing`: checks that hold where nothing overlaps, and fail here. `mended_by`: for
    each of them the options that are off and would mend it. `fixes`: those that were
    turned on together; `fixed` is the candidate with them, if it then keeps all checks,
    and `fixed_seconds` its makespan.
    """

    options: Mapping[str, bool]
    variant: Variant
    seconds: float
    failing: tuple[str, ...]
    unknown: tuple[str, ...]
    mended_by: Mapping[str, tuple[str, ...]]
    fixes: tuple[str, ...] = ()
    fixed: Variant | None = None
    fixed_seconds: float = 0.0

    @property
    def safe(self) -> bool:
        return not self.failing and not self.unknown

    @property
    def safe_with_fixes(self) -> bool:
        return self.fixed is not None

    @property
    def takes(self) -> float:
        """The makespan of what keeps every check: as it is, or with the fixes."""
        return self.seconds if self.safe else self.fixed_seconds


@dataclass(frozen=True)
class Plan:
    """All candidates, fastest first, and what the fastest safe one spends its time on."""

    scenario: str
    bound: str
    cpus: int
    costs: str
    checks: int
    serial: float  # the longest makespan, of all candidates
    candidates: tuple[Candidate, ...]
    best: Candidate | None
    best_estimate: Estimate | None
    asked: int
    runs: int
    stopped: bool = False  # the time was up before all candidates were searched


def fastest(base: Variant, judges: Judges, clock: Clock, cpus: int, costs: str) -> Plan:
    """Every combination of the options that change the makespan, fastest first.

    Raises InputError if the scenario cannot be run against the clock as it is, TimeIsUp
    if nothing is known by then.
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
    dropped = set(claims) - set(wanted)
    found: list[Candidate] = []
    stopped = False
    try:
        for alike in _alike(timed):
            found += _shown(alike, dropped, judges, clock)
    except TimeIsUp:
        stopped = True
    good = [c for c in found if c.safe or c.safe_with_fixes]
    best = min(good, key=lambda c: c.takes, default=None)
    return Plan(
        base.scenario.shown_name,
        str(judges.bound),
        cpus,
        costs,
        len({q.check for q in wanted}),
        timed[-1][0],
        tuple(found),
        best,
        clock(best.fixed or best.variant) if best else None,
        judges.asked,
        judges.runs,
        stopped,
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


def _alike(timed: Sequence[_Timed]) -> list[list[_Timed]]:
    """Those together that take equally long, with the fewest options off first."""
    found: dict[str, list[_Timed]] = {}
    for one in timed:
        found.setdefault(f"{one[0]:.6g}", []).append(one)
    return [sorted(alike, key=lambda one: -sum(one[1].values()))
            for alike in found.values()]  # fmt: skip


def _shown(
    alike: Sequence[_Timed], dropped: set[Question], judges: Judges, clock: Clock
) -> list[Candidate]:
    """Of those that take equally long the first one, and a safe one if that is not."""
    tried: list[Candidate] = []
    for seconds, on, variant in alike:
        tried.append(_candidate(on, variant, seconds, dropped, judges, clock))
        if tried[-1].safe:
            break
    return [tried[0], *(c for c in tried[1:] if c.safe)]


def _candidate(
    values: Mapping[str, bool],
    variant: Variant,
    seconds: float,
    dropped: set[Question],
    judges: Judges,
    clock: Clock,
) -> Candidate:
    asked = _asked(variant, dropped)
    outcomes = dict(zip(asked, judges.findings([(variant, q) for q in asked])))
    bad = [q for q, f in outcomes.items() if f.outcome is Outcome.FAILS]
    unknown = {q.check for q, f in outcomes.items() if f.outcome is Outcome.UNKNOWN}
    helps = mended(variant, bad, judges)
    fixes = tuple(dict.fromkeys(names[0] for names in helps.values() if names))
    fixed: Variant | None = None
    fixed_seconds = 0.0
    if bad and all(helps.values()):
        with_them = variant.with_options(**{name: "true" for name in fixes})
        again = _asked(with_them, dropped)
        found = judges.findings([(with_them, q) for q in again])
        if all(f.outcome is Outcome.HOLDS for f in found):
            fixed, fixed_seconds = with_them, clock(with_them).makespan
    return Candidate(
        dict(values),
        variant,
        seconds,
        tuple(dict.fromkeys(q.check for q in bad)),
        tuple(sorted(unknown)),
        helps,
        fixes,
        fixed,
        fixed_seconds,
    )


def _asked(variant: Variant, dropped: set[Question]) -> list[Question]:
    """The claims of a candidate, but for those that do not hold where least overlaps.

    On what there can be data races depends on the candidate.
    """
    found = questions(variant.checker(), sometimes=False)
    return [q for q in found if q.kind not in ENDLESS and q not in dropped]


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
