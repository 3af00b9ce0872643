"""Every check of the catalogue can fail: something that is wrong makes it VIOLATED."""

import re

import pytest

from cpuhp.api import Settings, load
from cpuhp.language import tree
from cpuhp.language.library import data_root, shipped

CHECKS = sorted(path.stem for path in (data_root() / "checks").glob("*.hp"))
FORBIDS = re.compile(r"^\s*(always|never)\b", re.MULTILINE)
WITNESS = re.compile(r"^\s*sometimes\b", re.MULTILINE)

QUICK, SERIAL = "shutdown-three-phase", "shutdown-serial"
FIXED = "shutdown-three-phase-fixed"
PARALLEL, FULLY, LATE = "bringup-parallel", "bringup-fully-parallel", "bringup-late"
LOCKS = str(data_root() / "specs/mutants/locks/driver-lock-order.hp")
MUTANT = str(data_root() / "specs/mutants/shutdown/parallel-dead.hp")

# What each check rejects: scenario and options ("-name" is off, "name" is on).
TEETH = {
    "active_cpu_is_fully_up": ("bringup-serial", "active_from_start"),
    "active_cpu_takes_interrupts": ("bringup-serial", "active_from_start"),
    "ap_alive_only_after_kick": (PARALLEL, "starts_unasked"),
    "ap_online_only_after_release": (PARALLEL, "no_wait_for_release"),
    "brought_online_or_rolled_back": (LATE, "no_cleanup"),
    "election_under_lock_is_exclusive": (QUICK, "-patch5"),
    "emptied_cpu_stays_empty": (SERIAL, "emptied_at_once"),
    "every_cpu_finishes": ("shutdown-stop-ipi", "deaf waits_for_answers"),
    "every_cpu_off_at_jump": (QUICK, "cpu_off_fails"),
    "gate_opens_for_marked_steps_only": (QUICK, "gate=AS_POSTED -patch4"),
    "gives_up_only_after_failure": (FIXED, "no_stop_wait"),
    "hardware_quiet_before_off": (QUICK, "deactivate_fails"),
    "hctx_drained_by_last_cpu": (QUICK, ""),
    "hctx_last_as_in_serial_order": (QUICK, ""),
    "idle_stack_has_one_user": (PARALLEL, "ids_may_repeat"),
    "interrupt_on_live_cpu": (QUICK, "irq_unlocked -patch9"),
    "last_cpu_stays": (QUICK, "sysfs_succeeds"),
    "never_more_than_maxcpus": ("bringup-maxcpus", "maxcpus=0 no_test_for_zero"),
    "new_cpu_finds_its_number": (PARALLEL, "lookup_may_fail"),
    "no_bug": (SERIAL, "deactivate_fails"),
    "no_call_left_on_dead_cpu": (QUICK, "csd_not_flushed"),
    "no_callback_twice": (QUICK, "already_down kick_always"),
    "no_data_race": (MUTANT, ""),
    "no_deadlock": (FULLY, ""),
    "no_lock_inversion": (LOCKS, ""),
    "no_stack_is_shared": ("bringup-serial", "start_all_at_once"),
    "no_startup_ipi_for_a_running_cpu": (LATE, ""),
    "nobody_blocks_with_interrupts_off": (QUICK, "irqs_stay_on"),
    "one_cpu_comes_online_at_a_time": (FULLY, ""),
    "one_cpu_on_the_trampoline_stack": (PARALLEL, "no_trampoline_lock"),
    "online_cpu_has_its_timer": ("bringup-serial", "arch_timer_left_off"),
    "online_cpu_was_prepared": ("bringup-serial", "workers_made_late"),
    "perf_scope_on_live_cpu": (QUICK, ""),
    "phase_barrier_holds": (QUICK, "deactivate_fails"),
    "pmu_context_moves_before_perf": (QUICK, "-patch8"),
    "pmu_context_on_live_cpu": (QUICK, "-patch8"),
    "pmu_lock_held_with_interrupts_off": (QUICK, ""),
    "prepared_data_reaches_its_cpu": (PARALLEL, "one_spare_mask"),
    "rcu_counts_online_cpus": (MUTANT, ""),
    "rcu_counts_the_cpus_brought_up": (FULLY, "rcu_counts_itself tsc_reliable"),
    "rcu_forgets_dead_cpus": (QUICK, "rcu_not_told"),
    "rcu_threads_off_leaving_cpus": (QUICK, ""),
    "rcu_waits_for_counted_cpus": (SERIAL, "rcu_not_told"),
    "rcu_waits_for_prepared_cpus": ("bringup-serial", "rcu_counts_itself"),
    "reboot_cpu_stays": (QUICK, ""),
    "report_reaches_a_living_cpu": (QUICK, "caller_irqs_off"),
    "running_cpu_can_call": (SERIAL, "cfd_freed_early"),
    "siblings_known_before_starting": (PARALLEL, "late_sibling_map"),
    "siblings_wait_while_microcode_loads": (PARALLEL, "single_pass"),
    "smt_key_as_in_serial_order": (QUICK, ""),
    "stopped_cpu_runs_no_thread": (QUICK, "no_join"),
    "task_on_live_cpu": (QUICK, "deactivate_fails"),
    "teardown_is_complete": (SERIAL, "prepare_skipped"),
    "threads_parked_before_stop": (QUICK, "deactivate_fails"),
    "tick_timer_stays": (SERIAL, "tick_not_cancelled"),
    "timekeeper_on_live_cpu": (QUICK, ""),
    "timeout_changes_nothing": (LATE, "timeout_resets_state"),
    "timer_migrator_available": (QUICK, ""),
    "timer_on_live_cpu": (QUICK, "deactivate_fails"),
    "trampoline_lock_is_released": (
        PARALLEL,
        "lookup_may_fail lookup_failure_keeps_lock",
    ),
    "tsc_sync_has_two_participants": (FULLY, ""),
    "unbound_work_off_leaving_cpus": (QUICK, "wq_mask_minus_me"),
    "uncore_context_on_live_cpu": (QUICK, "-patch8"),
    "waited_for_cpu_was_kicked": (QUICK, "already_down"),
    "waited_for_cpu_went_down": (QUICK, "cpu_disable_refused"),
    "wheel_timer_on_live_cpu": (SERIAL, "prepare_skipped"),
}
SLOW = {
    "wheel_timer_on_live_cpu",
    "ap_online_only_after_release",
    "every_cpu_off_at_jump",
    "hardware_quiet_before_off",
    "no_deadlock",
    "task_on_live_cpu",
    "timekeeper_on_live_cpu",
    "timer_on_live_cpu",
    "rcu_forgets_dead_cpus",
    "report_reaches_a_living_cpu",
}


