"""What `lint` and `review` share: the models of findings, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

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
