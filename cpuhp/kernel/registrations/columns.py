"""What a registration says, column by column, as text that two tables are compared in.

Lines are left out: they change with every edit above them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from cpuhp.kernel.registrations.model import Callback, Row, Variant

Columns = tuple[tuple[str, str, str], ...]


def said(callback: Callback) -> str:
    """A callback by its functions, or as written; empty if it is NULL."""
    if not callback.exists:
        return ""
    several = " or ".join(callback.candidates)
    return callback.function or several or callback.expression


def differing(before: Row, after: Row, names: Mapping[str, str]) -> Columns:
    """Name, value before and value after of each column that differs.

    `names` maps a constant of the old table to what it is called in the new one.
    """
    old = dict(_columns(before, names))
    return tuple(
        (name, old[name], value)
        for name, value in _columns(after, {})
        if old[name] != value
    )


def _columns(row: Row, names: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    state = row.state or "?"
    yield "state", names.get(state, state)
    yield "name", row.name or row.name_expression
    yield "startup", said(row.startup)
    yield "teardown", said(row.teardown)
    yield "kind", row.kind
    yield "api", row.api
    yield "file", row.file
    yield "guards", " && ".join(row.guards)
    yield "runtime guards", " && ".join(row.runtime_guards)
    yield "kbuild", "unknown" if row.kbuild is None else row.kbuild
    yield "startup defined", _defined(row.startup)
    yield "teardown defined", _defined(row.teardown)
    yield "callers", "; ".join(sorted(_caller(v, names) for v in row.variants))
    yield "instances", _files(row.instances)
    yield "removals", _files(row.removals)
    yield "cant_stop", "true" if row.cant_stop else ""


def _defined(callback: Callback) -> str:
    """Under which conditions a callback is a function, and under which it is none."""
    if callback.definition is None:
        return ""
    places = (callback.definition, *callback.alternatives)
    ways = {f"{d.kind} if {' && '.join(d.guards)}" for d in places if d.guards}
    always = {d.kind for d in places if not d.guards} - {"function"}
    return "; ".join(sorted(ways | always))


def _caller(variant: Variant, names: Mapping[str, str]) -> str:
    state = variant.state or "?"
    callbacks = f"{said(variant.startup)}/{said(variant.teardown)}"
    words = f"{names.get(state, state)} {variant.name or '?'} {callbacks}"
    return f"{words} if {' && '.join(variant.guards)}" if variant.guards else words


def _files(places: Iterable[str]) -> str:
    counted = Counter(place.rpartition(":")[0] for place in places)
    return ", ".join(
        f"{file} ({count} times)" if count > 1 else file
        for file, count in sorted(counted.items())
    )
