"""Traps: what is unsafe on some machine must not be proved for all of them."""

from dataclasses import replace
from importlib import import_module

import pytest
from builders import (
    BOOT,
    DEADLOCK_FREE,
    ME,
    NOBODY,
    Code,
    always,
    build,
    critical_section,
    finally_,
    one_step,
    parallel_shutdown,
    percpu,
    put,
    rd,
    shared,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_systems import random_formulas, random_systems
from wrong_certificates import WRONG

from cpuhp.engines.clock import now
from cpuhp.engines.encoding import Encoder
from cpuhp.engines.explicit.search import Limits, check
from cpuhp.engines.parametric import cases, collect_samples, learner, prove, verify
from cpuhp.model.expr import (
    TRUE,
    Const,
    Op,
    Param,
    Quantified,
    Quantifier,
    and_,
    arithmetic,
    before,
    compare,
    eq,
    exists,
    forall,
    implies,
    not_,
    or_,
)
from cpuhp.model.sorts import CPU, CPU_OR_NONE, RangeSort
from cpuhp.model.system import Choice, Order, Runs
from cpuhp.model.verdict import Verdict

C, D, E, F, G = (Param(name, CPU) for name in "cdefg")


def proved(system, prop):
    few = collect_samples(system, max_states=500)
    until = now() + 10
    proof = prove(system, prop, samples=few, deadline=until)
    return proof.result.verdict is Verdict.PROVED


@pytest.mark.parametrize("wrong", WRONG, ids=lambda made: made.__name__)
def test_what_no_certificate_shows_is_not_proved(wrong):
    system, prop, invariant = wrong()
    assert verify(system, prop, invariant)
    assert not proved(system, prop)


SUMS = {
    "stops at the end above": (Op.ADD, 1, 3, RangeSort(0, 3)),
    "stops at the end below": (Op.SUB, 1, 0, RangeSort(0, 3)),
    "is exact": (Op.ADD, 1, 7, RangeSort(0, 1 << 20)),
    "is exact and negative": (Op.SUB, 1, -5, RangeSort(-(1 << 20), 1 << 20)),
}


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("about", SUMS)
def test_a_sum_with_a_number_of_cpus(about, turned):
    """On machines with five or six CPUs only, or on all that are larger than four."""
    op, here, there, sort = SUMS[about]
    flag, level = shared("flag"), shared("level", RangeSort(0, 3), here)
    late = percpu("late", initial=None, constant=True)
    many = Quantified(Quantifier.COUNT, C, rd(late, C))
    parts = (many, rd(level)) if turned and op is Op.ADD else (rd(level), many)
    total = eq(arithmetic(op, *parts, sort), Const(there, RangeSort(-8, 8)))
    more = compare(Op.LT, Const(4, RangeSort(0, 8)), many)
    system = one_step([flag, level, late], and_(more, total), [put(flag, 1)])
    assert not proved(system, always(not_(rd(flag))))
    assert check(system, always(not_(rd(flag))), 7).verdict is Verdict.VIOLATED


def test_a_machine_with_the_control_cpu_only():
    flag = shared("flag")
    alone = forall(C, eq(C, BOOT))
    system = one_step([flag], alone, [put(flag, 1)])
    assert not proved(system, always(not_(rd(flag))))


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_machines_of_each_small_size(size):
    flag, ds = shared("flag"), [C, D, E, F]
    distinct = [BOOT, *ds[: size - 1]]
    everyone = forall(G, or_(*(eq(G, d) for d in distinct)))
    choices = [Choice(d) for d in ds[: size - 1]]
    apart = and_(*(not_(eq(a, b)) for a in distinct for b in distinct if a != b))
    system = one_step([flag], and_(everyone, apart), [put(flag, 1)], choices)
    assert not proved(system, always(not_(rd(flag))))


def test_the_none_branch_of_a_choice():
    flag, mask = shared("flag"), percpu("mask")
    ap = Code("ap", "a b", Runs.EVERY_AP).step("a", "b", effects=[put(mask, ME, 1)])
    task = Code("task", "start end")
    task.step("start", "end", not_(exists(C, rd(mask, C))), [put(flag, 1)])
    system = build("none", [ap, task], [flag, mask])
    assert not proved(system, always(not_(rd(flag))))


def test_a_write_through_a_pointer_to_a_third_cpu():
    to, hit = shared("to", CPU_OR_NONE, NOBODY), percpu("hit")
    task = Code("task", "aim fire end")
    task.step("aim", "fire", effects=[put(to, C)], choices=[Choice(C)])
    task.step("fire", "end", effects=[put(hit, rd(to), 1)])
    system = build("third", [task], [to, hit])
    assert not proved(system, always(forall(D, not_(rd(hit, D)))))
    kept = implies(rd(hit, D), eq(rd(to), D))
    assert proved(system, always(forall(D, kept)))


def test_a_guard_that_only_a_third_cpu_falsifies():
    flag, late, left = shared("flag"), percpu("late"), shared("left")
    ap = Code("ap", "a b", Runs.EVERY_AP).step("a", "b", effects=[put(late, ME, 1)])
    task = Code("task", "start end")
    task.step("start", "end", not_(forall(C, not_(rd(late, C)))), [put(flag, 1)])
    system = build("falsified", [ap, task], [flag, late, left])
    unless_seen = forall(C, forall(D, or_(rd(late, C), rd(late, D), not_(rd(flag)))))
    assert not proved(system, always(unless_seen))
    assert not proved(system, always(not_(rd(flag))))


def test_the_control_cpu_as_actor():
    hit = percpu("hit")
    system = one_step([hit], TRUE, [put(hit, ME, 1)], runs=Runs.EVERY_CPU)
    assert not proved(system, always(not_(rd(hit, BOOT))))
    system = one_step([hit], TRUE, [put(hit, ME, 1)], runs=Runs.EVERY_AP)
    assert proved(system, always(not_(rd(hit, BOOT))))


def test_a_bound_assignment_reaches_every_cpu():
    hit = percpu("hit")
    system = one_step([hit], TRUE, [put(hit, C, 1, bound=(C,))])
    assert not proved(system, always(forall(D, not_(rd(hit, D)))))
    same = forall(D, forall(E, eq(rd(hit, D), rd(hit, E))))
    assert proved(system, always(same))


def test_the_order_of_ids_is_free():
    flag = shared("flag")
    lower = exists(C, before(C, BOOT))
    assert not proved(one_step([flag], lower, [put(flag, 1)]), always(not_(rd(flag))))
    chosen = shared("chosen", CPU_OR_NONE, NOBODY)
    pick = [Choice(C, TRUE, Order.FIRST)]
    system = one_step([chosen], TRUE, [put(chosen, C)], pick)
    assert not proved(system, always(not_(eq(rd(chosen), BOOT))))


def test_a_rejected_first_choice_blocks():
    chosen = shared("chosen", CPU_OR_NONE, NOBODY)
    pick = [Choice(C, TRUE, Order.FIRST)]
    system = one_step([chosen], eq(C, BOOT), [put(chosen, C)], pick)
    assert not proved(system, finally_(not_(eq(rd(chosen), NOBODY))))
    assert not proved(system, DEADLOCK_FREE)


def test_assumptions_about_what_changes_hold_at_the_start_only():
    flag = shared("flag", initial=None)
    code = Code("task", "start end").step("start", "end", effects=[put(flag, 1)])
    system = build("assumed", [code], [flag], [not_(rd(flag))])
    assert not proved(system, always(not_(rd(flag))))


def for_ever(variables, effects):
    """A task that does the same again and again, so that only data changes."""
    task = Code("task", "loop").step("loop", "loop", effects=effects)
    return build("for_ever", [task], variables)


FLAG, HIT = shared("flag"), percpu("hit")
UNSAFE = [
    (for_ever([FLAG], [put(FLAG, 1)]), always(not_(rd(FLAG)))),
    (
        for_ever([HIT], [put(HIT, C, 1, bound=(C,))]),
        always(forall(D, or_(eq(D, BOOT), not_(rd(HIT, D))))),
    ),
    (critical_section(locked=False)[0], always(critical_section(locked=False)[1])),
    (parallel_shutdown(3, stale=True)[0], parallel_shutdown(3, stale=True)[1][0]),
]


@pytest.mark.parametrize(("system", "prop"), UNSAFE)
def test_unsafe_systems_stay_unproved(system, prop):
    assert not proved(system, prop)


def proved_without_samples(system, prop):
    blind = collect_samples(system, max_states=0, aps=(1,), walks=0)
    until = now() + 10
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learner, "_SURPRISES", float("inf"))  # never any more samples
        proof = prove(system, prop, samples=blind, deadline=until)
    return proof.result.verdict is Verdict.PROVED


