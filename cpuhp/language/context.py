"""Where a statement stands while it is lowered."""

from __future__ import annotations

from dataclasses import dataclass

from cpuhp.diagnostics import Span, fail
from cpuhp.language.declarations import demand_a_free_name
from cpuhp.language.program import Registered
from cpuhp.language.terms import Scope
from cpuhp.model.expr import (
    Const,
    Read,
)
from cpuhp.model.sorts import (
    NONE,
    BoolSort,
    EnumSort,
    IndexSort,
    RangeSort,
    Sort,
)


@dataclass(frozen=True)
class Context:
    """Where a statement stands: names in scope, and where jumps lead."""

    scope: Scope
    function: str
    component: str
    places: tuple[str, ...]  # functions being inlined, for `at`
    leave: int  # where `return` goes
    result: Read | None = None  # what `return e` sets
    result_sort: Sort | None = None
    own_result: tuple[str, ...] = ()  # the callback whose result is 0 until it is set
    loop: tuple[int, int] | None = None  # where `break` and `continue` go
    callback: Registered | None = None
    depth: int = 0
    outermost: bool = False  # directly in the endless loop of a service
    atomic: bool = False


def demand_a_new_name(name: str, scope: Scope, span: Span) -> None:
    """Raises InputError HP204 if a local variable or parameter has this name here."""
    demand_a_free_name(name, span)
    if name in scope:
        raise fail("HP204", f"there is a '{name}' here already", span,
                   help="give one another name")  # fmt: skip


def default_of(sort: Sort) -> Const:
    """The value of a variable that the spec does not initialise."""
    match sort:
        case RangeSort(low, _):
            return Const(max(low, 0), sort)
        case IndexSort(_, True):
            return Const(NONE, sort)
        case BoolSort() | EnumSort() | IndexSort():
            return Const(0, sort)
        case _:
            return Const(0, sort)
