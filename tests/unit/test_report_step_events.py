"""Interleavings for Perfetto: tracks, slices that nest, arrows that start and end."""

import json
from functools import cache
from pathlib import Path

from click.testing import CliRunner

from cpuhp.cli import group
from cpuhp.report.results import results_of
from cpuhp.report.step_events import step_events

GOLDEN = Path(__file__).parents[1] / "golden/small.json"


@cache
def made():
    answer = results_of(json.loads(GOLDEN.read_text()), "small.json").answers[0]
    return answer, json.loads("".join(step_events(answer, "small.json")))


def slices(category):
    return [
        e for e in made()[1]["traceEvents"] if e["ph"] == "X" and category in e["cat"]
    ]


def test_each_step_is_a_slice_on_the_track_of_its_actor():
    answer, data = made()
    tracks = {
        (e["pid"], e["tid"]): e["args"]["name"]
        for e in data["traceEvents"]
        if e["name"] == "thread_name"
    }
    cpus = {
        e["args"]["name"] for e in data["traceEvents"] if e["name"] == "process_name"
    }
    steps = sorted(slices("step") + slices("bad"), key=lambda e: e["ts"])
    assert cpus == {f"CPU{step.cpu}" for step in answer.trace.steps}
    assert [e["name"] for e in steps] == [step.action for step in answer.trace.steps]
    for entry, step in zip(steps, answer.trace.steps):
        assert tracks[entry["pid"], entry["tid"]] == step.process


def test_a_callback_encloses_its_steps():
    for call in slices("callback"):
        inside = [
            e for e in slices("step") + slices("bad")
            if (e["pid"], e["tid"]) == (call["pid"], call["tid"])
            and call["ts"] <= e["ts"] < call["ts"] + call["dur"]
        ]  # fmt: skip
        assert inside and all(
            e["ts"] + e["dur"] <= call["ts"] + call["dur"] for e in inside
        )
    assert slices("callback")


def test_an_arrow_starts_before_it_ends():
    ends = {}
    for entry in made()[1]["traceEvents"]:
        if entry["ph"] in "sf" and entry.get("cat") == "reads":
            ends.setdefault(entry["id"], []).append(entry)
    assert ends
    for start, end in ends.values():
        assert (start["ph"], end["ph"]) == ("s", "f") and start["ts"] < end["ts"]


def test_the_bad_read_is_marked():
    (bad,) = slices("bad")
    assert "bad read" in bad["args"]


def test_the_command_takes_a_result_or_a_recorded_trace(tmp_path):
    trace = tmp_path / "x.trace"
    trace.write_text(
        "# tracer: nop\n"
        "  cpuhp/1-21 [001] ..... 1.0: cpuhp_enter: cpu: 0001 target: 236 step: 192 (foo)\n"
        "  cpuhp/1-21 [001] ..... 1.1: cpuhp_exit: cpu: 0001  state: 192 step: 192 ret: 0\n"
    )
    for subject in (GOLDEN, trace):
        out = tmp_path / "out.json"
        args = ["export", str(subject), "--to", "perfetto", "-o", str(out)]
        result = CliRunner().invoke(group, args)
        assert result.exit_code == 0, (result.output, result.exception)
        assert json.loads(out.read_text())["traceEvents"]
