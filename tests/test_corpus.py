"""Every shipped scenario meets the verdicts in its header."""

import pytest

from cpuhp.api import Settings, load, scenarios

EVERY_NUMBER = Settings(timeout=120)


def wrong(answers):
    return [
        f"{a.check} ({a.kind}): {a.verdict}, expected {a.expected}; {a.reason}"
        for a in answers
        if not a.is_as_expected
    ]


def test_there_are_scenarios():
    assert {"shutdown-serial", "shutdown-three-phase", "bringup-parallel"} <= set(
        scenarios()
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", scenarios())
def test_verdicts_at_three_cpus_are_those_of_the_header(name):
    assert wrong(load(name).check(cpus=3, timeout=120)) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["shutdown-serial", "shutdown-three-phase-fixed", "bringup-parallel"]
)
def test_safety_is_proved_for_every_number_of_cpus(name):
    scenario = load(name)
    answers = [
        scenario.answer(check, number, EVERY_NUMBER)
        for check, number, prop in scenario.claims()
        if prop.expectation.value == "always" and scenario.expected(prop) == "PROVED"
    ]
    assert answers
    assert [(a.check, a.reason) for a in answers if a.cpus != "all"] == []
