"""Sorts whose values are named one by one, for models of every number of CPUs."""

from __future__ import annotations

from cpuhp.model.sorts import (
    NONE,
    BoolSort,
    EnumSort,
    IndexSort,
    RangeSort,
    Sort,
    is_cpu,
)
from cpuhp.model.system import TransitionSystem


def is_plain(sort: Sort) -> bool:
    """Is it of CPUs or truth values, which need no constants?"""
    return isinstance(sort, BoolSort) or is_cpu(sort)


def key(sort: Sort) -> Sort:
    """Pointers that may be none, and others, are of one sort."""
    return IndexSort(sort.name) if isinstance(sort, IndexSort) else sort


def numbers(system: TransitionSystem, sort: Sort) -> range:
    """The numbers of a finite sort's values; that of none is among them."""
    match sort:
        case EnumSort(_, names):
            return range(len(names))
        case RangeSort(low, high):
            return range(low, high + 1)
        case IndexSort(name):
            return range(NONE, dict(system.sizes)[name])
    raise AssertionError(f"not a finite sort: {sort}")
