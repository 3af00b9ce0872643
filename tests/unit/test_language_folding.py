"""Constants that are folded, and local variables that become part of a location."""

import pytest

from cpuhp.api import Settings, load

SPECS = {
    "what is read through none is the first value, which nobody may have written": (
        """
        enum phase { A, B, C }; percpu phase at = B; shared cpu? to;
        shared bool z; shared bool y; shared bool x;
        process p {
            phase mine = at[to]; if (mine == A) z = true; if (mine == C) y = true;
            at[boot] = C; to = boot; phase own = at[to]; if (own == A) x = true;
        }
        check t { never z; never y; never x; }
        """,
        "VIOLATED PROVED PROVED",
    ),
    "what never changes is not read through none": (
        """
        shared cpu? to; percpu bool on = true; percpu int 0..3 n = 2;
        shared bool z; shared bool y; shared bool x;
        process p { if (!on[to]) z = true; if (n[to] == 0) y = true; to = boot; if (!on[to]) x = true; }
        check t { never z; never y; never x; }
        """,
        "VIOLATED VIOLATED PROVED",
    ),
    "a local variable has its default again in every round": (
        """
        shared bool z; shared int 0..3 n;
        process p { for (;;) { bool held = false; if (held) z = true; held = true; n++; } }
        check t { never z; sometimes n == 2; }
        """,
        "PROVED WITNESSED",
    ),
    "what is set first is not the default": (
        """
        shared bool z; shared bool y;
        process p { bool held = true; int 0..3 some = 2; if (held) z = true; if (some == 2) y = true; }
        check t { never z; never y; }
        """,
        "VIOLATED VIOLATED",
    ),
    "a local variable that nothing sets has its default": (
        """
        shared bool z;
        process p { bool held; if (held) z = true; }
        check t { never z; }
        """,
        "PROVED",
    ),
    "a local variable takes each value that another has": (
        """
        enum phase { ONE, TWO, THREE };
        shared phase now; shared phase seen; shared bool z;
        process q { now = TWO; now = THREE; }
        process p { phase mine = now; if (mine == THREE) z = true; seen = mine; }
        check t { never z; never seen == TWO; sometimes seen == ONE && at(p, end); }
        """,
        "VIOLATED VIOLATED WITNESSED",
    ),
    "what is written from a local variable can be read": (
        """
        enum phase { ONE, TWO, THREE };
        shared phase now = any; shared phase copy; shared phase last;
        process p { phase mine = now; copy = mine; phase other = copy; last = other; }
        check t { never last == THREE; always at(p, end) => last == now; }
        """,
        "VIOLATED PROVED",
    ),
    "a choice knows local variables": (
        """
        shared cpu? owner; shared bool go = any;
        process p { bool held = go; owner = any(c in aps : held); }
        check t { never owner != none && !go; sometimes owner != none; }
        """,
        "PROVED WITNESSED",
    ),
    "any value at first is no constant": (
        """
        shared bool x = any; shared bool y;
        process p { if (x) y = true; }
        check t { never y; sometimes at(p, end) && !y; }
        """,
        "VIOLATED WITNESSED",
    ),
    "a state is the same where fewer are named": (
        """
        table "arm64-6.12";
        percpu hpstate state = CPUHP_ONLINE; shared bool z; shared bool y; shared bool x;
        teardown last(cpu) for CPUHP_AP_WATCHDOG_ONLINE { x = true; return 0; }
        teardown other(cpu) for CPUHP_AP_WORKQUEUE_ONLINE { y = true; return 0; }
        process walk(cpu) on aps {
            hpstate at = prev_state(CPUHP_ONLINE);
            bool failed = invoke_teardown(ONLINE, cpu, at);
            if (state[cpu] == CPUHP_ONLINE && at != CPUHP_OFFLINE) z = true;
        }
        check t { never z; never y && z; sometimes y && !z; }
        """,
        "VIOLATED VIOLATED WITNESSED",
    ),
}


@pytest.mark.parametrize("about", SPECS)
def test_verdicts_stay(about, tmp_path):
    text, expected = SPECS[about]
    path = tmp_path / "spec.hp"
    path.write_text(f"scenario spec;\n{text}")
    loaded, two = load(str(path)), Settings(cpus=2)
    found = [loaded.answer(*claim[:2], two).verdict for claim in loaded.claims("t")]
    assert found == expected.split()
