"""Pictures: golden DOT text, untrusted names, determinism, rendering."""

import json
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import graphviz
import pytest
from click.testing import CliRunner

from cpuhp.api import scenarios
from cpuhp.cli.diagram import KINDS, command
from cpuhp.diagnostics import InputError
from cpuhp.model.table import HotplugState, Table
from cpuhp.report.diagrams.canvas import Chart, Line, link, markup, quoted, shortened
from cpuhp.report.diagrams.counterexample import chart
from cpuhp.report.diagrams.evidence import choose, evidence
from cpuhp.report.diagrams.render import render
from cpuhp.report.diagrams.sequence_chart import chart as sequence_chart
from cpuhp.report.diagrams.sequence_table import of_table
from cpuhp.report.diagrams.theme import LIGHT, PRINT, THEMES

GOLDEN = Path(__file__).parent.parent / "golden"
SMALL, RESULT = "small.hp", "small.json"
EVIL = '"><script>alert(1)</script> \\N\\" <B>\x00\x1b[31m\u202e {|} &amp;'


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.chdir(GOLDEN)


def draw(*args):
    result = CliRunner().invoke(command, args)
    assert result.exception is None or isinstance(result.exception, SystemExit), (
        result.exception
    )
    assert result.exit_code == 0, result.output
    return result.output


def refused(*args):
    with pytest.raises(InputError) as caught:
        CliRunner().invoke(command, args, catch_exceptions=False)
    return caught.value.diagnostics[0]


def subject(kind):
    return RESULT if kind == "counterexample" else SMALL


@pytest.mark.parametrize("kind", KINDS)
def test_picture_is_as_recorded(kind):
    golden = GOLDEN / f"small-{kind}.dot"
    text = draw(subject(kind), "--kind", kind)
    if os.environ.get("CPUHP_RECORD_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


def test_automaton_is_as_recorded():
    text = draw(SMALL, "--kind", "state-machine", "--rvgen")
    golden = GOLDEN / "small-rvgen.dot"
    if os.environ.get("CPUHP_RECORD_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


def test_automaton_has_the_lines_that_rvgen_reads():
    lines = draw(SMALL, "--kind", "state-machine", "--rvgen").splitlines()
    assert lines[0].split()[:2] == ["digraph", "state_automaton"]
    nodes = [line.split() for line in lines if line.split()[0] == "{node"]
    assert nodes[0][-1].startswith('"__init_up"')
    assert any("doublecircle" in line for line in lines)
    arrows = [line.split() for line in lines if "->" in line and "label" in line]
    assert {a[-2].strip('"') for a in arrows} == {"mark_own", "cpuhp"}


def test_same_picture_for_any_hash_seed():
    code = (
        "from cpuhp.cli.diagram import command\n"
        f"command(['{SMALL}', '--kind', 'dependency', '--full'])"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "77")
    }  # fmt: skip
    assert len(texts) == 1


def test_sequence_folds_but_counts_every_row():
    folded = draw(SMALL, "--kind", "sequence")
    full = draw(SMALL, "--kind", "sequence", "--full")
    assert "13 steps: 236" in folded and "padata:online" in full
    assert "hand_over()" in folded and "hand_over()" in full


@pytest.mark.parametrize("name", scenarios())
def test_every_shipped_scenario_has_a_sequence_without_overlaps(name):
    boxes, clashes = overlapping(draw(name))
    assert boxes and not clashes


def table(names):
    rows = [HotplugState(n, name) for n, name in enumerate(names)]
    return Table("t", tuple(rows), 2, 5, range(8, 9), range(1, 2))


def test_table_of_eighty_rows_stays_within_its_lanes():
    rows = [HotplugState(n, f"driver/with a rather long name:{n}") for n in range(80)]
    big = Table("big", tuple(rows), 20, 50, range(60, 70), range(5, 8))
    picture = sequence_chart(of_table(big, [], True), LIGHT)
    boxes = [tuple(map(float, m)) for m in re.findall(
        r'pos="([\d.]+),-([\d.]+)!".*?width=([\d.]+)', picture.dot)]  # fmt: skip
    right = max(x + w * 36 for x, _, w in boxes)
    assert right < 1000
    assert picture.dot.count("no model") + picture.dot.count("without a model") >= 79


def overlapping(dot):
    found = []
    for m in re.finditer(
        r'^\tn_\d+_\w+ \[.*?height=([\d.]+).*?pos="([\d.]+),-([\d.]+)!".*?width=([\d.]+)',
        dot, re.MULTILINE | re.DOTALL,
    ):  # fmt: skip
        h, x, y, w = map(float, m.groups())
        found.append((x - w * 36, x + w * 36, y - h * 36, y + h * 36))
    return found, [
        (a, b) for n, a in enumerate(found) for b in found[n + 1 :]
        if a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]
    ]  # fmt: skip


