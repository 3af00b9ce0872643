"""The sequence of a hotplug table alone: one CPU down, as the kernel walks the rows."""

from __future__ import annotations

from collections.abc import Iterable

from cpuhp.model.table import HotplugState, Section, Table
from cpuhp.report.diagrams.sequence import (
    Band,
    Item,
    Lane,
    Sequence,
    fold,
    table_name,
)


def of_table(
    table: Table, models: Iterable[tuple[int, str, str, bool]], full: bool
) -> Sequence:
    """How the kernel takes one CPU down through the rows of a table.

    `models`: number, callback and source of the rows with a teardown model, and whether
    other CPUs notice it. Who runs what is the kernel's own division into sections.
    """
    models = [m for m in models if m[0] not in (table.teardown, table.bringup)]
    known = {number: (name, source) for number, name, source, seen in models if seen}
    local = {number for number, _, _, seen in models if not seen}
    title = table_name(table)
    lanes = (
        Lane("control CPU", "cpu_down()"),
        Lane("hotplug thread cpuhp/N", "section ONLINE"),
        Lane("stopper migration/N", "section STARTING, interrupts off"),
        Lane("idle task swapper/N", ""),
    )
    bands = (
        Band("ONLINE", "torn down by the CPU's own hotplug thread"),
        Band("STARTING", "torn down in stop_machine, then the CPU is dead"),
        Band("PREPARE", "torn down by the control CPU"),
    )
    items: list[Item] = []

    def put(kind: str, lane: int, band: int, title: str, cause: tuple[int, str] | None = None,
            *lines: str) -> int:  # fmt: skip
        causes = [cause] if cause else []
        items.append(Item(kind, lane, band, title, list(lines), causes=causes))
        return len(items) - 1

    def count(rows: list[HotplugState]) -> int:
        return sum(state.number in local for state in rows)

    def rows(section: Section, lane: int, band: int) -> None:
        folded: list[HotplugState] = []
        for state in reversed(table.states):
            if table.section(state.number) is not section:
                continue
            if state.number == table.teardown:
                continue  # it is takedown_cpu() itself
            if state.number in known:
                if folded:
                    items.append(fold(lane, band, folded, count(folded)))
                    folded = []
                name, source = known[state.number]
                items.append(Item("call", lane, band, f"{name}()",
                                  [f"{state.number} {state.label}"], [name, source],
                                  source))  # fmt: skip
            elif full:
                items.append(fold(lane, band, [state], count([state])))
            else:
                folded.append(state)
        if folded:
            items.append(fold(lane, band, folded, count(folded)))

    kick = put("step", 0, 0, "cpuhp_kick_ap_work()")
    put("wait", 1, 0, "wait for work", (kick, "should_run"))
    rows(Section.ONLINE, 1, 0)
    done = len(items) - 1
    put("wait", 0, 0, "wait_for_completion(done_down)", (done, "done_down"))
    stop = put("step", 0, 1, "takedown_cpu()", None, "stop_machine(take_cpu_down)")
    put("wait", 2, 1, "all CPUs: interrupts off", (stop, "stop_machine"))
    put("step", 2, 1, "take_cpu_down()", None, "__cpu_disable()")
    rows(Section.STARTING, 2, 1)
    last = len(items) - 1
    put("wait", 3, 1, "the stopper has left", (last, "stopper parked"))
    idle = put("step", 3, 1, "cpuhp_report_idle_dead()")
    put("wait", 0, 1, "wait_for_completion(done_down)", (idle, "done_down"))
    put("step", 0, 1, "__cpu_die()")
    rows(Section.PREPARE, 0, 2)
    return Sequence(
        f"{title}: one CPU down",
        (f"{len(table.states)} hotplug states; {len(known)} of them have a "
         f"model that other CPUs notice, {len(local)} one that they do not.",),
        lanes, bands, tuple(items),
    )  # fmt: skip
