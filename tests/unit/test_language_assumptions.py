"""Assumptions hold in every system that is made of a program, whatever a claim reads."""

import pytest

from cpuhp.api import Settings, load
from cpuhp.diagnostics import InputError

# No action and no claim speaks of `level`, and it rules out rings of parents.
TEXT = """
scenario forest;
const percpu cpu? parent = any;
const percpu int 0..3 level = any;
assume all(d in cpus : parent[d] != none => level[d] < level[parent[d]]);
process p(cpu) on aps { wait (parent[cpu] != cpu); }
check own_parent {
    never exists(c in cpus : parent[c] == c);
    sometimes exists(c in cpus : parent[c] != none);
}
check nobody_waits { deadlock_free; }
"""


@pytest.mark.parametrize("cpus", [1, 2, 3])
@pytest.mark.parametrize("check", ["own_parent", "nobody_waits"])
def test_what_only_an_assumption_speaks_of_restricts_the_first_states(
    tmp_path, cpus, check
):
    path = tmp_path / "forest.hp"
    path.write_text(TEXT)
    answer = load(str(path)).answer(check, 0, Settings(cpus=cpus))
    assert answer.verdict == "PROVED"


# With two CPUs there is one that is up, so no such machine begins as is assumed.
ALONE = """
scenario alone;
shared cpumask up = aps;
shared bool y;
assume empty(up);
process p { y = true; }
check one_cpu { always !y; finally !y; sometimes y; terminates; deadlock_free; }
"""


def test_machines_that_do_not_begin_as_is_assumed_break_no_claim(tmp_path):
    path = tmp_path / "alone.hp"
    path.write_text(ALONE)
    loaded = load(str(path))

    def verdict(number, cpus):
        return loaded.answer("one_cpu", number, Settings(cpus=cpus)).verdict

    for number in range(5):  # each would be about nothing
        with pytest.raises(InputError, match="HP507"):
            verdict(number, 2)
    assert [verdict(n, 1) for n in range(3)] == ["VIOLATED", "VIOLATED", "WITNESSED"]
    assert verdict(0, None) != "VIOLATED"  # it would be shown with two CPUs
