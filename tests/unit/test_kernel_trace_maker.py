"""A small kernel that prints traces, for the tests of `conform`.

It follows _cpu_up() and _cpu_down() with their rollbacks; failures are injected as
hotplug/fail does, before the callback and without an event.
"""

from dataclasses import dataclass, field

from cpuhp.kernel.tables.states_file import KernelTable
from cpuhp.model.table import HotplugState, Table

KICK, BRINGUP, TEARDOWN, ONLINE = 85, 86, 145, 236

# number: (startup, teardown, instances or None)
STEPS = {
    1: ("smpboot_create_threads", None, None),
    11: (None, "slub_cpu_dead", None),
    31: ("page_alloc_cpu_online", "page_alloc_cpu_dead", None),
    38: ("workqueue_prepare_cpu", None, None),
    40: ("hrtimers_prepare_cpu", None, None),
    42: ("smpcfd_prepare_cpu", "smpcfd_dead_cpu", None),
    45: ("rcutree_prepare_cpu", "rcutree_dead_cpu", None),
    56: ("trace_rb_cpu_prepare", None, 3),
    60: ("zcomp_cpu_up_prepare", "zcomp_cpu_dead", 2),
    61: ("timers_prepare_cpu", "timers_dead_cpu", None),
    KICK: ("cpuhp_kick_ap_alive", None, None),
    149: (None, "sched_cpu_wait_empty", None),
    150: ("smpboot_unpark_threads", "smpboot_park_threads", None),
    151: ("irq_affinity_online_cpu", None, None),
    152: ("blk_mq_hctx_notify_online", "blk_mq_hctx_notify_offline", 2),
    155: ("perf_event_init_cpu", "perf_event_exit_cpu", None),
    188: ("workqueue_online_cpu", "workqueue_offline_cpu", None),
    190: ("rcutree_online_cpu", "rcutree_offline_cpu", None),
    193: ("vmstat_cpu_online", "vmstat_cpu_down_prep", None),
    235: ("sched_cpu_activate", "sched_cpu_deactivate", None),
}


def known_table():
    numbers = sorted({0, *STEPS, BRINGUP, TEARDOWN, ONLINE})
    rows = tuple(HotplugState(n, f"name{n}") for n in numbers)
    table = Table("toy", rows, BRINGUP, TEARDOWN, range(192, 233), range(64, 85))
    first = {1: frozenset({STEPS[1][0]})}
    return KernelTable(table, startups=first, core=frozenset(first))


