"""Traces, verdicts and results: what every engine answers with."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from cpuhp.model.system import Action, Property


class Verdict(Enum):
    """Ordered from good to bad; each with the sentence that says what it means."""

    PROVED = "PROVED"
    WITNESSED = "WITNESSED"
    HOLDS_TO_BOUND = "HOLDS_TO_BOUND"
    UNKNOWN = "UNKNOWN"
    UNREACHABLE = "UNREACHABLE"
    VIOLATED = "VIOLATED"

    @property
    def meaning(self) -> str:
        return _MEANING[self]

    @property
    def is_failure(self) -> bool:
        return self in (Verdict.VIOLATED, Verdict.UNREACHABLE)


_MEANING = {
    Verdict.PROVED: "no interleaving violates it",
    Verdict.WITNESSED: "an interleaving that does it was found and replayed",
    Verdict.HOLDS_TO_BOUND: "nothing found up to the stated bound; not a proof",
    Verdict.UNKNOWN: "a limit was reached or the abstraction is too coarse",
    Verdict.UNREACHABLE: "no interleaving does it: the model is vacuous",
    Verdict.VIOLATED: "an interleaving violates it; it was confirmed and replayed",
}

State = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """An action, the values of its parameters (in `action.params` order), the result."""

    action: Action
    binding: tuple[int, ...]
    state: State


@dataclass(frozen=True, slots=True)
class Trace:
    """A run on a machine of `cpus` CPUs whose control CPU is number `boot`.

    With `loop`, the run goes on for ever: after the last step it is again in the state
    that stands before step `loop` (counted from 0).
    """

    cpus: int
    boot: int
    initial: State
    steps: tuple[Step, ...]
    loop: int | None = None


@dataclass(frozen=True)
class Result:
    """The answer to one property.

    `cpus` is the number of CPUs that the verdict covers, or None for every number.
    """

    prop: Property
    verdict: Verdict
    cpus: int | None = None
    trace: Trace | None = None
    reason: str | None = None
    seconds: float = 0.0
    engine: str = ""
    stats: dict[str, int] = field(default_factory=dict)
