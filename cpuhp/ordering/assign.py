"""The phases that take least time and keep every check: found lazily, proved one by one.

z3's optimiser proposes the cheapest assignment that nothing known speaks against. Each
claim is searched for violations; a violation is made as general as it can be (what else
may be taken in turn, and where else may CPUs meet, so that it still happens?), and what
it says then is one more clause for the optimiser. A claim looks at few rows of the table:
what stands between them is one region, and its clause speaks of regions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from cpuhp.diagnostics import fail
from cpuhp.engines.cheapest import Cheapest, Literal
from cpuhp.model.system import Expectation
from cpuhp.ordering.elements import remedies
from cpuhp.ordering.phases import Assignment, Rows, rows_of, scheduled
from cpuhp.ordering.proofs import proved
from cpuhp.ordering.questions import ENDLESS, Finding, Outcome, Question, questions
from cpuhp.ordering.variant import Variant
from cpuhp.ordering.why import options_seen
from cpuhp.ordering.workers import Judges, TimeIsUp

OWN = "own stop_machine"
ENTERED = "gate_opens_for_marked_steps_only"  # has a claim that the phases are reached
MEET, RENDEZVOUS, SLIGHT = 1000, 2000, 100  # ns: what breaks ties between equal times
ROUNDS = 200
PROOF = 60.0  # seconds for the proof of a claim of what is shown

Clock = Callable[[Variant], float]


@dataclass(frozen=True)
class View:
    """An assignment as a claim sees it: the rows that it looks at, and what is between.

    `serial` has one entry for each row of `online`; `cuts` one for what follows each:
    whether CPUs meet there. `inner` are the rows of the stop after which they meet.
    """

    online: tuple[int, ...]
    serial: tuple[bool, ...]
    cuts: tuple[bool, ...]
    own: bool
    inner: frozenset[int]
    fixes: frozenset[str]


@dataclass(frozen=True)
class Lesson:
    """A claim fails unless one of `ways` is gone: each a conjunction of decisions.

    `told` says the same for people. `view` is the strictest assignment that fails.
    """

    question: Question
    finding: Finding
    view: View
    ways: tuple[tuple[Literal, ...], ...]
    told: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """The best assignment with so many fixes.

    `safe`: a search found nothing against any check. `every`: checks that are proved for
    every number of CPUs; `bounded`: those that hold as far as was searched. `because`:
    for each phase that is taken in turn, the lessons that ask for it.
    """

    assignment: Assignment
    variant: Variant
    seconds: float
    safe: bool
    because: tuple[tuple[Lesson, ...], ...]
    every: tuple[str, ...] = ()
    bounded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Assigned:
    """All that is known of the phases of a scenario.

    `serial` and `together`: seconds as the kernel does it, and with all CPUs at once.
    `steps[k]`: the best with k fixes. `worth`: for each fix what it takes without it,
    if all others are there.
    """

    scenario: str
    bound: str
    rows: Rows
    checks: int
    serial: float
    together: float
    failing: tuple[str, ...] | None  # with all CPUs at once and no fix; None: not known
    steps: tuple[Step, ...]
    fixes: tuple[str, ...]
    worth: Mapping[str, float]
    lessons: tuple[Lesson, ...]
    modelled: frozenset[int]
    candidates: int
    asked: int
    runs: int
    stopped: bool = False  # the time was up before all was known


def assign(
    base: Variant, judges: Judges, clock: Clock, costs: Mapping[int, float], cpus: int
) -> Assigned:
    """Look for the best assignment with no fix, with one, and so on.

    `costs`: seconds of each row. Raises InputError HP530 if the scenario has no phases,
    or never comes to them, TimeIsUp if nothing is known by then.
    """
    return _Search(base, judges, clock, costs, cpus).result()


@dataclass
class _Search:
    base: Variant
    judges: Judges
    clock: Clock
    costs: Mapping[int, float]
    cpus: int
    known: dict[tuple[Question, View], Finding] = field(default_factory=dict)
    lessons: list[Lesson] = field(default_factory=list)
    candidates: int = 0

    def __post_init__(self) -> None:
        self.rows = rows_of(self.base)
        self.numbers = [row.number for row in self.rows.online]
        self.inner = [r.number for r in (self.rows.stop, *self.rows.dying)]
        serial = self.variant(self.rows.one_by_one())
        top = self.variant(self.rows.together())
        self._demand_phases(top)
        there = dict.fromkeys(questions(top.checker(), sometimes=False))
        every = questions(serial.checker(), sometimes=False)
        claims = [q for q in every if q.kind not in ENDLESS and q in there]
        # What is shared with all at once may be nobody else's where one comes after
        # the other: then there are no races to ask for.
        claims += [q for q in there if q.variable is not None and q not in claims]
        found = self.judges.findings([(serial, q) for q in claims])
        self.wanted = [q for q, f in zip(claims, found) if f.outcome is Outcome.HOLDS]
        self.claims = frozenset(claims)
        self.seen = self._seen(top)
        self.fixes: tuple[str, ...] = ()
        self.failing: list[Question] | None = None
        self.steps: list[Step] = []
        self.worth: dict[str, float] = {}

    def _demand_phases(self, top: Variant) -> None:
        """Raises InputError HP530 if no run comes to what is written anew."""
        asked = [
            (top, q)
            for q in questions(top.checker())
            if q.check == ENTERED and q.kind is Expectation.SOMETIMES
        ]
        for found in self.judges.findings(asked):
            if found.outcome is Outcome.UNREACHED:
                raise fail(
                    "HP530",
                    f"{self.base.scenario.shown_name} never comes to its phases: no run "
                    "reaches smp_shutdown_quick_path()",
                    help="call smp_shutdown_nonboot_cpus(), and turn on what its gate "
                    "asks for: -D patch2=true -D patch3=true",
                )

    def _seen(self, top: Variant) -> dict[Question, frozenset[int]]:
        """The rows whose callbacks each claim looks at."""
        numbers = {c.callback.name: c.state.number for c in top.program().callbacks}
        sights = self.judges.sights(top, self.wanted, whole=False)
        return {
            q: frozenset(numbers[name] for name in sight.callbacks)
            for q, sight in zip(self.wanted, sights)
        }

    def variant(self, chosen: Assignment) -> Variant:
        return scheduled(self.base, self.rows, chosen)

    def _solve(self) -> None:
        """Find out all, in the order in which it is worth to be known."""
        top = self.rows.together()
        self.failing = [q for q, f in self.outcomes(top) if f.outcome is Outcome.FAILS]
        self.fixes = tuple(self._mending(top, self.failing))
        self.solver = Cheapest(self._names(), self._prices())
        for clause in self._structure():
            self.solver.require(clause)
        for count in range(len(self.fixes) + 1):
            step = self.best(count)
            if step is None:
                break
            if not self.steps or step.seconds < self.steps[-1].seconds:
                self.steps.append(step)
        for name in self.fixes:
            without = self.best(len(self.fixes), [(f"fix {name}", False)])
            if without is not None:
                self.worth[name] = without.seconds

    def result(self) -> Assigned:
        stopped = False
        try:
            self._solve()
        except TimeIsUp:
            stopped = True
        top = self.rows.together()
        return Assigned(
            self.base.scenario.shown_name,
            str(self.judges.bound),
            self.rows,
            len({q.check for q in self.wanted}),
            self.clock(self.variant(self.rows.one_by_one())),
            self.clock(self.variant(top)),
            None
            if self.failing is None
            else tuple(dict.fromkeys(q.check for q in self.failing)),
            tuple(self.proven(step) if step.safe else step for step in self.steps),
            self.fixes,
            self.worth,
            tuple(self.lessons),
            frozenset(c.state.number for c in self.base.program().callbacks
                      if c.callback.direction == "teardown"),
            self.candidates,
            self.judges.asked,
            self.judges.runs,
            stopped,
        )  # fmt: skip

    def _mending(self, top: Assignment, failing: Sequence[Question]) -> Iterator[str]:
        """Options that are off and with which a claim holds that fails when all overlap."""
        variant = self.variant(top)
        seen = options_seen(variant, self.judges, failing)
        for piece in remedies(variant, variant.program()):
            asked = [(piece.without, q) for q in failing if piece.name in seen[q]]
            found = self.judges.findings(asked)
            if any(f.outcome is Outcome.HOLDS for f in found):
                yield piece.name

    # -- decisions -----------------------------------------------------------------

    def _names(self) -> list[str]:
        rows = [f"turn {n}" for n in self.numbers]
        meets = [f"meet {n}" for n in (*self.numbers, *self.inner[:-1])]
        return [*rows, *meets, OWN, *(f"fix {name}" for name in self.fixes)]

    def _prices(self) -> dict[str, int]:
        others = max(1, self.cpus - 2)
        prices = {
            f"turn {n}": round(self.costs.get(n, 0.0) * 1e9) * others + SLIGHT
            for n in self.numbers
        }
        prices |= {f"meet {n}": MEET for n in (*self.numbers, *self.inner[:-1])}
        prices[OWN] = RENDEZVOUS * others
        return prices | {f"fix {name}": 1 for name in self.fixes}

    def _structure(self) -> Iterator[list[list[Literal]]]:
        for one, two in pairwise(self.numbers):
            yield [
                [(f"meet {one}", True)],
                [(f"turn {one}", True), (f"turn {two}", True)],
                [(f"turn {one}", False), (f"turn {two}", False)],
            ]
        last = self.numbers[-1]
        yield [[(f"meet {last}", True)], [(OWN, True), (f"turn {last}", True)]]
        for number in self.inner[:-1]:
            yield [[(OWN, False)], [(f"meet {number}", False)]]

    def _assignment(self, taken: frozenset[str]) -> Assignment:
        def numbers(kind: str) -> frozenset[int]:
            return frozenset(
                int(name.split()[1]) for name in taken if name.startswith(kind)
            )

        fixes = frozenset(f for f in self.fixes if f"fix {f}" in taken)
        return Assignment(numbers("turn "), numbers("meet "), OWN in taken, fixes)

    # -- answers -------------------------------------------------------------------

    def view(self, chosen: Assignment, question: Question) -> View:
        seen = self.seen[question]
        online = tuple(n for n in self.numbers if n in seen)
        cuts = []
        for one, two in pairwise((*online, None)):
            assert one is not None
            between = [n for n in self.numbers if n <= one and (two is None or n > two)]
            cuts.append(any(n in chosen.barriers for n in between))
        inner = self._inner(seen, chosen.barriers)
        serial = tuple(n in chosen.serial for n in online)
        return View(online, serial, tuple(cuts), chosen.own, inner, chosen.fixes)

    def _points(self, seen: frozenset[int]) -> list[int]:
        """The rows of the stop that a claim looks at, the stop itself first."""
        return [n for n in self.inner if n in seen or n == self.inner[0]]

    def _inner(self, seen: frozenset[int], barriers: frozenset[int]) -> frozenset[int]:
        points = self._points(seen)
        found = set()
        for one, two in pairwise(points):
            if any(two < n <= one for n in barriers):
                found.add(one)
        return frozenset(found)

    def concrete(self, view: View) -> Assignment:
        """An assignment that looks like this to the claim."""
        serial: set[int] = set()
        barriers = set(view.inner)
        mode = view.serial[0] if view.serial else False
        upper = dict(zip(view.online, zip(view.serial, view.cuts)))
        lower = set(view.online[1:])
        pending = False
        for at, number in enumerate(self.numbers):
            if number in lower and pending:
                barriers.add(self.numbers[at - 1])
                pending = False
            if number in upper:
                mode, cut = upper[number]
                pending = cut
            if mode:
                serial.add(number)
        if pending or not (view.own and mode):
            barriers.add(self.numbers[-1])
        return Assignment(frozenset(serial), frozenset(barriers), view.own, view.fixes)

    def ask(self, question: Question, view: View) -> Finding:
        key = (question, view)
        if key not in self.known:
            variant = self.variant(self.concrete(view))
            (self.known[key],) = self.judges.findings([(variant, question)])
        return self.known[key]

    def outcomes(self, chosen: Assignment) -> list[tuple[Question, Finding]]:
        views = {q: self.view(chosen, q) for q in self.wanted}
        missing = [q for q in self.wanted if (q, views[q]) not in self.known]
        asked = [(self.variant(self.concrete(views[q])), q) for q in missing]
        for question, found in zip(missing, self.judges.findings(asked)):
            self.known[question, views[question]] = found
        return [(q, self.known[q, views[q]]) for q in self.wanted]

    # -- the loop ------------------------------------------------------------------

    def best(self, fixes: int, given: Iterable[Literal] = ()) -> Step | None:
        counted = [f"fix {name}" for name in self.fixes]
        given = list(given)
        for _ in range(ROUNDS):
            taken = self.solver.choose((counted, fixes), given)
            if taken is None:
                return None
            chosen = self._assignment(taken)
            self.candidates += 1
            found = self.outcomes(chosen)
            bad = [(q, f) for q, f in found if f.outcome is not Outcome.HOLDS]
            if not bad:
                return self._step(chosen)
            for question, finding in bad:
                self.learn(question, finding, self.view(chosen, question))
        return None

    def _step(self, chosen: Assignment) -> Step:
        """Searched as a whole: each claim of the very scenario that is shown."""
        variant = self.variant(chosen)
        there = questions(variant.checker(), sometimes=False)
        races = [q for q in there if q.variable is not None and q not in self.claims]
        found = self.judges.findings([(variant, q) for q in (*self.wanted, *races)])
        safe = all(f.outcome is Outcome.HOLDS for f in found)
        because = tuple(
            tuple(self._because(chosen, {row.number for row in phase.rows}))
            for phase in self.rows.phases(chosen)
            if phase.serial
        )
        return Step(chosen, variant, self.clock(variant), safe, because)

    def proven(self, step: Step) -> Step:
        """The same, with what is proved of it beyond the bound of the search."""
        bound = self.judges.bound
        wanted = [] if self.judges.time_is_up else self.wanted
        good = proved(
            step.variant, wanted, self.judges.executor, self.judges.cache,
            min(PROOF, bound.timeout),
        )  # fmt: skip
        bounded = {q.check for q in self.wanted if q not in good}
        checks = dict.fromkeys(q.check for q in self.wanted)
        every = tuple(check for check in checks if check not in bounded)
        left = tuple(check for check in checks if check in bounded)
        return replace(step, every=every, bounded=left)

    def _because(self, chosen: Assignment, rows: set[int]) -> Iterator[Lesson]:
        """Lessons that would not be kept if these rows were not taken in turn."""
        taken = self._taken(chosen) - {f"turn {n}" for n in rows}
        for lesson in self.lessons:
            if not any(all((n in taken) == on for n, on in w) for w in lesson.ways):
                yield lesson

    def _taken(self, chosen: Assignment) -> frozenset[str]:
        found = {f"turn {n}" for n in chosen.serial}
        found |= {f"meet {n}" for n in chosen.barriers}
        found |= {f"fix {name}" for name in chosen.fixes}
        return frozenset(found | ({OWN} if chosen.own else set()))

    # -- lessons -------------------------------------------------------------------

    def learn(self, question: Question, finding: Finding, view: View) -> None:
        """Make the failure as general as it can be, and tell the optimiser."""
        while True:
            for stricter in self._stricter(view, question):
                found = self.ask(question, stricter)
                if found.outcome is not Outcome.HOLDS:
                    view, finding = stricter, found
                    break
            else:
                break
        mending = []
        for name in self.fixes:
            more = replace(view, fixes=view.fixes | {name})
            if name in view.fixes:
                continue
            if self.ask(question, more).outcome is Outcome.HOLDS:
                mending.append(name)
            else:
                view = more
        idle = self._without_effect(view, question)
        ways = tuple(self._ways(view, question, mending, idle))
        lesson = Lesson(
            question,
            finding,
            view,
            tuple(way for way, _ in ways),
            tuple(told for _, told in ways),
        )
        self.lessons.append(lesson)
        self.solver.require(lesson.ways)

    def _stricter(self, view: View, question: Question) -> Iterator[View]:
        """Views with one restriction more: what happens there can happen here."""
        if not view.own and (not view.cuts or view.cuts[-1]):
            yield replace(view, own=True, inner=frozenset())
        for first, last in self._segments(view):
            if not view.serial[first]:
                inside = range(first, last + 1)
                serial = tuple(s or at in inside for at, s in enumerate(view.serial))
                yield replace(view, serial=serial)
        for at, cut in enumerate(view.cuts):
            if not cut and not view.serial[at]:
                cuts = tuple(c or n == at for n, c in enumerate(view.cuts))
                yield replace(view, cuts=cuts)
        if not view.own:
            points = self._points(self.seen[question])
            for number in points[:-1]:
                if number not in view.inner:
                    yield replace(view, inner=view.inner | {number})

    def _segments(self, view: View) -> Iterator[tuple[int, int]]:
        first = 0
        for at, cut in enumerate(view.cuts):
            if cut or at == len(view.cuts) - 1:
                yield first, at
                first = at + 1

    def _without_effect(self, view: View, question: Question) -> frozenset[int]:
        """Where two rows in turn are one turn or two, and it fails both ways."""
        found = set()
        for at in range(len(view.cuts)):
            last = at + 1 == len(view.cuts)
            if not view.serial[at] or not (view.own if last else view.serial[at + 1]):
                continue
            cuts = tuple(not c if n == at else c for n, c in enumerate(view.cuts))
            other = self.ask(question, replace(view, cuts=cuts))
            if other.outcome is not Outcome.HOLDS:
                found.add(at)
        return frozenset(found)

    def _ways(
        self,
        view: View,
        question: Question,
        mending: Sequence[str],
        idle: frozenset[int],
    ) -> Iterator[tuple[tuple[Literal, ...], str]]:
        """Decisions that this view has not, each as a way out.

        Of two that exclude each other, as CPUs that meet within one turn, neither is
        one if it fails with both.
        """
        for at, one in enumerate(view.online):
            two = view.online[at + 1] if at + 1 < len(view.online) else None
            gaps = [n for n in self.numbers if n <= one and (two is None or n > two)]
            below = self.inner[0] if two is None else two
            if not view.serial[at]:
                yield ((f"turn {one}", True),), f"{one} in turn"
            if not view.cuts[at] and at not in idle:
                for gap in gaps:
                    yield (
                        ((f"meet {gap}", True),),
                        f"all meet between {one} and {below}",
                    )
            turns = view.serial[at] and (two is None or view.serial[at + 1])
            linked = turns and not view.cuts[at] and (two is not None or view.own)
            if turns and not linked and at not in idle:
                chain: list[Literal] = [(f"meet {gap}", False) for gap in gaps]
                chain += [(f"turn {gap}", True) for gap in gaps]
                chain.append((OWN, True) if two is None else (f"turn {two}", True))
                yield tuple(chain), f"{one} down to {below} in turn"
        if not view.own:
            yield ((OWN, True),), "a stop_machine of each CPU's own"
            points = self._points(self.seen[question])
            for one, two in pairwise(points):
                if one in view.inner:
                    continue
                for gap in (n for n in self.inner if two < n <= one):
                    yield ((f"meet {gap}", True),), f"all meet between {one} and {two}"
        for name in mending:
            yield ((f"fix {name}", True),), name


__all__ = ["Assigned", "Clock", "Lesson", "Step", "View", "assign"]
