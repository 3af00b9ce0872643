"""Every proof about a shipped scenario is accepted again, by each solver on its own."""

from pathlib import Path

import pytest

import cpuhp

SLOW_TO_PROVE = {"rcu_counts_the_cpus_brought_up"}
# Accepted with quantifiers only: the pool of seats is too weak for it.
NEEDS_QUANTIFIERS = {("bringup-serial", "no_deadlock")}
WITHOUT_SAFETY = {"bringup-maxcpus"}
SCENARIOS = [
    path.stem.replace("_", "-")
    for path in sorted((Path(__file__).parents[1] / "specs" / "scenarios").glob("*.hp"))
]


def proofs(name, slow):
    scenario = cpuhp.load(name)
    for check in dict.fromkeys(check for check, _, _ in scenario.claims("*")):
        if (check in SLOW_TO_PROVE) == slow:
            for answer in scenario.check(check):
                if answer.invariant:
                    yield answer


def accepted(answers, folder):
    count = 0
    for answer in answers:
        certificate = answer.save_certificate(folder)
        outcomes = cpuhp.certify(certificate)
        assert {outcome.solver for outcome in outcomes} == {"z3", "cvc5"}
        for outcome in outcomes:
            assert outcome.is_accepted, f"{answer.check}: {outcome}"
        count += 1
    return count


def test_parallel_bringup(tmp_path):
    assert accepted(proofs("bringup-parallel", slow=False), tmp_path) == 15


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_shipped_scenario(name, tmp_path):
    answers = [*proofs(name, slow=False), *proofs(name, slow=True)]
    known = [a for a in answers if (name, a.check) in NEEDS_QUANTIFIERS]
    accepted([a for a in answers if a not in known], tmp_path)
    for answer in known:
        outcomes = cpuhp.certify(answer.save_certificate(tmp_path))
        assert not any(outcome.is_accepted for outcome in outcomes)
    assert answers or name in WITHOUT_SAFETY
