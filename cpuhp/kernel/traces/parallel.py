"""Parallel bringup in a trace: CPUs kicked alive before others are released."""

from __future__ import annotations

from dataclasses import dataclass

from cpuhp.kernel.traces.events import Event
from cpuhp.kernel.traces.operations import Operation
from cpuhp.kernel.traces.rules import Rules


@dataclass(frozen=True)
class ParallelBringup:
    """CPUs kicked alive and not yet brought online: the window of parallel bringup."""

    cpus: tuple[int, ...]
    first_line: int
    last_line: int
    start: float
    end: float
    most_at_once: int


class Waves:
    """Follows CPUs from CPUHP_BP_KICK_AP to the start of their second pass."""

    def __init__(self, rules: Rules):
        row = rules.known.table.find("CPUHP_BP_KICK_AP")
        self._kick = row.number if row else -1
        self._flying: dict[int, Operation] = {}
        self._wave: list[Operation] = []
        self._most = 0
        self._last: Event | None = None
        self._done: list[ParallelBringup] = []

    def ended(self, operation: Operation) -> None:
        if operation.after != self._kick or operation.target != self._kick:
            return
        self._flying[operation.cpu] = operation
        self._wave.append(operation)
        self._most = max(self._most, len(self._flying))

    def leave(self, event: Event) -> None:
        if self._flying.pop(event.cpu, None) is None:
            return
        self._last = event
        if not self._flying:
            self._close(event)

    def _close(self, event: Event) -> None:
        wave, self._wave = self._wave, []
        most, self._most = self._most, 0
        self._done.append(
            ParallelBringup(
                tuple(operation.cpu for operation in wave),
                wave[0].first_line,
                event.line,
                wave[0].end,
                event.time,
                most,
            )
        )

    def waves(self) -> tuple[ParallelBringup, ...]:
        if self._wave and self._last is not None:
            self._close(self._last)
        return tuple(self._done)
