"""What is proved for every number of CPUs, and what is not."""

import pytest
from builders import (
    BOOT,
    DEADLOCK_FREE,
    ME,
    NOBODY,
    TERMINATES,
    Code,
    always,
    build,
    critical_section,
    finally_,
    lost_update,
    opposite_locks,
    parallel_shutdown,
    percpu,
    put,
    rd,
    shared,
)

from cpuhp.engines.certificate.sentences import in_sentences
from cpuhp.engines.clock import now
from cpuhp.engines.parametric import collect_samples, prove, verify
from cpuhp.model.expr import (
    FALSE,
    TRUE,
    Const,
    Op,
    Param,
    Quantified,
    Quantifier,
    and_,
    arithmetic,
    eq,
    forall,
    implies,
    not_,
    or_,
)
from cpuhp.model.invariant import Clause, Invariant
from cpuhp.model.sorts import CPU, CPU_OR_NONE, CounterSort
from cpuhp.model.system import Choice, Expectation, Runs
from cpuhp.model.verdict import Verdict

C, D, X = Param("c", CPU), Param("d", CPU), Param("x", CPU)


def is_proved(system, prop, **more):
    proof = prove(system, prop, deadline=now() + 20, **more)
    if proof.result.verdict is Verdict.PROVED:
        assert proof.result.cpus is None
        assert verify(system, prop, proof.invariant) == []
        return True
    assert proof.result.verdict is Verdict.UNKNOWN
    assert proof.invariant is None and proof.result.reason
    return False


def election(among_survivors, marked_first=True):
    """The owner of the context that goes away hands it to another CPU.

    All CPUs of the batch are marked dying before the first one goes, or each at its
    end.
    """
    dying, online = percpu("dying"), percpu("online", initial=1)
    owner = shared("owner", CPU_OR_NONE, BOOT)
    every_ap = not_(eq(X, BOOT))
    control = Code("control", "mark kick done")
    effects = [put(dying, X, every_ap, bound=(X,))] if marked_first else []
    control.step("mark", "kick", effects=effects)
    ap = Code("ap", "up chosen dead", Runs.EVERY_AP)
    fit = and_(rd(online, C), not_(eq(C, ME)))
    if among_survivors:
        fit = and_(fit, not_(rd(dying, C)))
    control.step("mark", "mark", effects=[put(owner, C)], choices=[Choice(C)])
    go, mine = control.at("kick"), eq(rd(owner), ME)
    ap.step("up", "chosen", and_(go, mine), [put(owner, C)], [Choice(C, fit)])
    ap.step("up", "chosen", and_(go, not_(mine)))
    ap.step("chosen", "dead", effects=[put(online, ME, 0), put(dying, ME, 1)])
    alive = forall(C, implies(eq(rd(owner), C), rd(online, C)))
    return build("election", [control, ap], [dying, online, owner]), always(alive)


def barrier(guarded=True):
    """The control task goes on when all APs are parked."""
    ap = Code("ap", "work parked", Runs.EVERY_AP)
    control = Code("control", "wait after")
    ap.step("work", "parked")
    parked = forall(C, or_(eq(C, BOOT), ap.at("parked", C)))
    control.step("wait", "after", parked if guarded else TRUE)
    return build("barrier", [control, ap]), always(
        implies(control.at("after"), forall(D, or_(eq(D, BOOT), ap.at("parked", D))))
    )


def countdown(exact=True):
    """The control task waits until a counter says that no CPU runs any more."""
    running = percpu("running", initial=lambda c: not_(eq(c, BOOT)))
    sort = CounterSort("running")
    everyone = Quantified(Quantifier.COUNT, X, rd(running, X))
    left = shared("left", sort, everyone)
    ap = Code("ap", "run off", Runs.EVERY_AP)
    control = Code("control", "wait after")
    less = arithmetic(Op.SUB, rd(left), Const(1, sort), sort)
    effects = [put(left, less)] + ([put(running, ME, 0)] if exact else [])
    ap.step("run", "off", effects=effects)
    control.step("wait", "after", eq(rd(left), Const(0, sort)))
    nobody = forall(C, not_(rd(running, C)))
    return build("countdown", [control, ap], [running, left]), always(
        implies(control.at("after"), nobody)
    )


