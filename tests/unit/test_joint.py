"""Claims that are proved together: who is with whom, and that one failure stays alone."""

import pytest
from click.testing import CliRunner

from cpuhp.api import Settings, load, scenarios
from cpuhp.cli._work import opening, plan, run
from cpuhp.cli.certify import command as certify
from cpuhp.cli.check import command as check
from cpuhp.diagnostics import InputError
from cpuhp.engines import joint
from cpuhp.kernel.tables.order import shipped_order

SPEC = """
scenario spec;
percpu bool up;
percpu bool seen;
percpu bool gone;
shared cpu? last;
shared bool begun;
process control { begun = true; }
process ap(cpu) {
    wait (begun);
    up[cpu] = true;
    last = cpu;
    seen[cpu] = true;
    gone[cpu] = true;
}
check after {
    always all(c in cpus : up[c] => begun);
    always all(c in cpus : seen[c] => up[c]);
    always all(c in cpus : gone[c] => seen[c]);
    always all(c in cpus : seen[c] => gone[c]);
    always last == none || begun;
    sometimes exists(c in cpus : gone[c]);
}
"""
CLAIMS = [("after", number) for number in range(6)]


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "spec.hp"
    file.write_text(SPEC)
    return str(file)


def test_only_claims_about_all_states_are_grouped(path):
    grouped = [claim for group in load(path).groups(CLAIMS) for claim in group]
    assert sorted(grouped) == CLAIMS[:5]


NEVER = """
expect after UNREACHABLE;
check after {
    always all(c in cpus : up[c] => begun);
    sometimes exists(c in cpus : seen[c] && !up[c]);
    sometimes exists(c in cpus : gone[c]);
}
"""


def test_what_is_expected_to_happen_never_is_proved_with_the_others(path, tmp_path):
    text = SPEC[: SPEC.index("check after")] + NEVER
    (tmp_path / "spec.hp").write_text(text)
    scenario, out = load(path), tmp_path / "out"
    (group,) = scenario.groups(CLAIMS[:3])
    assert sorted(group) == CLAIMS[:3]
    settled = scenario.settle(group).answers
    told = {claim: (a.verdict, a.cpus, a.claim) for claim, a in settled.items()}
    assert told.pop(("after", 0))[:2] == ("PROVED", "all")
    never = "sometimes exists(c in cpus : seen[c] && !up[c])"
    assert told == {("after", 1): ("UNREACHABLE", "all", never)}
    assert scenario.check("after")[2].verdict == "WITNESSED"
    CliRunner().invoke(
        check, [path, "--check", "after", "--jobs", "1", "--out", str(out)]
    )
    found = sorted(map(str, out.glob("*.hpcert.json")))
    assert len(found) == 2
    result = CliRunner().invoke(certify, [*found, "--solver", "z3"])
    assert result.exit_code == 0, result.output


def test_a_group_settles_what_holds_and_leaves_the_rest(path):
    scenario = load(path)
    settled = scenario.settle(CLAIMS[:5]).answers
    assert sorted(settled) == [claim for claim in CLAIMS[:5] if claim != ("after", 3)]
    assert {answer.verdict for answer in settled.values()} == {"PROVED"}
    assert {answer.cpus for answer in settled.values()} == {"all"}


def test_together_or_alone_the_verdicts_are_the_same(path):
    scenario = load(path)
    alone = [scenario.answer(*claim, Settings()).verdict for claim in CLAIMS]
    assert [answer.verdict for answer in scenario.check("after")] == alone
    assert alone == ["PROVED"] * 3 + ["VIOLATED", "PROVED", "WITNESSED"]


def test_every_claim_has_a_certificate_that_stands_alone(path, tmp_path):
    out = tmp_path / "out"
    CliRunner().invoke(
        check, [path, "--check", "after", "--jobs", "1", "--out", str(out)]
    )
    found = sorted(out.glob("*.hpcert.json"))
    assert len(found) == 4
    for file in found:
        result = CliRunner().invoke(certify, [str(file), "--solver", "z3"])
        assert result.exit_code == 0, result.output


@pytest.mark.parametrize("jobs", [1, 2])
def test_answers_come_in_the_order_of_the_claims(path, jobs):
    todo = plan((path,), None, (), {}, Settings(), {})
    answers = list(run(todo, jobs, lambda done, text: None))
    assert [a.claim for a in answers] == [p.text for _, _, p in load(path).claims()]


