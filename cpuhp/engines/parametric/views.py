"""Views: what two symbolic CPUs, the control CPU and shared state look like together.

A view lists the values of the layout's components. Pointers are relative to the CPUs
in view. Sets of views are bit sets, so that "no sample has all of these" is one `and`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product

from cpuhp.model.invariant import FAR, NEAR, Argument, Clause, Literal, Symbol, Value
from cpuhp.model.sorts import NONE, CounterSort, IndexSort, Sort, is_cpu, values_of
from cpuhp.model.system import TransitionSystem

Look = Callable[[str, tuple[int, ...]], int]  # the value of a cell of some state
View = tuple[Value | None, ...]  # None: the component speaks of a CPU that is not there


@dataclass(frozen=True)
class Component:
    """One cell as a view names it, and the values that it can have."""

    variable: str
    arguments: tuple[Argument, ...]
    sort: Sort
    domain: tuple[Value, ...]

    @property
    def pointer(self) -> bool:
        """Are its values CPUs?"""
        return is_cpu(self.sort)

    @property
    def mask(self) -> str | None:
        """What it counts, if it is a counter."""
        return self.sort.mask if isinstance(self.sort, CounterSort) else None

    def speaks_of(self, symbol: Symbol) -> bool:
        """Is the symbol one of its arguments?"""
        return symbol in self.arguments


def components(system: TransitionSystem) -> tuple[Component, ...]:
    """All components of a pair view, locations first, then shared variables."""
    sizes = dict(system.sizes)
    found = []
    locations = {process.location for process in system.processes}
    for variable in system.variables:
        for arguments in product(*(_arguments(s, sizes) for s in variable.indices)):
            domain = tuple(_domain(variable.sort, sizes))
            found.append(Component(variable.name, arguments, variable.sort, domain))
    return tuple(
        sorted(found, key=lambda c: (c.variable not in locations, len(c.arguments)))
    )


def _arguments(sort: IndexSort, sizes: dict[str, int]) -> Iterable[Argument]:
    if sort.name == "cpu":
        return (Symbol.BOOT, Symbol.I, Symbol.J)
    return range(sizes[sort.name])


def _domain(sort: Sort, sizes: dict[str, int]) -> Iterable[Value]:
    if is_cpu(sort):
        some = (Symbol.BOOT, Symbol.I, Symbol.J, Symbol.OTHER)
        return (Symbol.NONE, *some) if sort.nullable else some
    if isinstance(sort, CounterSort):
        return (*NEAR, FAR)
    return values_of(sort, sizes)


@dataclass
class Views:
    """The sampled views of a system, with an index by component and value."""

    system: TransitionSystem
    layout: tuple[Component, ...] = ()
    known: dict[View, int] = field(default_factory=dict)
    bits: list[dict[Value, int]] = field(default_factory=list)
    _fresh: list[View] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.layout:
            self.layout = components(self.system)
            self.bits = [{} for _ in self.layout]

    def add(self, view: View) -> bool:
        """Add a sample. Is it a new one?"""
        if view in self.known:
            return False
        self.known[view] = len(self.known)
        self._fresh.append(view)
        return True

    def settle(self) -> None:
        """Bring the index up to date."""
        if not self._fresh:
            return
        start = len(self.known) - len(self._fresh)
        for column, values in zip(self.bits, zip(*self._fresh)):
            for value, rows in _rows(values):
                if value is not None:
                    column[value] = column.get(value, 0) | rows << start
        self._fresh.clear()

    @cached_property
    def index(self) -> dict[object, int]:
        """The number of a component by its variable and arguments."""
        return {(p.variable, p.arguments): n for n, p in enumerate(self.layout)}

    @property
    def all(self) -> int:
        """The bit set of all samples."""
        return (1 << len(self.known)) - 1

    def look(self, look: Look, boot: int, i: int | None, j: int | None) -> View:
        """The view of a state with these CPUs as i and j."""
        return tuple(self._value(c, look, boot, i, j) for c in self.layout)

    def _value(
        self, part: Component, look: Look, boot: int, i: int | None, j: int | None
    ) -> Value | None:
        where = self.place(part, boot, i, j)
        if None in where:
            return None
        value = look(part.variable, where)  # type: ignore[arg-type]
        return relative(value, boot, i, j) if part.pointer else value

    @staticmethod
    def place(
        part: Component, boot: int, i: int | None, j: int | None
    ) -> tuple[int | None, ...]:
        """The indices of the component's cell; None stands for a CPU not there."""
        seats = {Symbol.BOOT: boot, Symbol.I: i, Symbol.J: j}
        return tuple(seats[a] if isinstance(a, Symbol) else a for a in part.arguments)

    def excluded(self, chosen: Iterable[tuple[int, frozenset[Value]]]) -> int:
        """The samples that have all of these values."""
        left = self.all
        for number, values in chosen:
            left &= self.having(number, values)
        return left

    def having(self, number: int, values: Iterable[Value]) -> int:
        """The samples in which a component has one of these values."""
        column = self.bits[number]
        found = 0
        for value in values:
            found |= column.get(value, 0)
        return found


