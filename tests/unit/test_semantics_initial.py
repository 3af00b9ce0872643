"""Initial states where assumptions tie many values together."""

from math import factorial

import pytest

from cpuhp.api import loads
from cpuhp.engines.clock import now
from cpuhp.engines.parametric import sampling
from cpuhp.semantics import Machine, initial_states

ORDERED = """
scenario ordered;
/// Any total order of the CPUs.
const percpu cpumask ahead = any;
assume all(a in cpus : !(a in ahead[a]));
assume all(a in cpus : all(b in cpus : a == b || b in ahead[a] || a in ahead[b]));
assume all(a in cpus : all(b in cpus : all(c in cpus :
    !(b in ahead[a] && c in ahead[b]) || c in ahead[a])));
percpu atomic bool done;
process ap(cpu) on aps {
    wait (all(o in aps : !(cpu in ahead[o]) || done[o]));
    done[cpu] = true;
}
check in_order {
    always all(a in aps : all(b in aps : !(b in ahead[a] && done[b]) || done[a]));
    sometimes all(a in aps : done[a]);
}
"""


def system():
    return loads(ORDERED).checker.slice("in_order", 0).system


@pytest.mark.parametrize("cpus", [1, 2, 3, 4])
def test_every_total_order_is_an_initial_state_once(cpus):
    states = list(initial_states(Machine(system(), cpus)))
    assert len(states) == len(set(states)) == factorial(cpus)


def test_random_starts_obey_what_is_assumed(monkeypatch):
    monkeypatch.setattr(sampling, "_STARTS", 10)
    sliced = loads(ORDERED).checker.slice("in_order", 0)
    samples = sampling.Samples(sliced.system, (sliced.prop,))
    seen = list(samples.collect(500, 10, now() + 20, (3,)))
    assert not seen
    assert len(samples.views.known) > 8


def test_an_order_that_is_only_assumed_decides_a_claim():
    found = loads(ORDERED).check("in_order")
    assert [a.verdict for a in found] == ["PROVED", "WITNESSED"]
    assert found[0].cpus == "all"
