"""Interleavings in a terminal: what is printed, the keys, and the width."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from cpuhp.api import context_of, load
from cpuhp.cli import group
from cpuhp.diagnostics import InputError
from cpuhp.report.answers import as_json
from cpuhp.report.results import results_of
from cpuhp.report.stepper import stepper
from cpuhp.report.terminal import Style

HERE = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    scenario = load(str(HERE / "data/handover.hp"), options={"spare_dying": "false"})
    answers = scenario.check("duty*")
    path = tmp_path_factory.mktemp("show") / "r.json"
    path.write_text(json.dumps(as_json(answers, context_of([scenario], answers))))
    return path


def shown(*args):
    result = CliRunner().invoke(group, ["show", *map(str, args)])
    assert result.exit_code == 0, result.output
    return result.output


def test_without_a_terminal_all_of_it_is_printed(file):
    text = shown(file, "duty_on_live_cpu")
    lines = text.splitlines()
    assert lines[0].startswith("VIOLATED  duty_on_live_cpu")
    assert "bad read in step" in text and "dead = aps" in text
    assert max(map(len, lines)) <= 80 and text.isascii()


def test_one_step_has_the_spec_text_and_the_change(file):
    text = shown(file, "duty_on_live_cpu", "--step", 4)
    assert "step 4 of 11" in text and "owner: CPU0 -> CPU2" in text
    (here,) = [line for line in text.splitlines() if line.startswith("> ")]
    assert "if (next != none) owner = next;" in here


@pytest.mark.parametrize("width", [60, 120])
def test_everything_fits_the_width(file, width):
    for step in range(12):
        lines = shown(file, "--step", step, "--width", width).splitlines()
        assert max(map(len, lines)) <= width
    lines = shown(file, "--width", width).splitlines()
    assert max(map(len, lines)) <= width


def test_the_table_of_check_fits_the_width():
    spec = str(HERE / "data/handover.hp")
    args = ["check", spec, "-D", "spare_dying=false", "--width", "60", "--jobs", "1"]
    lines = CliRunner().invoke(group, args).output.splitlines()
    assert max(map(len, lines)) <= 60 and any("PROVED" in line for line in lines)


def test_the_first_violation_is_shown_where_no_check_is_named(file):
    assert shown(file).startswith("VIOLATED  duty_on_live_cpu")
    assert shown(file, "duty_on_live_cpu", "--claim", 1).startswith("WITNESSED")


@pytest.mark.parametrize(
    "args", [["dutty"], ["duty_on_live_cpu", "--claim", "2"], ["--step", "99"]]
)
def test_what_is_not_there_is_one_error(file, args):
    result = CliRunner().invoke(group, ["show", str(file), *args])
    assert isinstance(result.exception, InputError)
    assert result.exception.diagnostics[0].code == "HP811"


def test_control_characters_and_letters_of_other_scripts_do_no_harm(file):
    data = json.loads(file.read_text())
    for step in data["results"][0]["trace"]:
        step["action"] = step["process"] = "\x1b[2J\u202e\u00e9vil" + "x" * 300
    found = results_of(data, "x")
    chosen = stepper(found.answers[0], found.context)
    for style in (Style(), Style(ascii=False)):
        text = "".join(chosen.frame(3, style))
        assert "\x1b" not in text and "\u202e" not in text
        assert ("\u00e9" in text) is not style.ascii
        assert max(map(len, chosen.frame(3, style))) <= 80


def terminal(args, keys, **env):
    """What a terminal of 80 columns shows while the keys are pressed."""
    main, other = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "cpuhp", "show", *map(str, args)],
        stdin=other, stdout=other, stderr=other,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80", **env},
    )  # fmt: skip
    os.close(other)
    text = ""
    try:
        for key in [*keys, None]:
            text += _until_quiet(main, child)
            if key is not None:
                os.write(main, key.encode())
        assert child.wait(20) == 0, text
    finally:
        child.kill()
        child.wait()
        os.close(main)
    return text


def _until_quiet(main, child):
    found = b""
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        if select.select([main], [], [], 0.3)[0]:
            try:
                found += os.read(main, 65536)
            except OSError:  # the other side is closed
                break
        elif b"q quit" in found or child.poll() is not None:
            break
    return found.decode(errors="replace")


def test_the_keys_go_on_and_back(file):
    text = terminal([file], ["n", " ", "p", "G", "\x1b[D", "g", "q"])
    steps = re.findall(r"(?:step (\d+) of 11|(start), 11)", text)
    assert [a or b for a, b in steps] == ["start", "1", "2", "1", "11", "10", "start"]
    assert "\x1b[31;1m" in text


def test_no_color_means_none(file):
    text = terminal([file], ["n", "q"], NO_COLOR="1")
    assert "VIOLATED" in text and not re.search(r"\x1b\[[0-9;]*m", text)


def test_the_end_of_input_is_the_end(file):
    assert "Traceback" not in terminal([file], ["\x04"])