def _rows(values: tuple[Value | None, ...]) -> Iterable[tuple[Value | None, int]]:
    """Each value and the bit set of the places where it stands."""
    code = {value: number for number, value in enumerate(dict.fromkeys(values))}
    if len(code) > 256:
        for value in code:
            yield value, sum(1 << n for n, v in enumerate(values) if v == value)
        return
    codes = bytes([code[value] for value in reversed(values)])
    for value, number in code.items():
        table = bytearray(b"0" * 256)
        table[number] = ord("1")
        yield value, int(codes.translate(table), 2)


def relative(cpu: int, boot: int, i: int | None, j: int | None) -> Symbol:
    """A CPU as the view names it."""
    if cpu == NONE:
        return Symbol.NONE
    if cpu == boot:
        return Symbol.BOOT
    if cpu == i:
        return Symbol.I
    return Symbol.J if cpu == j else Symbol.OTHER


def pairs_of(cpus: list[int]) -> list[tuple[int | None, int | None]]:
    """The CPUs to look at as i and j: all ordered pairs, or what there is."""
    if len(cpus) < 2:
        return [(cpus[0] if cpus else None, None)]
    return [(i, j) for i in cpus for j in cpus if i != j]


# Generalisation


def generalise(
    views: Views,
    view: View,
    relevant: frozenset[str],
    scope: frozenset[str] | None = None,
) -> Clause | None:
    """A short clause that forbids this view and no sample; None if there is none.

    It is about the variables in `scope`, if that is given, first those in `relevant`.
    """
    views.settle()
    for parts in _parts(views, view, relevant, scope):
        cube = _separate(views, view, parts)
        if cube is not None:
            clause = clause_of(views, widen(views, _shorten(views, cube)), view)
            return None if contradicted(views, clause) else clause
    return None


def _parts(
    views: Views, view: View, relevant: frozenset[str], scope: frozenset[str] | None
) -> Iterable[list[int]]:
    """Component numbers to build the cube of: of one CPU first, then of both."""
    layout = views.layout
    present = [
        n
        for n, value in enumerate(view)
        if value is not None and (scope is None or layout[n].variable in scope)
    ]
    first = [n for n in present if not layout[n].speaks_of(Symbol.J)]
    second = [n for n in present if not layout[n].speaks_of(Symbol.I)]
    for names in (relevant, None):
        for parts in (first, second, present):
            yield [n for n in parts if names is None or layout[n].variable in names]


def _separate(
    views: Views, view: View, parts: list[int]
) -> list[tuple[int, frozenset[Value]]] | None:
    having = {n: views.bits[n].get(view[n], 0) for n in parts}  # type: ignore[arg-type]
    left = views.all
    cube: list[tuple[int, frozenset[Value]]] = []
    while left:
        counts = [((left & having[n]).bit_count(), n) for n in parts]
        if not counts:
            return None
        remaining, best = min(counts, key=lambda pair: (pair[0], parts.index(pair[1])))
        if remaining == left.bit_count():
            return None
        left &= having[best]
        cube.append((best, frozenset((view[best],))))  # type: ignore[arg-type]
    return cube


