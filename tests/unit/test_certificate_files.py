"""Certificate files: written, read back, checked by the command; and what is refused."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from click.testing import CliRunner

import cpuhp
from cpuhp.cli.certify import command
from cpuhp.diagnostics import InputError
from cpuhp.engines import slices
from cpuhp.engines.answer import Settings
from cpuhp.engines.certificate import (
    Rejected,
    check,
    format,
    model_digest,
    obligations_of,
    program_of,
    read_certificate,
    scripts,
    solvers,
    write_certificate,
)
from cpuhp.engines.certificate.digest import canonical, text_digest

SPEC = """
scenario two_users;
option bool careful = true;
shared mutex m;
shared int 0..3 work = 0;
percpu bool inside;

process user(cpu) on cpus {
    if (careful) mutex_lock(m);
    inside[cpu] = true;
    work = 1;
    inside[cpu] = false;
    if (careful) mutex_unlock(m);
}

check one_at_a_time {
    never exists(a in cpus : exists(b in cpus : a != b && inside[a] && inside[b]));
    deadlock_free;
}
"""


@pytest.fixture(scope="module")
def proved(tmp_path_factory):
    """A spec file and the text of a certificate of its first claim."""
    folder = tmp_path_factory.mktemp("certificates")
    spec = folder / "users.hp"
    spec.write_text(SPEC)
    scenario = cpuhp.load(str(spec))
    answer = scenario.answer("one_at_a_time", 0, Settings(timeout=20))
    name, text = answer.proof
    assert name == "two-users.one_at_a_time.0.hpcert.json"
    (folder / name).write_text(text)
    return spec, text


def edited(text, change, seal=True):
    """The certificate after a change, with a new SHA-256 so that it looks whole."""
    body = json.loads(text)
    body.pop("sha256")
    change(body)
    if seal:
        body["sha256"] = text_digest(canonical(body))
    return json.dumps(body)


def certify(tmp_path, text, *arguments):
    path = tmp_path / "it.hpcert.json"
    path.write_text(text)
    return CliRunner().invoke(command, [str(path), *arguments])


def refused(tmp_path, text, *arguments):
    """The error's text where a certificate is bad input."""
    result = certify(tmp_path, text, *arguments)
    assert isinstance(result.exception, InputError), result.output
    return str(result.exception)


def rejected(tmp_path, text, *arguments):
    result = certify(tmp_path, text, *arguments)
    assert result.exit_code == 1, (result.output, result.exception)
    return result.output.splitlines()[-1]


def test_a_certificate_is_accepted_by_all_solvers_in_both_forms(proved, tmp_path):
    result = certify(tmp_path, proved[1])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1].startswith("ACCEPTED by z3 and cvc5")
    for form in ("without quantifiers", "with quantifiers"):
        assert form in result.output


def test_what_is_written_is_read_back(proved, tmp_path):
    path = tmp_path / "it.json"
    path.write_text(proved[1])
    certificate = read_certificate(path)
    path.write_text(write_certificate(certificate))
    assert read_certificate(path) == certificate
    assert certificate.options == ()
    assert json.loads(proved[1])["cpus"] == "all"


def test_clauses_read_as_sentences(proved):
    said = [clause["says"] for clause in json.loads(proved[1])["parts"][0]["clauses"]]
    assert all(
        re.search("never |always | => | matters?: ", sentence) for sentence in said
    )
    assert any(sentence.startswith("for every CPU i ") for sentence in said)


def test_conditions_are_exported_and_all_unsat(proved, tmp_path):
    certify(tmp_path, proved[1], "--export", str(tmp_path / "smt2"), "--solver", "z3")
    files = sorted((tmp_path / "smt2").iterdir())
    assert {".qf.", ".forall."} <= {part for f in files for part in _forms(f.name)}
    for file in files:
        answers = _run_z3(file)
        assert answers and set(answers) == {"unsat"}


def _forms(name):
    return [form for form in (".qf.", ".forall.") if form in name]


