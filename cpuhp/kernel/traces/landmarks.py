"""Which kernel's numbers a trace shows: steps that every kernel has, by their functions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice

from cpuhp.kernel.tables.states_file import KernelTable, shipped_table, shipped_tables
from cpuhp.kernel.traces.events import Event, Item

_PEEK = 200_000


def table_of_trace(stream: Iterator[Item]) -> tuple[KernelTable, Iterator[Item], bool]:
    """The shipped table whose landmarks the trace shows, and the stream unread.

    The last is False if the trace shows no landmark of a shipped table.
    """
    seen: list[Item] = []
    for item in islice(stream, _PEEK):
        seen.append(item)
        if isinstance(item, Event):
            found = _by_landmark(item)
            if found:
                return found, chain(seen, stream), True
    return shipped_table("linux-6.12"), chain(seen, stream), False


def _by_landmark(event: Event) -> KernelTable | None:
    names = {
        "takedown_cpu": "teardown",
        "finish_cpu": "bringup",
        "bringup_cpu": "bringup",
        "cpuhp_bringup_ap": "bringup",
    }
    landmark = names.get(event.function)
    if landmark is None:
        return None
    for name in shipped_tables():
        if name.startswith("linux-"):
            known = shipped_table(name)
            if getattr(known.table, landmark) == event.step:
                return known
    return None
