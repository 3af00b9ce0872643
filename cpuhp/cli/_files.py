"""Results that verbs read, whole and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cpuhp.report.results import Results

MAX_RESULT = 64 << 20  # bytes


def read_json(path: str) -> Any:
    """The JSON value in a file. Raises InputError HP810 if there is none."""
    import json

    from cpuhp.diagnostics import fail
    from cpuhp.report.results import HINT

    with open(path, "rb") as file:
        data = file.read(MAX_RESULT + 1)
    try:
        if len(data) > MAX_RESULT:
            raise ValueError("it is too large")
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise fail("HP810", f"'{path}' is not JSON: {error}", help=HINT) from None


def read_results(path: str) -> Results:
    """The results file. Raises InputError HP810 if it is none."""
    from cpuhp.report.results import results_of

    return results_of(read_json(path), path)
