"""Invariants for every CPU count: what may never be, for any distinct CPUs i and j.

An invariant is a set of clauses. A clause forbids a cube, a conjunction of literals
that speak of at most two symbolic hotplugged CPUs, `i` and `j`, of the control CPU and
of shared state. It is meant for all distinct i and j that are not the control CPU.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Symbol(StrEnum):
    """CPUs as a clause can see them.

    OTHER is any CPU but the control CPU and those that the clause quantifies over: in
    a clause about i alone, `lock == other` is "neither i nor the control CPU holds it".
    """

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
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Literals are keys of many tables; hashing their sets anew would dominate.
        object.__setattr__(
            self, "_hash", hash((self.variable, self.arguments, self.values))
        )

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True, slots=True)
class Clause:
    """For all distinct CPUs i, j: not all of `cube` hold at once.

    It quantifies over the `symbols` that it names only, so that a clause about i alone
    also speaks of a machine with one hotplugged CPU.
    """

    cube: tuple[Literal, ...]
    symbols: frozenset[Symbol] = field(init=False, repr=False, compare=False)  # I, J

    def __post_init__(self) -> None:
        # Asked for often, so worked out once.
        used = {
            symbol
            for symbol in (Symbol.I, Symbol.J)
            for literal in self.cube
            if symbol in literal.arguments or symbol in literal.values
        }
        object.__setattr__(self, "symbols", frozenset(used))


@dataclass(frozen=True, slots=True)
class Invariant:
    clauses: tuple[Clause, ...]
