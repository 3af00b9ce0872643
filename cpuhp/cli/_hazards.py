"""Findings as verbs show them: their place, their JSON, and the answer of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cpuhp.api import Scenario
    from cpuhp.kernel.hazards.rules import Finding
    from cpuhp.report.answers import ShownAnswer


def check_models(shown: Sequence[Finding]) -> dict[str, ShownAnswer]:
    """By shape of model, the answer to its claim; equal shapes are checked once."""
    import tempfile
    from pathlib import Path

    from cpuhp.kernel.hazards.model import model, shape

    found: dict[str, ShownAnswer] = {}
    with tempfile.TemporaryDirectory() as folder:
        for finding in shown:
            key, text = shape(finding), model(finding)
            if key in found:
                continue
            path = Path(folder) / "model.hp"
            path.write_text(text, "utf-8")
            found[key] = _claim(_loaded(str(path)))
    return found


def _loaded(path: str) -> Scenario:
    from cpuhp.api import load

    return load(path)


def _claim(scenario: Scenario) -> ShownAnswer:
    answers = scenario.check("lint_*", timeout=20)
    return next(answer for answer in answers if answer.kind != "sometimes")


def model_json(
    finding: Finding, answers: dict[str, ShownAnswer]
) -> dict[str, Any] | None:
    from cpuhp.kernel.hazards.model import model, shape

    answer = answers.get(shape(finding))
    if answer is None:
        return None
    steps = answer.trace.steps if answer.trace else ()
    return {
        "verdict": answer.verdict,
        "cpus": answer.cpus,
        "claim": answer.claim,
        "steps": [{"cpu": step.cpu, "action": step.action} for step in steps],
        "spec": model(finding),
    }


def told_models(shown: Sequence[Finding], answers: dict[str, ShownAnswer]) -> list[str]:
    """The answers to the models, each once, with the rules that they stand for."""
    from cpuhp.kernel.hazards.model import shape

    lines = []
    for key, answer in answers.items():
        rules = sorted({f.rule for f in shown if shape(f) == key})
        cpus = "every number of" if answer.cpus == "all" else answer.cpus
        lines.append(f"model of {', '.join(rules)}: {answer.verdict} with {cpus} CPUs")
        lines.append(f"  claim: {answer.claim}")
        for number, step in enumerate(answer.trace.steps if answer.trace else (), 1):
            lines.append(f"  {number} CPU{step.cpu}: {step.action}")
    return lines


def finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "level": finding.level,
        "message": finding.message,
        "file": printed(finding.file),
        "line": finding.line,
        "class": finding.mask,
        "state": finding.state,
        "name": finding.name,
        "role": finding.role,
        "callback_file": printed(finding.chain[0].file),
        "chain": [
            {"function": p.function, "file": printed(p.file), "line": p.line}
            for p in finding.chain
        ],
    }


def at(finding: Finding) -> str:
    return f"{printed(finding.file)}:{finding.line}"


def printed(file: str) -> str:
    from cpuhp.kernel.source.tree import shown

    return shown(file)


def ascii_only(text: str) -> str:
    """A text fit for any mail program: ASCII, with the usual substitutes."""
    plain = text.translate({0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"',
                            0x2013: "-", 0x2014: "-", 0x2026: "..."})  # fmt: skip
    return plain.encode("ascii", "replace").decode()
