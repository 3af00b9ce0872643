"""The certificate file: JSON, documented in docs/certificates.md.

What a certificate says is in `Certificate`; how a clause is written down depends on the
model, as values have names there. Errors: HP701 not readable, HP702 not a certificate,
HP703 unknown version, HP704 cut or edited, HP705 malformed.
"""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cpuhp
from cpuhp.diagnostics import InputError, fail
from cpuhp.engines.certificate.digest import canonical, text_digest
from cpuhp.engines.certificate.sentences import in_sentences, value_text
from cpuhp.model.invariant import FAR, NEAR, Clause, Invariant, Literal, Symbol, Value
from cpuhp.model.sorts import (
    NONE,
    BoolSort,
    CounterSort,
    EnumSort,
    IndexSort,
    RangeSort,
    Sort,
)
from cpuhp.model.system import TransitionSystem, Variable
from cpuhp.model.table import HotplugState, Table

FORMAT = "cpuhp-certificate"
VERSION = 5
MAX_BYTES = 16 << 20
_SYMBOLS = {symbol.value: symbol for symbol in Symbol}


@dataclass(frozen=True)
class Part:
    """Clauses that are inductive in one model of the program, and what it is made for.

    `clauses` holds pairs of a sentence and the clause as JSON, which only the model can
    make a `Clause` of: see `clause_of`.
    """

    races: tuple[str, ...]  # the variables without a data race; none: another claim
    only: tuple[str, ...] | None  # the variables it was sliced to; None: all
    model: str
    clauses: tuple[tuple[str, Any], ...]
    conditions: int


@dataclass(frozen=True)
class Certificate:
    """A proof for every number of CPUs, as it stands in its file.

    It has one part, but of data races as many as it takes to be about every variable.
    """

    scenario: str
    file: str | None
    options: tuple[tuple[str, str], ...]
    table: Table
    texts: tuple[tuple[str, str], ...]  # name and SHA-256 of each spec text
    check: str
    number: int
    together: tuple[tuple[str, int], ...]  # claims that the model is for; none: its own
    kind: str
    claim: str
    parts: tuple[Part, ...]


def write_certificate(
    certificate: Certificate, solvers: dict[str, str] | None = None
) -> str:
    """The text of the file. `solvers`: who has accepted it so far, by version."""
    body: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "cpus": "all",
        "scenario": {"name": certificate.scenario, "file": certificate.file},
        "options": dict(certificate.options),
        "texts": dict(certificate.texts),
        "claim": {
            "check": certificate.check,
            "number": certificate.number,
            "together": [list(claim) for claim in certificate.together],
            "kind": certificate.kind,
            "text": certificate.claim,
        },
        "parts": [_part_json(part) for part in certificate.parts],
        "made_by": {
            "cpuhp": cpuhp.__version__,
            "python": platform.python_version(),
            **(solvers or {}),
        },
        "table": table_json(certificate.table),
    }
    body["sha256"] = text_digest(canonical(body))
    return json.dumps(body, indent=1) + "\n"


def _part_json(part: Part) -> dict[str, Any]:
    return {
        "races": list(part.races),
        "variables": part.only,
        "model": {"sha256": part.model},
        "clauses": [{"says": s, "forbids": cube} for s, cube in part.clauses],
        "conditions": part.conditions,
    }


def read_certificate(path: str | Path) -> Certificate:
    """Read a file. Raises InputError HP701 to HP705."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise fail("HP701", f"cannot read '{path}': {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise fail("HP701", f"'{path}' is larger than {MAX_BYTES >> 20} MiB")
    return parse_certificate(data, str(path))


def parse_certificate(data: bytes, name: str) -> Certificate:
    """The certificate in a file's bytes. Raises InputError HP702 to HP705."""
    try:
        body = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise fail("HP702", f"'{name}' is not JSON, or is cut: {error}") from None
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise fail("HP702", f"'{name}' is not a certificate of cpuhp")
    version = body.get("version")
    if version != VERSION or isinstance(version, bool):
        raise fail("HP703", f"'{name}' has certificate version {version!r}; "
                   f"this cpuhp reads version {VERSION}")  # fmt: skip
    seal = body.pop("sha256", None)
    try:
        sealed = text_digest(canonical(body))
    except (ValueError, RecursionError):
        sealed = None
    if seal != sealed:
        raise fail("HP704", f"'{name}' was cut or edited: its own SHA-256 differs",
                   help="make it again: cpuhp check SCENARIO --out DIR")  # fmt: skip
    try:
        return _certificate(body)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise fail("HP705", f"'{name}' is malformed: {error!r}") from None


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _certificate(body: dict[str, Any]) -> Certificate:
    if body["cpus"] != "all":
        raise ValueError("it is not about every number of CPUs")
    claim = body["claim"]
    file = body["scenario"]["file"]
    return Certificate(
        scenario=_text(body["scenario"]["name"]),
        file=None if file is None else _text(file),
        options=tuple((k, _text(v)) for k, v in sorted(body["options"].items())),
        table=table_of(body["table"]),
        texts=tuple((k, _text(v)) for k, v in sorted(body["texts"].items())),
        check=_text(claim["check"]),
        number=_number(claim["number"]),
        together=tuple((_text(c), _number(n)) for c, n in claim["together"]),
        kind=_text(claim["kind"]),
        claim=_text(claim["text"]),
        parts=tuple(map(_part, body["parts"])),
    )


