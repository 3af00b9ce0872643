"""Partial-order reduction: in a state, the steps of one process instance may be enough.

They are, if nobody else can get in their way, as long as the instance stands still: no
step that another instance can come to reads or writes what they write, or writes what
they read. Whatever the others do until the instance moves, they can then do as well after
its step, and to the same end. So a deadlock, and a race of two others, is found without
the other orders; a state that a claim looks for is, too, if the step cannot undo it
(`Observers`). An instance that cannot move stays so until somebody writes what it waits
for, so that only who is awake, or can be woken, counts among the others.

Steps must not be put off for ever: of the states that the chosen steps lead to, at least
one has not been reduced before. By induction over what is left of a run to the state that
is looked for, and over the states from the last one looked at to the first, no such state
is lost; a state all of whose steps were taken may come at any time. (Bosnacki, Leue, Lluch
Lafuente: Partial-Order Reduction for General State Exploring Algorithms, SPIN 2006.) All
this is about one state of an orbit as well as about any other.
"""

from __future__ import annotations

from collections.abc import Sequence

from cpuhp.engines.explicit.compile import Move
from cpuhp.engines.explicit.futures import Futures, Outlook, Seat
from cpuhp.engines.explicit.glance import Bits
from cpuhp.engines.explicit.observers import Observers
from cpuhp.engines.explicit.space import Key, Space
from cpuhp.model.system import Expectation, Property
from cpuhp.model.verdict import State

_BY_STATE = (Expectation.ALWAYS, Expectation.SOMETIMES)
_AT_REST = (Expectation.FINALLY, Expectation.DEADLOCK_FREE)
REDUCED = (*_BY_STATE, *_AT_REST, Expectation.RACE_FREE)  # are about what is reached
_MOST_KNOWN = 200_000  # choices that are remembered
_TRIAL = 500  # states that it is tried on before it is known whether it pays,
_PAYS = 0.25  # that is, whether so many of them have fewer steps;
_FIRST_PAUSE = 10_000  # else so many states are not tried


class Reduction:
    """Successors that are enough to decide the claims; runs to them are not all kept."""

    def __init__(self, space: Space, props: Sequence[Property]):
        kinds = {prop.expectation for prop in props}
        assert kinds <= set(REDUCED)
        self._space = space
        machine = space.compiled.machine
        self._owing = [machine.system.owes_progress(a) for a in machine.system.actions]
        self._must_owe = not kinds.isdisjoint(_AT_REST)
        skips = Expectation.RACE_FREE not in kinds
        self._futures = Futures(space.compiled, skips=skips)
        self._observers = Observers(machine, props)
        self._known: dict[tuple[tuple[Outlook, ...], tuple[int, ...]], tuple[int, ...]]
        self._known = {}
        self._done: set[Key] = set()  # states whose successors were asked for
        self._tried = self._reduced = self._pause = 0
        self._next_pause = _FIRST_PAUSE

    def successors(self, key: Key) -> list[Key]:
        """The keys of next states, perhaps some of them twice: as many as it takes.

        To be asked of each state once, nearest first or in any other order.
        """
        self._done.add(key)
        if self._pause:
            self._pause -= 1
            return self._space.successors(key)
        self._tried += 1
        if self._tried > _TRIAL:
            self._judge()
        state, to_key = self._space.state(key), self._space.key
        moves = [self._moves(seat, state) for seat in self._futures.seats]
        for number in self._enough(state, moves):
            ahead = [to_key(after) for _, _, after in moves[number]]
            if not self._puts_off(ahead):
                self._reduced += 1
                return ahead
        return [to_key(after) for found in moves for _, _, after in found]

    def _judge(self) -> None:
        """Where hardly a state is reduced, pause, and for twice as long each time.

        A state takes many times as long so. All steps of a state are always enough.
        """
        if self._reduced < _PAYS * self._tried:
            self._pause = self._next_pause
            self._next_pause *= 2
        self._tried = self._reduced = 0

    def _puts_off(self, ahead: Sequence[Key]) -> bool:
        """Would the others' steps be put off, perhaps for ever?"""
        return self._done.issuperset(ahead)

    def _moves(self, seat: Seat, state: State) -> list[Move]:
        out: list[Move] = []
        for take in seat.runner.table[state[seat.point]]:
            take(state, seat.actor, out)
        return out

    def _enough(self, state: State, moves: Sequence[Sequence[Move]]) -> Sequence[int]:
        """Instances whose steps are enough, if they are not put off for ever."""
        futures = self._futures
        if futures.too_many:
            return ()
        seats, look = futures.seats, futures.outlook
        seen = tuple([look(n, seat.view(state)) for n, seat in enumerate(seats)])
        awake = tuple([n for n, able in enumerate(moves) if able])
        found = self._known.get((seen, awake))
        if found is None:
            found = tuple(n for n in awake if self._is_enough(n, awake, seen))
            if len(self._known) < _MOST_KNOWN:
                self._known[seen, awake] = found
        return found

    def _is_enough(
        self, still: int, awake: Sequence[int], seen: Sequence[Outlook]
    ) -> bool:
        mine = seen[still]
        if self._must_owe and not all(self._owing[s.number] for s in mine.steps):
            return False
        reads, writes = _touched_by_others(still, awake, seen)
        if (mine.reads | mine.writes) & writes or mine.writes & reads:
            return False
        return not self._observers.mind(mine.steps, writes)


def _touched_by_others(
    still: int, awake: Sequence[int], seen: Sequence[Outlook]
) -> tuple[Bits, Bits]:
    """What is read and written, whatever happens as long as one instance stands still."""
    reads = writes = 0
    asleep = [o for n, o in enumerate(seen) if n not in awake]
    moving = [seen[n] for n in awake if n != still]
    while moving:
        for outlook in moving:
            reads |= outlook.reads_ahead
            writes |= outlook.writes_ahead
        moving = [o for o in asleep if o.enables & writes]
        asleep = [o for o in asleep if not o.enables & writes]
    return reads, writes


def can_reduce(props: Sequence[Property]) -> bool:
    """Are these claims about what is reached, not about runs?"""
    return bool(props) and all(prop.expectation in REDUCED for prop in props)
