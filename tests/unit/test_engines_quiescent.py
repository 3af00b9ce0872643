"""`finally` speaks of states in which nobody who owes progress can move."""

import pytest

from cpuhp.api import Settings, load, loads

TEXT = """
scenario quiet;
percpu bool served;
shared cpumask noise;
process work(cpu) on aps { if (cpu != boot) noise[cpu] = false; }
environment someone(cpu) on aps { for (;;) { noise[cpu] = true; noise[cpu] = false; } }
check everybody_served { finally all(c in aps : served[c] && !noise[c]); }
"""


@pytest.mark.parametrize("cpus", [2, 3])
def test_an_environment_that_could_move_on_does_not_hide_a_violation(tmp_path, cpus):
    path = tmp_path / "quiet.hp"
    path.write_text(TEXT)
    answer = load(str(path)).answer("everybody_served", 0, Settings(cpus=cpus))
    assert (answer.verdict, answer.reason) == ("VIOLATED", None)


FIRST = """scenario stuck; shared cpumask asked = cpus; shared bool done; shared bool turns;
process p { atomic { cpu? c = first(d in asked); wait (c != boot); done = true; } }
"""


@pytest.mark.parametrize(
    "claim",
    ["deadlock_free", "finally done", "!done leads to done"],
)
def test_who_waits_for_another_one_to_be_the_first_is_stuck(claim):
    loaded = loads(f"{FIRST} check t {{ {claim}; }}")
    assert loaded.answer("t", 0, Settings(cpus=2)).verdict == "VIOLATED"
    assert loaded.answer("t", 0, Settings(cpus=2, boot=1)).verdict == "PROVED"


def test_and_whoever_turns_meanwhile_does_so_for_ever():
    turning = "process q { while (!done) { turns = !turns; } }"
    loaded = loads(f"{FIRST} {turning} check t {{ terminates; }}")
    assert loaded.answer("t", 0, Settings(cpus=2)).verdict == "VIOLATED"
    assert loaded.answer("t", 0, Settings(cpus=2, boot=1)).verdict == "PROVED"
