"""Numbers of CPUs where only few are told apart: nothing that can be is excluded."""

from itertools import product

import pytest

from cpuhp.engines.expressions import (
    MANY,
    UNKNOWN,
    _order,
    _stopped,
    shift,
)
from cpuhp.model.expr import Op, clamp
from cpuhp.model.invariant import FAR, NEAR
from cpuhp.model.sorts import RangeSort

ALL = range(-12, 13)
VALUES = [*NEAR, -6, -5, 3, 4, 5, 6, FAR, MANY, UNKNOWN]
SORTS = [RangeSort(0, 3), RangeSort(-1, 2), RangeSort(0, 12), RangeSort(-12, 12)]
HOLDS = {Op.EQ: int.__eq__, Op.LT: int.__lt__, Op.LE: int.__le__}


def numbers(value):
    """What a value stands for; those beyond twelve behave like twelve."""
    if value == MANY:
        return range(4, 13)
    if value == FAR:
        return [n for n in ALL if n not in NEAR]
    return ALL if value == UNKNOWN else [value]


def only(values):
    assert list(values.values()) == [True]
    return next(iter(values))


@pytest.mark.parametrize("sign", [1, -1])
def test_what_a_sum_can_be(sign):
    for a, b in product(VALUES, VALUES):
        found = numbers(only(shift({a: True}, {b: True}, sign)))
        sums = {x + sign * y for x in numbers(a) for y in numbers(b)}
        assert {n for n in sums if n in ALL} <= set(found), (a, b)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("sort", SORTS, ids=str)
def test_what_a_sum_can_be_within_a_range(sort, sign):
    exact = 0
    for a, b in product(VALUES, VALUES):
        value = only(_stopped({a: True}, {b: True}, sign, sort))
        sums = {clamp(x + sign * y, sort) for x in numbers(a) for y in numbers(b)}
        assert sums <= set(numbers(value)), (a, b)
        exact += value != UNKNOWN and len(sums) == 1
    assert exact > 20


@pytest.mark.parametrize("op", HOLDS)
def test_how_two_numbers_can_compare(op):
    decided = 0
    for a, b in product(VALUES, VALUES):
        found = {HOLDS[op](x, y) for x in numbers(a) for y in numbers(b)}
        said = _order(op, a, b)
        assert said is None or found == {said}, (a, b)
        decided += said is not None
    assert decided > 100
