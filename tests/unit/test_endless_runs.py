"""Which runs without end break `terminates`: nobody has to wait for an environment."""

import pytest

from cpuhp.api import Settings, loads
from cpuhp.engines.explicit import liveness

TURNING = "environment e { for (;;) { f = true; f = false; } }"
CASES = {  # a program, and the verdicts on `terminates` and `deadlock_free`
    "everybody has finished": (
        f"{TURNING} process p {{ f = false; }}",
        "PROVED PROVED",
    ),
    "everybody rests or has finished": (
        f"""{TURNING} shared bool work; process p {{ work = true; }}
        service s {{ for (;;) {{ wait (work); work = false; }} }}""",
        "PROVED PROVED",
    ),
    "somebody waits": (f"{TURNING} process p {{ wait (f); }}", "VIOLATED VIOLATED"),
    "somebody waits for what nobody does": (
        f"{TURNING} shared bool g; process p {{ wait (g); }}",
        "VIOLATED VIOLATED",
    ),
    "somebody waits at each moment for another moment": (
        f"""{TURNING} shared bool g; shared bool done;
        process p {{ atomic {{ wait (f || g); done = true; }} }}
        process q {{ atomic {{ wait (!f || done); g = true; }} }}""",
        "VIOLATED PROVED",
    ),
    "a handler waits": (
        f"""{TURNING} shared bool once;
        interrupt i(cpu) when (!once) {{ once = true; wait (f); }}
        process p {{ }}""",
        "VIOLATED VIOLATED",
    ),
    "a service has work for ever": (
        f"""{TURNING} service s {{ for (;;) {{ wait (f); f = false; }} }}""",
        "VIOLATED PROVED",
    ),
    "nobody moves": ("shared bool g; process p { wait (g); }", "PROVED VIOLATED"),
}


def verdicts(name):
    text = f"scenario s; shared bool f; {CASES[name][0]} check t {{ terminates; deadlock_free; }}"
    loaded = loads(text)
    return [loaded.answer("t", number, Settings(cpus=2)) for number in (0, 1)]


@pytest.mark.parametrize("name", CASES)
def test_an_environment_may_go_on_alone(name):
    answers = verdicts(name)
    assert [answer.verdict for answer in answers] == CASES[name][1].split()


@pytest.mark.parametrize("resting", [True, False])
def test_who_rests_meanwhile_is_looked_at(resting, monkeypatch):
    monkeypatch.setattr(liveness, "_is_at_rest", lambda graph, node: resting)
    name = "somebody waits" if resting else "everybody has finished"
    assert verdicts(name)[0].verdict != CASES[name][1].split()[0]


def test_a_service_that_has_chosen_what_to_wait_for_does_not_rest():
    text = """scenario s; shared bool x; shared bool y;
        service s { for (;;) { wait (x); either { wait (y); } or { x = false; } } }
        process p { x = true; }
        check t { deadlock_free; }"""
    assert loads(text).answer("t", 0, Settings(cpus=2)).verdict == "VIOLATED"
    assert (
        loads(text.replace("wait (y)", "y = true"))
        .answer("t", 0, Settings(cpus=2))
        .verdict
        == "PROVED"
    )
