"""What a slice leaves out does not matter, or only lets it do more."""

import pytest

from cpuhp.api import Settings, load
from cpuhp.engines.explicit import check

EXACT = {
    "values that a value is made of": (
        """
        shared bool x; shared bool y;
        process p { y = true; }
        process q { x = y; }
        check t { never x; }
        """,
        "VIOLATED",
    ),
    "pointers that a write goes through": (
        """
        shared cpu? owner = boot; percpu bool left;
        process p(cpu) on aps { owner = cpu; }
        process q { left[owner] = true; }
        check t { never exists(c in aps : left[c]); }
        """,
        "VIOLATED",
    ),
    "sets that a value is picked from": (
        """
        shared cpu? owner; shared cpumask marked; shared bool go;
        process p { marked[boot] = true; go = true; }
        process q { wait (go); owner = any(c in marked); }
        check t { never exists(c in aps : owner == c); sometimes owner == boot; }
        """,
        "PROVED WITNESSED",
    ),
    "waits of a function that writes nothing": (
        """
        shared bool x; shared bool y; shared bool go;
        void until_then() { wait (go); }
        process p { until_then(); x = true; }
        process q { y = true; go = true; }
        check t { never x && !y; sometimes x; }
        """,
        "PROVED WITNESSED",
    ),
    "how a process comes to a place": (
        """
        shared bool x; shared bool y; shared bool go;
        process p { wait (go); lab: x = true; }
        process q { y = true; go = true; }
        check t { never at(p, lab) && !y; sometimes at(p, lab); }
        """,
        "PROVED WITNESSED",
    ),
    "how a process comes to a place in a function": (
        """
        shared bool x; shared bool y; shared bool go; shared bool z;
        void inner() { if (go) { lab: x = true; } }
        process p { inner(); z = true; }
        process q { y = true; go = true; }
        check t { never at(p, lab) && !y; sometimes at(p, lab); }
        """,
        "PROVED WITNESSED",
    ),
    "locks, where somebody may wait for ever": (
        """
        mutex a; mutex b;
        process p { mutex_lock(a); mutex_lock(b); mutex_unlock(b); mutex_unlock(a); }
        process q { mutex_lock(b); mutex_lock(a); mutex_unlock(a); mutex_unlock(b); }
        check t { deadlock_free; }
        """,
        "VIOLATED",
    ),
    "a lock that a function gives back": (
        """
        mutex m; shared bool x;
        void give_back() { mutex_unlock(m); }
        process p(cpu) on cpus { mutex_lock(m); x = true; give_back(); }
        check t { deadlock_free; finally all(c in cpus : at(p[c], end)); }
        """,
        "PROVED PROVED",
    ),
    "a lock that a claim looks at": (
        """
        mutex m; shared bool x;
        process p { mutex_lock(m); mutex_unlock(m); }
        check t { never m == boot; sometimes m == boot; }
        """,
        "VIOLATED WITNESSED",
    ),
    "locks, where they keep others out": (
        """
        mutex m; shared int 0..2 inside; shared int 0..2 rounds;
        process p(cpu) on aps {
            mutex_lock(m); inside++; inside--; mutex_unlock(m); rounds++;
        }
        check t { never inside == 2; sometimes inside == 1; }
        """,
        "PROVED WITNESSED",
    ),
    "rows of the table that a walk stops at": (
        """
        table "arm64-6.12";
        percpu hpstate state = CPUHP_AP_ACTIVE; percpu bool other;
        teardown top(cpu) for CPUHP_AP_ACTIVE fails {
            either { return 0; } or { return -EBUSY; }
        }
        teardown below(cpu) for CPUHP_AP_SMPBOOT_THREADS { other[cpu] = true; }
        process thread(cpu) on aps {
            hpstate at = state[cpu];
            bool failed = false;
            while (at > CPUHP_TEARDOWN_CPU && !failed) {
                failed = invoke_teardown(ONLINE, cpu, at);
                at = prev_state(at);
            }
            state[cpu] = at;
        }
        check t {
            never exists(c in aps :
                state[c] > CPUHP_TEARDOWN_CPU && state[c] < CPUHP_AP_ACTIVE);
        }
        """,
        "VIOLATED",
    ),
    "what assumptions tie to it": (
        """
        const shared bool a = any; const shared bool b = any; assume a => b; assume !b;
        shared bool x;
        process p { if (a) x = true; }
        check t { never x; }
        """,
        "PROVED",
    ),
}


