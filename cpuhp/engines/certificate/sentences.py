"""Clauses as sentences that a reviewer can hold against the code."""

from __future__ import annotations

from cpuhp.model.invariant import FAR, NEAR, Clause, Literal, Symbol, Value
from cpuhp.model.sorts import (
    NONE,
    BoolSort,
    CounterSort,
    EnumSort,
    IndexSort,
    RangeSort,
    Sort,
)
from cpuhp.model.system import TransitionSystem


def sentence(system: TransitionSystem, clause: Clause) -> str:
    """`for every CPU i but the control CPU, never: lock == i && at.w[i] == w:end`."""
    parts = [_literal(system, literal, clause) for literal in clause.cube]
    return f"{_who(clause)}never: {' && '.join(parts) or 'true'}"


def _who(clause: Clause) -> str:
    names = [s.value for s in (Symbol.I, Symbol.J) if s in clause.symbols]
    if not names:
        return ""
    if len(names) == 1:
        return f"for every CPU {names[0]} but the control CPU, "
    return "for all distinct CPUs i and j but the control CPU, "


def _literal(system: TransitionSystem, literal: Literal, clause: Clause) -> str:
    variable = system.variable(literal.variable)
    names = [a.value if isinstance(a, Symbol) else str(a) for a in literal.arguments]
    cell = variable.name + "".join(f"[{name}]" for name in names)
    sort = variable.sort
    if isinstance(sort, BoolSort) and len(literal.values) == 1:
        return cell if 1 in literal.values else f"!{cell}"
    everything = domain(system, sort, clause)
    given = [v for v in everything if v in literal.values]
    missing = [v for v in everything if v not in literal.values]
    if len(given) == 1:
        return f"{cell} == {value_text(sort, given[0])}"
    if len(missing) == 1:
        return f"{cell} != {value_text(sort, missing[0])}"
    word, shown = ("in", given) if len(given) <= len(missing) else ("not in", missing)
    return f"{cell} {word} {{{', '.join(value_text(sort, v) for v in shown)}}}"


def domain(system: TransitionSystem, sort: Sort, clause: Clause) -> list[Value]:
    """The values that a literal of this clause can name."""
    match sort:
        case BoolSort():
            return [0, 1]
        case EnumSort(_, names):
            return list(range(len(names)))
        case RangeSort(low, high):
            return list(range(low, high + 1))
        case CounterSort():
            return [*NEAR, FAR]
        case IndexSort("cpu", nullable):
            unseen = {Symbol.I, Symbol.J} - clause.symbols
            unseen |= set() if nullable else {Symbol.NONE}
            return [s for s in Symbol if s not in unseen]
        case IndexSort(name, nullable):
            return list(range(NONE if nullable else 0, dict(system.sizes)[name]))


def value_text(sort: Sort, value: Value) -> str:
    """A value as the spec writes it."""
    if isinstance(value, Symbol):
        return value.value
    match sort:
        case BoolSort():
            return "true" if value else "false"
        case EnumSort(_, names):
            return names[value]
        case CounterSort(mask) if value == FAR:
            return f"far from |{mask}|"
        case CounterSort(mask):
            return f"|{mask}|" + (f" {value:+d}" if value else "")
        case IndexSort() if value == NONE:
            return "none"
    return str(value)
