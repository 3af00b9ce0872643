"""The corrected three-phase shutdown: all checks hold, and no correction is spare."""

import pytest

from cpuhp.api import Settings, load

FIXED = "shutdown-three-phase-fixed"
FAILURES = ("deactivate_fails", "cpu_disable_refused", "cpu_off_fails", "already_down")

# A correction, what has to go wrong for it to matter, and what then falls without it.
NEEDED = [
    ("fix_wait_for_kicked", "already_down", ("waited_for_cpu_was_kicked", "no_deadlock")),
    ("fix_stop_at_failure", "deactivate_fails", ("phase_barrier_holds",)),
    ("fix_refused_cpu", "cpu_disable_refused", ("waited_for_cpu_went_down",)),
    ("fix_refused_cpu", "cpu_disable_refused", ("no_deadlock",)),
    ("fix_jump_when_off", "cpu_off_fails", ("every_cpu_off_at_jump",)),
    ("fix_hotplug_disabled", None, ("reboot_cpu_stays",)),
    ("fix_irqsave", None, ("pmu_lock_held_with_interrupts_off",)),
    ("fix_elections", None, ("perf_scope_on_live_cpu", "timer_migrator_available")),
    ("fix_rcu_affinity", None, ("rcu_threads_off_leaving_cpus",)),
    ("fix_tick", None, ("timekeeper_on_live_cpu",)),
    ("fix_hctx", None, ("hctx_drained_by_last_cpu", "hctx_last_as_in_serial_order")),
    ("fix_smt", None, ("smt_key_as_in_serial_order",)),
    ("fix_uncore_lock", None, ("no_data_race",)),
    ("patch5", None, ("no_data_race",)),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("correction", "failure", "checks"), NEEDED)
def test_without_one_correction_a_check_falls(correction, failure, checks):
    given = {correction: "false"} | ({failure: "true"} if failure else {})
    scenario = load(FIXED, options=given)
    for check in checks:
        answer = scenario.answer(check, 0, Settings(cpus=3, timeout=120))
        assert (answer.verdict, answer.expected) == ("VIOLATED", "VIOLATED")


@pytest.mark.slow
@pytest.mark.parametrize("failure", [None, *FAILURES])
def test_with_all_corrections_every_check_is_as_expected(failure):
    scenario = load(FIXED, options={failure: "true"} if failure else {})
    answers = [
        scenario.answer(check, number, Settings(cpus=3, timeout=120))
        for check, number, _ in scenario.claims()
    ]
    assert not [(a.check, a.claim, a.reason) for a in answers if not a.is_as_expected]
    assert not [a.check for a in answers if a.verdict == "VIOLATED"]


def test_every_correction_is_in_the_table():
    corrections = {
        name for name, *_ in load(FIXED).options() if name.startswith("fix_")
    }
    assert corrections == {name for name, _, _ in NEEDED} - {"patch5"}
