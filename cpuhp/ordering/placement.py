"""What is known of the places of a step: slots that are allowed, and reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cpuhp.model.table import HotplugState, Section, Table
from cpuhp.ordering.questions import Finding, Question
from cpuhp.ordering.steps import Slot, Step
from cpuhp.ordering.variant import Variant


@dataclass(frozen=True)
class Reason:
    """Why a slot is forbidden: a check of a scenario, or (without) a rule.

    `responsible`: callbacks of other steps without one of which it would not fail.
    """

    text: str
    scenario: str = ""
    question: Question | None = None
    finding: Finding | None = None
    variant: Variant | None = None
    responsible: tuple[str, ...] = ()


@dataclass(frozen=True)
class Range:
    """Slots in a row with the same reasons; without a reason they are allowed."""

    slots: tuple[Slot, ...]
    reasons: tuple[Reason, ...]

    @property
    def lower(self) -> HotplugState:
        return self.slots[0].lower

    @property
    def upper(self) -> HotplugState:
        return self.slots[-1].upper


@dataclass(frozen=True)
class Constraint:
    """The step stands above (or below) a row, or `check` of `scenario` fails."""

    above: bool
    row: HotplugState
    check: str
    scenario: str


@dataclass(frozen=True)
class Bounded:
    """A check that was searched only, in so many of the slots that are allowed."""

    scenario: str
    check: str
    slots: int


@dataclass(frozen=True)
class Proofs:
    """How many claims are proved for every number of CPUs in all allowed `slots`."""

    proved: int
    claims: int
    bounded: tuple[Bounded, ...]
    slots: int


@dataclass(frozen=True)
class Placement:
    """All slots of a table. `excluded`: checks that fail without the step as well."""

    step: Step
    table: Table
    bound: str
    scenarios: tuple[str, ...]
    ranges: tuple[Range, ...]
    constraints: tuple[Constraint, ...]
    own: Slot | None
    excluded: tuple[tuple[str, str], ...]
    unknown: tuple[tuple[str, str], ...]
    relevant: int  # questions that depend on where the step stands
    questions: int  # all of them
    systems: int  # that were searched
    naive: int  # searches if each slot were checked on its own
    ruled: Mapping[Section, list[str]]  # sections that a rule of the kernel forbids
    everywhere: tuple[Reason, ...] = ()  # checks that fail wherever the step stands
    unrun: tuple[str, ...] = ()  # callbacks that no scenario runs, wherever they stand
    blind: bool = False  # no check of any scenario looks at what the step does
    proofs: Proofs | None = None  # if they were asked for

    @property
    def allowed(self) -> list[Range]:
        """The slots that keep all checks but those that fail `everywhere`."""
        return [r for r in self.ranges if not r.reasons]
