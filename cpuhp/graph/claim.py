"""The system that decides one claim: sliced, folded and fused.

The search and the checker of certificates both begin here, so that they speak of the
same system; nothing else is common to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from cpuhp.graph.constants import Constants, constants, folded
from cpuhp.graph.rows import Rows, rows
from cpuhp.graph.slicing import (
    Slice,
    deciders,
    deciding,
    narrowed,
    only_delaying,
    project,
    relevant,
)
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
    def delaying(self) -> frozenset[str]:
        """The locks that only keep others waiting."""
        return only_delaying(self.thinner)


def fold(whole: Lowered, accessed: frozenset[str] = frozenset()) -> Folded:
    """Constants of the whole program, those in `accessed` left out, and what is left."""
    known = constants(whole, accessed)
    thinner = folded(whole, known, accessed)
    return Folded(whole, known, thinner, rows(whole), accessed)


@dataclass(frozen=True)
class Thinned:
    """The parts of a program that matter to claims, folded, not yet projected."""

    lowered: Lowered
    props: tuple[Property, ...]
    kept: Slice
    accessed: frozenset[str] = frozenset()

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
        pointers -= deciding(self.lowered, self.props)
        return self.kept.variables - pointers | self.auxiliary()

    def auxiliary(self) -> frozenset[str]:
        """Variables that are written for proofs, where the rest matters anyway."""
        declared = self.lowered.program.variables
        return frozenset(
            name
            for process in self.lowered.processes
            for edge in process.flow.edges
            for name in edge.writes()
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
        return self.kept.variables & deciders(
            self.lowered, self.props, observed_by(self.props)
        )

    def nearby(self) -> Iterator[frozenset[str]]:
        """More and more of the data: what decides about what decides about the claims.

        Each set is larger than the one before. What only delays a process, while
        nothing of this is written, is in none of them.
        """
        known, data = self.shallow(), self.data()
        while True:
            found = known | data & deciders(self.lowered, self.props, known)
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
        return build_together(
            self.projected(only), self.props, reduced=reduced, accessed=self.accessed
        )

    @property
    def to_prove(self) -> Thinned:
        """The same about what a proof would show."""
        return replace(self, props=tuple([prop.to_prove for prop in self.props]))

    def projected(self, only: frozenset[str] | None = None) -> Lowered:
        """The control flow over these variables.

        With `only`, no condition on other variables is kept: the program can do more,
        and a proof about it stands.
        """
        kept = self.kept
        if only is not None:
            if any(p.expectation is not Expectation.ALWAYS for p in self.props):
                raise ValueError("who can do more may block less")
            kept = narrowed(self.lowered, self.props, kept, only)
        return project(self.lowered, kept)


def race_groups(
    start: Folded, prop: Property, names: list[str]
) -> list[frozenset[str]]:
    """These variables, those together whose data races one slice can decide.

    A variable joins another one that needs all that it needs itself, so that the slice
    of a group is hardly larger than the largest slice of a member. Small slices come
    first.
    """
    needs = {
        name: relevant(
            start.thinner, (prop,), frozenset({name}), start.delaying
        ).variables
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
    program, accessed = start.whole.program, start.accessed
    asked = tuple(prop for prop, _ in chosen)
    kept = relevant(start.thinner, asked, accessed, start.delaying)
    merge = start.rows.can_merge(asked)
    lowered = lower(program, kept.parts, merge=merge)
    lowered = folded(lowered, start.known, accessed)
    props = tuple(
        claims(lowered, program.checks[prop.check], number)[0]
        for prop, number in chosen
    )
    kept = replace(relevant(lowered, props, accessed), parts=kept.parts)
    return Thinned(lowered, props, kept, accessed)
