"""A step goes where the kernel has it, and not where it once was a bug."""

from dataclasses import replace

import pytest
from click.testing import CliRunner

from cpuhp.api import load, loads
from cpuhp.cli import group
from cpuhp.diagnostics import InputError, Source
from cpuhp.kernel.tables.order import shipped_order
from cpuhp.language.library import data_root, read_unit
from cpuhp.language.parser import parse
from cpuhp.model.system import Expectation
from cpuhp.model.table import Section
from cpuhp.ordering.place import place
from cpuhp.ordering.questions import Bound, Finding, Outcome, Question
from cpuhp.ordering.reasons import Case, constraints
from cpuhp.ordering.reasons import reasons as why
from cpuhp.ordering.steps import shipped_step, shown, slots, step_in
from cpuhp.ordering.variant import variant_of
from cpuhp.ordering.workers import Judges
from cpuhp.report import place as page

TABLE = shipped_order("arm64-6.12")
STEPS = data_root() / "specs/steps"


def test_scenarios_of_another_architecture_take_no_part():
    command = ["place", "CPUHP_AP_TICK_DYING", "--section", "STARTING", "--cpus", "2"]
    result = CliRunner().invoke(group, command)
    assert result.exit_code == 0, result.output
    assert "claims depend on the step" in result.output


def placed(step, cpus=2, section=None, thorough=False, scenario="shutdown-serial"):
    base = variant_of(load(scenario).program, {})
    if step.endswith(".hp"):
        step = step_in(read_unit(STEPS / step))
    else:
        step = shipped_step(step, TABLE)
    return place(step, [base], Judges(Bound(cpus)), section, thorough)


def reasons(found, row):
    """Checks that forbid the slot right above a row."""
    for one in found.ranges:
        for slot in one.slots:
            if shown(slot.lower) == row:
                return {reason.text for reason in one.reasons}
    raise AssertionError(row)


def test_m13_threads_are_parked_after_the_grace_period_that_needs_them():
    found = placed("m13-park-threads.hp", section=Section.ONLINE, thorough=True)
    assert not reasons(found, "CPUHP_AP_SCHED_WAIT_EMPTY")  # where the kernel has it
    assert "no_deadlock" in reasons(found, "CPUHP_AP_ACTIVE")


@pytest.mark.slow
def test_m01_timers_leave_before_a_dead_step_needs_their_owner():
    found = placed("m01-migrate-hrtimers.hp", thorough=True)
    assert not reasons(found, "CPUHP_AP_SMPCFD_DYING")
    assert {"no_deadlock", "timer_on_live_cpu"} <= reasons(found, "CPUHP_OFFLINE")


@pytest.mark.slow
def test_m26_callbacks_are_moved_before_a_dead_step_waits_for_them():
    found = placed("m26-migrate-rcu-callbacks.hp", section=Section.PREPARE)
    assert "no_deadlock" in reasons(found, "CPUHP_MM_WRITEBACK_DEAD")
    assert not reasons(found, "CPUHP_TIMERS_PREPARE")


@pytest.mark.slow
def test_m26_a_scenario_that_compares_with_the_steps_row_takes_part():
    found = placed("m26-migrate-rcu-callbacks.hp", scenario="bringup-serial")
    assert found.scenarios == ("bringup-serial",)


def test_m30_requests_are_drained_while_their_interrupt_still_comes():
    found = placed("m30-drain-requests.hp")
    assert not reasons(found, "CPUHP_AP_SMPBOOT_THREADS")  # where the kernel has it
    assert "no_deadlock" in reasons(found, "CPUHP_AP_SMPCFD_DYING")
    assert "step_no_request_is_lost" in reasons(found, "CPUHP_OFFLINE")


@pytest.mark.slow
def test_m07_time_is_handed_over_before_the_cpu_is_dead():
    found = placed("CPUHP_AP_TICK_DYING")
    assert found.own is not None
    assert not reasons(found, shown(found.own.lower))
    assert "timekeeper_on_live_cpu" in reasons(found, "CPUHP_OFFLINE")


