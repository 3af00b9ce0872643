"""Data races, by nothing but docs/language.md: what each step reads and writes.

The steps of second_reading.py are taken in a state that notes it. A cell is the name of a
variable, and the CPU or other element whose it is.
"""

from __future__ import annotations

from itertools import combinations

from second_reading import Reached, State, steps

Cells = set[tuple[str, int | None]]


class Noted(dict):
    """A state that notes which cells are read, and which are written."""

    def __init__(self, values: State, plain: frozenset[str]):
        super().__init__(values)
        self.plain = plain
        self.read: Cells = set()
        self.written: Cells = set()

    def __getitem__(self, name):
        value = super().__getitem__(name)
        if name not in self.plain:
            return value
        if isinstance(value, tuple):
            return Row(value, name, self)
        self.read.add((name, None))
        return value

    def __or__(self, other):
        after = Noted({**self, **{k: _values(v) for k, v in other.items()}}, self.plain)
        after.read |= self.read
        after.written |= self.written
        for name in self.plain & other.keys():
            value = other[name]
            if isinstance(value, Row):
                after.written |= value.written
            elif isinstance(value, tuple):
                after.written |= {(name, at) for at in range(len(value))}
            else:
                after.written.add((name, None))
        return after

    def named(self, name, value):
        """The same, where a name stands for an element."""
        inner = Noted({**self, name: value}, self.plain)
        inner.read, inner.written = self.read, self.written
        return inner

    def without(self, gone):
        after = self | {}
        for name in gone:
            after.pop(name, None)
        return after


def _values(value):
    return tuple(tuple.__iter__(value)) if isinstance(value, Row) else value


class Row(tuple):
    """The values that a variable has for all elements."""

    def __new__(cls, values, name, state, written=frozenset()):
        row = super().__new__(cls, values)
        row.name, row.state, row.written = name, state, written
        return row

    def __getitem__(self, at):
        if isinstance(at, int):
            self.state.read.add((self.name, at))
        return super().__getitem__(at)

    def __iter__(self):
        self.state.read |= {(self.name, at) for at in range(len(self))}
        return super().__iter__()

    def changed(self, at, value):
        values = (*self[:at], value, *self[at + 1 :])
        return Row(values, self.name, self.state, self.written | {(self.name, at)})


def races(found: list[Reached], plain: frozenset[str]) -> bool:
    """Can two processes be about to access the same plain cell, and one to write it?"""
    return any(_races(one, plain) for one in found)


def _races(one: Reached, plain: frozenset[str]) -> bool:
    used = [_cells(one, at, plain) for at in {who for who, _ in one.after}]
    return any(a[1] & (b[0] | b[1]) or b[1] & a[0] for a, b in combinations(used, 2))


def _cells(one: Reached, at: int, plain: frozenset[str]) -> tuple[Cells, Cells]:
    read: Cells = set()
    written: Cells = set()
    for _, state in steps(one.threads, at, Noted(one.shared, plain)):
        read |= state.read
        written |= state.written
    return read, written