Cube = list[tuple[int, frozenset[Value]]]


def _shorten(views: Views, cube: Cube) -> Cube:
    for literal in list(cube):
        others = [other for other in cube if other is not literal]
        if others and not views.excluded(others):
            cube = others
    return cube


def widen(views: Views, cube: Cube) -> Cube:
    """Forbid more values, as many as no sample has with the others."""
    for position, (number, values) in enumerate(list(cube)):
        others = views.excluded(lit for k, lit in enumerate(cube) if k != position)
        column = views.bits[number]
        # Values that no sample has are left to the clause about the component alone.
        allowed = {value for value, having in column.items() if not others & having}
        cube[position] = (number, values | allowed)
    return _shorten(views, cube)


def clause_of(views: Views, cube: Cube, view: View) -> Clause:
    """The cube of values of a view as a clause, about as few CPUs as can be."""
    literals = tuple(_literal(views.layout[n], v) for n, v in sorted(cube, key=_first))
    clause = canonical(Clause(literals))
    if not contradicted(views, clause):
        return clause
    anchors = tuple(
        _literal(part, frozenset(part.domain))
        for part, value in zip(views.layout, view)
        if part.arguments in ((Symbol.I,), (Symbol.J,)) and value is not None
    )
    if {Symbol.J} & {a for lit in anchors for a in lit.arguments}:
        # True of machines with two hotplugged CPUs only: name both, by literals that
        # say nothing else.
        return Clause(literals + anchors)
    narrow = ((n, v - {Symbol.J, Symbol.OTHER}) for n, v in sorted(cube, key=_first))
    kept = tuple(_literal(views.layout[n], v) for n, v in narrow if v)
    return canonical(Clause(kept))


def _first(literal: tuple[int, frozenset[Value]]) -> int:
    return literal[0]


def _literal(part: Component, values: frozenset[Value]) -> Literal:
    return Literal(part.variable, part.arguments, values)


def contradicted(views: Views, clause: Clause) -> int:
    """The samples that have all that the clause forbids."""
    views.settle()
    left = views.all
    unnamed = {Symbol.I, Symbol.J} - clause.symbols
    for literal in clause.cube:
        number = views.index[literal.variable, literal.arguments]
        values = literal.values | (unnamed if Symbol.OTHER in literal.values else set())
        left &= views.having(number, values)
    return left


def canonical(clause: Clause) -> Clause:
    """The same clause about as few CPUs as can be, i before j."""
    for symbol in (Symbol.J, Symbol.I):
        clause = _without(clause, symbol)
    if Symbol.J in clause.symbols and Symbol.I not in clause.symbols:
        return swapped(clause)
    return clause


def swapped(clause: Clause) -> Clause:
    """The same clause with i for j and j for i."""
    return Clause(tuple(_swapped(literal) for literal in clause.cube))


def _without(clause: Clause, symbol: Symbol) -> Clause:
    """Say "other" where the clause does not tell this CPU from the others."""
    for literal in clause.cube:
        told_apart = (symbol in literal.values) != (Symbol.OTHER in literal.values)
        if symbol in literal.arguments or told_apart:
            return clause
    return Clause(
        tuple(replace(lit, values=lit.values - {symbol}) for lit in clause.cube)
    )


_SWAP: dict[object, Symbol] = {Symbol.I: Symbol.J, Symbol.J: Symbol.I}


def _swapped(literal: Literal) -> Literal:
    arguments = tuple(_SWAP.get(a, a) for a in literal.arguments)
    values = frozenset(_SWAP.get(v, v) for v in literal.values)
    return Literal(literal.variable, arguments, values)


def ranges(views: Views) -> list[Clause]:
    """For each component: the values that no sample has."""
    views.settle()
    found = []
    for number, part in enumerate(views.layout):
        unseen = {v for v in part.domain if not views.bits[number].get(v, 0)}
        if unseen and not part.speaks_of(Symbol.J):
            clause = canonical(Clause((_literal(part, frozenset(unseen)),)))
            if not contradicted(views, clause):
                found.append(clause)
    return found