@pytest.mark.parametrize("more", [[], ["--full"]])
def test_no_box_lies_on_another(more):
    boxes, clashes = overlapping(draw(SMALL, "--kind", "sequence", *more))
    assert len(boxes) > 5
    assert not clashes


def result(**more):
    step = {
        "cpu": 1, "process": EVIL, "hotplug_state": EVIL, "callback": EVIL,
        "action": EVIL, "source": EVIL, "origin": EVIL, "changes": {EVIL: [EVIL, EVIL]},
    }  # fmt: skip
    return {
        "scenario": EVIL, "check": EVIL, "claim": EVIL, "verdict": "VIOLATED",
        "trace": [step], "machine": {"cpus": 2, "boot": 0, "initial": {EVIL: EVIL}},
        **more,
    }  # fmt: skip


def test_markup_in_names_stays_text():
    picture = chart(evidence(result(), "r"), LIGHT, "https://example.org/src")
    assert "<script" not in picture.dot and "\x1b" not in picture.dot
    svg = render(picture, "svg").decode()
    tree = ET.fromstring(svg)
    tags = {element.tag.split("}")[-1] for element in tree.iter()}
    assert "script" not in tags and "alert(1)" in "".join(tree.itertext())
    targets = [
        v for e in tree.iter() for k, v in e.attrib.items() if k.endswith("href")
    ]
    assert targets and all(t.startswith("https://example.org/src/") for t in targets)


def test_markup_in_hotplug_states_stays_text():
    sequence = of_table(table(["a", EVIL, "b", EVIL, "c", "d", EVIL]), [], False)
    tree = ET.fromstring(render(sequence_chart(sequence, PRINT), "svg"))
    assert not [e for e in tree.iter() if e.tag.endswith("script")]


def test_text_helpers():
    assert markup("<a & \"b'>") == "&lt;a &amp; &quot;b&#x27;&gt;"
    assert "\n" not in quoted("a\nb") and quoted("\\N") == "\\\\N"
    assert shortened("abcdef", 4) == "abc…"
    assert link(None, "a.c") is None and link("https://x/y/", None) is None
    assert link("https://x/y/", "k/a b.c:12") == "https://x/y/k/a%20b.c#L12"
    with pytest.raises(InputError) as caught:
        link("javascript:alert(1)//", "a.c")
    assert caught.value.diagnostics[0].code == "HP801"


def moves(*rows):
    return [
        {"cpu": cpu, "process": "p", "action": text, "hotplug_state": None,
         "callback": None, "source": "a.hp:1", "origin": None,
         "changes": {c: list(v) for c, v in changes.items()}}
        for cpu, text, changes in rows
    ]  # fmt: skip


def test_stale_read_is_marked_with_what_it_should_have_been():
    trace = moves(
        (1, "n = counted", {"n": ("0", "0")}),
        (2, "counted = 1", {"counted": ("0", "1")}),
        (1, "total = n", {"total": ("5", "0")}),
    )
    found = evidence(
        result(trace=trace, claim="always total > 1",
               machine={"cpus": 3, "boot": 0, "initial": {"counted": "0", "total": "5"}}),
        "r",
    )  # fmt: skip
    assert "read counted = 0" in found.moments[0].bad
    assert "should have been 1" in found.moments[0].bad
    assert found.ending == ("total = 0",)


def test_choice_of_a_cpu_that_goes_is_marked():
    trace = moves(
        (1, "dst = any(c in online)", {"dst[CPU1]": ("none", "CPU2")}),
        (1, "owner = dst", {"owner": ("CPU1", "CPU2")}),
        (2, "dead[cpu] = true", {"dead[CPU2]": ("false", "true")}),
    )
    initial = {"owner": "CPU1", "dead[CPU2]": "false"}
    found = evidence(
        result(trace=trace, claim="always !dead[owner]",
               machine={"cpus": 3, "boot": 0, "initial": initial}), "r",
    )  # fmt: skip
    assert found.moments[0].bad.startswith("chose CPU2, but step 3")


def test_reads_from_are_arrows_between_cpus():
    trace = moves(
        (0, "go[c] = true", {"go[CPU1]": ("false", "true")}),
        (1, "wait (go[cpu])", {}),
        (2, "wait (go[cpu])", {}),
    )
    machine = {"cpus": 3, "boot": 0, "initial": {"go[CPU1]": "false"}}
    found = evidence(result(trace=trace, claim="x", machine=machine), "r")
    assert [m.came for m in found.moments] == [[], [(0, "go")], []]


