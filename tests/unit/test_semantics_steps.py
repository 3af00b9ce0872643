from dataclasses import replace

import pytest
from builders import (
    BOOT,
    ME,
    NOBODY,
    Code,
    build,
    const,
    election,
    lost_update,
    opposite_locks,
    percpu,
    put,
    rd,
    shared,
    spinner,
    topology,
)

from cpuhp.diagnostics import InputError
from cpuhp.engines.explicit import check
from cpuhp.model.expr import CPU, Op, Param, arithmetic, eq, not_
from cpuhp.model.sorts import CPU_OR_NONE, RangeSort
from cpuhp.model.system import Choice, Order, Runs
from cpuhp.model.verdict import Step, Trace
from cpuhp.semantics import (
    Machine,
    ReplayError,
    apply,
    changes,
    describe,
    enabled,
    evaluate,
    initial_states,
    is_initial,
    is_quiescent,
    is_stuck,
    replay,
)

SMALL = RangeSort(1, 3)


def only_state(machine):
    (state,) = initial_states(machine)
    return state


def after_first(machine):
    state = only_state(machine)
    return apply(machine, state, *enabled(machine, state)[0])


def one_step(variables, *effects):
    code = Code("task", "start done").step("start", "done", effects=effects)
    machine = Machine(build("one", [code], variables), 3, 1)
    return describe(machine, after_first(machine))


def test_assignments_are_simultaneous():
    a, b = shared("a", SMALL, 1), shared("b", SMALL, 2)
    after = one_step([a, b], put(a, rd(b)), put(b, rd(a)))
    assert (after["a"], after["b"]) == ("2", "1")


def test_the_later_assignment_wins():
    a = shared("a", SMALL, 1)
    assert one_step([a], put(a, 2), put(a, 3))["a"] == "3"


def test_ranges_stop_at_their_ends():
    a = shared("a", SMALL, 3)
    more = arithmetic(Op.ADD, rd(a), const(SMALL, 2), SMALL)
    assert one_step([a], put(a, more))["a"] == "3"


def test_none_reads_the_first_value_and_writes_nothing():
    nobody = shared("nobody", CPU_OR_NONE, NOBODY)
    x, y = percpu("x", SMALL, 2), shared("y", SMALL, 3)
    after = one_step([nobody, x, y], put(y, rd(x, rd(nobody))), put(x, rd(nobody), 3))
    assert after["y"] == "1"
    assert [after[f"x[CPU{c}]"] for c in range(3)] == ["2", "2", "2"]


def test_none_pointer_leads_to_none():
    friend = percpu("friend", CPU, BOOT)
    to = shared("to", CPU_OR_NONE, BOOT)
    lost = shared("lost", CPU_OR_NONE, NOBODY)
    after = one_step([friend, to, lost], put(to, rd(friend, rd(lost))))
    assert after["to"] == "none"


def test_bound_assignments_reach_every_cpu():
    c = Param("c", CPU)
    x = percpu("x")
    after = one_step([x], put(x, c, eq(c, BOOT), bound=(c,)))
    assert [after[f"x[CPU{i}]"] for i in range(3)] == ["false", "true", "false"]


@pytest.mark.parametrize(
    ("order", "boot", "picked"),
    [
        (Order.FIRST, 0, [1]),
        (Order.LAST, 0, [3]),
        (Order.FIRST, 2, [0]),
        (Order.LAST, 3, [2]),
        (Order.ANY, 1, [0, 2, 3]),
    ],
)
def test_first_and_last_are_exact(order, boot, picked):
    machine = Machine(election(order), 4, boot)
    taken = enabled(machine, only_state(machine))
    chosen = [binding for action, binding in taken if action.process == "control"]
    assert chosen == [(c,) for c in picked]


def test_a_later_choice_sees_the_earlier_one():
    a, b = Param("a", CPU), Param("b", CPU)
    code = Code("task", "start done")
    both = [Choice(a), Choice(b, not_(eq(a, b)), Order.FIRST)]
    code.step("start", "done", choices=both)
    machine = Machine(build("two", [code]), 3, 0)
    found = [binding for _, binding in enabled(machine, only_state(machine))]
    assert found == [(0, 1), (1, 0), (2, 0)]


