"""Mutants of a spec: each statement dropped, weakened or swapped in turn.

A mutant that no check notices is a statement that no check is about, or one that is not
needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from cpuhp.language import tree as t
from cpuhp.language.tree import nodes_below
from cpuhp.model.system import Expectation
from cpuhp.ordering.elements import conjuncts, joined
from cpuhp.ordering.questions import ENDLESS, Finding, Outcome, Question, questions
from cpuhp.ordering.text import (
    STATEMENTS,
    Keys,
    one_line,
    present,
    steps_of,
    triggers,
    where,
)
from cpuhp.ordering.variant import Edit, Place, Variant, place_of
from cpuhp.ordering.workers import BROKEN, Judges


@dataclass(frozen=True)
class Mutant:
    """One change of one statement; `how` is dropped, weakened or swapped."""

    how: str
    text: str
    where: str
    variant: Variant
    places: Keys


@dataclass(frozen=True)
class Fate:
    """What became of a mutant: who killed it, or that it does not compile.

    `looked`: the claims that depend on the statement at all.
    """

    mutant: Mutant
    killers: tuple[tuple[Question, Finding], ...]
    looked: int
    broken: str = ""
    unknown: int = 0


@dataclass(frozen=True)
class Mutation:
    """All mutants of a spec. `score` is killed / compiled."""

    scenario: str
    bound: str
    fates: tuple[Fate, ...]
    failing: tuple[str, ...]  # checks that fail as it is, and so kill nothing
    asked: int
    runs: int

    @property
    def killed(self) -> list[Fate]:
        return [f for f in self.fates if f.killers]

    @property
    def survivors(self) -> list[Fate]:
        return [f for f in self.fates if not f.killers and not f.broken]

    @property
    def broken(self) -> list[Fate]:
        return [f for f in self.fates if f.broken]

    @property
    def score(self) -> float:
        compiled = len(self.killed) + len(self.survivors)
        return len(self.killed) / compiled if compiled else 0.0


def mutate(base: Variant, judges: Judges, sources: frozenset[str]) -> Mutation:
    """Every mutant of the statements in these files, against all checks that hold."""
    checker = base.checker()
    asked = [q for q in questions(checker) if q.kind not in ENDLESS]
    before = dict(zip(asked, judges.findings([(base, q) for q in asked])))
    holding = [q for q in asked if before[q].outcome is Outcome.HOLDS]
    sights = dict(zip(holding, judges.sights(base, holding)))
    listed = list(mutants(base, sources))
    wanted = [
        (number, question)
        for number, mutant in enumerate(listed)
        for question in holding
        if mutant.places & sights[question].statements
    ]
    found = judges.findings(
        [(listed[number].variant, question) for number, question in wanted],
        broken=True,
    )
    by_mutant: dict[int, list[tuple[Question, Finding]]] = {}
    for (number, question), finding in zip(wanted, found):
        by_mutant.setdefault(number, []).append((question, finding))
    fates = [_fate(m, by_mutant.get(n, [])) for n, m in enumerate(listed)]
    failing = {q.check for q in asked if before[q].outcome is Outcome.FAILS}
    return Mutation(
        base.scenario.shown_name,
        str(judges.bound),
        tuple(fates),
        tuple(sorted(failing)),
        judges.asked,
        judges.runs,
    )


def _fate(mutant: Mutant, told: Sequence[tuple[Question, Finding]]) -> Fate:
    broken = next((f.reason for _, f in told if f.reason.startswith(BROKEN)), "")
    killers = tuple((q, f) for q, f in told if _is_noticed(q, f))
    unknown = sum(f.outcome is Outcome.UNKNOWN for _, f in told)
    return Fate(mutant, () if broken else killers, len(told), broken, unknown)


def _is_noticed(question: Question, finding: Finding) -> bool:
    if question.kind is Expectation.SOMETIMES:
        return finding.outcome is Outcome.UNREACHED
    return finding.outcome is Outcome.FAILS


def mutants(base: Variant, sources: frozenset[str]) -> Iterator[Mutant]:
    """All changes of statements that somebody runs, in the order of the text."""
    checker = base.checker()
    steps, runs = steps_of(checker.program), present(checker.whole)
    for unit in checker.program.units:
        if unit.span.source.name not in sources:
            continue
        resting = triggers(unit)
        for node in nodes_below(unit.items):
            if isinstance(node, t.Block):
                yield from _in_block(node, base, steps, runs, resting)
            elif isinstance(node, t.If | t.While | t.Wait | t.ForEach):
                yield from _weakened(node, base, steps, runs)


def _in_block(
    block: t.Block,
    base: Variant,
    steps: Mapping[Place, Keys],
    runs: Keys,
    resting: frozenset[Place],
) -> Iterator[Mutant]:
    for statement in block.statements:
        keys = _keys_below(statement, steps)
        at = place_of(statement)
        if keys & runs and at not in resting and not isinstance(statement, t.Block):
            yield _mutant("dropped", statement, Edit(at, None), base, keys)
    for first, second in pairwise(block.statements):
        if isinstance(second, t.Declare | t.Return) or isinstance(first, t.Declare):
            continue
        keys = _keys_below(first, steps) | _keys_below(second, steps)
        if not keys & runs:
            continue
        edited = base.with_edits(
            Edit(place_of(first), second), Edit(place_of(second), first)
        )
        text = f"{one_line(first.span)} <-> {one_line(second.span)}"
        yield Mutant("swapped", text, where(first.span), edited, keys)


def _weakened(
    node: t.If | t.While | t.Wait | t.ForEach,
    base: Variant,
    steps: Mapping[Place, Keys],
    runs: Keys,
) -> Iterator[Mutant]:
    """A condition without one of its parts; a single one is taken as true."""
    field = "filter" if isinstance(node, t.ForEach) else "condition"
    condition = getattr(node, field)
    keys = _keys_below(node, steps)
    if condition is None or not keys & runs:
        return
    parts = list(conjuncts(condition))
    if len(parts) < 2:
        if not isinstance(node, t.If):
            return  # a wait without condition is a wait that is dropped
        parts = [condition]
    for at, part in enumerate(parts):
        rest = parts[:at] + parts[at + 1 :]
        weaker = joined(rest, condition.span) or t.Name("true", condition.span)
        changed: dict[str, Any] = {field: weaker}
        edit = Edit(place_of(node), replace(node, **changed))
        edited = base.with_edits(edit)
        yield Mutant("weakened", one_line(part.span), where(part.span), edited, keys)


def _mutant(
    how: str, node: t.Statement, edit: Edit, base: Variant, keys: Keys
) -> Mutant:
    return Mutant(
        how, one_line(node.span), where(node.span), base.with_edits(edit), keys
    )


def _keys_below(node: t.Statement, steps: Mapping[Place, Keys]) -> Keys:
    """The steps of a statement and of all statements in it."""
    found: set[tuple[str, int, int]] = set()
    for part in nodes_below(node):
        if isinstance(part, STATEMENTS):
            found |= steps.get(place_of(part), frozenset())
    return frozenset(found)
