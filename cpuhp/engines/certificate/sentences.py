"""Clauses as sentences that a reviewer can hold against the code."""

from __future__ import annotations

from collections.abc import Iterable

from cpuhp.model.invariant import (
    FAR,
    NEAR,
    Argument,
    Clause,
    Literal,
    Symbol,
    Value,
)
from cpuhp.model.sorts import (
    NONE,
    BoolSort,
    CounterSort,
    EnumSort,
    IndexSort,
    RangeSort,
    Sort,
    is_cpu,
)
from cpuhp.model.system import Role, TransitionSystem

Cell = tuple[str, tuple[Argument, ...]]  # a variable and whose, of any CPU but boot: i
Ranges = dict[Cell, frozenset[Value]]  # what a cell can have at all
Met = dict[str, frozenset[Value]]  # of each location, the points that steps lead to


def in_sentences(
    system: TransitionSystem, clauses: Iterable[Clause]
) -> tuple[str, ...]:
    """What each clause says: `for every CPU i but the control CPU: lock == i => busy`.

    Where one clause says which values a variable can have, the others speak of those
    only; and all of them of program points that steps of this system lead to.
    """
    clauses = tuple(clauses)
    ranges, met = _ranges(system, clauses), _met(system)
    return tuple(_sentence(system, clause, ranges, met) for clause in clauses)


def _met(system: TransitionSystem) -> Met:
    """Not the points of steps that do not matter, which are joined with others."""
    found: Met = {}
    for process in system.processes:
        sort = system.variable(process.location).sort
        own = (a.target for a in system.actions if a.process == process.name)
        names = {process.initial, *own}
        if isinstance(sort, EnumSort) and names <= set(sort.values):
            found[process.location] = frozenset(map(sort.values.index, names))
    return found


def _ranges(system: TransitionSystem, clauses: Iterable[Clause]) -> Ranges:
    found: Ranges = {}
    for clause in clauses:
        if len(clause.cube) == 1:
            (literal,) = clause.cube
            sort = system.variable(literal.variable).sort
            cell = _cell(literal)
            if isinstance(sort, EnumSort | RangeSort):
                before = found.get(cell, frozenset(domain(system, sort, clause)))
                found[cell] = before - literal.values
            elif is_cpu(sort) and clause.symbols <= set(literal.arguments):
                # The other values mean other CPUs in other clauses.
                before = found.get(cell, frozenset(Symbol))
                found[cell] = before - (literal.values & {Symbol.NONE, Symbol.BOOT})
    return found


def _cell(literal: Literal) -> Cell:
    anybody = (Symbol.I if a is Symbol.J else a for a in literal.arguments)
    return literal.variable, tuple(anybody)


def _sentence(
    system: TransitionSystem, clause: Clause, ranges: Ranges, met: Met
) -> str:
    known = ranges if len(clause.cube) > 1 else {}
    if len(clause.cube) == 1 and (told := _passed(system, clause.cube[0], met)):
        return told
    parts = [_literal(system, literal, clause, known, met) for literal in clause.cube]
    never = " && ".join(text for is_so, text in parts if is_so)
    always = " || ".join(text for is_so, text in parts if not is_so)
    if not always:
        return f"{_who(clause)}never {never or 'true'}"
    return _who(clause) + (f"{never} => {always}" if never else f"always {always}")


def _who(clause: Clause) -> str:
    names = [s.value for s in (Symbol.I, Symbol.J) if s in clause.symbols]
    if not names:
        return ""
    if len(names) == 1:
        return f"for every CPU {names[0]} but the control CPU: "
    return "for all distinct CPUs i and j but the control CPU: "


def _passed(system: TransitionSystem, literal: Literal, met: Met) -> str:
    """What to say of a literal that names points to none of which a step leads."""
    points = met.get(literal.variable, literal.values)
    if literal.values & points:
        return ""
    sort = system.variable(literal.variable).sort
    few = min(literal.values, points, key=len)
    shown = ", ".join(_by_function([value_text(sort, v) for v in sorted(few)]))
    if few is points:
        return f"only steps from {shown} matter: who is elsewhere counts as at the next"
    return f"no step from {shown} matters: who is there counts as at the next point"


def _literal(
    system: TransitionSystem,
    literal: Literal,
    clause: Clause,
    ranges: Ranges,
    met: Met,
) -> tuple[bool, str]:
    """The literal, or what is so otherwise if that is shorter; and which of the two."""
    variable = system.variable(literal.variable)
    names = [a.value if isinstance(a, Symbol) else str(a) for a in literal.arguments]
    cell = variable.name + "".join(f"[{name}]" for name in names)
    sort = variable.sort
    if isinstance(sort, BoolSort) and len(literal.values) == 1:
        return 1 in literal.values, cell
    everything = domain(system, sort, clause)
    points = met.get(literal.variable, frozenset())
    if points & literal.values:
        everything = [v for v in everything if v in points]
    allowed = ranges.get(_cell(literal), frozenset(everything)) | literal.values
    given = [v for v in everything if v in literal.values]
    missing = [v for v in everything if v in allowed and v not in literal.values]
    is_so = not missing or len(given) < len(missing)
    if len(given) == len(missing) and not is_cpu(sort):
        is_so = True  # of a pointer it is told whom it points to then
    shown = [value_text(sort, value) for value in (given if is_so else missing)]
    if len(shown) == 1:
        return is_so, f"{cell} == {shown[0]}"
    if variable.role is Role.LOCATION:
        shown = _by_function(shown)
    return is_so, f"{cell} in {{{', '.join(shown)}}}"


def _by_function(points: list[str]) -> list[str]:
    """Program points, those of one function together: `cpu_down:12 14 14.2`."""
    found: dict[str, list[str]] = {}
    for point in points:
        function, colon, line = point.partition(":")
        found.setdefault(function + colon, []).append(line)
    return [function + " ".join(lines) for function, lines in found.items()]


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