def _run_z3(file):
    import z3

    context = z3.Context()
    return z3.Z3_eval_smtlib2_string(context.ref(), file.read_text()).split()


def test_the_checker_shares_no_code_with_the_search(proved):
    folder = proved[0].parent
    code = f"""
import sys
from click.testing import CliRunner
from cpuhp.cli.certify import command
made = CliRunner().invoke(command, [{str(folder / "two-users.one_at_a_time.0.hpcert.json")!r}])
assert made.exit_code == 0, made.output
search = ("checking", "ladder", "parametric", "explicit", "encoding", "formulas", "bounded")
found = [m for m in sys.modules if m.startswith("cpuhp.engines.")]
assert not [m for m in found if m.split(".")[2] in search], found
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_digest_is_the_same_in_another_process(proved):
    spec = str(proved[0])
    code = f"""
import cpuhp
from cpuhp.engines.certificate import model_digest
sliced = cpuhp.load({spec!r}).checker.slice("one_at_a_time", 0)
print(model_digest(sliced.system, sliced.prop))
"""
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
            text=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_the_digest_does_not_depend_on_spans(proved, tmp_path):
    moved = tmp_path / "moved.hp"
    # Program points are named by line, so that the lines have to stay.
    moved.write_text(SPEC.replace("work = 1;", "work  =  1; // a comment") + "// more")
    digests = set()
    for path in (proved[0], moved):
        sliced = cpuhp.load(str(path)).checker.slice("one_at_a_time", 0)
        digests.add(model_digest(sliced.system, sliced.prop))
    assert len(digests) == 1


# --- what is rejected, each with its reason


def test_another_model(proved, tmp_path):
    other = tmp_path / "users.hp"
    other.write_text(SPEC.replace("if (careful) mutex_lock(m);", ""))
    reason = rejected(tmp_path, proved[1], "--spec", str(other))
    assert "another model" in reason and "changed" in reason


def test_a_comment_in_the_spec_changes_nothing(proved, tmp_path):
    other = tmp_path / "users.hp"
    other.write_text(SPEC + "// mended\n")
    assert certify(tmp_path, proved[1], "--spec", str(other)).exit_code == 0


def test_other_options(proved, tmp_path):
    def change(body):
        body["options"] = {"careful": "false"}

    assert "another model" in rejected(tmp_path, edited(proved[1], change))


def test_another_scenario(proved, tmp_path):
    def change(body):
        body["scenario"]["name"] = "shutdown-serial"

    assert "another scenario" in rejected(tmp_path, edited(proved[1], change))


def test_another_table_of_a_shipped_name_is_told(proved, tmp_path):
    def change(body):
        table = body["table"]
        table["states"] = table["states"][1:]
        table.pop("sha256")
        table["sha256"] = text_digest(canonical(table))

    assert "NOT AS SHIPPED" not in certify(tmp_path, proved[1]).output
    assert "NOT AS SHIPPED" in certify(tmp_path, edited(proved[1], change)).output


NO_MACHINE = """
scenario no_machine;
shared bool bad; const shared bool odd = any; assume odd && !odd;
process control { bad = true; }
check fine { never bad; }
"""
NESTED = """
scenario nested;
rwlock l; completion inside;
process reader { read_lock(l); read_lock(l); read_unlock(l); wait (inside); read_unlock(l); }
process writer { write_lock(l); complete(inside); write_unlock(l); }
check fine { never bug(); }
"""


@pytest.mark.parametrize("text, code", [(NO_MACHINE, "HP507"), (NESTED, "HP508")])
def test_a_spec_of_which_no_verdict_is_told_has_no_certificate(
    text, code, tmp_path, monkeypatch
):
    spec = tmp_path / "it.hp"
    spec.write_text(text)
    with monkeypatch.context() as patched:
        patched.setattr(slices.Beginnings, "demand", lambda *_: None)
        patched.setattr(slices, "demand_readers_once", lambda *_: None)
        answer = cpuhp.load(str(spec)).answer("fine", 0, Settings(timeout=20))
    assert answer.verdict == "PROVED"
    error = refused(tmp_path, answer.proof[1])
    assert code in error


def test_another_number_of_cpus(proved, tmp_path):
    def change(body):
        body["cpus"] = "3"

    assert "every number of CPUs" in refused(tmp_path, edited(proved[1], change))


def test_another_claim(proved, tmp_path):
    def change(body):
        body["claim"]["number"] = 1

    assert "another claim" in rejected(tmp_path, edited(proved[1], change))

    def text(body):
        body["claim"]["text"] = "never false"

    assert "another claim" in rejected(tmp_path, edited(proved[1], text))

    def unknown(body):
        body["claim"]["check"] = "two_at_a_time"

    assert "no check 'two_at_a_time'" in rejected(tmp_path, edited(proved[1], unknown))


def test_a_clause_removed(proved, tmp_path):
    def change(body):
        body["parts"][0]["clauses"].clear()
        body["parts"][0]["conditions"] = 2

    assert "safety: the clauses admit" in rejected(tmp_path, edited(proved[1], change))


def test_a_clause_made_stronger(proved, tmp_path):
    program = program_of(_parsed(proved[1]))
    (it,) = obligations_of(_parsed(proved[1]), program)

    def change(body):
        free = {"variable": "m", "arguments": [], "values": ["none"]}
        for clause in body["parts"][0]["clauses"]:
            clause["forbids"] = [free]
        _say(it.system, body["parts"][0]["clauses"])

    reason = rejected(tmp_path, edited(proved[1], change))
    assert "number of its conditions" in reason or "initial state" in reason


def _parsed(text):
    return format.parse_certificate(text.encode(), "it")


def _say(system, clauses):
    """Sentences that are what these clauses forbid."""
    read = [format.clause_of(system, clause["forbids"]) for clause in clauses]
    for clause, says in zip(clauses, format.in_sentences(system, read)):
        clause["says"] = says


def test_a_clause_made_weaker(proved, tmp_path):
    (it,) = obligations_of(_parsed(proved[1]), program_of(_parsed(proved[1])))

    def change(body):
        more = {"variable": "m", "arguments": [], "values": ["none"]}
        for clause in body["parts"][0]["clauses"]:
            clause["forbids"] = [*clause["forbids"], more]
        _say(it.system, body["parts"][0]["clauses"])

    assert "REJECTED: " in rejected(tmp_path, edited(proved[1], change))


def test_a_sentence_that_says_something_else(proved, tmp_path):
    def change(body):
        body["parts"][0]["clauses"][0]["says"] = "all is well"

    assert "the sentence of clause 1" in rejected(tmp_path, edited(proved[1], change))


def test_an_edit_without_a_new_seal(proved, tmp_path):
    text = proved[1].replace("never exists", "always exists", 1)
    assert "HP704" in refused(tmp_path, text)
    assert "HP704" in refused(
        tmp_path, edited(proved[1], lambda body: None, seal=False)
    )


def test_cut_files(proved, tmp_path):
    whole = proved[1]
    for size in (0, 1, 100, len(whole) // 2, len(whole) - 3):
        assert "HP702" in refused(tmp_path, whole[:size])


def test_an_unknown_version(proved, tmp_path):
    for version in (1, 3, 4, 6, 0, "3", None, True):
        text = edited(proved[1], lambda body, v=version: body.update(version=v))
        assert "HP703" in refused(tmp_path, text)


def test_other_files(tmp_path):
    for text in ("[]", "{}", '{"format": "elf"}', "NaN", "[" * 100_000, "\ufeff{}"):
        assert "HP702" in refused(tmp_path, text)
    with pytest.raises(InputError, match="HP701"):
        read_certificate(tmp_path / "nothing")
    with pytest.raises(InputError, match="HP701"):
        read_certificate(tmp_path)


def test_huge_files(tmp_path, monkeypatch):
    monkeypatch.setattr(format, "MAX_BYTES", 1000)
    assert "larger" in refused(tmp_path, " " * 2000)


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.pop("claim"),
        lambda body: body["parts"][0].update(clauses=7),
        lambda body: body.update(options=[]),
        lambda body: body["table"].update(bringup=3),
        lambda body: body["claim"].update(number="0"),
        lambda body: body["parts"][0]["clauses"][0].pop("says"),
        lambda body: body["parts"][0]["clauses"][0].update(forbids=7),
        lambda body: body["parts"][0]["clauses"][0]["forbids"][0].update(
            variable="nothing"
        ),
        lambda body: body["parts"][0]["clauses"][0]["forbids"][0].update(variable=[]),
        lambda body: body["parts"][0]["clauses"][0]["forbids"][0].update(values=[]),
        lambda body: body["parts"][0]["clauses"][0]["forbids"][0].update(values=[3.5]),
        lambda body: body["parts"][0]["clauses"][0]["forbids"][0].update(
            arguments=["k", "k"]
        ),
        lambda body: body["parts"][0]["clauses"][0]["forbids"][0].pop("values"),
    ],
)
def test_malformed_files(proved, tmp_path, change):
    assert "HP705" in refused(tmp_path, edited(proved[1], change))


def test_a_solver_that_does_not_know(proved, tmp_path, monkeypatch):
    monkeypatch.setattr(solvers.Z3, "ask", lambda self, text: solvers.UNKNOWN)
    result = certify(tmp_path, proved[1], "--solver", "z3", "--form", "qf")
    assert result.exit_code == 3
    assert "gives no answer" in result.output


def test_a_solver_that_is_missing(proved, tmp_path, monkeypatch):
    monkeypatch.setattr(solvers, "find_spec", lambda name: None)
    assert "not installed" in refused(tmp_path, proved[1], "--solver", "cvc5")
    assert "no solver 'z4'" in refused(tmp_path, proved[1], "--solver", "z4")


def test_a_solver_that_does_not_understand_accepts_nothing(proved):
    certificate = _parsed(proved[1])
    made = scripts(obligations_of(certificate, program_of(certificate)), "qf")
    made[0].items.insert(0, "(assert (= nothing 1))")
    for solver in ("z3", "cvc5"):
        outcome = check(made, "qf", solver)
        assert not outcome.is_accepted and outcome.is_unknown


def test_a_claim_that_is_not_there(proved):
    certificate = _parsed(proved[1])
    wrong = replace(certificate, number=9)
    with pytest.raises(Rejected, match="no claim number 9"):
        obligations_of(wrong, program_of(certificate))


def test_a_model_for_other_claims(proved, tmp_path):
    own, body = json.loads(proved[1])["claim"], ["check", "number"]
    own = [own[key] for key in body]
    for together in ([["nothing", 0]], [own, own], [own, ["nothing", 0]]):
        text = edited(proved[1], lambda b, t=together: b["claim"].update(together=t))
        assert "REJECTED" in rejected(tmp_path, text)
    for malformed in (None, [own[:1]], [[1, own[0]]], "x"):
        text = edited(proved[1], lambda b, t=malformed: b["claim"].update(together=t))
        assert "HP705" in refused(tmp_path, text)


NEVER = """
scenario careless;
shared bool rang;
process user(cpu) on cpus { %s }
check rings { sometimes rang; }
"""


def test_what_never_happens_has_a_certificate(tmp_path):
    spec = tmp_path / "careless.hp"
    spec.write_text(NEVER % "if (rang) rang = true;")
    answer = cpuhp.load(str(spec)).answer(
        "rings", 0, Settings(recheck=True, certify=True)
    )
    assert (answer.verdict, answer.cpus) == ("UNREACHABLE", "all")
    assert len(answer.accepted_by) == 2
    assert answer.claim == "sometimes rang"
    text = answer.proof[1]
    assert json.loads(text)["claim"]["text"] == "never rang"
    assert certify(tmp_path, text).exit_code == 0
    # Nor does it show that where it does happen.
    spec.write_text(NEVER % "rang = true;")
    assert "model" in rejected(tmp_path, text)
