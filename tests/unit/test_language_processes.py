"""Who may rest, and who goes on while an interrupt handler runs."""

import pytest

from cpuhp.api import Settings, loads

HEAD = "scenario s; mutex m; shared bool y; percpu bool inside; completion done;"
CASES = {  # a program, a claim, its verdict
    "a service does not rest at a lock": (
        """service q { for (;;) { mutex_lock(m); y = true; mutex_unlock(m); } }
        process p { mutex_lock(m); }""",
        "deadlock_free",
        "VIOLATED",
    ),
    "a service rests where it waits for a completion": (
        "service q { for (;;) { wait_for_completion(done); y = true; } }",
        "deadlock_free",
        "PROVED",
    ),
    "a service does not rest in a loop in its loop": (
        "service q { for (;;) { for (;;) { wait (y); } } }",
        "deadlock_free",
        "VIOLATED",
    ),
    "handlers do not interrupt each other": (
        """interrupt a(cpu) { inside[cpu] = true; inside[cpu] = false; }
        interrupt b(cpu) { if (inside[cpu]) y = true; }""",
        "never y",
        "PROVED",
    ),
    "on another CPU a handler does run": (
        """interrupt a(cpu) { inside[cpu] = true; inside[cpu] = false; }
        interrupt b(cpu) { if (inside[boot]) y = true; }""",
        "never y",
        "VIOLATED",
    ),
    "an environment goes on while a handler runs": (
        """interrupt a(cpu) { inside[cpu] = true; inside[cpu] = false; }
        environment e(cpu) { if (inside[cpu]) y = true; }""",
        "never y",
        "VIOLATED",
    ),
    "a process begins in what it calls first": (
        "void f() { might_sleep(); } process p { f(); y = true; }",
        "never at(p, f)",
        "VIOLATED",
    ),
    "a process begins before its end": (
        "process p { might_sleep(); }",
        "never at(p, p)",
        "VIOLATED",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_who_may_stay_and_who_may_go_on(case):
    text, claim, verdict = CASES[case]
    loaded = loads(f"{HEAD} {text} check c {{ {claim}; }}")
    ((check, which, _),) = loaded.claims("c")
    assert loaded.answer(check, which, Settings(timeout=10)).verdict == verdict
