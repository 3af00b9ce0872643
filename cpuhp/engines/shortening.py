"""Fewer steps to the same end: what an interleaving can do without is left out."""

from __future__ import annotations

from cpuhp.engines.explicit.moves import Compiled, compile_machine
from cpuhp.model.expr import not_
from cpuhp.model.system import Property, TransitionSystem
from cpuhp.model.verdict import State, Step, Trace
from cpuhp.semantics import Machine


def shortened(system: TransitionSystem, prop: Property, trace: Trace) -> Trace:
    """A part of the interleaving that violates `prop` (`always`), too.

    Ever smaller blocks of steps are left out, from the end to the beginning.
    """
    compiled = compile_machine(Machine(system, trace.cpus, trace.boot))
    bad = compiled.predicate(not_(prop.formula))
    steps = list(trace.steps)
    size = max(1, len(steps) // 2)
    while True:
        at = len(steps)
        while at > 0:
            again = _again(
                compiled, trace.initial, steps[: max(0, at - size)] + steps[at:]
            )
            if again is not None and bad(again[-1].state if again else trace.initial):
                steps = again
            at -= size
        if size == 1:
            return Trace(trace.cpus, trace.boot, trace.initial, tuple(steps))
        size //= 2


def _again(compiled: Compiled, start: State, steps: list[Step]) -> list[Step] | None:
    """The same actions from the start; None if one of them cannot be taken."""
    actions = compiled.machine.system.actions
    state, done = start, []
    for step in steps:
        actor = step.binding[0] if step.action.actor else None
        for number, binding, after in compiled.moves_of(
            state, step.action.process, actor
        ):
            if actions[number].name == step.action.name and binding == step.binding:
                state = after
                done.append(Step(step.action, binding, after))
                break
        else:
            return None
    return done
