"""A results file (docs/json.md) read back: what `cpuhp check` told, checked field by field.

Anybody may have written the file, so nothing in it is taken for what it should be.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from cpuhp.diagnostics import fail, suggestion
from cpuhp.model.verdict import Verdict
from cpuhp.report.answers import (
    JSON_VERSION,
    Context,
    ShownAnswer,
    ShownStep,
    ShownTrace,
)

MAX_CPUS = 64
MAX_STEPS = 20_000
HINT = "cpuhp check SCENARIO --format json > RESULT.json"
T = TypeVar("T")


@dataclass(frozen=True)
class Results:
    """The answers of one run, and what it was a run of."""

    answers: tuple[ShownAnswer, ...]
    context: Context

    def of_check(self, check: str | None, name: str) -> tuple[ShownAnswer, ...]:
        """The answers of a check that have an interleaving, violations first.

        None stands for any check. Raises InputError HP811 if there is none.
        """
        shown = [a for a in self.answers if a.trace is not None and a.trace.steps]
        found = [a for a in shown if check in (None, a.check)]
        if not found:
            about = f" of check '{check}'" if check else ""
            known = sorted({a.check for a in shown})
            listed = f"those with one: {', '.join(known) or 'none'}"
            raise fail(
                "HP811",
                f"'{name}' has no interleaving{about}",
                help=suggestion(check or "", known) or listed,
            )
        return tuple(sorted(found, key=lambda a: not a.is_failure))


def interleaving_of(
    results: Results, check: str | None, number: int, name: str
) -> ShownAnswer:
    """Interleaving `number` (from 0) of a check. Raises InputError HP811 without it."""
    found = results.of_check(check, name)
    if number >= len(found):
        raise fail(
            "HP811",
            f"'{name}' has no interleaving {number} of that check",
            help=f"--claim takes a number from 0 to {len(found) - 1}",
        )
    return found[number]


def results_of(data: Any, name: str) -> Results:
    """The results in a JSON value. Raises InputError HP810 that says what is wrong."""
    try:
        if not isinstance(data, Mapping):
            raise _Wrong("", "an object", data)
        if data.get("version") != JSON_VERSION:
            raise _Wrong("version", str(JSON_VERSION), data.get("version"))
        rows = data.get("results")
        if not isinstance(rows, list):
            raise _Wrong("results", "a list", rows)
        answers = tuple(_answer(r, f"results[{n}]") for n, r in enumerate(rows))
        told = {f.name: data[f.name] for f in fields(Context) if f.name in data}
        return Results(answers, decode(Context, told, ""))
    except _Wrong as wrong:
        raise fail(
            "HP810", f"'{name}' is not a result of cpuhp check: {wrong}", help=HINT
        ) from None


def _answer(row: Any, at: str) -> ShownAnswer:
    if not isinstance(row, Mapping):
        raise _Wrong(at, "an object", row)
    steps = row.get("trace")
    own = {f.name for f in fields(ShownAnswer)} - {"trace", "proof"}
    plain = {k: v for k, v in row.items() if k in own}
    answer = decode(ShownAnswer, {**plain, "trace": None}, at)
    if answer.verdict not in {v.value for v in Verdict}:
        raise _Wrong(f"{at}.verdict", "a verdict", answer.verdict)
    if isinstance(answer.cpus, str) and answer.cpus != "all":
        raise _Wrong(f"{at}.cpus", "'all' or a number", answer.cpus)
    if steps is None:
        return answer
    return replace(answer, trace=_trace(row.get("machine"), steps, at))


def _trace(machine: Any, rows: Any, at: str) -> ShownTrace:
    steps = decode(tuple[ShownStep, ...], rows, f"{at}.trace")
    highest = max((s.cpu or 0 for s in steps), default=0) + 1
    told = dict(machine) if isinstance(machine, Mapping) else {"cpus": highest}
    told["replayed"] = told.pop("replayed_steps", len(steps))
    found = decode(
        ShownTrace,
        {"boot": 0, "initial": {}, "loop": None, **told, "steps": []},
        f"{at}.machine",
    )
    cpus = max(found.cpus, highest)
    low = min((s.cpu or 0 for s in steps), default=0)
    if low < 0 or found.boot < 0 or max(cpus, found.boot + 1) > MAX_CPUS:
        raise _Wrong(f"{at}.trace", f"CPUs from 0 to {MAX_CPUS - 1}", cpus)
    if len(steps) > MAX_STEPS:
        raise _Wrong(f"{at}.trace", f"at most {MAX_STEPS} steps", len(steps))
    return replace(found, cpus=cpus, steps=steps)


class _Wrong(Exception):
    def __init__(self, at: str, wanted: str, found: object):
        where = f"at {at.lstrip('.')}, " if at else ""
        super().__init__(f"{where}expected {wanted}, found {found!r:.40}")


def decode(kind: type[T], value: Any, at: str) -> T:
    """A JSON value as a dataclass, tuple, dict or plain value of the annotated type.

    Unknown fields are left aside: a later version may have more.
    """
    return _decode(kind, value, at)  # type: ignore[no-any-return]


def _decode(kind: Any, value: Any, at: str) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _any_of(inner, value, at)
    if is_dataclass(kind) and isinstance(kind, type):
        return _record(kind, value, at)
    if origin is tuple:
        return _tuple(inner, value, at)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise _Wrong(at, "an object", value)
        return {
            _decode(inner[0], k, at): _decode(inner[1], v, f"{at}.{k:.40}")
            for k, v in value.items()
        }
    if kind is Any:
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise _Wrong(at, _WORDS.get(kind, str(kind)), value)


_WORDS = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    types.NoneType: "null",
}


def _any_of(kinds: tuple[Any, ...], value: Any, at: str) -> Any:
    for kind in kinds:
        if kind is types.NoneType and value is None:
            return None
        try:
            return _decode(kind, value, at)
        except _Wrong:
            continue
    raise _Wrong(at, " or ".join(_WORDS.get(k, "an object") for k in kinds), value)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _record(kind: Any, value: Any, at: str) -> Any:
    if not isinstance(value, Mapping):
        raise _Wrong(at, "an object", value)
    hints = _hints(kind)
    given = {
        f.name: _decode(hints[f.name], value[f.name], f"{at}.{f.name}")
        for f in fields(kind)
        if f.init and f.name in value
    }
    try:
        return kind(**given)
    except TypeError:
        missing = [f.name for f in fields(kind) if f.name not in given]
        raise _Wrong(at, f"the fields {', '.join(missing)}", None) from None


def _tuple(inner: tuple[Any, ...], value: Any, at: str) -> Any:
    if not isinstance(value, (list, tuple)):
        raise _Wrong(at, "a list", value)
    if len(inner) == 2 and inner[1] is Ellipsis:
        return tuple(_decode(inner[0], v, f"{at}[{n}]") for n, v in enumerate(value))
    if len(value) != len(inner):
        raise _Wrong(at, f"a list of {len(inner)}", value)
    return tuple(
        _decode(k, v, f"{at}[{n}]") for n, (k, v) in enumerate(zip(inner, value))
    )
