"""What is asked about a claim, and what an answer is, as plain data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cpuhp.engines.explicit.search import memory_used
from cpuhp.model.invariant import Invariant
from cpuhp.model.system import Property, TransitionSystem
from cpuhp.model.verdict import Result, Trace

Progress = Callable[[str], None]
ClaimNumber = tuple[str, int]  # name of a check, number of the claim in it


class OutOfMemory(Exception):
    """A proof was given up; the message says at which limit."""


@dataclass(frozen=True)
class Settings:
    """What to cover (`cpus` None: every number), and when to give up."""

    cpus: int | None = None
    timeout: float = 60.0  # seconds, per claim
    memory: int | None = None  # bytes, of the whole process
    max_states: int = 400_000
    confirm: bool = True  # by z3, beside the replay; what is shown needs both
    certify: bool = True  # write down what anyone needs who checks a proof again
    recheck: bool = False  # have it checked again before it is told


@dataclass(frozen=True)
class Sliced:
    """The transition system of one claim, and the claim told in its terms."""

    system: TransitionSystem
    prop: Property
    parts: frozenset[str]
    only: frozenset[str] | None = None  # None: conditions on all variables are kept
    together: tuple[ClaimNumber, ...] = ()  # that the system is for, if for several


@dataclass(frozen=True)
class Proved:
    """An inductive invariant of a system, and with it the claim for every CPU count.

    `races`: the claim is that there is no data race on these variables.
    """

    sliced: Sliced
    invariant: Invariant
    races: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Answer:
    """A result, with what is needed to show it and to check it again.

    `proofs`, if it is for every CPU count: one, but of data races one for each few
    variables, and none where no variable can race.
    """

    result: Result
    sliced: Sliced
    proofs: tuple[Proved, ...] | None = None
    replayed: Trace | None = None  # the trace in the whole program


def memory_watch(settings: Settings) -> Progress:
    """Raises OutOfMemory at the limit; a proof looks at nothing but the clock."""

    def watch(text: str) -> None:
        most = settings.memory
        if most is not None and memory_used() > most:
            raise OutOfMemory(f"limit of {most >> 20} MiB of memory reached")

    return watch
