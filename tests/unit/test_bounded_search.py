"""z3 at a fixed number of CPUs agrees with exhaustive search."""

from dataclasses import replace

import pytest
from builders import (
    DEADLOCK_FREE,
    TERMINATES,
    always,
    critical_section,
    lost_update,
    opposite_locks,
    parallel_shutdown,
    sometimes,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_systems import random_formulas, random_systems

from cpuhp.engines.bounded import confirm, search
from cpuhp.engines.clock import now
from cpuhp.engines.explicit.search import Limits, check
from cpuhp.model.expr import not_
from cpuhp.model.verdict import Verdict


@pytest.mark.parametrize("boot", [0, 1, 2])
def test_finds_the_stale_target_as_fast_as_exhaustive_search_does(boot):
    system, (kept, *_) = parallel_shutdown(3, stale=True)
    found = search(system, kept, 3, boot)
    exact = check(system, kept, 3, boot)
    assert found.verdict is exact.verdict is Verdict.VIOLATED
    assert len(found.trace.steps) == len(exact.trace.steps)


def test_finds_the_lost_update_and_the_deadlock():
    system, wrong = lost_update()
    assert search(system, sometimes(wrong), 2).verdict is Verdict.WITNESSED
    assert search(opposite_locks(), DEADLOCK_FREE, 1).verdict is Verdict.VIOLATED


def test_says_how_far_it_looked():
    system, alone = critical_section()
    result = search(system, always(alone), 2, max_depth=5)
    assert result.verdict is Verdict.HOLDS_TO_BOUND
    assert "5 steps" in result.reason


def test_says_unknown_when_time_is_up_or_the_kind_is_not_for_it():
    system, alone = critical_section()
    late = search(system, always(alone), 2, deadline=now() - 1)
    assert late.verdict is Verdict.UNKNOWN and "time" in late.reason
    assert search(system, TERMINATES, 2).verdict is Verdict.UNKNOWN


def test_confirms_a_trace_and_rejects_a_wrong_one():
    system, alone = critical_section(locked=False)
    trace = check(system, always(alone), 3).trace
    assert confirm(system, trace, always(alone))
    assert not confirm(system, trace, always(not_(alone)))
    assert not confirm(system, replace(trace, steps=trace.steps[:1]), always(alone))
    twice = (trace.steps[0], *trace.steps)
    assert not confirm(system, replace(trace, steps=twice), always(alone))


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
@given(st.data())
def test_agrees_with_exhaustive_search_on_random_systems(data):
    system = data.draw(random_systems(ordered=True))
    prop = always(data.draw(random_formulas(system, ordered=True)))
    boot = data.draw(st.integers(0, 1))
    exact = check(system, prop, 2, boot, Limits(max_states=2000))
    found = search(system, prop, 2, boot, max_depth=6)
    if exact.verdict is Verdict.VIOLATED:
        assert confirm(system, exact.trace, prop)
        if len(exact.trace.steps) <= 6:
            assert found.verdict is Verdict.VIOLATED
            assert len(found.trace.steps) == len(exact.trace.steps)
    elif exact.verdict is Verdict.PROVED:
        assert found.verdict is Verdict.HOLDS_TO_BOUND
