"""What the model allows: sections and contexts, and which steps have callbacks.

The numbers follow `enum cpuhp_state`; the rules are those of `cpuhp_is_ap_state()`,
`cpuhp_is_atomic_state()` and `cpuhp_next_state()` in kernel/cpu.c.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass, field

from cpuhp.kernel.tables.states_file import KernelTable
from cpuhp.kernel.traces.events import IDLE, Event
from cpuhp.model.table import Section

_PER_CPU_TASK = re.compile(r"(cpuhp|migration|swapper)/(\d+)")


@dataclass(frozen=True)
class Rules:
    """The model of one kernel's table."""

    known: KernelTable
    complete: bool = True  # the table names every state that is registered
    names: dict[int, str] = field(default_factory=dict)

    @property
    def bringup(self) -> int:
        return self.known.table.bringup

    @property
    def teardown(self) -> int:
        return self.known.table.teardown

    @property
    def online_idle(self) -> int:
        """CPUHP_AP_ONLINE_IDLE, where the hotplug thread takes over."""
        return self.known.table.teardown + 1

    @property
    def idle_dead(self) -> int:
        """CPUHP_AP_IDLE_DEAD, where the CPU's idle task reports that it is dead."""
        return self.known.table.bringup + 1

    def is_control(self, step: int) -> bool:
        """Whether the control task runs the step, rather than the CPU itself."""
        return step <= self.bringup or step == self.teardown

    def is_dynamic(self, step: int) -> bool:
        table = self.known.table
        return step in table.dynamic or step in table.prepare_dynamic

    def label(self, step: int, function: str = "") -> str:
        """`step 188 workqueue:online (workqueue_online_cpu)`."""
        name = self.names.get(step, "")
        text = f"step {step}" + (f" {name}" if name else "")
        return text + (f" ({function})" if function else "")

    def functions(self, step: int, up: bool) -> frozenset[str] | None:
        """What the kernel may have at a step, None where that is not known."""
        in_tree = self.known.in_tree.get((step, up))
        return in_tree or self.own(step, up)

    def own(self, step: int, up: bool) -> frozenset[str] | None:
        """What the kernel itself has at a step, None where it leaves that open."""
        return (self.known.startups if up else self.known.teardowns).get(step)


def rules_of(known: KernelTable, complete: bool = True) -> Rules:
    names = {row.number: row.name or row.enumerator or "" for row in known.table.states}
    return Rules(known, complete, names)


def wrong_context(rules: Rules, event: Event, single: bool) -> str | None:
    """What the model allows instead, if the event ran in a wrong context.

    `single` is a registration's call: it runs on the CPU's hotplug thread or, before
    that exists, straight on the registering CPU.
    """
    cpu, step = event.cpu, event.step
    role, of = role_of(event)
    if rules.is_control(step):
        if event.on == cpu and not single:
            return f"a CPU other than CPU{cpu}, which does not run now"
        if role in ("control", "unknown", "idle" if single else "control"):
            return None
        return f"the control task, not {_who(event)}"
    if role == "unknown":
        ok = event.on in (cpu, -1)
        return None if ok else f"a task on CPU{cpu}"
    section = rules.known.table.section(step)
    if section is Section.ONLINE:
        if event.on not in (cpu, -1):
            return f"cpuhp/{cpu} on CPU{cpu}"
        if (role == "hotplug" and of == cpu) or (single and role in _EARLY):
            return None
        return f"cpuhp/{cpu} on CPU{cpu}"
    if single and role in _EARLY and event.on in (cpu, -1):
        return None
    if event.on not in (cpu, -1) or event.irqs_off is False:
        return f"CPU{cpu} itself with interrupts off"
    if role == "hotplug":
        return None if of == cpu else f"cpuhp/{cpu}"
    wanted = "idle" if event.level >= step else "stopper"
    return None if role == wanted else f"the {wanted} task of CPU{cpu}"


_EARLY = ("control", "idle")


def is_control_task(event: Event) -> bool:
    """Whether an ordinary task ran the event, not one that belongs to a CPU."""
    return role_of(event)[0] == "control"


def role_of(event: Event) -> tuple[str, int | None]:
    """`control`, `hotplug`, `stopper`, `idle` or `unknown`, and the CPU it belongs to."""
    comm = event.comm
    if comm in ("", "<...>") or comm.startswith(":"):
        return "unknown", None
    if comm in IDLE:
        return "idle", None
    match = _PER_CPU_TASK.fullmatch(comm)
    if not match:
        return "control", None
    roles = {"cpuhp": "hotplug", "migration": "stopper", "swapper": "idle"}
    return roles[match[1]], int(match[2])


def _who(event: Event) -> str:
    return event.comm + (f" on CPU{event.on}" if event.on >= 0 else "")


class Callbacks:
    """Which steps have a startup or teardown, as the trace shows while it is read.

    Multi-instance steps may have no instance at the moment, so they are never owed.
    """

    def __init__(self, rules: Rules):
        self._rules = rules
        self._steps: dict[bool, list[int]] = {True: [], False: []}
        self._functions: dict[tuple[int, bool], str] = {}
        self._multi: set[int] = set()
        self.replaced: dict[tuple[int, bool], tuple[str, Event]] = {}
        table = rules.known
        present = set(rules.names)
        if not rules.complete:
            # Not every architecture splits the bringup; the trace will tell.
            present.discard(rules.bringup - 1)
        for up, known in ((True, table.startups), (False, table.teardowns)):
            for step in known:
                if step in table.core and step in present:
                    self._insert(step, up)

    def _insert(self, step: int, up: bool) -> None:
        steps = self._steps[up]
        at = bisect_left(steps, step)
        if at == len(steps) or steps[at] != step:
            insort(steps, step)

    def learn(self, step: int, up: bool, function: str, multi: bool) -> str | None:
        """Note a call. Returns the function that stood there before, if another."""
        key = (step, up)
        before = self._functions.get(key)
        if before == function:
            return None
        self._functions[key] = function
        if multi:
            self._multi.add(step)
        else:
            self._insert(step, up)
        return before

    def function(self, step: int, up: bool) -> str | None:
        return self._functions.get((step, up))

    def forget(self, step: int) -> None:
        """The step was unregistered, or may have been."""
        if step in self._rules.known.core:
            return
        for up in (True, False):
            self._functions.pop((step, up), None)
            if step in self._steps[up]:
                self._steps[up].remove(step)

    def owed(self, up: bool, low: int, high: int) -> list[int]:
        """Steps with low < step <= high that must run in this direction, in order."""
        steps = self._steps[up]
        found = steps[bisect_right(steps, low) : bisect_right(steps, high)]
        return found if up else found[::-1]

    def next_after(self, step: int) -> int | None:
        """The next startup above a state."""
        steps = self._steps[True]
        at = bisect_right(steps, step)
        return steps[at] if at < len(steps) else None

    def next_below(self, state: int) -> int | None:
        """The next teardown at or below a state."""
        steps = self._steps[False]
        at = bisect_right(steps, state)
        return steps[at - 1] if at else None

    def seen(self) -> Iterable[int]:
        """Every step that ran in an operation."""
        return sorted({step for step, _ in self._functions})