@pytest.mark.parametrize("about", EXACT)
def test_a_slice_keeps(about, tmp_path):
    text, expected = EXACT[about]
    path = tmp_path / "spec.hp"
    path.write_text(f"scenario spec;\n{text}")
    loaded, few = load(str(path)), Settings(cpus=3)
    found = [loaded.answer(*claim[:2], few).verdict for claim in loaded.claims("t")]
    assert found == expected.split()


COARSE = {
    "of values that are copied": """
        shared bool x; shared bool y;
        process p { y = true; }
        process q { x = y; }
        check t { never x; }
        """,
    "of the order in which CPUs are picked": """
        shared cpu? lowest; shared cpu? highest; shared cpu? owner; percpu bool busy;
        process p {
            lowest = first(c in aps); highest = last(c in aps);
            busy[lowest] = true;
            owner = first(c in aps : !busy[c]);
        }
        check t { never owner != none && owner == highest && owner != lowest; }
        """,
    "of conditions that are joined": """
        shared bool x; shared bool y; shared bool z;
        process p { y = true; }
        process q { z = true; }
        process r { if (!(y && !z) && (y || z)) x = true; }
        check t { never x; }
        """,
}


@pytest.mark.parametrize("about", COARSE)
def test_a_slice_over_few_variables_does_all_that_the_program_does(about, tmp_path):
    """What the program violates, each of its slices does, too."""
    path = tmp_path / "spec.hp"
    path.write_text(f"scenario spec;\n{COARSE[about]}")
    checker = load(str(path)).checker
    names = sorted(checker.thinned("t", 0).kept.variables)
    for only in ([], *([name] for name in names), names):
        sliced = checker.slice("t", 0, frozenset(only))
        assert check(sliced.system, sliced.prop, 3).trace is not None, only


def test_of_a_condition_is_kept_what_can_be_told(tmp_path):
    path = tmp_path / "spec.hp"
    path.write_text("""scenario spec;
        shared bool x; shared bool go; shared bool other;
        process p { wait (other && go); x = true; }
        process q { other = true; go = true; }
        check t { never x && !go; }""")
    sliced = load(str(path)).checker.slice("t", 0, frozenset())
    assert "other" not in {variable.name for variable in sliced.system.variables}
    assert check(sliced.system, sliced.prop, 2).trace is None


COUNTERS = {
    "whose mask the claim does not speak of": "shared counter of m n;",
    "whose first value is open": "shared counter of m n = any;",
}


@pytest.mark.parametrize("about", COUNTERS)
def test_a_counter_brings_its_mask_with_it(about, tmp_path):
    spec = f"""
        scenario s; percpu bool m; {COUNTERS[about]}
        process p {{ n++; forall (c in aps) m[c] = true; }}
        check t {{ always n < 2; sometimes n == 1; }}
    """
    (tmp_path / "s.hp").write_text(spec)
    checker = load(str(tmp_path / "s.hp")).checker
    system, prop = checker.thinned("t", 0).system()
    assert {v.name for v in system.variables} >= {"n", "m"}
    assert checker.answer("t", 0, Settings(timeout=5)).result.verdict.value == (
        "VIOLATED" if "open" in about else "UNKNOWN"
    )


def test_what_only_delays_is_not_near(tmp_path):
    """The deciding variables come level by level; a function that waits is in none."""
    (tmp_path / "s.hp").write_text("""
        scenario s; shared bool go; shared bool ready; shared bool x; shared bool late;
        process p { if (ready) x = true; }
        process q { pause(); if (go) ready = true; }
        process r { late = true; }
        void pause() { wait (late); }
        process t { go = true; }
        check c { never x; }
    """)
    thin = load(str(tmp_path / "s.hp")).checker.thinned("c", 0)
    assert "late" in thin.data()
    assert list(thin.nearby()) == [frozenset({"x", "ready", "go"})]


