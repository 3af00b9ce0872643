"""Counting runs: how many interleavings there are, and how many are bad."""

from __future__ import annotations

from typing import NamedTuple

from cpuhp.diagnostics import fail
from cpuhp.engines.explicit.moves import compile_machine
from cpuhp.model.expr import FALSE, Expr
from cpuhp.model.system import TransitionSystem
from cpuhp.model.verdict import State
from cpuhp.semantics import Machine, initial_states, is_stuck


class RunCount(NamedTuple):
    """Complete interleavings: all, those with a bad state, those that end stuck."""

    runs: int
    bad_runs: int
    deadlocked: int

    @property
    def completed(self) -> int:
        """The runs that come to a proper end."""
        return self.runs - self.deadlocked


def count_runs(
    system: TransitionSystem, cpus: int, boot: int = 0, bad: Expr = FALSE
) -> RunCount:
    """Count the runs from initial states to states without successors.

    A run is bad if `bad` holds in any of its states, the last one included. Two
    actions that lead to the same state make two runs. Raises `InputError` HP602 if
    the system can run for ever, for then there is no number.
    """
    machine = Machine(system, cpus, boot)
    compiled = compile_machine(machine)
    is_bad = compiled.predicate(bad)
    # For each state: runs on from it, those of them that are never bad, those stuck.
    counts: dict[State, tuple[int, int, int]] = {}
    ahead: dict[State, list[State]] = {}
    totals = [0, 0, 0]
    for start in initial_states(machine):
        stack = [start]
        while stack:
            state = stack[-1]
            if state in counts:
                stack.pop()
                continue
            if state not in ahead:
                ahead[state] = [move[2] for move in compiled.moves(state)]
                fresh = [t for t in ahead[state] if t not in counts]
                if any(t in ahead for t in fresh):
                    raise _endless(system)
                stack += fresh
                if fresh:
                    continue
            stack.pop()
            parts = [counts[t] for t in ahead.pop(state)]
            if not parts:
                parts = [(1, 1, int(is_stuck(machine, state)))]
            runs, good, stuck = (sum(column) for column in zip(*parts))
            counts[state] = runs, 0 if is_bad(state) else good, stuck
        totals = [a + b for a, b in zip(totals, counts[start])]
    return RunCount(totals[0], totals[0] - totals[1], totals[2])


def _endless(system: TransitionSystem) -> Exception:
    return fail(
        "HP602",
        f"{system.name} can run for ever, so its runs cannot be counted",
        help="count runs of a system in which every loop is bounded",
    )
