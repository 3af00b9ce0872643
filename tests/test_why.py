"""What is needed and what is not: the facts that reviewers of the series asked for."""

from fnmatch import fnmatchcase

import pytest

from cpuhp.api import load, loads
from cpuhp.language.library import data_root
from cpuhp.ordering.mutate import mutate
from cpuhp.ordering.questions import Bound, Outcome, judge, questions
from cpuhp.ordering.variant import variant_of
from cpuhp.ordering.why import Role, why
from cpuhp.ordering.workers import Cache, Judges


def base_of(name, **options):
    return variant_of(load(name, options=options).program, options)


def asked(name, pattern, kinds, **options):
    return why(base_of(name, **options), Judges(Bound(3)), pattern, kinds)


def row(found, name):
    return next(r for r in found.rows if r.element.name == name)


@pytest.fixture(scope="module")
def election():
    return asked("shutdown-three-phase", "pmu_context*", ["option"])


def test_patches_7_and_8_are_needed_and_5_is_not(election):
    roles = {
        r.element.name: r.cells["pmu_context_on_live_cpu"].role for r in election.rows
    }
    assert roles["patch7"] is roles["patch8"] is Role.NEEDED
    assert roles["patch5"] is Role.REDUNDANT
    sets = election.sets["pmu_context_on_live_cpu"]
    assert sets.sufficient == (frozenset({"patch7", "patch8"}),)
    assert any("patch5" in insufficient for insufficient in sets.insufficient)


def test_patch_6_is_dead_code_and_patch_9_only_saves_detours(election):
    assert "rcutree_dead_cpu" in row(election, "patch6").unused
    assert row(election, "patch9").narrows == "migrate_one_irq"
    assert not row(election, "patch9").checks(Role.NEEDED)


def test_the_gate_as_posted_never_opens():
    found = asked("shutdown-three-phase", "gate_opens*", ["option"])
    gate = row(found, "gate=AS_POSTED")
    assert "smp_shutdown_quick_path" in gate.unused
    assert gate.cells["gate_opens_for_marked_steps_only"].role is Role.WITNESS


def test_a_statement_that_a_check_cannot_see_is_not_searched():
    base = base_of(
        str(data_root() / "specs/bugs/m13-parked-before-grace-period.hp"), fixed="true"
    )
    judges = Judges(Bound(2))
    found = mutate(base, judges, frozenset({base.scenario.span.source.name}))
    assert 0 < found.score <= 1
    for fate in found.survivors:
        for question in questions(base.checker()):
            if fnmatchcase(question.check, "m13*") and question.variable is None:
                _, told = judge(
                    fate.mutant.variant, question, Bound(2), lambda key: None
                )
                assert told.outcome is Outcome.HOLDS, (fate.mutant, question)


def test_a_second_run_searches_nothing(tmp_path):
    base = base_of(
        str(data_root() / "specs/bugs/m26-callbacks-migrated-late.hp"), fixed="true"
    )
    listed = [(base, q) for q in questions(base.checker())]
    first, second = (
        Judges(Bound(2), cache=Cache(tmp_path)),
        Judges(Bound(2), cache=Cache(tmp_path)),
    )
    assert first.findings(listed) == second.findings(listed)
    assert first.runs > 0 and second.runs == 0


HIDDEN_RACE = """
/// What is shared only without the option is raced on only without it.
scenario hidden_race;
option bool careful = true;
shared bool one; shared bool other;
process first { if (careful) one = true; else other = true; }
process second { if (!careful) other = false; }
"""


def test_a_race_on_what_only_another_option_shares_is_seen():
    base = variant_of(loads(HIDDEN_RACE).program, {})
    found = why(base, Judges(Bound(2)), "no_data_race", ["option"])
    assert row(found, "careful").cells["no_data_race"].role is Role.NEEDED
    assert found.sets["no_data_race"].sufficient == (frozenset({"careful"}),)


TWO_GUARDS = """
/// Either of them is enough, so that neither has an effect while the other is on.
scenario two_guards;
option bool one = true; option bool two = true;
shared atomic bool bad;
process control { if (!one) { if (!two) bad = true; } }
check fine { never bad; }
"""


def test_what_has_no_effect_alone_is_needed_where_the_other_is_off():
    base = variant_of(loads(TWO_GUARDS).program, {})
    found = why(base, Judges(Bound(2)), "fine", ["option"])
    sets = found.sets["fine"]
    assert set(sets.sufficient) == {frozenset({"one"}), frozenset({"two"})}
    assert sets.insufficient == (frozenset(),)
