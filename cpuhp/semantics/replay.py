"""Replay: every trace is run again here before anyone sees it."""

from __future__ import annotations

from cpuhp.model.system import Action
from cpuhp.model.verdict import State, Trace
from cpuhp.semantics.machine import Machine
from cpuhp.semantics.steps import apply, bindings, is_enabled, is_initial

Instance = tuple[str, int | None]


class ReplayError(Exception):
    """A trace is not a run of the machine. `step` counts from 0; None: the start."""

    def __init__(self, message: str, step: int | None = None):
        super().__init__(message)
        self.step = step


def replay(machine: Machine, trace: Trace) -> None:
    """Run the trace again. Raises `ReplayError` that names the first wrong step."""
    if (trace.cpus, trace.boot) != (machine.cpus, machine.boot):
        raise ReplayError("the trace is of another machine")
    if not is_initial(machine, trace.initial):
        raise ReplayError("the trace does not start in an initial state")
    state = trace.initial
    for number, step in enumerate(trace.steps):
        name = f"step {number} ({step.action.name})"
        if not is_enabled(machine, state, step.action, step.binding):
            raise ReplayError(f"{name} is not enabled", number)
        state = apply(machine, state, step.action, step.binding)
        if state != step.state:
            raise ReplayError(f"{name} leads to another state", number)
    if trace.loop is not None:
        if not 0 <= trace.loop < len(trace.steps):
            raise ReplayError("the loop has no step")
        if state != state_before(trace, trace.loop):
            raise ReplayError(f"the loop does not return to step {trace.loop}")


def state_before(trace: Trace, step: int) -> State:
    """The state in which step number `step` (from 0) is taken."""
    return trace.steps[step - 1].state if step else trace.initial


def last_state(trace: Trace) -> State:
    """The state after the last step."""
    return state_before(trace, len(trace.steps))


def is_fair(machine: Machine, trace: Trace) -> bool:
    """May the run go on like this for ever, or stay in its last state for ever?

    Weak fairness: no instance of a process that owes progress can always move and
    never does.
    """
    start = len(trace.steps) if trace.loop is None else trace.loop
    loop = trace.steps[start:]
    states = [step.state for step in loop] or [last_state(trace)]
    waiting = set.intersection(*(_able(machine, state) for state in states))
    return not waiting - {instance_of(step.action, step.binding) for step in loop}


def instance_of(action: Action, binding: tuple[int, ...]) -> Instance:
    """The process instance (name, CPU or None) that takes a step."""
    return action.process, binding[0] if action.actor else None


def _able(machine: Machine, state: State) -> set[Instance]:
    return {
        instance_of(action, binding)
        for action in machine.system.actions
        if machine.system.owes_progress(action)
        for binding in bindings(machine, state, action)
    }
