"""Samples: views of states that machines with few CPUs reach.

They only guide the proof, so the search may stop early. It runs in the abstract
semantics that the proof uses: no order among CPUs.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from operator import itemgetter
from random import Random

from cpuhp.engines.explicit.compile import Predicate, compile_machine
from cpuhp.engines.explicit.search import make_space
from cpuhp.engines.explicit.space import Key, Space
from cpuhp.engines.explicit.symmetry import is_symmetric
from cpuhp.engines.parametric.together import Together
from cpuhp.engines.parametric.views import View, Views, pairs_of, relative
from cpuhp.model.expr import (
    FALSE,
    TRUE,
    Apply,
    Expr,
    Op,
    Quantified,
    apply,
    not_,
    quantified,
)
from cpuhp.model.invariant import FAR, NEAR, Value
from cpuhp.model.system import Action, Order, Property, TransitionSystem
from cpuhp.model.verdict import State, Step, Trace
from cpuhp.semantics import Machine

_APS = (0, 1, 2, 3)
_WALKS = 100
_WALK_STEPS = 500


def collect_samples(
    system: TransitionSystem,
    *,
    max_states: int = 12_000,
    seconds: float = 60.0,
    aps: tuple[int, ...] = _APS,
    walks: int = _WALKS,
) -> Views:
    """The views of up to `max_states` states of each small machine.

    Where there are more states, those of so many random walks are added.

    The same samples serve all properties of the system.
    """
    samples = Samples(system)
    for _ in samples.collect(max_states, walks, time.monotonic() + seconds, aps):
        pass
    return samples.views


class Samples:
    """The samples of one system. Whoever collects them may look out for violations."""

    def __init__(self, system: TransitionSystem, prop: Property | None = None):
        self.system = without_order(system)
        self.prop = prop
        self.symmetric = is_symmetric(system)
        self.views = Views(system)
        self.together = Together(self.views)

    def collect(
        self,
        max_states: int,
        walks: int,
        until: float,
        aps: tuple[int, ...] = _APS,
    ) -> Iterator[Trace]:
        """Look beyond so many states of each machine; yields violations of `prop`."""
        for count in aps:
            reached = _Reached(self, count + 1)
            trace = reached.search(max_states, until)
            if trace is None and not reached.complete:
                trace = reached.wander(walks, until)
            if trace is not None:
                yield trace
        self.views.settle()


class MoreSamples:
    """More and more random walks of machines of a size that walks suit."""

    def __init__(self, system: TransitionSystem, views: Views, together: Together):
        samples = Samples(system)
        samples.views, samples.together = views, together
        self.reached = [_Reached(samples, count + 1) for count in _APS[-2:]]

    def collect(self, walks: int, until: float) -> None:
        """Add the views of so many walks of each machine."""
        for reached in self.reached:
            reached.wander(walks, until)


class _Reached:
    """The reachable states of one machine, as far as somebody asked for them."""

    def __init__(self, samples: Samples, cpus: int):
        self.machine = Machine(samples.system, cpus)
        self.compiled = compile_machine(self.machine)
        self.space: Space = make_space(self.compiled, samples.symmetric)
        self.projector = _Projector(self.machine, samples.views, samples.together)
        self.random = Random(0)
        self.walked: set[Key] = set()
        self.complete = False
        self.bad: Predicate | None = None
        if samples.prop is not None:
            self.bad = self.compiled.predicate(not_(samples.prop.formula))

    def search(self, limit: int, until: float) -> Trace | None:
        """Look beyond `limit` states, at what is new first, or until a violation.

        A state is new if it has two values that no state before had together: most
        clauses are about two values.
        """
        first = self.space.initial()[: max(1, limit)]
        came: dict[Key, Key | None] = dict.fromkeys(first)
        for key in first:
            self.projector.add(self.space.state(key))
        later = deque(first)
        sooner: list[Key] = []
        for _ in range(limit):
            if not later and not sooner:
                self.complete = True
                return None
            if time.monotonic() > until:
                return None
            key = sooner.pop() if sooner else later.popleft()
            for after in self.space.successors(key):
                if after not in came:
                    came[after] = key
                    state = self.space.state(after)
                    if self.bad is not None and self.bad(state):
                        return self._trace(_way(came, after))
                    new = self.projector.add(state)
                    (sooner if new else later).append(after)
        return None

    def wander(self, walks: int, until: float) -> Trace | None:
        """Random runs to their end, or to a violation.

        The search above never sees the later phases of a large machine.
        """
        starts = self.space.initial()
        for _ in range(walks):
            path = [self.random.choice(starts)]
            for _ in range(_WALK_STEPS):
                key = path[-1]
                if key not in self.walked:
                    self.walked.add(key)
                    state = self.space.state(key)
                    self.projector.add(state)
                    if self.bad is not None and self.bad(state):
                        return self._trace(path)
                following = self.space.successors(key)
                if not following or time.monotonic() > until:
                    break
                path.append(self.random.choice(following))
        return None

    def _trace(self, path: list[Key]) -> Trace:
        """The way along these keys, as steps of one machine."""
        start = state = self.space.state(path[0])
        steps = []
        for key in path[1:]:
            number, binding, state = next(
                move
                for move in self.compiled.moves(state)
                if self.space.key(move[2]) == key
            )
            steps.append(Step(self.machine.system.actions[number], binding, state))
        return Trace(self.machine.cpus, self.machine.boot, start, tuple(steps))


def _way(came: dict[Key, Key | None], last: Key) -> list[Key]:
    path = [last]
    while (before := came[path[-1]]) is not None:
        path.append(before)
    return path[::-1]


class _Projector:
    """Adds the views of a machine's states."""

    def __init__(self, machine: Machine, views: Views, together: Together):
        self.views, self.together = views, together
        cpus = [c for c in range(machine.cpus) if c != machine.boot]
        self.plans = [_Plan(machine, views, i, j) for i, j in pairs_of(cpus)]

    def add(self, state: State) -> bool:
        """Add the views of all pairs of CPUs. Has one two values new together?"""
        new = False
        for plan in self.plans:
            view = plan.view(state)
            if view is not None and self.views.add(view):
                new = self.together.add(view) or new
        return new


