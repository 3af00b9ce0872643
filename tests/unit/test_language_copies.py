"""A copy of a shipped component has another name: what is then not asked is told."""

import json
import re
from functools import cache

import pytest
from click.testing import CliRunner

from cpuhp.api import load, loads
from cpuhp.cli import group
from cpuhp.diagnostics import InputError
from cpuhp.language.library import data_root

HERE = data_root() / "specs/core/three-phase.hp"
LOST = (
    "gate_opens_for_marked_steps_only",
    "gives_up_only_after_failure",
    "waited_for_cpu_was_kicked",
)


@cache
def copy():
    text = HERE.read_text().replace("component three_phase", "scenario mine")
    return re.sub(r"^use hotplug.*$", r"\g<0>\nuse arm64_callbacks;", text, flags=re.M)


def run(path, *args):
    return CliRunner().invoke(group, ["check", str(path), "--quiet", *args])


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "mine.hp"
    file.write_text(copy())
    return file


def test_checks_of_the_original_are_named():
    original = load("shutdown-three-phase").program.checks.keys()
    mine = loads(copy())
    assert tuple(sorted(original - mine.program.checks.keys())) == LOST
    assert mine.not_asked == dict.fromkeys(LOST, ("three_phase",))


def test_they_are_told_as_text_and_as_data(path, tmp_path):
    every = "not asked of mine, which has a copy of what they require (three_phase):\n"
    told = run(path, "--check", "no_bug", "--check", "waited*").output
    assert every + "  waited_for_cpu_was_kicked\nverdicts" in told
    assert "not asked" not in run(path, "--check", "no_bug").output
    data = json.loads(run(path, "--check", "no_bug", "--format", "json").output)
    assert data["scenarios"][0]["not_asked"] == {n: ["three_phase"] for n in LOST}
    result = tmp_path / "result.json"
    result.write_text(json.dumps(data))
    log = CliRunner().invoke(group, ["report", str(result), "--format", "sarif"]).output
    (invocation,) = json.loads(log)["runs"][0]["invocations"]
    texts = [n["message"]["text"] for n in invocation["toolExecutionNotifications"]]
    assert sum("was not asked of mine" in text for text in texts) == len(LOST)


def test_a_check_that_is_asked_for_by_name_says_what_it_requires(path):
    with pytest.raises(InputError, match="HP501") as error:
        load(str(path)).claims(LOST[-1])
    (found,) = error.value.diagnostics
    assert found.help.endswith("requires what the scenario does not use: three_phase")


def test_less_than_half_is_no_copy():
    half = copy()[: copy().index("/// For checks: the CPU")]  # six names of thirteen
    assert "percpu bool kicked;" in half and loads(half).not_asked == {}
    more = loads(half + "bool gate_opens() = patch2;")
    assert tuple(more.not_asked) == LOST


@pytest.mark.parametrize("name", ["suspend-serial", "bringup-parallel", "kho-serial"])
def test_shipped_scenarios_are_no_copies(name):
    assert load(name).not_asked == {}
