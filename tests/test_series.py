"""The series of August 2022, bisected: what each patch does for safety."""

import pytest

from cpuhp.api import Settings, load

SCENARIO = "shutdown-three-phase"
ELECTED = "pmu_context_on_live_cpu"
UNCORE = "uncore_context_on_live_cpu"
COUNT = "rcu_counts_online_cpus"
GATE = "gate_opens_for_marked_steps_only"
IRQ = "interrupt_on_live_cpu"


ON, OFF = "true", "false"

SAFETY = [
    # The lock alone does not help; the mask does, with and without the lock.
    (ELECTED, {"patch7": OFF}, "VIOLATED"),
    (ELECTED, {"patch8": OFF}, "VIOLATED"),
    (ELECTED, {"patch5": OFF}, "PROVED"),
    (UNCORE, {"patch8": OFF}, "VIOLATED"),
    (UNCORE, {"patch5": OFF}, "PROVED"),
    (COUNT, {"patch6": OFF}, "PROVED"),
    # The descriptor's lock is enough; without it patch 9 would be.
    (IRQ, {"patch9": OFF}, "PROVED"),
    (IRQ, {"irq_unlocked": ON}, "PROVED"),
    (IRQ, {"irq_unlocked": ON, "patch9": OFF}, "VIOLATED"),
    # As posted the gate never opens; without it nobody looks at the marks.
    (GATE, {"gate": "AS_POSTED"}, "PROVED"),
    (GATE, {"gate": "AS_POSTED", "patch4": OFF}, "VIOLATED"),
]

REACH = [
    # What patch 6 changes is not run.
    (COUNT, {}, "UNREACHABLE"),
    (COUNT, {"patch6": OFF}, "UNREACHABLE"),
    (GATE, {}, "WITNESSED"),
    (GATE, {"gate": "AS_POSTED"}, "UNREACHABLE"),
]


@pytest.mark.parametrize(("check", "options", "expected"), SAFETY)
def test_a_patch_decides_or_it_does_not(check, options, expected):
    assert verdicts(check, options, sometimes=False) == [expected]


@pytest.mark.parametrize(("check", "options", "expected"), REACH)
def test_what_the_quick_path_reaches(check, options, expected):
    assert verdicts(check, options, sometimes=True) == [expected]


def verdicts(check, options, *, sometimes):
    """With 3 CPUs, on the claims of a check that are `sometimes`, or on the others."""
    scenario = load(SCENARIO, options=options)
    return [
        scenario.answer(check, number, Settings(cpus=3, timeout=120)).verdict
        for _, number, claim in scenario.claims(check)
        if (claim.expectation.value == "sometimes") is sometimes
    ]
