"""`finally` speaks of states in which nobody who owes progress can move."""

import pytest

from cpuhp.api import Settings, load

TEXT = """
scenario quiet;
percpu bool served;
shared cpumask noise;
process work(cpu) on aps { if (cpu != boot) noise[cpu] = false; }
environment someone(cpu) on aps { for (;;) { noise[cpu] = true; noise[cpu] = false; } }
check everybody_served { finally all(c in aps : served[c] && !noise[c]); }
"""


@pytest.mark.parametrize("cpus", [2, 3])
def test_an_environment_that_could_move_on_does_not_hide_a_violation(tmp_path, cpus):
    path = tmp_path / "quiet.hp"
    path.write_text(TEXT)
    answer = load(str(path)).answer("everybody_served", 0, Settings(cpus=cpus))
    assert (answer.verdict, answer.reason) == ("VIOLATED", None)