WALK = """scenario s; table "arm64-6.12";
    percpu hpstate state = CPUHP_AP_ACTIVE; percpu bool other;
    percpu hpstate mark = CPUHP_AP_ACTIVE; percpu hpstate start = any;
    percpu hpstate mixed = CPUHP_AP_ACTIVE; percpu bool odd = any;
    teardown top(cpu) for CPUHP_AP_ACTIVE fails {
        either { return 0; } or { return -EBUSY; }
    }
    teardown first(cpu) for CPUHP_AP_WORKQUEUE_ONLINE { other[cpu] = true; }
    teardown second(cpu) for CPUHP_AP_WATCHDOG_ONLINE { other[cpu] = true; }
    process thread(cpu) on aps {
        hpstate at = state[cpu]; bool failed = false;
        while (at > CPUHP_TEARDOWN_CPU && !failed) {
            failed = invoke_teardown(ONLINE, cpu, at);
            at = prev_state(at);
        }
        mark[cpu] = next_state(CPUHP_TEARDOWN_CPU);
        mixed[cpu] = odd[cpu] ? at : CPUHP_AP_ACTIVE;
        state[cpu] = at;
    }
    """


APART = {"CPUHP_AP_WATCHDOG_ONLINE", "CPUHP_AP_WORKQUEUE_ONLINE"}


def rows(tmp_path, claim, spec=WALK):
    (tmp_path / "s.hp").write_text(f"{spec} check t {{ {claim}; }}")
    system, _ = load(str(tmp_path / "s.hp")).checker.thinned("t", 0).system()
    return system.variable("state").sort.values


def test_rows_that_nothing_tells_apart_are_one(tmp_path):
    assert rows(tmp_path, "never exists(c in aps : state[c] < CPUHP_AP_ACTIVE)") == (
        "CPUHP_TEARDOWN_CPU",
        "CPUHP_AP_WATCHDOG_ONLINE",
        "CPUHP_AP_ACTIVE",
    )


@pytest.mark.parametrize(
    "claim",
    [
        "never exists(c in aps : exists(d in aps : state[c] < state[d]))",
        "never exists(c in aps : state[c] == next_state(CPUHP_TEARDOWN_CPU))",
        "never exists(c in aps : state[c] == mark[c])",
        "never exists(c in aps : state[c] == start[c])",
        "never exists(c in aps : state[c] == mixed[c])",
        "true leads to exists(c in aps : state[c] == start[c])",
    ],
)
def test_rows_are_not_merged_where_something_tells_them_apart(claim, tmp_path):
    assert set(rows(tmp_path, claim)) >= APART


CHOICE = """
    shared cpu? found;
    process p { found = any(c in aps : state[c] == start[c]); }
    """


def test_rows_are_not_merged_where_a_choice_tells_them_apart(tmp_path):
    claim = "never exists(c in aps : state[c] < CPUHP_AP_ACTIVE)"
    assert not set(rows(tmp_path, claim)) >= APART
    assert set(rows(tmp_path, claim, WALK + CHOICE)) >= APART


LOWEST = """scenario s; table "arm64-6.12"; percpu bool other; shared bool lowest;
    percpu hpstate state = CPUHP_AP_ACTIVE; shared cpu? owner;
    percpu hpstate home = CPUHP_AP_ACTIVE;
    teardown first(cpu) for CPUHP_AP_WORKQUEUE_ONLINE { other[cpu] = true; }
    teardown second(cpu) for CPUHP_AP_WATCHDOG_ONLINE { other[cpu] = true; }
    process thread(cpu) on aps {
        hpstate at = CPUHP_AP_ACTIVE; bool failed = false;
        failed = invoke_teardown(ONLINE, cpu, at); at = prev_state(at);
        failed = invoke_teardown(ONLINE, cpu, at); at = prev_state(at);
        if (at == home[owner]) lowest = true;
        state[cpu] = at;
    }
    """


def test_the_lowest_row_is_where_a_read_through_none_ends(tmp_path):
    claim = "never lowest && exists(c in aps : state[c] < CPUHP_AP_ACTIVE)"
    assert set(rows(tmp_path, claim, LOWEST)) >= APART
