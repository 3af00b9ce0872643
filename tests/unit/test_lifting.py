"""A trace of a slice is found again in the whole program, whatever else goes on there."""

from cpuhp.api import loads
from cpuhp.engines import lifting
from cpuhp.engines.answer import Settings
from cpuhp.model.verdict import Verdict

NOISE = "".join(f"percpu atomic bool noise{n};\n" for n in range(6))
BUSY = "".join(f"    noise{n}[cpu] = !noise{n}[cpu];\n" for n in range(6))
SPEC = f"""
/// Whoever was chosen may have left by the time it is told.
scenario early_choice;
shared atomic bool left0;
percpu atomic bool leaving;
shared atomic cpu? told;
{NOISE}
process cpu_leaves(cpu) on aps {{
{BUSY}
    cpu? to = any(c in cpus : !leaving[c]);
{BUSY}
    leaving[cpu] = true;
{BUSY}
    told = to;
}}
check the_chosen_one_stays {{ never told != none && told != boot && leaving[told]; }}
"""


def answer():
    scenario = loads(SPEC, name="early.hp")
    return scenario.checker.answer("the_chosen_one_stays", 0, Settings(cpus=3))


def test_a_choice_of_ones_own_is_made_when_the_trace_makes_it(monkeypatch):
    monkeypatch.setattr(lifting, "_search", lambda *_: None)  # following it is enough
    found = answer()
    assert found.result.verdict is Verdict.VIOLATED
    assert len(found.replayed.steps) > len(found.result.trace.steps)
