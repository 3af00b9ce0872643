"""Questions and findings: one claim of one variant, and what a bounded search says.

The bound is a number of CPUs: all interleavings of 2 up to that many, with the control
CPU at each id where that can matter. Each violation was replayed
in the whole program, statement by statement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum

from cpuhp.engines.answer import Answer, Settings, Sliced
from cpuhp.engines.checking import Checker
from cpuhp.engines.explicit import Limits, check
from cpuhp.engines.explicit.symmetry import blocks_alike, is_symmetric
from cpuhp.graph.claim import thinned
from cpuhp.graph.relevance import BLOCKING, Slice
from cpuhp.language.build import observed_by
from cpuhp.language.compile import Lowered
from cpuhp.language.flow import Edge
from cpuhp.model.expr import TRUE
from cpuhp.model.system import Expectation, Order, TransitionSystem
from cpuhp.model.verdict import Result, Trace, Verdict
from cpuhp.ordering.content import content_of
from cpuhp.ordering.variant import Variant

ENDLESS = (Expectation.TERMINATES, Expectation.LEADS_TO)
LAST = 6  # steps of an interleaving that are told with a finding
SAFETY = (
    Expectation.ALWAYS,
    Expectation.FINALLY,
    Expectation.DEADLOCK_FREE,
    Expectation.RACE_FREE,
)


class Outcome(Enum):
    """What became of a claim. A `sometimes` that is not reached makes a check say nothing."""

    HOLDS = "holds"
    FAILS = "fails"
    UNREACHED = "unreached"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Question:
    """Claim `number` of a check; of a claim about data races, one variable's part."""

    check: str
    number: int
    kind: Expectation
    text: str
    variable: str | None = None


@dataclass(frozen=True)
class Bound:
    """How far each search goes: CPUs (control CPU included), seconds and states."""

    cpus: int = 3
    timeout: float = 60.0
    max_states: int = 400_000

    def settings(self) -> Settings:
        return Settings(timeout=self.timeout, max_states=self.max_states, confirm=False)

    def counts(self, kind: Expectation) -> tuple[int, ...]:
        """The numbers of CPUs to search. Runs without end are looked for at 2 only."""
        return (2,) if kind in ENDLESS else tuple(range(2, self.cpus + 1))

    def __str__(self) -> str:
        return f"up to {self.cpus} CPUs"


@dataclass(frozen=True)
class Finding:
    """The outcome of a question. `cpus`: the most CPUs that were searched, or the number
    that the interleaving needs; `steps`: its length; `callbacks`: those that run in it.
    """

    outcome: Outcome
    cpus: int
    steps: int = 0
    callbacks: tuple[str, ...] = ()
    reason: str = ""
    story: tuple[str, ...] = ()  # the last steps of the interleaving

    @property
    def is_known(self) -> bool:
        return self.outcome is not Outcome.UNKNOWN


Known = Callable[[str], Finding | None]


def questions(checker: Checker, sometimes: bool = True) -> list[Question]:
    """All claims of a program, in the order of their checks."""
    found = []
    for name, number, prop in checker.claims():
        kind = prop.expectation
        question = Question(name, number, kind, prop.text)
        if kind is Expectation.RACE_FREE:
            names = checker.plain_variables()
            found += [replace(question, variable=name) for name in names]
        elif sometimes or kind is not Expectation.SOMETIMES:
            found.append(question)
    return found


def sliced(checker: Checker, question: Question) -> Sliced:
    """The smallest system that decides the question."""
    if question.variable is None:
        return checker.slice(question.check, question.number)
    return checker.race_slice(question.check, question.number, question.variable)


def seen(checker: Checker, question: Question) -> Slice:
    """The variables and parts that can matter to the question; no system is built."""
    only = frozenset({question.variable} if question.variable else ())
    decider = checker.deciding(question.check, question.number)
    prop = decider.claim(question.check, question.number)
    found = decider.start().relevance.slice((prop,), only)
    if question.kind is not Expectation.INVERSION_FREE:
        return found
    locking = _locking(checker.whole)
    read = (e.reads() for e in _edges(checker.whole) if _within(e, locking))
    return Slice(found.variables.union(*read), found.parts | locking)


def observed(checker: Checker, question: Question) -> frozenset[str]:
    """The variables that the claim itself speaks of."""
    if question.variable is not None:
        return frozenset({question.variable})
    return observed_by((checker.claim(question.check, question.number),))


def _locking(whole: Lowered) -> frozenset[str]:
    """The parts that use locks. They matter to their order, whatever is watched now."""
    return frozenset(
        place
        for edge in _edges(whole)
        if edge.locks and edge.note is not None
        for place in edge.note.places
    )


def _edges(lowered: Lowered) -> Iterator[Edge]:
    for process in lowered.processes:
        yield from process.flow.edges


def _within(edge: Edge, parts: frozenset[str]) -> bool:
    return edge.note is not None and bool(parts & {*edge.note.places[-1:]})


def key_of(found: Sliced, bound: Bound) -> str:
    """What the finding depends on, as one word.

    Not on seconds and states: what was decided is decided, and the rest is not kept.
    """
    return content_of(found.system, found.prop, str(bound.cpus))


