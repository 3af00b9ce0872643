"""`finally` speaks of states in which nobody who owes progress can move."""

import pytest

from cpuhp.api import Settings, load, loads
from cpuhp.engines.explicit.search import check

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


def at_each_place(text):
    """The verdicts with 2 CPUs: the control CPU the lower, and the higher."""
    sliced = loads(text).checker.slice("t", 0)
    return [check(sliced.system, sliced.prop, 2, boot).verdict.name for boot in (0, 1)]


@pytest.mark.parametrize(
    "claim",
    ["deadlock_free", "finally done", "!done leads to done"],
)
def test_who_waits_for_another_one_to_be_the_first_is_stuck(claim):
    text = f"{FIRST} check t {{ {claim}; }}"
    assert at_each_place(text) == ["VIOLATED", "PROVED"]
    assert loads(text).answer("t", 0, Settings(cpus=2)).verdict == "VIOLATED"


def test_and_whoever_turns_meanwhile_does_so_for_ever():
    turning = "process q { while (!done) { turns = !turns; } }"
    assert at_each_place(f"{FIRST} {turning} check t {{ terminates; }}") == [
        "VIOLATED",
        "PROVED",
    ]
