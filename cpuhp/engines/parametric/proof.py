"""Safety for every number of CPUs: search guesses clauses, z3 decides.

The loop keeps a set of clauses that no sample contradicts. z3 looks for a state that
satisfies all clauses and is bad, or has a successor that violates a clause. A view of
that state which no sample has is forbidden by a new clause; if all its views are
samples, then so are those of its successor, and clauses that contradict them go.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import z3

from cpuhp.engines.encoding import Encoder
from cpuhp.engines.formulas import Bit, Values, as_z3, disj
from cpuhp.engines.parametric.cases import (
    BOOT,
    PRE,
    Bad,
    Case,
    bad_states,
    cases,
    hypotheses,
    pairs,
    pool_size,
    violation,
)
from cpuhp.engines.parametric.sampling import collect_samples
from cpuhp.engines.parametric.text import view_text
from cpuhp.engines.parametric.verify import Undecided, Verifier
from cpuhp.engines.parametric.views import (
    View,
    Views,
    contradicted,
    generalise,
    pairs_of,
    ranges,
)
from cpuhp.model.invariant import Clause, Invariant
from cpuhp.model.system import Expectation, Property, TransitionSystem
from cpuhp.model.verdict import Result, Verdict

ENGINE = "parametric"
_AT_ONCE = 3  # clauses learnt from one state
Progress = Callable[[str], None]
PROVABLE = (Expectation.ALWAYS, Expectation.FINALLY, Expectation.DEADLOCK_FREE)


@dataclass(frozen=True)
class Proof:
    """The answer and, if PROVED, the inductive invariant that implies the property."""

    result: Result
    invariant: Invariant | None = None
    stats: dict[str, int] = field(default_factory=dict)


class _GiveUp(Exception):
    """The proof cannot be completed; the message says why."""


def prove(
    system: TransitionSystem,
    prop: Property,
    *,
    deadline: float | None = None,
    progress: Progress | None = None,
    samples: Views | None = None,
) -> Proof:
    """Try to prove a property for every number of CPUs.

    `deadline` is a time of `time.monotonic()`. The verdict is PROVED, with cpus None,
    or UNKNOWN with the reason; never anything else.
    """
    start = time.monotonic()
    stats: dict[str, int] = {}
    invariant, reason = None, None
    if prop.expectation not in PROVABLE:
        reason = f"'{prop.expectation.value}' is not proved for every number of CPUs"
    else:
        try:
            learner = Learner(system, prop, deadline, progress, samples)
            invariant = learner.run()
        except (_GiveUp, Undecided) as error:
            reason = str(error)
        else:
            stats = learner.stats
    verdict = Verdict.UNKNOWN if invariant is None else Verdict.PROVED
    seconds = time.monotonic() - start
    result = Result(
        prop, verdict, reason=reason, seconds=seconds, engine=ENGINE, stats=stats
    )
    return Proof(result, invariant, stats)


class Learner:
    """The state of the loop for one property."""

    def __init__(
        self,
        system: TransitionSystem,
        prop: Property,
        deadline: float | None,
        progress: Progress | None,
        samples: Views | None,
    ):
        self.system, self.prop = system, prop
        self.deadline, self.progress = deadline, progress
        self.views = samples.copy() if samples else collect_samples(system)
        seats = pool_size(system, prop) + 1
        self.encoder = Encoder(system, seats, closed=False)
        self.cases = cases(self.encoder)
        self.bad = bad_states(self.encoder, prop)
        self.clauses: dict[Clause, z3.BoolRef] = {}
        self.pending: list[list[Clause]] = [[] for _ in self.cases]
        self._used: list[set[int]] = [set() for _ in self.cases]
        self._clause_names: list[z3.BoolRef] = []
        self.stats = {"queries": 0, "samples": len(self.views.known), "dropped": 0}
        self._names = 0
        self._violations: dict[tuple[int, Clause], list[Bit]] = {}
        self._start()
        for clause in ranges(self.views):
            self._add(clause)

    # The solver

    def _start(self) -> None:
        self.solver = z3.SolverFor("QF_FD")
        self._axioms = 0
        self._enabled = [z3.Bool(f"step{n}") for n in range(len(self.cases))]
        for name, case in zip(self._enabled, self.cases):
            self.solver.add(z3.Implies(name, as_z3(case.enabled)))
        self.solver.add(as_z3(self.encoder.assumed(PRE)))

    def _add(self, clause: Clause) -> None:
        """A new clause. Its name switches it on, so that it can be dropped again."""
        name = z3.Bool(f"clause{len(self._clause_names)}")
        self._clause_names.append(name)
        self.clauses[clause] = name
        for bit in hypotheses(self.encoder, clause):
            if bit is not True:
                self.solver.add(z3.Implies(name, as_z3(bit)))
        for waiting in self.pending:
            waiting.append(clause)

    def _drop(self, clauses: list[Clause]) -> None:
        """Forget clauses; what was settled with their help is open again."""
        gone = {self.clauses.pop(clause).get_id() for clause in clauses}
        for number, used in enumerate(self._used):
            if used & gone:
                self.pending[number] = list(self.clauses)
                self._used[number] = set()
            else:
                dropped = set(clauses)
                waiting = self.pending[number]
                self.pending[number] = [c for c in waiting if c not in dropped]

    def _check(self, *assumed: Bit) -> z3.ModelRef | None:
        """A model of the clauses and what is assumed."""
        left = None if self.deadline is None else self.deadline - time.monotonic()
        if left is not None and left <= 0:
            raise _GiveUp("time limit reached")
        literals = [self._named(bit) for bit in assumed]
        literals += self.clauses.values()
        for axiom in self.encoder.axioms[self._axioms :]:
            self.solver.add(axiom)
        self._axioms = len(self.encoder.axioms)
        if left is not None:
            self.solver.set("timeout", max(1, int(left * 1000)))
        self.stats["queries"] += 1
        answer = self.solver.check(*literals)
        if answer == z3.unknown:
            raise _GiveUp(f"z3 gave up: {self.solver.reason_unknown()}")
        return self.solver.model() if answer == z3.sat else None

    def _named(self, bit: Bit) -> z3.BoolRef:
        if not isinstance(bit, bool) and z3.is_const(bit):
            return bit
        self._names += 1
        name = z3.Bool(f"query{self._names}")
        self.solver.add(z3.Implies(name, as_z3(bit)))
        return name

    # The loop

    def run(self) -> Invariant:
        """The inductive invariant, minimised and verified anew."""
        verifier: Verifier | None = None
        while True:
            self._close()
            verifier = verifier or Verifier(self.system, self.prop, self.encoder)
            wrong = verifier.initiation(list(self.clauses))
            if wrong is None:
                break
            self._learn_sample(*wrong)
        self.stats["clauses_found"] = len(self.clauses)
        verifier.deadline = self.deadline
        invariant = verifier.minimised(list(self.clauses), self.cases, self.bad)
        failed = Verifier(self.system, self.prop, deadline=self.deadline).failures(
            invariant
        )
        if failed:
            raise _GiveUp(f"the invariant failed its verification: {failed[0]}")
        self.stats["clauses"] = len(invariant.clauses)
        self.stats["seats"] = len(self.encoder.seats) - 1
        return invariant

    def _close(self) -> None:
        """Learn until the clauses are inductive and exclude all bad states."""
        bad_bits = [(bad, bad.formula(self.encoder)) for bad in self.bad]
        while True:
            for bad, bit in bad_bits:
                while (model := self._check(bit)) is not None:
                    self._exclude_bad(model, bad)
            if not self._advance():
                return

    def _advance(self) -> bool:
        """Look at the waiting clauses of all cases once. Was anything learnt?"""
        learnt = False
        for number, case in enumerate(self.cases):
            while self.pending[number]:
                if not self._settle(number, case):
                    self.pending[number] = []
                    break
                learnt = True
        if self.progress:
            self.progress(
                f"{len(self.clauses)} clauses, {self.stats['queries']} queries"
            )
        return learnt

    def _settle(self, number: int, case: Case) -> bool:
        """Refute that the step violates a waiting clause, or learn why it does."""
        ways = [
            (clause, bit)
            for clause in self.pending[number]
            for bit in self._ways(number, case, clause)
        ]
        if not ways:
            return False
        goal = disj(bit for _, bit in ways)
        model = self._check(self._enabled[number], goal)
        if model is None:
            self._used[number] |= {name.get_id() for name in self.solver.unsat_core()}
            return False
        touched = set(case.touched)
        for clause, bit in ways:
            if z3.is_true(model.eval(as_z3(bit), model_completion=True)):
                touched |= {literal.variable for literal in clause.cube}
                break
        if not self._block(model, frozenset(touched)):
            self._learn_successor(model, case)
        return True

    def _ways(self, number: int, case: Case, clause: Clause) -> list[Bit]:
        """How the step can make true what the clause forbids, up to symmetry."""
        key = number, clause
        if key not in self._violations:
            self._violations[key] = []
            if any(literal.variable in case.written for literal in clause.cube):
                found = (
                    violation(self.encoder, case, clause, i, j)
                    for i, j in pairs(clause, case.used)
                )
                self._violations[key] = [bit for bit in found if bit is not False]
        return self._violations[key]

    def _block(self, model: z3.ModelRef, touched: frozenset[str]) -> bool:
        """Forbid a view of the state that no sample has, if there is one."""
        state = _State(self.encoder, model)
        found = []
        for view in state.views(self.views):
            if view not in self.views.known:
                clause = generalise(self.views, view, touched)
                if clause is not None and clause not in self.clauses:
                    found.append(clause)
        if not found:
            return False
        found.sort(key=lambda c: (len(c.symbols), len(c.cube)))
        for clause in list(dict.fromkeys(found))[:_AT_ONCE]:
            self._add(clause)
        return True

    def _exclude_bad(self, model: z3.ModelRef, bad: Bad) -> None:
        if not self._block(model, bad.touched):
            state = _State(self.encoder, model)
            shown = view_text(self.views, next(iter(state.views(self.views))))
            raise _GiveUp(f"abstraction too coarse; not excluded: {shown}")

    def _learn_successor(self, model: z3.ModelRef, case: Case) -> None:
        state = _State(self.encoder, model, case)
        self._learn_sample(*state.views(self.views))

    def _learn_sample(self, *found: View) -> None:
        for view in found:
            self.views.add(view)
        wrong = [c for c in self.clauses if contradicted(self.views, c)]
        if not wrong:
            raise _GiveUp("abstraction too coarse: two CPUs do not tell enough")
        self._drop(wrong)
        self.views.settle()
        self.stats["dropped"] += len(wrong)


class _State:
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
        raise _GiveUp("internal error: a cell without a value")

    def views(self, views: Views) -> list[View]:
        """The views of all pairs of CPUs."""
        return list(
            dict.fromkeys(
                views.look(self.look, BOOT, i, j) for i, j in pairs_of(self.aps)
            )
        )
