"""Claims about steps that the hotplug table does not have are left out, and no others."""

import json

import pytest
from click.testing import CliRunner

from cpuhp.api import load, loads
from cpuhp.cli import group
from cpuhp.kernel.tables.order import shipped_order
from cpuhp.language.library import data_root

TEXT = """
scenario absent;
table "x86_64-6.12";
shared cpu? leader = boot; shared bool moved; shared bool other; shared int 0..3 drops;
shared cpumask gone;
void drop() { drops = drops + 1; cpumask_set_cpu(boot, gone); }
teardown driver_dying(cpu) for STATE {
    if (leader == cpu || !other) { leader = none; moved = true; }
    drop();
    return 0;
}
process walk {
    hpstate at = CPUHP_AP_ONLINE_IDLE;
    while (at > CPUHP_OFFLINE) {
        for (c in aps) invoke_teardown(STARTING, c, at);
        at = prev_state(at);
    }
}
check leader_stays requires absent {
    always leader != none;
    always drops < 3;
    sometimes !other;
    never boot in gone;
    never moved;
    never other;
}
check no_driver { always leader != none; }
"""
ABSENT, PRESENT = "CPUHP_AP_PERF_ARM_STARTING", "CPUHP_AP_SMPCFD_DYING"
X86 = str(data_root() / "specs/tables/x86_64-6.12.table")


def asked(state):
    own = ("leader_stays", "no_driver")
    found = loads(TEXT.replace("STATE", state))
    return found, [(c, n) for c, n, _ in found.claims() if c in own]


def test_what_a_step_without_a_row_writes_is_not_asked_about():
    found, claims = asked(ABSENT)
    assert found.left_out == {"leader_stays": (ABSENT,)}
    # What the step does not write, and a check that does not require it, are asked.
    assert claims == [("leader_stays", 2), ("leader_stays", 5), ("no_driver", 0)]


def test_nothing_is_left_out_where_the_step_has_a_row():
    found, claims = asked(PRESENT)
    assert found.left_out == {} and len(claims) == 7


@pytest.mark.parametrize(
    "order, states",
    [
        ("arm64-6.12", set()),
        ("x86_64-6.12", {ABSENT, "CPUHP_AP_ARM_ARCH_TIMER_STARTING",
                         "CPUHP_AP_PERF_ARM_HISI_L3_ONLINE"}),
        ("linux-6.1", {ABSENT, "CPUHP_AP_ARM_ARCH_TIMER_STARTING",
                       "CPUHP_AP_PERF_ARM_HISI_L3_ONLINE", "CPUHP_AP_TICK_DYING",
                       "CPUHP_AP_TMIGR_ONLINE"}),
    ],
)  # fmt: skip
def test_the_serial_shutdown_on_another_machine(order, states):
    found = load("shutdown-serial", table=shipped_order(order))
    assert set().union(*found.left_out.values()) == states
    asked = {(check, prop.text) for check, _, prop in found.claims()}
    there = [text for check, text in asked if check == "pmu_context_moves_before_perf"]
    assert len(there) == (2 if states else 3)  # that of the DSU can be asked anywhere


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, order",
    [
        ("shutdown-serial", "x86_64-6.1"),
        ("shutdown-serial", "linux-6.1"),
        ("shutdown-three-phase-fixed", "x86_64-6.12"),
    ],
)
def test_what_is_asked_on_another_machine_is_as_expected(name, order):
    table = str(data_root() / f"specs/tables/{order}.table")
    told = CliRunner().invoke(
        group, ["check", name, "--order", table, "--expect", "--quiet"]
    )
    assert told.exit_code == 0, told.output


def test_what_is_left_out_is_told():
    told = CliRunner().invoke(
        group, ["check", "shutdown-serial", "--order", X86, "--check", "uncore*"]
    )
    assert told.exit_code == 3  # all that was asked for is left out
    assert "claims about steps that the table does not have\n" in told.output
    assert "uncore_context_on_live_cpu: CPUHP_AP_PERF_ARM_HISI_L3" in told.output
    args = ["check", "shutdown-serial", "--order", X86, "--check", "no_bug"]
    plain = CliRunner().invoke(group, args)
    assert plain.exit_code == 0 and "left out" not in plain.output
    data = json.loads(CliRunner().invoke(group, [*args, "--format", "json"]).stdout)
    left = data["scenarios"][0]["left_out"]
    assert left["uncore_context_on_live_cpu"] == ["CPUHP_AP_PERF_ARM_HISI_L3_ONLINE"]
