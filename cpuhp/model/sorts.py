"""The sorts of values. Every value is an int, so all engines agree by construction.

bool: 0 or 1. enum: index of the value. range: the number itself. index sort:
number of the element from 0; `NONE` (-1) is the null pointer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

NONE = -1


@dataclass(frozen=True, slots=True)
class BoolSort:
    def __str__(self) -> str:
        return "bool"


@dataclass(frozen=True, slots=True)
class EnumSort:
    """Finite set of named values, ordered as declared."""

    name: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return self.name

    def __hash__(self) -> int:
        # Program points have hundreds of names, and each constant names its sort.
        return hash((self.name, len(self.values)))


@dataclass(frozen=True, slots=True)
class RangeSort:
    """Integers low..high; arithmetic that leaves the range stops at its end."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"int {self.low}..{self.high}"


@dataclass(frozen=True, slots=True)
class CounterSort:
    """A count of CPUs: as large as the machine, so without a bound of its own.

    `mask` names the per-CPU bool whose set bits the counter is meant to count.
    """

    mask: str

    def __str__(self) -> str:
        return f"counter of {self.mask}"


@dataclass(frozen=True, slots=True)
class IndexSort:
    """Elements of a symmetric sort ("cpu", "irq", ...); nullable ones admit NONE."""

    name: str
    nullable: bool = False

    def __str__(self) -> str:
        return self.name + ("?" if self.nullable else "")


Sort = BoolSort | EnumSort | RangeSort | CounterSort | IndexSort

BOOL = BoolSort()
CPU = IndexSort("cpu")
CPU_OR_NONE = IndexSort("cpu", nullable=True)


def is_cpu(sort: Sort) -> TypeGuard[IndexSort]:
    """Are its values CPUs (or none, where the sort is nullable)?"""
    return isinstance(sort, IndexSort) and sort.name == CPU.name


def values_of(sort: Sort, sizes: dict[str, int]) -> range:
    """All values of a sort, when index sort `s` has `sizes[s]` elements."""
    match sort:
        case BoolSort():
            return range(2)
        case EnumSort(_, names):
            return range(len(names))
        case RangeSort(low, high):
            return range(low, high + 1)
        case CounterSort():
            return range(-2, sizes["cpu"] + 3)
        case IndexSort(name, nullable):
            return range(NONE if nullable else 0, sizes[name])


def format_value(sort: Sort, value: int) -> str:
    """A value as the spec writes it."""
    match sort:
        case BoolSort():
            return "true" if value else "false"
        case EnumSort(_, names):
            return names[value]
        case IndexSort() if value == NONE:
            return "none"
        case IndexSort(name):
            return f"{name}{value}" if name != "cpu" else f"CPU{value}"
        case _:
            return str(value)
