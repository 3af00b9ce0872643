"""Clauses and views as text."""

from __future__ import annotations

from cpuhp.engines.parametric.views import View, Views
from cpuhp.model.invariant import FAR, Argument, Clause, Literal, Symbol, Value
from cpuhp.model.sorts import CounterSort, IndexSort, Sort, format_value, values_of
from cpuhp.model.system import TransitionSystem


def clause_text(system: TransitionSystem, clause: Clause) -> str:
    """`never: lock == i && at[i] in {IDLE, DONE}`."""
    return "never: " + " && ".join(
        _literal(system, part, clause.symbols) for part in clause.cube
    )


def view_text(views: Views, view: View) -> str:
    """What a view says, component by component."""
    return ", ".join(
        f"{_cell(part.variable, part.arguments)} == {_value(part.sort, value)}"
        for part, value in zip(views.layout, view)
        if value is not None
    )


def _literal(
    system: TransitionSystem, literal: Literal, symbols: frozenset[Symbol]
) -> str:
    sort = system.variable(literal.variable).sort
    cell = _cell(literal.variable, literal.arguments)
    unnamed = {Symbol.I, Symbol.J} - symbols
    domain = [v for v in _domain(system, sort) if v not in unnamed]
    missing = [v for v in domain if v not in literal.values]
    if len(literal.values) == 1:
        (value,) = literal.values
        return f"{cell} == {_value(sort, value)}"
    if len(missing) == 1:
        return f"{cell} != {_value(sort, missing[0])}"
    if len(missing) < len(literal.values):
        return f"{cell} not in {_set(sort, missing)}"
    return f"{cell} in {_set(sort, [v for v in domain if v in literal.values])}"


def _domain(system: TransitionSystem, sort: Sort) -> list[Value]:
    if isinstance(sort, IndexSort) and sort.name == "cpu":
        return [s for s in Symbol if s is not Symbol.NONE or sort.nullable]
    if isinstance(sort, CounterSort):
        return [*range(-3, 4), FAR]
    return list(values_of(sort, dict(system.sizes)))


def _set(sort: Sort, values: list[Value]) -> str:
    return "{" + ", ".join(_value(sort, value) for value in values) + "}"


def _cell(variable: str, arguments: tuple[Argument, ...]) -> str:
    names = (a.value if isinstance(a, Symbol) else str(a) for a in arguments)
    return variable + "".join(f"[{name}]" for name in names)


def _value(sort: Sort, value: Value) -> str:
    if isinstance(value, Symbol):
        return value.value
    if isinstance(sort, CounterSort):
        if value == FAR:
            return f"far from |{sort.mask}|"
        return f"|{sort.mask}|" + (f" {value:+d}" if value else "")
    return format_value(sort, value)
