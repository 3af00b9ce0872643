"""One CPU's hotplug control block, driven by the trace.

It follows `struct cpuhp_cpu_state`: state, target and direction, turned round once by a
failure. Every call must be one that `cpuhp_next_state()` could have chosen.
NOTE(hidden-steps): tracepoints are silent while a CPU is not online, so STARTING steps
of a bringup or tear-down do not show; where they do, they must be in order.
NOTE(perf-is-deaf): perf's events of a CPU end in its own teardown step there, and do not
come back with the CPU; from then on, only the control task's steps show.
"""

from __future__ import annotations

from cpuhp.kernel.traces.events import Event, Kind
from cpuhp.kernel.traces.operations import (
    KICK_WORK,
    Call,
    Operation,
    OperationKind,
    Rule,
    is_up,
)
from cpuhp.kernel.traces.rules import (
    Callbacks,
    Rules,
    is_control_task,
    wrong_context,
)
from cpuhp.kernel.traces.walk import Phase, Report, Run, Walker

EAGAIN = 11
PERF_EXIT = "perf_event_exit_cpu"


class Machine(Walker):
    """The state of one CPU as far as the trace has told it."""

    def __init__(self, cpu: int, rules: Rules, callbacks: Callbacks, report: Report):
        super().__init__(cpu, rules, callbacks, report)
        self.state: int | None = None
        self.target: int | None = None
        self.heard = False  # the CPU's own events reach the trace
        self.intact = False  # the trace has the beginning of what the task does
        self.counts: dict[tuple[int, bool], int] = {}

    # What the trace tells: frames open and close, other calls are seen whole.

    def opens(self, event: Event) -> bool:
        """Whether this enter encloses calls of other tasks: a hand-over."""
        step, rules = event.step, self.rules
        if step == rules.teardown or self.is_kick(event):
            return True
        return step == rules.bringup and is_up(event)

    def is_kick(self, event: Event) -> bool:
        """Whether this is the control task that waits for the hotplug thread."""
        if event.function:
            return event.function == KICK_WORK
        # An address: known by a thread's step, downwards, in the control task.
        return event.level < event.step > self.rules.teardown and is_control_task(event)

    def enter_frame(self, event: Event) -> None:
        run = self.run
        if self.is_kick(event):
            run = self._begin_kick(event)
        elif event.step == self.rules.teardown:
            run = self._begin_takedown(event)
        else:
            run = self._begin_bringup(event)
        run.frame = event
        self._note(run, event)
        if not self.is_kick(event):
            self._check_frame(event)

    def _check_frame(self, enter: Event) -> None:
        rules, step, function = self.rules, enter.step, enter.function
        wrong = wrong_context(rules, enter, single=False)
        if wrong:
            self._wrong_context(enter, enter, "ran", wrong)
        own = rules.functions(step, is_up(enter))
        if function and own and function not in own:
            wanted = " or ".join(sorted(own))
            self._wrong_function(enter, function, is_up(enter), wanted)

    def hear(self, event: Event) -> None:
        """An event on this CPU: the trace has the next one too, but see perf-is-deaf."""
        ends = event.sampled and event.kind is not Kind.EXIT
        self.heard = not (ends and event.function == PERF_EXIT)

    def leave_frame(self, call: Call) -> Operation | None:
        """The enclosing call returned; the operation if it is over by that."""
        run = self.run
        if run is None or run.frame is not call.enter:
            return None
        run.frame = None
        run.calls += 1
        self._note(run, call.exit)
        if len(run.phases) > 1:
            inner = run.phases.pop()
        else:
            inner = run.phase
        if self.is_kick(call.enter):
            return self._leave_kick(run, call, inner)
        if call.enter.step == self.rules.teardown:
            self._check_return(call)
            self._leave_takedown(run, call, inner)
        else:
            self._leave_bringup(run, call, inner)
        return None

    def single(self, call: Call) -> None:
        """A registration's call: it leaves state and target alone."""
        enter = call.enter
        if self.state is None:
            self.state = call.exit.level
        if self.target is not None and enter.level != self.target:
            self._deviate(
                enter,
                Rule.TARGET,
                f"{self.rules.label(enter.step, enter.function)} of a registration has "
                f"target {enter.level}",
                f"target {self.target}, left by the last operation",
            )
        self.target = enter.level

    def orphan_exit(self, event: Event) -> None:
        """An exit whose enter came before the trace began."""
        if self.run is not None and not self.run.partial:
            return
        self.run = None
        # Only a registration or a bringup returns above its step; else it goes on.
        over = event.level > event.step and not event.ret
        self.state = event.level if over else None

    def is_single(self, call: Call) -> bool:
        """Whether this is a registration's call rather than a step of an operation."""
        enter, exit_ = call
        state = self.state
        if self.run is not None and not self.at_rest():
            return False
        if state is None:
            return self.run is None and exit_.level not in (enter.step, enter.step - 1)
        if exit_.level != state or enter.step > state:
            return False
        if exit_.level == enter.step - 1:
            return False
        # The run may have stopped at this state; then its next step would move it.
        return not (self.run and self._fits(call, self.run.phase))

    def leaves(self, call: Call) -> bool:
        """Whether a call does not go on where the run stands."""
        return self.run is not None and not self._fits(call, self.run.phase)

    def step(self, call: Call) -> None:
        """A callback of an operation that encloses nothing."""
        run = self.run
        if run is None:
            run = self._begin(call)
        run.calls += 1
        self._note(run, call.exit)
        self._check_place(run, call)
        self._advance(run, run.phase, call)

    def at_rest(self) -> bool:
        """Whether the operation under way may be over: nothing is owed any more."""
        run = self.run
        if run is None:
            return True
        if run.frame is not None or len(run.phases) > 1:
            return False
        return not self._owed(run.phase) or self._failed_silently(run.phase)

    def _failed_silently(self, phase: Phase) -> bool:
        # An injected failure leaves no event, nor does a rollback with nothing to undo.
        return phase.up and self._nothing_to_undo(phase)

    def _nothing_to_undo(self, phase: Phase) -> bool:
        if phase.rolling or phase.failed is not None:
            return False
        if phase.origin is None or phase.state is None:
            return False
        if phase.up:
            return not self.callbacks.owed(False, phase.origin, phase.state)
        return not self.callbacks.owed(True, phase.state, phase.origin)

    def owed(self) -> list[int]:
        return self._owed(self.run.phase) if self.run else []

    def finish(self, cut: bool = False, lost: bool = False) -> Operation | None:
        """Close the operation under way: `cut` at the end, `lost` before a gap."""
        run = self.run
        if run is None:
            return None
        self.run = None
        self.counts = run.counts
        phase = run.phases[0]
        open_ = cut and (run.frame is not None or bool(self._owed(run.phase)))
        open_ = open_ and (run.frame is not None or not self._failed_silently(phase))
        open_ = open_ or (lost and phase.state != phase.target)
        if open_ or (cut and phase.state is None):
            self.state = None
        elif phase.cleaning:
            self.state = 0
        elif self._owed(phase):
            self.state = phase.origin
            run.rolled_back = True
        elif phase.rolling or phase.failed is not None:
            at = run.before if phase.origin is None else phase.origin
            self.state = self._rest(at, phase)
        else:
            self.state = self._rest(phase.target, phase)
        rolled = run.rolled_back
        self.target = None if rolled or open_ else phase.target
        result = run.result or (-EAGAIN if rolled else 0)
        return Operation(
            run.kind,
            self.cpu,
            (self.cpu,),
            run.first.line,
            run.last_line,
            run.first.time,
            run.end,
            run.before,
            self.state,
            phase.target if not rolled else run.phases[0].target,
            run.calls,
            rolled,
            result,
            run.failed_step,
            run.deviations == 0,
            open_,
        )

    def _rest(self, at: int | None, phase: Phase) -> int | None:
        # A bringup that ends between TEARDOWN_CPU and the hotplug thread's first
        # state stays at AP_ONLINE_IDLE.
        if at is None or phase.state is None:
            return at
        if phase.up and phase.state == self.rules.online_idle:
            return max(at, phase.state)
        return at

    # Beginning an operation

    def _begin(self, call: Call) -> Run:
        self._close_stale(call.enter)
        up = self._direction(call)
        before = self.state
        first = call.enter.step
        if before is None and up and first < self.rules.bringup - 1:
            # The very first step of a bringup, or a task that did not start in the
            # midst of one: the CPU was offline.
            lowest = self.callbacks.owed(True, 0, first)[:1] == [first]
            before = 0 if lowest or self.intact else None
        run = self._new_run(call.enter, up, before, before)
        if before is None and not up and is_up(call.enter):
            run.phase.rolling = run.phase.cleaning = run.rolled_back = True
        if before is None:
            run.partial = True
            if not self.rules.is_control(call.enter.step):
                return run
            self._control(run, call.enter)
        return run

    def _new_run(
        self, event: Event, up: bool, before: int | None, state: int | None
    ) -> Run:
        kind = OperationKind.BRINGUP if up else OperationKind.TEAR_DOWN
        phase = Phase(up, event.level, before, state)
        self.run = Run(event, before, [phase], kind, last_line=event.line)
        return self.run

    def _close_stale(self, event: Event) -> None:
        run = self.run
        if run is None:
            return
        if not self.at_rest():
            labels = ", ".join(self.rules.label(s) for s in self.owed()[:3])
            self._deviate(
                event,
                Rule.ORDER,
                f"a new operation begins on CPU{self.cpu} before the last one is over",
                labels or "the return of the enclosing call",
            )

    def _begin_kick(self, event: Event) -> Run:
        self._close_stale(event)
        if self.run is not None:
            self._finished(self.finish())
        if self.state is not None and self.state != event.step:
            self._deviate(
                event,
                Rule.STATE,
                f"the hotplug thread is kicked from state {event.step}",
                f"state {self.state}, where the last operation left CPU{self.cpu}",
            )
        up = event.level > event.step
        run = self._new_run(event, up, event.step, event.step)
        if not up:
            run.phases[0].target = event.level
        self._control(run, event)
        run.phases.append(Phase(up, event.level, event.step, event.step))
        return run

    def _begin_takedown(self, event: Event) -> Run:
        run = self.run
        if run is None:
            run = self._new_run(event, False, self.state, self.state)
            run.partial = self.state is None
        self._control(run, event)
        self._turn_for(run, event, up=False)
        phase = run.phase
        if phase.state is not None and phase.state < event.step:
            self._deviate(
                event,
                Rule.ORDER,
                f"{self.rules.label(event.step, event.function)} at {phase.state}",
                f"a step at or below {phase.state}",
            )
        self._owed_before(run, phase, event, include=False)
        self._same_target(run, phase, event)
        phase.state = event.step
        phase.last, phase.last_multi = event.step, False
        return run

    def _begin_bringup(self, event: Event) -> Run:
        run = self.run
        over = run is not None and not run.phase.up and self.at_rest()
        if over and event.level != self.rules.teardown:
            self._finished(self.finish())
            run = None
        if run is None:
            run = self._new_run(event, True, self.state, self.state)
            run.partial = self.state is None
        self._control(run, event)
        self._turn_for(run, event, up=True)
        phase = run.phase
        self._owed_before(run, phase, event, include=False)
        self._same_target(run, phase, event)
        phase.state = event.step
        phase.last, phase.last_multi = event.step, False
        idle = self.rules.online_idle
        run.phases.append(Phase(True, event.level, idle, idle))
        return run

    # Leaving an enclosing call

    def _leave_kick(self, run: Run, call: Call, inner: Phase) -> Operation | None:
        enter, exit_ = call
        phase = run.phase
        if exit_.ret == 0:
            self._all_done(run, inner, exit_)
            if exit_.level != enter.level:
                self._wrong_state(run, exit_, f"target {enter.level}")
        else:
            run.result, run.rolled_back = exit_.ret, True
            if not self._nothing_to_undo(inner):
                self._all_done(run, inner, exit_)
            if exit_.level != enter.step:
                self._wrong_state(run, exit_, f"state {enter.step}, as before the kick")
            phase.failed = phase.failed or inner.failed or -1
            phase.rolling = True
        phase.state = exit_.level
        over = exit_.ret != 0 or enter.level != self.rules.teardown
        if over:
            return self.finish()
        return None

    def _leave_takedown(self, run: Run, call: Call, phase: Phase) -> None:
        rules, exit_ = self.rules, call.exit
        if exit_.ret == 0:
            if exit_.level != rules.idle_dead:
                self._wrong_state(run, exit_, f"state {rules.idle_dead}, the CPU dead")
            phase.state = rules.idle_dead
            return
        if exit_.level != rules.teardown - 1:
            self._wrong_state(run, exit_, f"state {rules.teardown - 1}")
        phase.state = rules.teardown - 1
        self._fail(run, phase, call)

    def _leave_bringup(self, run: Run, call: Call, inner: Phase) -> None:
        rules, exit_, phase = self.rules, call.exit, run.phase
        if exit_.ret == 0 or not self._nothing_to_undo(inner):
            self._all_done(run, inner, exit_)
        if exit_.ret == 0:
            wanted = max(call.enter.level, rules.online_idle)
            if exit_.level != wanted:
                self._wrong_state(run, exit_, f"state {wanted}")
            phase.state = exit_.level
            return
        if exit_.level not in (rules.bringup, rules.online_idle):
            self._wrong_state(
                run, exit_, f"state {rules.bringup} or {rules.online_idle}"
            )
        if run.failed_step is None and not inner.rolling:
            run.failed_step = call.enter.step
        run.rolled_back = run.rolled_back or inner.rolling
        phase.state = exit_.level
        phase.failed = exit_.level
        run.result = exit_.ret

    def _all_done(self, run: Run, inner: Phase, exit_: Event) -> None:
        if exit_.sampled and not self.heard:
            return
        owed = self._owed(inner)
        if owed and not run.partial:
            self._deviate(
                exit_,
                Rule.ORDER,
                f"the hotplug thread stopped at state {inner.state}",
                "next: "
                + self.rules.label(
                    owed[0], self.callbacks.function(owed[0], inner.up) or ""
                ),
            )

    def _finished(self, operation: Operation | None) -> None:
        if operation is not None:
            self.on_finished(operation)

    def on_finished(self, operation: Operation) -> None:
        """Replaced by whoever collects operations."""