def everything_sound():
    return not any(proved_without_samples(system, prop) for system, prop in UNSAFE)


def test_samples_do_not_decide():
    assert everything_sound()


def test_tests_notice_a_frame_condition_too_many(monkeypatch):
    def keep(self, taken, frame, variable, where):
        return self.cell(frame, variable, where)

    monkeypatch.setattr(Encoder, "post", keep)
    assert not everything_sound()


def test_tests_notice_a_dropped_process(monkeypatch):
    all_cases = cases.cases

    def fewer(encoder):
        process = encoder.system.process
        return [
            case
            for case in all_cases(encoder)
            if process(case.action.process).runs is Runs.ONCE
        ]

    for name in ("learner", "verify"):
        room = import_module(f"cpuhp.engines.parametric.{name}")
        monkeypatch.setattr(room, "cases", fewer)
    assert not everything_sound()


def test_tests_notice_a_program_point_that_is_mistaken(monkeypatch):
    def stay(system, taken):
        move = true_move(system, taken)
        return move and replace(move, target=move.source)

    true_move = cases._move
    monkeypatch.setattr(cases, "_move", stay)
    assert not everything_sound()


def test_tests_notice_a_forgotten_cpu(monkeypatch):
    all_pairs = cases.pairs

    def actors_only(clause, used):
        return [pair for pair in all_pairs(clause, used) if max(pair) <= used]

    for name in ("learner", "verify"):
        room = import_module(f"cpuhp.engines.parametric.{name}")
        monkeypatch.setattr(room, "pairs", actors_only)
    assert not everything_sound()


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(st.data())
def test_what_is_proved_holds_on_small_machines(data):
    system = data.draw(random_systems(ordered=data.draw(st.booleans())))
    formula = data.draw(random_formulas(system))
    prop = data.draw(
        st.sampled_from([always(formula), finally_(formula), DEADLOCK_FREE])
    )
    few = collect_samples(system, max_states=150)
    proof = prove(system, prop, samples=few, deadline=now() + 3)
    assert "internal" not in (proof.result.reason or "")
    if proof.result.verdict is not Verdict.PROVED:
        return
    for cpus, boot in ((1, 0), (2, 0), (2, 1), (3, 1)):
        exact = check(system, prop, cpus, boot, Limits(max_states=3000))
        assert exact.verdict is not Verdict.VIOLATED


def test_a_system_without_variables():
    system = build("empty", [], [])
    assert proved(system, always(TRUE))
    assert not proved(system, always(not_(TRUE)))


def test_two_actions_never_share_a_name():
    system = one_step([shared("flag")])
    with pytest.raises(ValueError, match="two actions share a name"):
        replace(system, actions=system.actions * 2)
