"""Schedules of systems beside CPU hotplug: stages, pools of threads, shared memory.

Each function takes times in seconds and numbers by name, and gives a schedule. Their
parameters are in `specs/costs`, the numbers that they are held against in
`specs/costs/claims.toml`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cpuhp.timing.schedule import Schedule, Task, schedule

Times = Mapping[str, float]
Numbers = Mapping[str, float]
CHUNKS = 32  # parts per thread into which a node's pages are cut


def chain(stages: list[tuple[str, float]]) -> list[Task]:
    """Tasks of one lane, one after the other."""
    tasks: list[Task] = []
    for name, seconds in stages:
        after = (tasks[-1].name,) if tasks else ()
        tasks.append(Task(name, seconds, "boot", name, after))
    return tasks


def page_tasks(
    times: Times, numbers: Numbers, after: tuple[str, ...] = ()
) -> list[Task]:
    """Deferred initialisation: per node so many threads, which share its memory.

    A page takes `page` seconds; `page_shared` if the node's memory is what is short.
    Nodes work side by side. `threads` = 0 is one thread a node, as before the threads.
    """
    threads = max(1, int(numbers["threads"]))
    each = max(times["page"], threads * times["page_shared"])
    chunks = CHUNKS * threads
    seconds = each * numbers["pages"] / chunks
    return [
        Task(
            f"node {node} pages {chunk}", seconds, f"node {node} thread {chunk % threads}",
            "struct pages", after,
        )
        for node in range(int(numbers.get("nodes", 1)))
        for chunk in range(chunks)
    ]  # fmt: skip


def deferred_init(times: Times, numbers: Numbers) -> Schedule:
    """Struct pages of all nodes, by threads (`page_tasks`)."""
    return schedule(page_tasks(times, numbers))


def boot(times: Times, numbers: Numbers) -> Schedule:
    """A kernel's boot: struct pages, other CPUs, and everything else.

    `threads` < 0: one thread initialises every struct page before anything else.
    Otherwise `first_pages` seconds go into those that boot itself needs, and the rest
    is deferred. `smpboot` is the time for the other CPUs.
    """
    early, late = [], []
    if numbers["threads"] < 0:
        every = numbers["pages"] * numbers.get("nodes", 1)
        early = [("struct pages", every * times["page"])]
    else:
        early = [("first struct pages", times["first_pages"])]
    stages = [
        *early,
        ("other CPUs", times["smpboot"]),
        ("everything else", times["other"]),
    ]
    tasks = chain(stages)
    if numbers["threads"] >= 0:
        late = page_tasks(times, numbers, (tasks[-1].name,))
    return schedule([*tasks, *late])


def boot_and_deferred(times: Times, numbers: Numbers) -> Schedule:
    """A boot that waits for deferred initialisation of a known length."""
    return schedule(chain([("everything else", times["other"]),
                           ("deferred", times["deferred"])]))  # fmt: skip


def gigantic_pages(times: Times, numbers: Numbers) -> Schedule:
    """Boot with gigantic pages: those tail pages that are not given back cost time.

    A page has `tails` struct pages, of which the first `kept` are needed.
    """
    tails = 0 if numbers["optimised"] else numbers["tails"] - (numbers["kept"] - 1)
    return schedule(
        chain(
            [
                ("boot", times["base"]),
                ("tails", numbers["huge"] * tails * times["page"]),
            ]
        )
    )


def stages(times: Times, numbers: Numbers) -> Schedule:
    """The times of which `numbers` has a count, one after the other."""
    return schedule(chain([(name, n * times[name]) for name, n in numbers.items()]))


MODELS: Mapping[str, Callable[[Times, Numbers], Schedule]] = {
    "deferred-init": deferred_init,
    "boot": boot,
    "boot-and-deferred": boot_and_deferred,
    "gigantic-pages": gigantic_pages,
    "stages": stages,
}


def struct_pages_kept(numbers: Numbers) -> float:
    """How many struct pages fit into one page of memory."""
    return numbers["page_bytes"] / numbers["struct_bytes"]


def vmemmap_freed(numbers: Numbers) -> float:
    """KiB that are given back per huge page: all struct pages but one page of them."""
    pages = numbers["huge_bytes"] / numbers["page_bytes"]
    return (pages * numbers["struct_bytes"] - numbers["page_bytes"]) / 1024


COUNTS: Mapping[str, Callable[[Numbers], float]] = {
    "struct-pages-kept": struct_pages_kept,
    "vmemmap-freed": vmemmap_freed,
}
