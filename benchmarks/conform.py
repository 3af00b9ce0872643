"""Time and memory of `conform` on a trace of a million events.

    python benchmarks/conform.py [EVENTS]

The trace is made up: CPUs of one machine go down and up again and again, in the steps
of the shipped x86_64 table. Limits: 20 s, 1 GiB.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cpuhp.kernel.tables.states_file import KernelTable, shipped_table
from cpuhp.kernel.traces.conform import conform
from cpuhp.kernel.traces.events import read_trace


class Writer:
    """Prints events as tracefs does."""

    def __init__(self) -> None:
        self.now = 1.0

    def call(
        self,
        task: str,
        on: int,
        cpu: int,
        target: int,
        step: int,
        state: int,
        function: str,
    ) -> Iterator[str]:
        yield self.enter(task, on, cpu, target, step, function)
        yield self.exit(task, on, cpu, state, step)

    def enter(
        self, task: str, on: int, cpu: int, target: int, step: int, function: str
    ) -> str:
        return self._line(
            task,
            on,
            f"cpuhp_enter: cpu: {cpu:04} target: {target:3} step: {step:3} ({function})",
        )

    def exit(self, task: str, on: int, cpu: int, state: int, step: int) -> str:
        text = f"cpuhp_exit:  cpu: {cpu:04}  state: {state:3} step: {step:3} ret: 0"
        return self._line(task, on, text)

    def _line(self, task: str, on: int, text: str) -> str:
        self.now += 0.000013
        return f"{task:>16} [{on:03}] ..... {self.now:12.6f}: {text}\n"


def down_and_up(known: KernelTable, cpus: int, events: int) -> Iterator[str]:
    """Lines of a trace in which CPUs go down and up one by one."""
    table, out, count = known.table, Writer(), 0
    steps = [s.number for s in table.states if 0 < s.number < 236]
    control = [s for s in steps if s < table.bringup]
    online = [s for s in steps if s > table.teardown + 3]
    while True:
        for cpu in range(1, cpus):
            for line in _round(
                out, table.bringup, table.teardown, control, online, cpu
            ):
                yield line
                count += 1
                if count >= events:
                    return


def _round(
    out: Writer,
    bringup: int,
    teardown: int,
    control: list[int],
    online: list[int],
    cpu: int,
) -> Iterator[str]:
    worker, thread, init = "kworker/0:1-10", f"cpuhp/{cpu}-{20 + cpu}", "init-1"
    kick = "cpuhp_kick_ap_work"
    yield out.enter(worker, 0, cpu, teardown, 236, kick)
    for step in reversed(online):
        yield from out.call(thread, cpu, cpu, teardown, step, step - 1, f"down_{step}")
    yield out.exit(worker, 0, cpu, teardown, 236)
    dead = bringup + 1
    yield from out.call(worker, 0, cpu, 0, teardown, dead, "takedown_cpu")
    yield from out.call(worker, 0, cpu, 0, bringup, bringup - 1, "finish_cpu")
    for step in reversed(control):
        yield from out.call(worker, 0, cpu, 0, step, step - 1, f"dead_{step}")
    for step in control:
        yield from out.call(init, 0, cpu, 236, step, step, f"prepare_{step}")
    yield out.enter(init, 0, cpu, 236, bringup, "cpuhp_bringup_ap")
    for step in online:
        yield from out.call(thread, cpu, cpu, 236, step, step, f"up_{step}")
    yield out.exit(init, 0, cpu, 236, bringup)


def main() -> int:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    shipped = shipped_table("x86_64-6.12")
    # The made-up functions stand where the kernel has its own.
    known = KernelTable(shipped.table, shipped.kernel)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "big.trace"
        with path.open("w") as stream:
            stream.writelines(down_and_up(known, 64, events))
        before, cpu_before = time.perf_counter(), time.process_time()
        answer = conform(read_trace(path), known)
        seconds = time.perf_counter() - before
        cpu_seconds = time.process_time() - cpu_before
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"{answer.events} events, {len(answer.operations)} operations, "
        f"{answer.explained} explained, {len(answer.deviations)} deviations: "
        f"{seconds:.1f} s ({cpu_seconds:.1f} s of CPU), {memory} MiB"
    )
    for deviation in answer.deviations[:3]:
        print(deviation)
    return 0 if answer.conforms else 1


if __name__ == "__main__":
    raise SystemExit(main())
