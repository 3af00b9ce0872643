"""Results in the forms of other tools, and results read back."""

import copy
import json
import re
import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner
from markdown_it import MarkdownIt
from sarif_schema import assert_is_sarif

from cpuhp.api import context_of, load
from cpuhp.cli import group
from cpuhp.diagnostics import InputError
from cpuhp.report.answers import as_json
from cpuhp.report.junit import junit
from cpuhp.report.markdown import code, markdown
from cpuhp.report.results import results_of
from cpuhp.report.sarif import sarif

HERE = Path(__file__).parents[1]
EVIL = "</details>`|``| @octocat <b>&\x1b[31m\x00 ]]> [x](http://x)"


@cache
def data():
    scenario = load(str(HERE / "data/handover.hp"), options={"spare_dying": "false"})
    answers = scenario.check()
    text = json.dumps(as_json(answers, context_of([scenario], answers, "cpuhp check")))
    return json.loads(text)


def changed(*path, value):
    """The results with one field set to another value."""
    found = copy.deepcopy(data())
    place = found
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return found


def results(**fields):
    found = copy.deepcopy(data())
    for row in found["results"]:
        row.update(fields)
    return results_of(found, "x.json")


def test_what_is_read_back_is_what_was_written():
    found = results_of(data(), "x.json")
    assert json.loads(json.dumps(as_json(found.answers, found.context))) == data()


def test_a_file_of_before_the_context_was_told_is_read():
    old = {"version": 1, "results": data()["results"]}
    assert results_of(old, "x.json").context.scenarios == ()


