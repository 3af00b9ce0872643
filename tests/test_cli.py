"""The command line as a user meets it: verdicts, exit statuses, bad input."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cpuhp.cli import group
from cpuhp.language.library import data_root

HERE = Path(__file__).parent
SPEC = str(HERE / "data" / "handover.hp")


def run(*args, env=None):
    return subprocess.run(
        [sys.executable, "-m", "cpuhp", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **(env or {})},
    )


def broken(*args, code):
    """Bad input: status 2, one coded error, no traceback, nothing on stdout."""
    result = run(*args)
    assert result.returncode == 2, result.stdout + result.stderr
    assert f"error[{code}]" in result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


def test_help_groups_the_verbs_and_loads_nothing_heavy():
    result = CliRunner().invoke(group, ["--help"])
    assert result.exit_code == 0
    assert "Verify:" in result.output and "check" in result.output
    script = (
        "import sys, cpuhp.cli\n"
        "try: cpuhp.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'z3', 'lark', 'networkx', 'tree_sitter'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_proof_covers_every_number_of_cpus():
    result = run("check", SPEC)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "PROVED      cpus=all  duty_on_live_cpu" in result.stdout
    assert "WITNESSED" in result.stdout
    assert result.stdout.splitlines()[-1] == "verdicts: 6 PROVED, 1 WITNESSED"


def test_a_fixed_number_of_cpus_is_not_called_all():
    result = run("check", SPEC, "--cpus", 3)
    assert "PROVED      cpus=3    duty_on_live_cpu" in result.stdout
    assert "cpus=all" not in result.stdout


def test_a_violation_is_shown_step_by_step():
    result = run("check", SPEC, "-D", "spare_dying=false")
    assert result.returncode == 1
    assert "VIOLATED  duty_on_live_cpu" in result.stdout
    assert (
        "owner: CPU1 -> CPU2" in result.stdout or "owner: CPU0 -> CPU" in result.stdout
    )
    assert "handover.hp:" in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines())
    assert result.stdout.isascii()


def test_expectations_decide_the_status():
    assert run("check", SPEC, "--expect", "-D", "spare_dying=false").returncode == 0
    result = run("check", SPEC, "--expect")
    assert "met" in result.stdout and result.returncode == 0


@pytest.mark.parametrize("known", [False, True])
def test_what_never_happens_is_a_failure_unless_the_spec_says_so(known, tmp_path):
    text = "scenario idle; shared bool x; process p { } check c { sometimes x; }"
    said = "scenario idle; expect c UNREACHABLE;"
    spec = tmp_path / "idle.hp"
    spec.write_text(text.replace("scenario idle;", said) if known else text)
    result = run("check", spec, "--check", "c")
    assert "UNREACHABLE" in result.stdout
    assert result.returncode == (0 if known else 1)


def test_json_is_the_documented_form(tmp_path):
    result = run("check", SPEC, "-D", "spare_dying=no", "--format", "json")
    data = json.loads(result.stdout)
    assert data["version"] == 1
    (violated,) = [r for r in data["results"] if r["verdict"] == "VIOLATED"]
    wanted = {
        "scenario", "check", "verdict", "cpus", "seconds", "modelled", "steps",
        "trace", "certificate", "reason",
    }  # fmt: skip
    assert wanted <= violated.keys()
    step = violated["trace"][-1]
    assert set(step) >= {
        "cpu", "process", "hotplug_state", "callback", "action", "source", "changes",
    }  # fmt: skip
    assert any("owner" in s["changes"] for s in violated["trace"])
    documented = (HERE.parent / "docs" / "json.md").read_text()
    assert all(f"`{name}`" in documented for name in (*violated, *step))


def test_proofs_are_checked_again_on_the_way():
    result = run("check", SPEC, "--certify", "--format", "json")
    told = json.loads(result.stdout)["results"]
    proofs = [r for r in told if r["verdict"] == "PROVED" and r["cpus"] == "all"]
    assert proofs
    for one in proofs:
        solvers = [name.split()[0] for name in one["accepted_by"]]
        assert solvers == ["z3", "cvc5"]
    told = run("check", SPEC, "--certify", "--check", proofs[0]["check"]).stdout
    assert "accepted by z3 " in told.splitlines()[-1]


def test_an_earlier_proof_that_nobody_checked_is_made_anew(tmp_path):
    def proof(folder, *more):
        result = run("check", SPEC, folder, tmp_path, "--format", "json", *more)
        told = json.loads(result.stdout)["results"]
        return next(r for r in told if r["check"] == "duty_on_live_cpu")

    unchecked = proof("--out")
    assert (unchecked["verdict"], unchecked["cpus"]) == ("PROVED", "all")
    assert proof("--resume") == unchecked
    assert unchecked["accepted_by"] == []
    checked = proof("--resume", "--certify")
    assert checked["accepted_by"]
    assert proof("--resume", "--certify") == proof("--resume") == checked


TEARS = """
scenario tears;
use smp_shutdown, arm64_callbacks;
shared atomic bool ran;
teardown timer_dying(cpu) for CPUHP_AP_ARM_ARCH_TIMER_EVTSTRM_STARTING {
    ran = true;
    return 0;
}
process control {
    bool failed = invoke_teardown(
        ONLINE, boot, CPUHP_AP_ARM_ARCH_TIMER_EVTSTRM_STARTING);
}
check never_ran { never ran; }
"""


def test_an_earlier_proof_is_of_one_table_only(tmp_path):
    """The same rows, but in another section."""
    (tmp_path / "tears.hp").write_text(TEARS)
    rows = (data_root() / "specs/tables/arm64-6.12.table").read_text()

    def verdict(table, folder):
        (tmp_path / "mine.table").write_text(table)
        result = run(
            "check", tmp_path / "tears.hp", "--order", tmp_path / "mine.table",
            "--check", "never_ran", folder, tmp_path / "out", "--format", "json",
        )  # fmt: skip
        (told,) = json.loads(result.stdout)["results"]
        return told["verdict"]

    assert verdict(rows, "--out") == "PROVED"
    online = rows.replace("teardown 145", "teardown 110")
    assert verdict(online, "--resume") == "VIOLATED"


def test_two_specs_of_one_name_have_a_certificate_each(tmp_path):
    text = "scenario same; shared atomic bool bad; process control { %s } "
    text += "check fine { never bad; }"
    for folder, body in (("one", "bad = false;"), ("two", "if (bad) bad = true;")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.hp").write_text(text % body)
    files = [tmp_path / folder / "same.hp" for folder in ("one", "two")]
    result = run("check", *files, "--check", "fine", "--out", tmp_path / "out",
                 "--format", "json")  # fmt: skip
    told = [one["certificate"] for one in json.loads(result.stdout)["results"]]
    assert len(set(told)) == 2
    for file, path in zip(files, told):
        assert json.loads(Path(path).read_text())["scenario"]["file"] == str(file)


def test_out_writes_whole_files_and_certificates(tmp_path):
    out = tmp_path / "out"
    assert run("check", SPEC, "--out", out).returncode == 0
    names = sorted(p.name for p in out.iterdir())
    assert "results.json" in names
    assert not [n for n in names if n.endswith(".part")]
    (certificate,) = [n for n in names if n.startswith("handover.duty_on_live_cpu")]
    assert certificate.endswith(".hpcert.json")
    checked = run("certify", out / certificate, "--spec", SPEC, "--solver", "z3")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_unknown_names_come_with_a_suggestion():
    assert "did you mean" in broken("check", "shutdown-three-fase", code="HP201")
    assert "duty_on_live_cpu" in broken("check", SPEC, "--check", "x*", code="HP501")
    assert "did you mean" in broken("check", SPEC, "-D", "spare=1", code="HP207")
    assert "did you mean" in broken("explain", "pmu_context_on_live_cp", code="HP503")


def test_an_option_of_the_wrong_type_is_refused():
    assert "one of: false, true" in broken(
        "check", SPEC, "-D", "spare_dying=7", code="HP207"
    )
    assert run("check", SPEC, "-D", "spare_dying").returncode == 2
    assert run("check", SPEC, "--cpus", "many").returncode == 2


def test_an_unknown_hotplug_state_is_refused(tmp_path):
    spec = tmp_path / "x.hp"
    spec.write_text("scenario x;\nshared hpstate s = CPUHP_AP_ACTIV;\nprocess p { }\n")
    told = broken("check", spec, code="HP206")
    assert "2:20" in told and "CPUHP_AP_ACTIVE" in told
    spec.write_text(
        "scenario x;\nteardown t(cpu) for CPUHP_AP_ACTIV { return 0; }\nprocess p { }\n"
    )
    told = broken("check", spec, code="HP206")
    assert "2:1" in told and "CPUHP_AP_ACTIVE" in told


STATES = "  0: offline\n 86: cpu:bringup\n145: cpu:teardown\n236: online\n"


@pytest.mark.parametrize(
    "text",
    [
        STATES + " 86: cpu:bringup\n",
        STATES.replace(" 86", "146"),
        "no table at all\n",
        "",
        "\0\1\2",
    ],
    ids=["twice", "out of order", "prose", "empty", "binary"],
)
def test_a_bad_order_is_refused(tmp_path, text):
    table = tmp_path / "states"
    table.write_text(text)
    result = run("check", SPEC, "--order", table)
    assert result.returncode == 2
    assert "error[HP4" in result.stderr and "Traceback" not in result.stderr


def test_a_missing_file_is_one_sentence(tmp_path):
    assert "cannot read" in broken("check", tmp_path / "none.hp", code="HP203")
    assert run("check", SPEC, "--order", tmp_path / "none").returncode == 2
    component = tmp_path / "c.hp"
    component.write_text("component c;\n")
    told = broken("check", component, code="HP502")
    assert "not a scenario" in told and "cpuhp place" in told


def test_a_closed_pipe_is_no_error():
    listed = f"{sys.executable} -u -m cpuhp list checks"
    command = f"{listed} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 141 and not done.stderr  # as if stopped by SIGPIPE


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_one_sentence():
    command = f"{sys.executable} -m cpuhp list checks > /dev/full"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.returncode == 2
    assert "No space left" in done.stderr and "Traceback" not in done.stderr


def test_same_output_for_any_hash_seed():
    args = ("check", SPEC, "-D", "spare_dying=false", "--jobs", 1)
    one, two = (run(*args, env={"PYTHONHASHSEED": seed}).stdout for seed in "12")
    strip = [line for line in one.splitlines() if not line.rstrip().endswith(" s")]
    again = [line for line in two.splitlines() if not line.rstrip().endswith(" s")]
    assert strip == again


@pytest.mark.parametrize("seconds", ["nan", "inf", "0", "soon"])
def test_a_limit_is_a_number_of_seconds(seconds):
    result = CliRunner().invoke(group, ["check", SPEC, "--timeout", seconds])
    assert result.exit_code == 2
    assert "Invalid value for '--timeout'" in result.output


@pytest.mark.parametrize("option", ["--out", "--report"])
def test_a_folder_has_a_name(option):
    result = CliRunner().invoke(group, ["check", SPEC, option, ""])
    assert result.exit_code == 2 and "it names no folder" in result.output


def test_a_sweep_draws_no_samples():
    args = ["estimate", "shutdown-serial", "--sweep", "cpus=2..4", "--samples", "5"]
    result = CliRunner().invoke(group, args)
    assert result.exit_code == 2 and "draws no samples" in result.output


@pytest.mark.parametrize("args", [["scenarios", "x"], ["--order", "x"]])
def test_a_list_of_all_takes_no_scenario(args):
    result = CliRunner().invoke(group, ["list", *args])
    assert result.exit_code == 2 and "takes no scenario" in result.output


def test_explain_proof_tells_its_words_and_says_nothing_twice(tmp_path):
    spec = tmp_path / "turns.hp"
    spec.write_text(
        "scenario turns;\nmutex lock;\npercpu bool inside;\npercpu bool told;\n"
        "process turn(cpu) {\n    mutex_lock(lock);\n    told[cpu] = true;\n"
        "    inside[cpu] = true;\n    told[cpu] = false;\n    inside[cpu] = false;\n"
        "    mutex_unlock(lock);\n}\ncheck alone {\n    always all(a in cpus : "
        "all(b in cpus : inside[a] && inside[b] => a == b));\n}\n"
    )
    result = run("explain", "--proof", str(spec), "alone")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    joined = [line for line in lines if line.startswith("  - no step from turn:")]
    assert len(joined) == 1
    count = tmp_path / "count.hp"
    count.write_text(
        "scenario counted;\nshared cpumask in_use;\nshared counter of in_use users;\n"
        "process turn(cpu) { atomic { in_use[cpu] = true; users++; } }\n"
        "check counts { always users == weight(in_use); }\n"
    )
    result = run("explain", "--proof", str(count), "counts")
    assert "  |in_use|: how many CPUs are in in_use" in result.stdout.splitlines()


def test_explain_proof_tells_the_invariant_in_sentences_that_fit_a_mail():
    named = ("explain", "--proof", "shutdown-three-phase-fixed")
    result = run(*named, "smt_key_as_in_serial_order")
    assert result.returncode == 0
    head, *lines = result.stdout.splitlines()
    assert head == "PROVED  smt_key_as_in_serial_order: never smt_key_underflow"
    assert "  - never smt_key_underflow" in lines
    assert any(line.startswith("  - for every CPU i") for line in lines)
    assert any("sched_smt_leave:" in line for line in lines)
    assert "  specs/callbacks/sched.hp: sched_smt_leave" in lines
    assert max(map(len, lines)) <= 80
    without = run(*named, "smt_key_as_in_serial_order", "-D", "fix_smt=false")
    assert without.returncode == 3
    assert without.stdout.startswith("VIOLATED")


def test_a_check_of_a_file_is_explained_with_the_file():
    told = run("explain", SPEC, "duty_on_live_cpu")
    assert told.returncode == 0 and "duty_on_live_cpu  (" in told.stdout, told.stderr
    assert "FILE.hp CHECK" in broken("explain", "my_own", code="HP503")
    assert "did you mean" in broken("explain", SPEC, "duty_on_live_cp", code="HP503")


def test_several_checks_may_be_asked_for():
    asked = ("--check", "duty_*", "--check", "no_deadlock")
    result = run("check", SPEC, "--cpus", 2, *asked, "--format", "json")
    found = {answer["check"] for answer in json.loads(result.stdout)["results"]}
    assert found == {"duty_on_live_cpu", "no_deadlock"}
    assert "no check 'x'" in broken("check", SPEC, *asked, "--check", "x", code="HP501")
