"""The cheapest choice that keeps all that is known: a hitting set, found by z3's optimiser.

What may be chosen are named decisions. Each costs something, clauses say what must not
all be left undone, and a clause is learned each time a choice turned out to be bad
(implicit hitting sets: Saikko, Berg, Jarvisalo, SAT 2016).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import z3

Literal = tuple[str, bool]  # a decision, and whether it is taken
Terms = Sequence[Sequence[Literal]]  # one of these conjunctions


class Cheapest:
    """Choices among `names`. `costs` are integers, for taking a decision."""

    def __init__(self, names: Sequence[str], costs: Mapping[str, int]):
        self._context = z3.Context()
        self._vars = {n: z3.Bool(n, self._context) for n in names}
        self._costs = costs
        self._rules: list[z3.BoolRef] = []

    def require(self, terms: Terms) -> None:
        """One of the conjunctions holds. None at all is a contradiction."""
        parts = [z3.And(*map(self._literal, t), self._true()) for t in terms]
        self._rules.append(z3.Or(*parts, z3.Not(self._true())))

    def choose(
        self, at_most: tuple[Iterable[str], int], given: Iterable[Literal] = ()
    ) -> frozenset[str] | None:
        """The cheapest choice, with at most so many of some decisions; None if none is.

        The same choice each time: of equally cheap ones z3's, whose seed is fixed.
        """
        optimiser = z3.Optimize(ctx=self._context)
        for rule in self._rules:
            optimiser.add(rule)
        counted, most = at_most
        few = [(self._vars[n], 1) for n in counted]
        if few:
            optimiser.add(z3.PbLe(few, most))
        for literal in given:
            optimiser.add(self._literal(literal))
        for name, cost in self._costs.items():
            optimiser.add_soft(z3.Not(self._vars[name]), str(cost))
        if optimiser.check() != z3.sat:
            return None
        model = optimiser.model()
        return frozenset(
            name
            for name, var in self._vars.items()
            if z3.is_true(model.eval(var, model_completion=True))
        )

    def _literal(self, literal: Literal) -> z3.BoolRef:
        name, taken = literal
        return self._vars[name] if taken else z3.Not(self._vars[name])

    def _true(self) -> z3.BoolRef:
        return z3.BoolVal(True, self._context)