@dataclass
class Kernel:
    """`fail` maps a CPU to the step that fails next; `real` lets it print an error."""

    fail: dict = field(default_factory=dict)
    real: bool = False
    lines: list = field(default_factory=list)
    state: dict = field(default_factory=lambda: dict.fromkeys(range(4), 0))
    now: float = 1.0

    def down(self, cpu, target=0):
        before = self.state[cpu]
        if before > TEARDOWN:
            worker = ("kworker/0:1-10", 0)
            self.enter(worker, cpu, TEARDOWN, before, "cpuhp_kick_ap_work")
            ok = self.walk(self.thread(cpu), cpu, False, TEARDOWN)
            if not ok:
                self.walk(self.thread(cpu), cpu, True, before)
            self.exit(worker, cpu, self.state[cpu], before, 0 if ok else -11)
            if not ok:
                return False
            if self.injected(cpu, TEARDOWN):
                self.walk(self.thread(cpu), cpu, True, before)
                return False
            self.enter(worker, cpu, target, TEARDOWN, "takedown_cpu")
            self.exit(worker, cpu, BRINGUP + 1, TEARDOWN)
            self.enter(worker, cpu, target, BRINGUP, "finish_cpu")
            self.exit(worker, cpu, BRINGUP - 1, BRINGUP)
            self.state[cpu] = BRINGUP - 1
        self.walk(("kworker/0:1-10", 0), cpu, False, target)
        self.state[cpu] = target
        return True

    def up(self, cpu, target=ONLINE, task=("init-1", 0)):
        before = self.state[cpu]
        ok = self.walk(task, cpu, True, min(target, BRINGUP - 1), target)
        if ok and target >= BRINGUP and self.injected(cpu, BRINGUP):
            self.state[cpu], ok = BRINGUP - 1, False
        elif ok and target >= BRINGUP:
            ok = self.bring_online(task, cpu, target)
            if not ok:
                self.enter(task, cpu, before, TEARDOWN, "takedown_cpu")
                self.exit(task, cpu, BRINGUP + 1, TEARDOWN)
                self.enter(task, cpu, before, BRINGUP, "finish_cpu")
                self.exit(task, cpu, BRINGUP - 1, BRINGUP)
                self.state[cpu] = BRINGUP - 1
        if not ok:
            self.walk(task, cpu, False, before)
        self.state[cpu] = target if ok else before
        return ok

    def bring_online(self, task, cpu, target):
        self.enter(task, cpu, target, BRINGUP, "bringup_cpu")
        self.state[cpu] = TEARDOWN + 1
        ok = self.walk(self.thread(cpu), cpu, True, target)
        if not ok:
            self.walk(self.thread(cpu), cpu, False, TEARDOWN + 1)
        self.exit(task, cpu, self.state[cpu], BRINGUP, 0 if ok else -11)
        return ok

    def register(self, step, cpus, name=None):
        for cpu in cpus:
            task = self.thread(cpu) if step > BRINGUP else ("init-1", 0)
            self.enter(task, cpu, ONLINE, step, name or STEPS[step][0])
            self.exit(task, cpu, self.state[cpu], step)

    def thread(self, cpu):
        return (f"cpuhp/{cpu}-{20 + cpu}", cpu)

    def walk(self, task, cpu, up, end, target=None):
        """Run steps one way; on failure leave the state as cpuhp_reset_state() does."""
        target = end if target is None else target
        here = self.state[cpu]
        steps = sorted(STEPS) if up else sorted(STEPS, reverse=True)
        for step in steps:
            inside = here < step <= end if up else end < step <= here
            function = STEPS[step][0 if up else 1]
            if not inside or function is None:
                continue
            if not self.run(task, cpu, up, target, step, function):
                self.state[cpu] = step - 1 if up else step
                return False
        self.state[cpu] = end
        return True

    def run(self, task, cpu, up, target, step, function):
        instances = STEPS[step][2]
        after = step if up else step - 1
        if self.fail.get(cpu) == step and not (self.real and instances is None):
            del self.fail[cpu]
            return False
        broken = self.fail.get(cpu) == step
        for _ in range(instances or 1):
            self.enter(task, cpu, target, step, function, instances is not None)
            self.exit(task, cpu, after, step, -16 if broken else 0)
        if broken:
            del self.fail[cpu]
        return not broken

    def injected(self, cpu, step):
        return self.fail.get(cpu) == step and bool(self.fail.pop(cpu))

    def enter(self, task, cpu, target, step, function, multi=False):
        name = "cpuhp_multi_enter" if multi else "cpuhp_enter"
        text = f"cpu: {cpu:04} target: {target:3} step: {step:3} ({function})"
        self.line(task, f"{name}: {text}")

    def exit(self, task, cpu, state, step, ret=0):
        text = f" cpu: {cpu:04}  state: {state:3} step: {step:3} ret: {ret}"
        self.line(task, f"cpuhp_exit: {text}")

    def line(self, task, text):
        self.now += 0.001
        self.lines.append(f"{task[0]:>16} [{task[1]:03}] ..... {self.now:.6f}: {text}")

    @property
    def text(self):
        return "\n".join(self.lines) + "\n"


def booted():
    """A machine of four CPUs; CPU 0 is online without a trace of it."""
    kernel = Kernel()
    kernel.state[0] = ONLINE
    for cpu in (1, 2, 3):
        kernel.up(cpu)
    return kernel


def test_the_maker_brings_cpus_up_and_down():
    kernel = booted()
    assert kernel.state == dict.fromkeys(range(4), ONLINE)
    assert kernel.down(2)
    assert kernel.state[2] == 0
    kernel.fail[2] = 188
    assert not kernel.up(2)
    assert kernel.state[2] == 0
