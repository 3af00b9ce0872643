"""Which values are seen together: pairs of components that no sample has.

Most of an invariant about concurrent code relates two things: the program point of one
CPU and a flag, two program points, a flag and a lock. All such relations are read off the
samples at once; a state of z3's is compared with them in a few operations.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import compress, count
from operator import ne

from cpuhp.engines.parametric.views import (
    View,
    Views,
    canonical,
    clause_of,
    contradicted,
    swapped,
    widen,
)
from cpuhp.model.invariant import Clause, Symbol, Value

Scopes = tuple[frozenset[str], ...]  # variables that may have to do with each other
Pair = tuple[int, int]  # numbers of two components, the lower one first


class Together:
    """The pairs of values that some sample has; grows with the samples.

    Variables that are in none of the `scopes` together are not expected to be related:
    their values count as seen together.
    """

    def __init__(self, views: Views, scopes: Scopes = ()):
        views.settle()
        self.views = views
        self._apart = _apart(views, scopes)
        self._number: list[dict[Value, int]] = []
        self._owner: list[tuple[int, Value]] = []
        for part, column in enumerate(views.bits):
            numbers: dict[Value, int] = {}
            for value in column:
                numbers[value] = len(self._owner)
                self._owner.append((part, value))
            self._number.append(numbers)
        self._with = [0] * len(self._owner)
        self._fill()
        self._clauses: dict[tuple[int, Value, int, Value], Clause | None] = {}
        self._last: View = (None,) * len(views.layout)
        self._mask = 0  # of the values of the last sample

    def _fill(self) -> None:
        columns = [self.views.bits[part][value] for part, value in self._owner]
        for a, (first, _) in enumerate(self._owner):
            found, samples = 1 << a, columns[a]
            for b in range(a):
                other = self._owner[b][0]
                seen = samples & columns[b] or other in self._apart[first]
                if other != first and seen:
                    found |= 1 << b
                    self._with[b] |= 1 << a
            self._with[a] |= found

    def add(self, view: View) -> bool:
        """A new sample. Has it two values that no sample before had together?"""
        self._clauses.clear()
        changed = []
        # What did not change since the last sample was together in that one.
        for part in compress(count(), map(ne, view, self._last)):
            before, value = self._last[part], view[part]
            if before is not None:
                self._mask ^= 1 << self._number[part][before]
            if value is not None:
                if value not in self._number[part]:
                    self._begin(part, value)
                changed.append(self._number[part][value])
                self._mask ^= 1 << changed[-1]
        self._last = view
        mask, new = self._mask, False
        for number in changed:
            missing = mask & ~self._with[number]
            if missing:
                self._with[number] |= mask
                for other in _bits(missing):
                    self._with[other] |= 1 << number
                new = True
        return new

    def _begin(self, part: int, value: Value) -> None:
        """A component has a value that no sample had."""
        number = self._number[part][value] = len(self._owner)
        together = 0
        for other, (owner, _) in enumerate(self._owner):
            if owner in self._apart[part]:
                together |= 1 << other
                self._with[other] |= 1 << number
        self._owner.append((part, value))
        self._with.append(together)

    def strange(self, view: View) -> list[Pair]:
        """Pairs of components whose values no sample has together."""
        numbers = [
            self._number[part][value]
            for part, value in enumerate(view)
            if value is not None and value in self._number[part]
        ]
        mask = 0
        for number in numbers:
            mask |= 1 << number
        found = []
        for number in numbers:
            missing = mask & ~self._with[number] & ((1 << number) - 1)
            part = self._owner[number][0]
            found += [(self._owner[other][0], part) for other in _bits(missing)]
        return found

    def clause(self, view: View, pair: Pair) -> Clause | None:
        """A wide clause that forbids these two values of the view."""
        a, b = pair
        va, vb = view[a], view[b]
        assert va is not None and vb is not None
        key = (a, va, b, vb)
        if key not in self._clauses:
            cube = [(a, frozenset((va,))), (b, frozenset((vb,)))]
            clause = ordered(clause_of(self.views, widen(self.views, cube), view))
            wrong = contradicted(self.views, clause)
            self._clauses[key] = None if wrong else clause
        return self._clauses[key]


def _bits(mask: int) -> Iterator[int]:
    """The numbers of the bits that are set, lowest first."""
    while mask:
        low = mask & -mask
        mask ^= low
        yield low.bit_length() - 1


def _apart(views: Views, scopes: Scopes) -> list[frozenset[int]]:
    """For each component those that are never in one scope with it."""
    if not scopes:
        return [frozenset()] * len(views.layout)
    names = {part.variable for part in views.layout}
    near = {
        name: frozenset[str]().union(*(scope for scope in scopes if name in scope))
        for name in names
    }
    return [
        frozenset(
            number
            for number, other in enumerate(views.layout)
            if other.variable not in near[part.variable]
        )
        for part in views.layout
    ]


def ordered(clause: Clause) -> Clause:
    """The one of two clauses that say the same of (i, j) and of (j, i)."""
    clause = canonical(clause)
    if clause.symbols != {Symbol.I, Symbol.J}:
        return clause
    other = swapped(clause)
    return min(clause, other, key=_text)


def _text(clause: Clause) -> list[str]:
    return sorted(
        f"{lit.variable}{lit.arguments}{sorted(map(str, lit.values))}"
        for lit in clause.cube
    )
