"""What one proof teaches the next: its clauses, told by names.

Proofs about two slices of one program need much the same clauses: what the hotplug core
guarantees. The slices number their program points differently, but for the most part
name them alike. A clause that is carried over is a guess like any other: a sample
contradicts it, or z3 finds a step that breaks it, or it becomes part of the proof.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cpuhp.engines.parametric.views import Component, Views, contradicted
from cpuhp.model.invariant import Argument, Clause, Invariant, Literal, Value
from cpuhp.model.sorts import EnumSort
from cpuhp.model.system import TransitionSystem


@dataclass(frozen=True)
class Told:
    """A literal; where its variable has named values, by their names."""

    variable: str
    arguments: tuple[Argument, ...]
    values: frozenset[Value | str]


Lesson = tuple[Told, ...]  # what a clause forbids
Lessons = tuple[Lesson, ...]


def lessons_of(system: TransitionSystem, invariant: Invariant) -> Lessons:
    """The clauses of a proof, for proofs about other slices of the same program."""
    return tuple(
        tuple(_told(system, literal) for literal in clause.cube)
        for clause in invariant.clauses
    )


def _told(system: TransitionSystem, literal: Literal) -> Told:
    sort = system.variable(literal.variable).sort
    values: frozenset[Value | str] = frozenset(literal.values)
    if isinstance(sort, EnumSort):
        values = frozenset(
            sort.values[v] if isinstance(v, int) else v for v in literal.values
        )
    return Told(literal.variable, literal.arguments, values)


def guesses(views: Views, lessons: Iterable[Lesson]) -> Iterator[Clause]:
    """The lessons as clauses about this system that no sample contradicts."""
    for lesson in lessons:
        cube = [_literal(views, told) for told in lesson]
        clause = Clause(tuple(literal for literal in cube if literal is not None))
        if None not in cube and not contradicted(views, clause):
            yield clause


def _literal(views: Views, told: Told) -> Literal | None:
    """The literal, or None if nothing that it speaks of is in this system."""
    number = views.index.get((told.variable, told.arguments))
    if number is None:
        return None
    known = _by_name(views.layout[number])
    values = frozenset(known[value] for value in told.values if value in known)
    return Literal(told.variable, told.arguments, values) if values else None


def _by_name(part: Component) -> dict[Value | str, Value]:
    if isinstance(part.sort, EnumSort):
        return {name: number for number, name in enumerate(part.sort.values)}
    return {value: value for value in part.domain}
