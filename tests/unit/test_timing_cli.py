"""`cpuhp estimate` as a user meets it: answers, pictures, bad input."""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import fmean

import pytest
from click.testing import CliRunner

from cpuhp.api import load
from cpuhp.cli import group
from cpuhp.diagnostics import InputError
from cpuhp.kernel.tables.states_file import read_any_table
from cpuhp.kernel.traces.conform import conform
from cpuhp.kernel.traces.events import read_trace
from cpuhp.timing.simulate import simulate

ROOT = Path(__file__).parents[2]
TRACE = str(ROOT / "tests/recordings/arm64-6.12.117-kexec.trace.gz")
STATES = TRACE.replace(".trace.gz", ".states")


def printed(*args):
    result = CliRunner().invoke(group, ["estimate", *args], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def broken(*args):
    with pytest.raises(InputError) as error:
        CliRunner().invoke(group, ["estimate", *args], catch_exceptions=False)
    (found,) = error.value.diagnostics
    return found


def test_the_answer_as_data_is_that_of_the_api():
    data = json.loads(
        printed("shutdown-three-phase", "--cpus", "20", "--format", "json")
    )
    found = load("shutdown-three-phase").estimate(cpus=20)
    assert data["makespan"] == found.makespan
    assert data["helps"][0]["step"] == found.helps[0].step
    assert data["critical_path"][-1]["end"] == found.makespan


def test_a_parameter_is_one_of_the_costs_or_an_option_of_the_scenario():
    less = load("shutdown-three-phase").estimate(params={"power_off": "1 ms"})
    assert less.makespan == pytest.approx(0.179487 + 79 * 0.001)
    serial = load("shutdown-three-phase").estimate(cpus=10, params={"patch2": "false"})
    assert serial.makespan == pytest.approx(9 * (0.179487 + 0.010387))
    found = broken("shutdown-three-phase", "--param", "power_of=1 ms")
    assert (found.code, found.help) == ("HP207", "did you mean 'power_off'?")


def test_a_parameter_may_be_a_constant_of_the_costs():
    made = load("bringup-parallel")
    mixed, primary = (
        made.estimate(cpus=20, params={"primary_thread": cpus})
        for cpus in ("first 1/2", "all")
    )
    assert mixed.makespan != primary.makespan
    assert repr(primary) == f"bringup-parallel on 20 CPUs: {primary.makespan:.6g} s"


def test_costs_come_from_a_trace_and_what_is_not_needed_is_told():
    shown = printed("shutdown-three-phase", "--cpus", "4", "--trace", TRACE)
    assert "costs: arm64-6.12.117-kexec.trace.gz (measured" in shown
    assert "steps ran without a cost: " in shown
    last = shown.splitlines()[-1]
    assert (
        "costs are of steps that did not run: the longest first: takedown_cpu" in last
    )
    assert "startup" not in last and "bringup" not in last
    serial = load("shutdown-serial").estimate(cpus=4, trace=TRACE)
    assert serial.helps[0].step == "takedown_cpu"


@pytest.mark.parametrize(
    ("scenario", "kind", "near"),
    [("bringup-serial", "bringup", 0.05), ("shutdown-serial", "tear-down", 0.2)],
)
def test_what_the_traced_machine_did_itself_comes_out(scenario, kind, near):
    states = read_any_table(STATES)
    operations = [
        o.end - o.start
        for o in conform(read_trace(TRACE), states).operations
        if o.kind.value == kind and not o.cut
    ]
    setup = load(scenario, order=STATES).timing(trace=TRACE, states=states)
    each = simulate(setup.model, 4, setup.costs).makespan / 3
    assert each == pytest.approx(fmean(operations), rel=near)


def test_the_user_s_own_spec_is_estimated(tmp_path):
    spec, costs = tmp_path / "own.hp", tmp_path / "own.toml"
    spec.write_text(
        "scenario own_timed;\nshared bool x;\noption bool twice = false;\n"
        "process control { f(); if (twice) f(); }\nvoid f() { x = true; }\n"
    )
    costs.write_text('[costs]\nf = "3 ms"\n')
    args = (str(spec), "--costs", str(costs))
    assert "makespan         3.000 ms" in printed(*args)
    assert "makespan         6.000 ms" in printed(*args, "--param", "twice=true")


def test_without_costs_the_answer_says_what_is_missing():
    assert "No costs for this scenario are shipped" in printed("bringup-maxcpus")


def test_costs_of_cpus_that_are_not_there_are_told(tmp_path):
    file = tmp_path / "eight.toml"
    file.write_text(
        "[machine]\ncpus = 8\n[constants]\nfast = '3,9-10'\n[costs]\n"
        "takedown_cpu = { time = '1 ms', cpus = '0-7,200' }\n"
        "sched_cpu_dying = { time = '0 ms', cpus = '99' }\n"
        "__cpu_die = { time = '1 ms', cpus = 'last 1/2' }\n"
    )
    given = ("shutdown-serial", "--costs", str(file))
    assert (
        "costs of CPUs that a machine of 8 does not have: "
        "takedown_cpu (CPU 200), fast (CPU 9-10)\n"
    ) in printed(*given)
    data = json.loads(printed(*given, "--format", "json"))
    assert data["costs_beyond"] == {"takedown_cpu": [200], "fast": [9, 10]}
    assert "does not have" not in printed(*given, "--cpus", "201")
    for sweep in ("cpus=8,16,201", "cpus=201,202"):
        told = "a machine of 8 does not have: takedown_cpu (CPU 200), fast"
        assert (told in printed(*given, "--sweep", sweep)) == sweep.startswith("cpus=8")
    line = ("--sweep", "cpus=8,16,32,64,128,256,1024")
    assert "has no part for CPUs above" not in printed(*given, *line)
    file.write_text(file.read_text().replace("200", "1000"))
    told = "continued\nwhich has no part for CPUs above 255, as in: takedown_cpu\n"
    assert told in printed(*given, *line)
    file.write_text(file.read_text().replace("1000", "200"))
    data = json.loads(printed(*given, "--sweep", "cpus=10,20", "--format", "json"))
    assert data["costs_beyond"] == {"takedown_cpu": [200], "fast": [10]}


def test_a_sweep_over_a_parameter():
    shown = json.loads(printed("shutdown-three-phase", "--cpus", "9", "--format", "json",
                               "--sweep", "power_off=1ms..1s"))  # fmt: skip
    assert shown["over"] == "power_off" and len(shown["points"]) == 12
    last = shown["points"][-1]
    assert last["makespan"] == pytest.approx(0.179487 + 8 * 1.0)
    assert 0 < shown["exponents"][0]["exponent"] < 1


@pytest.mark.parametrize(
    ("kind", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_pictures_are_files_of_their_kind_and_the_same_each_time(
    tmp_path, kind, begins
):
    pytest.importorskip("matplotlib")
    files = [tmp_path / f"{n}.{kind}" for n in "ab"]
    for file in files:
        printed("cpu-park", "--cpus", "5", "--plot", str(file))
    assert files[0].read_bytes().startswith(begins)
    assert files[0].read_bytes() == files[1].read_bytes()
    sweep = tmp_path / f"s.{kind}"
    printed("cpu-park", "--sweep", "cpus=2..16", "--plot", str(sweep))
    assert sweep.read_bytes().startswith(begins)


def test_the_critical_path_as_dot_needs_no_library(tmp_path):
    file = tmp_path / "path.dot"
    printed("shutdown-serial", "--cpus", "6", "--plot", str(file))
    text = file.read_text()
    assert text.startswith("digraph critical_path {") and '"5 times"' in text
    assert "cpuhp/1 .. 5" in text and text.count("{") == text.count("}")


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["shutdown-serial", "--plot", "x.gif"], "HP930"),
        (["shutdown-serial", "--plot", "/no/such/folder/x.png"], "HP930"),
        (["shutdown-serial", "--sweep", "cpus"], "HP931"),
        (["shutdown-serial", "--sweep", "cpus=9..2"], "HP931"),
        (["shutdown-serial", "--sweep", "cpus=2..1000000"], "HP931"),
        (["shutdown-serial", "--sweep", "power_off=3..4"], "HP931"),
        (["shutdown-serial", "--sweep", "nothing=1ms..2ms"], "HP207"),
        (["shutdown-serial", "--costs", "nobody"], "HP920"),
        (["shutdown-serial", "--trace", "/no/such/file"], "HP420"),
        (["bringup-fully-parallel", "--costs", "x86-skylake-112"], "HP913"),
        (["shutdown-serial", "-D", "nothing=1"], "HP207"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_bad_input_is_one_coded_error(args, code):
    assert broken(*args).code == code


def test_bad_input_ends_with_status_2_and_leaves_no_file(tmp_path):
    file = tmp_path / "x.png"
    done = subprocess.run(
        [sys.executable, "-m", "cpuhp", "estimate", "bringup-fully-parallel", "--costs",
         "x86-skylake-112", "--plot", str(file)],
        capture_output=True, text=True, timeout=100, env={**os.environ},
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == ""
    assert "error[HP913]" in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_answer_does_not_depend_on_the_hash_seed():
    outputs = {
        subprocess.run(
            [sys.executable, "-m", "cpuhp", "estimate", "bringup-parallel", "--cpus", "12"],
            capture_output=True, text=True, timeout=100,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in "12"
    }  # fmt: skip
    assert len(outputs) == 1 and "makespan" in outputs.pop()
