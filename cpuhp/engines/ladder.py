"""The ladder: how one claim is answered, from its slice.

Search for a violation with few CPUs; if there is none, prove the claim for every number
of CPUs. Each answer says what it covers, and each interleaving was replayed in the whole
program before it gets here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING

from cpuhp.engines.answer import (
    Answer,
    OutOfMemory,
    Progress,
    Proved,
    Settings,
    Sliced,
    memory_watch,
)
from cpuhp.engines.clock import now
from cpuhp.engines.explicit import Limits, check
from cpuhp.engines.explicit.ample import REDUCED
from cpuhp.engines.explicit.search import FEW_STATES
from cpuhp.engines.explicit.symmetry import blocks_alike, orders_aps_only, unordered
from cpuhp.engines.lifting import lift
from cpuhp.engines.slices import Slices
from cpuhp.graph.claim import Thinned
from cpuhp.graph.races import only_plain
from cpuhp.graph.relevance import BLOCKING
from cpuhp.model.system import Expectation, Property, TransitionSystem
from cpuhp.model.verdict import Result, Trace, Verdict

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


@dataclass(frozen=True)
class Ladder:
    """One claim under way. `go` climbs it; `search` takes the lower rungs alone."""

    slices: Slices
    check_name: str
    number: int
    sliced: Sliced
    settings: Settings
    progress: Progress | None
    races: tuple[frozenset[str], ...] | None = None  # variables to look for them on
    lessons: Lessons = ()
    began: float = field(default_factory=now)

    def go(self) -> Answer:
        if self.settings.cpus is not None:
            self.slices.beginnings.demand(self.settings.cpus)
            last, answer = self.search((self.settings.cpus,))
            return answer or self._beyond(last)
        if self.sliced.prop.expectation is Expectation.RACE_FREE:
            return self._race_free()
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
        if answer.proofs is not None:
            return answer
        # No proof: perhaps because there is a violation that needs more CPUs.
        later, found = self._search_more(last)
        return found or self._unproved(answer.result, later or last)

    def _search_more(self, last: Result | None) -> tuple[Result | None, Answer | None]:
        """Search with more CPUs, if few of them did not already have many states."""
        if last is None or last.cpus != FEW[-1]:
            return None, None
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
        if not self.slices.beginnings.there_are(cpus):
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
        whole, prop = self.slices.entire(self.check_name, self.number)
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

    def _race_free(self) -> Answer:
        """Whether there is a data race: first what locks prove, then the others.

        Of these few CPUs are searched before the longer proofs, and more after them.
        """
        from cpuhp.engines.races import RaceProofs

        until = now() + 0.5 * max(0.1, self._left())
        proofs = RaceProofs(
            self.slices,
            self.check_name,
            self.number,
            self.settings,
            until,
            self.lessons,
        )
        groups = tuple(self.slices.race_groups(self.check_name, self.number))
        self._say("every number of CPUs")
        try:
            found = proofs.by_locks(groups)
        except OutOfMemory:
            found = {}
        left = tuple(names for names in groups if names not in found)
        few = replace(self, races=left)
        last, answer = few.search(FEW[:1])
        if answer is not None:
            return answer
        self._say("every number of CPUs")
        try:
            others = proofs.over_data(left)
        except OutOfMemory:
            others = None
        if others is not None:
            return self._proved_apart((*found.values(), *others))
        later, answer = few.search(FEW[1:], beyond=True)
        if answer is not None:
            return answer
        last = later or last
        assert last is not None
        return Answer(
            replace(last, reason="no proof for every number of CPUs"), self.sliced
        )

    def _proved_apart(self, proofs: tuple[Proved, ...]) -> Answer:
        clauses = sum(len(proved.invariant.clauses) for proved in proofs)
        stats = {"clauses": clauses, "proofs": len(proofs)}
        result = Result(
            self.sliced.prop, Verdict.PROVED, engine="parametric", stats=stats
        )
        return Answer(result, self.sliced, proofs)

    def _races(self, cpus: int) -> Answer:
        """Look for data races: one search for variables that the same can decide."""
        doubtful: Answer | None = None
        groups = self.races
        if groups is None:
            groups = tuple(self.slices.race_groups(self.check_name, self.number))
        pending = list(groups)
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
        sliced = self.slices.race_slice(self.check_name, self.number, *names)
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
            whole, prop = self.slices.entire(self.check_name, self.number)
            whole = only_plain(whole, names)
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
            thin = self.slices.thinned(self.check_name, self.number)
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
        return _proved(proof, sliced)

    @property
    def _asks_for_witness(self) -> bool:
        return self.sliced.prop.expectation is Expectation.SOMETIMES

    def _never(self) -> Answer | None:
        """UNREACHABLE, if there is a proof that what should happen sometimes never does."""
        thin = self.slices.thinned(self.check_name, self.number)
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
                return _proved(proof, sliced)
        return None

    def _unproved(self, result: Result, last: Result | None) -> Answer:
        """What is known of a claim that was not proved for every number of CPUs."""
        assert last is not None
        reason = f"no proof for every number of CPUs: {result.reason}"
        watched = self.slices.program.watch is not None
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


def _proved(proof: Proof, sliced: Sliced) -> Answer:
    invariant = proof.invariant
    proofs = None if invariant is None else (Proved(sliced, invariant),)
    return Answer(proof.result, sliced, proofs)


def _told(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