def options(text):
    """`a -b c=d` as {"a": "true", "b": "false", "c": "d"}."""
    found = {}
    for word in text.split():
        name, _, value = word.removeprefix("-").partition("=")
        found[name] = value or ("false" if word.startswith("-") else "true")
    return found


def slow_or_not(check):
    return pytest.param(check, marks=pytest.mark.slow if check in SLOW else ())


@pytest.mark.parametrize("check", [slow_or_not(check) for check in CHECKS])
def test_a_check_rejects_what_is_wrong(check):
    name, given = TEETH[check]
    scenario = load(name, options=options(given))
    answer = scenario.answer(check, 0, Settings(cpus=3, timeout=120))
    assert answer.verdict == "VIOLATED", answer.reason


def test_every_check_has_something_that_it_rejects():
    assert sorted(TEETH) == CHECKS


@pytest.mark.parametrize("check", sorted({*CHECKS} - {"no_bug"}))
def test_what_a_check_forbids_has_a_witness_beside_it(check):
    # `no_bug` applies to all scenarios, also where no assertion can be reached.
    text = (data_root() / f"checks/{check}.hp").read_text()
    assert bool(FORBIDS.search(text)) == bool(WITNESS.search(text))


def declared(unit):
    return {item.name for item in unit.items if hasattr(item, "name")}


def with_used(names):
    """The components and all that they use."""
    found, todo = set(), list(names)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            uses = (i for i in shipped().units[name].items if isinstance(i, tree.Use))
            todo += [part.name for use in uses for part in use.names]
    return found


@pytest.mark.parametrize("check", CHECKS)
def test_what_a_check_names_is_in_what_it_requires(check):
    # Else every spec that uses what it requires, and not the rest, is an error.
    asked, units = shipped().checks[check], shipped().units
    parts = {name: declared(u) for name, u in units.items() if u.kind == "component"}
    near = with_used(required.name for required in asked.requires)
    told = " ".join(claim.span.text for claim in asked.claims)
    words = set(re.findall(r"[a-z_]{2,}", told)) & set().union(*parts.values())
    assert words <= set().union(*(parts[name] for name in near))
