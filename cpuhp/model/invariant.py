"""Invariants for every CPU count: what may never be, for any distinct CPUs i and j.

An invariant is a set of clauses. A clause forbids a cube, a conjunction of literals
that speak of at most two symbolic hotplugged CPUs, `i` and `j`, of the control CPU and
of shared state. It is meant for all distinct i and j that are not the control CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Symbol(Enum):
    """CPUs as a clause can see them. OTHER is any CPU that is not boot, i or j."""

    NONE = "none"
    BOOT = "boot"
    I = "i"  # noqa: E741
    J = "j"
    OTHER = "other"


NEAR = range(-3, 4)  # the differences of a counter that a clause can name
FAR = 99  # any other difference

Value = int | Symbol  # Symbol where the variable's sort is cpu, else the plain value
Argument = int | Symbol  # Symbol (BOOT, I, J) for a cpu index, number for another sort


@dataclass(frozen=True, slots=True)
class Literal:
    """`variable[arguments]` has one of `values`.

    A counter has no plain values, as it grows with the machine: its value here is its
    difference to the number of CPUs (control CPU included) with the bit that its sort
    names, one of `NEAR` or else `FAR`.
    """

    variable: str
    arguments: tuple[Argument, ...]
    values: frozenset[Value]


@dataclass(frozen=True, slots=True)
class Clause:
    """For all distinct CPUs i, j: not all of `cube` hold at once."""

    cube: tuple[Literal, ...]

    @property
    def symbols(self) -> frozenset[Symbol]:
        """The symbolic CPUs (I, J) that the clause quantifies over."""
        used: set[Symbol] = set()
        for literal in self.cube:
            used.update(a for a in literal.arguments if isinstance(a, Symbol))
            used.update(v for v in literal.values if isinstance(v, Symbol))
        if Symbol.OTHER in used:
            used |= {Symbol.I, Symbol.J}
        return frozenset(used & {Symbol.I, Symbol.J})


@dataclass(frozen=True, slots=True)
class Invariant:
    clauses: tuple[Clause, ...]
