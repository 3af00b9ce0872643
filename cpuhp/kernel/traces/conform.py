"""Does a trace do what the model of CPU hotplug allows? `conform` answers.

The trace is read once. Each CPU has a machine that follows the kernel's control block
(machine.py); here events are paired into calls, calls are given to machines or
registrations, and what must hold between CPUs is checked: `cpu_hotplug_lock` lets one
operation run at a time, registrations in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from cpuhp.kernel.tables.states_file import KernelTable
from cpuhp.kernel.traces.costs import Costs, Overlap, StepCost
from cpuhp.kernel.traces.counts import Counts
from cpuhp.kernel.traces.events import Event, Item, Kind, Lost
from cpuhp.kernel.traces.groups import Group, extends, registration
from cpuhp.kernel.traces.landmarks import table_of_trace
from cpuhp.kernel.traces.machine import Machine
from cpuhp.kernel.traces.operations import (
    Call,
    Deviation,
    Operation,
    Rule,
    is_up,
)
from cpuhp.kernel.traces.parallel import ParallelBringup, Waves
from cpuhp.kernel.traces.rules import Callbacks, Rules, rules_of, wrong_context
from cpuhp.kernel.traces.ties import by_time, untangle

MAX_DEVIATIONS = 1000
_PRINTK_SKEW = 0.001  # seconds: a console has lines of several CPUs as they came
_NEVER = 1 << 60  # line of the first event of a task that the trace shows midway

Task = tuple[str, int, int]


@dataclass(frozen=True)
class Conformance:
    """The answer: operations in order of their end, deviations in order of lines."""

    kernel: str | None
    table: str
    events: int
    operations: tuple[Operation, ...]
    deviations: tuple[Deviation, ...]
    suppressed: int
    lost: int
    notes: tuple[tuple[int, str], ...]
    parallel: tuple[ParallelBringup, ...]
    costs: tuple[StepCost, ...]
    overlaps: tuple[Overlap, ...]
    names: dict[int, str]
    unseen: tuple[int, ...]

    @property
    def explained(self) -> int:
        return sum(operation.explained for operation in self.operations)

    @property
    def conforms(self) -> bool:
        """Whether something was checked, and all of it is as the model allows."""
        return self.checked and not (self.deviations or self.suppressed)

    @property
    def checked(self) -> bool:
        """Whether the trace has a call, from enter to exit, or breaks a rule."""
        calls = any(operation.calls for operation in self.operations)
        return calls or bool(self.deviations or self.suppressed)


def conform(
    items: Iterable[Item], known: KernelTable | None = None, complete: bool = True
) -> Conformance:
    """Check the items of a trace against the model.

    Without a table, the kernel version is told from the first operation. A table is
    `complete` if it names every state that was registered.
    """
    stream = iter(items)
    complete = complete and known is not None
    told = True
    if known is None:
        known, stream, told = table_of_trace(stream)
    checker = _Checker(rules_of(known, complete))
    if not told:
        text = f"nothing tells the kernel's version: it is taken for {known.kernel}"
        checker.notes.append((1, text))
    for group in by_time(stream):
        item = group[0]
        if len(group) > 1:
            checker.tied([event for event in group if isinstance(event, Event)])
        elif isinstance(item, Event):
            checker.event(item)
        elif isinstance(item, Lost):
            checker.lost(item)
        else:
            checker.notes.append((item.line, item.text))
    return checker.result()


class _Checker:
    def __init__(self, rules: Rules):
        self.rules = rules
        self.callbacks = Callbacks(rules)
        self.machines: dict[int, Machine] = {}
        self.open: dict[Task, Event] = {}
        self.tasks: dict[Task, int] = {}  # line of each task's first event
        self.last_on: dict[int, Event] = {}  # the last event that each CPU ran
        self.failures: dict[int, tuple[str, int]] = {}  # registrations that failed
        self.current: Machine | None = None
        self.group: Group | None = None
        self.failed_step: int | None = None
        self.operations: list[Operation] = []
        self.deviations: list[Deviation] = []
        self.suppressed = 0
        self.notes: list[tuple[int, str]] = []
        self.losses = 0
        self.whole_group = False  # the trace has the next registration's beginning
        self.events = 0
        self.now = self.start = 0.0
        self.costs = Costs()
        self.waves = Waves(rules)
        self.counts = Counts(rules, self._stands_out)
        self.steps: set[int] = set()

    # Events to calls

    def tied(self, events: list[Event]) -> None:
        """Events that have one time: their order in the file may be that of CPUs."""
        for event in untangle(events, _task, self):
            self.event(event)

    def goes_on(self, event: Event) -> bool:
        machine = self.machines[event.cpu]
        run = machine.run
        if run is None or event.kind is Kind.EXIT or machine.owed():
            return True
        return is_up(event) is run.phase.up

    def blocked(self, event: Event) -> bool:
        current = self.current
        if current is None or current.run is None:
            return False
        if current.cpu == event.cpu:
            return current.run.frame is not None
        return not current.at_rest()

    def waits_for(self, cpu: int) -> bool:
        machine = self.machines.get(cpu)
        run = machine.run if machine else None
        return run is not None and run.frame is not None and len(run.phases) > 1

    def encloses(self, event: Event) -> bool:
        return self._machine(event.cpu).opens(event)

    def event(self, event: Event) -> None:
        self.events += 1
        self.start = self.start if self.events > 1 else event.time
        if event.time < self.now - (_PRINTK_SKEW if event.on < 0 else 0.0):
            self._time_goes_back(event)
        self.now = event.time
        key = _task(event)
        self.last_on[event.on] = event
        if event.on == event.cpu:
            self._machine(event.cpu).hear(event)
        if event.kind is Kind.EXIT:
            self._exit(event, key)
        else:
            self._enter(event, key)
        self.tasks.setdefault(key, event.line)

    def _enter(self, event: Event, key: Task) -> None:
        unfinished = self.open.pop(key, None)
        if unfinished is not None:
            self._no_exit(unfinished, event.line)
        machine = self._machine(event.cpu)
        self._exclude(machine, event)
        if machine.opens(event):
            self._close_group()
            machine.enter_frame(event)
            self.current = machine
            self.waves.leave(event)
        self.open[key] = event

    def _exit(self, event: Event, key: Task) -> None:
        enter = self.open.pop(key, None)
        if enter is None:
            self._no_enter(event, key)
            return
        if (enter.cpu, enter.step) != (event.cpu, event.step):
            self._no_exit(enter, event.line)
            self._no_enter(event, key)
            return
        call = Call(enter, event)
        if self.open:
            self._left_behind(call)
            self.costs.overlap(call, self.open.values())
        self._call(self._machine(event.cpu), call)

    def _call(self, machine: Machine, call: Call) -> None:
        enter = call.enter
        up = is_up(enter)
        machine.intact = self.tasks[_task(enter)] < enter.line
        if machine.run is not None and machine.run.frame is enter:
            if call.exit.sampled and not machine.heard:
                self._never_returns(machine.cpu)
            self._finished(machine.leave_frame(call))
        elif machine.is_single(call):
            self._finished(machine.finish())
            self._register(machine, call)
            other = self.callbacks.function(enter.step, False) == enter.function
            up = not other
        else:
            self._close_group()
            self._step(machine, call)
        self.costs.add(call, up)
        if not machine.is_kick(enter):
            self.steps.add(enter.step)
            self._check_name(enter)

    def _left_behind(self, frame: Call) -> None:
        """The thread that a control task waited for is still in a step."""
        machine = self._machine(frame.enter.cpu)
        deaf = frame.exit.sampled and not machine.heard
        if deaf or machine.run is None or machine.run.frame is not frame.enter:
            return
        for key, enter in tuple(self.open.items()):
            if enter.cpu == machine.cpu and not self._of_control(enter):
                del self.open[key]
                machine.run.deviations += 1
                self._deviate(
                    frame.exit.line,
                    Rule.HAND_OVER,
                    enter.cpu,
                    f"step {frame.enter.step} returns, and step {enter.step} of line "
                    f"{enter.line} has not",
                    f"cpuhp_exit of step {enter.step} first",
                )

    def _of_control(self, event: Event) -> bool:
        kick = self._machine(event.cpu).is_kick(event)
        return kick or self.rules.is_control(event.step)

    def _never_returns(self, cpu: int) -> None:
        # The exit of the step in which perf let go of the CPU: it will not come.
        for key, enter in tuple(self.open.items()):
            if enter.on == enter.cpu == cpu:
                del self.open[key]

    def _step(self, machine: Machine, call: Call) -> None:
        self.whole_group = True
        if call.enter.step in self.failures:
            self._still_runs(call)
        before = machine.run
        if before is not None and machine.at_rest() and machine.leaves(call):
            self._finished(machine.finish())
        machine.step(call)
        self.current = machine
        self.waves.leave(call.enter)

    def _machine(self, cpu: int) -> Machine:
        machine = self.machines.get(cpu)
        if machine is None:
            machine = Machine(cpu, self.rules, self.callbacks, self._deviate)
            machine.on_finished = self._finished  # type: ignore[method-assign]
            self.machines[cpu] = machine
        return machine

    # What is missing

    def lost(self, lost: Lost) -> None:
        self.losses += 1
        what = "a damaged line" if lost.damaged else "lost events"
        self.notes.append((lost.line, f"{what}: {lost.text}"))
        self._forget_all()
        if lost.on >= 0:
            self._excuse(lost.on)

    def _excuse(self, on: int) -> None:
        """Drop what was held against a gap before its mark was read."""
        last = self.last_on.get(on)
        since, cpus = (last.line, {on, last.cpu}) if last else (0, {on})
        kept = [d for d in self.deviations if d.line <= since or d.cpu not in cpus]
        if len(kept) == len(self.deviations):
            return
        self.deviations = kept
        for index, operation in enumerate(self.operations):
            lines = range(operation.first_line, operation.last_line + 1)
            left = any(d.cpu == operation.cpu and d.line in lines for d in kept)
            if operation.cpu in cpus and operation.last_line > since and not left:
                self.operations[index] = replace(operation, explained=True)

    def _time_goes_back(self, event: Event) -> None:
        text = f"time goes back from {self.now:.6f} to {event.time:.6f}"
        if event.time > self.start:
            allowed = "lines in the order of time, as every report has them"
            return self._deviate(event.line, Rule.TIME, event.cpu, text, allowed)
        self.losses += 1
        self.notes.append((event.line, f"{text}: another recording begins"))
        self._forget_all()
        self.start = event.time

    def _forget_all(self) -> None:
        for machine in self.machines.values():
            self._finished(machine.finish(cut=True, lost=True))
            machine.state = machine.target = None
        # Drivers and their instances may have come and gone meanwhile.
        self.counts.clear()
        for step in self.callbacks.seen():
            if self.rules.is_dynamic(step):
                self.callbacks.forget(step)
        self.whole_group = False
        self.open.clear()
        self.tasks.clear()
        self.current, self.group = None, None

    def _no_exit(self, enter: Event, line: int) -> None:
        label = self.rules.label(enter.step, enter.function)
        self._deviate(
            line,
            Rule.PAIRING,
            enter.cpu,
            f"{label} of line {enter.line} never returned: its task goes on",
            f"cpuhp_exit of step {enter.step} in {enter.comm}-{enter.pid}",
        )
        self._resync(enter.cpu)

    def _no_enter(self, event: Event, key: Task) -> None:
        if key in self.tasks or self.machines.get(event.cpu) is not None:
            machine = self._machine(event.cpu)
            partial = machine.run is not None and machine.run.partial
            if key in self.tasks and not partial:
                self._deviate(
                    event.line,
                    Rule.PAIRING,
                    event.cpu,
                    f"step {event.step} returns in {event.comm}-{event.pid}, "
                    "which has not entered it",
                    f"cpuhp_enter of step {event.step} first",
                )
                self._resync(event.cpu)
                return
        self.tasks[key] = _NEVER
        self._machine(event.cpu).orphan_exit(event)

    def _resync(self, cpu: int) -> None:
        machine = self._machine(cpu)
        if machine.run is not None:
            machine.run.deviations += 1
        self._finished(machine.finish(cut=True, lost=True))
        machine.state = machine.target = None

    # Between CPUs

    def _exclude(self, machine: Machine, event: Event) -> None:
        self._exclude_call(event)
        current = self.current
        if current is None or current is machine or current.run is None:
            return
        if current.at_rest():
            self._finished(current.finish())
            return
        run = current.run
        self._deviate(
            event.line,
            Rule.EXCLUSION,
            event.cpu,
            f"{self.rules.label(event.step, event.function)} of CPU{event.cpu} while "
            f"the {run.kind.value} of CPU{current.cpu} is not over",
            f"CPU{current.cpu} only: cpu_hotplug_lock is held for writing since line "
            f"{run.first.line}",
        )
        run.deviations += 1
        self._finished(current.finish(cut=True))
        self.current = None

    def _exclude_call(self, event: Event) -> None:
        """A control task is in a step of one CPU while another begins one of another."""
        if not self.open or not self._of_control(event):
            return
        for key, enter in tuple(self.open.items()):
            run = self._machine(enter.cpu).run
            told = run is not None and run.frame is enter
            if enter.cpu == event.cpu or told or not self._of_control(enter):
                continue
            del self.open[key]
            self._deviate(
                event.line,
                Rule.EXCLUSION,
                event.cpu,
                f"{self.rules.label(event.step, event.function)} of CPU{event.cpu} "
                f"while step {enter.step} of CPU{enter.cpu} is not over",
                f"CPU{enter.cpu} only: its step of line {enter.line} has not returned",
            )
            self._resync(enter.cpu)

    # Registrations

    def _register(self, machine: Machine, call: Call) -> None:
        enter = call.enter
        wrong = wrong_context(self.rules, enter, single=True)
        group = self.group
        if group is not None and not extends(group, call):
            self._close_group()
            group = None
        if group is not None and group.calls[-1].exit.ret:
            self._went_on(group, call)
        if group is None:
            owed = frozenset(
                m.cpu
                for m in self.machines.values()
                if m.state is not None and m.state >= enter.step
            )
            follows = self.failed_step == enter.step
            group = self.group = Group([], owed, follows)
        group.calls.append(call)
        machine.single(call)
        if wrong:
            group.clean = False
            label = self.rules.label(enter.step, enter.function)
            on = f" on CPU{enter.on}" if enter.on >= 0 else ""
            message = f"{label} of a registration ran in {enter.comm}{on}"
            self._deviate(enter.line, Rule.CONTEXT, enter.cpu, message, wrong)

    def _went_on(self, group: Group, call: Call) -> None:
        enter, failed = call.enter, group.calls[-1]
        group.clean = False
        self._deviate(
            enter.line,
            Rule.REGISTRATION,
            enter.cpu,
            f"registration of {self.rules.label(enter.step, enter.function)} goes on "
            f"after CPU{failed.enter.cpu} had failed with {failed.exit.ret}",
            "the teardown on the CPUs before, if there is one",
        )

    def _still_runs(self, call: Call) -> None:
        enter = call.enter
        failed = self.failures.get(enter.step)
        if failed is None or failed[0] != enter.function or call.is_multi:
            return
        del self.failures[enter.step]
        self._deviate(
            enter.line,
            Rule.REGISTRATION,
            enter.cpu,
            f"{self.rules.label(enter.step, enter.function)} runs, though its "
            f"registration failed in line {failed[1]}",
            "nothing: a failed registration frees the state",
        )

    def _close_group(self, cut: bool = False) -> None:
        group = self.group
        if group is None:
            return
        self.group = None
        first, last = group.calls[0].enter, group.calls[-1].exit
        cpus = tuple(call.enter.cpu for call in group.calls)
        failed = next((c.exit.ret for c in group.calls if c.exit.ret), 0)
        left_out = sorted(group.owed - set(cpus)) if self.whole_group else []
        if left_out and not (failed or group.follows_failure or cut):
            group.clean = False
            names = ", ".join(f"CPU{cpu}" for cpu in left_out)
            self._deviate(
                last.line,
                Rule.REGISTRATION,
                left_out[0],
                f"registration of {self.rules.label(first.step, first.function)} left "
                f"out {names}",
                "one call for every CPU that has reached the step",
            )
        self.whole_group = True
        self.failed_step = first.step if failed else None
        self.failures.pop(first.step, None)
        if failed and not group.calls[0].is_multi:
            self.failures[first.step] = (first.function, last.line)
        teardown = self.callbacks.function(first.step, False)
        if teardown == first.function or self.rules.is_dynamic(first.step):
            # Gone, or of another driver from now on.
            self.callbacks.forget(first.step)
        self.counts.registered(first.step)
        self.operations.append(registration(group, cpus, failed, cut))

    # Results

    def _finished(self, operation: Operation | None) -> None:
        if operation is None:
            return
        machine = self.machines[operation.cpu]
        if self.current is machine:
            self.current = None
        self.operations.append(operation)
        self.counts.note(operation, len(self.operations) - 1, machine.counts)
        self.waves.ended(operation)

    def _check_name(self, enter: Event) -> None:
        step = enter.step
        if not self.rules.complete or step in self.rules.names:
            return
        self.rules.names[step] = ""
        if self.rules.is_dynamic(step):
            self.notes.append((enter.line, f"step {step} is not in the states file"))
            return
        self._deviate(
            enter.line,
            Rule.NAME,
            enter.cpu,
            f"step {step} ({enter.function}) is not in the states file",
            "the registered states only",
        )

    def _stands_out(self, index: int, line: int, message: str, times: int) -> None:
        operation = replace(self.operations[index], explained=False)
        self.operations[index] = operation
        allowed = f"{times} time(s), as in like operations"
        self._deviate(line, Rule.ORDER, operation.cpu, message, allowed)

    def _deviate(
        self, line: int, rule: Rule, cpu: int, message: str, allowed: str
    ) -> None:
        if len(self.deviations) >= MAX_DEVIATIONS:
            self.suppressed += 1
            return
        self.deviations.append(Deviation(line, rule, cpu, message, allowed))

    def result(self) -> Conformance:
        self._close_group(cut=True)
        for machine in self.machines.values():
            self._finished(machine.finish(cut=True))
        rules = self.rules
        names = {step: name for step, name in rules.names.items() if name}
        unseen = set(names) - self.steps if rules.complete else set()
        return Conformance(
            rules.known.kernel,
            rules.known.table.name,
            self.events,
            tuple(self.operations),
            tuple(sorted(self.deviations, key=lambda d: d.line)),
            self.suppressed,
            self.losses,
            tuple(self.notes),
            self.waves.waves(),
            self.costs.steps(),
            self.costs.overlaps(),
            names,
            tuple(sorted(unseen)),
        )


def _task(event: Event) -> Task:
    if event.pid > 0:
        return ("", event.pid, -1)
    if event.on >= 0:
        return ("idle", 0, event.on)
    return ("?", event.cpu, event.step)