def test_a_forbidden_slot_is_not_asked_again_and_tells_who_is_responsible():
    few = placed("m26-migrate-rcu-callbacks.hp", section=Section.PREPARE)
    (bad,) = [one for one in few.ranges if one.reasons]
    (reason,) = bad.reasons
    assert reason.responsible == ("memcg_hotplug_cpu_dead", "takedown_cpu")


def case(check, outcomes, gaps):
    """Asked in every slot; `outcomes` of those where it does not hold."""
    numbers = frozenset(slot.number for slot in gaps)
    question = Question(check, 0, Expectation.ALWAYS, "")
    failing = {n: (Finding(outcome, 2), None) for n, outcome in outcomes.items()}
    return Case("some-scenario", question, numbers, failing)


def test_what_is_not_known_gives_way_to_what_is():
    gaps = slots(TABLE, "CPUHP_AP_ACTIVE")[:4]
    one, two, three, _ = (slot.number for slot in gaps)
    cases = [
        case("unsure", {one: Outcome.UNKNOWN, two: Outcome.UNKNOWN}, gaps),
        case("sure", {two: Outcome.FAILS, three: Outcome.FAILS}, gaps),
    ]
    found = why(cases, gaps, {})
    told = [[reason.text for reason in found[slot.number]] for slot in gaps]
    assert told == [["unsure: not known ()"], ["sure"], ["sure"], []]
    bounds = constraints(cases, gaps)
    assert [(c.check, c.above, c.row) for c in bounds] == [
        ("sure", False, gaps[1].lower), ("sure", True, gaps[2].upper)
    ]  # fmt: skip


def test_what_is_not_known_anywhere_is_not_told_to_fail():
    step = step_in(read_unit(STEPS / "m26-migrate-rcu-callbacks.hp"))
    base = variant_of(load("shutdown-serial").program, {})
    few = Judges(Bound(2, max_states=60))
    found = place(step, [base], few, Section.PREPARE)
    assert found.everywhere and not any(r.finding.is_known for r in found.everywhere)
    told = "\n".join([*page.text(found), *page.comment(found)])
    assert "Fails or is not known wherever it stands" in told
    assert told.count("no_deadlock: not known (limit of 60 states reached") == 2


def test_what_fails_in_one_slot_and_is_not_known_elsewhere_tells_both():
    gaps = slots(TABLE, "CPUHP_AP_ACTIVE")[:3]
    unknown = dict.fromkeys((slot.number for slot in gaps), Outcome.UNKNOWN)
    some = case("partly", {**unknown, gaps[1].number: Outcome.FAILS}, gaps)
    assert some.everywhere
    assert some.text == "partly; not known in 2 of 3 slots"


RACY = """
/// Moves what it does not lock.
component racy_step source "kernel/cpu.c";
use hotplug, smp_shutdown, sched;
shared bool shared_flag;
teardown racy_teardown(cpu) for CPUHP_AP_SCHED_WAIT_EMPTY {
    BUG_ON(online[cpu]);
    BUG_ON(!online[cpu]);
    return 0;
}
"""


def test_what_fails_everywhere_does_not_hide_the_rest(tmp_path):
    path = tmp_path / "racy.hp"
    path.write_text(RACY)
    base = variant_of(load("shutdown-serial").program, {})
    found = place(step_in(read_unit(path)), [base], Judges(Bound(2)), Section.ONLINE)
    assert {r.text for r in found.everywhere} == {"no_bug", "no_deadlock"}
    assert found.allowed


UP_AND_DOWN = """
/// Takes a reference on the way up and drops it on the way down.
component counted_step source "drivers/base/cpu.c";
use hotplug;
percpu atomic bool taken = starts_online;
startup counted_up(cpu) for "counted" { taken[cpu] = true; return 0; }
teardown counted_down(cpu) for "counted" { taken[cpu] = false; return 0; }
check reference_is_dropped requires counted_step, smp_shutdown {
    always all(c in dead : !taken[c]);
}
"""


