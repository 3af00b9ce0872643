"""What decides the claims of a program: a slice for each, and the program whole."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Self

from cpuhp.engines.answer import ClaimNumber, Sliced
from cpuhp.engines.beginnings import Beginnings
from cpuhp.graph.absent import absent
from cpuhp.graph.claim import Folded, Thinned, fold, race_groups, thinned
from cpuhp.graph.cycles import watching
from cpuhp.graph.holding import demand_readers_once
from cpuhp.graph.races import plain_variables
from cpuhp.language.build import build_together
from cpuhp.language.compile import claims, lower
from cpuhp.language.program import Program
from cpuhp.model.system import Expectation, Property, TransitionSystem


class Slices:
    """What decides each claim of one program; keeps what the claims share."""

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
    def watching(self) -> Self:
        """The program as one watches the order of its locks."""
        return type(self)(watching(self.whole))

    def deciding(self, check_name: str, number: int) -> Self:
        """The program that decides the claim: this one, or as it is watched."""
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
        return plain_variables(self.whole)

    def race_slice(self, check_name: str, number: int, *names: str) -> Sliced:
        """The smallest system that decides whether there is a race on these variables."""
        key = check_name, number, frozenset(names)
        if key not in self._race_slices:
            thin = self.thinned(*key)
            system, told = thin.system()
            sliced = Sliced(system, told, thin.kept.parts)
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