def _part(body: dict[str, Any]) -> Part:
    return Part(
        races=_names(body["races"]) or (),
        only=_names(body["variables"]),
        model=_text(body["model"]["sha256"]),
        clauses=tuple((_text(c["says"]), c["forbids"]) for c in body["clauses"]),
        conditions=_number(body["conditions"]),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _names(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a list")
    return tuple(_text(name) for name in value)


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not a number")
    return value


# The hotplug table


def table_json(table: Table) -> dict[str, Any]:
    """The rows and what lies where, with their own SHA-256."""
    body: dict[str, Any] = {
        "name": table.name,
        "bringup": table.bringup,
        "teardown": table.teardown,
        "dynamic": [table.dynamic.start, table.dynamic.stop],
        "prepare_dynamic": [table.prepare_dynamic.start, table.prepare_dynamic.stop],
        "states": [[s.number, s.name, s.enumerator, s.added] for s in table.states],
        "enumerators": [list(pair) for pair in table.enumerators],
    }
    return {"sha256": text_digest(canonical(body)), **body}


def table_of(data: dict[str, Any]) -> Table:
    """The table that was written down."""
    table = Table(
        name=_text(data["name"]),
        states=tuple(
            HotplugState(_number(number), _text(name), row_name, bool(added))
            for number, name, row_name, added in data["states"]
        ),
        bringup=_number(data["bringup"]),
        teardown=_number(data["teardown"]),
        dynamic=range(*map(_number, data["dynamic"])),
        prepare_dynamic=range(*map(_number, data["prepare_dynamic"])),
        enumerators=tuple((_text(e), _number(n)) for e, n in data["enumerators"]),
    )
    if table_json(table) != data:
        raise ValueError("the hotplug table is not what its SHA-256 says")
    return table


# Clauses


def clauses_json(
    system: TransitionSystem, invariant: Invariant
) -> tuple[tuple[str, Any], ...]:
    """Each clause as a sentence and as JSON."""
    said = in_sentences(system, invariant.clauses)
    return tuple(
        (says, [_literal_json(system, literal) for literal in clause.cube])
        for says, clause in zip(said, invariant.clauses)
    )


def _literal_json(system: TransitionSystem, literal: Literal) -> dict[str, Any]:
    variable = system.variable(literal.variable)
    arguments = [a.value if isinstance(a, Symbol) else a for a in literal.arguments]
    values = sorted(literal.values, key=lambda v: (str(type(v)), str(v).rjust(8)))
    return {
        "variable": literal.variable,
        "arguments": arguments,
        "values": [_value_json(variable.sort, value) for value in values],
    }


def _value_json(sort: Sort, value: Value) -> object:
    if isinstance(sort, BoolSort):
        return bool(value)
    if isinstance(sort, CounterSort):
        return "far" if value == FAR else value
    if isinstance(sort, RangeSort) or isinstance(value, Symbol):
        return value.value if isinstance(value, Symbol) else value
    return (
        value
        if isinstance(sort, IndexSort) and value != NONE
        else value_text(sort, value)
    )


def clause_of(system: TransitionSystem, data: object) -> Clause:
    """The clause, if the model has such variables and values. Raises InputError HP705."""
    if not isinstance(data, list):
        raise _bad("what a clause forbids is not a list")
    return Clause(tuple(_literal_of(system, item) for item in data))


def _literal_of(system: TransitionSystem, item: object) -> Literal:
    if not isinstance(item, dict) or set(item) != {"variable", "arguments", "values"}:
        raise _bad("a literal has a variable, arguments and values")
    name, arguments, values = item["variable"], item["arguments"], item["values"]
    known = {variable.name: variable for variable in system.variables}
    if not isinstance(name, str) or name not in known:
        raise _bad(f"the model has no variable '{name}'")
    variable = known[name]
    if not isinstance(arguments, list) or len(arguments) != len(variable.indices):
        raise _bad(f"'{name}' has {len(variable.indices)} indices")
    if not isinstance(values, list) or not values:
        raise _bad(f"there are no values for '{name}'")
    return Literal(
        name,
        tuple(_argument(system, v, s) for v, s in zip(arguments, variable.indices)),
        frozenset(_value(system, variable, value) for value in values),
    )


def _argument(system: TransitionSystem, value: object, sort: IndexSort) -> int | Symbol:
    if sort.name == "cpu":
        if value in ("boot", "i", "j"):
            return _SYMBOLS[str(value)]
    elif type(value) is int and 0 <= value < dict(system.sizes)[sort.name]:
        return value
    raise _bad(f"{value!r} is not an index of sort {sort}")


def _value(system: TransitionSystem, variable: Variable, value: object) -> Value:
    whole = isinstance(value, int) and not isinstance(value, bool)
    match variable.sort:
        case BoolSort() if isinstance(value, bool):
            return int(value)
        case EnumSort(_, names) if isinstance(value, str) and value in names:
            return names.index(value)
        case RangeSort(low, high) if whole and low <= value <= high:  # type: ignore[operator]
            return value  # type: ignore[return-value]
        case CounterSort() if value == "far" or (whole and value in NEAR):
            return FAR if value == "far" else value  # type: ignore[return-value]
        case IndexSort("cpu", _) if isinstance(value, str) and value in _SYMBOLS:
            return _SYMBOLS[value]
        case IndexSort(name, nullable) if name != "cpu":
            if value == "none" and nullable:
                return NONE
            if whole and 0 <= value < dict(system.sizes)[name]:  # type: ignore[operator]
                return value  # type: ignore[return-value]
    raise _bad(f"{value!r} is not a value of '{variable.name}'")


def _bad(message: str) -> InputError:
    return fail("HP705", f"a clause is malformed: {message}")
