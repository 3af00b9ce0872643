"""Variants of a scenario: other options, another table, statements left out or changed.

A variant is small and can be sent to another machine; the program is made of it there.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import lru_cache
from typing import Any

from cpuhp.diagnostics import Span
from cpuhp.engines.checking import Checker
from cpuhp.language import tree as t
from cpuhp.language.library import Library, checks_of, shipped
from cpuhp.language.link import link
from cpuhp.language.program import Program
from cpuhp.model.table import Table

Options = tuple[tuple[str, str], ...]
Node = Any  # any node of the syntax tree


@dataclass(frozen=True)
class Place:
    """A node of the text: what kind it is, and from where to where it goes."""

    kind: str
    source: str
    start: int
    end: int


@dataclass(frozen=True)
class Edit:
    """The node at a place is replaced; with None, it is left out."""

    at: Place
    by: Node


@dataclass(frozen=True)
class Variant:
    """A scenario with the user's own units, a table, options and edits.

    `units` stand beside the shipped ones, or in their place if they have their names.
    """

    scenario: t.Unit
    units: tuple[t.Unit, ...]
    table: Table
    options: Options = ()
    edits: tuple[Edit, ...] = ()

    def __hash__(self) -> int:
        # Trees are large, and equal ones are told apart by what is cheap to look at.
        edits = tuple(edit.at for edit in self.edits)
        return hash((self.scenario.name, self.table.name, self.options, edits))

    def with_options(self, **values: str) -> Variant:
        changed = {**dict(self.options), **values}
        return replace(self, options=tuple(sorted(changed.items())))

    def with_edits(self, *edits: Edit) -> Variant:
        return replace(self, edits=(*self.edits, *edits))

    def program(self) -> Program:
        """The linked program. Raises InputError if it is none."""
        return _program(self)

    def checker(self) -> Checker:
        """What answers its claims. Raises InputError if it does not compile."""
        return _checker(self)


@lru_cache(maxsize=256)
def _program(variant: Variant) -> Program:
    units = {u.name: u for u in variant.units}
    units[variant.scenario.name] = variant.scenario
    library = _beside(shipped(), units)
    used = link(variant.scenario, library, variant.table, dict(variant.options))
    if not variant.edits:
        return used
    changes = {edit.at: edit for edit in variant.edits}
    edited = {unit.name: _edited(unit, changes) for unit in used.units}
    library = _beside(library, {n: u for n, u in edited.items() if u is not None})
    scenario = edited[variant.scenario.name]
    return link(scenario, library, variant.table, dict(variant.options))


@lru_cache(maxsize=128)
def _checker(variant: Variant) -> Checker:
    return Checker(_program(variant))


def _beside(library: Library, units: Mapping[str, t.Unit]) -> Library:
    """The library with these units, in place of those that have their names."""
    new = {check.name: check for unit in units.values() for check in checks_of(unit)}
    return Library(
        ChainMap(dict(units), library.units),  # type: ignore[arg-type]
        ChainMap(new, library.checks),  # type: ignore[arg-type]
        library.catalogue,
    )


def place_of(node: Node) -> Place:
    span: Span = node.span
    return Place(type(node).__name__, span.source.name, span.start, span.end)


_GONE = object()


def _edited(node: Node, changes: Mapping[Place, Edit]) -> Node:
    found = _rewritten(node, changes)
    return None if found is _GONE else found


def _rewritten(node: Node, changes: Mapping[Place, Edit]) -> Node:
    """The same tree with the changes in it; shares all that did not change."""
    if isinstance(node, tuple):
        parts = [_rewritten(part, changes) for part in node]
        if all(new is old for new, old in zip(parts, node)):
            return node
        return tuple(part for part in parts if part is not _GONE)
    if not is_dataclass(node) or isinstance(node, Span | type):
        return node
    if hasattr(node, "span"):
        change = changes.get(place_of(node))
        if change is not None:
            return _GONE if change.by is None else change.by
    changed: dict[str, Any] = {}
    for field in fields(node):
        if field.name == "span":
            continue
        old = getattr(node, field.name)
        new = _rewritten(old, changes)
        if new is _GONE:
            new = _instead(node, field.name)
        if new is not old:
            changed[field.name] = new
    return replace(node, **changed) if changed else node


def _instead(node: Node, name: str) -> Node:
    """What stands where a part was left out: nothing, if that may be."""
    if name in ("otherwise", "filter", "value"):
        return None
    return t.Block((), node.span)


def variant_of(program: Program, options: Mapping[str, str]) -> Variant:
    """A program that was linked before, as a variant of itself."""
    known = shipped().units
    own = tuple(u for u in program.units if known.get(u.name) != u)
    rows = tuple(row for row in program.table.states if not row.added)
    table = replace(program.table, states=rows)
    return Variant(program.scenario, own, table, tuple(sorted(options.items())))


def own_options(base: Variant, table: Table, given: Mapping[str, str]) -> Variant:
    """The scenario with a table, and also with those of the options that it has."""
    known = base.program().options
    mine = {name: value for name, value in given.items() if name in known}
    return replace(base, table=table).with_options(**mine)