def statements(checker: Checker, question: Question) -> frozenset[tuple[str, int, int]]:
    """Where the statements stand that can matter to the question: source, start, end.

    A statement whose condition and effects were all projected away cannot: leaving it
    out, or making it weaker, leaves the sliced system as it is.
    """
    decider = checker.deciding(question.check, question.number)
    only = frozenset({question.variable} if question.variable else ())
    prop = decider.claim(question.check, question.number)
    left = thinned(decider.start(only), (prop, question.number)).projected()
    edges = [edge for edge in _edges(left) if _does_something(edge)]
    if question.kind is Expectation.INVERSION_FREE:
        locking = _locking(checker.whole)
        edges += [edge for edge in _edges(checker.whole) if _within(edge, locking)]
    return frozenset(
        (edge.note.span.source.name, edge.note.span.start, edge.note.span.end)
        for edge in edges
        if edge.note is not None
    )


def _does_something(edge: Edge) -> bool:
    return edge.guard != TRUE or bool(edge.effects) or bool(edge.choices)


def answer(checker: Checker, question: Question, found: Sliced, bound: Bound) -> Answer:
    """Search the question's slice, and replay what is found."""
    quick, counts = _quick(found, bound)
    if quick is not None:
        return Answer(quick, found)
    return checker.search(
        found, question.number, counts, bound.settings(), question.variable
    )


def _story(trace: Trace) -> tuple[str, ...]:
    """The last steps, one line each."""
    lines = []
    for step in trace.steps[-LAST:]:
        cpu = step.binding[0] if step.action.actor else trace.boot
        lines.append(f"CPU{cpu} {step.action.process}: {step.action.text}")
    return tuple(lines)


def _quick(found: Sliced, bound: Bound) -> tuple[Result | None, tuple[int, ...]]:
    """The result, if it is the same where each choice takes whom it likes.

    Else the numbers of CPUs that are left to be searched.

    Then CPUs are alike, and few states have to be looked at. Such a system can do all
    that the true one can do, so a claim that holds there holds; one about who is blocked
    only if nobody is blocked because of whom a choice takes. A `sometimes` counts as
    reached where no choice takes the first or last: nobody is shown how, and so it is
    not replayed.
    """
    counts = bound.counts(found.prop.expectation)
    sometimes = found.prop.expectation is Expectation.SOMETIMES
    if not sometimes and found.prop.expectation not in SAFETY:
        return None, counts
    system = in_any_order(found.system)
    if not is_symmetric(system, [found.prop]):
        return None, counts
    blocking = found.prop.expectation in BLOCKING
    if blocking and not all(map(blocks_alike, found.system.actions)):
        return None, counts
    result: Result | None = None
    for at, cpus in enumerate(counts):
        limits = Limits(bound.max_states, bound.timeout, None)
        result = check(system, found.prop, cpus, 0, limits, traces=False)
        reached = result.verdict in (Verdict.VIOLATED, Verdict.WITNESSED)
        if sometimes and reached and system == found.system:
            return result, ()
        if result.verdict is Verdict.UNKNOWN or reached:
            return None, counts if sometimes else counts[at:]
    if sometimes and result is not None:
        result = replace(result, verdict=Verdict.UNREACHABLE)
    return result, ()


def in_any_order(system: TransitionSystem) -> TransitionSystem:
    """The system in which each choice takes whom it likes: it can do all the same."""
    actions = tuple(
        replace(a, choices=tuple(replace(c, order=Order.ANY) for c in a.choices))
        for a in system.actions
    )
    return replace(system, actions=actions)


def finding(answered: Answer, bound: Bound) -> Finding:
    """An answer in short."""
    result = answered.result
    trace = result.trace
    callbacks: tuple[str, ...] = ()
    if trace is not None:
        names = [step.action.callback for step in trace.steps]
        callbacks = tuple(dict.fromkeys(name for name in names if name))
    match result.verdict:
        case Verdict.VIOLATED:
            assert trace is not None
            return Finding(
                Outcome.FAILS,
                trace.cpus,
                len(trace.steps),
                callbacks,
                story=_story(trace),
            )
        case Verdict.UNREACHABLE:
            return Finding(Outcome.UNREACHED, result.cpus or bound.cpus)
        case Verdict.UNKNOWN:
            return Finding(Outcome.UNKNOWN, 0, reason=result.reason or "")
        case Verdict.WITNESSED:
            steps = len(trace.steps) if trace else 0  # who only wants to know has none
            return Finding(Outcome.HOLDS, result.cpus or bound.cpus, steps, callbacks)
    wanted = max(bound.counts(result.prop.expectation))
    if result.cpus is not None and result.cpus < wanted:
        reason = result.reason or f"no answer beyond {result.cpus} CPUs"
        return Finding(Outcome.UNKNOWN, 0, reason=reason)
    return Finding(Outcome.HOLDS, result.cpus or bound.cpus)


def judge(
    variant: Variant, question: Question, bound: Bound, known: Known
) -> tuple[str, Finding]:
    """The key of the sliced system and the finding, from the start or from what is known.

    This runs in a worker process.
    """
    checker = variant.checker()
    found = sliced(checker, question)
    key = key_of(found, bound)
    earlier = known(key)
    if earlier is not None:
        return key, earlier
    return key, finding(answer(checker, question, found, bound), bound)


def confirmed(variant: Variant, question: Question, bound: Bound) -> Answer:
    """The answer with its interleaving, which z3 has confirmed, too."""
    checker = variant.checker()
    found = sliced(checker, question)
    settings = replace(bound.settings(), confirm=True)
    counts = bound.counts(question.kind)
    return checker.search(found, question.number, counts, settings, question.variable)