def test_a_step_with_both_callbacks_may_stand_where_one_scenario_runs_each(tmp_path):
    path = tmp_path / "counted.hp"
    path.write_text(UP_AND_DOWN)
    bases = [
        variant_of(load(name, table=TABLE).program, {})
        for name in ("bringup-serial", "shutdown-serial")
    ]
    found = place(step_in(read_unit(path)), bases, Judges(Bound(2)))
    assert not found.unrun
    assert {"reference_is_dropped"} == reasons(found, "CPUHP_OFFLINE")
    assert not reasons(found, "CPUHP_AP_ACTIVE")
    above = reasons(found, "CPUHP_AP_ONLINE")
    assert above == {"nobody runs counted_up() in this slot"}
    down = place(step_in(read_unit(path)), bases[1:], Judges(Bound(2)), Section.ONLINE)
    assert down.unrun == ("counted_up",) and len(down.allowed) == 1


def test_what_is_proved_for_every_number_of_cpus_is_told_apart(tmp_path):
    """With two CPUs one is dead at most; that is so on no larger machine."""
    path = tmp_path / "counted.hp"
    few = """check one_is_dropped requires counted_step, smp_shutdown {
        always count(c in dead : !taken[c]) <= 1; }"""
    path.write_text(UP_AND_DOWN + few)
    base = variant_of(load("shutdown-serial", table=TABLE).program, {})
    step = step_in(read_unit(path))
    found = place(step, [base], Judges(Bound(2)), Section.ONLINE, prove=True)
    assert found.proofs is not None and found.proofs.proved
    bounded = {one.check: one.slots for one in found.proofs.bounded}
    assert bounded["one_is_dropped"] == found.proofs.slots
    assert "reference_is_dropped" not in bounded
    told = "\n".join(page.text(found))
    assert "claims PROVED for every number of CPUs" in told
    assert "searched only (shutdown-serial): " in told


KNOWN = {
    # What the comments of the kernel say of the order of its steps.
    "CPUHP_AP_ACTIVE": ("CPUHP_AP_RANDOM_ONLINE", None),
    "CPUHP_AP_SCHED_WAIT_EMPTY": (None, "CPUHP_AP_SMPBOOT_THREADS"),
    "CPUHP_AP_HRTIMERS_DYING": ("CPUHP_AP_OFFLINE", "CPUHP_AP_TICK_DYING"),
    "CPUHP_AP_TICK_DYING": ("CPUHP_AP_HRTIMERS_DYING", "CPUHP_TEARDOWN_CPU"),
    "CPUHP_AP_SMPCFD_DYING": ("CPUHP_AP_OFFLINE", "CPUHP_TEARDOWN_CPU"),
    "CPUHP_TIMERS_PREPARE": ("CPUHP_OFFLINE", "CPUHP_BRINGUP_CPU"),
    "CPUHP_CREATE_THREADS": ("CPUHP_OFFLINE", "CPUHP_BRINGUP_CPU"),
    "CPUHP_RCUTREE_PREP": ("CPUHP_OFFLINE", "CPUHP_BRINGUP_CPU"),
}


@pytest.mark.slow
@pytest.mark.parametrize("state", KNOWN)
def test_what_the_kernel_says_of_the_order_of_its_steps(state):
    bases = [
        variant_of(load(name, table=TABLE).program, {})
        for name in ("bringup-serial", "shutdown-serial")
    ]
    found = place(shipped_step(state, TABLE), bases, Judges(Bound(2)))
    (allowed,) = found.allowed
    assert found.own in allowed.slots
    lower, upper = KNOWN[state]
    assert lower is None or shown(allowed.lower) == lower
    assert upper is None or shown(allowed.upper) == upper


def test_the_core_of_the_walk_is_not_moved():
    for state in ("CPUHP_TEARDOWN_CPU", "CPUHP_BRINGUP_CPU"):
        with pytest.raises(InputError, match="HP521.*cannot be moved"):
            shipped_step(state, TABLE)


def test_a_slot_is_a_gap_and_knows_its_section():
    gaps = slots(TABLE, "CPUHP_AP_TICK_DYING")
    assert [s.number for s in gaps] == list(range(len(gaps)))
    assert {s.section for s in gaps} == set(Section)
    assert all(s.lower.number < s.upper.number for s in gaps)


