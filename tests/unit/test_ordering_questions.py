"""What a search in any order says, and what it does not."""

import pytest

from cpuhp.api import loads
from cpuhp.ordering.questions import Bound, Outcome, judge, questions
from cpuhp.ordering.variant import variant_of

FIRST_BLOCKS = """
scenario first_blocks;
shared atomic cpumask good;
process control {
    cpu? low = first(x in aps);
    if (low != none && count(aps) > 1) {
        atomic { good = aps; good[low] = false; }
        atomic { cpu? c = first(x in aps); wait (c != none && c in good); }
    }
}
"""
NEVER_ALIKE = """
scenario never_alike;
shared bool alike;
process control {
    cpu? low = first(x in aps);
    cpu? high = last(x in aps);
    alike = low == high && count(aps) > 1;
}
check ends_are_alike { sometimes alike; }
"""


@pytest.mark.parametrize(
    "text, check, outcome",
    [
        (FIRST_BLOCKS, "no_deadlock", Outcome.FAILS),
        (NEVER_ALIKE, "ends_are_alike", Outcome.UNREACHED),
    ],
)
def test_who_is_taken_decides_who_is_blocked_and_what_happens(text, check, outcome):
    base = variant_of(loads(text).program, {})
    (question,) = [q for q in questions(base.checker()) if q.check == check]
    _, found = judge(base, question, Bound(3), lambda key: None)
    assert found.outcome is outcome


MANY = """
scenario many_states;
percpu int 0..3 turns;
process turning(cpu) on aps { for (;;) either { turns[cpu] = 1; } or { turns[cpu] = 2; } }
check some_turn { always exists(c in cpus : turns[c] == 0); }
"""


def test_what_only_the_most_cpus_have_too_many_states_for_is_not_known():
    base = variant_of(loads(MANY).program, {})
    (question,) = [q for q in questions(base.checker()) if q.check == "some_turn"]
    outcomes = {}
    for most in range(2, 200):
        bound = Bound(4, max_states=most)
        _, found = judge(base, question, bound, lambda key: None)
        outcomes.setdefault(found.outcome, most)
    assert set(outcomes) == {Outcome.UNKNOWN, Outcome.HOLDS}
