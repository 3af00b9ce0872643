"""The series of August 2022, bisected: what each patch does for safety."""

import pytest

from cpuhp.api import load

SCENARIO = "shutdown-three-phase"
ELECTED = "pmu_context_on_live_cpu"
UNCORE = "uncore_context_on_live_cpu"
COUNT = "rcu_counts_online_cpus"
GATE = "gate_opens_for_marked_steps_only"
IRQ = "interrupt_on_live_cpu"


def verdicts(check, options):
    """The verdict on the claim, and on the `sometimes` beside it, with 3 CPUs."""
    given = {name.removeprefix("no "): "false" for name in options if " " in name}
    given |= {name: "true" for name in options if " " not in name}
    if "as_posted" in given:
        del given["as_posted"]
        given["gate"] = "AS_POSTED"
    answers = load(SCENARIO, options=given).check(check, cpus=3)
    claim = [a.verdict for a in answers if a.kind != "sometimes"]
    seen = [a.verdict for a in answers if a.kind == "sometimes"]
    assert len(claim) == 1 and len(seen) <= 1
    return claim[0], seen[0] if seen else None


@pytest.mark.parametrize(
    ("check", "options", "expected"),
    [
        # The lock alone does not help; the mask does, with and without the lock.
        (ELECTED, ["no patch7"], ("VIOLATED", "WITNESSED")),
        (ELECTED, ["no patch8"], ("VIOLATED", "WITNESSED")),
        (ELECTED, ["no patch5"], ("PROVED", "WITNESSED")),
        (UNCORE, ["no patch8"], ("VIOLATED", "WITNESSED")),
        (UNCORE, ["no patch5"], ("PROVED", "WITNESSED")),
        # What patch 6 changes is not run.
        (COUNT, [], ("PROVED", "UNREACHABLE")),
        (COUNT, ["no patch6"], ("PROVED", "UNREACHABLE")),
        # The descriptor's lock is enough; without it patch 9 would be.
        pytest.param(IRQ, ["no patch9"], ("PROVED", "WITNESSED"), marks=pytest.mark.slow),
        pytest.param(IRQ, ["irq_unlocked"], ("PROVED", "WITNESSED"),
                     marks=pytest.mark.slow),
        pytest.param(IRQ, ["irq_unlocked", "no patch9"], ("VIOLATED", "WITNESSED"),
                     marks=pytest.mark.slow),
        # As posted the gate never opens.
        (GATE, ["as_posted"], ("PROVED", "UNREACHABLE")),
        (GATE, ["as_posted", "no patch4"], ("VIOLATED", "WITNESSED")),
        (GATE, [], ("PROVED", "WITNESSED")),
    ],
)  # fmt: skip
def test_a_patch_is_as_safe_as_it_is(check, options, expected):
    assert verdicts(check, options) == expected
