"""Minimal sets against brute force, and the content of a system."""

from dataclasses import replace
from itertools import combinations
from random import Random

import pytest

from cpuhp.api import load
from cpuhp.ordering.content import content_of
from cpuhp.ordering.minimal import minimal_sets, smallest, unions
from cpuhp.ordering.questions import Bound, key_of, questions, sliced
from cpuhp.ordering.variant import variant_of

NAMES = ("a", "b", "c", "d", "e", "f")


def subsets(names):
    return [
        frozenset(some)
        for size in range(len(names) + 1)
        for some in combinations(names, size)
    ]


@pytest.mark.parametrize("seed", range(30))
def test_all_minimal_sets_are_those_of_brute_force(seed):
    chance = Random(seed)
    wanted = [frozenset(chance.sample(NAMES, chance.randint(1, 4))) for _ in range(3)]

    def enough(chosen):
        return any(one <= chosen for one in wanted)

    found = minimal_sets(NAMES, lambda sets: [enough(s) for s in sets])
    good = [s for s in subsets(NAMES) if enough(s)]
    bad = [s for s in subsets(NAMES) if not enough(s)]
    assert set(found.sufficient) == {s for s in good if not any(o < s for o in good)}
    assert set(found.insufficient) == {s for s in bad if not any(o > s for o in bad)}
    assert found.complete


def test_what_is_not_known_is_not_called_complete():
    found = minimal_sets(
        ("a", "b"), lambda sets: [None if len(s) < 2 else True for s in sets]
    )
    assert not found.complete


def test_the_smallest_part_that_still_does_it():
    assert smallest(NAMES, lambda left: {"b", "e"} <= left) == {"b", "e"}


def test_unions_take_one_of_each_family():
    families = [[frozenset("a"), frozenset("b")], [frozenset("b")]]
    assert unions(families) == [frozenset("b")]


@pytest.fixture(scope="module")
def checker():
    return variant_of(load("shutdown-serial").program, {}).checker()


def question(checker, name):
    return next(q for q in questions(checker) if q.check == name)


def test_the_name_of_a_scenario_is_no_part_of_its_content(checker):
    found = sliced(checker, question(checker, "timekeeper_on_live_cpu"))
    other = replace(found.system, name="another")
    assert content_of(found.system, found.prop, "") == content_of(other, found.prop, "")


def test_a_guard_is_part_of_it_and_so_is_the_bound(checker):
    found = sliced(checker, question(checker, "timekeeper_on_live_cpu"))
    fewer = replace(found.system, actions=found.system.actions[1:])
    assert content_of(found.system, found.prop, "") != content_of(fewer, found.prop, "")
    assert key_of(found, Bound(2)) != key_of(found, Bound(3))


def test_the_code_that_answers_is_part_of_it(checker, monkeypatch):
    found = sliced(checker, question(checker, "timekeeper_on_live_cpu"))
    mine = content_of(found.system, found.prop, "")
    monkeypatch.setattr("cpuhp.ordering.content.edition", lambda: "of other code")
    assert content_of(found.system, found.prop, "") != mine
