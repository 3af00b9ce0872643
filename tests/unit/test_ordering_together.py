"""Questions that share a search are answered as each of them by itself."""

import pytest

from cpuhp.api import load
from cpuhp.ordering.questions import Bound, Outcome, questions
from cpuhp.ordering.together import together
from cpuhp.ordering.variant import variant_of
from cpuhp.ordering.workers import judged


@pytest.mark.parametrize(
    "options", [{}, {"deactivate_fails": "true"}, {"csd_not_flushed": "true"}]
)
def test_what_holds_together_holds_alone(options):
    base = variant_of(load("shutdown-serial", options=options).program, options)
    asked = questions(base.checker(), sometimes=False)
    told = list(together(base, asked, Bound(2), lambda key: None))
    assert len(told) > 20 and sum(one.searched for one in told) < len(told) / 2
    alone = judged([(base, one.question) for one in told[:1]], Bound(2), None)
    alone += [judged([(base, one.question)], Bound(2), None)[0] for one in told[1:]]
    assert {finding.outcome for _, finding, _ in alone} == {Outcome.HOLDS}
    failing = set(asked) - {one.question for one in told}
    assert bool(failing) or not options


def test_what_is_known_is_not_searched_again():
    base = variant_of(load("shutdown-serial").program, {})
    asked = questions(base.checker(), sometimes=False)
    known = {
        one.key: one.finding
        for one in together(base, asked, Bound(2), lambda key: None)
    }
    again = list(together(base, asked, Bound(2), known.get))
    assert again and not any(one.searched for one in again)
