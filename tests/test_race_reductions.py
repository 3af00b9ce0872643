"""Where a search is spared, nothing is missed: races, the control CPU's place, loops.

Random programs with plain variables, ordered choices and loops are answered as a user
would have them answered, and searched whole, every statement a step, with the control
CPU at every place.
"""

import pytest
from race_programs import checker_of, program, text_of

from cpuhp.engines.answer import Settings
from cpuhp.engines.explicit import Limits, check
from cpuhp.engines.explicit.races import RaceFinder
from cpuhp.engines.explicit.symmetry import (
    is_symmetric,
    orders_aps_only,
    unordered,
)
from cpuhp.graph.races import only_plain
from cpuhp.model.system import Expectation
from cpuhp.model.verdict import Verdict

LIMITS = Limits(max_states=4_000, seconds=20)
FEW = 4  # programs of each kind that the quick tests look at
FOUND = (Verdict.VIOLATED, Verdict.WITNESSED)
CPUS = 3


def seeds(first, count):
    """Numbers of random programs; all but a few are for the slow tests."""
    later = [pytest.param(first + n, marks=pytest.mark.slow) for n in range(FEW, count)]
    return [*range(first, first + FEW), *later]


def truths(checker, name, names=None):
    """The verdicts of the whole program, for each place of the control CPU."""
    whole, told = checker.entire(name, 0)
    if names is not None:
        whole = only_plain(whole, names)
    return [
        check(whole, told, CPUS, boot, LIMITS, symmetry=False).verdict
        for boot in range(CPUS)
    ]


@pytest.mark.parametrize("seed", seeds(0, 30))
def test_the_answer_is_that_of_the_whole_program_wherever_the_control_cpu_is(seed):
    checker = program(seed)
    settings = Settings(cpus=CPUS, timeout=30, max_states=LIMITS.max_states)
    for name, number, prop in checker.claims():
        whole = truths(checker, name)
        if Verdict.UNKNOWN in whole:
            continue
        answer = checker.answer(name, number, settings).result.verdict
        wanted = Verdict.VIOLATED if set(FOUND) & set(whole) else Verdict.PROVED
        assert answer in (wanted, Verdict.UNKNOWN), (name, text_of(checker))
        if prop.expectation is Expectation.RACE_FREE:
            assert answer is wanted, (whole, text_of(checker))


@pytest.mark.parametrize("seed", seeds(40, 30))
def test_each_variable_has_the_races_that_the_whole_program_has(seed):
    checker = program(seed)
    names = checker.plain_variables()
    groups = checker.race_groups("no_race", 0)
    assert sorted(name for group in groups for name in group) == sorted(names)
    for group in [*groups, *(frozenset({name}) for name in names)]:
        whole = truths(checker, "no_race", group)
        if Verdict.UNKNOWN in whole:
            continue
        sliced = checker.race_slice("no_race", 0, *group)
        for boot, truth in enumerate(whole):
            found = check(sliced.system, sliced.prop, CPUS, boot, LIMITS).verdict
            if truth is Verdict.VIOLATED:  # the slice may do more, never less
                assert found is Verdict.VIOLATED, (group, boot, text_of(checker))


@pytest.mark.parametrize("seed", seeds(80, 40))
def test_what_is_said_of_the_order_of_cpus_is_so(seed):
    checker = program(seed)
    for name, number, _ in checker.claims():
        sliced = checker.slice(name, number)
        found = [
            check(sliced.system, sliced.prop, CPUS, boot, LIMITS)
            for boot in range(CPUS)
        ]
        verdicts = {result.verdict for result in found}
        if Verdict.UNKNOWN in verdicts:
            continue
        if orders_aps_only(sliced.system, [sliced.prop]):
            assert len(verdicts) == 1, (name, text_of(checker))
            assert len({result.stats["states"] for result in found}) == 1
        any_order = unordered(sliced.system)
        if is_symmetric(any_order, [sliced.prop]):
            looser = check(any_order, sliced.prop, CPUS, 0, LIMITS).verdict
            if looser is Verdict.PROVED:
                assert verdicts == {Verdict.PROVED}, (name, text_of(checker))


def test_the_quick_look_for_races_overlooks_none(monkeypatch):
    for seed in range(120, 124):
        checker = program(seed)
        quick = truths(checker, "no_race")
        with monkeypatch.context() as patched:
            patched.setattr(RaceFinder, "_may_race", lambda *_: True)
            assert truths(checker, "no_race") == quick, text_of(checker)


MARKS = """
scenario marks;
shared atomic bool marked;
shared bool plain;
shared int 0..3 counted;
shared int 0..3 added;
process reader { bool seen = %(seen)s; }
process writer { %(done)s }
check no_race { race_free; }
"""


@pytest.mark.parametrize(
    ("seen", "done", "races"),
    [
        ("plain", "plain = true;", True),
        ("marked", "marked = true;", False),
        ("counted == 1", "atomic_inc(counted);", False),
        ("added == 1", "added++;", True),
        ("added == 1", "atomic { added = 1; marked = true; }", True),
    ],
)
def test_marked_accesses_do_not_race(seen, done, races):
    checker = checker_of(MARKS % {"seen": seen, "done": done})
    found = checker.answer("no_race", 0, Settings(cpus=2)).result.verdict
    assert found is (Verdict.VIOLATED if races else Verdict.PROVED)
