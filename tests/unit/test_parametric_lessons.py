"""Clauses carried over from one proof to the next: guesses, never premises."""

from dataclasses import replace

import pytest

from cpuhp.api import Settings, loads
from cpuhp.engines import joint
from cpuhp.engines.parametric.lessons import Told, guesses
from cpuhp.engines.parametric.views import Views
from cpuhp.model.invariant import Symbol

SPEC = """
scenario spec;
enum stage { OFF, KICKED, DOWN };
percpu atomic stage at_stage;
percpu atomic bool seen;
shared atomic bool begun;
process control { begun = true; }
process ap(cpu) on aps {
    wait (begun);
    at_stage[cpu] = KICKED;
    seen[cpu] = true;
    at_stage[cpu] = DOWN;
}
check stages {
    always all(c in aps : seen[c] => at_stage[c] != OFF);
    always all(c in aps : at_stage[c] == DOWN => seen[c] && begun);
    always all(c in aps : at_stage[c] == DOWN => !begun);
}
"""
FIRST, SECOND, WRONG = (("stages", number) for number in range(3))


@pytest.fixture(autouse=True)
def what_one_callback_decides_is_proved_as_all_else(monkeypatch):
    monkeypatch.setattr(joint, "_alone", lambda *_: None)


def answers(claim, lessons=()):
    return loads(SPEC).settle([claim], Settings(timeout=20), lessons)


def queries(claim, lessons=()):
    return answers(claim, lessons).answers[claim].stats["queries"]


@pytest.fixture
def taught():
    return answers(SECOND).lessons


def test_a_proof_teaches_its_clauses(taught):
    assert taught
    words = {value for lesson in taught for told in lesson for value in told.values}
    assert "DOWN" in words


def test_who_was_taught_asks_less(taught):
    assert queries(SECOND, taught) < queries(SECOND)


def test_a_false_lesson_is_dropped(taught):
    never_begins = (Told("begun", (), frozenset((1,))),)
    nobody_is_down = (Told("at_stage", (Symbol.I,), frozenset(("DOWN",))),)
    assert not answers(WRONG, (never_begins, nobody_is_down)).answers
    assert answers(SECOND, (never_begins, nobody_is_down)).answers


def test_lessons_about_what_is_not_there_say_nothing(taught):
    system = loads(SPEC).checker.slice("stages", 0).system
    elsewhere = (Told("nowhere", (), frozenset((1,))),)
    unheard = (Told("at_stage", (Symbol.I,), frozenset(("SIDEWAYS",))),)
    assert not list(guesses(Views(system), (elsewhere, unheard)))


def test_named_values_find_their_numbers_again():
    answer = loads(SPEC).checker
    proof = loads(SPEC).settle([SECOND], Settings(timeout=20))
    (told, *_) = (
        t for lesson in proof.lessons for t in lesson if t.variable == "at_stage"
    )
    system = answer.slice("stages", 1).system
    turned = replace(told, values=frozenset(("OFF", "DOWN")))
    (clause,) = guesses(Views(system), ((turned,),))
    sort = system.variable("at_stage").sort
    assert {sort.values[v] for v in clause.cube[0].values} == {"OFF", "DOWN"}


def test_false_lessons_never_prove_a_false_claim(monkeypatch):
    """Even if no sample contradicts them, z3 does."""
    from cpuhp.engines.parametric import learner

    def believed(views, lessons):
        yield from guesses(Views(views.system), lessons)  # which has seen no state

    monkeypatch.setattr(learner, "guesses", believed)
    nobody_is_down = (Told("at_stage", (Symbol.I,), frozenset(("DOWN",))),)
    assert not answers(WRONG, (nobody_is_down,)).answers
