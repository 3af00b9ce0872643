"""Events of one timestamp, put into an order that could have been.

A trace clock may stand still for a while (the global one does when CPUs disagree), and
then tracefs prints CPU after CPU. Within a task the order is right; between the control
task and the hotplug thread that it waits for, cause and effect tell.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from cpuhp.kernel.traces.events import Event, Item, Kind

Task = tuple[str, int, int]


def by_time(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Runs of events with the same time; anything else alone."""
    group: list[Item] = []
    time = -1.0
    for item in items:
        if isinstance(item, Event) and item.time == time:
            group.append(item)
            continue
        if group:
            yield group
        group = [item]
        time = item.time if isinstance(item, Event) else -1.0
    if group:
        yield group


class Now(Protocol):
    """What is known after all events that were yielded before."""

    def waits_for(self, cpu: int) -> bool:
        """Whether a control task is in a call that waits for that CPU's thread."""

    def encloses(self, event: Event) -> bool:
        """Whether an enter begins such a call."""

    def goes_on(self, event: Event) -> bool:
        """Whether an event of the thread belongs to the call that is open."""

    def blocked(self, event: Event) -> bool:
        """Whether an operation that is not over keeps a control task from this."""


def untangle(
    events: list[Event], task_of: Callable[[Event], Task], now: Now
) -> Iterator[Event]:
    """The events one by one, each task's in order."""
    queues: dict[Task, deque[Event]] = {}
    for event in events:
        queues.setdefault(task_of(event), deque()).append(event)
    if len(queues) == 1:
        yield from events
        return
    while queues:
        heads = sorted(queues, key=lambda task: queues[task][0].line)
        ready = (t for t in heads if _ready(queues, t, now))
        task = next(ready, heads[0])
        yield queues[task].popleft()
        if not queues[task]:
            del queues[task]


def _ready(queues: dict[Task, deque[Event]], task: Task, now: Now) -> bool:
    head = queues[task][0]
    others = [queue for other, queue in queues.items() if other != task]
    if _is_thread(head):
        if now.waits_for(head.cpu):
            return now.goes_on(head)
        return not any(
            event.cpu == head.cpu
            and event.kind is not Kind.EXIT
            and now.encloses(event)
            for queue in others
            for event in queue
        )
    if head.kind is not Kind.EXIT:
        return not now.blocked(head)
    if not now.waits_for(head.cpu):
        return True
    threads = (queue[0] for queue in others if _is_thread(queue[0]))
    return not any(event.cpu == head.cpu and now.goes_on(event) for event in threads)


def _is_thread(event: Event) -> bool:
    return event.comm == f"cpuhp/{event.cpu}"
