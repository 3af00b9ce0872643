"""Samples: views of states that machines with few CPUs reach.

They only guide the proof, so the search may stop early. It runs in the abstract
semantics that the proof uses: no order among CPUs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from operator import itemgetter
from random import Random

from cpuhp.engines.clock import now
from cpuhp.engines.explicit.compile import Move, Predicate
from cpuhp.engines.explicit.moves import compile_machine
from cpuhp.engines.explicit.search import make_space
from cpuhp.engines.explicit.space import Key, Space
from cpuhp.engines.explicit.symmetry import is_symmetric
from cpuhp.engines.parametric.together import Scopes, Together
from cpuhp.engines.parametric.views import View, Views, pairs_of, relative
from cpuhp.model.expr import (
    FALSE,
    TRUE,
    Apply,
    Expr,
    Op,
    Quantified,
    and_,
    apply,
    not_,
    quantified,
    reads,
)
from cpuhp.model.invariant import FAR, NEAR, Value
from cpuhp.model.system import Action, Order, Property, TransitionSystem
from cpuhp.model.verdict import State, Step, Trace
from cpuhp.semantics import Machine, holds, initial_states, is_free

_APS = (0, 1, 2, 3)
_WALKS = 100
_WALK_STEPS = 500
_PACES = 3.0  # the fastest process of a walk is up to 10 to this times as fast
_STARTS = 200  # initial states to begin with, of each machine


def collect_samples(
    system: TransitionSystem,
    *,
    max_states: int = 12_000,
    seconds: float = 60.0,
    aps: tuple[int, ...] = _APS,
    walks: int = _WALKS,
) -> Samples:
    """The views of up to `max_states` states of each small machine.

    Where there are more states, those of so many random walks are added.

    The same samples serve all properties of the system.
    """
    samples = Samples(system)
    for _ in samples.collect(max_states, walks, now() + seconds, aps):
        pass
    return samples


@dataclass(frozen=True)
class Seen:
    """A way to a state that violates a property."""

    prop: Property
    trace: Trace


class Samples:
    """The samples of one system. Whoever collects them may look out for violations.

    Proofs add views that they had to believe: `views` is where guesses come from, and
    no evidence that a state can be reached.
    """

    def __init__(
        self,
        system: TransitionSystem,
        props: tuple[Property, ...] = (),
        scopes: Scopes = (),
        seed: int = 0,
    ):
        self.system = without_order(system)
        self.seed = seed  # of the random walks
        self.scopes = scopes
        self.watched = list(props)  # those that no state violated yet
        self.symmetric = is_symmetric(system)
        self.views = Views(system)
        self.together = Together(self.views, scopes)
        self._reached: dict[int, _Reached] = {}

    def collect(
        self,
        max_states: int,
        walks: int,
        until: float,
        aps: tuple[int, ...] = _APS,
    ) -> Iterator[Seen]:
        """Look beyond so many states of each machine; yields violations.

        Each property is violated once at most. Who calls it again goes on from there.
        """
        for count in aps:
            if count not in self._reached:
                self._reached[count] = _Reached(self, count + 1)
            reached = self._reached[count]
            yield from reached.search(max_states, until)
            if not reached.complete:
                yield from reached.wander(walks, until)
        self.views.settle()


_Who = tuple[str, int | None]  # a process, and its CPU


class _Paces(dict[_Who, float]):
    """How likely each process is to take the next step of one walk, made at first use."""

    def __init__(self, random: Random):
        self.random, self.spread = random, random.uniform(0.0, _PACES)

    def __missing__(self, who: _Who) -> float:
        self[who] = pace = 10 ** self.random.uniform(0.0, self.spread)
        return pace


class _Reached:
    """The reachable states of one machine, as far as somebody asked for them."""

    def __init__(self, samples: Samples, cpus: int):
        self.machine = Machine(samples.system, cpus)
        self.compiled = compile_machine(self.machine)
        self.space: Space = make_space(self.compiled, samples.symmetric)
        self.projector = _Projector(self.machine, samples.views, samples.together)
        self.random = Random(samples.seed)
        self.walked: set[Key] = set()
        self.complete = False
        self._came: dict[Key, Key | None] = {}
        self._later: deque[Key] = deque()
        self._sooner: list[Key] = []
        self._tied = frozenset[str]().union(*map(reads, samples.system.assumptions))
        self.watched = samples.watched
        self._watch()

    def _watch(self) -> None:
        claimed = and_(*(prop.formula for prop in self.watched))
        self.bad: Predicate = self.compiled.predicate(not_(claimed))

    def _violated(self, state: State, path: Callable[[], list[Key]]) -> Iterator[Seen]:
        """The properties that the state violates; they are watched no longer."""
        for prop in list(self.watched):
            if not holds(self.machine, prop.formula, state):
                self.watched.remove(prop)
                yield Seen(prop, self._trace(path()))
        self._watch()

    def search(self, limit: int, until: float) -> Iterator[Seen]:
        """Look beyond `limit` states, at what is new first.

        A state is new if it has two values that no state before had together: most
        clauses are about two values.
        """
        came, later, sooner = self._came, self._later, self._sooner
        if not came:
            first = self._starts()
            came.update(dict.fromkeys(first))
            later.extend(first)
            for key in first:
                self.projector.add(self.space.state(key))
        for _ in range(limit):
            if not later and not sooner:
                self.complete = True
                return
            if now() > until:
                return
            key = sooner.pop() if sooner else later.popleft()
            for after in self.space.successors(key):
                if after not in came:
                    came[after] = key
                    state = self.space.state(after)
                    if self.bad(state):
                        yield from self._violated(state, partial(_way, came, after))
                    new = self.projector.add(state)
                    (sooner if new else later).append(after)

    def wander(self, walks: int, until: float) -> Iterator[Seen]:
        """Random runs to their end, in which each process has a pace of its own.

        The search above never sees the later phases of a large machine; and if all are
        as likely to take the next step, nobody falls far behind.
        """
        starts = self._starts()
        for _ in range(walks):
            state = self.space.state(self.random.choice(starts))
            path: list[Key] = []
            paces = _Paces(self.random)
            for _ in range(_WALK_STEPS):
                path.append(self.space.key(state))
                if path[-1] not in self.walked:
                    self.walked.add(path[-1])
                    self.projector.add(state)
                    if self.bad(state):
                        yield from self._violated(state, path.copy)
                moves = self.compiled.moves(state)
                if not moves or now() > until:
                    break
                weights = [paces[self._who(move)] for move in moves]
                ((_, _, state),) = self.random.choices(moves, weights)

    def _who(self, move: Move) -> _Who:
        number, binding, _ = move
        action = self.machine.system.actions[number]
        return action.process, binding[0] if action.actor else None

    def _starts(self) -> list[Key]:
        """The initial states, or some of them at random if there are many."""
        machine = self.machine
        states = list(islice(initial_states(machine), _STARTS + 1))
        if len(states) > _STARTS:
            states = list(self._random_starts())
        return list(dict.fromkeys(self.space.key(state) for state in states))

    def _random_starts(self) -> Iterator[State]:
        """Values at random; those that an assumption ties together as they may be."""
        machine, tied = self.machine, self._tied
        free = [
            (cell, machine.values(variable.sort), variable.name in tied)
            for cell, (variable, _) in enumerate(machine.cells)
            if is_free(variable)
        ]
        first = {cell: values[0] for cell, values, is_tied in free if not is_tied}
        some = list(islice(initial_states(machine, first), _STARTS))
        for _ in range(_STARTS if some else 0):
            like = self.random.choice(some)
            given = {
                cell: like[cell] if is_tied else self.random.choice(values)
                for cell, values, is_tied in free
            }
            yield from islice(initial_states(machine, given), 1)

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
        # Two CPUs are looked at both ways or not at all: one way tells if that is new.
        both: dict[frozenset[int | None], list[_Plan]] = {}
        for i, j in pairs_of(cpus):
            both.setdefault(frozenset((i, j)), []).append(_Plan(machine, views, i, j))
        self.plans = [*both.values()]
        self._seen: list[set[tuple[int, ...]]] = [set() for _ in self.plans]

    def add(self, state: State) -> bool:
        """Add the views of all pairs of CPUs. Has one two values new together?"""
        new = False
        for plans, seen in zip(self.plans, self._seen):
            raw = plans[0].look(state)
            if raw in seen:
                continue
            seen.add(raw)
            for plan in plans:
                view = plan.view(state)
                if self.views.add(view):
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

    def look(self, state: State) -> tuple[int, ...]:
        """All that the view is made of, whichever of the two CPUs is i."""
        return self._look(state)[:-2] if state else ()

    def view(self, state: State) -> View:
        """The view of the state."""
        raw = self.look(state)
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
    "Samples",
    "Seen",
    "View",
    "collect_samples",
    "nearness",
    "without_order",
]
