"""One claim of a check, from the linked program to the answer.

The ladder: slice; search for a violation with few CPUs; if there is none, prove the
claim for every number of CPUs. Each answer says what it covers, and each interleaving
was replayed in the whole program before it gets here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

from cpuhp.engines.answer import (
    Answer,
    ClaimNumber,
    OutOfMemory,
    Progress,
    Settings,
    Sliced,
    memory_watch,
)
from cpuhp.engines.beginnings import Beginnings
from cpuhp.engines.clock import now
from cpuhp.engines.explicit import Limits, check
from cpuhp.engines.explicit.ample import REDUCED
from cpuhp.engines.explicit.search import FEW_STATES
from cpuhp.engines.explicit.symmetry import blocks_alike, orders_aps_only, unordered
from cpuhp.engines.lifting import lift
from cpuhp.graph.absent import absent
from cpuhp.graph.claim import Folded, Thinned, fold, race_groups, thinned
from cpuhp.graph.cycles import watching
from cpuhp.graph.holding import demand_readers_once
from cpuhp.graph.slicing import BLOCKING
from cpuhp.language.build import build, build_together, private_variables
from cpuhp.language.compile import claims, lower
from cpuhp.language.program import Program
from cpuhp.model.system import Expectation, Property, TransitionSystem
from cpuhp.model.verdict import Result, Trace, Verdict
from cpuhp.semantics.locks import circle

if TYPE_CHECKING:
    from cpuhp.engines.parametric import Proof
    from cpuhp.engines.parametric.lessons import Lessons
    from cpuhp.engines.parametric.sampling import Samples

FEW = (2, 3)  # numbers of CPUs that are always searched first
MORE = (4,)  # and those that are searched if there is no proof,
MANY_STATES = FEW_STATES  # unless the others had more than this, reduced or not
DOUBTFUL = 10.0  # seconds for a proof of a claim that seldom has one, and
HOPELESS = 150  # never, as far as was seen, where there are more actions
PROVABLE = (Expectation.ALWAYS, Expectation.FINALLY, Expectation.DEADLOCK_FREE)
LIFTABLE = (*PROVABLE, Expectation.SOMETIMES)
HARMLESS = (Verdict.PROVED, Verdict.UNREACHABLE)  # nothing was found


class Checker:
    """Answers the claims of one program; keeps what the claims share."""

    def __init__(self, program: Program):
        self.program = program
        self.whole = lower(program)
        self.beginnings = Beginnings(self.whole)
        self.beginnings.demand()
        demand_readers_once(self.whole)
        self._starts: dict[frozenset[str], Folded] = {}
        self._thinned: dict[
            tuple[tuple[ClaimNumber, ...], frozenset[str]], Thinned
        ] = {}
        self._race_slices: dict[tuple[str, int, frozenset[str]], Sliced] = {}
        self._race_groups: dict[tuple[str, int], list[frozenset[str]]] = {}
        self._props = {
            name: claims(self.whole, check) for name, check in program.checks.items()
        }

    @cached_property
    def watching(self) -> Checker:
        """Answers about the order of locks: in this program, as one watches it."""
        return Checker(watching(self.whole))

    def deciding(self, check_name: str, number: int) -> Checker:
        """The checker whose program decides the claim."""
        kind = self.claim(check_name, number).expectation
        return self.watching if kind is Expectation.INVERSION_FREE else self

    def claims(self) -> list[tuple[str, int, Property]]:
        """Check name, number of the claim within the check, and the claim.

        Those that are about steps that the table does not have are not among them.
        """
        return [one for one in self._every() if one[:2] not in self.absent]

    def _every(self) -> list[tuple[str, int, Property]]:
        return [
            (name, number, prop)
            for name, props in self._props.items()
            for number, prop in enumerate(props)
        ]

    @cached_property
    def absent(self) -> Mapping[ClaimNumber, tuple[str, ...]]:
        """The claims about hotplug states that the table does not have, and which."""
        if not self.program.unplaced:
            return {}
        found = {(n, k): absent(self.whole, n, prop) for n, k, prop in self._every()}
        return {claim: states for claim, states in found.items() if states}

    def claim(self, check_name: str, number: int) -> Property:
        """One claim, in the terms of the whole program."""
        return self._props[check_name][number]

    def start(self, accessed: frozenset[str] = frozenset()) -> Folded:
        """What slicing starts from; all accesses to variables in `accessed` are kept."""
        if accessed not in self._starts:
            self._starts[accessed] = fold(self.whole, accessed)
        return self._starts[accessed]

    def thinned(
        self, check_name: str, number: int, accessed: frozenset[str] = frozenset()
    ) -> Thinned:
        """The parts of the program that matter to the claim."""
        if self.deciding(check_name, number) is not self:
            return self.watching.thinned(check_name, number, accessed)
        return self.thinned_together(((check_name, number),), accessed)

    def thinned_together(
        self, chosen: tuple[ClaimNumber, ...], accessed: frozenset[str] = frozenset()
    ) -> Thinned:
        """The parts of the program that matter to any of these claims."""
        key = chosen, accessed
        if key not in self._thinned:
            claimed = ((self.claim(*claim), claim[1]) for claim in chosen)
            self._thinned[key] = thinned(self.start(accessed), *claimed)
        return self._thinned[key]

    def slice(
        self, check_name: str, number: int, only: frozenset[str] | None = None
    ) -> Sliced:
        """The smallest system that decides the claim, or one over these variables."""
        thin = self.thinned(check_name, number)
        system, told = thin.system(only)
        return Sliced(system, told, thin.kept.parts, only)

    def plain_variables(self) -> list[str]:
        """Variables that are written without an atomic operation, by and for several."""
        system, _ = build(self.whole, None, reduced=False)
        written = frozenset[str]().union(*(a.written for a in system.actions))
        alone = frozenset[str]().union(*private_variables(self.whole).values())
        return [
            v.name
            for v in system.variables
            if v.plain and v.name in written and v.name not in alone
        ]

    def race_slice(self, check_name: str, number: int, *names: str) -> Sliced:
        """The smallest system that decides whether there is a race on these variables."""
        key = check_name, number, frozenset(names)
        if key not in self._race_slices:
            thin = self.thinned(*key)
            system, told = thin.system()
            sliced = Sliced(only_plain(system, *names), told, thin.kept.parts)
            self._race_slices[key] = sliced
        return self._race_slices[key]

    def race_groups(self, check_name: str, number: int) -> list[frozenset[str]]:
        """All variables that can race; those together that one slice can decide."""
        key = check_name, number
        if key not in self._race_groups:
            prop, names = self.claim(check_name, number), self.plain_variables()
            self._race_groups[key] = race_groups(self.start(), prop, names)
        return self._race_groups[key]

    def entire(self, check_name: str, number: int) -> tuple[TransitionSystem, Property]:
        """The whole program, every statement a step, and the claim in its terms."""
        if self.deciding(check_name, number) is not self:
            return self.watching.entire(check_name, number)
        system, told = self._entire
        return system, told[check_name, number]

    @cached_property
    def _entire(self) -> tuple[TransitionSystem, dict[ClaimNumber, Property]]:
        every = self._every()
        props = tuple(prop for _, _, prop in every)
        system, told = build_together(self.whole, props, reduced=False)
        return system, {(n, k): prop for (n, k, _), prop in zip(every, told)}

    def answer(
        self,
        check_name: str,
        number: int,
        settings: Settings,
        progress: Progress | None = None,
        lessons: Lessons = (),
    ) -> Answer:
        """The verdict on one claim; `lessons` are what other proofs have taught."""
        started = time.monotonic()
        if self.deciding(check_name, number) is not self:
            found = self.watching.answer(
                check_name, number, settings, progress, lessons
            )
            return in_words(found, self.claim(check_name, number))
        if self.claim(check_name, number).expectation is Expectation.RACE_FREE:
            # Each group of variables will have a slice of its own.
            sliced = Sliced(*self.entire(check_name, number), frozenset())
        else:
            sliced = self.slice(check_name, number)
        run = _Run(
            self,
            check_name,
            number,
            sliced,
            settings,
            progress,
            lessons=lessons,
        )
        answer = run.go()
        seconds = time.monotonic() - started
        return replace(answer, result=replace(answer.result, seconds=seconds))

    def search(
        self,
        sliced: Sliced,
        number: int,
        counts: tuple[int, ...],
        settings: Settings,
        variable: str | None = None,
    ) -> Answer:
        """What a search at these numbers of CPUs, fewest first, says of one claim.

        `sliced` is the slice of claim `number` of its check; for data races it may be
        that of one `variable`. A violation was replayed in the whole program.
        """
        started = time.monotonic()
        run = _Run(self, sliced.prop.check, number, sliced, settings, None, variable)
        last, answer = run.search(counts)
        answer = answer or run.unviolated(last)
        seconds = time.monotonic() - started
        return replace(answer, result=replace(answer.result, seconds=seconds))


def in_words(answer: Answer, prop: Property) -> Answer:
    """The answer about a watched program as one to the claim about the program."""
    result = replace(answer.result, prop=prop)
    if result.trace is not None:
        result = replace(result, reason=circle(result.trace))
    return replace(answer, result=result)


def only_plain(system: TransitionSystem, *names: str) -> TransitionSystem:
    """The system in which accesses to these variables alone can race."""
    variables = tuple(
        replace(v, plain=v.plain and v.name in names) for v in system.variables
    )
    return replace(system, variables=variables)


@dataclass(frozen=True)
class _Run:
    checker: Checker
    check_name: str
    number: int
    sliced: Sliced
    settings: Settings
    progress: Progress | None
    variable: str | None = None  # the only one to look for data races on
    lessons: Lessons = ()
    began: float = field(default_factory=now)

    def go(self) -> Answer:
        if self.settings.cpus is not None:
            self.checker.beginnings.demand(self.settings.cpus)
            last, answer = self.search((self.settings.cpus,))
            return answer or self._beyond(last)
        last, answer = self.search(FEW)
        if answer is not None:
            return answer
        never = self._never() if self._asks_for_witness else None
        if never is not None:
            return never
        if self.sliced.prop.expectation not in PROVABLE:
            later, answer = self._search_more(last)
            return answer or self._beyond(later or last)
        try:
            answer = self._beyond(last)
        except OutOfMemory as full:
            assert last is not None
            unknown = replace(last, verdict=Verdict.UNKNOWN, reason=str(full))
            return self._unproved(unknown, last)
        if answer.invariant is not None:
            return answer
        # No proof: perhaps because there is a violation that needs more CPUs.
        later, found = self._search_more(last)
        return found or self._unproved(answer.result, later or last)

    def _search_more(self, last: Result | None) -> tuple[Result | None, Answer | None]:
        """Search with more CPUs, if few of them did not already have many states."""
        if last is None or last.cpus != FEW[-1]:
            return None, None
        if last.prop.expectation is Expectation.RACE_FREE:
            return None, None  # a race is between two, and there are many slices
        if last.stats.get("states", 0) > MANY_STATES:
            return None, None
        return self.search(MORE, beyond=True)

    def search(
        self, counts: tuple[int, ...], beyond: bool = False
    ) -> tuple[Result | None, Answer | None]:
        """The result for the most CPUs that could be searched, and a final answer.

        It is final if there is a trace, or if no number of CPUs could be searched; the
        latter not `beyond` what has been searched already.
        """
        last: Result | None = None
        for cpus in counts:
            # Only what was searched for every place of the control CPU counts.
            done: Result | None = None
            for answer in self._answers(cpus):
                verdict = answer.result.verdict
                if verdict in (Verdict.VIOLATED, Verdict.WITNESSED):
                    return last, answer
                if verdict is Verdict.UNKNOWN:
                    none = last is None and not beyond
                    final = none or self.settings.cpus is not None
                    return last, answer if final else None
                done = answer.result
            last = done
        return last, None

    def _answers(self, cpus: int) -> Iterator[Answer]:
        """One answer for each place of the control CPU that makes a difference."""
        self._say(f"{cpus} CPUs")
        if not self.checker.beginnings.there_are(cpus):
            yield Answer(self._vacuous(cpus), self.sliced)
            return
        if self.sliced.prop.expectation is Expectation.RACE_FREE:
            yield self._races(cpus)
            return
        result = self._anywhere(self.sliced, cpus)
        if result is not None:
            yield Answer(result, self.sliced)
            return
        for boot in self._boots(self.sliced, cpus):
            yield self._at(cpus, boot)

    def _vacuous(self, cpus: int) -> Result:
        """The result where no machine with so many CPUs begins as is assumed."""
        verdict = Verdict.UNREACHABLE if self._asks_for_witness else Verdict.PROVED
        reason = f"no machine with {cpus} CPUs begins as is assumed"
        return Result(self.sliced.prop, verdict, cpus, reason=reason)

    def _anywhere(self, sliced: Sliced, cpus: int) -> Result | None:
        """The result if nothing is found and the order of CPUs plays no part; or None.

        One search then stands for every place of the control CPU, and looks at no more
        states than it takes. For a witness this is no help: there is one as a rule.
        """
        boots, kind = self._boots(sliced, cpus), sliced.prop.expectation
        alone = len(boots) == 1 and kind not in REDUCED
        if kind is Expectation.SOMETIMES or alone:
            return None
        limits = self._limits()
        limits = replace(limits, seconds=limits.seconds and limits.seconds / 2)
        system = sliced.system
        if len(boots) > 1:
            if kind in BLOCKING and not all(map(blocks_alike, system.actions)):
                return None
            system = unordered(system)
        result = check(system, sliced.prop, cpus, boots[0], limits, traces=False)
        return result if result.verdict in HARMLESS else None

    def _boots(self, sliced: Sliced, cpus: int) -> tuple[int, ...]:
        if orders_aps_only(sliced.system, [sliced.prop]):
            return (0,)
        # The ends and the middle first, where a violation shows if there is one as a rule.
        return tuple(dict.fromkeys((0, cpus // 2, cpus - 1, *range(cpus))))

    def _left(self) -> float:
        return self.settings.timeout - (now() - self.began)

    def _say(self, text: str) -> None:
        if self.progress:
            self.progress(text)

    def _limits(self) -> Limits:
        settings = self.settings
        return Limits(settings.max_states, max(0.1, self._left()), settings.memory)

    def _at(self, cpus: int, boot: int) -> Answer:
        """The answer at one number of CPUs, its trace replayed in the whole program."""
        limits, sliced = self._limits(), self.sliced
        result = check(sliced.system, sliced.prop, cpus, boot, limits)
        if result.trace is None:
            return Answer(result, sliced)
        if result.verdict not in (Verdict.VIOLATED, Verdict.WITNESSED):
            return Answer(result, sliced)
        whole, prop = self.checker.entire(self.check_name, self.number)
        if prop.expectation not in LIFTABLE:
            return self._on_the_whole(whole, prop, cpus, boot, limits)
        if self.settings.confirm and not self._z3_agrees(sliced, result.trace):
            return self._doubtful(result, "z3 did not confirm the interleaving")
        until = now() + max(1.0, self._left())
        replayed = lift(whole, prop, sliced.system, result.trace, until=until)
        if replayed is None:
            return self._doubtful(
                result,
                "the slice has an interleaving that was not found in the whole program",
            )
        return Answer(result, sliced, replayed=replayed)

    def _races(self, cpus: int) -> Answer:
        """Look for data races: one search for variables that the same can decide."""
        doubtful: Answer | None = None
        groups = self.checker.race_groups(self.check_name, self.number)
        pending = [frozenset({self.variable})] if self.variable else list(groups)
        result = Result(self.sliced.prop, Verdict.PROVED, cpus, engine="explicit")
        while pending:
            names = pending.pop(0)
            answer = self._races_on(names, cpus)
            result = answer.result
            if result.verdict is Verdict.VIOLATED:
                return answer
            if result.verdict is Verdict.UNKNOWN and self._left() < 0:
                return self._doubtful(result, f"time limit reached at {_told(names)}")
            if result.verdict is Verdict.UNKNOWN and len(names) > 1:
                pending = [frozenset({name}) for name in sorted(names)] + pending
            elif result.verdict is Verdict.UNKNOWN:
                doubtful = answer
        return doubtful or Answer(replace(result, prop=self.sliced.prop), self.sliced)

    def _races_on(self, names: frozenset[str], cpus: int) -> Answer:
        """Look for data races on these variables, wherever the control CPU is."""
        checker = self.checker
        sliced = checker.race_slice(self.check_name, self.number, *names)
        anywhere = self._anywhere(sliced, cpus)
        if anywhere is not None:
            return Answer(anywhere, sliced)
        result = Result(sliced.prop, Verdict.PROVED, cpus, engine="explicit")
        for boot in self._boots(sliced, cpus):
            result = check(sliced.system, sliced.prop, cpus, boot, self._limits())
            if result.verdict is Verdict.UNKNOWN:
                reason = f"{_told(names)}: {result.reason}"
                return Answer(replace(result, reason=reason), sliced)
            if result.trace is None:
                continue
            whole, prop = checker.entire(self.check_name, self.number)
            whole = only_plain(whole, *names)
            until = now() + max(1.0, self._left())
            trace = lift(whole, prop, sliced.system, result.trace, until=until)
            if trace is not None:
                return Answer(result, sliced, replayed=trace)
            reason = f"a race on {_told(names)} was not replayed"
            return self._doubtful(result, reason)
        return Answer(result, sliced)

    def _z3_agrees(self, sliced: Sliced, trace: Trace) -> bool:
        from cpuhp.engines.bounded import confirm

        seconds = max(1.0, self._left())
        return bool(confirm(sliced.system, trace, sliced.prop, seconds))

    def _doubtful(self, result: Result, reason: str) -> Answer:
        unknown = replace(result, verdict=Verdict.UNKNOWN, trace=None, reason=reason)
        return Answer(unknown, self.sliced)

    def _on_the_whole(
        self,
        whole: TransitionSystem,
        prop: Property,
        cpus: int,
        boot: int,
        limits: Limits,
    ) -> Answer:
        """A run without end is not lifted from a slice: look for it without one."""
        result = check(whole, prop, cpus, boot, limits)
        if result.verdict is Verdict.UNKNOWN:
            return self._doubtful(
                result,
                "the slice has a run without end that the program was not found to have",
            )
        sliced = Sliced(whole, prop, self.sliced.parts)
        return Answer(result, sliced, replayed=result.trace)

    def unviolated(self, last: Result | None) -> Answer:
        """The answer if all that was asked for has been searched, and nothing found."""
        assert last is not None
        if self.sliced.prop.expectation is Expectation.SOMETIMES:
            last = replace(last, verdict=Verdict.UNREACHABLE)
        return Answer(last, self.sliced)

    def _beyond(self, last: Result | None) -> Answer:
        """No violation with few CPUs: now every number, if that was asked for."""
        assert last is not None
        prop = self.sliced.prop
        if self.settings.cpus is not None:
            return self.unviolated(last)
        if self._asks_for_witness:
            return Answer(replace(last, verdict=Verdict.UNREACHABLE), self.sliced)
        if prop.expectation not in PROVABLE:
            return Answer(
                replace(last, reason="this kind of claim is checked at fixed counts"),
                self.sliced,
            )
        return self._proved()

    def _proved(self) -> Answer:
        """Prove the claim for every number of CPUs, over as few variables as will do."""
        if self.sliced.prop.expectation is Expectation.ALWAYS:
            thin = self.checker.thinned(self.check_name, self.number)
            answer = self._refined(thin)
            if answer is not None:
                return answer
        sliced = self.sliced
        doubtful = sliced.prop.expectation is not Expectation.ALWAYS
        if doubtful and len(sliced.system.actions) > HOPELESS:
            told = f"not tried with more than {HOPELESS} kinds of step"
            return Answer(
                Result(sliced.prop, Verdict.UNKNOWN, reason=told, engine="none"), sliced
            )
        proof = self._prove(sliced.system, sliced.prop, DOUBTFUL if doubtful else None)
        return Answer(proof.result, sliced, proof.invariant)

    @property
    def _asks_for_witness(self) -> bool:
        return self.sliced.prop.expectation is Expectation.SOMETIMES

    def _never(self) -> Answer | None:
        """UNREACHABLE, if there is a proof that what should happen sometimes never does."""
        thin = self.checker.thinned(self.check_name, self.number)
        try:
            found = self._refined(thin.to_prove)
        except OutOfMemory:
            return None
        if found is None:
            return None
        told = replace(found.result, prop=self.sliced.prop, verdict=Verdict.UNREACHABLE)
        return replace(found, result=told)

    def _refined(self, thin: Thinned) -> Answer | None:
        """A proof over some of the variables, if there is one in time."""
        from cpuhp.engines.refinement import Refinement

        until = now() + 0.8 * max(0.1, self._left())
        refinement = Refinement(thin, until)
        slices = refinement.slices()
        if self.lessons:  # which are about the data: begin with that
            data = refinement.data(now() + 0.3 * self._left())
            slices = chain([data] if data else [], slices)
        for narrow in slices:
            proof = self._prove(
                narrow.system, narrow.prop, narrow.seconds, narrow.samples
            )
            if proof.result.verdict is Verdict.PROVED:
                parts = self.sliced.parts
                sliced = Sliced(narrow.system, narrow.prop, parts, narrow.only)
                return Answer(proof.result, sliced, proof.invariant)
        return None

    def _unproved(self, result: Result, last: Result | None) -> Answer:
        """What is known of a claim that was not proved for every number of CPUs."""
        assert last is not None
        reason = f"no proof for every number of CPUs: {result.reason}"
        watched = self.checker.program.watch is not None
        if watched or self.sliced.prop.expectation is Expectation.DEADLOCK_FREE:
            return Answer(replace(last, reason=reason), self.sliced)
        held = f"; it holds with up to {last.cpus} CPUs"
        return Answer(replace(result, reason=reason + held), self.sliced)

    def _prove(
        self,
        system: TransitionSystem,
        prop: Property,
        seconds: float | None = None,
        samples: Samples | None = None,
    ) -> Proof:
        from cpuhp.engines.parametric import prove, prove_in_attempts

        self._say("every number of CPUs")
        left = self._left()
        seconds = 0.7 * left if seconds is None else min(seconds, left)
        watch, lessons = memory_watch(self.settings), self.lessons
        until = now() + max(0.1, seconds)
        if samples is None:
            return prove(system, prop, deadline=until, progress=watch, lessons=lessons)
        return prove_in_attempts(
            system,
            (prop,),
            samples,
            until=until,
            seconds=seconds,
            progress=watch,
            lessons=lessons,
        )[0]


def _told(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
