"""What a slice once forgot: each case is the smallest program that showed it."""

import pytest

from cpuhp.api import Settings, loads

HEAD = 'scenario s; table "arm64-6.12"; register "driver"; mutex m; shared bool x; shared bool y;'
WALK = """process walker {
    hpstate s = CPUHP_AP_ONLINE_IDLE;
    bool failed;
    while (s < CPUHP_ONLINE) { s = next_state(s); failed = invoke_startup(ONLINE, boot, s); }
"""
STARTUP = 'startup up_{0}(cpu) for "{0}" {{ x = true; return 0; }}'
COUNTED = (
    'register "b"; register "c"; shared int 0..8 steps;'
    + "".join(STARTUP.format(row) for row in ("driver", "b", "c"))
    + WALK.replace("s = next_state(s);", "s = next_state(s); atomic_inc(steps);")
)
CASES = {  # a program, a claim
    "a callback that never ends": (
        'startup up(cpu) for "driver" { for (;;) { x = true; } }' + WALK + "}",
        "terminates;",
    ),
    "a function that a callback may never leave": (
        """void spin() { while (!x) { y = true; } }
        environment e { x = true; }
        startup up(cpu) for "driver" { spin(); return 0; }"""
        + WALK + "}",
        "terminates;",
    ),
    "what is picked decides in one step": (
        """process p {
            atomic { cpu? c = any(c in cpus); if (c == boot) x = true; else y = true; }
        }""",
        "never y;",
    ),
    "who else has the lock of a trylock": (
        """process q { mutex_lock(m); mutex_unlock(m); }
        process p { bool got = mutex_trylock(m); if (!got) y = true; }""",
        "never y;",
    ),
    "a process that lets go what another took": (
        """process q { mutex_unlock(m); }
        process p { mutex_lock(m); mutex_lock(m); y = true; }""",
        "never y;",
    ),
    "a callback that lets go what its process took": (
        'startup up(cpu) for "driver" { mutex_unlock(m); return 0; }'
        + WALK.replace("{", "{ mutex_lock(m);", 1) + "mutex_lock(m); y = true; }",
        "never y;",
    ),
    "a lock with another name when it is let go": (
        """percpu mutex l; shared atomic cpu? owner = boot;
        environment e { owner = any(c in aps); }
        process p { mutex_lock(l[owner]); mutex_unlock(l[owner]); mutex_lock(m); }
        process q { mutex_lock(m); mutex_lock(l[boot]); }""",
        "inversion_free;",
    ),
    "who reads the pointer through which something is written": (
        """percpu atomic bool seen; shared cpu? owner;
        process p { owner = boot; }
        process q { seen[owner] = true; }""",
        "race_free;",
    ),
    "whose interrupts are off under a lock": (
        """percpu bool irqs_off; raw_spinlock l;
        process p {
            cpu? other = any(c in aps);
            irqs_off[other] = true;
            raw_spin_lock(l); raw_spin_unlock(l);
        }
        interrupt handler(cpu) { raw_spin_lock(l); raw_spin_unlock(l); }""",
        "inversion_free;",
    ),
    "how many rows of the table a walk passes": (
        COUNTED + "if (steps == 4) y = true; }",
        "never y;",
    ),
    "that a second step may end between the same rows": (
        'register "b"; register "c";'
        + "".join(STARTUP.format(row) for row in ("driver", "b", "c"))
        + """shared hpstate s = CPUHP_AP_ONLINE_IDLE;
        shared hpstate first = CPUHP_OFFLINE;
        process p {
            s = next_state(s); s = next_state(s);
            bool failed = invoke_startup(ONLINE, boot, s);
            y = s < CPUHP_ONLINE;
        }""",
        "never y;",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("cpus", [2, 3])
def test_a_violation_is_found_in_the_slice(name, cpus):
    text, claim = CASES[name]
    loaded = loads(f"{HEAD} {text} check here {{ {claim} }}")
    answer = loaded.answer("here", 0, Settings(cpus=cpus))
    assert answer.verdict == "VIOLATED"
