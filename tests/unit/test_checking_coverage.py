"""A verdict at a number of CPUs covers every place of the control CPU."""

from dataclasses import replace
from pathlib import Path

import pytest

from cpuhp.api import Settings, load, loads
from cpuhp.engines import ladder
from cpuhp.model.verdict import Verdict

SPEC = str(Path(__file__).parents[1] / "data" / "handover.hp")


def place_matters(monkeypatch):
    """As in a program that picks the first CPU, and where that must be the first."""
    monkeypatch.setattr(ladder, "orders_aps_only", lambda *_: False)
    monkeypatch.setattr(ladder, "HARMLESS", ())


def test_a_count_that_was_searched_in_part_is_not_claimed(monkeypatch):
    plain = ladder.check

    def interrupted(system, prop, cpus, boot, limits, **options):
        result = plain(system, prop, cpus, boot, limits, **options)
        if (cpus, boot) == (3, 2):
            return replace(result, verdict=Verdict.UNKNOWN, trace=None, reason="cut")
        return result

    monkeypatch.setattr(ladder, "check", interrupted)
    place_matters(monkeypatch)
    (answer,) = [
        a for a in load(SPEC).check("every_cpu_finishes") if a.kind == "terminates"
    ]
    assert (answer.verdict, answer.cpus) == ("PROVED", 2)


def test_at_a_fixed_count_all_places_are_searched(monkeypatch):
    places = []
    plain = ladder.check

    def noted(system, prop, cpus, boot, limits, **options):
        places.append((cpus, boot))
        return plain(system, prop, cpus, boot, limits, **options)

    monkeypatch.setattr(ladder, "check", noted)
    place_matters(monkeypatch)
    scenario = load(SPEC)
    answer = scenario.answer("duty_on_live_cpu", 0, Settings(cpus=3))
    assert (answer.verdict, answer.cpus) == ("PROVED", 3)
    anywhere, *exactly = places
    assert anywhere == (3, 0)
    assert exactly == [(3, 0), (3, 1), (3, 2)]


BELOW = """
scenario below;
shared int 0..3 below; shared bool past; shared bool over;
process control {
    for (c in cpus) { if (c == boot) past = true; else if (!past) below = below + 1; }
    over = true;
    wait (below != 1 || count(cpus) < 4);
}
check not_second_of_four { never over && below == 1 && count(cpus) == 4; }
"""


@pytest.mark.parametrize("check", ["not_second_of_four", "no_deadlock"])
@pytest.mark.parametrize("cpus", [None, 4])
def test_the_control_cpu_may_be_the_second_of_four(check, cpus):
    (answer,) = loads(BELOW).check(check, cpus=cpus)
    assert (answer.verdict, answer.cpus) == ("VIOLATED", 4)
    assert answer.trace.boot == 1
