"""The certificate checker accepts proofs, and nothing that is not one."""

import pytest
from builders import (
    parallel_shutdown,
)
from certificate_cases import SAFE, accepted, barrier, locked, outcomes, proof_of
from wrong_certificates import WRONG

from cpuhp.engines.certificate import (
    FORMS,
    Obligation,
    check,
    present,
    scripts,
)
from cpuhp.engines.certificate.solvers import UNKNOWN, start
from cpuhp.engines.parametric import verify
from cpuhp.model.invariant import Clause, Invariant, Literal, Symbol

I, J = Symbol.I, Symbol.J


@pytest.mark.parametrize("name", SAFE)
def test_proofs_are_accepted(name):
    system, prop = SAFE[name]()
    found = list(outcomes(system, prop, proof_of(system, prop), solvers=present()))
    assert all(outcome.is_accepted for outcome in found), found
    assert len(found) == len(FORMS) * len(present())


@pytest.mark.parametrize("name", SAFE)
def test_a_clause_that_is_needed_cannot_be_removed(name):
    system, prop = SAFE[name]()
    clauses = proof_of(system, prop).clauses
    needed = 0
    for number in range(len(clauses)):
        fewer = Invariant(clauses[:number] + clauses[number + 1 :])
        proves = verify(system, prop, fewer) == []
        assert accepted(system, prop, fewer) == [proves, proves]
        needed += not proves
    assert needed


def test_a_clause_that_forbids_too_much_is_rejected():
    system, prop = barrier()
    clauses = proof_of(system, prop).clauses
    always_parked = Literal("ap.at", (I,), frozenset({0}))
    stronger = Invariant((*clauses, Clause((always_parked,))))
    for outcome in outcomes(system, prop, stronger):
        assert "initial state violates clause" in str(outcome.failures[0])


def test_a_clause_that_forbids_too_little_is_rejected():
    system, prop = barrier()
    clause = next(c for c in proof_of(system, prop).clauses if c.symbols)
    where = Literal("control.at", (), frozenset({0}))
    assert not any(accepted(system, prop, Invariant((Clause((*clause.cube, where)),))))


def test_reasons_name_the_step_and_the_clause():
    system, prop = locked()
    alone = Clause(tuple(Literal("user.at", (c,), frozenset({1})) for c in (I, J)))
    for outcome in outcomes(system, prop, Invariant((alone,))):
        texts = [str(failure) for failure in outcome.failures]
        assert "consecution: the step 'user.0' breaks clause 1" in texts


def test_a_solver_that_gives_up_accepts_nothing():
    system, (_, _, free) = parallel_shutdown(8)
    invariant = proof_of(system, free)
    made = scripts([Obligation(system, free, invariant)], "forall")
    outcome = check(made, "forall", "z3", seconds=0.001)
    assert not outcome.is_accepted and outcome.is_unknown
    assert "gives no answer" in str(outcome.failures[0])


def test_a_solver_that_breaks_off_accepts_nothing(monkeypatch):
    """z3 says so with an exception, whatever it was asked."""
    z3 = pytest.importorskip("z3")

    def canceled(*_):
        raise z3.Z3Exception(b"canceled")

    solver = start("z3", 1000)
    monkeypatch.setattr(solver, "_evaluate", canceled)
    assert solver.ask("(assert false)(check-sat)") == UNKNOWN


@pytest.mark.parametrize("wrong", WRONG, ids=lambda made: made.__name__)
def test_wrong_certificates_are_rejected(wrong):
    assert not any(accepted(*wrong(), solvers=present(), seconds=2))
