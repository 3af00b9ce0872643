"""What a statement once did otherwise than it says: the smallest program of each case."""

import pytest

from cpuhp.api import Settings, loads

TWICE = """scenario s; enum step { ONE, TWO, DONE };
shared bool bad; percpu bool x = cpu == boot;
process p {
    step at; cpu? a; cpu? b;
    while (at != DONE) { %s }
    if (%s) bad = true;
}
check t { never bad; }
"""
CASES = {
    "a choice in a loop is made anew each time": TWICE
    % (
        """cpu? c = any(d in cpus);
        if (at == ONE) { a = c; at = TWO; } else { b = c; at = DONE; }""",
        "a != b",
    ),
    "a choice that another one depends on is made anew, too": TWICE
    % (
        """cpu? c; atomic { c = any(d in cpus); c = any(d in cpus : d != c); }
        if (at == ONE) { a = c; at = TWO; } else { b = c; at = DONE; }""",
        "a != b",
    ),
    "each round of a loop sees what the one before did to all CPUs": TWICE
    % (
        """forall (c in cpus) { x[c] = exists(d in cpus : d != c && x[d]); }
        if (at == ONE) at = TWO; else at = DONE;""",
        "x[boot]",
    ),
    "and so does a third one": TWICE.replace("ONE, TWO", "ONE, TWO, THREE")
    % (
        """forall (c in cpus) { x[c] = exists(d in cpus : d != c && x[d]); }
        if (at == ONE) at = TWO; else if (at == TWO) at = THREE; else at = DONE;""",
        "exists(c in aps : x[c])",
    ),
    "a formula beside an option is looked at": """scenario s;
        option bool on = true; shared bool flag; shared bool bad;
        bool ready() = flag;
        environment e { flag = true; }
        process p { if (on && ready()) bad = true; }
        check t { never bad; }""",
    "a parameter with the name of an option": """scenario s;
        option bool fast = false; shared bool bad;
        void f(bool fast) { if (fast) bad = true; }
        process p { f(true); }
        check t { never bad; }""",
    "a local variable with the name of an option": """scenario s;
        option bool fast = false; shared bool bad;
        process p { bool fast = true; if (fast) { if (fast) bad = true; } }
        check t { never bad; }""",
}


@pytest.mark.parametrize("name", CASES)
def test_a_violation_is_found(name):
    answer = loads(CASES[name]).answer("t", 0, Settings(cpus=2))
    assert answer.verdict == "VIOLATED"


def test_an_if_that_options_decide_takes_no_step():
    text = """scenario s; option bool on = true; option bool off = false;
        bool both() = on && off;
        shared bool x; shared bool bad;
        process p { if (on && !both()) x = true; else bad = true; }
        check t { %s; }"""
    for claim, verdict in {"never bad": "PROVED", "sometimes x": "WITNESSED"}.items():
        answer = loads(text % claim).answer("t", 0, Settings(cpus=2))
        assert answer.verdict == verdict
    assert len(answer.trace.steps) == 1
