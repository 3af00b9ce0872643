"""The calls of a trace one by one, for pictures: who ran what for which CPU, and when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import NamedTuple

from cpuhp.kernel.traces.events import Event, Item, Kind, Lost
from cpuhp.kernel.traces.operations import Call
from cpuhp.kernel.traces.rules import Rules, role_of


class Actor(Enum):
    """Who runs a step for a CPU. The value is its name in output."""

    CONTROL = "control task"
    IDLE = "idle task"
    STOPPER = "stopper"
    THREAD = "hotplug thread"


_ACTORS = {
    "control": Actor.CONTROL,
    "idle": Actor.IDLE,
    "stopper": Actor.STOPPER,
    "hotplug": Actor.THREAD,
}


class SpanOfCall(NamedTuple):
    """One call, with the actor that ran it for CPU `cpu`. Times are in seconds."""

    call: Call
    actor: Actor

    @property
    def cpu(self) -> int:
        return self.call.enter.cpu


def spans(items: Iterable[Item], rules: Rules) -> Iterator[SpanOfCall]:
    """Every call that the trace has whole, in the order of their ends."""
    open_: dict[tuple[str, int, int], Event] = {}
    for item in items:
        if isinstance(item, Lost):
            open_.clear()
        if not isinstance(item, Event):
            continue
        key = _task(item)
        if item.kind is not Kind.EXIT:
            open_[_nested(key, item)] = item
            continue
        enter = open_.pop(_nested(key, item), None)
        if enter is not None and item.time >= enter.time:
            yield SpanOfCall(Call(enter, item), actor_of(enter, rules))


def actor_of(event: Event, rules: Rules) -> Actor:
    """The actor by its task, or by the step where a format does not name the task."""
    role, _ = role_of(event)
    if role in ("control", "idle") and rules.is_control(event.step):
        return Actor.CONTROL
    if role in _ACTORS:
        return _ACTORS[role]
    if rules.is_control(event.step):
        return Actor.CONTROL
    if event.step > rules.teardown:
        return Actor.THREAD
    return Actor.IDLE if event.level >= event.step else Actor.STOPPER


def _task(event: Event) -> tuple[str, int, int]:
    if event.pid > 0:
        return ("", event.pid, -1)
    return ("idle", 0, event.on) if event.on >= 0 else ("?", event.cpu, event.step)


def _nested(key: tuple[str, int, int], event: Event) -> tuple[str, int, int]:
    # A task is in one call at a time: an enclosing one is told by CPU and step.
    return (f"{key[0]}{key[1]}/{key[2]}", event.cpu, event.step)
