"""Exhaustive breadth-first search at a fixed number of CPUs."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from cpuhp.engines.clock import now
from cpuhp.engines.explicit.ample import Reduction, can_reduce
from cpuhp.engines.explicit.liveness import check_liveness
from cpuhp.engines.explicit.moves import Compiled, compile_machine
from cpuhp.engines.explicit.multiset import MultisetSpace
from cpuhp.engines.explicit.races import RaceFinder
from cpuhp.engines.explicit.space import (
    Key,
    PlainSpace,
    Space,
    Test,
    quiescent_test,
    stuck_test,
)
from cpuhp.engines.explicit.symmetry import SymmetricSpace, is_symmetric
from cpuhp.engines.explicit.trace import context_switches, shortest_trace
from cpuhp.model.expr import not_
from cpuhp.model.system import Expectation, Property, TransitionSystem
from cpuhp.model.verdict import Result, Trace, Verdict
from cpuhp.semantics import Machine, last_state

ENGINE = "explicit"
FEW_STATES = 5_000  # so many are looked at before a reduction is worth its cost
LIVENESS = (Expectation.LEADS_TO, Expectation.TERMINATES)
Progress = Callable[[int, int], None]  # states reached, states still to look at


@dataclass(frozen=True)
class Limits:
    """When to give up: states, seconds of the processor, bytes of the whole process."""

    max_states: int | None = None
    seconds: float | None = None
    memory: int | None = None


@dataclass
class Budget:
    """Limits under way. `exceeded` gives the reason to stop, if there is one."""

    limits: Limits
    started: float = field(default_factory=time.monotonic)
    began: float = field(default_factory=now)

    def exceeded(self, states: int) -> str | None:
        limits = self.limits
        if limits.max_states is not None and states > limits.max_states:
            return f"limit of {limits.max_states} states reached"
        if limits.seconds is not None and now() - self.began > limits.seconds:
            return "time limit reached"
        if limits.memory is not None and memory_used() > limits.memory:
            return f"limit of {limits.memory >> 20} MiB of memory reached"
        return None

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started


def memory_used() -> int:
    """Bytes of memory that this process has resident now, or at most as yet.

    A worker that once had much and gave it back must not refuse all later claims.
    """
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except OSError:  # not Linux
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def check(
    system: TransitionSystem,
    prop: Property,
    cpus: int,
    boot: int = 0,
    limits: Limits = Limits(),
    *,
    symmetry: bool = True,
    progress: Progress | None = None,
    traces: bool = True,
) -> Result:
    """The answer to one property on a machine with exactly `cpus` CPUs.

    Without `traces` a violation is told without the run to it, and no more states are
    looked at than it takes to find one.
    """
    (result,) = check_many(
        system,
        [prop],
        cpus,
        boot,
        limits,
        symmetry=symmetry,
        progress=progress,
        traces=traces,
    )
    return result


def check_many(
    system: TransitionSystem,
    props: Sequence[Property],
    cpus: int,
    boot: int = 0,
    limits: Limits = Limits(),
    *,
    symmetry: bool = True,
    progress: Progress | None = None,
    traces: bool = True,
) -> list[Result]:
    """The answers to all properties, from one search where they can share it.

    The verdicts cover exactly `cpus` CPUs and this control CPU. On a limit, what is
    not decided yet is UNKNOWN with the reason. Liveness never uses symmetry.
    """
    budget = Budget(limits)
    compiled = compile_machine(Machine(system, cpus, boot))
    safety = [p for p in props if p.expectation not in LIVENESS]
    answers: dict[int, Result] = {}
    groups: list[tuple[list[Property], bool]] = []
    if symmetry and is_symmetric(system):
        mirrored = [p for p in safety if is_symmetric(system, [p])]
        groups.append((mirrored, True))
        mirrored_ids = {id(p) for p in mirrored}
        safety = [p for p in safety if id(p) not in mirrored_ids]
    groups.append((safety, False))
    for group, folded in groups:
        if group:
            space = make_space(compiled, folded)
            for prop, result in zip(
                group,
                search(space, group, budget, progress, traces=traces).results(),
            ):
                answers[id(prop)] = result
    lively = [p for p in props if p.expectation in LIVENESS]
    for prop, result in zip(
        lively, check_liveness(compiled, lively, budget.exceeded, progress)
    ):
        answers[id(prop)] = result
    return [answers[id(prop)] for prop in props]


def make_space(compiled: Compiled, symmetry: bool) -> Space:
    """The smallest graph that answers for all states."""
    if not symmetry or compiled.machine.cpus < 3:
        return PlainSpace(compiled)
    folded = SymmetricSpace(compiled)
    return MultisetSpace(compiled) if folded.permuter.complete else folded


@dataclass
class _Claim:
    """One property under way."""

    prop: Property
    early: Test | None  # true of a key that decides it, before its successors
    goals: list[Key] = field(default_factory=list)
    decided: bool = False
    trace: Trace | None = None
    reason: str | None = None
    seconds: float = 0.0
    depth: int = -1


@dataclass
class Search:
    """A search and its answers."""

    space: Space
    claims: list[_Claim]
    budget: Budget
    traces: bool = True
    parents: dict[Key, Key | None] = field(default_factory=dict)
    layers: list[list[Key]] = field(default_factory=list)
    transitions: int = 0
    stopped: str | None = None

    @cached_property
    def successors(self) -> Callable[[Key], list[Key]]:
        """All next states; where no run is asked for, as many as it takes."""
        props = [claim.prop for claim in self.claims]
        if self.traces or not can_reduce(props):
            return self.space.successors
        return Reduction(self.space, props).successors

    @cached_property
    def races(self) -> RaceFinder:
        """What can race; seldom asked for."""
        return RaceFinder(self.space.compiled)

    def results(self) -> list[Result]:
        """One result for each property, in order."""
        return [self._result(claim) for claim in self.claims]

    def _result(self, claim: _Claim) -> Result:
        machine = self.space.compiled.machine
        sometimes = claim.prop.expectation is Expectation.SOMETIMES
        reason = claim.reason
        if claim.decided:
            verdict = Verdict.WITNESSED if sometimes else Verdict.VIOLATED
        elif self.stopped is not None:
            verdict = Verdict.UNKNOWN
            reached = f"{len(self.parents)} states of {machine.cpus} CPUs"
            reason = f"{self.stopped} after {reached}"
        else:
            verdict = Verdict.UNREACHABLE if sometimes else Verdict.PROVED
            if not self.parents:
                reason = "no initial state satisfies the assumptions"
        stats = {"states": len(self.parents), "transitions": self.transitions}
        stats["depth"] = len(self.layers) - 1
        if claim.trace is not None:
            stats["switches"] = context_switches(claim.trace)
        return Result(
            prop=claim.prop,
            verdict=verdict,
            cpus=machine.cpus,
            trace=claim.trace,
            reason=reason,
            seconds=claim.seconds or self.budget.elapsed,
            engine=ENGINE,
            stats=stats,
        )


def search(
    space: Space,
    props: Sequence[Property],
    budget: Budget,
    progress: Progress | None = None,
    *,
    traces: bool = True,
) -> Search:
    """Explore until every property is decided or nothing new turns up."""
    claims = [_Claim(p, _early_test(space, p)) for p in props]
    found = Search(space, claims, budget, traces)
    stuck = stuck_test(space)
    layer = space.initial()
    found.parents.update((key, None) for key in layer)
    while layer and found.stopped is None:
        found.layers.append(layer)
        _look_early(found, layer)
        if props and all(claim.decided for claim in claims):
            break
        layer = _expand(found, layer, stuck, progress)
        _conclude(found)
        if props and all(claim.decided for claim in claims):
            break
    return found


def _early_test(space: Space, prop: Property) -> Test | None:
    if prop.expectation is Expectation.ALWAYS:
        return space.test(not_(prop.formula))
    if prop.expectation is Expectation.SOMETIMES:
        return space.test(prop.formula)
    return None


def _look_early(found: Search, layer: list[Key]) -> None:
    for claim in found.claims:
        if claim.early is not None and not claim.decided:
            claim.goals = [key for key in layer if claim.early(key)]
            claim.depth = len(found.layers)
    _conclude(found)


def _expand(
    found: Search,
    layer: list[Key],
    stuck: Callable[[Key, bool], bool],
    progress: Progress | None,
) -> list[Key]:
    """The next layer. Notes what is decided by what a state can do."""
    space, parents, fresh = found.space, found.parents, list[Key]()
    late = _late_tests(found, stuck)
    few = len(parents) <= FEW_STATES
    successors = space.successors if few else found.successors
    for number, key in enumerate(layer):
        ahead = successors(key)
        found.transitions += len(ahead)
        for after in ahead:
            if after not in parents:
                parents[after] = key
                fresh.append(after)
        for claim, decides in late:
            if decides(key, bool(ahead)):
                claim.goals.append(key)
        if number & 1023 == 0 or len(parents) & 15 == 0:
            found.stopped = found.budget.exceeded(len(parents))
            if found.stopped is not None:
                return []
            if progress is not None and number & 1023 == 0:
                progress(len(parents), len(layer) - number + len(fresh))
    return fresh


def _late_tests(
    found: Search, stuck: Callable[[Key, bool], bool]
) -> list[tuple[_Claim, Callable[[Key, bool], bool]]]:
    tests: list[tuple[_Claim, Callable[[Key, bool], bool]]] = []
    for claim in found.claims:
        if claim.decided:
            continue
        match claim.prop.expectation:
            case Expectation.DEADLOCK_FREE:
                tests.append((claim, stuck))
            case Expectation.FINALLY:
                tests.append((claim, _final_test(found.space, claim.prop)))
            case Expectation.RACE_FREE if found.races.plain:
                tests.append((claim, _race_test(found.space, found.races)))
            case _:
                pass
    return tests


def _final_test(space: Space, prop: Property) -> Callable[[Key, bool], bool]:
    wrong = space.test(not_(prop.formula))
    quiescent = quiescent_test(space)
    return lambda key, moves: quiescent(key, moves) and bool(wrong(key))


def _race_test(space: Space, races: RaceFinder) -> Callable[[Key, bool], bool]:
    return lambda key, _: races.race(space.state(key)) is not None


def _conclude(found: Search) -> None:
    """Turn what the newest layer decided into traces."""
    for claim in found.claims:
        if claim.decided or not claim.goals:
            continue
        claim.decided = True
        if found.traces:
            claim.trace = shortest_trace(
                found.space,
                found.layers,
                found.parents,
                claim.goals,
                lambda: found.budget.exceeded(0) is None,
            )
            claim.reason = _why(found.space, claim)
        claim.seconds = found.budget.elapsed


def _why(space: Space, claim: _Claim) -> str | None:
    assert claim.trace is not None
    if claim.prop.expectation is Expectation.RACE_FREE:
        return RaceFinder(space.compiled).race(last_state(claim.trace))
    return None
