from dataclasses import replace

import pytest
from builders import (
    DEADLOCK_FREE,
    RACE_FREE,
    TERMINATES,
    always,
    critical_section,
    finally_,
    hog,
    leads_to,
    lost_update,
    opposite_locks,
    parallel_shutdown,
    rd,
    sometimes,
    spinner,
)

from cpuhp.diagnostics import InputError
from cpuhp.engines.explicit import Limits, check, check_many, count_runs
from cpuhp.model.expr import FALSE, TRUE, and_, not_, or_
from cpuhp.model.system import Runs
from cpuhp.model.verdict import Verdict


@pytest.mark.parametrize(
    ("cpus", "atomic", "runs", "bad"),
    [(2, False, 6, 4), (3, False, 90, 84), (2, True, 2, 0), (3, True, 6, 0)],
)
def test_lost_update_has_the_golden_number_of_runs(cpus, atomic, runs, bad):
    system, wrong = lost_update(atomic)
    found = count_runs(system, cpus, 0, wrong)
    assert found == (runs, bad, 0)


def test_one_of_two_lock_orders_deadlocks():
    found = count_runs(opposite_locks(), 1)
    assert found.deadlocked == 2
    assert found.runs > found.deadlocked


def test_an_endless_system_has_no_number_of_runs():
    system, _ = spinner()
    with pytest.raises(InputError, match="HP602.*for ever"):
        count_runs(system, 1)


def test_lost_update_is_found_and_switches_least():
    system, wrong = lost_update()
    result = check(system, always(not_(wrong)), 2)
    assert result.verdict is Verdict.VIOLATED
    assert result.cpus == 2
    assert len(result.trace.steps) == 4
    assert result.stats["switches"] == 2


def test_atomic_update_is_proved():
    system, wrong = lost_update(atomic=True)
    results = check_many(system, [always(not_(wrong)), finally_(not_(wrong))], 3)
    assert [r.verdict for r in results] == [Verdict.PROVED] * 2


@pytest.mark.parametrize("symmetry", [False, True])
def test_a_lock_keeps_others_out(symmetry):
    system, alone = critical_section()
    claims = [always(alone), DEADLOCK_FREE, RACE_FREE, TERMINATES]
    results = check_many(system, claims, 4, 1, symmetry=symmetry)
    assert [r.verdict for r in results] == [Verdict.PROVED] * 4


def test_without_a_lock_two_are_inside_and_race():
    system, alone = critical_section(locked=False)
    two, race, calm = check_many(system, [always(alone), RACE_FREE, DEADLOCK_FREE], 3)
    assert two.verdict is Verdict.VIOLATED and len(two.trace.steps) == 2
    assert race.verdict is Verdict.VIOLATED
    assert race.reason.endswith("both access data")
    assert calm.verdict is Verdict.PROVED


def test_opposite_lock_orders_deadlock_after_two_steps():
    result = check(opposite_locks(), DEADLOCK_FREE, 1)
    assert result.verdict is Verdict.VIOLATED
    assert len(result.trace.steps) == 2


def test_spinning_ends_if_the_other_owes_progress():
    system, progress = spinner(fair=True)
    results = check_many(system, [progress, TERMINATES], 1)
    assert [r.verdict for r in results] == [Verdict.PROVED] * 2


def test_spinning_for_the_environment_may_never_end():
    system, progress = spinner(fair=False)
    for result in check_many(system, [progress, TERMINATES], 1):
        assert result.verdict is Verdict.VIOLATED
        assert result.trace.loop is not None


@pytest.mark.parametrize(
    ("blocking", "verdict"), [(True, Verdict.VIOLATED), (False, Verdict.PROVED)]
)
def test_weak_fairness_helps_who_can_always_move(blocking, verdict):
    system, progress = hog(blocking)
    reached, ends = check_many(system, [progress, TERMINATES], 1)
    assert reached.verdict is verdict
    assert ends.verdict is Verdict.VIOLATED


def test_waiting_for_ever_in_a_dead_end_breaks_a_promise():
    system = opposite_locks()
    left = system.variable("left")
    result = check(system, leads_to(rd(left), not_(rd(left))), 1)
    assert result.verdict is Verdict.VIOLATED
    assert result.trace.loop is None


def test_a_contradiction_proves_with_a_remark():
    system = replace(opposite_locks(), assumptions=(FALSE,))
    for result in check_many(system, [DEADLOCK_FREE, TERMINATES], 1):
        assert result.verdict is Verdict.PROVED
        assert result.reason == "no initial state satisfies the assumptions"


def test_formulas_may_be_deep():
    system = opposite_locks()
    left, right = (rd(system.variable(name)) for name in ("left", "right"))
    formula = left
    for _ in range(100):
        formula = or_(and_(formula, right), left)
    result = check(system, always(formula), 1)
    assert result.verdict is Verdict.VIOLATED


@pytest.mark.parametrize(
    ("cpus", "callbacks", "orbits"), [(5, 3, 257), (7, 3, 884), (9, 3, 2282)]
)
def test_shutdown_has_a_known_number_of_orbits(cpus, callbacks, orbits):
    system, claims = parallel_shutdown(callbacks)
    result = check(system, claims[0], cpus)
    assert result.verdict is Verdict.PROVED
    assert result.stats["states"] == orbits


def test_what_never_happens_is_unreachable():
    system, _ = lost_update(atomic=True, runs=Runs.EVERY_AP)
    assert check(system, sometimes(not_(TRUE)), 3).verdict is Verdict.UNREACHABLE
    assert check(system, sometimes(TRUE), 3).verdict is Verdict.WITNESSED


@pytest.mark.parametrize("boot", [0, 1, 2])
def test_parallel_shutdown_keeps_its_event_context(boot):
    system, claims = parallel_shutdown(3)
    kept, away, calm = check_many(system, claims, 3, boot)
    assert kept.verdict is Verdict.PROVED
    assert away.verdict is Verdict.WITNESSED
    assert calm.verdict is Verdict.PROVED


def test_parallel_shutdown_with_a_stale_mask_loses_it():
    system, claims = parallel_shutdown(3, stale=True)
    kept = check(system, claims[0], 3)
    assert kept.verdict is Verdict.VIOLATED
    assert kept.trace is not None


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (Limits(max_states=50), "50 states"),
        (Limits(seconds=0.0), "time limit"),
        (Limits(memory=1), "memory"),
    ],
)
def test_a_limit_is_never_a_proof(limits, why):
    system, claims = parallel_shutdown(5)
    for prop in (claims[0], TERMINATES):
        result = check(system, prop, 4, limits=limits)
        assert result.verdict is Verdict.UNKNOWN
        assert why in result.reason


def test_progress_is_reported():
    seen = []
    system, claims = parallel_shutdown(3)
    check(system, claims[0], 4, progress=lambda states, queue: seen.append(states))
    assert seen and seen == sorted(seen)