def test_assumptions_filter_free_initial_values():
    machine = Machine(topology(), 2, 0)
    states = list(initial_states(machine))
    leaders = [state[:2] for state in states]
    assert leaders == [(0, 0), (0, 1), (1, 1)]
    assert all(is_initial(machine, state) for state in states)
    assert not is_initial(machine, (1, 0, *states[0][2:]))


@pytest.mark.parametrize(
    ("runs", "count"), [(Runs.ONCE, 1), (Runs.EVERY_CPU, 3), (Runs.EVERY_AP, 2)]
)
def test_a_process_runs_where_it_says(runs, count):
    code = Code("it", "start done", runs).step("start", "done")
    machine = Machine(build("it", [code]), 3, 1)
    taken = enabled(machine, only_state(machine))
    assert len(taken) == count
    assert (1,) not in [b for _, b in taken] or runs is Runs.EVERY_CPU


def test_a_deadlock_is_stuck_and_an_end_is_not():
    machine = Machine(opposite_locks(), 1)
    state = only_state(machine)
    for _ in range(6):
        state = apply(machine, state, *enabled(machine, state)[0])
    assert is_quiescent(machine, state) and not is_stuck(machine, state)
    state = only_state(machine)
    for number in (0, -1):
        state = apply(machine, state, *enabled(machine, state)[number])
    assert is_quiescent(machine, state) and is_stuck(machine, state)


def test_environment_saves_nobody_from_a_deadlock():
    system, _ = spinner(fair=False)
    waits = replace(system, actions=system.actions[:1] + system.actions[2:])
    machine = Machine(waits, 1)
    state = only_state(machine)
    assert is_stuck(machine, state) and is_quiescent(machine, state)


def test_changes_are_named_as_in_the_spec():
    machine = Machine(lost_update()[0], 2)
    before, after = only_state(machine), after_first(machine)
    assert changes(machine, before, after) == {
        "t[CPU0]": ("0", "2"),
        "down.at[CPU0]": ("load", "store"),
    }


def test_there_is_no_machine_without_cpus():
    system, _ = lost_update()
    with pytest.raises(InputError, match="HP601"):
        Machine(system, 0)
    with pytest.raises(InputError, match="0 to 1"):
        Machine(system, 2, 2)


def a_trace():
    system, wrong = lost_update()
    from builders import always

    return Machine(system, 2), check(system, always(not_(wrong)), 2).trace


def test_replay_accepts_what_the_engine_found():
    machine, trace = a_trace()
    assert replay(machine, trace) is None


def test_replay_names_the_step_that_is_not_enabled():
    machine, trace = a_trace()
    twice = (trace.steps[0], trace.steps[0], *trace.steps[2:])
    with pytest.raises(ReplayError, match="step 1 .* is not enabled") as error:
        replay(machine, replace(trace, steps=twice))
    assert error.value.step == 1


def test_replay_names_the_step_with_another_outcome():
    machine, trace = a_trace()
    step = trace.steps[2]
    forged = Step(step.action, step.binding, (7, *step.state[1:]))
    steps = (*trace.steps[:2], forged, *trace.steps[3:])
    with pytest.raises(ReplayError, match="step 2 .* another state"):
        replay(machine, replace(trace, steps=steps))


def test_replay_refuses_a_false_start_and_a_false_loop():
    machine, trace = a_trace()
    with pytest.raises(ReplayError, match="initial"):
        replay(machine, replace(trace, initial=trace.steps[0].state))
    with pytest.raises(ReplayError, match="loop"):
        replay(machine, replace(trace, loop=0))
    with pytest.raises(ReplayError, match="another machine"):
        replay(machine, Trace(3, 0, trace.initial, ()))


def test_values_of_formulas_are_zero_and_one():
    machine = Machine(election(), 3)
    state = only_state(machine)
    chosen = machine.system.variable("chosen")
    assert evaluate(machine, eq(rd(chosen), NOBODY), state) == 1
    assert evaluate(machine, eq(ME, rd(chosen)), state, {ME: 0}) == 0


def test_free_values_are_tried_no_further_than_needed():
    machine = Machine(topology(), 7, 0)
    leaders = list(initial_states(machine))
    assert len(leaders) == 6322  # idempotent maps of 7 elements
