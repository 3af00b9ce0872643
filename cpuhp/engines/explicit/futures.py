"""What each process instance can do from where it stands, whatever the others do.

Of a state, an instance's *view* is what nobody else ever writes: its program point, its
own variables, constants. Everything else may have any value. So the views that it can
come to are few, and for each of them there is a set of cells that it may still read, and
one that it may still write, before it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

from cpuhp.engines.explicit.glance import Bits, Env, Glance, Values
from cpuhp.engines.explicit.moves import Compiled, Runner, getter
from cpuhp.model.expr import clamp
from cpuhp.model.system import Action, Assign
from cpuhp.model.verdict import State

View = tuple[int | None, ...]  # values of the instance's cells; None: not known
Put = tuple[Bits, int | None, bool]  # cells, value if known, whether surely written
_EVERYTHING: Bits = -1
_MOST_VIEWS = 20_000  # of all instances; then nothing is known any more


@dataclass(frozen=True, slots=True)
class Possible:
    """An action that an instance may be able to take, as far as its view tells.

    `enables` are the cells that decide whether it can, `sets` what each assignment does.
    """

    number: int
    reads: Bits
    writes: Bits
    enables: Bits
    sets: tuple[Put, ...]
    after: tuple[View, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Outlook:
    """The next steps of an instance, the cells of all of them, and of all later ones."""

    steps: tuple[Possible, ...]
    reads: Bits
    writes: Bits
    enables: Bits
    reads_ahead: Bits
    writes_ahead: Bits


@dataclass(frozen=True, slots=True)
class Seat:
    """A process instance, and the cells that it alone writes or nobody."""

    runner: Runner
    actor: int  # -1: a process that runs once
    point: int  # the cell of its program point
    cells: tuple[int, ...]
    view: Callable[[State], View]  # what the instance knows in a state


class Futures:
    """Steps and futures of all instances of a machine, found when they are needed.

    With `skips`, cells do not count that need not be looked at, as an instance's own
    cells decide; a data race may be about them nevertheless.
    """

    def __init__(self, compiled: Compiled, *, skips: bool = True):
        self._machine = compiled.machine
        self._glance = Glance(compiled.machine, skips)
        self._known: dict[tuple[int, View], tuple[Possible, ...]] = {}
        self._ahead: dict[tuple[int, View], tuple[Bits, Bits]] = {}
        self.seats = tuple(self._seats(compiled))
        self._outlooks: list[dict[View, Outlook]] = [{} for _ in self.seats]

    def _seats(self, compiled: Compiled) -> Iterator[Seat]:
        all_ = [
            (r, actor, cell) for r in compiled.runners for actor, cell in r.instances
        ]
        touched = [self._touched(runner, actor) for runner, actor, _ in all_]
        for number, (runner, actor, point) in enumerate(all_):
            mine = touched[number][0] | 1 << point
            for other, (_, writes) in enumerate(touched):
                if other != number:
                    mine &= ~writes
            cells = [c for c in range(mine.bit_length()) if mine >> c & 1]
            yield Seat(runner, actor, point, tuple(cells), getter(cells))

    def _touched(self, runner: Runner, actor: int) -> tuple[Bits, Bits]:
        """All cells that an instance may ever read, and those it may ever write."""
        reads = writes = 0
        for number in sorted(set().union(*runner.rows)):
            for step in self._outcomes(number, actor, {}):
                reads |= step[0]
                writes |= step[1]
        return reads, writes

    def _steps_from(self, number: int, view: View) -> tuple[Possible, ...]:
        found = self._known.get((number, view))
        if found is None:
            found = self._known[number, view] = tuple(self._steps(number, view))
        return found

    def _steps(self, number: int, view: View) -> Iterator[Possible]:
        seat = self.seats[number]
        known = dict(zip(seat.cells, view))
        point = known.get(seat.point)
        rows = seat.runner.rows
        able = sorted(set().union(*rows)) if point is None else rows[point]
        for action in able:
            reads = writes = enables = 0
            sets: dict[Put, None] = {}
            after: dict[View, None] = {}
            for seen, put, decides, values in self._outcomes(action, seat.actor, known):
                reads |= seen
                writes |= put
                enables |= decides
                sets.update(dict.fromkeys(values))
                after[self._after(seat, known, values)] = None
            if after:
                yield Possible(
                    action, reads, writes, enables, tuple(sets), tuple(after)
                )

    def _outcomes(
        self, number: int, actor: int, known: Values
    ) -> Iterator[tuple[Bits, Bits, Bits, list[Put]]]:
        """For each choice that may be made: reads, writes, what enables it, and sets."""
        action = self._machine.system.actions[number]
        elements = [self._machine.elements(c.param.sort) for c in action.choices]
        enables = 0
        possible: list[Env] = []
        for chosen in product(*elements):
            env = {c.param: e for c, e in zip(action.choices, chosen)}
            if action.actor:
                env[action.actor] = actor
            tests = [*(c.among for c in action.choices), action.guard]
            for test in tests:
                value, seen = self._glance.at(test, env, known)
                enables |= seen
                if value is not None and not value:
                    break
            else:
                possible.append(env)
        for chosen_env in possible:
            reads, sets = self._effects(action, chosen_env, known)
            writes = 0
            for cells, _, _ in sets:
                writes |= cells
            yield reads | enables, writes, enables, sets

    def _effects(
        self, action: Action, env: Env, known: Values
    ) -> tuple[Bits, list[Put]]:
        reads = 0
        sets: list[Put] = []
        for effect in action.effects:
            for bound in self._bound(effect):
                here = {**env, **dict(zip(effect.bound, bound))}
                cells, alone, seen = self._glance.cells(
                    effect.variable, effect.indices, here, known
                )
                value, more = self._glance.at(effect.value, here, known)
                if value is not None:
                    sort = self._machine.system.variable(effect.variable).sort
                    value = clamp(value, sort)
                reads |= seen | more
                sets.append((cells, value, alone))
        return reads, sets

    def _bound(self, effect: Assign) -> Iterator[tuple[int, ...]]:
        return product(*(self._machine.elements(p.sort) for p in effect.bound))

    def _after(self, seat: Seat, known: Values, sets: list[Put]) -> View:
        now = dict(known)
        for cells, value, alone in sets:
            for cell in seat.cells:
                if cells >> cell & 1:
                    now[cell] = value if alone or now[cell] == value else None
        return tuple([now[cell] for cell in seat.cells])

    @property
    def too_many(self) -> bool:
        """Have there been so many views that looking on does not pay?"""
        return len(self._known) > _MOST_VIEWS

    def outlook(self, number: int, view: View) -> Outlook:
        """What an instance can do from a view."""
        found = self._outlooks[number].get(view)
        if found is None:
            if (number, view) not in self._ahead:
                self._look_ahead(number, view)
            steps, ahead = self._steps_from(number, view), self._ahead[number, view]
            reads = writes = enables = 0
            for step in steps:
                reads |= step.reads
                writes |= step.writes
                enables |= step.enables
            found = Outlook(steps, reads, writes, enables, *ahead)
            self._outlooks[number][view] = found
        return found

    def _look_ahead(self, number: int, start: View) -> None:
        order, sums = [start], {start: (0, 0)}
        for view in order:
            if self.too_many:
                self._ahead[number, start] = _EVERYTHING, _EVERYTHING
                return
            for after in self._next(number, view):
                if after not in sums:
                    sums[after] = 0, 0
                    order.append(after)
        changed = True
        while changed:
            changed = False
            for view in reversed(order):
                reads, writes = sums[view]
                for step in self._steps_from(number, view):
                    reads |= step.reads
                    writes |= step.writes
                    for after in step.after:
                        more = sums.get(after) or self._ahead[number, after]
                        reads |= more[0]
                        writes |= more[1]
                if (reads, writes) != sums[view]:
                    sums[view] = reads, writes
                    changed = True
        for view, touched in sums.items():
            self._ahead[number, view] = touched

    def _next(self, number: int, view: View) -> Iterator[View]:
        for step in self._steps_from(number, view):
            for after in step.after:
                if (number, after) not in self._ahead:
                    yield after