@pytest.mark.parametrize("data", [
    None, [], {}, {"results": 3}, {"results": [3]}, {"results": [{"trace": 5}]},
    {"results": [{"trace": [{}]}]},
    {"results": [{"trace": [{"process": 1, "action": 2, "cpu": -1}]}]},
    {"results": [{"trace": [{"process": 1, "action": 2, "changes": {"a": 1}}]}]},
])  # fmt: skip
def test_files_that_are_no_results_are_refused(data):
    with pytest.raises(InputError):
        evidence(choose(data, None, "r.json"), "r.json")


def test_huge_interleavings_are_refused():
    trace = moves(*[(0, "x", {})] * 3)
    trace[0]["cpu"] = 10**9
    with pytest.raises(InputError):
        evidence(result(trace=trace), "r")


def test_broken_json_is_refused(tmp_path):
    path = tmp_path / "r.json"
    path.write_text("[" * 100_000)
    assert refused(str(path)).code == "HP810"
    path.write_bytes(b"\xff\xfe{")
    assert refused(str(path)).code == "HP810"
    path.write_text(json.dumps({"results": []}))
    assert refused(str(path)).code == "HP811"


def test_wrong_targets_are_refused_before_any_work():
    assert refused("no-such-scenario", "-o", "a.jpg").code == "HP804"
    assert refused(SMALL, "-o", "no/such/folder/a.svg").code == "HP804"
    assert refused(SMALL, "--link-base", "javascript:x").code == "HP801"
    wrong = refused(SMALL, "--kind", "dependency", "--focus", "hand_ovr")
    assert wrong.code == "HP805" and "hand_over" in wrong.help
    wrong = refused(SMALL, "--kind", "state-machine", "--focus", "stage_off")
    assert wrong.code == "HP820" and "stage_of" in wrong.help


def test_focus_keeps_a_neighbourhood():
    text = draw(SMALL, "--kind", "dependency", "--focus", "RCU/tree:online")
    assert "count_down" in text and "mark_own" not in text
    assert "hand_over" in draw(
        SMALL, "--kind", "dependency", "--focus", "drivers/hand_over.c"
    )


def test_files_are_written_whole(tmp_path, monkeypatch):
    target = tmp_path / "a.svg"
    target.write_text("before")
    draw(SMALL, "-o", str(target))
    tree = ET.parse(target).getroot()
    assert tree.get("role") == "img" and tree[0].text == "small: sequence"
    assert tree[1].tag.endswith("desc") and "hand_over()" in tree[1].text
    assert "Generated by" not in target.read_text()
    target.write_text("before")
    monkeypatch.setattr(
        os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full"))
    )
    assert isinstance(CliRunner().invoke(command, [SMALL, "-o", str(target)]).exception,
                      OSError)  # fmt: skip
    assert target.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.svg"]


def test_dot_text_needs_no_graphviz_and_rendering_says_how(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "digraph" in draw(SMALL)
    missing = refused(SMALL, "-o", str(tmp_path / "a.svg"))
    assert missing.code == "HP802" and "apt-get install graphviz" in missing.help
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["pdf", "png"])
def test_other_forms(form, tmp_path):
    target = tmp_path / f"a.{form}"
    draw(SMALL, "--kind", "lockdep", "-o", str(target), "--theme", "mono")
    assert target.read_bytes()[:4] in (b"%PDF", b"\x89PNG")


def test_mono_has_no_colour():
    for kind in KINDS:
        text = draw(subject(kind), "--kind", kind, "--theme", "mono")
        colours = set(re.findall(r"#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})\b", text))
        assert colours and all(r == g == b for r, g, b in colours), kind


def test_kinds_of_edges_differ_without_colour():
    for theme in THEMES.values():
        looks = {(style, width, head) for _, style, width, head in theme.kinds.values()}
        assert len(looks) == len(theme.kinds)


def test_a_box_keeps_its_size():
    drawing = Chart("t", "d", LIGHT)
    drawing.box("a", (10, 20, 72, 36), [Line("text")])
    drawing.box("a", (10, 20, 72, 36), [Line("text")])
    dot = drawing.picture().dot
    assert 'pos="46.0,-38.0!"' in dot
    assert graphviz.Source(dot).source == dot


def test_a_long_interleaving_that_explains_nothing_takes_no_time():
    steps = [
        {"cpu": n % 2, "process": "p", "action": "x = y",
         "changes": {"x" if n % 3 else "z": [str(n), str(n + 1)]}}
        for n in range(2000)
    ]  # fmt: skip
    result = {"scenario": "s", "check": "c", "claim": "always x", "verdict": "VIOLATED",
              "machine": {"cpus": 2, "boot": 0, "initial": {}}, "trace": steps}  # fmt: skip
    before = time.process_time()
    found = evidence(result, "long.json")
    assert time.process_time() - before < 5
    assert [m.fault for m in found.moments if m.bad] == ["breaks the claim"]
