"""Grounded expressions in a language with infix operators: the common part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from cpuhp.model.expr import Apply, Const, Expr, Op, Read, walk
from cpuhp.model.sorts import BOOL, EnumSort, RangeSort, Sort
from cpuhp.model.system import Variable
from cpuhp.model.verdict import State
from cpuhp.report.export.common import variable_names
from cpuhp.report.export.ground import (
    Command,
    Grounded,
    Write,
    interval,
    is_bool,
    unheld_interval,
)
from cpuhp.report.export.names import identifiers
from cpuhp.semantics import default_value


@dataclass(frozen=True)
class Words:
    """How a language spells the operators."""

    conjunction: str
    disjunction: str
    equal: str
    true: str
    false: str
    then: str  # of a conditional expression
    otherwise: str


@dataclass(frozen=True)
class Assignment:
    """One write of a command as text.

    `found` tests that no index is none; `position` is then the place in the array, or
    -1. Both are None where the place is known.
    """

    place: str
    value: str
    found: str | None
    position: str | None

    @property
    def array(self) -> str:
        """The array's name, if it is one."""
        return self.place.partition("[")[0]


@dataclass(frozen=True, eq=False)
class Infix:
    """Writes the expressions of one claim."""

    claim: Grounded
    words: Words
    typed: bool  # whether truth values are no numbers

    @cached_property
    def variable_names(self) -> dict[str, str]:
        return variable_names(self.claim)

    @cached_property
    def value_names(self) -> dict[tuple[EnumSort, int], str]:
        """Identifiers of constants for the values of enums."""
        sorts = dict.fromkeys(v.sort for v in self.claim.variables)
        named = (
            ((sort, value), f"{sort.name} {name}")
            for sort in sorts
            if isinstance(sort, EnumSort)
            for value, name in enumerate(sort.values)
        )
        return identifiers(named, "c")

    def formula(self, expr: Expr) -> str:
        """A truth value."""
        words = self.words
        match expr:
            case Const(value, _):
                return words.true if value else words.false
            case Read():
                return self.read(expr)
            case Apply(Op.NOT, (a,), _):
                return f"!({self.formula(a)})" if self.typed else f"!{self.formula(a)}"
            case Apply(Op.AND, args, _):
                return _joined(words.conjunction, map(self.formula, args))
            case Apply(Op.OR, args, _):
                return _joined(words.disjunction, map(self.formula, args))
            case Apply(Op.EQ, (a, b), _):
                both = is_bool(a) and is_bool(b)
                write = self.formula if both else self.number
                return f"({write(a)} {words.equal} {write(b)})"
            case Apply(Op.LT | Op.BEFORE, (a, b), _):
                return f"({self.number(a)} < {self.number(b)})"
            case Apply(Op.LE, (a, b), _):
                return f"({self.number(a)} <= {self.number(b)})"
            case Apply(Op.ITE, (c, a, b), _):
                return self.either(self.formula(c), self.formula(a), self.formula(b))
            case _:
                raise AssertionError(f"not a formula: {expr}")

    def number(self, expr: Expr) -> str:
        """A number; truth is 1."""
        if is_bool(expr):
            if not self.typed:
                return self.formula(expr)
            return self.either(self.formula(expr), "1", "0")
        match expr:
            case Const(value, sort):
                return self.constant(value, sort)
            case Read():
                return self.read(expr)
            case Apply(Op.ADD | Op.SUB as op, (a, b), sort):
                text = f"({self.number(a)} {op.value} {self.number(b)})"
                ends = unheld_interval(self.claim.machine, expr)
                return self.clamped(text, ends, sort)
            case Apply(Op.ITE, (c, a, b), _):
                return self.either(self.formula(c), self.number(a), self.number(b))
            case _:
                raise AssertionError(f"not a number: {expr}")

    def value(self, write: Write) -> str:
        """What is stored: the value, kept within the variable's sort."""
        sort = write.variable.sort
        if self.typed and is_bool(write.value) and sort == write.value.sort:
            return self.formula(write.value)
        ends = interval(self.claim.machine, write.value)
        return self.clamped(self.number(write.value), ends, sort)

    def clamped(self, text: str, ends: tuple[int, int], sort: Sort) -> str:
        if not isinstance(sort, RangeSort | EnumSort):
            return text
        low, high = self.claim.bounds(sort)
        if ends[1] > high:
            text = self.either(f"({text} > {high})", str(high), text)
        if ends[0] < low:
            text = self.either(f"({text} < {_number(low)})", _number(low), text)
        return text

    def either(self, condition: str, yes: str, no: str) -> str:
        return f"({condition} {self.words.then} {yes} {self.words.otherwise} {no})"

    def constant(self, value: int, sort: Sort) -> str:
        if isinstance(sort, EnumSort):
            named = self.value_names.get((sort, value))
            if named is not None:
                return named
        return _number(value)

    def read(self, expr: Read) -> str:
        variable = self.claim.machine.system.variable(expr.variable)
        tests, cell = self.place(variable, expr.indices)
        if not tests:
            return cell
        default = default_value(variable.sort)
        truth = (self.words.false, self.words.true)[default == 1]
        other = truth if is_bool(expr) else self.constant(default, variable.sort)
        condition = _joined(self.words.conjunction, tests)
        return self.either(condition, cell, other)

    def place(
        self, variable: Variable, indices: tuple[Expr, ...]
    ) -> tuple[list[str], str]:
        """Tests that no index is none, and the cell: a scalar or one of an array."""
        name = self.variable_names[variable.name]
        if not variable.indices:
            return [], name
        tests: list[str] = []
        terms: list[str] = []
        known, stride = 0, 1
        for sort, index in reversed(list(zip(variable.indices, indices))):
            if isinstance(index, Const):
                known += index.value * stride
            else:
                text = self.number(index)
                tests.insert(0, f"({text} >= 0)")
                terms.insert(0, text if stride == 1 else f"({stride} * {text})")
            stride *= self.claim.machine.sizes[sort.name]
        if known or not terms:
            terms.append(str(known))
        return tests, f"{name}[{' + '.join(terms)}]"

    def assignments(self, command: Command) -> Iterator[Assignment]:
        """The writes of a command, in order."""
        for write in command.writes:
            tests, place = self.place(write.variable, write.indices)
            value = self.value(write)
            if not tests:
                yield Assignment(place, value, None, None)
                continue
            found = f" {self.words.conjunction} ".join(tests)
            position = place.partition("[")[2].removesuffix("]")
            where = self.either(f"({found})", position, _number(-1))
            yield Assignment(place, value, found, where)

    def contents(self, state: State) -> Iterator[tuple[str, int, str]]:
        """Each cell of a state, its number, and the text of that."""
        for variable in self.claim.variables:
            name = self.variable_names[variable.name]
            for index, cell in enumerate(self.claim.cells(variable)):
                place = f"{name}[{index}]" if variable.indices else name
                value = state[cell]
                text = self.constant(value, variable.sort)
                if self.typed and variable.sort == BOOL:
                    text = (self.words.false, self.words.true)[value]
                yield place, value, text

    def overlaps(self, command: Command) -> bool:
        """Whether a later value or index of the command reads what it wrote before."""
        done: list[Write] = []
        for write in command.writes:
            parts = (write.value, *write.indices)
            for read in (e for part in parts for e in walk(part)):
                if isinstance(read, Read) and any(_may_be(read, w) for w in done):
                    return True
            done.append(write)
        return False


def _may_be(read: Read, write: Write) -> bool:
    if read.variable != write.variable.name:
        return False
    pairs = zip(read.indices, write.indices)
    return not any(
        isinstance(a, Const) and isinstance(b, Const) and a.value != b.value
        for a, b in pairs
    )


def _joined(word: str, parts: Iterator[str] | list[str]) -> str:
    listed = list(parts)
    return listed[0] if len(listed) == 1 else "(" + f" {word} ".join(listed) + ")"


def _number(value: int) -> str:
    return str(value) if value >= 0 else f"(0 - {-value})"
