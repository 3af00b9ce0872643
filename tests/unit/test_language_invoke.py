"""Callbacks that a scenario invokes itself: what is passed, stored, and kept of them."""

import pytest

from cpuhp.api import Settings, loads

HEAD = """scenario invoked; register "driver";
shared bool y; shared bool seen; shared cpu? to = boot;
"""
FIRST = "hpstate s = next_state(CPUHP_AP_ONLINE_IDLE);"
CASES = {  # the body of the callback, the process, a claim, whether it holds
    "others see the result when the callback is over": (
        "y = true; seen = y; return 0;",
        "y = invoke_startup(ONLINE, boot, s);",
        "sometimes at(p, end) && seen && !y",
    ),
    "a callback that sees nothing of its result": (
        "seen = y; return 0;",
        "y = true; y = invoke_startup(ONLINE, boot, s);",
        "sometimes at(p, end) && seen && !y",
    ),
    "the CPU is passed once": (
        "to = none; seen = cpu == boot; return 0;",
        "y = invoke_startup(ONLINE, to, s);",
        "sometimes at(p, end) && seen",
    ),
    "an atomic block does what its callback does": (
        "y = true; return 0;",
        "atomic { invoke_startup(ONLINE, boot, s); }",
        "sometimes y",
    ),
    "an atomic block stops where its callback does": (
        "WARN_ON(true); return 0;",
        "atomic { invoke_startup(ONLINE, boot, s); seen = true; }",
        "never at(p, end) || seen",
    ),
    "a bug in an atomic block is one": (
        "WARN_ON(true); return 0;",
        "atomic { invoke_startup(ONLINE, boot, s); seen = true; }",
        "sometimes bug()",
    ),
    "who stops in a callback does not go on": (
        "BUG_ON(!y); return 0;",
        "invoke_startup(ONLINE, boot, s); seen = true;",
        "finally !seen",
    ),
    "a bug at the very first is one": ("", "WARN_ON(true);", "sometimes bug()"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_callback_means_what_its_text_says(case):
    body, calls, claim = CASES[case]
    first = FIRST if "invoke" in calls else ""
    text = f"""{HEAD}
        startup up(cpu) for "driver" {{ {body} }}
        process p {{ {first} {calls} }}
        check c {{ {claim}; }}"""
    loaded = loads(text)
    ((check, which, _),) = loaded.claims("c")
    answer = loaded.answer(check, which, Settings(timeout=10))
    assert answer.verdict in ("PROVED", "WITNESSED")


def test_a_process_that_stops_is_a_deadlock():
    loaded = loads(f"""{HEAD}
        startup up(cpu) for "driver" {{ BUG_ON(!y); return 0; }}
        process p {{ {FIRST} invoke_startup(ONLINE, boot, s); }}
        check c {{ deadlock_free; }}""")
    ((check, which, _),) = loaded.claims("c")
    assert loaded.answer(check, which, Settings(timeout=10)).verdict == "VIOLATED"
