"""A checker of certificates with a fault accepts one that is wrong: that is noticed."""

from dataclasses import replace

import pytest
from certificate_cases import accepted
from wrong_certificates import WRONG

from cpuhp.engines.certificate import (
    FORMS,
    pool,
    pool_conditions,
    pool_states,
    twin,
)
from cpuhp.model.expr import Quantifier


def slips(form):
    """Wrong certificates that the checker, as it is now, accepts."""
    return [
        wrong.__name__
        for wrong in WRONG
        if any(accepted(*wrong(), forms=[form], seconds=2))
    ]


def test_a_frame_condition_too_many_is_noticed(monkeypatch):
    def keep(self, variable, where):
        return self.pool.cell(variable, where)

    monkeypatch.setattr(pool_states.Step, "after", keep)
    assert "an_actor_that_is_set" in slips("qf")


def test_a_write_that_is_not_read_back_is_noticed(monkeypatch):
    monkeypatch.setattr(twin, "written_by", lambda system, action: frozenset())
    monkeypatch.setattr(twin, "touched", lambda clauses, written: range(len(clauses)))
    assert "an_actor_that_is_set" in slips("forall")


@pytest.mark.parametrize("form", FORMS)
def test_a_forgotten_process_is_noticed(monkeypatch, form):
    def fewer(clauses, written):
        return [] if "ap.at" in written else list(range(len(clauses)))

    monkeypatch.setattr(pool_conditions, "touched", fewer)
    monkeypatch.setattr(twin, "touched", fewer)
    assert slips(form) == ["another_process"]


def test_a_guard_that_sees_only_the_seats_is_noticed(monkeypatch):
    plain = pool.Pool.hole

    def closed(self, expr, env):
        hole = plain(self, expr, env)
        every = expr.kind is Quantifier.FORALL
        self.axiom(hole if every else f"(not {hole})")
        return hole

    monkeypatch.setattr(pool_conditions, "MAX_APS", 2)
    assert slips("qf") == []
    monkeypatch.setattr(pool.Pool, "hole", closed)
    assert "a_machine_with_many_cpus" in slips("qf")


@pytest.mark.parametrize("form", FORMS)
def test_a_guard_read_too_strongly_is_noticed(monkeypatch, form):
    for room in (pool.Pool, twin.Twin):
        plain = room.quantified

        def strong(self, expr, env, plain=plain):
            return plain(self, replace(expr, kind=Quantifier.FORALL), env)

        monkeypatch.setattr(room, "quantified", strong)
    monkeypatch.setattr(pool.Pool, "_decides", lambda self, kind, want: False)
    assert "a_machine_with_many_cpus" in slips(form)


@pytest.mark.parametrize("form", FORMS)
def test_a_quantifier_over_hotplugged_cpus_only_is_noticed(monkeypatch, form):
    def without_boot(self, sort):
        return list(self.is_there.items())[1:]

    monkeypatch.setattr(pool.Pool, "taken", without_boot)
    plain = twin.Twin.element

    def no_boot(self, text, sort):
        return f"(and (distinct {text} boot) {plain(self, text, sort)})"

    monkeypatch.setattr(twin.Twin, "element", no_boot)
    assert "a_control_cpu_that_decides_a_guard" in slips(form)


def test_a_forgotten_cpu_is_noticed(monkeypatch):
    plain = pool_states._roles

    def seated(pool, clause, used):
        return [c for c in plain(pool, clause, used) if len(c) < 2 or used]

    monkeypatch.setattr(pool_states, "_roles", seated)
    assert {"a_write_to_all", "a_write_through_a_pointer"} <= set(slips("qf"))


def test_a_forgotten_control_cpu_is_noticed(monkeypatch):
    monkeypatch.setattr(
        pool_conditions.PoolConditions,
        "_actors",
        lambda self, action: [1] if action.actor else [None],
    )
    assert slips("qf") == ["the_control_cpu_as_actor"]


@pytest.mark.parametrize("form", FORMS)
def test_assumptions_taken_for_ever_are_noticed(monkeypatch, form):
    monkeypatch.setattr(pool_states, "lasting", lambda system: system.assumptions)
    monkeypatch.setattr(twin, "lasting", lambda system: system.assumptions)
    assert slips(form) == ["an_assumption_that_does_not_last"]


@pytest.mark.parametrize("form", FORMS)
def test_a_forgotten_claim_is_noticed(monkeypatch, form):
    monkeypatch.setattr(pool_conditions, "goals", lambda system, prop: [])
    monkeypatch.setattr(twin, "goals", lambda system, prop: [])
    missed = {"nothing_is_known", "a_system_that_stops", "an_end_that_is_bad"}
    assert missed <= set(slips(form))


@pytest.mark.parametrize("form", FORMS)
def test_rest_taken_for_progress_is_noticed(monkeypatch, form):
    def everything(system):
        return list(system.actions)

    monkeypatch.setattr(pool_conditions, "movers", everything)
    monkeypatch.setattr(twin, "movers", everything)
    assert "an_environment_that_may_stop" in slips(form)
