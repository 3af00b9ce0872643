"""Events of one timestamp, put into an order that could have been.

A trace clock may stand still for a while (the global one does when CPUs disagree), and
then tracefs prints CPU after CPU. Within a task the order is right; between the control
task and the hotplug thread that it waits for, cause and effect tell.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from cpuhp.kernel.traces.events import Event, Item, Kind

Task = tuple[str, int, int]
MAX_TIED = 20_000  # events of one time that are put into order together
MAX_TASKS = 512  # of more tasks than that the order in the file is believed


def by_time(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Runs of events with the same time; anything else alone."""
    group: list[Item] = []
    time = -1.0
    for item in items:
        tied = isinstance(item, Event) and item.time == time
        if tied and len(group) < MAX_TIED:
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
    if len(queues) == 1 or len(queues) > MAX_TASKS:
        yield from events
        return
    calls: Counter[int] = Counter()  # by CPU, those that enclose and are still to come
    for event in events:
        calls[event.cpu] += _begins_call(event, now)
    while queues:
        heads = sorted(queues, key=lambda task: queues[task][0].line)
        ready = (t for t in heads if _ready(queues, t, calls, now))
        task = next(ready, heads[0])
        event = queues[task].popleft()
        calls[event.cpu] -= _begins_call(event, now)
        yield event
        if not queues[task]:
            del queues[task]


def _begins_call(event: Event, now: Now) -> bool:
    waits = event.kind is not Kind.EXIT and not _is_thread(event)
    return waits and now.encloses(event)


def _ready(
    queues: dict[Task, deque[Event]], task: Task, calls: Counter[int], now: Now
) -> bool:
    head = queues[task][0]
    if _is_thread(head):
        return now.goes_on(head) if now.waits_for(head.cpu) else not calls[head.cpu]
    if head.kind is not Kind.EXIT:
        return not now.blocked(head)
    if not now.waits_for(head.cpu):
        return True
    threads = (queue[0] for queue in queues.values() if _is_thread(queue[0]))
    return not any(event.cpu == head.cpu and now.goes_on(event) for event in threads)


def _is_thread(event: Event) -> bool:
    return event.comm == f"cpuhp/{event.cpu}"
