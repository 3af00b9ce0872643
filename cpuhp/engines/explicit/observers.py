"""What a claim looks at: which steps can make a wrong state right again.

The formula that a search looks for is taken apart into alternatives, one for each CPU
that it may be about. A step is harmless to an alternative if it writes nothing of it, or
only what makes its parts true; or if nobody else writes anything of it from now on, so
that it has held before the step if it would hold just then without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cpuhp.engines.explicit.futures import Possible
from cpuhp.engines.explicit.glance import Bits, Env, Glance
from cpuhp.model.expr import Apply, Const, Expr, Op, Quantified, Quantifier, Read, not_
from cpuhp.model.sorts import BoolSort
from cpuhp.model.system import Expectation, Property
from cpuhp.semantics import Machine

_OPENED = {Quantifier.EXISTS: True, Quantifier.FORALL: False}
_JOINED = {Op.OR: True, Op.AND: False}


@dataclass(frozen=True, slots=True)
class _Literal:
    """It is to be true that these cells, or one of them, have the value, or that not.

    With `value` None it may be about anything that the cells have.
    """

    cells: Bits
    value: int | None
    positive: bool

    def survives(self, step: Possible) -> bool:
        """If it is true before the step, is it so afterwards?"""
        for cells, value, _ in step.sets:
            if cells & self.cells:
                if value is None or self.value is None:
                    return False
                if (value == self.value) != self.positive:
                    return False
        return True


@dataclass(frozen=True, slots=True)
class _Alternative:
    cells: Bits
    literals: tuple[_Literal, ...]

    def survives(self, step: Possible, others: Bits) -> bool:
        """Does it stay true if the step comes before what the others do?"""
        if not step.writes & self.cells or not others & self.cells:
            return True
        return all(literal.survives(step) for literal in self.literals)


class Observers:
    """What the claims of one search (`always` and `sometimes` among them) look at."""

    def __init__(self, machine: Machine, props: Iterable[Property]):
        self._machine = machine
        self._glance = Glance(machine, skips=False)
        self._alternatives = [
            _Alternative(self._cells(part, env), tuple(self._literals(part, env, side)))
            for prop in props
            for wanted in _wanted(prop)
            for part, env, side in self._split(wanted, {}, True)
        ]
        self._cells_seen = 0
        for alternative in self._alternatives:
            self._cells_seen |= alternative.cells

    def mind(self, steps: Iterable[Possible], others: Bits) -> bool:
        """May it be noticed that one of the steps is taken before what others do?

        `others` are the cells that anybody else may write as long as nobody takes them.
        """
        return any(
            not alternative.survives(step, others)
            for step in steps
            if step.writes & self._cells_seen
            for alternative in self._alternatives
        )

    def _cells(self, expr: Expr, env: Env) -> Bits:
        return self._glance.at(expr, env, {})[1]

    def _split(
        self, expr: Expr, env: Env, positive: bool
    ) -> Iterator[tuple[Expr, Env, bool]]:
        """Parts one of which holds if the whole does; each with its sign."""
        match expr:
            case Apply(Op.NOT, (inner,), _):
                yield from self._split(inner, env, not positive)
            case Apply(op, args, _) if _JOINED.get(op) is positive:
                for arg in args:
                    yield from self._split(arg, env, positive)
            case Quantified(kind, param, body) if _OPENED.get(kind) is positive:
                for element in self._machine.elements(param.sort):
                    yield from self._split(body, {**env, param: element}, positive)
            case _:
                yield expr, env, positive

    def _literals(self, expr: Expr, env: Env, positive: bool) -> Iterator[_Literal]:
        match expr:
            case Apply(Op.NOT, (inner,), _):
                yield from self._literals(inner, env, not positive)
            case Apply(Op.AND | Op.OR, args, _):
                for arg in args:
                    yield from self._literals(arg, env, positive)
            case Quantified(kind, param, body) if kind is not Quantifier.COUNT:
                for element in self._machine.elements(param.sort):
                    yield from self._literals(body, {**env, param: element}, positive)
            case _:
                yield self._literal(expr, env, positive)

    def _literal(self, expr: Expr, env: Env, positive: bool) -> _Literal:
        match expr:
            case Read(variable, indices, BoolSort()):
                value = 1
            case Apply(Op.EQ, (Read(variable, indices, _), Const(value, _)), _):
                pass
            case _:
                return _Literal(self._cells(expr, env), None, positive)
        cells, alone, seen = self._glance.cells(variable, indices, env, {})
        if alone and not seen:
            return _Literal(cells, value, positive)
        return _Literal(self._cells(expr, env), None, positive)


def _wanted(prop: Property) -> Iterator[Expr]:
    """What is looked for in each state."""
    if prop.expectation is Expectation.ALWAYS:
        yield not_(prop.formula)
    elif prop.expectation is Expectation.SOMETIMES:
        yield prop.formula
