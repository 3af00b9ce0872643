"""Assumptions hold in every system that is made of a program, whatever a claim reads."""

import pytest

from cpuhp.api import Settings, load

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
