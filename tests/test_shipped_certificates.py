"""Every proof about a shipped scenario is accepted again, by each solver on its own."""

import pytest

import cpuhp
from cpuhp.api import Settings
from cpuhp.engines.ladder import PROVABLE
from cpuhp.model.system import Expectation

SECONDS = 60.0  # for a proof; tests share the machine with others
KINDS = (
    *PROVABLE,
    Expectation.SOMETIMES,
    Expectation.INVERSION_FREE,
    Expectation.RACE_FREE,
)


def proofs(name):
    """The proofs as `cpuhp check` finds them: several at once where that is possible."""
    scenario = cpuhp.load(name)
    settings = Settings(timeout=SECONDS)
    chosen = [
        (check, number)
        for check, number, prop in scenario.claims()
        if prop.expectation in KINDS
        and scenario.expected(prop) in ("PROVED", "UNREACHABLE")
    ]
    for answer in scenario.answers(chosen, settings):
        if answer.invariant is not None:
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
    assert accepted(proofs("bringup-parallel"), tmp_path) >= 15


@pytest.mark.parametrize("name", ["cpu-park", "luo-pci", "smpboot-boot-data"])
def test_a_system_whose_pointers_and_loops_decide(name, tmp_path):
    assert accepted(proofs(name), tmp_path) >= 4


def small_ones_first():
    large = ("bringup-", "shutdown-")
    return sorted(cpuhp.scenarios(), key=lambda name: (name.startswith(large), name))


@pytest.mark.slow
@pytest.mark.parametrize("name", small_ones_first())
def test_a_shipped_scenario(name, tmp_path):
    assert accepted(proofs(name), tmp_path)
