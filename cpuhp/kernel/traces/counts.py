"""How often steps run in like operations, and which operation stands out."""

from __future__ import annotations

from collections.abc import Callable

from cpuhp.kernel.traces.operations import Operation, OperationKind
from cpuhp.kernel.traces.rules import Rules


class Counts:
    """Compares how often steps ran in like operations.

    A multi-instance step runs once an instance: a count that differs in one operation
    only, within a second, hardly comes from adding and removing one. A step of the
    kernel's own that runs at all runs in every whole operation.
    """

    def __init__(self, rules: Rules, odd: Callable[[int, int, str, int], None]):
        """`odd(operation's index, line, message, times)` is told what stands out."""
        self._rules = rules
        self._odd = odd
        self._history: dict[tuple[int, bool], list[tuple[int, int, Operation]]] = {}
        self._whole: dict[bool, tuple[int, int] | None] = {True: None, False: None}

    def note(
        self, operation: Operation, index: int, counts: dict[tuple[int, bool], int]
    ) -> None:
        if operation.rolled_back or operation.result or operation.cut:
            return
        if operation.before is None:
            return
        up = operation.kind is OperationKind.BRINGUP
        for key, count in counts.items():
            if key[1] is up:
                self._compare(key, count, operation, index)
        if self._whole[up] is None and operation.before is not None:
            low, high = sorted((operation.before, operation.after or 0))
            if low == 0 and high == max(self._rules.names):
                self._whole[up] = (index, operation.first_line)

    def _compare(
        self, key: tuple[int, bool], count: int, operation: Operation, index: int
    ) -> None:
        step, up = key
        history = self._history.get(key)
        if history is None:
            self._history[key] = [(count, index, operation)]
            whole = self._whole[up]
            if whole and self._rules.own(step, up):
                label = self._rules.label(step)
                self._odd(whole[0], whole[1], f"{label} did not run", 1)
            return
        history.append((count, index, operation))
        if len(history) < 3:
            return
        (before, _, first), (odd, at, middle), _ = history
        if before == count != odd and operation.start - first.end < 1.0:
            label = self._rules.label(step)
            self._odd(at, middle.last_line, f"{label} ran {odd} times", before)
        del history[0]

    def clear(self) -> None:
        """Forget all counts: the trace has a gap."""
        self._history.clear()
        self._whole = {True: None, False: None}

    def registered(self, step: int) -> None:
        """Instances may have come or gone: forget how many there were."""
        for up in (True, False):
            if (step, up) in self._history:
                self._history[step, up] = []