def placed_text(text, *scenarios, section=Section.ONLINE, thorough=False, **options):
    step = step_in(parse(Source("step.hp", text)))
    step = replace(step, options=tuple(options.items()))
    bases = [variant_of(s.program, {}) for s in scenarios or [load("shutdown-serial")]]
    return place(step, bases, Judges(Bound(2)), section, thorough)


TORN = """
component torn_step source "kernel/cpu.c";
use cpu, hotplug, sched;
shared atomic bool above; shared atomic bool below;
teardown torn_teardown(cpu) for CPUHP_AP_MINE_ONLINE {
    if (cpu in active) above = true; else below = true;
    return 0;
}
"""
EITHER_WAY = "check a_not_above { never above; } check b_not_below { never below && boot in cpus; }"


@pytest.mark.parametrize("thorough", [False, True])
def test_what_fails_only_where_another_check_allows_is_not_set_aside(thorough):
    found = placed_text(TORN + EITHER_WAY, thorough=thorough)
    assert not found.allowed and not found.everywhere
    assert "a_not_above" in reasons(found, "CPUHP_AP_ACTIVE")
    assert "b_not_below" in reasons(found, "CPUHP_AP_SCHED_WAIT_EMPTY")


@pytest.mark.parametrize("thorough", [False, True])
def test_a_check_of_the_step_may_have_any_name(thorough):
    found = placed_text(TORN + "check step_runs { never below; }", thorough=thorough)
    assert "step_runs" in reasons(found, "CPUHP_AP_SCHED_WAIT_EMPTY")
    assert not reasons(found, "CPUHP_AP_ACTIVE")


OPTIONAL = """
component optional_step source "kernel/cpu.c";
use cpu;
option bool careful = false;
shared atomic bool harmed;
teardown optional_teardown(cpu) for CPUHP_AP_MINE_ONLINE {
    if (!careful) harmed = true;
    return 0;
}
check nobody_harmed { never harmed; }
"""


def test_options_of_the_steps_file_can_be_set():
    assert placed_text(OPTIONAL).everywhere
    assert not placed_text(OPTIONAL, careful="true").everywhere
    with pytest.raises(InputError, match="HP207.*(?s:.*)did you mean 'careful'"):
        placed_text(OPTIONAL, carefull="true")
    with pytest.raises(InputError, match="'maybe' is not a value of option 'careful'"):
        placed_text(OPTIONAL, careful="maybe")


def test_a_scenario_without_the_step_does_not_hide_where_nobody_runs_it():
    bare = loads(
        "scenario bare; use smp_shutdown, arm64, rcu, sched;"
        'table "arm64-6.12"; process control { smp_shutdown_serial(); }'
    )
    step = shipped_step("CPUHP_AP_TICK_DYING", TABLE)
    bases = [variant_of(s.program, {}) for s in (load("shutdown-serial"), bare)]
    found = place(step, bases, Judges(Bound(2)), Section.STARTING)
    told = reasons(found, "CPUHP_BRINGUP_CPU")
    assert told == {"nobody runs tick_cpu_dying() in this slot"}


HASTY = """
/// The control task does not wait for the hotplug thread.
scenario hasty;
use smp_shutdown, arm64, rcu, sched;
table "arm64-6.12";
percpu bool tally;
teardown counting(cpu) for CPUHP_AP_RANDOM_ONLINE { tally[cpu] = true; return 0; }
process control {
    for (c in aps) {
        cpuhp_set_state(c, CPUHP_TEARDOWN_CPU);
        cpuhp_kick_ap(c);
        hpstate at = CPUHP_BRINGUP_CPU;
        bool ignored = false;
        while (at > CPUHP_OFFLINE) {
            ignored = invoke_teardown(PREPARE, c, at);
            at = prev_state(at);
        }
    }
}
"""
COUNTS = """
component counting_step source "kernel/cpu.c";
teardown also_counting(cpu) for CPUHP_MINE_PREPARE { tally[cpu] = true; return 0; }
"""


def test_who_runs_the_step_decides_on_what_there_may_be_races():
    found = placed_text(COUNTS, loads(HASTY), section=None)
    assert not reasons(found, "CPUHP_AP_ACTIVE")
    assert "no_data_race" in reasons(found, "CPUHP_CREATE_THREADS")
