"""Why a slot is forbidden: the checks that fail, who is responsible, what follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

from cpuhp.model.table import Section
from cpuhp.ordering.minimal import smallest
from cpuhp.ordering.placement import Constraint, Range, Reason
from cpuhp.ordering.questions import Finding, Outcome, Question
from cpuhp.ordering.steps import Slot, Step, without_callbacks
from cpuhp.ordering.variant import Variant
from cpuhp.ordering.workers import Judges

# The check that is added: somebody runs the callback at all. No text has such a name.
RUNS = "step runs"


@dataclass(frozen=True)
class Case:
    """A question of a scenario: the slots for which it was asked, and where it fails.

    In the slots of `idle` nobody runs the step: there it holds for nothing.
    """

    scenario: str
    question: Question
    asked: frozenset[int]
    failing: Mapping[int, tuple[Finding, Variant]]
    unknown: bool = False
    idle: frozenset[int] = frozenset()

    @property
    def everywhere(self) -> bool:
        """It fails, or is not known, in all slots: no matter of where the step stands."""
        slots = self.asked - self.idle
        return len(slots) > 1 and slots <= self.failing.keys()

    @property
    def decided(self) -> set[int]:
        """The slots in which it is known to fail."""
        return {n for n, (found, _) in self.failing.items() if found.is_known}

    @property
    def text(self) -> str:
        """The check; where all of it or a part is not known, that as well."""
        unknown = self.failing.keys() - self.decided
        if not unknown:
            return self.question.check
        if self.decided:
            slots = f"{len(unknown)} of {len(self.failing)} slots"
            return f"{self.question.check}; not known in {slots}"
        finding, _ = self.failing[min(unknown)]
        return f"{self.question.check}: not known ({finding.reason})"

    def only(self, left: Sequence[Slot]) -> Case:
        """The same in these slots alone."""
        asked = self.asked & {slot.number for slot in left}
        failing = {n: found for n, found in self.failing.items() if n in asked}
        return replace(self, asked=asked, failing=failing)

    def joined(self, other: Case) -> Case:
        """The same, with the slots of another part of it."""
        return replace(
            self,
            asked=self.asked | other.asked,
            failing={**self.failing, **other.failing},
            unknown=self.unknown or other.unknown,
        )


def reasons(
    cases: Sequence[Case], gaps: Sequence[Slot], ruled: Mapping[Section, list[str]]
) -> dict[int, tuple[Reason, ...]]:
    """For each slot, by number, why it is forbidden: rules first, then checks.

    What is not known is told where nothing else forbids the slot.
    """
    found: dict[int, tuple[Reason, ...]] = {}
    for slot in gaps:
        listed = [Reason(why) for why in ruled.get(slot.section, [])]
        for case in cases:
            if slot.number not in case.failing:
                continue
            finding, variant = case.failing[slot.number]
            text = case.question.check
            if case.question.check == RUNS:
                text = f"nobody runs {case.question.text}() in this slot"
                if not finding.is_known:
                    text = f"not known if anybody runs {case.question.text}()"
            elif finding.outcome is Outcome.UNKNOWN:
                text = f"{text}: not known ({finding.reason})"
            listed.append(Reason(text, case.scenario, case.question, finding, variant))
        sure = [one for one in listed if not one.finding or one.finding.is_known]
        found[slot.number] = tuple(sure or listed)
    return found


def everywhere(always: Sequence[Case], step: Step, judges: Judges) -> Iterator[Reason]:
    """One reason a check, with the steps that are responsible.

    It speaks of a slot in which the check fails, if there is one.
    """
    for case in always:
        finding, variant = case.failing[min(case.decided or case.failing)]
        reason = Reason(case.text, case.scenario, case.question, finding, variant)
        if finding.outcome is Outcome.FAILS:
            told = _responsible(reason, step, judges)
            reason = replace(reason, responsible=told)
        yield reason


def ranges(gaps: Sequence[Slot], why: Mapping[int, tuple[Reason, ...]]) -> list[Range]:
    """Slots in a row that are forbidden for the same reasons, or allowed."""

    def told(slot: Slot) -> tuple[tuple[str, str], ...]:
        return tuple((r.text, r.scenario) for r in why[slot.number])

    found = []
    for _, part in groupby(gaps, key=told):
        listed = tuple(part)
        found.append(Range(listed, why[listed[0].number]))
    return found


def explained(
    given: Sequence[Range],
    step: Step,
    judges: Judges,
    there: Mapping[str, Mapping[int, Variant]],
) -> list[Range]:
    """The first reason of each range with the steps that are responsible for it.

    `there`: for each scenario the variant of each slot.
    """
    good = next((r.slots[0].number for r in given if not r.reasons), None)
    beside = {name: of[good] for name, of in there.items()} if good is not None else {}
    found = []
    for one in given:
        listed = list(one.reasons)
        for at, reason in enumerate(listed):
            fails = reason.finding and reason.finding.outcome is Outcome.FAILS
            if fails:
                told = _responsible(reason, step, judges, beside.get(reason.scenario))
                listed[at] = replace(reason, responsible=told)
                break
        found.append(replace(one, reasons=tuple(listed)))
    return found


def _responsible(
    reason: Reason, step: Step, judges: Judges, beside: Variant | None = None
) -> tuple[str, ...]:
    """A minimal set of other callbacks with which the claim still fails.

    With only these the step would do no harm in a slot that is allowed (`beside`): what
    fails there as well, fails because too much was taken away. As many CPUs are looked
    at as the interleaving needs.
    """
    variant, question = reason.variant, reason.question
    assert variant is not None and question is not None and reason.finding
    judges = judges.up_to(reason.finding.cpus)
    names = {c.name for c in step.callbacks}
    (sight,) = judges.sights(variant, [question], whole=False)
    others = [name for name in sight.callbacks if name not in names]

    def outcome(where: Variant, left: frozenset[str]) -> Outcome:
        reduced = without_callbacks(where, set(others) - left)
        (finding,) = judges.findings([(reduced, question)])
        return finding.outcome

    def still_fails(left: frozenset[str]) -> bool:
        if outcome(variant, left) is not Outcome.FAILS:
            return False
        return beside is None or outcome(beside, left) is not Outcome.FAILS

    if still_fails(frozenset()):
        return ()
    ran = [name for name in others if name in reason.finding.callbacks]
    first = ran if still_fails(frozenset(ran)) else others
    left = smallest(first, still_fails)
    return tuple(name for name in others if name in left)


def constraints(cases: Sequence[Case], gaps: Sequence[Slot]) -> list[Constraint]:
    """The borders between slots where a check holds, in all scenarios that were asked,
    and where it fails in some.
    """
    found: list[Constraint] = []
    for check in dict.fromkeys(case.question.check for case in cases):
        mine = [case for case in cases if case.question.check == check]
        asked = frozenset[int]().union(
            *(case.asked - (case.failing.keys() - case.decided) for case in mine)
        )
        where: dict[int, str] = {}
        for case in mine:
            for number in case.decided:
                where.setdefault(number, case.scenario)
        tried = [slot for slot in gaps if slot.number in asked]
        for one, two in pairwise(tried):
            bad, good = one.number in where, two.number in where
            if bad != good:
                row = one.upper if bad else two.lower
                scenario = where[one.number if bad else two.number]
                found.append(Constraint(bad, row, check, scenario))
    return sorted(found, key=lambda c: (c.row.number, not c.above, c.check))
