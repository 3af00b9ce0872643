"""What is in a set, and what a counter is: at a fixed number of CPUs and for all."""

import pytest

from cpuhp.api import Settings, loads

TEXT = """scenario s;
percpu bool hit = any; shared cpu? to; shared cpu? who; instances irq : 2;
per irq bool pend = any; shared irq? last; shared counter of hit total;
process p { bool zero = atomic_dec_and_test(total); assert(!zero); atomic_inc(total); }
check c { %s; }"""
NO_NONE = (
    "never to in ~hit",
    "never to in {who}",
    "never to in ~{boot}",
    "never last in ~pend",
    "never cpumask_test_cpu(to, ~nobody)",
    "always empty({to})",
    "always weight({to}) == 0",
)
NO_ENDS = (  # a counter goes below 0 and back
    "never bug()",
    "always at(p, end) => total == 0",
    "sometimes total < 0",
)


@pytest.mark.parametrize(
    ("claim", "cpus"),
    [*((claim, cpus) for claim in NO_NONE for cpus in (2, None))]
    + [(claim, 2) for claim in NO_ENDS],
)
def test_sets_have_no_none_and_counters_no_ends(claim, cpus):
    loaded = loads(TEXT % claim)
    ((check, which, _),) = loaded.claims("c")
    answer = loaded.answer(check, which, Settings(cpus=cpus, timeout=10))
    assert answer.verdict in ("PROVED", "WITNESSED")
