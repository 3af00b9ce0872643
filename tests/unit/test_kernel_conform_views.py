"""What `cpuhp conform` makes of a trace beside its verdict: files, tree, scenario."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from kernel_trees import HEADER

from cpuhp.api import load
from cpuhp.cli.conform import command
from cpuhp.kernel.registrations.model import (
    YES,
    Callback,
    Definition,
    Enumerator,
    Extraction,
    Row,
)
from cpuhp.kernel.tables.order import complete
from cpuhp.kernel.tables.states_file import read_kernel_states
from cpuhp.kernel.traces.conform import conform
from cpuhp.kernel.traces.events import read_trace
from cpuhp.kernel.traces.models import compare
from cpuhp.kernel.traces.rules import rules_of
from cpuhp.kernel.traces.spans import Actor, spans
from cpuhp.kernel.traces.tree import with_tree
from cpuhp.report.timeline import scale_of, timeline
from cpuhp.report.trace_events import trace_events

FOLDER = Path(__file__).parents[1] / "recordings"
TRACE = FOLDER / "arm64-6.12.117-kexec.trace.gz"
KNOWN = read_kernel_states(FOLDER / "arm64-6.12.117-kexec.states")
SVG = "{http://www.w3.org/2000/svg}"


def answer():
    return conform(read_trace(TRACE), KNOWN)


def calls():
    return list(spans(read_trace(TRACE), rules_of(KNOWN)))


def tree_with(*rows):
    return Extraction("tree", "6.12.1", "arm64", None, (), rows, (), (), 1)


def row(number, startup, teardown):
    return Row(
        "a.c", 1, "cpuhp_setup_state", "single", "CPUHP_X", number, None, None,
        "x", '"x"', startup, teardown, "init", present=YES,
    )  # fmt: skip


def function(name, kind="function"):
    return Callback(name, "function", name, (), Definition(name, "a.c", 1, kind))


NULL = Callback("NULL", "null")


def test_every_call_has_an_actor():
    found = calls()
    assert len(found) == answer().events // 2
    assert {span.actor for span in found} <= set(Actor)
    by_step = {span.call.enter.step: span.actor for span in found}
    assert by_step[145] is by_step[1] is Actor.CONTROL
    assert by_step[188] is Actor.THREAD


def test_perfetto_file_is_a_trace_with_a_track_for_each_cpu_and_actor():
    data = json.loads("".join(trace_events(answer(), calls())))
    entries = data["traceEvents"]
    tracks = {
        (e["pid"], e["tid"]): e["args"]["name"]
        for e in entries
        if e["name"] == "thread_name"
    }
    assert {pid for pid, _ in tracks} == {1000, 1001, 1002, 1003}
    assert {"operations", "control task", "hotplug thread"} <= set(tracks.values())
    drawn = [e for e in entries if e["ph"] == "X"]
    assert len(drawn) == len(calls()) + 6
    for entry in drawn:
        assert (entry["pid"], entry["tid"]) in tracks
        assert entry["ts"] >= 0 and entry["dur"] >= 0 and entry["name"]
    assert {e["ph"] for e in entries} == {"X", "M"}


def test_calls_of_a_track_nest():
    data = json.loads("".join(trace_events(answer(), calls())))
    tracks = {}
    for entry in data["traceEvents"]:
        if entry["ph"] == "X":
            tracks.setdefault((entry["pid"], entry["tid"]), []).append(entry)
    for entries in tracks.values():
        ends = []
        for entry in sorted(entries, key=lambda e: (e["ts"], -e["dur"])):
            while ends and ends[-1] <= entry["ts"]:
                ends.pop()
            end = entry["ts"] + entry["dur"]
            assert not ends or end <= ends[-1] + 0.002
            ends.append(end)


def test_timeline_is_svg_that_tells_itself_in_words():
    text = timeline(answer(), calls(), "a <trace>")
    root = ElementTree.fromstring(text)
    assert root.get("role") == "img"
    words = root.find(f"{SVG}desc").text
    assert "6 operations on 3 CPUs: 3 bringups and 3 tear-downs" in words
    assert "CPU3 tear-down 236 to 0" in words
    assert root.find(f"{SVG}title").text == "a <trace>"
    boxes = root.findall(f"{SVG}rect")
    assert len(boxes) > 50
    for box in boxes[1:]:
        assert 60 < float(box.get("x")) + float(box.get("width")) <= 1182


def test_timeline_leaves_out_time_in_which_nothing_happens():
    shown = [o for o in answer().operations if o.step is None]
    scale = scale_of(shown)
    assert len(scale.parts) == 2
    assert scale.at(shown[2].end) < scale.at(shown[3].start)
    assert not scale.covers((shown[2].end + shown[3].start) / 2)
    assert scale_of(()).parts == ()


def test_scenario_tells_what_has_no_model_and_the_reverse():
    program = load("shutdown-serial", table=complete(KNOWN)).program
    found = compare(answer(), program)
    downs = {met.step for met in found.modelled if not met.up}
    assert {188, 190} <= downs
    assert 11 in {met.step for met in found.without_model}  # slub:dead
    assert "blk_mq_hctx_notify_offline" in {
        name for met in found.without_step for name in met.names
    }
    assert 141 in {met.step for met in found.silent}  # tick:dying
    steps = len(found.modelled) + len(found.core) + len(found.without_model)
    assert steps == len({(c.step, c.up) for c in answer().costs})


def test_tree_tells_which_functions_may_run():
    tree = tree_with(row(188, function("startup_of_tree"), NULL))
    rules = rules_of(with_tree(tree, KNOWN))
    assert rules.functions(188, True) == {"startup_of_tree"}
    assert rules.own(188, True) == {"workqueue_online_cpu"}
    deviations = conform(read_trace(TRACE), with_tree(tree, KNOWN)).deviations
    assert {d.rule.value for d in deviations} == {"function"}
    assert "startup_of_tree" in deviations[0].allowed


@pytest.mark.parametrize(
    "unknown",
    [Callback("ops->up", "field"), function("maybe", kind="macro")],
)
def test_callback_that_the_tree_leaves_open_is_not_held_against_the_trace(unknown):
    tree = tree_with(row(188, unknown, NULL))
    assert (188, True) not in with_tree(tree, KNOWN).in_tree


def test_tree_without_states_file_gives_the_fixed_states(tmp_path):
    values = {"CPUHP_BRINGUP_CPU": 86, "CPUHP_TEARDOWN_CPU": 145}
    enumerators = tuple(Enumerator(n, v, None, 1) for n, v in values.items())
    tree = Extraction("t", "5.0", None, None, enumerators, (), (), (), 1)
    found = with_tree(tree, None)
    assert (found.kernel, found.table.bringup) == ("5.0", 86)


def test_command_writes_both_files_and_reads_a_tree(tmp_path):
    (tmp_path / "Makefile").write_text("VERSION = 6\nPATCHLEVEL = 12\n")
    header = tmp_path / "include/linux/cpuhotplug.h"
    header.parent.mkdir(parents=True)
    header.write_text(HEADER)
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel/cpu.c").write_text("/* no table */\n")
    json_file, svg_file = tmp_path / "t.json", tmp_path / "t.svg"
    arguments = [str(TRACE), "--perfetto", str(json_file), "--timeline", str(svg_file)]
    arguments += ["--tree", str(tmp_path), "--scenario", "shutdown-serial"]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "without a model:" in result.output
    assert json.loads(json_file.read_text())["traceEvents"]
    assert ElementTree.parse(svg_file).getroot().get("role") == "img"
    assert not list(tmp_path.glob(".*part"))
