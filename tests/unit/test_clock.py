"""Limits are seconds of the processor, whatever else the machine has to do."""

import time

import pytest
import z3

from cpuhp.engines import clock, formulas


def test_waiting_costs_nothing_and_working_does():
    before = clock.now()
    time.sleep(0.2)
    waited = clock.now() - before
    while clock.now() - before < 0.2:
        pass
    assert waited < 0.1


class Busy:
    """A solver whose time on the wall runs out before it had its share."""

    def __init__(self, *answers, reason="timeout"):
        self.answers, self.reason, self.asked = list(answers), reason, 0

    def set(self, name, milliseconds):
        assert name == "timeout" and milliseconds > 0

    def answer(self):
        self.asked += 1
        return self.answers.pop(0)

    def reason_unknown(self):
        return self.reason


@pytest.fixture(autouse=True)
def busy_solvers_answer(monkeypatch):
    def check(solver, assumed):
        return solver.answer() if isinstance(solver, Busy) else real(solver, assumed)

    real = formulas.check
    monkeypatch.setattr(formulas, "check", check)


def test_z3_is_asked_again_while_there_is_time_left():
    solver = Busy(z3.unknown, z3.unknown, z3.unsat)
    assert clock.ask(solver, clock.now() + 5) == z3.unsat
    assert solver.asked == 3


def test_z3_is_not_asked_again_for_what_it_cannot_do():
    solver = Busy(z3.unknown, z3.unsat, reason="(incomplete quantifiers)")
    deadline = clock.now() + 5
    assert clock.ask(solver, deadline) == z3.unknown
    assert clock.why_unknown(solver, deadline) == "z3 gave up: (incomplete quantifiers)"


def test_when_time_is_up_nothing_is_asked():
    solver, deadline = Busy(z3.unsat), clock.now()
    assert clock.ask(solver, deadline) == z3.unknown
    assert (solver.asked, clock.why_unknown(solver, deadline)) == (
        0,
        "time limit reached",
    )


def test_without_a_deadline_z3_takes_its_time():
    solver = z3.Solver()
    x = z3.Int("x")
    solver.add(x > 3, x < 5)
    assert clock.ask(solver, None) == z3.sat
    assert clock.ask(solver, None, x == 3) == z3.unsat
