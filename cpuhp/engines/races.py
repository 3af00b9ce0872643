"""Data races, for every number of CPUs: two are never about to touch the same memory.

First the argument of kernel developers: whoever is there holds the lock. What locks
alone do not keep apart is proved over the data that decide, for all those variables by
one invariant if that can be found, else for fewer and fewer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cpuhp.engines.answer import Proved, Settings, Sliced, memory_watch
from cpuhp.engines.clock import now
from cpuhp.engines.parametric import prove, prove_in_attempts
from cpuhp.engines.parametric.lessons import Lessons
from cpuhp.engines.parametric.sampling import Samples
from cpuhp.engines.refinement import Refinement
from cpuhp.engines.slices import Slices
from cpuhp.graph.claim import Thinned

_FEW, _MANY = (800, 10), (3_000, 100)  # states and walks
_SOON = 1.0  # seconds for a proof by locks alone,
_SHARE = 20.0  # and for one attempt at what they do not decide
Names = frozenset[str]


class _Violated(Exception):
    """A slice that decides the claim has a state with a data race."""


@dataclass(frozen=True)
class RaceProofs:
    """One claim that there is no data race, under way; `until` is when it must end."""

    slices: Slices
    check: str
    number: int
    settings: Settings
    until: float
    lessons: Lessons = ()

    def by_locks(self, groups: Iterable[Names]) -> dict[Names, Proved]:
        """Those of these variables that locks alone keep apart. Raises OutOfMemory."""
        found = ((names, self._by_locks(names)) for names in groups)
        return {names: proved for names, proved in found if proved is not None}

    def over_data(self, groups: Sequence[Names]) -> tuple[Proved, ...] | None:
        """Proofs that together are about all of these variables, or None.

        Raises OutOfMemory.
        """
        found: list[Proved] = []
        pending = [groups] if groups else []
        while pending:
            some = pending.pop()
            try:
                proved = self._over_data(frozenset[str]().union(*some))
            except _Violated:
                return None
            if proved is None and len(some) == 1:
                proved = self._refined(some[0])
            if proved is not None:
                found.append(proved)
            elif len(some) == 1 or now() > self.until:
                return None
            else:
                middle = len(some) // 2
                pending += [some[middle:], some[:middle]]
        return tuple(found)

    def _thinned(self, names: Names) -> Thinned:
        return self.slices.thinned(self.check, self.number, names).to_prove

    def _by_locks(self, names: Names) -> Proved | None:
        thin = self._thinned(names)
        only = thin.guarding()
        system, prop = thin.system(only)
        samples = Samples(system, (prop,))
        soon = min(self.until, now() + _SOON)
        if next(samples.collect(*_FEW, soon), None) is not None:
            return None
        watch = memory_watch(self.settings)
        proof = prove(system, prop, deadline=soon, progress=watch, samples=samples)
        if proof.invariant is None:
            return None
        sliced = Sliced(system, prop, thin.kept.parts, only)
        return Proved(sliced, proof.invariant, names)

    def _over_data(self, names: Names) -> Proved | None:
        """Over the data alone, if a race is kept away by them, or over all that matters."""
        thin = self._thinned(names)
        for only in (thin.data(), None):
            system, prop = thin.system(only)
            samples = Samples(system, (prop,))
            if next(samples.collect(*_MANY, self.until), None) is None:
                break
        else:
            raise _Violated
        proof = prove_in_attempts(
            system,
            (prop,),
            samples,
            until=self.until,
            seconds=_SHARE,
            progress=memory_watch(self.settings),
            lessons=self.lessons,
        )[0]
        if proof.invariant is None:
            return None
        sliced = Sliced(system, prop, thin.kept.parts, only)
        return Proved(sliced, proof.invariant, names)

    def _refined(self, names: Names) -> Proved | None:
        """Over some of the variables, each time more."""
        thin = self._thinned(names)
        watch = memory_watch(self.settings)
        for narrow in Refinement(thin, self.until).slices():
            proof = prove(
                narrow.system,
                narrow.prop,
                deadline=min(self.until, now() + narrow.seconds),
                progress=watch,
                samples=narrow.samples,
            )
            if proof.invariant is not None:
                sliced = Sliced(
                    narrow.system, narrow.prop, thin.kept.parts, narrow.only
                )
                return Proved(sliced, proof.invariant, names)
        return None
