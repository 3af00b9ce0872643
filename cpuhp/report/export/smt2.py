"""SMT-LIB 2, for any solver: is there a run of up to so many steps to a bad state?

The transition relation is a function of two states, written once and used for each
step. `sat` means that the invariant fails; `unsat` proves nothing beyond the depth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from cpuhp.model.expr import Apply, Const, Expr, Op, Read
from cpuhp.model.sorts import BOOL, EnumSort, RangeSort, Sort
from cpuhp.model.system import Variable
from cpuhp.report.export.common import dictionary, heading, titles, variable_names
from cpuhp.report.export.ground import (
    Command,
    Grounded,
    Write,
    interval,
    is_bool,
    unheld_interval,
)
from cpuhp.semantics import default_value

NAME = "smt2"
SUFFIX = ".smt2"
DEPTH = 20
USAGE = ("z3 FILE        (or: cvc5 --incremental FILE)",)
_OPERATORS = {
    Op.NOT: "not",
    Op.AND: "and",
    Op.OR: "or",
    Op.EQ: "=",
    Op.LT: "<",
    Op.BEFORE: "<",
    Op.LE: "<=",
    Op.ADD: "+",
    Op.SUB: "-",
    Op.ITE: "ite",
}


def export(claim: Grounded, depth: int = DEPTH) -> str:
    """The claim as one satisfiability question about runs of up to `depth` steps."""
    return "\n".join(_Script(claim, depth).lines()) + "\n"


@dataclass(frozen=True, eq=False)
class _Script:
    claim: Grounded
    depth: int

    @cached_property
    def cells(self) -> dict[int, tuple[str, Variable]]:
        """Position in a state to the name and the variable of the cell."""
        found = {}
        names = variable_names(self.claim)
        for variable in self.claim.variables:
            name = names[variable.name]
            for number, cell in enumerate(self.claim.cells(variable)):
                label = f"{name}.{number}" if variable.indices else name
                found[cell] = (label, variable)
        return found

    def lines(self) -> Iterator[str]:
        yield from (f"; {line}" for line in heading(self.claim))
        yield f"; sat: a run of up to {self.depth} steps violates the invariant"
        yield "; unsat: none that short does, which is no proof"
        yield from (f";   {line}" for line in USAGE)
        yield from (f"; {line}" for line in dictionary(self.claim))
        yield "(set-logic QF_LIA)"
        here = self.parameters("")
        yield f"(define-fun start ({here}) Bool {self.start()})"
        invariant = self.text(self.claim.invariant)
        yield f"(define-fun invariant ({here}) Bool {invariant})"
        both = f"{here} {self.parameters('+')}"
        names = []
        for number, (title, command) in enumerate(titles(self.claim)):
            yield f"; {title}"
            names.append(f"step{number}")
            yield f"(define-fun {names[-1]} ({both}) Bool {self.command(command)})"
        every = " ".join(
            [self.cells[c][0] + end for end in ("", "+") for c in self.cells]
        )
        some = _any([_call(name, every) for name in names])
        yield f"(define-fun step ({both}) Bool {some})"
        yield from self.run()

    def run(self) -> Iterator[str]:
        """One frame of cells a step; the run may end before the depth is reached."""
        for number in range(self.depth + 1):
            for cell in self.cells:
                name = f"{self.cells[cell][0]}@{number}"
                yield f"(declare-const {name} {self.sort(cell)})"
            now = self.frame(number)
            yield f"(define-fun bad{number} () Bool (not {_call('invariant', now)}))"
            if number == 0:
                yield f"(assert {_call('start', now)})"
                continue
            earlier = [f"bad{n}" for n in range(number)]
            step = _call("step", f"{self.frame(number - 1)} {now}".strip())
            # Once it is bad, the rest of the run does not matter.
            yield f"(assert {_any([*earlier, step])})"
        yield f"(assert {_any([f'bad{n}' for n in range(self.depth + 1)])})"
        yield "(check-sat)"

    def parameters(self, end: str) -> str:
        return " ".join(f"({self.cells[c][0]}{end} {self.sort(c)})" for c in self.cells)

    def frame(self, number: int) -> str:
        return " ".join(f"{name}@{number}" for name, _ in self.cells.values())

    def sort(self, cell: int) -> str:
        return "Bool" if self.cells[cell][1].sort == BOOL else "Int"

    def start(self) -> str:
        states = []
        for state in self.claim.starts:
            parts = [
                f"(= {name} {_value(state[cell], variable.sort)})"
                for cell, (name, variable) in self.cells.items()
            ]
            states.append(_all(parts))
        return _any(states)

    def command(self, command: Command) -> str:
        after = []
        for cell, (name, variable) in self.cells.items():
            value = name
            for write in command.writes:
                if write.variable == variable:
                    value = self.written(write, cell, value)
            after.append(f"(= {name}+ {value})")
        return _all([self.text(command.guard), *after])

    def written(self, write: Write, cell: int, before: str) -> str:
        """The value of the cell after the write, being `before` it if it is another."""
        _, where = self.claim.machine.cells[cell]
        tests = []
        for index, element in zip(write.indices, where):
            if not isinstance(index, Const):
                tests.append(f"(= {self.text(index)} {element})")
            elif index.value != element:
                return before
        value = self.stored(write)
        return f"(ite {_all(tests)} {value} {before})" if tests else value

    def stored(self, write: Write) -> str:
        ends = interval(self.claim.machine, write.value)
        return self.clamped(self.text(write.value), ends, write.variable.sort)

    def text(self, expr: Expr) -> str:
        match expr:
            case Const(value, sort):
                return _value(value, sort)
            case Read():
                return self.read(expr)
            case Apply(Op.ADD | Op.SUB as op, (a, b), sort):
                text = f"({op.value} {self.number(a)} {self.number(b)})"
                ends = unheld_interval(self.claim.machine, expr)
                return self.clamped(text, ends, sort)
            case Apply(Op.LT | Op.LE | Op.BEFORE as op, args, _):
                return _call(_OPERATORS[op], " ".join(map(self.number, args)))
            case Apply(op, args, _):
                return _call(_OPERATORS[op], " ".join(map(self.text, args)))
            case _:
                raise AssertionError(f"not grounded: {expr}")

    def number(self, expr: Expr) -> str:
        text = self.text(expr)
        return f"(ite {text} 1 0)" if is_bool(expr) else text

    def read(self, expr: Read) -> str:
        """The cell; with computed indices, the cell for each value that they may have."""
        machine = self.claim.machine
        variable = machine.system.variable(expr.variable)
        known = [[i.value] if isinstance(i, Const) else machine.elements(sort)
                 for i, sort in zip(expr.indices, variable.indices)]  # fmt: skip
        value = _value(default_value(variable.sort), variable.sort)
        for where in product(*known):
            cell = machine.cell(variable.name, where)
            assert cell is not None
            tests = [
                f"(= {self.text(index)} {element})"
                for index, element in zip(expr.indices, where)
                if not isinstance(index, Const)
            ]
            name = self.cells[cell][0]
            value = f"(ite {_all(tests)} {name} {value})" if tests else name
        return value

    def clamped(self, text: str, ends: tuple[int, int], sort: Sort) -> str:
        if not isinstance(sort, RangeSort | EnumSort):
            return text
        low, high = self.claim.bounds(sort)
        if ends[1] > high:
            text = f"(ite (> {text} {_int(high)}) {_int(high)} {text})"
        if ends[0] < low:
            text = f"(ite (< {text} {_int(low)}) {_int(low)} {text})"
        return text


def _value(value: int, sort: Sort) -> str:
    if sort == BOOL:
        return "true" if value else "false"
    return _int(value)


def _int(value: int) -> str:
    return str(value) if value >= 0 else f"(- {-value})"


def _call(name: str, arguments: str) -> str:
    return f"({name} {arguments})" if arguments else name


def _all(parts: list[str]) -> str:
    return _joined("and", parts, "true")


def _any(parts: list[str]) -> str:
    return _joined("or", parts, "false")


def _joined(word: str, parts: list[str], empty: str) -> str:
    if len(parts) < 2:
        return parts[0] if parts else empty
    return f"({word} {' '.join(parts)})"
