"""Why each piece of a scenario is there: which checks need it, and which sets suffice.

Everything is asked of the smallest system that decides a claim. A piece that this
system does not contain cannot matter to the claim, and is not tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from fnmatch import fnmatchcase

from cpuhp.diagnostics import InputError
from cpuhp.language import tree as t
from cpuhp.language.compile import Lowered
from cpuhp.language.flow import Edge
from cpuhp.language.tree import nodes_below
from cpuhp.model.sorts import BOOL
from cpuhp.model.system import Expectation
from cpuhp.ordering.elements import Element, elements, mentions, options, remedies
from cpuhp.ordering.minimal import Sets, minimal_sets, unions
from cpuhp.ordering.questions import ENDLESS, Finding, Outcome, Question, questions
from cpuhp.ordering.variant import Edit, Variant, place_of
from cpuhp.ordering.workers import Judges, Sight


class Role(Enum):
    """What a piece is to a check."""

    NEEDED = "needed"  # fails without it
    REDUNDANT = "redundant"  # the check depends on it, and holds without it
    HARMFUL = "harmful"  # fails with it, and holds without it
    NEITHER = "fails either way"
    WITNESS = "reached by it"  # without it the check's `sometimes` is not reached
    UNRELATED = "no effect"  # the system that decides the check does not contain it
    UNKNOWN = "unknown"


RANK = (
    Role.NEEDED,
    Role.HARMFUL,
    Role.NEITHER,
    Role.UNKNOWN,
    Role.WITNESS,
    Role.REDUNDANT,
    Role.UNRELATED,
)


@dataclass(frozen=True)
class Cell:
    """A piece and a check. `finding` is that of the claim that decides the role."""

    role: Role
    question: Question | None = None
    finding: Finding | None = None
    because: tuple[str, ...] = ()  # NEEDED only while these options are on


@dataclass(frozen=True)
class Row:
    """A piece, with its cell for each check, and what else is known of it.

    `unused`: why it has no effect at all. `carries`: options that only have a meaning
    with it. `narrows`: it only says whom some choice leaves out.
    """

    element: Element
    cells: Mapping[str, Cell]
    unused: str = ""
    carries: tuple[str, ...] = ()
    narrows: str = ""

    def checks(self, role: Role) -> list[str]:
        return [name for name, cell in self.cells.items() if cell.role is role]


@dataclass(frozen=True)
class Why:
    """All pieces of a scenario. `holds`: per check, whether all its claims do."""

    scenario: str
    bound: str
    holds: Mapping[str, Outcome]
    rows: tuple[Row, ...]
    sets: Mapping[str, Sets] = field(default_factory=dict)
    together: tuple[frozenset[str], ...] = ()
    given: tuple[str, ...] = ()  # options that the sets take for granted
    remedies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    asked: int = 0
    runs: int = 0


def why(
    base: Variant,
    judges: Judges,
    pattern: str = "*",
    kinds: Iterable[str] = ("option", "lock", "wait", "choice", "order"),
) -> Why:
    """Look at every piece of these kinds with every check that matches.

    Raises InputError if the scenario is not well-formed.
    """
    checker = base.checker()
    asked = [q for q in _questions(base) if fnmatchcase(q.check, pattern)]
    if pattern == "*":  # runs without end are looked for on request
        asked = [q for q in asked if q.kind not in ENDLESS]
    before = dict(zip(asked, judges.findings([(base, q) for q in asked])))
    pieces = [e for e in elements(base, checker.whole) if e.kind in kinds]
    sights = dict(zip(asked, judges.sights(base, asked)))
    seen = options_seen(base, judges, asked)
    wanted = [
        (piece, question)
        for piece in pieces
        for question in asked
        if _may_matter(piece, question, before[question], sights[question], seen)
    ]
    found = judges.findings([(p.without, q) for p, q in wanted], broken=True)
    after = {
        (id(piece), question): finding
        for (piece, question), finding in zip(wanted, found)
    }
    tried = {id(piece) for piece, _ in wanted}
    pieces = [p for p in pieces if p.kind != "order" or id(p) in tried]
    rows = [_row(piece, asked, before, after, base, judges) for piece in pieces]
    rows = _carriers(rows, base)
    given = tuple(r.element.name for r in rows if r.carries)
    rows = _because(rows, base, judges, seen, given)
    sets = _sets(rows, asked, before, seen, base, judges, given)
    return Why(
        scenario=base.scenario.shown_name,
        bound=str(judges.bound),
        holds=_holds(asked, before),
        rows=tuple(rows),
        sets=sets,
        together=tuple(unions([s.sufficient for s in sets.values()])),
        given=given,
        remedies=_remedies(asked, before, seen, base, judges),
        asked=judges.asked,
        runs=judges.runs,
    )


def _questions(base: Variant) -> list[Question]:
    """All claims. Those about data races also on what is shared with other options."""
    found = dict.fromkeys(questions(base.checker()))
    if any(prop.expectation is Expectation.RACE_FREE
           for _, _, prop in base.checker().claims()):  # fmt: skip
        for other in _others(base):
            more = questions(other.checker(), sometimes=False)
            found |= dict.fromkeys(q for q in more if q.variable is not None)
    return list(found)


def _others(base: Variant) -> Iterator[Variant]:
    """Variants that together have the code of all values of the options."""
    pieces = list(options(base, base.program()))
    opened = _opened(base)
    try:
        opened.checker()
        yield opened
        pieces = [piece for piece in pieces if "=" in piece.name]
    except InputError:  # an initial value reads an option: then each by itself
        pieces += remedies(base, base.program())
    for piece in pieces:
        try:
            piece.without.checker()
        except InputError:  # whoever asks about the piece is told
            continue
        yield piece.without


def _may_matter(
    piece: Element,
    question: Question,
    before: Finding,
    sight: Sight,
    seen: Mapping[Question, frozenset[str]],
) -> bool:
    """Whether the system that decides the question can change when the piece goes."""
    sometimes = question.kind is Expectation.SOMETIMES
    if piece.kind == "option":
        return "=" in piece.name or piece.name in seen[question]
    if sometimes or before.outcome is not Outcome.HOLDS:
        return False
    if piece.kind == "order":
        return _next_to_each_other(piece.pair, sight.callbacks)
    return bool(piece.places & sight.statements)


def _next_to_each_other(pair: tuple[str, ...], callbacks: Sequence[str]) -> bool:
    if not set(pair) <= set(callbacks):
        return False
    at = sorted(callbacks.index(name) for name in pair)
    return at[1] - at[0] == 1


def options_seen(
    base: Variant, judges: Judges, asked: Sequence[Question]
) -> dict[Question, frozenset[str]]:
    """For each question, the options that it can depend on in any combination.

    All options are made constants without a value, so slicing sees every branch.
    """
    names = frozenset(
        name for name, o in base.program().options.items() if o.sort == BOOL
    )
    try:
        sights = judges.sights(_opened(base), asked, whole=False)
    except InputError:  # an initial value reads one: then all are looked at
        return {q: names for q in asked}
    return {q: sight.variables & names for q, sight in zip(asked, sights)}


def _opened(base: Variant) -> Variant:
    edits = []
    for unit in base.program().units:
        for node in unit.items:
            is_bool = isinstance(
                node, t.OptionDeclaration
            ) and node.type == t.NamedType("bool", False, node.type.span)
            if not is_bool:
                continue
            assert isinstance(node, t.OptionDeclaration)
            last = base.program().options[node.name].declaration
            if last is not node or node.name == "starts_online":
                if last is not node:
                    edits.append(Edit(place_of(node), None))
                continue
            value = t.Name("any", node.span)
            opened = t.VariableDeclaration(
                "shared", True, node.type, node.name, value, node.doc, node.span
            )
            edits.append(Edit(place_of(node), opened))
        for item in unit.items:
            if isinstance(item, t.Expect):
                edits.append(Edit(place_of(item), None))
    kept = tuple(
        (name, value)
        for name, value in base.options
        if base.program().options[name].sort != BOOL or name == "starts_online"
    )
    return replace(base, options=kept).with_edits(*edits)


def _row(
    piece: Element,
    asked: Sequence[Question],
    before: Mapping[Question, Finding],
    after: Mapping[tuple[int, Question], Finding],
    base: Variant,
    judges: Judges,
) -> Row:
    cells: dict[str, Cell] = {}
    for question in asked:
        finding = after.get((id(piece), question))
        cell = Cell(Role.UNRELATED)
        if finding is not None and not judges.same(base, piece.without, question):
            role = _role(question, before[question], finding)
            cell = Cell(role, question, finding)
        known = cells.get(question.check)
        if known is None or RANK.index(cell.role) < RANK.index(known.role):
            cells[question.check] = cell
    row = Row(piece, cells)
    if piece.kind == "option":
        row = replace(row, unused=_unused(piece, base), narrows=_narrows(piece, base))
    return row


def _role(question: Question, before: Finding, after: Finding) -> Role:
    if Outcome.UNKNOWN in (before.outcome, after.outcome):
        return Role.UNKNOWN
    if question.kind is Expectation.SOMETIMES:
        lost = before.outcome is Outcome.HOLDS and after.outcome is Outcome.UNREACHED
        return Role.WITNESS if lost else Role.REDUNDANT
    if before.outcome is Outcome.HOLDS:
        return Role.NEEDED if after.outcome is Outcome.FAILS else Role.REDUNDANT
    return Role.HARMFUL if after.outcome is Outcome.HOLDS else Role.NEITHER


def _unused(piece: Element, base: Variant) -> str:
    """Why an option has no effect on the program at all, or which code it takes away."""
    name = piece.name.partition("=")[0]
    with_it, without = base.checker().whole, piece.without.checker().whole
    if _edges(with_it) != _edges(without):
        gone = sorted(_functions(with_it) - _functions(without))
        return (
            f"then never runs: {', '.join(gone)}" if gone and "=" in piece.name else ""
        )
    run = _functions(with_it)
    named = [i for i in mentions(base.program(), name) if i.body is not None]
    idle = [item.name for item in named if item.name not in run]
    if idle:
        return f"dead code: {', '.join(idle)}() is not run"
    return "no effect: what it decides comes out the same"


def _edges(whole: Lowered) -> list[tuple[str, list[Edge]]]:
    return [(process.name, process.flow.edges) for process in whole.processes]


def _functions(whole: Lowered) -> set[str]:
    """Functions and callbacks that are part of what somebody runs."""
    return {
        place
        for process in whole.processes
        for edge in process.flow.edges
        if edge.note is not None
        for place in edge.note.places
    }


def _narrows(piece: Element, base: Variant) -> str:
    """The choice that an option only takes candidates from, if it does nothing else."""
    name = piece.name
    found: list[str] = []
    for item in mentions(base.program(), name):
        for node in nodes_below(item.body):
            filters = [node.filter] if isinstance(node, t.Call) else []
            inside = {
                id(part)
                for term in filters
                for part in nodes_below(term)
                if isinstance(part, t.Name) and part.name == name
            }
            found += [item.name] * len(inside)
        uses = [
            n for n in nodes_below(item) if isinstance(n, t.Name) and n.name == name
        ]
        if len(uses) != found.count(item.name):
            return ""
    return ", ".join(dict.fromkeys(found))


def _carriers(rows: Sequence[Row], base: Variant) -> list[Row]:
    """Options without which the code is gone that other options are about."""
    options = {r.element.name for r in rows if r.element.kind == "option"}
    program = base.program()
    spoken = {
        item.name: {n for n in options if item in mentions(program, n)}
        for name in options
        for item in mentions(program, name)
    }
    whole = _functions(base.checker().whole)
    result = []
    for row in rows:
        name = row.element.name
        if row.element.kind == "option" and "=" not in name:
            lost = whole - _functions(row.element.without.checker().whole)
            carried = {o for place in lost for o in spoken.get(place, ()) if o != name}
            row = replace(row, carries=tuple(sorted(carried)))
        result.append(row)
    return result


def _because(
    rows: Sequence[Row],
    base: Variant,
    judges: Judges,
    seen: Mapping[Question, frozenset[str]],
    given: Sequence[str],
) -> list[Row]:
    """For each check that needs an option: the options that make it necessary."""
    names = [
        r.element.name
        for r in rows
        if r.element.kind == "option" and "=" not in r.element.name and not r.unused
    ]
    wanted: dict[tuple[str, str, str], tuple[Variant, Question]] = {}
    for row in rows:
        for check in row.checks(Role.NEEDED) if row.element.name in names else ():
            question = row.cells[check].question
            assert question is not None
            for other in names:
                if other in seen[question] and other != row.element.name:
                    off = row.element.without.with_options(**{other: "false"})
                    wanted[row.element.name, check, other] = (off, question)
    found = dict(zip(wanted, judges.findings(list(wanted.values()))))
    result = []
    for row in rows:
        cells = dict(row.cells)
        for check in row.checks(Role.NEEDED):
            because = tuple(
                other
                for (name, of, other), told in found.items()
                if (name, of) == (row.element.name, check)
                and told.outcome is Outcome.HOLDS
            )
            cells[check] = replace(cells[check], because=because)
        result.append(replace(row, cells=cells))
    return result


def _holds(
    asked: Sequence[Question], before: Mapping[Question, Finding]
) -> dict[str, Outcome]:
    worst = (Outcome.FAILS, Outcome.UNKNOWN, Outcome.UNREACHED, Outcome.HOLDS)
    found: dict[str, Outcome] = {}
    for question in asked:
        outcome = before[question].outcome
        known = found.get(question.check, Outcome.HOLDS)
        found[question.check] = min(known, outcome, key=worst.index)
    return found


def _sets(
    rows: Sequence[Row],
    asked: Sequence[Question],
    before: Mapping[Question, Finding],
    seen: Mapping[Question, frozenset[str]],
    base: Variant,
    judges: Judges,
    given: Sequence[str],
) -> dict[str, Sets]:
    """Per check that holds: the minimal sets of options for which it does."""
    names = [
        r.element.name
        for r in rows
        if r.element.kind == "option" and "=" not in r.element.name
    ]
    names = [n for n in names if n not in given]
    dead = {r.element.name for r in rows if r.unused}
    found: dict[str, Sets] = {}
    for check in dict.fromkeys(q.check for q in asked):
        mine = [q for q in asked if q.check == check]
        mine = [q for q in mine if q.kind is not Expectation.SOMETIMES]
        if not mine or any(before[q].outcome is not Outcome.HOLDS for q in mine):
            continue
        because = {b for r in rows for b in r.cells[check].because}
        able = [n for n in names if any(n in seen[q] for q in mine)]
        universe = [n for n in able if n not in dead | because]
        sets = minimal_sets(universe, _asker(base, judges, universe, mine))
        # What has no effect by itself may have one where others are off.
        ask = _asker(base, judges, able, mine)
        if able != universe and not all(ask(sets.sufficient)):
            sets = minimal_sets(able, ask)
        found[check] = sets
    return found


def _asker(
    base: Variant, judges: Judges, universe: Sequence[str], mine: Sequence[Question]
) -> Callable[[Sequence[frozenset[str]]], list[bool | None]]:
    def holds(sets: Sequence[frozenset[str]]) -> list[bool | None]:
        variants = [
            base.with_options(**{n: "false" for n in universe if n not in chosen})
            for chosen in sets
        ]
        found = judges.findings([(v, q) for v in variants for q in mine])
        told: list[bool | None] = []
        for at in range(len(sets)):
            outcomes = [f.outcome for f in found[at * len(mine) : (at + 1) * len(mine)]]
            if Outcome.FAILS in outcomes:
                told.append(False)
            else:
                told.append(None if Outcome.UNKNOWN in outcomes else True)
        return told

    return holds


def _remedies(
    asked: Sequence[Question],
    before: Mapping[Question, Finding],
    seen: Mapping[Question, frozenset[str]],
    base: Variant,
    judges: Judges,
) -> dict[str, tuple[str, ...]]:
    """For each check that fails: options that are off and with which it would hold."""
    failing = [
        q
        for q in asked
        if before[q].outcome is Outcome.FAILS and q.kind is not Expectation.SOMETIMES
    ]
    pieces = list(remedies(base, base.program()))
    wanted = [(p, q) for q in failing for p in pieces if p.name in seen[q]]
    found = judges.findings([(p.without, q) for p, q in wanted])
    helps = {
        (p.name, q): f.outcome is Outcome.HOLDS for (p, q), f in zip(wanted, found)
    }
    result: dict[str, tuple[str, ...]] = {}
    for check in dict.fromkeys(q.check for q in failing):
        mine = [q for q in failing if q.check == check]
        result[check] = tuple(
            p.name for p in pieces if all(helps.get((p.name, q)) for q in mine)
        )
    return result
