"""Samples: views of states that machines with few CPUs reach.

They only guide the proof, so the search may stop early. It runs in the abstract
semantics that the proof uses: no order among CPUs.
"""

from __future__ import annotations

import time
from dataclasses import replace
from operator import itemgetter
from random import Random

from cpuhp.engines.explicit.compile import compile_machine
from cpuhp.engines.explicit.search import make_space
from cpuhp.engines.explicit.space import Key, Space
from cpuhp.engines.explicit.symmetry import is_symmetric
from cpuhp.engines.parametric.views import View, Views, pairs_of, relative
from cpuhp.model.expr import FALSE, TRUE, Apply, Expr, Op, Quantified, apply, quantified
from cpuhp.model.invariant import FAR, NEAR, Value
from cpuhp.model.system import Action, Order, TransitionSystem
from cpuhp.model.verdict import State
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
    views = Views(system)
    loose = without_order(system)
    until = time.monotonic() + seconds
    for count in aps:
        _explore(loose, count + 1, views, max_states, until, walks)
    views.settle()
    return views


def _explore(
    system: TransitionSystem,
    cpus: int,
    views: Views,
    limit: int,
    until: float,
    walks: int,
) -> None:
    machine = Machine(system, cpus)
    space = make_space(compile_machine(machine), is_symmetric(system))
    layer = space.initial()[:limit]
    seen = set(layer)
    projector = _Projector(machine, views)
    while layer:
        following = []
        for key in layer:
            projector.add(space.state(key))
            if len(seen) >= limit or time.monotonic() > until:
                continue
            for after in space.successors(key):
                if after not in seen:
                    seen.add(after)
                    following.append(after)
        layer = following
    if len(seen) >= limit:
        _wander(space, projector, until, walks)


def _wander(space: Space, projector: _Projector, until: float, walks: int) -> None:
    """Random runs to their end: breadth alone never sees the later phases."""
    random = Random(0)
    seen: set[Key] = set()
    for _ in range(walks):
        key = random.choice(space.initial())
        for _ in range(_WALK_STEPS):
            if key not in seen:
                seen.add(key)
                projector.add(space.state(key))
            following = space.successors(key)
            if not following or time.monotonic() > until:
                break
            key = random.choice(following)


class _Projector:
    """Adds the views of a machine's states."""

    def __init__(self, machine: Machine, views: Views):
        self.views = views
        cpus = [c for c in range(machine.cpus) if c != machine.boot]
        self.plans = [_Plan(machine, views, i, j) for i, j in pairs_of(cpus)]

    def add(self, state: State) -> None:
        """Add the views of all pairs of CPUs."""
        for plan in self.plans:
            view = plan.view(state)
            if view is not None:
                self.views.add(view)


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


__all__ = ["View", "collect_samples", "nearness", "without_order"]
