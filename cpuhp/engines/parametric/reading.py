"""What a model of z3's says: values of cells, and the views of its CPUs."""

from __future__ import annotations

from dataclasses import dataclass

import z3

from cpuhp.engines.encoding import Encoder
from cpuhp.engines.formulas import Bit, Values
from cpuhp.engines.parametric.cases import BOOT, PRE, Case
from cpuhp.engines.parametric.views import View, Views, pairs_of


class Reader:
    """Reads the state before the step out of a model, each variable once."""

    def __init__(self, encoder: Encoder):
        self.encoder = encoder
        self._plans: dict[tuple[str, tuple[int, ...]], _Plan] = {}

    def holds(self, model: z3.ModelRef, name: z3.BoolRef) -> bool:
        """The truth of a propositional variable."""
        held = z3.Z3_model_get_const_interp(
            model.ctx.ref(), model.model, name.decl().ast
        )
        return bool(held and z3.Z3_get_bool_value(model.ctx.ref(), held) == 1)

    def views(self, model: z3.ModelRef, views: Views) -> list[View]:
        """The views of all pairs of CPUs that have a seat."""
        exists = self.encoder.exists
        aps = [s for s in self.encoder.seats[1:] if self.holds(model, exists[s])]
        known: dict[tuple[str, tuple[int, ...]], int] = {}

        def look(variable: str, where: tuple[int, ...]) -> int:
            key = (variable, where)
            if key not in known:
                known[key] = self._value(model, key)
            return known[key]

        found = (views.look(look, BOOT, i, j) for i, j in pairs_of(aps))
        return list(dict.fromkeys(found))

    def _value(self, model: z3.ModelRef, key: tuple[str, tuple[int, ...]]) -> int:
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = _plan(self.encoder.cell(PRE, *key))
        if plan.declared is None:
            return plan.domain[0]
        held = z3.Z3_model_get_const_interp(
            model.ctx.ref(), model.model, plan.declared.ast
        )
        if not held:
            return plan.domain[0]
        if plan.is_bool:
            truth = bool(z3.Z3_get_bool_value(model.ctx.ref(), held) == 1)
            return plan.domain[int(truth)]
        number = str(z3.Z3_get_numeral_string(model.ctx.ref(), held))
        return plan.domain[int(number)]


@dataclass(frozen=True)
class _Plan:
    declared: z3.FuncDeclRef | None
    domain: tuple[int, ...]
    is_bool: bool = False


def _plan(values: Values) -> _Plan:
    """How to read a cell that was made by `Encoder.cell`."""
    domain = tuple(values)
    first = values[domain[0]]
    if isinstance(first, bool):
        return _Plan(None, domain)
    if z3.is_const(first):
        return _Plan(first.decl(), (0, 1), True)
    return _Plan(first.arg(0).decl(), domain)


class Seated:
    """The state of a model, or its successor, on the seats that are taken."""

    def __init__(self, encoder: Encoder, model: z3.ModelRef, case: Case | None = None):
        self.encoder, self.model, self.case = encoder, model, case
        self.aps = [s for s in encoder.seats[1:] if self._holds(encoder.exists[s])]
        self._values: dict[tuple[str, tuple[int, ...]], int] = {}

    def _holds(self, bit: Bit) -> bool:
        if isinstance(bit, bool):
            return bit
        return bool(z3.is_true(self.model.eval(bit, model_completion=True)))

    def look(self, variable: str, where: tuple[int, ...]) -> int:
        """The value of a cell."""
        key = (variable, where)
        if key not in self._values:
            self._values[key] = self._find(self._formula(variable, where))
        return self._values[key]

    def _formula(self, variable: str, where: tuple[int, ...]) -> Values:
        if self.case and variable in self.case.written:
            return self.encoder.post(self.case.taken, PRE, variable, where)
        return self.encoder.cell(PRE, variable, where)

    def _find(self, values: Values) -> int:
        for value, bit in values.items():
            if self._holds(bit):
                return value
        raise AssertionError("a cell without a value")

    def views(self, views: Views) -> list[View]:
        """The views of all pairs of CPUs."""
        return list(
            dict.fromkeys(
                views.look(self.look, BOOT, i, j) for i, j in pairs_of(self.aps)
            )
        )