@pytest.mark.parametrize(
    ("told", "value"),
    [
        ("an object", []),
        ("at version", {"version": 2, "results": []}),
        ("at results, expected a list", {"version": 1}),
        ("results[0], expected an object", {"version": 1, "results": [3]}),
        ("results[0].verdict, expected a verdict",
         changed("results", 0, "verdict", value="GOOD")),
        ("results[0].cpus", changed("results", 0, "cpus", value="many")),
        ("results[0].seconds, expected a number", changed("results", 0, "seconds", value="1")),
        ("results[0].trace[2].cpu", changed("results", 0, "trace", 2, "cpu", value="CPU1")),
        ("CPUs from 0 to 63", changed("results", 0, "trace", 2, "cpu", value=64)),
        ("CPUs from 0 to 63", changed("results", 0, "trace", 2, "cpu", value=-1)),
        ("CPUs from 0 to 63", changed("results", 0, "machine", "boot", value=70)),
        ("results[0].trace[3].changes", changed("results", 0, "trace", 3, "changes", value={"x": ["1"]})),
        ("results[0].machine.loop", changed("results", 0, "machine", "loop", value="never")),
        ("scenarios[0].rows[0].number", changed("scenarios", 0, "rows", 0, "number", value=True)),
        ("sources", changed("sources", value=["text"])),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(told, value):
    with pytest.raises(InputError) as caught:
        results_of(value, "x.json")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "HP810" and told in diagnostic.message
    assert len(diagnostic.message) < 200


def test_a_file_that_is_no_result_is_one_error(tmp_path):
    for text in ("", "{", "[]", '{"version": 1}', "[" * 100_000, "\xff"):
        file = tmp_path / "r.json"
        file.write_text(text, "latin-1")
        for args in (["report", file], ["show", file, "x"]):
            result = CliRunner().invoke(group, [*map(str, args)])
            assert isinstance(result.exception, InputError), (args, result.exception)
            assert result.exception.diagnostics[0].code == "HP810"


def test_junit_has_a_case_for_each_claim():
    found = results_of(data(), "x")
    root = ET.fromstring(junit(found.answers))
    (suite,) = root
    assert suite.get("tests") == str(len(found.answers)) == str(len(suite))
    assert (suite.get("failures"), suite.get("errors")) == ("1", "0")
    (failure,) = suite.iter("failure")
    assert (
        failure.get("type") == "VIOLATED" and "CPU1 leave: owner = next" in failure.text
    )
    kinds = {"UNKNOWN": "error", "HOLDS_TO_BOUND": "skipped", "UNREACHABLE": "failure"}
    for verdict, outcome in kinds.items():
        root = ET.fromstring(junit(results(verdict=verdict).answers))
        assert len(list(root.iter(outcome))) == len(found.answers)


def test_what_the_spec_calls_unreachable_is_a_failure_in_no_form():
    for expected, there in (("UNREACHABLE", False), ("WITNESSED", True)):
        found = results(verdict="UNREACHABLE", expected=expected)
        root = ET.fromstring(junit(found.answers))
        assert bool(list(root.iter("failure"))) is there
        assert bool(sarif(found)["runs"][0]["results"]) is there
        assert ("<details>" in markdown(found)) is there


def test_junit_can_report_surprises_only():
    found = results_of(data(), "x").answers
    assert not list(ET.fromstring(junit(found, expect=True)).iter("failure"))
    surprised = results(expected="UNKNOWN").answers
    failures = list(ET.fromstring(junit(surprised, expect=True)).iter("failure"))
    assert len(failures) == len(found)
    assert "expected UNKNOWN" in failures[0].get("message")


def test_junit_survives_any_name():
    root = ET.fromstring(junit(results(scenario=EVIL, check=EVIL, reason=EVIL).answers))
    assert "</details>" in root[0].get("name") and "\x00" not in root[0].get("name")


def test_sarif_has_the_structure_of_the_standard():
    log = sarif(results_of(data(), "x"))
    assert log["version"] == "2.1.0" and log["$schema"].endswith("sarif-2.1.0.json")
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    (result,) = run["results"]
    assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == "duty_on_live_cpu"
    assert (result["kind"], result["level"]) == ("fail", "error")
    (flow,) = result["codeFlows"]
    order = [
        moment["executionOrder"]
        for thread in flow["threadFlows"]
        for moment in thread["locations"]
    ]
    assert sorted(order) == list(range(1, len(order) + 1))
    assert [t["id"] for t in flow["threadFlows"]] == [
        "CPU0 control",
        "CPU1 leave",
        "CPU2 leave",
    ]
    for thread in flow["threadFlows"]:
        for moment in thread["locations"]:
            uri = moment["location"]["physicalLocation"]["artifactLocation"]["uri"]
            assert uri.endswith("handover.hp") and " " not in uri
            assert all(set(v) == {"text"} for v in moment.get("state", {}).values())
    (last,) = result["locations"]
    assert last["physicalLocation"]["region"]["startLine"] > 1
    assert_sarif(log)
    assert_is_sarif(log)


def test_what_was_not_asked_is_a_notification_in_sarif():
    found = changed("scenarios", 0, "left_out", value={"duty": ["CPUHP_A", "CPUHP_B"]})
    log = sarif(results_of(found, "x"))
    (invocation,) = log["runs"][0]["invocations"]
    assert invocation["executionSuccessful"]
    (told,) = invocation["toolExecutionNotifications"]
    assert told["message"]["text"].startswith("duty has claims that were not asked of")
    assert "CPUHP_A, CPUHP_B" in told["message"]["text"]
    assert_sarif(log)
    assert_is_sarif(log)


def test_what_is_not_decided_is_open_in_sarif():
    log = sarif(results(verdict="UNKNOWN"))
    assert {(r["kind"], r["level"]) for r in log["runs"][0]["results"]} == {
        ("open", "none")
    }
    assert_sarif(log)
    assert sarif(results(verdict="PROVED"))["runs"][0]["results"] == []


def assert_sarif(value, key=""):
    """What the standard asks of the parts that are used here, checked by hand.

    Its published schema is not among the files of this repository.
    """
    allowed = {
        "": {"$schema", "version", "runs"},
        "runs": {"tool", "columnKind", "invocations", "results"},
        "invocations": {"executionSuccessful", "toolExecutionNotifications"},
        "toolExecutionNotifications": {"level", "message"},
        "tool": {"driver"},
        "driver": {"name", "semanticVersion", "rules"},
        "rules": {"id", "shortDescription", "fullDescription"},
        "results": {"ruleId", "ruleIndex", "kind", "level", "message", "locations",
                    "codeFlows", "partialFingerprints", "properties"},
        "codeFlows": {"message", "threadFlows"},
        "threadFlows": {"id", "locations"},
        "location": {"physicalLocation", "message"},
        "physicalLocation": {"artifactLocation", "region"},
        "artifactLocation": {"uri", "uriBaseId"},
        "region": {"startLine"},
        "message": {"text"},
        "shortDescription": {"text"},
        "fullDescription": {"text"},
    }  # fmt: skip
    if isinstance(value, list):
        for item in value:
            assert_sarif(item, key)
    elif isinstance(value, dict):
        assert set(value) <= allowed.get(key, set(value)), (key, set(value))
        for name, item in value.items():
            assert_sarif(item, name)
        if key == "results":
            assert value["message"]["text"] and value["kind"] in ("fail", "open")
        if key == "region":
            assert value["startLine"] >= 1


def test_markdown_is_a_table_and_a_fold():
    text = markdown(results_of(data(), "x"))
    assert text.startswith("## verdicts: ") and "1 VIOLATED" in text
    html = MarkdownIt("commonmark").enable("table").render(text)
    assert html.count("<tr>") == len(data()["results"]) + 1
    assert "<code>always owner != none =&gt; !dead[owner]</code>" in html
    assert html.count("<details>") == html.count("</details>") == 1


def test_markdown_shows_any_name_as_it_is():
    text = markdown(results(scenario=EVIL, check=EVIL, claim=EVIL, reason=EVIL))
    html = MarkdownIt("commonmark").enable("table").render(text)
    assert html.count("<tr>") == len(data()["results"]) + 1
    assert "<b>" not in html and "<a " not in html
    outside = re.sub(r"<code[^>]*>.*?</code>", "", html, flags=re.DOTALL)
    assert "octocat" not in outside
    assert html.count("<details>") == html.count("</details>")


def test_code_is_fenced_by_more_than_it_holds():
    assert code("a") == "`a`"
    assert code("a`b``|c") == "``` a`b``\\|c ```"


@pytest.mark.parametrize("ending", ["xml", "sarif", "md"])
def test_the_name_of_the_file_tells_the_form(tmp_path, ending):
    file, out = tmp_path / "r.json", tmp_path / f"out.{ending}"
    file.write_text(json.dumps(data()))
    result = CliRunner().invoke(group, ["report", str(file), "-o", str(out)])
    assert result.exit_code == 0, result.output
    starts = {"xml": "<?xml", "sarif": "{", "md": "## verdicts"}
    assert out.read_text().startswith(starts[ending])
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".part")] == []
