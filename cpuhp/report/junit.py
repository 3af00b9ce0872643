"""JUnit XML, the form in which build servers read test results."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable

from cpuhp.model.verdict import Verdict
from cpuhp.report.answers import ShownAnswer
from cpuhp.report.terminal import Style, clean, violation


def junit(answers: Iterable[ShownAnswer], expect: bool = False) -> str:
    """A suite for each scenario, a case for each claim.

    Violated is a failure, unknown an error, and what holds to a bound is skipped: it is
    no proof. With `expect`, a failure is what is not as the scenario's header expects.
    """
    suites: dict[str, list[ShownAnswer]] = {}
    for answer in answers:
        options = "".join(f" {k}={v}" for k, v in answer.options.items())
        suites.setdefault(answer.scenario + options, []).append(answer)
    root = ET.Element("testsuites", name="cpuhp")
    for name, found in suites.items():
        suite = ET.SubElement(root, "testsuite", name=clean(name))
        outcomes = [_case(suite, name, answer, expect) for answer in found]
        suite.set("tests", str(len(found)))
        for kind in ("failure", "error", "skipped"):
            word = {"failure": "failures", "error": "errors"}.get(kind, kind)
            suite.set(word, str(outcomes.count(kind)))
        suite.set("time", f"{sum(a.seconds for a in found):.3f}")
    ET.indent(root, " ")
    text = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _case(suite: ET.Element, scenario: str, answer: ShownAnswer, expect: bool) -> str:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=clean(scenario),
        name=clean(f"{answer.check}: {answer.claim}"),
        time=f"{answer.seconds:.3f}",
    )
    outcome = outcome_of(answer, expect)
    if outcome:
        verdict = Verdict(answer.verdict)
        told = answer.reason or verdict.meaning
        if expect and answer.expected:
            told = f"expected {answer.expected}; {told}"
        part = ET.SubElement(case, outcome, message=clean(f"{verdict.value}: {told}"))
        if outcome != "skipped":
            part.set("type", verdict.value)
        part.text = "\n".join(violation(answer, Style())).strip()
    return outcome


def outcome_of(answer: ShownAnswer, expect: bool) -> str:
    """failure, error, skipped or, if all is well, nothing."""
    if expect:
        return "" if answer.is_as_expected else "failure"
    if answer.is_failure:
        return "failure"
    if answer.verdict == Verdict.UNKNOWN.value:
        return "error"
    return "skipped" if answer.is_unknown else ""
