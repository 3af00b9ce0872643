"""Statements of the text, and the steps that come of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cpuhp.diagnostics import Span
from cpuhp.language import tree as t
from cpuhp.language.compile import Lowered
from cpuhp.language.program import Program
from cpuhp.language.tree import nodes_below
from cpuhp.ordering.variant import Place, place_of

Key = tuple[str, int, int]  # source, start, end
Keys = frozenset[Key]
STATEMENTS = (
    t.Block,
    t.Declare,
    t.AssignTo,
    t.If,
    t.While,
    t.ForEach,
    t.Either,
    t.Return,
    t.Jump,
    t.Atomic,
    t.Wait,
    t.CallStatement,
    t.Label,
)


def key_of_span(span: Span) -> Key:
    return span.source.name, span.start, span.end


def where(span: Span) -> str:
    """`file:line`."""
    return f"{span.source.name}:{span.line}"


def one_line(span: Span) -> str:
    """The text of a span without its line ends, and without a last semicolon."""
    return " ".join(span.text.split()).rstrip(";")


def steps_of(program: Program) -> Mapping[Place, Keys]:
    """For each statement, under which spans its steps are known.

    All of an atomic block is one step, which has the span of a statement in it.
    """
    found: dict[Place, Keys] = {}
    for unit in program.units:
        for node in nodes_below(unit.items):
            if isinstance(node, t.Atomic):
                inside = [n for n in nodes_below(node) if isinstance(n, STATEMENTS)]
                keys = frozenset(key_of_span(n.span) for n in inside)
                for statement in inside:
                    at = place_of(statement)
                    found[at] = found.get(at, frozenset()) | keys
            elif isinstance(node, STATEMENTS):
                at = place_of(node)
                key = frozenset({key_of_span(node.span)})
                found[at] = found.get(at, frozenset()) | key
    return found


def present(whole: Lowered) -> Keys:
    """The spans of the steps that options leave in the program and that somebody runs."""
    return frozenset(
        key_of_span(edge.note.span)
        for process in whole.processes
        for edge in process.flow.edges
        if edge.note is not None
    )


def triggers(unit: t.Unit) -> frozenset[Place]:
    """What a service waits for to have work: the first wait of each endless loop."""
    return frozenset(
        place_of(wait)
        for node in nodes_below(unit.items)
        if isinstance(node, t.ProcessDeclaration) and node.kind != "process"
        for wait in _first_waits(node.body)
    )


def _first_waits(body: t.Block) -> Iterator[t.Wait]:
    for node in nodes_below(body):
        if isinstance(node, t.While) and node.condition is None:
            waits = [n for n in nodes_below(node.body) if isinstance(n, t.Wait)]
            yield from waits[:1]
