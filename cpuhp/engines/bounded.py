"""z3 at a fixed number of CPUs: confirm a trace, or search for one by its length.

The encoding is exact here, so a model is a run; it is replayed all the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import z3

from cpuhp.engines.clock import ask
from cpuhp.engines.encoding import Encoder, Taken
from cpuhp.engines.explicit.space import at_rest
from cpuhp.engines.formulas import (
    Bit,
    apart,
    as_z3,
    conj,
    disj,
    implies,
    negate,
    proposition,
    require,
    solver,
    vector,
)
from cpuhp.model.expr import Param
from cpuhp.model.system import Expectation, Property, TransitionSystem
from cpuhp.model.verdict import Result, State, Step, Trace, Verdict
from cpuhp.semantics import (
    Machine,
    ReplayError,
    holds,
    is_quiescent,
    is_stuck,
    last_state,
    replay,
)

ENGINE = "bounded"
SEARCHABLE = (
    Expectation.ALWAYS,
    Expectation.SOMETIMES,
    Expectation.FINALLY,
    Expectation.DEADLOCK_FREE,
)


@apart()
def confirm(
    system: TransitionSystem,
    trace: Trace,
    prop: Property,
    seconds: float | None = None,
) -> bool | None:
    """Does z3 agree that these actions can be taken and end where the trace says so?

    The states between are left to z3. The last one violates the property (witnesses
    it, for `sometimes`); a trace with a loop returns to where the loop starts. For
    kinds that a single state does not decide, only the run is confirmed. None if z3
    has no answer within `seconds`.
    """
    paths = _Paths(system, trace.cpus, trace.boot)
    encoder = paths.encoder
    bits = [encoder.initial(_frame(0))]
    for number, step in enumerate(trace.steps):
        taken = Taken(step.action, tuple(zip(step.action.params, step.binding)))
        here, there = _frame(number), _frame(number + 1)
        bits.append(encoder.enabled(taken, here))
        bits += paths.after(taken, here, there)
    end = _frame(len(trace.steps))
    bits.append(paths.decides(prop, end))
    if trace.loop is not None:
        back = _frame(trace.loop)
        bits += [
            paths.equal(encoder.cell(end, *cell), back, cell) for cell in paths.cells
        ]
    asked = solver()
    for bit in (*bits, *encoder.axioms):
        require(asked, bit)
    if seconds is not None:
        asked.set("timeout", max(1, int(seconds * 1000)))
    answer = asked.check()
    return None if answer == z3.unknown else bool(answer == z3.sat)


@apart()
def search(
    system: TransitionSystem,
    prop: Property,
    cpus: int,
    boot: int = 0,
    *,
    max_depth: int = 40,
    deadline: float | None = None,
) -> Result:
    """The shortest run that decides the property, with the fewest context switches.

    VIOLATED or WITNESSED with a replayed trace; HOLDS_TO_BOUND if no run of up to
    `max_depth` steps does; UNKNOWN if time ran out (`deadline` is a time of `clock.now()`).
    """
    start = time.monotonic()
    verdict, reason, trace = Verdict.UNKNOWN, None, None
    if prop.expectation not in SEARCHABLE:
        reason = f"'{prop.expectation.value}' is not searched for by depth"
    else:
        bounded = _Search(_Paths(system, cpus, boot), prop, deadline)
        trace, depth = bounded.shortest(max_depth)
        witness = prop.expectation is Expectation.SOMETIMES
        if trace is not None:
            verdict = Verdict.WITNESSED if witness else Verdict.VIOLATED
        elif bounded.refuted:
            reason = "the run that z3 found does not replay"
        elif depth < max_depth:
            reason = f"time limit reached after {depth} steps"
        else:
            verdict = Verdict.HOLDS_TO_BOUND
            what = "witnesses" if witness else "violates"
            reason = f"no run of up to {max_depth} steps {what} it"
    seconds = time.monotonic() - start
    return Result(prop, verdict, cpus, trace, reason, seconds, ENGINE)


def _frame(number: int) -> str:
    return f"at{number}."


Cell = tuple[str, tuple[int, ...]]


class _Paths:
    """Runs of one machine as formulas; frame n is the state after n steps."""

    def __init__(self, system: TransitionSystem, cpus: int, boot: int):
        self.system = system
        self.machine = Machine(system, cpus, boot)
        self.encoder = Encoder(system, cpus, boot=boot, closed=True)
        self.cells: list[Cell] = [(v.name, where) for v, where in self.machine.cells]
        self.takings = list(self._takings())

    def _takings(self) -> Iterator[Taken]:
        for action in self.system.actions:
            domains: list[tuple[Param, object]] = []
            if action.actor:
                domains.append((action.actor, self.machine.actor_domain(action)))
            for choice in action.choices:
                domains.append((choice.param, self.machine.elements(choice.param.sort)))
            params = [param for param, _ in domains]
            for values in product(*(domain for _, domain in domains)):  # type: ignore[call-overload]
                yield Taken(action, tuple(zip(params, values)))

    def equal(self, values: dict[int, Bit], frame: str, cell: Cell) -> Bit:
        """The cell has these values in that state, neither more nor less."""
        there = self.encoder.cell(frame, *cell)
        return disj(conj((bit, there[v])) for v, bit in values.items() if v in there)

    def after(self, taken: Taken, here: str, there: str) -> Iterator[Bit]:
        """The state `there` is the one after the action; call it before any other use.

        What is not assigned is carried over, so that z3 has nothing to find out.
        """
        for cell in self.cells:
            before = self.encoder.cell(here, *cell)
            after = self.encoder.post(taken, here, *cell)
            if after is before:
                self.encoder.carry(there, *cell, before)
            else:
                yield self.equal(after, there, cell)

    def quiescent(self, frame: str) -> Bit:
        """Nobody who owes progress can move."""
        return conj(
            negate(self.encoder.enabled(taken, frame))
            for taken in self.takings
            if self.system.owes_progress(taken.action)
        )

    def decides(self, prop: Property, frame: str) -> Bit:
        """The state violates the property, or witnesses it."""
        truth = self.encoder.truth(prop.formula, {}, frame)
        match prop.expectation:
            case Expectation.ALWAYS:
                return negate(truth)
            case Expectation.SOMETIMES:
                return truth
            case Expectation.FINALLY:
                return conj((negate(truth), self.quiescent(frame)))
            case Expectation.DEADLOCK_FREE:
                busy = negate(self.encoder.truth(at_rest(self.system), {}, frame))
                return conj((busy, self.quiescent(frame)))
            case _:
                return True

    def state(self, model: z3.ModelRef, frame: str) -> State:
        """The state that the model has there."""
        return tuple(self._value(model, frame, cell) for cell in self.cells)

    def _value(self, model: z3.ModelRef, frame: str, cell: Cell) -> int:
        for value, bit in self.encoder.cell(frame, *cell).items():
            if z3.is_true(model.eval(as_z3(bit), model_completion=True)):
                return value
        raise AssertionError(f"{cell} has no value")


@dataclass
class _Search:
    """Unrolls a machine step by step."""

    paths: _Paths
    prop: Property
    deadline: float | None

    def __post_init__(self) -> None:
        self.solver = solver()
        self.chosen: list[list[Bit]] = []
        self._axioms = 0
        self.refuted = False
        require(self.solver, self.paths.encoder.initial(_frame(0)))

    def shortest(self, max_depth: int) -> tuple[Trace | None, int]:
        """The run, if there is one, and the depth to which all runs were covered."""
        for depth in range(max_depth + 1):
            bad = self.paths.decides(self.prop, _frame(depth))
            name = proposition(f"bad{depth}")
            require(self.solver, implies(name, bad))
            answer = self._check(name)
            if answer == z3.unknown:
                return None, depth - 1
            if answer == z3.sat:
                trace = self._with_fewest_switches(depth, name)
                self.refuted = trace is None
                return trace, depth
            if depth < max_depth:
                self._unroll(depth)
        return None, max_depth

    def _check(self, *assumed: z3.BoolRef) -> z3.CheckSatResult:
        axioms = self.paths.encoder.axioms
        for axiom in axioms[self._axioms :]:
            require(self.solver, axiom)
        self._axioms = len(axioms)
        return ask(self.solver, self.deadline, *assumed)

    def _unroll(self, depth: int) -> None:
        """One more step: exactly one action instance is taken."""
        paths, here, there = self.paths, _frame(depth), _frame(depth + 1)
        number = vector(f"step{depth}", len(paths.takings).bit_length())
        chosen: list[Bit] = [number == n for n in range(len(paths.takings))]
        self.chosen.append(chosen)
        require(self.solver, disj(chosen))
        for bit, taken in zip(chosen, paths.takings):
            self._add(bit, paths.encoder.enabled(taken, here))
        for cell in paths.cells:
            writers: list[Bit] = []
            before = paths.encoder.cell(here, *cell)
            for bit, taken in zip(chosen, paths.takings):
                after = paths.encoder.post(taken, here, *cell)
                if after is not before:
                    writers.append(bit)
                    self._add(bit, paths.equal(after, there, cell))
            self._add(negate(disj(writers)), paths.equal(before, there, cell))

    def _add(self, condition: Bit, then: Bit) -> None:
        require(self.solver, implies(condition, then))

    def _with_fewest_switches(self, depth: int, bad: z3.BoolRef) -> Trace | None:
        model = self.solver.model()
        switches = [
            as_z3(negate(self._stays(step))) for step in range(max(0, depth - 1))
        ]
        best = sum(_true(model, bit) for bit in switches)
        while best > 0:
            self.solver.add(z3.PbLe([(bit, 1) for bit in switches], best - 1))
            if self._check(bad) != z3.sat:
                break
            model = self.solver.model()
            best = sum(_true(model, bit) for bit in switches)
        return self._trace(model, depth)

    def _stays(self, step: int) -> Bit:
        """The same instance takes this step and the next."""
        groups: dict[tuple[str, int], list[int]] = {}
        for number, taken in enumerate(self.paths.takings):
            actor = taken.env[0][1] if taken.action.actor else -1
            groups.setdefault((taken.action.process, actor), []).append(number)
        first, second = self.chosen[step], self.chosen[step + 1]
        return disj(
            conj((disj(first[n] for n in group), disj(second[n] for n in group)))
            for group in groups.values()
        )

    def _trace(self, model: z3.ModelRef, depth: int) -> Trace | None:
        """The model as a trace, if it replays and decides the property."""
        machine = self.paths.machine
        steps = []
        for number in range(depth):
            chosen = self.chosen[number]
            which = next(n for n, bit in enumerate(chosen) if _true(model, bit))
            taken = self.paths.takings[which]
            values = tuple(value for _, value in taken.env)
            after = self.paths.state(model, _frame(number + 1))
            steps.append(Step(taken.action, values, after))
        initial = self.paths.state(model, _frame(0))
        trace = Trace(machine.cpus, machine.boot, initial, tuple(steps))
        try:
            replay(machine, trace)
        except ReplayError:
            return None
        return trace if decided(machine, trace, self.prop) else None


def decided(machine: Machine, trace: Trace, prop: Property) -> bool:
    """Does the trace's last state decide the property, by the concrete semantics?"""
    state = last_state(trace)
    match prop.expectation:
        case Expectation.ALWAYS:
            return not holds(machine, prop.formula, state)
        case Expectation.SOMETIMES:
            return holds(machine, prop.formula, state)
        case Expectation.FINALLY:
            quiet = is_quiescent(machine, state)
            return quiet and not holds(machine, prop.formula, state)
        case _:
            return is_stuck(machine, state)


def _true(model: z3.ModelRef, bit: Bit) -> bool:
    return bool(z3.is_true(model.eval(as_z3(bit), model_completion=True)))
