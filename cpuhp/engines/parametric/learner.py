"""The loop: search guesses clauses, z3 decides.

The loop keeps a set of clauses that no sample contradicts. z3 looks for a state that
satisfies all clauses and is bad, or has a successor that violates a clause. A view of
that state which no sample has is forbidden by a new clause; if all its views are
samples, then so are those of its successor, and clauses that contradict them go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import z3

from cpuhp.engines.clock import ask, now, why_unknown
from cpuhp.engines.encoding import Encoder
from cpuhp.engines.formulas import (
    Bit,
    as_z3,
    conj,
    disj,
    implies,
    negate,
    proposition,
    require,
    solver,
)
from cpuhp.engines.parametric.cases import (
    PRE,
    Bad,
    Case,
    bad_states,
    cases,
    concerned,
    hypotheses,
    is_ruled_out,
    pairs,
    pool_size,
    violation,
)
from cpuhp.engines.parametric.lessons import Lessons, guesses
from cpuhp.engines.parametric.reading import Reader, Seated
from cpuhp.engines.parametric.sampling import Samples, collect_samples
from cpuhp.engines.parametric.text import view_text
from cpuhp.engines.parametric.together import ordered
from cpuhp.engines.parametric.verify import Verifier
from cpuhp.engines.parametric.views import View, contradicted, generalise, ranges
from cpuhp.model.invariant import Clause, Invariant
from cpuhp.model.system import Property, Role, TransitionSystem

_AT_ONCE = 8  # clauses learnt from one state, beside those about what a step touches
_SURPRISES = 8  # the first clause that is dropped, and then so many more, call for
_MORE = 2_000, 100  # more samples: states and walks
Progress = Callable[[str], None]


class GiveUp(Exception):
    """The proof cannot be completed; the message says why."""


class _TooCoarse(GiveUp):
    """What two CPUs see does not exclude a bad state."""


class Learner:
    """The state of the loop for properties that are proved together.

    *Hypotheses* are clauses that no sample contradicts; as many as z3's states call for
    are assumed. *Obligations* are those that a refutation needed: only they have to be
    shown to be inductive.
    """

    def __init__(
        self,
        system: TransitionSystem,
        props: tuple[Property, ...],
        deadline: float | None,
        progress: Progress | None,
        samples: Samples | None,
        lessons: Lessons = (),
        seed: int = 0,
        patience: int | None = None,
    ):
        self.system, self.props = system, props
        self.deadline, self.progress = deadline, progress
        self.patience = patience  # so many clauses may turn out wrong
        self.samples = samples or collect_samples(system)
        self.views = self.samples.views  # and what is believed beside
        self.together = self.samples.together
        self.lost: dict[Property, str] = {}  # those that were given up, and why
        self._next_samples = 1
        self.encoder = Encoder(system, pool_size(system, props) + 1, closed=False)
        self.cases = cases(self.encoder)
        self.clauses: dict[Clause, z3.BoolRef] = {}  # hypotheses and their names
        self.stats = {"queries": 0, "samples": len(self.views.known), "dropped": 0}
        self._names = 0
        self._ways_known: dict[tuple[int, Clause], list[Bit]] = {}
        self._reader = Reader(self.encoder)
        self._records: list[_Record] = []
        self.solver = solver()
        self.solver.set("random_seed", seed)
        self._axioms = 0
        require(self.solver, self.encoder.assumed(PRE))
        for clause in (*ranges(self.views), *guesses(self.views, lessons)):
            self._add(clause)

    # The solver

    def _add(self, clause: Clause) -> None:
        """A new hypothesis. Its name switches it on, so that it can be dropped again."""
        if clause in self.clauses:
            return
        name = self.clauses[clause] = self._fresh("clause")
        for bit in hypotheses(self.encoder, clause):
            if bit is not True:
                require(self.solver, implies(name, bit))

    def _fresh(self, hint: str) -> z3.BoolRef:
        self._names += 1
        return proposition(f"{hint}{self._names}")

    def _check(self, goal: z3.BoolRef) -> z3.ModelRef | None:
        """A model of the hypotheses and the goal."""
        return self._ask([goal, *self.clauses.values()])

    def _ask(self, literals: list[z3.BoolRef]) -> z3.ModelRef | None:
        for axiom in self.encoder.axioms[self._axioms :]:
            require(self.solver, axiom)
        self._axioms = len(self.encoder.axioms)
        self.stats["queries"] += 1
        answer = ask(self.solver, self.deadline, *literals)
        if answer == z3.unknown:
            raise GiveUp(why_unknown(self.solver, self.deadline))
        return self.solver.model() if answer == z3.sat else None

    def _core(self, goal: z3.BoolRef) -> dict[Clause, None]:
        """Hypotheses that refute the goal, after it was refuted with all, in order."""
        by_name = {name.get_id(): clause for clause, name in self.clauses.items()}
        size = len(by_name) + 1
        while True:
            core = [
                name for name in self.solver.unsat_core() if name.get_id() in by_name
            ]
            if len(core) >= size:
                found = {by_name[name.get_id()] for name in core}
                return {clause: None for clause in self.clauses if clause in found}
            size = len(core)
            if self._ask([goal, *core]) is not None:
                raise GiveUp("internal error: a core that refutes nothing")

    # The loop

    def run(self) -> Invariant:
        """The inductive invariant, minimised and verified anew.

        It implies the properties that are not `lost`.
        """
        todo: list[Clause] = [c for c in self.clauses if self._is_range(c)]
        for prop in self.props:
            bad = bad_states(self.encoder, prop)
            todo += self._refute([Claimed(prop, one) for one in bad])
        verifier = Verifier(self.system, self.props, self.encoder, self.deadline)
        while True:
            self._discharge(todo)
            needed = self._needed()
            wrong = verifier.initiation(needed)
            if wrong is None:
                break
            todo = self._learn_sample(*wrong)
        self.stats["clauses_found"] = len(self.clauses)
        invariant = Invariant(tuple(needed))
        proved = tuple(prop for prop in self.props if prop not in self.lost)
        fresh = Encoder(self.system, len(self.encoder.seats), closed=False)
        failed = Verifier(self.system, proved, fresh, self.deadline).failures(invariant)
        if failed:
            raise GiveUp(f"the invariant failed its verification: {failed[0]}")
        self.stats["clauses"] = len(invariant.clauses)
        self.stats["seats"] = len(self.encoder.seats) - 1
        return invariant

    def _is_range(self, clause: Clause) -> bool:
        (literal, *more) = clause.cube
        return not more and self.system.variable(literal.variable).role is Role.LOCATION

    def _needed(self) -> list[Clause]:
        needed = set[Clause]().union(*(r.core | r.proven for r in self._records))
        return [clause for clause in self.clauses if clause in needed]

    def _refute(self, claimed: list[Claimed]) -> list[Clause]:
        """Clauses that exclude these states; a property with one that stays is lost."""
        needed: list[Clause] = []
        for prop, bad in ((one.prop, one.bad) for one in claimed):
            if prop in self.lost:
                continue
            try:
                needed += self._refute_bad(prop, bad)
            except _TooCoarse as error:
                self.lost[prop] = str(error)
                self._records = [r for r in self._records if r.prop != prop]
                if len(self.lost) == len(self.props):
                    raise GiveUp(str(error)) from None
        return needed

    def _refute_bad(self, prop: Property, bad: Bad) -> list[Clause]:
        goal = self._fresh("bad")
        require(self.solver, implies(goal, bad.formula(self.encoder)))
        while (model := self._check(goal)) is not None:
            if not self._learn(model, bad.touched):
                shown = view_text(self.views, self._views_of(model)[0])
                raise _TooCoarse(f"abstraction too coarse; not excluded: {shown}")
        core = self._core(goal)
        self._records.append(_Record({}, core, Claimed(prop, bad)))
        return list(core)

    def _discharge(self, todo: list[Clause]) -> None:
        """Show that these clauses are inductive, and those that this needs."""
        while todo:
            proven = set[Clause]().union(*(r.proven for r in self._records))
            batch = [c for c in dict.fromkeys(todo) if c in self.clauses]
            batch = [c for c in batch if c not in proven]
            todo = self._step(batch) if batch else []
            if self.progress:
                self.progress(
                    f"{len(batch)} obligations, {len(self.clauses)} hypotheses, "
                    f"{self.stats['queries']} queries"
                )

    def _step(self, batch: list[Clause]) -> list[Clause]:
        """Refute that a step breaks a clause of the batch. What is to be shown next."""
        goals: list[tuple[z3.BoolRef, Case, list[tuple[Clause, Bit]]]] = []
        points = [c for c in self.clauses if self._is_range(c)]
        for number, case in enumerate(self.cases):
            if is_ruled_out(case, points):
                continue
            ways = [
                (clause, bit)
                for clause in concerned(batch, case)
                for bit in self._ways(number, case, clause)
            ]
            if ways:
                name = self._fresh("step")
                broken = disj(bit for _, bit in ways)
                require(self.solver, implies(name, conj((case.enabled, broken))))
                goals.append((name, case, ways))
        goal = self._fresh("goal")
        names = [name for name, _, _ in goals]
        require(self.solver, implies(goal, disj(names)))
        while (model := self._check(goal)) is not None:
            case, clause = self._broken(model, goals)
            touched = case.touched | {lit.variable for lit in clause.cube}
            if not self._learn(model, frozenset(touched)):
                state = Seated(self.encoder, model, case)
                return batch + self._learn_sample(*state.views(self.views))
        core = self._core(goal)
        self._records.append(_Record(dict.fromkeys(batch), core))
        require(self.solver, negate(goal))
        return list(core)

    def _broken(
        self,
        model: z3.ModelRef,
        goals: list[tuple[z3.BoolRef, Case, list[tuple[Clause, Bit]]]],
    ) -> tuple[Case, Clause]:
        for name, case, ways in goals:
            if self._reader.holds(model, name):
                for clause, bit in ways:
                    if z3.is_true(model.eval(as_z3(bit), model_completion=True)):
                        return case, clause
        raise GiveUp("internal error: a model that breaks nothing")

    def _ways(self, number: int, case: Case, clause: Clause) -> list[Bit]:
        """How the step can make true what the clause forbids, up to symmetry."""
        key = number, clause
        if key not in self._ways_known:
            self._ways_known[key] = []
            found = (
                violation(self.encoder, case, clause, i, j)
                for i, j in pairs(clause, case.used)
            )
            self._ways_known[key] = [bit for bit in found if bit is not False]
        return self._ways_known[key]

    # Learning

    def _learn(self, model: z3.ModelRef, touched: frozenset[str]) -> bool:
        """Assume clauses that the state contradicts and no sample does, if there are."""
        found = self._views_of(model)
        pairs_found = self._strange(found, touched)
        if not pairs_found:
            clause = self._general(found, touched)
            if clause is not None:
                pairs_found.append(clause)
        for clause in pairs_found:
            self._add(clause)
        return bool(pairs_found)

    def _general(self, found: list[View], touched: frozenset[str]) -> Clause | None:
        """A clause about more than two values that one of the views contradicts."""
        for view in found:
            if view in self.views.known:
                continue
            for scope in (*self.samples.scopes, None):
                clause = generalise(self.views, view, touched, scope)
                if clause is not None and clause not in self.clauses:
                    return ordered(clause)
        return None

    def _strange(self, found: list[View], touched: frozenset[str]) -> list[Clause]:
        ranked: dict[Clause, int] = {}
        layout = self.views.layout
        for view in found:
            for pair in self.together.strange(view):
                rank = sum(layout[n].variable not in touched for n in pair)
                clause = self.together.clause(view, pair)
                if clause is not None and clause not in self.clauses:
                    ranked[clause] = min(rank, ranked.get(clause, 2))
        best = min(ranked.values(), default=0)
        first = [clause for clause, rank in ranked.items() if rank == best]
        return first[: _AT_ONCE if best else None]

    def _views_of(self, model: z3.ModelRef) -> list[View]:
        return self._reader.views(model, self.views)

    def _learn_sample(self, *found: View) -> list[Clause]:
        """Believe these views; what has to be shown again without the clauses that go.

        Whoever begins anew believes them, too: each invariant over views admits a state
        of which all views are known, and so what follows upon it.
        """
        for view in found:
            if self.views.add(view):
                self.together.add(view)
        self._sample_if_surprised()
        self.views.settle()
        gone = {c for c in self.clauses if contradicted(self.views, c)}
        if not gone:
            raise GiveUp("abstraction too coarse: two CPUs do not tell enough")
        self.stats["dropped"] += len(gone)
        if self.patience is not None and self.stats["dropped"] > self.patience:
            raise GiveUp("led astray: too many guesses were wrong")
        self.clauses = {c: name for c, name in self.clauses.items() if c not in gone}
        for clause in ranges(self.views):
            self._add(clause)
        again = [c for c in self.clauses if self._is_range(c)]
        kept = []
        for record in self._records:
            if not record.core.keys() & gone:
                kept.append(record)
                continue
            again += [c for c in record.proven if c not in gone]
        bad = [r.claimed for r in self._records if r.core.keys() & gone and r.claimed]
        self._records = kept
        return again + self._refute(bad)

    def _sample_if_surprised(self) -> None:
        """Clauses that have to be dropped tell that the samples are too few."""
        if self.stats["dropped"] < self._next_samples:
            return
        self._next_samples = self.stats["dropped"] + _SURPRISES
        until = now() + 2.0
        if self.deadline is not None:
            until = min(until, self.deadline)
        for _ in self.samples.collect(*_MORE, until):
            pass


@dataclass(frozen=True)
class Claimed:
    """A way to falsify a property."""

    prop: Property
    bad: Bad


@dataclass(frozen=True)
class _Record:
    """With the clauses of `core` no step breaks those of `proven`, or no state is bad."""

    proven: dict[Clause, None]
    core: dict[Clause, None]
    claimed: Claimed | None = None

    @property
    def prop(self) -> Property | None:
        """The property whose bad states are excluded."""
        return self.claimed.prop if self.claimed else None
