"""What the Python interface gives to notebooks: pictures, tables, files."""

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import cpuhp
from cpuhp.diagnostics import InputError
from cpuhp.report.diagrams.draw import KINDS
from cpuhp.report.results import results_of

DATA = Path(__file__).parents[1] / "data"
GOLDEN = Path(__file__).parents[1] / "golden"
SPEC = (DATA / "handover.hp").read_text()
needs_dot = pytest.mark.skipif(not shutil.which("dot"), reason="no dot program")


def handover(**options):
    return cpuhp.loads(SPEC, name="<b>.hp", options=options)


def code(call, *args, **named):
    with pytest.raises(InputError) as caught:
        call(*args, **named)
    return caught.value.diagnostics[0].code


def test_a_text_is_checked_like_a_file():
    text, file = handover(), cpuhp.load(str(DATA / "handover.hp"))
    assert repr(text) == repr(file) == "handover: 0 of 80 steps modelled"
    assert repr(text.check("duty*")) == repr(file.check("duty*"))


def test_answers_are_a_table_with_all_names_escaped():
    answers = handover(spare_dying="false").check("duty*")
    assert [a.verdict for a in answers] == ["VIOLATED", "WITNESSED"]
    html = answers._repr_html_()
    assert html.count("<tr>") == 3 and "=&gt; !dead[owner]" in html
    assert "<b>.hp" not in html


@needs_dot
def test_a_violation_shows_its_chart_and_others_a_table():
    violated, witnessed = handover(spare_dying="false").check("duty*")
    assert violated._repr_html_() is None
    root = ET.fromstring(violated._repr_svg_())
    assert root.get("role") == "img"
    assert witnessed._repr_svg_() is None and "<table>" in witnessed._repr_html_()


def test_without_graphviz_everything_has_text(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    violated = handover(spare_dying="false").check("duty*")[0]
    assert violated._repr_svg_() is None and "<table>" in violated._repr_html_()
    assert violated.diagram()._repr_svg_() is None
    assert code(violated.diagram().save, tmp_path / "x.svg") == "HP802"
    violated.diagram().save(tmp_path / "x.dot")
    assert (tmp_path / "x.dot").read_text() == violated.diagram().dot


@pytest.mark.parametrize("kind", KINDS)
def test_diagrams_are_those_of_the_command_line(kind, monkeypatch):
    monkeypatch.chdir(GOLDEN)
    picture = cpuhp.load("./small.hp").diagram(kind)
    if kind != "counterexample":  # that one is drawn of a result in small.json
        assert picture.dot == (GOLDEN / f"small-{kind}.dot").read_text()
    assert picture.title in repr(picture) and picture.description


def test_wrong_names_are_told():
    scenario = handover()
    assert code(scenario.diagram, "sequense") == "HP806"
    assert code(scenario.diagram, theme="pink") == "HP806"
    assert code(scenario.diagram, "counterexample", focus="no_bug") == "HP811"
    assert code(scenario.diagram().save, "x.bmp") == "HP804"
    assert code(cpuhp.table, "no-such") == "HP400"
    with pytest.raises(InputError):
        handover(spare_dying="false").check("duty*")[0].save_certificate()


def test_results_are_saved_as_the_command_line_reads_them(tmp_path):
    answers = handover(spare_dying="false").check("duty*")
    answers.save(tmp_path / "r.json")
    read = results_of(json.loads((tmp_path / "r.json").read_text()), "r.json")
    assert [repr(a) for a in read.answers] == [repr(a) for a in answers]
    assert "<b>.hp" in read.context.sources


def test_a_certificate_is_checked_again(tmp_path):
    proved = cpuhp.load(str(DATA / "handover.hp")).check("duty*")[0]
    path = proved.save_certificate(tmp_path)
    (outcome,) = cpuhp.certify(path, solvers=["z3"])
    assert outcome.is_accepted and proved.invariant


def test_a_table_draws_itself():
    table = cpuhp.table("arm64-6.12")
    assert len(table) == 80 and "32 PREPARE" in repr(table)
    assert table._repr_html_().count("<tr>") == 81
    assert "one CPU down" in table.diagram().title
