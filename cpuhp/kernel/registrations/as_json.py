"""An extraction as JSON, and back. Paths that are no UTF-8 are written escaped."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any, TypeVar

from cpuhp.diagnostics import fail
from cpuhp.kernel.registrations.model import (
    Callback,
    Definition,
    Enumerator,
    Extraction,
    Instance,
    Join,
    Note,
    Recorded,
    Row,
    Variant,
)
from cpuhp.kernel.source.tree import shown
from cpuhp.model.table import Section

Record = TypeVar("Record")
FORMAT = "cpuhp-extraction"
VERSION = 1


def to_json(extraction: Extraction) -> str:
    """The extraction as a JSON document, ending in a newline."""
    data: dict[str, Any] = {"format": FORMAT, "version": VERSION}
    data["counts"] = counts(extraction)
    data |= {
        "tree": shown(extraction.tree),
        "kernel": extraction.version,
        "arch": extraction.arch,
        "config": extraction.config,
        "files_scanned": extraction.files_scanned,
        "enum": [_plain(asdict(e)) for e in extraction.enumerators],
        "dynamic": dynamic_ranges(extraction),
        "rows": [_row(row) for row in extraction.rows],
        "instances": [_plain(asdict(i)) for i in extraction.instances],
        "notes": [_plain(asdict(n)) for n in extraction.notes],
        "recorded": asdict(extraction.join) if extraction.join else None,
    }
    return json.dumps(_plain(data), indent=1, ensure_ascii=True) + "\n"


def counts(extraction: Extraction) -> dict[str, int]:
    """How many rows of which sort."""
    return {
        "call_sites": len(extraction.calls),
        "files": len({row.file for row in extraction.calls}),
        "static": len(extraction.static),
        "multi_instance": sum(row.kind == "multi" for row in extraction.rows),
        "with_startup": sum(row.startup.exists for row in extraction.calls),
        "with_teardown": sum(row.teardown.exists for row in extraction.calls),
        "unresolved": sum(bool(row.unresolved) for row in extraction.rows),
    }


def dynamic_ranges(extraction: Extraction) -> dict[str, list[int]]:
    """First and last slot of each dynamic range."""
    ranges = {}
    for name in ("CPUHP_BP_PREPARE_DYN", "CPUHP_AP_ONLINE_DYN"):
        first, last = extraction.value(name), extraction.value(f"{name}_END")
        if first is not None and last is not None:
            ranges[name] = [first, last]
    return ranges


def from_json(text: str, name: str) -> Extraction:
    """The extraction in a JSON document read from `name`; InputError HP619."""
    try:
        data = json.loads(text)
        if data["format"] != FORMAT or data["version"] != VERSION:
            raise ValueError(f"format {data['format']!r} {data['version']!r}")
        return _extraction(data)
    except RecursionError as error:
        raise fail("HP619", f"'{shown(name)}' is nested too deeply") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise fail(
            "HP619",
            f"'{shown(name)}' is not an extracted hotplug table",
            help="make one with: cpuhp extract TREE -o table.json",
        ) from error


def _extraction(data: dict[str, Any]) -> Extraction:
    recorded = data["recorded"]
    return Extraction(
        tree=_text(data["tree"]),
        version=data["kernel"],
        arch=data["arch"],
        config=data["config"],
        enumerators=tuple(
            _make(Enumerator, {**e, "section": _section(e["section"])})
            for e in data["enum"]
        ),
        rows=tuple(_read_row(row) for row in data["rows"]),
        instances=tuple(_make(Instance, i) for i in data["instances"]),
        notes=tuple(_make(Note, n) for n in data["notes"]),
        files_scanned=int(data["files_scanned"]),
        join=_read_join(recorded) if recorded else None,
    )


def _row(row: Row) -> dict[str, Any]:
    return asdict(row)


def _read_row(data: dict[str, Any]) -> Row:
    data = dict(data)
    data["section"] = _section(data["section"])
    data["startup"] = _callback(data["startup"])
    data["teardown"] = _callback(data["teardown"])
    data["variants"] = tuple(_read_variant(v) for v in data["variants"])
    if data["recorded"]:
        data["recorded"] = _make(Recorded, data["recorded"])
    row = _make(Row, data)
    _text(row.file)
    return row


def _read_variant(data: dict[str, Any]) -> Variant:
    startup, teardown = _callback(data["startup"]), _callback(data["teardown"])
    return _make(Variant, {**data, "startup": startup, "teardown": teardown})


def _callback(data: dict[str, Any]) -> Callback:
    definition = data["definition"]
    return _make(
        Callback,
        {
            **data,
            "definition": _make(Definition, definition) if definition else None,
            "alternatives": tuple(_make(Definition, d) for d in data["alternatives"]),
        },
    )


def _read_join(data: dict[str, Any]) -> Join:
    missing = tuple(_make(Recorded, r) for r in data["not_in_tree"])
    return _make(Join, {**data, "not_in_tree": missing})


def _make(kind: type[Record], data: dict[str, Any]) -> Record:
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if not data.keys() <= known:
        raise ValueError(f"unknown keys {sorted(data.keys() - known)}")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})


def _section(value: str | None) -> Section | None:
    return Section(value) if value is not None else None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a text was expected")
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.value
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if not k.startswith("_")}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "backslashreplace").decode()
    return value
