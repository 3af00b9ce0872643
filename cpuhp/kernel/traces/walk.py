"""One CPU's walk over hotplug states: which step may run next, and in which way.

It follows `cpuhp_next_state()` and `cpuhp_reset_state()`: a walk has a target, and a
failure turns it round once, towards where it came from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cpuhp.kernel.traces.events import Event
from cpuhp.kernel.traces.operations import Call, OperationKind, Rule, is_up
from cpuhp.kernel.traces.rules import Callbacks, Rules, wrong_context

MAX_PER_OPERATION = 4  # one deviation tends to bring others after it

Report = Callable[[int, Rule, int, str, str], None]


@dataclass(slots=True)
class Phase:
    """A walk over states by one task: the control task's or the hotplug thread's."""

    up: bool
    target: int
    origin: int | None  # where a rollback returns to
    state: int | None
    rolling: bool = False
    cleaning: bool = False  # boot removes what a rollback to CPUHP_BP_KICK_AP left
    failed: int | None = None  # the step that returned an error
    failed_multi: bool = False
    last: int | None = None
    instances: int = 0
    last_multi: bool = False


@dataclass(slots=True)
class Run:
    """An operation under way."""

    first: Event
    before: int | None
    phases: list[Phase]
    kind: OperationKind
    frame: Event | None = None
    control: tuple[str, int] | None = None
    partial: bool = False  # the trace begins inside it
    last_line: int = 0
    end: float = 0.0
    calls: int = 0
    rolled_back: bool = False
    result: int = 0
    failed_step: int | None = None
    deviations: int = 0
    counts: dict[tuple[int, bool], int] = field(default_factory=dict)

    @property
    def phase(self) -> Phase:
        return self.phases[-1]


class Walker:
    """The steps of one CPU: what may run next, and what is owed."""

    def __init__(self, cpu: int, rules: Rules, callbacks: Callbacks, report: Report):
        self.cpu = cpu
        self.rules = rules
        self.callbacks = callbacks
        self.run: Run | None = None
        self._report = report

    # One step

    def _check_place(self, run: Run, call: Call) -> None:
        enter = call.enter
        rules = self.rules
        wrong = wrong_context(rules, enter, single=False)
        label = rules.label(enter.step, enter.function)
        if wrong:
            self._wrong_context(enter, enter, "ran", wrong)
        else:
            self._check_return(call)
        if rules.is_control(enter.step):
            self._control(run, enter)
            if run.frame is not None and not run.partial:
                self._deviate(
                    enter,
                    Rule.HAND_OVER,
                    f"{label} ran while the control task waits in {run.frame.function}",
                    "steps of the CPU itself until that returns",
                )
            return
        early = run.frame is not None and enter.line < run.frame.line
        if early and run.frame is not None and enter.time != run.frame.time:
            self._deviate(
                enter,
                Rule.HAND_OVER,
                f"{label} began before {run.frame.function}, in which the control task "
                "waits for it",
                f"cpuhp_enter of step {run.frame.step} first",
            )
        if run.frame is not None or run.partial:
            return
        phase = run.phase
        resting = phase.state is not None and phase.state >= rules.teardown - 1
        if not (is_up(enter) and run.kind is OperationKind.TEAR_DOWN and resting):
            self._deviate(
                enter,
                Rule.HAND_OVER,
                f"{label} ran without being kicked by the control task",
                "only within bringup_cpu, cpuhp_bringup_ap or cpuhp_kick_ap_work",
            )

    def _wrong_context(self, enter: Event, at: Event, did: str, allowed: str) -> None:
        on = f" on CPU{at.on}" if at.on >= 0 else ""
        label = self.rules.label(enter.step, enter.function)
        message = f"{label} {did} in {enter.comm}{on}"
        self._deviate(at, Rule.CONTEXT, message, allowed)

    def _check_return(self, call: Call) -> None:
        """A call ends on the CPU that it is bound to; the control task may move."""
        enter, exit_ = call
        if self.rules.is_control(enter.step):
            dead = enter.step != self.rules.teardown or not exit_.ret
            if dead and exit_.on == self.cpu:
                allowed = f"a CPU other than CPU{self.cpu}, which does not run now"
                self._wrong_context(enter, exit_, "returned", allowed)
        elif exit_.on != enter.on:
            self._wrong_context(enter, exit_, "returned", f"CPU{enter.on}, as it began")

    def _control(self, run: Run, event: Event) -> None:
        who = (event.comm, event.pid)
        if event.comm == "" or event.pid < 0:
            return
        if run.control is None:
            run.control = who
        elif run.control[1] != event.pid:
            was = f"{run.control[0]}-{run.control[1]}"
            self._deviate(
                event,
                Rule.CONTEXT,
                f"{self.rules.label(event.step, event.function)} ran in "
                f"{event.comm}-{event.pid}",
                f"{was}, the control task of this operation",
            )
            run.control = who

    def _advance(self, run: Run, phase: Phase, call: Call) -> None:
        enter, exit_ = call
        step = enter.step
        if self._undoes_instance(phase, call):
            run.rolled_back = True
            return
        up = self._checked_direction(run, call)
        if up is None:
            phase.state, phase.last = exit_.level, step
            return
        if up != phase.up:
            self._turn(run, phase, enter, up)
        else:
            self._same_way(run, phase, enter)
        self._learn(run, call, up)
        phase.state = exit_.level
        phase.last, phase.last_multi = step, call.is_multi
        if exit_.ret:
            self._fail(run, phase, call)

    def _undoes_instance(self, phase: Phase, call: Call) -> bool:
        # The control task undoes a failed multi-instance step inside the step.
        return (
            phase.failed == call.enter.step
            and phase.failed_multi
            and call.is_multi
            and self.rules.is_control(call.enter.step)
            and not phase.rolling
            and call.enter.level == phase.target
        )

    def _checked_direction(self, run: Run, call: Call) -> bool | None:
        enter, exit_ = call
        up = is_up(enter)
        wanted = enter.step if up else enter.step - 1
        if exit_.level == wanted:
            return up
        if exit_.level == enter.step - 1 and self._cleans(run, enter):
            # cpuhp_bringup_mask() walks on down to 0 but leaves the target alone.
            run.phase.cleaning = True
            return False
        self._deviate(
            exit_,
            Rule.STATE,
            f"state {exit_.level} after "
            f"{self.rules.label(enter.step, enter.function)} towards {enter.level}",
            f"state {wanted}: an up step leaves its own number, a down step one less",
        )
        return None

    def _cleans(self, run: Run, enter: Event) -> bool:
        phase = run.phase
        if phase.cleaning and phase.state is None:
            return True
        if run.partial and not phase.up and enter.level == phase.target:
            return True
        return (
            phase.rolling
            and not phase.up
            and phase.state is not None
            and enter.step <= phase.state <= phase.target == enter.level
        )

    def _same_way(self, run: Run, phase: Phase, enter: Event) -> None:
        step, state = enter.step, phase.state
        self._same_target(run, phase, enter)
        if phase.failed is not None and not phase.rolling and not self._atomic(step):
            self._deviate(
                enter,
                Rule.ROLLBACK,
                f"{self.rules.label(step, enter.function)} ran on after step "
                f"{phase.failed} had failed",
                f"a rollback to state {phase.origin}",
            )
            phase.failed = None
        if self._repeats_instance(phase, enter):
            return
        if state is not None and (step <= state if phase.up else step > state):
            self._deviate(
                enter,
                Rule.ORDER,
                f"{self.rules.label(step, enter.function)} ran at state {state} on "
                f"the way {'up' if phase.up else 'down'}",
                self._next_text(phase),
            )
            return
        self._owed_before(run, phase, enter, include=False)

    def _repeats_instance(self, phase: Phase, enter: Event) -> bool:
        multi = enter.kind.value == "cpuhp_multi_enter"
        return multi and phase.last_multi and enter.step == phase.last

    def _turn_for(self, run: Run, event: Event, up: bool) -> None:
        if run.phase.up != up and not (run.partial and run.phase.state is None):
            self._turn(run, run.phase, event, up)

    def _turn(self, run: Run, phase: Phase, enter: Event, up: bool) -> None:
        """A rollback begins: after an error, or without one when it was injected."""
        label = self.rules.label(enter.step, enter.function)
        back = self._rollback_target(run, phase)
        if phase.rolling or (back is not None and enter.level != back):
            way = "up" if phase.up else "down"
            self._deviate(
                enter,
                Rule.DIRECTION,
                f"{label} runs {'up' if up else 'down'} to {enter.level} amid a way "
                f"{way} to {phase.target}",
                self._next_text(phase)
                + (f", or a rollback to {back}" if not phase.rolling else ""),
            )
            if not phase.rolling:
                phase.up, phase.target = up, enter.level
            return
        self._check_first_undo(run, phase, enter)
        run.rolled_back, phase.rolling = True, True
        phase.up, phase.target, phase.origin = up, enter.level, back

    def _rollback_target(self, run: Run, phase: Phase) -> int | None:
        if phase.up or phase.origin is None or phase.state is None:
            return phase.origin
        if len(run.phases) == 1 and phase.state < self.rules.teardown - 1:
            # cpuhp_down_callbacks() undoes to where it began, not the operation.
            return min(phase.origin, self.rules.teardown)
        return phase.origin

    def _check_first_undo(self, run: Run, phase: Phase, enter: Event) -> None:
        low, high = self._undo_limits(phase)
        step = enter.step
        if (low is not None and step <= low) or (high is not None and step > high):
            self._deviate(
                enter,
                Rule.ROLLBACK,
                f"the rollback begins with {self.rules.label(step, enter.function)}",
                f"a step after {low}" if low is not None else f"a step up to {high}",
            )
            return
        if phase.state is None:
            return
        start = phase.failed if phase.failed is not None else phase.state
        if phase.up:
            end = start - 1 if phase.failed is not None else phase.state
            owed = self.callbacks.owed(False, step, end)
        else:
            owed = self.callbacks.owed(True, start, step - 1)
        self._report_owed(run, enter, owed, up=not phase.up)

    def _undo_limits(self, phase: Phase) -> tuple[int | None, int | None]:
        """Lower limit (exclusive) or upper limit of a rollback's first step."""
        if phase.state is None:
            return None, None
        if phase.failed is not None:
            own = 0 if phase.failed_multi else 1
            if phase.up:
                return None, phase.failed - own
            return phase.failed - 1 + own, None
        if phase.up:
            beyond = self.callbacks.next_after(phase.state)
            return None, beyond - 1 if beyond is not None else None
        below = self.callbacks.next_below(phase.state)
        return (below - 1 if below is not None else None), None

    def _fail(self, run: Run, phase: Phase, call: Call) -> None:
        step = call.enter.step
        if self._atomic(step):
            return
        phase.failed, phase.failed_multi = step, call.is_multi
        run.result, run.failed_step = call.exit.ret, step

    def _atomic(self, step: int) -> bool:
        return self.rules.bringup < step < self.rules.teardown

    # What is owed

    def _owed(self, phase: Phase) -> list[int]:
        state, target = phase.state, phase.target
        if state is None:
            return []
        if phase.failed is not None and not phase.rolling:
            origin = phase.origin
            if origin is None or phase.failed < 0:
                return []
            if phase.up:
                return self.callbacks.owed(False, origin, phase.failed - 1)
            return self.callbacks.owed(True, phase.failed, origin)
        if phase.up:
            return self.callbacks.owed(True, state, target)
        return self.callbacks.owed(False, 0 if phase.cleaning else target, state)

    def _owed_before(self, run: Run, phase: Phase, enter: Event, include: bool) -> None:
        state = phase.state
        if state is None or self._atomic(enter.step):
            return
        if phase.up:
            owed = self.callbacks.owed(True, state, enter.step - 1)
        else:
            owed = self.callbacks.owed(False, enter.step, state)
        self._report_owed(run, enter, owed, phase.up)

    def _report_owed(self, run: Run, enter: Event, owed: list[int], up: bool) -> None:
        if not owed:
            return
        first = self.rules.label(owed[0], self.callbacks.function(owed[0], up) or "")
        more = f" and {len(owed) - 1} more" if len(owed) > 1 else ""
        label = self.rules.label(enter.step, enter.function)
        message = f"{label} ran, {first}{more} did not"
        self._deviate(enter, Rule.ORDER, message, f"{first} first")

    def _next_text(self, phase: Phase) -> str:
        owed = self._owed(phase)
        if owed:
            function = self.callbacks.function(owed[0], phase.up) or ""
            return "next: " + self.rules.label(owed[0], function)
        if phase.state is None:
            return "any step"
        if phase.up:
            return f"a step above {phase.state}, up to {phase.target}"
        return f"a step from {phase.state} down to {phase.target + 1}"

    def _same_target(self, run: Run, phase: Phase, enter: Event) -> None:
        # cpu_down lowers the target once: TEARDOWN_CPU for the thread, then its own.
        kicked = phase.target == self.rules.teardown
        first_own = not phase.up and len(run.phases) == 1 and kicked
        if enter.level == phase.target or phase.state is None:
            phase.target = enter.level
            return
        if first_own and enter.level < phase.target and phase.last is None:
            phase.target = enter.level
            return
        self._deviate(
            enter,
            Rule.TARGET,
            f"{self.rules.label(enter.step, enter.function)} has target {enter.level}",
            f"target {phase.target}, as the steps before",
        )

    def _learn(self, run: Run, call: Call, up: bool) -> None:
        enter = call.enter
        step, function = enter.step, enter.function
        run.counts[step, up] = run.counts.get((step, up), 0) + 1
        if not function:
            return
        builtin = self.rules.functions(step, up)
        before = self.callbacks.learn(step, up, function, call.is_multi)
        if builtin and function not in builtin:
            self._wrong_function(enter, function, up, " or ".join(sorted(builtin)))
        elif before and not self.rules.is_dynamic(step):
            self._wrong_function(enter, function, up, before)
            self.callbacks.learn(step, up, before, call.is_multi)
        elif before:
            self._slot_changed(enter, up, before)

    def _slot_changed(self, enter: Event, up: bool, before: str) -> None:
        # A dynamic slot may be given to another driver, but not back and forth.
        key = (enter.step, up)
        earlier = self.callbacks.replaced.pop(key, None)
        if earlier is not None and earlier[0] == enter.function:
            self._wrong_function(earlier[1], before, up, enter.function)
        else:
            self.callbacks.replaced[key] = (before, enter)

    def _wrong_function(
        self, enter: Event, function: str, up: bool, wanted: str
    ) -> None:
        way = "startup" if up else "teardown"
        self._deviate(
            enter,
            Rule.FUNCTION,
            f"{function} ran as {way} of {self.rules.label(enter.step)}",
            wanted,
        )

    def _direction(self, call: Call) -> bool:
        if call.exit.level == call.enter.step:
            return True
        if call.exit.level == call.enter.step - 1:
            return False
        return is_up(call.enter)

    def _fits(self, call: Call, phase: Phase) -> bool:
        """Whether a call goes on where the run, which may be over, stands."""
        enter, exit_ = call
        if phase.state is None:
            return True
        if enter.level != phase.target and not (
            not phase.up and phase.last is None and enter.level < phase.target
        ):
            if is_up(enter) == phase.up:
                return False
            if phase.state == phase.target and self.rules.is_control(enter.step):
                return False
            back = self._rollback_target(self.run, phase) if self.run else None
            if back is None:
                return not phase.rolling and (phase.up or enter.step > phase.state)
            return not phase.rolling and enter.level == back
        if self._repeats_instance(phase, enter):
            return True
        if phase.up:
            return exit_.level == enter.step > phase.state
        return exit_.level == enter.step - 1 and enter.step <= phase.state

    def _wrong_state(self, run: Run, exit_: Event, allowed: str) -> None:
        self._deviate(
            exit_,
            Rule.STATE,
            f"state {exit_.level} when {self.rules.label(exit_.step)} returns",
            allowed,
        )

    def _note(self, run: Run, event: Event) -> None:
        run.last_line, run.end = event.line, event.time

    def _deviate(self, event: Event, rule: Rule, message: str, allowed: str) -> None:
        if self.run is not None:
            self.run.deviations += 1
            if self.run.deviations > MAX_PER_OPERATION:
                return
        self._report(event.line, rule, self.cpu, message, allowed)
