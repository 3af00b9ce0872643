"""The fastest candidate that keeps every check, and what would mend a faster one."""

from types import SimpleNamespace

from cpuhp.api import load
from cpuhp.ordering.parallel import fastest
from cpuhp.ordering.questions import Bound
from cpuhp.ordering.variant import variant_of
from cpuhp.ordering.workers import Judges

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
