"""Operations of a trace: what one `cpu_up`, `cpu_down` or registration did.

Events become calls (an enter with its exit); calls become operations. The data here is
what `conform` hands back; who builds it is in machine.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from cpuhp.kernel.traces.events import Event, Kind

KICK_WORK = "cpuhp_kick_ap_work"


class OperationKind(Enum):
    BRINGUP = "bringup"
    TEAR_DOWN = "tear-down"
    REGISTRATION = "registration"


class Call(NamedTuple):
    """One callback invocation: its enter and its exit event."""

    enter: Event
    exit: Event

    @property
    def is_multi(self) -> bool:
        return self.enter.kind is Kind.MULTI_ENTER

    @property
    def seconds(self) -> float:
        return self.exit.time - self.enter.time


@dataclass(frozen=True, slots=True)
class Operation:
    """What was done to `cpu` (for a registration: to `cpus`), from line to line.

    `before` and `after` are hotplug states; None where the trace begins too late or
    ends too early to know. `failed_step` and `result` tell what failed: the step is
    None and the result -EAGAIN by inference when a failure left no event, as an
    injected one does. `explained` is False when a step of it deviates from the model.
    """

    kind: OperationKind
    cpu: int
    cpus: tuple[int, ...]
    first_line: int
    last_line: int
    start: float
    end: float
    before: int | None
    after: int | None
    target: int | None
    calls: int
    rolled_back: bool
    result: int
    failed_step: int | None
    explained: bool
    cut: bool
    step: int | None = None
    function: str = ""


class Rule(Enum):
    """What a deviation breaks. The value is its name in output."""

    ORDER = "order"
    CONTEXT = "context"
    DIRECTION = "direction"
    STATE = "state"
    TARGET = "target"
    HAND_OVER = "hand-over"
    PAIRING = "pairing"
    EXCLUSION = "exclusion"
    ROLLBACK = "rollback"
    FUNCTION = "function"
    NAME = "name"
    REGISTRATION = "registration"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Deviation:
    """A place where the trace and the model differ, and what the model allowed."""

    line: int
    rule: Rule
    cpu: int
    message: str
    allowed: str


def is_up(call_enter: Event) -> bool:
    """The direction that target and step tell: up runs steps up to the target."""
    return call_enter.level >= call_enter.step