class _Plan:
    """How to look at the states of a machine with two of its CPUs as i and j."""

    def __init__(self, machine: Machine, views: Views, i: int | None, j: int | None):
        self._names: dict[int, Value] = {
            cpu: relative(cpu, machine.boot, i, j) for cpu in range(-1, machine.cpus)
        }
        where: dict[tuple[str, tuple[int | None, ...]], int] = {
            (variable.name, indices): cell
            for cell, (variable, indices) in enumerate(machine.cells)
        }
        cells: list[int] = []
        self._absent: list[int] = []
        self._pointers: list[int] = []
        self._counters: list[tuple[int, list[int]]] = []
        for number, part in enumerate(views.layout):
            cell = where.get((part.variable, views.place(part, machine.boot, i, j)))
            if cell is None:
                self._absent.append(number)
            elif part.pointer:
                self._pointers.append(number)
            elif part.mask:
                counted = [where[part.mask, (c,)] for c in range(machine.cpus)]
                self._counters.append((number, counted))
            cells.append(cell or 0)
        extra = {c for _, counted in self._counters for c in counted}
        self._size = len(cells)
        looked_at = [*cells, *sorted(extra), 0, 0]
        self._look = itemgetter(*looked_at)
        self._seen: set[tuple[int, ...]] = set()

    def view(self, state: State) -> View | None:
        """The view of the state; None if it was seen before."""
        raw = self._look(state)[:-2] if state else ()
        if raw in self._seen:
            return None
        self._seen.add(raw)
        view: list[Value | None] = list(raw[: self._size])
        for number in self._pointers:
            view[number] = self._names[raw[number]]
        for number, counted in self._counters:
            difference = raw[number] - sum(state[c] for c in counted)
            view[number] = nearness(difference)
        for number in self._absent:
            view[number] = None
        return tuple(view)


def nearness(difference: int) -> int:
    """A counter's difference as a view holds it."""
    return difference if difference in NEAR else FAR


def without_order(system: TransitionSystem) -> TransitionSystem:
    """The system in which no choice and no condition looks at the order of ids."""
    return replace(system, actions=tuple(_unordered(a) for a in system.actions))


def _unordered(action: Action) -> Action:
    choices = tuple(
        replace(c, among=_drop_order(c.among, True), order=Order.ANY)
        for c in action.choices
    )
    return replace(action, choices=choices, guard=_drop_order(action.guard, True))


def _drop_order(expr: Expr, positive: bool) -> Expr:
    """Weaken a condition: what it says about order becomes what helps it."""
    if isinstance(expr, Quantified):
        body = _drop_order(expr.body, positive)
        return quantified(expr.kind, expr.param, body)
    if not isinstance(expr, Apply):
        return expr
    match expr.op:
        case Op.BEFORE:
            return TRUE if positive else FALSE
        case Op.NOT:
            return apply(Op.NOT, (_drop_order(expr.args[0], not positive),), expr.sort)
        case Op.AND | Op.OR:
            args = tuple(_drop_order(a, positive) for a in expr.args)
            return apply(expr.op, args, expr.sort)
        case _:
            return expr


__all__ = [
    "MoreSamples",
    "Samples",
    "View",
    "collect_samples",
    "nearness",
    "without_order",
]
