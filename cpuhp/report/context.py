"""What stands beside answers: versions, texts that they cite, tables."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import version

from cpuhp import __version__
from cpuhp.engines.certificate.format import table_json
from cpuhp.language.program import Program
from cpuhp.report.answers import Context, ShownAnswer, ShownScenario


def context(
    scenarios: Iterable[tuple[Program, ShownScenario]],
    answers: Iterable[ShownAnswer],
    command: str | None,
) -> Context:
    """What a reader of the answers to these scenarios wants to know beside them."""
    found, answers = list(scenarios), list(answers)
    cited: set[str] = set()
    for answer in answers:
        for step in answer.trace.steps if answer.trace else ():
            cited.add((step.source or "").rpartition(":")[0])
    texts: dict[str, str] = {}
    checks: dict[str, str] = {}
    tables = {}
    for program, _ in found:
        for name, check in program.checks.items():
            checks[name] = check.doc
            texts[check.span.source.name] = check.span.source.text
        for unit in program.units:
            texts[unit.span.source.name] = unit.span.source.text
        own = tuple(state for state in program.table.states if not state.added)
        tables[program.table.name] = table_json(replace(program.table, states=own))
    asked = {answer.check for answer in answers}
    return Context(
        command,
        {"cpuhp": __version__, "python": platform.python_version(),
         "z3": version("z3-solver")},
        tuple(shown for _, shown in found),
        {name: doc for name, doc in sorted(checks.items()) if name in asked},
        {name: text for name, text in sorted(texts.items()) if name in cited},
        tables,
    )  # fmt: skip