def targets():
    """Each AP remembers a CPU that is not itself, if there is another."""
    dst = percpu("dst", CPU_OR_NONE, NOBODY)
    ap = Code("ap", "start end", Runs.EVERY_AP)
    ap.step(
        "start", "end", effects=[put(dst, ME, C)], choices=[Choice(C, not_(eq(C, ME)))]
    )
    system = build("targets", [ap], [dst])
    return system, always(forall(D, not_(eq(rd(dst, D), D))))


def test_mutual_exclusion_needs_the_lock():
    system, alone = critical_section()
    assert is_proved(system, always(alone))
    assert is_proved(system, DEADLOCK_FREE)
    system, alone = critical_section(locked=False)
    assert not is_proved(system, always(alone))


def test_a_barrier_needs_its_guard():
    assert is_proved(*barrier())
    assert not is_proved(*barrier(guarded=False))


def test_an_election_among_survivors_is_safe():
    assert is_proved(*election(among_survivors=True))


def test_an_election_among_online_cpus_is_not():
    assert not is_proved(*election(among_survivors=False))


def test_marking_one_by_one_is_not_safe():
    assert not is_proved(*election(among_survivors=True, marked_first=False))


def test_a_counter_stands_for_the_cpus_it_counts():
    assert is_proved(*countdown())
    assert not is_proved(*countdown(exact=False))


def test_per_cpu_pointers():
    assert is_proved(*targets())


def test_lost_update_is_not_proved():
    system, wrong = lost_update()
    assert not is_proved(system, always(not_(wrong)))


@pytest.mark.parametrize("callbacks", [3, 8, 20])
def test_the_three_phase_shutdown(callbacks):
    system, (kept, _, free) = parallel_shutdown(callbacks)
    samples = collect_samples(system)
    assert is_proved(system, kept, samples=samples)
    assert is_proved(system, free, samples=samples)


def test_the_three_phase_shutdown_with_a_stale_target_is_not_proved():
    system, (kept, *_) = parallel_shutdown(3, stale=True)
    assert not is_proved(system, kept)


def test_deadlock_is_not_proved_absent():
    assert not is_proved(opposite_locks(), DEADLOCK_FREE)


def test_what_holds_in_the_end():
    system, _ = barrier()
    done = system.process("control").location
    variable = system.variable(done)
    after = eq(rd(variable), Const(1, variable.sort))
    assert is_proved(system, finally_(after))
    assert not is_proved(system, finally_(not_(after)))


def test_no_samples_are_needed_to_be_right():
    system, alone = critical_section()
    few = collect_samples(system, max_states=1, aps=(0,))
    assert is_proved(system, always(alone), samples=few)


def test_gives_reasons():
    system, alone = critical_section(locked=False)
    coarse = prove(system, always(alone))
    assert "user.at[i] == inside" in coarse.result.reason
    late = prove(system, always(alone), deadline=now() - 1)
    assert "time limit" in late.result.reason
    assert "terminates" in prove(system, TERMINATES).result.reason


def test_clauses_read_as_sentences():
    system, alone = critical_section()
    proof = prove(system, always(alone))
    texts = in_sentences(system, proof.invariant.clauses)
    inside = "user.at[i] in {inside, leave} => mutex == i"
    assert f"for every CPU i but the control CPU: {inside}" in texts


def test_verify_names_what_fails():
    system, alone = critical_section()
    proof = prove(system, always(alone))
    assert "bad states" in verify(system, always(alone), Invariant(()))[0]
    weaker = Invariant(proof.invariant.clauses[:-1])
    assert verify(system, always(alone), weaker) != []
    nothing = Invariant((*proof.invariant.clauses, Clause(())))
    assert "initial" in verify(system, always(alone), nothing)[0]
    assert not is_proved(system, always(FALSE))


def test_a_proof_does_not_depend_on_what_was_asked_before():
    asked = [
        (system, prop)
        for system, props in map(parallel_shutdown, (3, 8))
        for prop in props
        if prop.expectation is Expectation.ALWAYS
    ]

    def found(system, prop):
        proof = prove(system, prop, deadline=now() + 20)
        assert proof.invariant is not None
        return proof.invariant, proof.stats

    first = [found(*one) for one in asked]
    assert [found(*one) for one in reversed(asked)] == first[::-1]
