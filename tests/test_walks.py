"""Random walks over the hotplug table: a slice stops where the whole program stops."""

from dataclasses import replace
from random import Random

import pytest

from cpuhp.api import load
from cpuhp.engines.checking import Checker
from cpuhp.engines.explicit import check
from cpuhp.graph.rows import Rows
from cpuhp.kernel.tables.order import order_of
from cpuhp.language import compile as lowering
from cpuhp.language.library import checks_of, read_unit, shipped
from cpuhp.language.link import link

ROWS = (
    "CPUHP_AP_SMPBOOT_THREADS",
    "CPUHP_AP_PERF_ONLINE",
    "CPUHP_AP_WATCHDOG_ONLINE",
    "CPUHP_AP_WORKQUEUE_ONLINE",
    "CPUHP_AP_RCUTREE_ONLINE",
    "CPUHP_AP_ACTIVE",
)
SEEDS = range(60)


def program(random):
    """CPUs walk down until one fails, or is told to halt; where do they stop?"""
    lines = ["scenario walks;", 'table "arm64-6.12";', "percpu bool x; percpu bool y;",
             "percpu hpstate state = CPUHP_AP_ACTIVE;"]  # fmt: skip
    for number, row in enumerate(ROWS):
        if random.random() < 0.3:
            continue
        wanted = "true" if random.random() < 0.5 else "x[cpu]"
        effect = random.choice(["x[cpu] = true;", "y[cpu] = true;"])
        fails = f"if ({wanted}) {{ either {{ return 0; }} or {{ return -EBUSY; }} }}"
        body = f"{effect} {fails if random.random() < 0.5 else ''} return 0;"
        lines.append(f"teardown t{number}(cpu) for {row} fails {{ {body} }}")
    halted = " && !halt" if random.random() < 0.5 else ""
    lines.append(f"""shared bool halt;
    process other {{ halt = true; }}
    process thread(cpu) on aps {{
        hpstate at = state[cpu]; bool failed = false;
        while (at > CPUHP_TEARDOWN_CPU && !failed{halted}) {{
            failed = invoke_teardown(ONLINE, cpu, at);
            at = prev_state(at);
        }}
        state[cpu] = at;
    }}""")
    some, other = random.choice(ROWS), random.choice(["<", "<=", "=="])
    bad = random.choice(
        [
            f"exists(c in aps : state[c] {other} {some} && state[c] > CPUHP_TEARDOWN_CPU)",
            "exists(c in aps : exists(d in aps : c != d && state[c] < state[d]"
            " && state[c] > CPUHP_TEARDOWN_CPU && state[d] < CPUHP_AP_ACTIVE))",
        ]
    )
    lines.append(f"check walks_check {{ never {bad}; }}")
    return "\n".join(lines)


def verdicts(seed, path):
    """Of the slice and of the whole program, with two CPUs that walk."""
    path.write_text(program(Random(seed)))
    checker = load(str(path)).checker
    sliced = checker.slice("walks_check", 0)
    whole, prop = checker.entire("walks_check", 0)
    return (
        check(sliced.system, sliced.prop, 3).verdict.value,
        check(whole, prop, 3).verdict.value,
    )


def wrong(path):
    found = {seed: verdicts(seed, path) for seed in SEEDS}
    return [seed for seed, (sliced, whole) in found.items() if sliced != whole]


def test_a_slice_stops_where_the_program_stops(tmp_path):
    seen = {verdicts(seed, tmp_path / "s.hp")[1] for seed in SEEDS}
    assert seen == {"PROVED", "VIOLATED"}
    assert wrong(tmp_path / "s.hp") == []


STATED = """
scenario walks;
table "arm64-6.12";
percpu hpstate state = CPUHP_AP_ACTIVE;
teardown top(cpu) for CPUHP_AP_SMPBOOT_THREADS {{ return 0; }}
process thread(cpu) on aps {{
    hpstate at = state[cpu];
    while (at > CPUHP_TEARDOWN_CPU) {{
        either {{ invoke_teardown(ONLINE, cpu, at); at = prev_state(at); }}
        or {{ break; }}
    }}
    state[cpu] = at;
}}
{own}
"""
STANDS = """
check stands {{
    never exists(c in aps : state[c] < {row} && state[c] > CPUHP_TEARDOWN_CPU);
}}
"""


@pytest.mark.parametrize("row", ["CPUHP_AP_PERF_ONLINE", "CPUHP_AP_ACTIVE"])
def test_a_check_of_the_catalogue_names_rows_as_one_of_the_scenario_does(row, tmp_path):
    stands = STANDS.format(row=row)
    own, bare = tmp_path / "own.hp", tmp_path / "bare.hp"
    own.write_text(STATED.format(own=stands))
    bare.write_text(STATED.format(own=""))
    (declared,) = checks_of(read_unit(own))
    library = replace(
        shipped(), checks={"stands": declared}, catalogue=frozenset({"stands"})
    )
    unit = read_unit(bare)
    linked = link(unit, library, order_of(unit), {})
    verdicts = set()
    for program in (linked, load(str(own)).program):
        found = Checker(program).slice("stands", 0)
        verdicts.add(check(found.system, found.prop, 3).verdict.value)
    assert verdicts == {"VIOLATED"}


BETWEEN = """
scenario between;
table "arm64-6.12";
startup a(cpu) for CPUHP_AP_SMPBOOT_THREADS {{ return 0; }}
startup b(cpu) for CPUHP_AP_PERF_ONLINE {{ return 0; }}
startup c(cpu) for CPUHP_AP_WORKQUEUE_ONLINE {{ return 0; }}
{own}
"""
STEP = "forall (c in cpus) state[c] = next_state(state[c]);"
TELLING = {  # three rows stand between those that a claim names: it is not kept
    "a step of each element": f"""
percpu hpstate state = CPUHP_AP_ONLINE_IDLE;
process p {{ {STEP * 3} }}
check telling {{ finally all(c in cpus : state[c] == CPUHP_AP_ACTIVE); }}""",
    "what is assumed": """
shared bool ran;
shared hpstate low = any; shared hpstate high = any;
assume CPUHP_AP_ONLINE_IDLE < low && low < high && high < CPUHP_AP_ACTIVE;
process p { ran = true; }
check telling { never ran && low > CPUHP_AP_ONLINE_IDLE; }""",
}


@pytest.mark.parametrize("telling", TELLING)
def test_rows_that_are_told_apart_are_not_merged(telling, tmp_path):
    path = tmp_path / "between.hp"
    path.write_text(BETWEEN.format(own=TELLING[telling]))
    checker = load(str(path)).checker
    sliced = checker.slice("telling", 0)
    assert check(sliced.system, sliced.prop, 2).verdict.value == "VIOLATED"


def without_the_rows_between(monkeypatch):
    rows = lowering._rows

    def named_only(program, callbacks):
        numbers = {state.number for state in program.landmarks}
        numbers |= {registered.state.number for registered in callbacks}
        every = rows(program, program.callbacks)
        return tuple(state for state in every if state.number in numbers)

    monkeypatch.setattr(lowering, "_rows", named_only)


def with_all_merged(monkeypatch):
    monkeypatch.setattr(Rows, "can_merge", lambda self, props: True)


@pytest.mark.parametrize("fault", [without_the_rows_between, with_all_merged])
def test_seeded_faults_are_noticed(fault, tmp_path, monkeypatch):
    fault(monkeypatch)
    assert wrong(tmp_path / "s.hp")
