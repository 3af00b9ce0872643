"""SARIF 2.1.0, the form in which tools tell code review sites what they found.

Format: OASIS Standard "Static Analysis Results Interchange Format", version 2.1.0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from cpuhp import __version__
from cpuhp.report.answers import ShownAnswer, ShownStep, ShownTrace
from cpuhp.report.results import Results

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def log(
    rules: Iterable[dict[str, Any]],
    results: Iterable[dict[str, Any]],
    missed: Iterable[str] = (),
) -> Any:
    """A log of one run of this program; `missed` tells what it could not look at."""
    driver = {"name": "cpuhp", "semanticVersion": __version__, "rules": list(rules)}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {
                "executionSuccessful": True,
                # The standard: a warning is of results that are valid and may lack some.
                "toolExecutionNotifications": [
                    {"level": "warning", "message": {"text": text}} for text in missed
                ],
            }
        ],
        "results": list(results),
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def rule(name: str, title: str, why: str) -> dict[str, Any]:
    """What a result may be an instance of."""
    return {
        "id": name,
        "shortDescription": {"text": title},
        "fullDescription": {"text": why or title},
    }


def location(file: str, line: int, text: str | None = None) -> dict[str, Any]:
    """A line of a file under the root of the sources."""
    place: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": {"uri": quote(file), "uriBaseId": "SRCROOT"},
            "region": {"startLine": max(1, line)},
        }
    }
    if text:
        place["message"] = {"text": text}
    return place


def sarif(results: Results, expect: bool = False) -> Any:
    """What is violated, and what is not decided, each with its interleaving.

    With `expect`, what is as the scenario's header expects is left out.
    """
    told = [
        a
        for a in results.answers
        if (not a.is_as_expected if expect else a.is_failure or a.is_unknown)
    ]
    names = sorted({a.check for a in told})
    rules = [rule(n, n, results.context.checks.get(n, "")) for n in names]
    missed = [
        f"{name} has claims that were not asked of {scenario.name}: its table does not "
        f"have {', '.join(states)}"
        for scenario in results.context.scenarios
        for name, states in scenario.left_out.items()
    ]
    missed += [
        f"{name} was not asked of {scenario.name}, which has a copy of what it "
        f"requires: {', '.join(parts)}"
        for scenario in results.context.scenarios
        for name, parts in scenario.not_asked.items()
    ]
    return log(rules, [_result(a, names.index(a.check)) for a in told], missed)


def _result(answer: ShownAnswer, index: int) -> dict[str, Any]:
    options = "".join(f" {k}={v}" for k, v in answer.options.items())
    reason = f" ({answer.reason})" if answer.reason else ""
    told: dict[str, Any] = {
        "ruleId": answer.check,
        "ruleIndex": index,
        # The standard: what is no failure has level "none".
        "kind": "fail" if not answer.is_unknown else "open",
        "level": "error" if not answer.is_unknown else "none",
        "message": {
            "text": f"{answer.verdict} in {answer.scenario}{options}: "
            f"{answer.claim}{reason}"
        },
        "partialFingerprints": {
            "claim/v1": f"{answer.scenario}{options}:{answer.check}:{answer.claim}"
        },
        "properties": {"verdict": answer.verdict, "cpus": answer.cpus},
    }
    trace = answer.trace
    if trace is None or not trace.steps:
        return told
    last = [place for s in reversed(trace.steps) if (place := _place(s, s.action))]
    return {**told, "locations": last[:1], "codeFlows": [_flow(trace)]}


def _flow(trace: ShownTrace) -> dict[str, Any]:
    """A thread for each process of each CPU; `executionOrder` is the number of the step."""
    threads: dict[str, list[dict[str, Any]]] = {}
    for number, step in enumerate(trace.steps, 1):
        cpu = trace.boot if step.cpu is None else step.cpu
        state = {cell: {"text": new} for cell, (_, new) in step.changes.items()}
        moment: dict[str, Any] = {
            "executionOrder": number,
            "location": _place(step, step.action)
            or {"message": {"text": step.action or "a step"}},
        }
        if state:
            moment["state"] = state
        threads.setdefault(f"CPU{cpu} {step.process}", []).append(moment)
    return {
        "message": {"text": f"{trace.cpus} CPUs, control CPU {trace.boot}"},
        "threadFlows": [
            {"id": name, "locations": moments} for name, moments in threads.items()
        ],
    }


def _place(step: ShownStep, text: str) -> dict[str, Any] | None:
    file, _, line = (step.source or "").rpartition(":")
    return location(file, int(line), text) if file and line.isdecimal() else None
