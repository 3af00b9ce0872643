"""The fastest candidate that keeps every check, and what would mend a faster one."""

import json
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from cpuhp.api import load, loads
from cpuhp.cli import group
from cpuhp.ordering.parallel import fastest
from cpuhp.ordering.questions import Bound
from cpuhp.ordering.variant import variant_of
from cpuhp.ordering.workers import Judges, TimeIsUp
from cpuhp.report.parallel import as_json, text

SPEC = """
/// May CPUs take their turn at once?
scenario turns;
option bool together = true;
/// They take the lock first.
option bool locks = false;
shared atomic bool turn = true;
percpu bool inside;
raw_spinlock lock;
process cpu_turn(cpu) on aps {
    if (!together) { wait (turn); atomic { wait (turn); turn = false; } }
    if (locks) raw_spin_lock(lock);
    inside[cpu] = true;
    inside[cpu] = false;
    if (locks) raw_spin_unlock(lock);
    if (!together) turn = true;
}
check one_at_a_time {
    never exists(a in cpus : exists(b in cpus : a != b && inside[a] && inside[b]));
}
"""


def clock(variant):
    together = dict(variant.options).get("together", "true") == "true"
    return SimpleNamespace(makespan=1.0 if together else 2.0, helps=())


def test_the_fastest_is_shown_with_what_it_breaks_and_what_mends_it(tmp_path):
    path = tmp_path / "turns.hp"
    path.write_text(SPEC)
    base = variant_of(load(str(path)).program, {})
    found = fastest(base, Judges(Bound(3)), clock, 3, "none")
    quick, slow = found.candidates
    assert quick.failing == ("one_at_a_time",)
    assert quick.mended_by["one_at_a_time"] == ("locks",)
    assert quick.safe_with_fixes
    assert slow.safe and slow.seconds == 2.0
    assert found.best is quick


def test_what_a_fix_costs_counts(tmp_path):
    """The lock mends the quick way, and makes it slower than taking turns."""

    def with_locks(variant):
        dear = dict(variant.options).get("locks") == "true"
        told = 3.0 if dear else clock(variant).makespan
        return SimpleNamespace(makespan=told, helps=(), variant=variant)

    path = tmp_path / "turns.hp"
    path.write_text(SPEC)
    base = variant_of(load(str(path)).program, {})
    found = fastest(base, Judges(Bound(3)), with_locks, 3, "none")
    quick, slow = found.candidates
    assert quick.safe_with_fixes and (quick.seconds, quick.takes) == (1.0, 3.0)
    assert found.best is slow and found.best_estimate.makespan == 2.0


def test_what_was_not_searched_in_time_may_be_faster_than_the_best(tmp_path):
    """The time is up when the lock is known to mend the quick way, and to be slow."""

    def with_locks(variant):
        values = dict(variant.options)
        off = [name for name in ("together", "early") if values.get(name) == "false"]
        dear = values.get("locks") == "true"
        if dear:
            judges.deadline = 0.0
        return SimpleNamespace(makespan=9.0 if dear else 1.0 + len(off), helps=())

    path = tmp_path / "turns.hp"
    early = "    if (early) inside[cpu] = false;\n    inside"
    spec = SPEC.replace("option", "option bool early = true;\noption", 1)
    path.write_text(spec.replace("    inside", early, 1))
    judges = Judges(Bound(3))
    base = variant_of(load(str(path)).program, {})
    found = fastest(base, judges, with_locks, 3, "none")
    (quick,) = found.candidates
    assert found.stopped and found.best is quick and quick.takes == 9.0
    page = "\n".join(text(found))
    assert "fastest of these that keeps every check" in page
    assert "1.000 s    3.0 x  all overlap" in page  # than what was not searched


RACY = """
/// The quick way is the only one that touches what nobody keeps apart.
scenario racy;
option bool together = true;
shared bool plain;
process control { if (together) plain = true; }
process other { if (together) plain = false; }
"""


def test_a_race_that_only_the_quick_way_has_is_seen():
    base = variant_of(loads(RACY).program, {})
    quick, slow = fastest(base, Judges(Bound(2)), clock, 3, "none").candidates
    assert quick.failing == ("no_data_race",)
    assert slow.safe


ONE_OF_TWO = """
/// Either option saves as much; one of them does harm.
scenario one_of_two;
option bool bold = true; option bool calm = true;
shared atomic bool bad;
process control { if (bold) bad = true; }
check fine { never bad; }
"""


def test_of_those_that_take_equally_long_a_safe_one_is_found():
    def slower(variant):
        off = [v for _, v in variant.options].count("false")
        return SimpleNamespace(makespan=1.0 + off, helps=())

    base = variant_of(loads(ONE_OF_TWO).program, {})
    found = fastest(base, Judges(Bound(2)), slower, 3, "none")
    assert found.best.safe and found.best.seconds == 2.0
    assert found.best.options == {"bold": False, "calm": True}


def test_what_is_known_when_the_time_is_up_is_told(tmp_path):
    path = tmp_path / "turns.hp"
    path.write_text(SPEC)
    base = variant_of(load(str(path)).program, {})

    def tell(done, of):
        judges.deadline = 0.0

    judges = Judges(Bound(3), tell=tell)
    found = fastest(base, judges, clock, 3, "none")
    assert found.stopped and not found.candidates and found.best is None
    assert "stopped at --limit: slower candidates were not searched" in text(found)
    assert as_json(found)["stopped"]
    with pytest.raises(TimeIsUp):
        fastest(base, Judges(Bound(3), deadline=0.0), clock, 3, "none")
    args = ["schedule", "shutdown-three-phase", "--limit", "0.1", "--jobs", "1"]
    told = CliRunner().invoke(group, args)
    assert told.exit_code == 3 and "nothing is known after 0.1 s" in told.output


def test_costs_of_cpus_that_are_not_there_are_told(tmp_path):
    spec, costs = tmp_path / "turns.hp", tmp_path / "costs.toml"
    spec.write_text(SPEC)
    costs.write_text("[costs]\ncpu_turn = { time = '1 ms', cpus = '1,200' }\n")
    args = [
        "schedule",
        str(spec),
        "--costs",
        str(costs),
        "--machine",
        "8",
        "--cpus",
        "2",
    ]
    shown = CliRunner().invoke(group, [*args, "--jobs", "1"]).output
    assert "a machine of 8 does not have: cpu_turn (CPU 200)" in shown
    asked = [*args, "--jobs", "1", "--format", "json"]
    data = json.loads(CliRunner().invoke(group, asked).output)
    assert data["costs_beyond"] == {"cpu_turn": [200]}
