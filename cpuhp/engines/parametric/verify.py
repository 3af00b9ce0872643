"""The conditions that make a set of clauses a proof, each put to z3."""

from __future__ import annotations

import z3

from cpuhp.engines.clock import ask, why_unknown
from cpuhp.engines.encoding import Encoder
from cpuhp.engines.formulas import Bit, apart, conj, disj, require, solver
from cpuhp.engines.parametric.cases import (
    NOBODY,
    PRE,
    Case,
    bad_states,
    cases,
    concerned,
    hypotheses,
    is_ruled_out,
    pairs,
    pool_size,
    reserve,
    violation,
)
from cpuhp.engines.parametric.reading import Seated
from cpuhp.engines.parametric.views import View, Views, pairs_of
from cpuhp.model.invariant import Clause, Invariant
from cpuhp.model.system import Property, TransitionSystem


class Undecided(Exception):
    """z3 gave no answer, so there is no proof."""


class Verifier:
    """Checks invariants of properties; every query goes to a solver of its own."""

    def __init__(
        self,
        system: TransitionSystem,
        props: tuple[Property, ...],
        encoder: Encoder | None = None,
        deadline: float | None = None,
    ):
        self.system, self.props, self.deadline = system, props, deadline
        if encoder is None:
            encoder = Encoder(system, pool_size(system, props) + 1, closed=False)
        self.encoder = encoder

    def failures(self, invariant: Invariant) -> list[str]:
        """The conditions that fail, as sentences; none if the invariant is a proof."""
        clauses = list(invariant.clauses)
        encoder = self.encoder
        found = []
        if self.initiation(clauses) is not None:
            found.append("an initial state violates the invariant")
        known = self._hypotheses(clauses)
        steps: dict[str, list[Bit]] = {}
        single = [clause for clause in clauses if len(clause.cube) == 1]
        for case in cases(encoder):
            if is_ruled_out(case, single):
                continue
            steps.setdefault(case.action.name, []).append(self._breaks(case, clauses))
        if not self._refuted(known, disj(b for bits in steps.values() for b in bits)):
            found += [
                f"{name} breaks the invariant"
                for name, bits in steps.items()
                if not self._refuted(known, disj(bits))
            ] or ["a step breaks the invariant"]
        bad = [
            one.formula(encoder)
            for prop in self.props
            for one in bad_states(encoder, prop)
        ]
        if not self._refuted(known, disj(bad)):
            found.append("the invariant does not exclude all bad states")
        return found

    def _breaks(self, case: Case, clauses: list[Clause]) -> Bit:
        broken = disj(
            violation(self.encoder, case, clause, i, j)
            for clause in concerned(clauses, case)
            for i, j in pairs(clause, case.used)
        )
        return conj((case.enabled, broken))

    def _hypotheses(self, clauses: list[Clause]) -> Bit:
        bits = [bit for c in clauses for bit in hypotheses(self.encoder, c)]
        return conj((self.encoder.assumed(PRE), *bits))

    def initiation(self, clauses: list[Clause]) -> list[View] | None:
        """Views of an initial state that violates a clause; None if all hold."""
        encoder = self.encoder
        wrong = []
        for clause in clauses:
            i, j = (1, 2, NOBODY)[: len(clause.symbols)] + (NOBODY,) * (
                2 - len(clause.symbols)
            )
            there = encoder.exists[max(0, i, j)]
            seats = len(encoder.seats) - 1 - len(clause.symbols)
            needs = reserve(encoder.initial_needs(PRE), seats)
            wrong.append(conj((there, encoder.cube(clause, i, j, PRE), *needs)))
        goal = conj((encoder.initial(PRE), disj(wrong)))
        model = self._model(goal)
        if model is None:
            return None
        return Seated(encoder, model).views(Views(self.system))

    def _refuted(self, known: Bit, goal: Bit) -> bool:
        return goal is False or self._model(conj((known, goal))) is None

    def _model(self, goal: Bit) -> z3.ModelRef | None:
        if goal is False:
            return None
        asked = solver()
        for bit in (*self.encoder.axioms, goal):
            require(asked, bit)
        answer = ask(asked, self.deadline)
        if answer == z3.unknown:
            raise Undecided(why_unknown(asked, self.deadline))
        return asked.model() if answer == z3.sat else None


@apart()
def verify(system: TransitionSystem, prop: Property, invariant: Invariant) -> list[str]:
    """The conditions under which the invariant fails; none if it proves `prop`."""
    return Verifier(system, (prop,)).failures(invariant)


__all__ = ["Undecided", "Verifier", "pairs_of", "verify"]
