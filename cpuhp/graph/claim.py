"""The system that decides one claim: sliced, folded and fused.

The search and the checker of certificates both begin here, so that they speak of the
same system; nothing else is common to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from cpuhp.graph.constants import Constants, constants, folded
from cpuhp.graph.races import only_plain, race_freedom
from cpuhp.graph.relevance import Relevance, Slice, lock_of
from cpuhp.graph.rows import Rows, rows
from cpuhp.graph.slicing import project
from cpuhp.language.build import build_together, observed_by
from cpuhp.language.compile import Lowered, claims, lower
from cpuhp.model.sorts import is_cpu
from cpuhp.model.system import Expectation, Property, TransitionSystem


@dataclass(frozen=True)
class Folded:
    """A whole program without what never changes: claims of one program share it.

    Of the variables in `accessed` all accesses are kept (for data races).
    """

    whole: Lowered
    known: Constants
    thinner: Lowered
    rows: Rows
    accessed: frozenset[str] = frozenset()

    @cached_property
    def relevance(self) -> Relevance:
        """What can matter in it."""
        return Relevance(self.thinner)

    @cached_property
    def _chosen(self) -> dict[tuple[frozenset[str], bool], Relevance]:
        return {}

    def chosen(self, parts: frozenset[str], merge: bool) -> Relevance:
        """These parts of the program, folded; many claims need the same ones."""
        found = self._chosen.get((parts, merge))
        if found is None:
            lowered = lower(self.whole.program, parts, merge=merge)
            found = Relevance(folded(lowered, self.known, self.accessed))
            self._chosen[parts, merge] = found
        return found


def fold(whole: Lowered, accessed: frozenset[str] = frozenset()) -> Folded:
    """Constants of the whole program, those in `accessed` left out, and what is left."""
    known = constants(whole, accessed)
    thinner = folded(whole, known, accessed)
    return Folded(whole, known, thinner, rows(whole), accessed)


@dataclass(frozen=True)
class Thinned:
    """The parts of a program that matter to claims, folded, not yet projected.

    With `proving`, the claims are what a proof would show.
    """

    relevance: Relevance
    props: tuple[Property, ...]
    kept: Slice
    accessed: frozenset[str] = frozenset()
    proving: bool = False

    @property
    def lowered(self) -> Lowered:
        return self.relevance.lowered

    def data(self) -> frozenset[str]:
        """The variables that matter, without locks and shared ones that hold a CPU.

        Auxiliary ones are among them.
        Where a claim compares with a program point, what decides on going there stays.
        """
        program = self.lowered.program
        pointing = self.pointers()
        pointers = {
            name
            for name, declared in program.variables.items()
            if declared.lock or (name in pointing and not declared.declaration.constant)
        }
        pointers -= self.relevance.deciding(self.props)
        return self.kept.variables - pointers | self.auxiliary()

    def auxiliary(self) -> frozenset[str]:
        """Variables that are written for proofs, where the rest matters anyway."""
        declared = self.lowered.program.variables
        return frozenset(
            name
            for name in self.relevance.written
            if name in declared and declared[name].declaration.auxiliary
        )

    def locks(self) -> frozenset[str]:
        """The locks that the claims speak of."""
        declared = self.lowered.program.variables
        return frozenset(
            name
            for name in observed_by(self.props)
            if name in declared and declared[name].lock
        )

    def guarding(self) -> frozenset[str]:
        """The variables whose accesses matter, and the locks."""
        declared = self.lowered.program.variables
        locks = {name for name, variable in declared.items() if variable.lock}
        return self.accessed | {n for n in self.kept.variables if lock_of(n) in locks}

    def pointers(self) -> frozenset[str]:
        """The variables that hold a CPU."""
        lowered = self.lowered
        sorts = {
            name: lowered.terms.sort_of(declared)
            for name, declared in lowered.program.variables.items()
        }
        sorts |= {v.name: v.sort for p in lowered.processes for v in p.locals}
        return frozenset(name for name, sort in sorts.items() if is_cpu(sort))

    def shallow(self) -> frozenset[str]:
        """The variables that the claims speak of, and what is looked at beside them."""
        return self.kept.variables & self.relevance.deciders(
            self.props, observed_by(self.props) | self.accessed
        )

    def nearby(self) -> Iterator[frozenset[str]]:
        """More and more of the data: what decides about what decides about the claims.

        Each set is larger than the one before. What only delays a process, while
        nothing of this is written, is in none of them.
        """
        known, data = self.shallow(), self.data()
        while True:
            found = known | data & self.relevance.deciders(self.props, known)
            if found == known:
                return
            yield (known := found)

    def system(
        self, only: frozenset[str] | None = None, *, reduced: bool = True
    ) -> tuple[TransitionSystem, Property]:
        """The system over the variables that matter, or over `only` some of them.

        The claim beside it is the first one.
        """
        system, told = self.together(only, reduced=reduced)
        return system, told[0]

    def together(
        self, only: frozenset[str] | None = None, *, reduced: bool = True
    ) -> tuple[TransitionSystem, tuple[Property, ...]]:
        """The same with all claims, in the terms of the system."""
        system, told = build_together(
            self.projected(only), self.props, reduced=reduced, accessed=self.accessed
        )
        if self.accessed:
            system = only_plain(system, self.accessed)
        if self.proving:
            told = tuple([_shown(system, prop) for prop in told])
        return system, told

    @property
    def to_prove(self) -> Thinned:
        """The same about what a proof would show."""
        props = tuple([prop.to_prove for prop in self.props])
        return replace(self, props=props, proving=True)

    def projected(self, only: frozenset[str] | None = None) -> Lowered:
        """The control flow over these variables.

        With `only`, no condition on other variables is kept: the program can do more,
        and a proof about it stands.
        """
        kept = self.kept
        if only is not None:
            if not self.may_do_more:
                raise ValueError("who can do more may block less")
            kept = self.relevance.narrowed(self.props, kept, only, self.accessed)
        return project(self.lowered, kept)

    @property
    def may_do_more(self) -> bool:
        """Does what is shown of a program that can do more hold of this one?"""
        shown = {Expectation.ALWAYS}
        if self.proving and self.accessed:
            shown.add(Expectation.RACE_FREE)
        return {prop.expectation for prop in self.props} <= shown


def _shown(system: TransitionSystem, prop: Property) -> Property:
    """What a proof shows of each state: of data races, that there is none."""
    if prop.expectation is not Expectation.RACE_FREE:
        return prop
    shown = race_freedom(system)
    return replace(prop, expectation=Expectation.ALWAYS, formula=shown)


def race_groups(
    start: Folded, prop: Property, names: list[str]
) -> list[frozenset[str]]:
    """These variables, those together whose data races one slice can decide.

    A variable joins another one that needs all that it needs itself, so that the slice
    of a group is hardly larger than the largest slice of a member. Small slices come
    first.
    """
    needs = {
        name: start.relevance.slice((prop,), frozenset({name})).variables
        for name in names
    }
    groups: list[tuple[frozenset[str], set[str]]] = []
    for name in sorted(names, key=lambda n: -len(needs[n])):
        for needed, members in groups:
            if needs[name] - {name} <= needed:
                members.add(name)
                break
        else:
            groups.append((needs[name], {name}))
    return [frozenset(members) for _, members in reversed(groups)]


def thinned(start: Folded, *chosen: tuple[Property, int]) -> Thinned:
    """What matters to claims, each with its number in its check."""
    checks, accessed = start.whole.program.checks, start.accessed
    asked = tuple(prop for prop, _ in chosen)
    parts = start.relevance.slice(asked, accessed).parts
    found = start.chosen(parts, start.rows.can_merge(asked))
    props = tuple(
        claims(found.lowered, checks[prop.check], number)[0] for prop, number in chosen
    )
    kept = replace(found.slice(props, accessed), parts=parts)
    return Thinned(found, props, kept, accessed)
