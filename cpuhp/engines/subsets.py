"""Sets of pieces that nothing is known of yet: the map of a search for minimal sets.

Each set that was found sufficient rules out all that contain it, each that was found
insufficient all that it contains (Liffiton, Previti, Malik, Marques-Silva: "Fast,
flexible MUS enumeration", Constraints 2016).
"""

from __future__ import annotations

from collections.abc import Sequence

import z3


class Unexplored:
    """The subsets of `universe` that are still open."""

    def __init__(self, universe: Sequence[str]):
        self._context = z3.Context()
        self._names = list(universe)
        self._vars = {n: z3.Bool(n, self._context) for n in self._names}
        self._solver = z3.Solver(ctx=self._context)
        self._solver.set("random_seed", 0)

    def next(self) -> frozenset[str] | None:
        """Some open subset; None if all is known."""
        if self._solver.check() != z3.sat:
            return None
        model = self._solver.model()
        return frozenset(
            name
            for name, var in self._vars.items()
            if z3.is_true(model.eval(var, model_completion=True))
        )

    def sufficient(self, found: frozenset[str]) -> None:
        """It and whatever contains it is known."""
        outside = [z3.Not(self._vars[n]) for n in self._names if n in found]
        self._solver.add(z3.Or(*outside, z3.BoolVal(False, self._context)))

    def insufficient(self, found: frozenset[str]) -> None:
        """It and whatever it contains is known."""
        more = [self._vars[n] for n in self._names if n not in found]
        self._solver.add(z3.Or(*more, z3.BoolVal(False, self._context)))
