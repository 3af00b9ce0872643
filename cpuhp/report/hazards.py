"""Findings of lint and review: their place, their JSON, and the answer of a model."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from cpuhp.kernel.source.tree import shown

if TYPE_CHECKING:
    from cpuhp.kernel.hazards.lint import Lint
    from cpuhp.kernel.hazards.rules import Finding
    from cpuhp.report.answers import ShownAnswer


def model_json(
    finding: Finding, answers: dict[str, ShownAnswer]
) -> dict[str, Any] | None:
    """The model of a finding and the answer to its claim; None if it was not asked."""
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


def told_models(found: Sequence[Finding], answers: dict[str, ShownAnswer]) -> list[str]:
    """The answers to the models, each once, with the rules that they stand for."""
    from cpuhp.kernel.hazards.model import shape

    lines = []
    for key, answer in answers.items():
        rules = sorted({f.rule for f in found if shape(f) == key})
        cpus = "every number of" if answer.cpus == "all" else answer.cpus
        lines.append(f"model of {', '.join(rules)}: {answer.verdict} with {cpus} CPUs")
        lines.append(f"  claim: {answer.claim}")
        lines += [line for rule in rules for line in _given(rule)]
        for number, step in enumerate(answer.trace.steps if answer.trace else (), 1):
            lines.append(f"  {number} CPU{step.cpu}: {step.action}")
    return lines


def _given(rule: str) -> list[str]:
    """What the model of a rule takes for granted."""
    from cpuhp.kernel.hazards.rules import GIVEN

    if not GIVEN.get(rule):
        return []
    return wrap(
        f"given: {GIVEN[rule]}", 74, initial_indent="  ", subsequent_indent="    "
    )


def finding_json(finding: Finding) -> dict[str, Any]:
    """A finding as docs/lint.md tells its fields."""
    return {
        "rule": finding.rule,
        "level": finding.level,
        "message": finding.message,
        "file": shown(finding.file),
        "line": finding.line,
        "class": finding.mask,
        "state": finding.state,
        "name": finding.name,
        "role": finding.role,
        "callback_file": shown(finding.chain[0].file),
        "chain": [
            {"function": p.function, "file": shown(p.file), "line": p.line}
            for p in finding.chain
        ],
    }


def missed(found: Lint) -> list[str]:
    """Sentences about what could not be looked at: callbacks, and files of the tree."""
    notes = (f"{note.file}: {note.message}" for note in found.extraction.notes)
    return [shown(s) for s in (*map(str, found.unread), *notes)]


def at(finding: Finding) -> str:
    """Where the finding is, as `file:line`."""
    return f"{shown(finding.file)}:{finding.line}"


def ascii_only(text: str) -> str:
    """A text fit for any mail program: ASCII, with the usual substitutes."""
    plain = text.translate({0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"',
                            0x2013: "-", 0x2014: "-", 0x2026: "..."})  # fmt: skip
    return plain.encode("ascii", "replace").decode()