def test_at_a_fixed_number_of_cpus_nothing_is_grouped(path):
    todo = plan((path,), None, ("after",), {}, Settings(cpus=2), {})
    assert not any(start.job.together for start in opening(todo))
    assert len(list(opening(todo))) == 6


def test_with_a_table_scenarios_take_part_that_its_machine_can_run():
    arm64 = shipped_order("arm64-6.12")
    todo = plan((), arm64, ("no_bug",), {}, Settings(), {})
    assert "bringup-parallel" in todo.elsewhere
    taken = {scenario.name for scenario in todo.scenarios}
    assert "shutdown-serial" in taken and not taken & set(todo.elsewhere)
    assert taken | set(todo.elsewhere) == set(scenarios())
    with pytest.raises(InputError, match="HP206"):
        plan(("bringup-parallel",), arm64, (), {}, Settings(), {})


def test_what_an_earlier_run_proved_is_not_done_again(path):
    todo = plan((path,), None, (), {}, Settings(), {})
    first = next(iter(run(todo, 1, lambda done, text: None)))
    again = plan((path,), None, (), {}, Settings(), {first.fingerprint: first})
    assert 0 not in {place for start in opening(again) for place in start.job.places}


def test_what_other_code_proved_is_done_again(path, monkeypatch):
    mine = load(path).fingerprint
    assert load(path).fingerprint == mine
    monkeypatch.setattr("cpuhp.api.scenario.edition", lambda: "of other code")
    assert load(path).fingerprint != mine


WHO = """
scenario spec;
percpu atomic bool user = true;
shared atomic bool drained;
{declared}
process ap(cpu) on aps {{
    bool last = false;
    atomic {{
        user[cpu] = false;
        last = !exists(o in aps : user[o]);
        {written}
    }}
    if (last) drained = true;
}}
check drained_by_last {{
    always all(c in aps : at(ap[c], end)) && exists(c in aps : true) => drained;
}}
"""


def answered(tmp_path, declared="", written=""):
    file = tmp_path / "spec.hp"
    file.write_text(WHO.format(declared=declared, written=written))
    return load(str(file)).check("drained_by_last", timeout=10)[0]


def test_an_auxiliary_variable_says_who(tmp_path):
    keeper = """
        if (last) keeper = cpu;
        else keeper = any(o in aps : user[o]);
    """
    assert answered(tmp_path).verdict == "UNKNOWN"
    declared = "shared auxiliary cpu? keeper;"
    found = answered(tmp_path, declared, keeper)
    assert (found.verdict, found.cpus) == ("PROVED", "all")


def test_the_search_leaves_auxiliary_variables_out(tmp_path):
    answered(tmp_path, "shared auxiliary cpu? keeper;", "keeper = cpu;")
    scenario = load(str(tmp_path / "spec.hp"))
    system = scenario.checker.slice("drained_by_last", 0).system
    assert "keeper" not in {variable.name for variable in system.variables}


def test_a_heavy_certificate_is_that_of_the_claim_alone(path, monkeypatch):
    monkeypatch.setattr(joint, "_alone", lambda *_: None)

    def invariants(settings):
        answers = load(path).settle(CLAIMS[:3], settings).answers
        assert {answer.verdict for answer in answers.values()} == {"PROVED"}
        return {claim: set(answer.invariant) for claim, answer in answers.items()}

    shared = invariants(Settings())
    assert len({frozenset(sentences) for sentences in shared.values()}) == 1
    monkeypatch.setattr(joint, "_HEAVY", 0)
    for claim, sentences in invariants(Settings()).items():
        assert len(sentences) < len(shared[claim])
    assert invariants(Settings(certify=False)) == shared


def test_a_certificate_stays_heavy_if_the_claim_alone_is_not_proved(path, monkeypatch):
    monkeypatch.setattr(joint, "_alone", lambda *_: None)
    scenario = load(path)
    found = joint.settle(scenario.checker, CLAIMS[:3], Settings())
    monkeypatch.setattr(joint, "_HEAVY", 0)
    monkeypatch.setattr(joint, "_together", lambda *_: ([], {}))
    for claim, answer in found.items():
        assert joint.lighter(scenario.checker, claim, answer, Settings()) is answer
