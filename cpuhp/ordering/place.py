"""Where a step may stand: every slot of the table in which all checks still hold.

The system that decides a claim has only those rows of the table that matter to it. Slots
with none of them in between lead to the same system, and one search answers for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from cpuhp.diagnostics import InputError
from cpuhp.language import tree as t
from cpuhp.language.program import nodes_below
from cpuhp.model.system import Expectation
from cpuhp.model.table import HotplugState, Section, Table
from cpuhp.ordering.minimal import smallest
from cpuhp.ordering.questions import ENDLESS, Finding, Outcome, Question, questions
from cpuhp.ordering.steps import (
    Slot,
    Step,
    moved,
    own_slot,
    rules,
    slots,
    with_step,
    without_callbacks,
)
from cpuhp.ordering.variant import Variant
from cpuhp.ordering.workers import Judges

RUNS = "step_runs"  # the check that is added: somebody runs the callback at all


@dataclass(frozen=True)
class Reason:
    """Why a slot is forbidden: a check of a scenario, or (without) a rule.

    `responsible`: callbacks of other steps without one of which it would not fail.
    """

    text: str
    scenario: str = ""
    question: Question | None = None
    finding: Finding | None = None
    variant: Variant | None = None
    responsible: tuple[str, ...] = ()


@dataclass(frozen=True)
class Range:
    """Slots in a row with the same reasons; without a reason they are allowed."""

    slots: tuple[Slot, ...]
    reasons: tuple[Reason, ...]

    @property
    def lower(self) -> HotplugState:
        return self.slots[0].lower

    @property
    def upper(self) -> HotplugState:
        return self.slots[-1].upper


@dataclass(frozen=True)
class Constraint:
    """The step stands above (or below) a row, or `check` of `scenario` fails."""

    above: bool
    row: HotplugState
    check: str
    scenario: str


@dataclass(frozen=True)
class Placement:
    """All slots of a table. `excluded`: checks that fail without the step as well."""

    step: Step
    table: Table
    bound: str
    scenarios: tuple[str, ...]
    ranges: tuple[Range, ...]
    constraints: tuple[Constraint, ...]
    own: Slot | None
    excluded: tuple[tuple[str, str], ...]
    unknown: tuple[tuple[str, str], ...]
    relevant: int  # questions that depend on where the step stands
    questions: int  # all of them
    systems: int  # that were searched
    naive: int  # searches if each slot were checked on its own

    @property
    def allowed(self) -> list[Range]:
        return [r for r in self.ranges if not r.reasons]


@dataclass(frozen=True)
class _Case:
    """A question of a scenario, and in which slots it fails."""

    scenario: str
    base: Variant
    question: Question
    failing: Mapping[int, tuple[Finding, Variant]]
    unknown: bool


def place(
    step: Step,
    bases: Sequence[Variant],
    judges: Judges,
    section: Section | None = None,
) -> Placement:
    """Try the step in every slot (of one section, if given) of the scenarios' table.

    Raises InputError if the step does not compile in any scenario.
    """
    table = _shared_table(bases)
    gaps = [s for s in slots(table, step.state) if section in (None, s.section)]
    cases: list[_Case] = []
    excluded: list[tuple[str, str]] = []
    used: list[str] = []
    everything = 0
    ruled: dict[Section, list[str]] = {}
    last_error: InputError | None = None
    before = judges.runs
    for base in bases:
        try:
            variant = _with_probe(with_step(base, step), step)
            program = variant.program()
        except InputError as error:
            last_error = error
            continue
        if not _is_run(program.units):
            continue
        name = variant.scenario.name.replace("_", "-")
        used.append(name)
        for where, why in rules(step, dict(program.functions)):
            if why not in ruled.setdefault(where, []):
                ruled[where].append(why)
        listed, out, count = _questions(base, variant, step, gaps, judges)
        excluded += [(name, check) for check in out]
        everything += count
        cases += _cases(name, variant, step, gaps, listed, judges)
    if not used and last_error is not None:
        raise last_error
    reasons = _reasons(cases, gaps, ruled)
    ranges = _explained(_ranges(gaps, reasons), step, judges)
    return Placement(
        step,
        table,
        str(judges.bound),
        tuple(used),
        tuple(ranges),
        tuple(_constraints(cases, gaps)),
        own_slot(table, step.state, gaps),
        tuple(dict.fromkeys(excluded)),
        tuple((c.scenario, c.question.check) for c in cases if c.unknown),
        len(cases),
        everything,
        judges.runs - before,
        everything * len(gaps),
    )


def _shared_table(bases: Sequence[Variant]) -> Table:
    """The table with the drivers that any of the scenarios registers."""
    table = bases[0].table
    for base in bases:
        names = {row.name for row in table.states}
        rows = [r for r in base.program().table.states if r.name not in names]
        known = {row.number for row in table.states}
        rows = [row for row in rows if row.number not in known]
        merged = sorted((*table.states, *rows), key=lambda row: row.number)
        table = replace(table, states=tuple(merged))
    return table


def _is_run(units: Sequence[t.Unit]) -> bool:
    """Whether the scenario walks the table at all."""
    return any(
        isinstance(node, t.Call) and node.name.startswith("invoke_")
        for unit in units
        for node in nodes_below(unit.items)
    )


def _with_probe(variant: Variant, step: Step) -> Variant:
    """The scenario with a check that somebody runs each of the step's callbacks."""
    span = variant.scenario.span
    here = {c.name for u in variant.program().units for c in u.items
            if isinstance(c, t.Callback)}  # fmt: skip
    claims = tuple(
        t.Claim("sometimes", formula, None, span)
        for callback in step.callbacks
        if callback.name in here and (formula := _somebody_at(variant, callback.name))
    )
    probe = t.CheckDeclaration(RUNS, (), claims, "", span)
    items = (*variant.scenario.items, probe)
    return replace(variant, scenario=replace(variant.scenario, items=items))


def _somebody_at(variant: Variant, callback: str) -> t.Term | None:
    span = variant.scenario.span
    found: t.Term | None = None
    for declared in variant.program().processes:
        node = declared.declaration
        who: t.Term = t.Name(node.name, span)
        if node.param:
            who = t.Index(who, t.Name("c", span), span)
        term: t.Term = t.Call("at", (who, t.Name(callback, span)), None, span)
        if node.param:
            among = t.Binary("in", t.Name("c", span), t.Name("cpus", span), span)
            term = t.Call("exists", (among,), term, span)
        found = term if found is None else t.Binary("||", found, term, span)
    return found


def _at_slot(variant: Variant, step: Step, slot: Slot, table: Table) -> Variant:
    return replace(variant, table=moved(table, step.state, slot))


def _questions(
    base: Variant,
    variant: Variant,
    step: Step,
    gaps: Sequence[Slot],
    judges: Judges,
) -> tuple[list[Question], list[str], int]:
    """Those that the step can matter to; checks that fail without it; how many there are.

    A step that is no part of the slice of a claim writes nothing that the claim can
    see, in whatever section it stands.
    """
    names = {c.name for c in step.callbacks}
    table = _shared_table([base])
    sights: dict[Question, bool] = {}
    for section in (Section.ONLINE, Section.STARTING, Section.PREPARE):
        slot = next((s for s in gaps if s.section is section), None)
        if slot is None:
            continue
        middle = [s for s in gaps if s.section is section]
        slot = middle[len(middle) // 2]
        there = _at_slot(variant, step, slot, table)
        asked = [q for q in questions(there.checker()) if q.check != RUNS]
        asked = [q for q in asked if q.kind is not Expectation.SOMETIMES]
        run = _is_lowered(there, names)
        if not run:
            continue
        found = judges.sights(there, asked, whole=False)
        for question, sight in zip(asked, found):
            sights[question] = bool(names & set(sight.callbacks))
        break
    shipped_ones = {(q.check, q.number, q.variable) for q in questions(base.checker())}
    mine = _declared_in(step)
    listed = [
        q
        for q, seen in sights.items()
        # A model of one step may be loose about its own memory: its races are no news.
        # Runs without end take long: only those that the step's own file speaks of.
        if q.variable not in mine
        and seen
        and (q.kind not in ENDLESS or (q.check, q.number, None) not in shipped_ones)
    ]
    known = [q for q in listed if (q.check, q.number, q.variable) in shipped_ones]
    outcomes = judges.findings([(base, q) for q in known])
    out = {q for q, f in zip(known, outcomes) if f.outcome is Outcome.FAILS}
    anywhere = _at_slot(variant, step, gaps[0], table)
    probes = [q for q in questions(anywhere.checker()) if q.check == RUNS]
    left = [q for q in listed if q not in out] + probes
    return left, sorted({q.check for q in out}), len(sights) + len(probes)


def _declared_in(step: Step) -> set[str]:
    items = step.unit.items if step.unit else ()
    return {item.name for item in items if isinstance(item, t.VariableDeclaration)}


def _is_lowered(variant: Variant, names: set[str]) -> bool:
    """Whether some process can come to the callbacks, as far as the text goes."""
    return any(
        edge.note is not None and names & set(edge.note.places)
        for process in variant.checker().whole.processes
        for edge in process.flow.edges
    )


def _cases(
    name: str,
    variant: Variant,
    step: Step,
    gaps: Sequence[Slot],
    listed: Sequence[Question],
    judges: Judges,
) -> list[_Case]:
    table = variant_table(variant)
    there = {s.number: _at_slot(variant, step, s, table) for s in gaps}
    classes = _classes(variant, step, gaps, there, listed, judges)
    wanted = [(there[group[0]], question) for question, group in classes]
    found = judges.findings(wanted)
    cases = []
    for question in listed:
        failing: dict[int, tuple[Finding, Variant]] = {}
        unknown = False
        for (of, group), (at, _), finding in zip(classes, wanted, found):
            if of is not question:
                continue
            bad = {Outcome.FAILS, Outcome.UNKNOWN}
            if question.check == RUNS:
                bad = {Outcome.UNREACHED}
            unknown = unknown or finding.outcome is Outcome.UNKNOWN in bad
            if finding.outcome in bad:
                failing |= {number: (finding, at) for number in group}
        cases.append(_Case(name, variant, question, failing, unknown))
    return cases


def variant_table(variant: Variant) -> Table:
    return variant.program().table


def _classes(
    variant: Variant,
    step: Step,
    gaps: Sequence[Slot],
    there: Mapping[int, Variant],
    listed: Sequence[Question],
    judges: Judges,
) -> list[tuple[Question, list[int]]]:
    """For each question the slots in groups that lead to the same sliced system."""
    names = {c.name for c in step.callbacks}
    rows: dict[Question, dict[Section, frozenset[int] | None]] = {q: {} for q in listed}
    for section, part in groupby(gaps, key=lambda s: s.section):
        members = list(part)
        middle = there[members[len(members) // 2].number]
        program = middle.program()
        fixed = {row.number for row in program.landmarks}
        numbers = {c.callback.name: c.state.number for c in program.callbacks}
        for question, sight in zip(listed, judges.sights(middle, listed, whole=False)):
            others = {numbers[n] for n in sight.callbacks if n not in names}
            if names & set(sight.callbacks) or question.check == RUNS:
                rows[question][section] = frozenset(n // 2 for n in fixed | others)
            else:
                rows[question][section] = None
    classes = []
    for question in listed:

        def group(slot: Slot, question: Question = question) -> tuple[Section, int]:
            seen = rows[question][slot.section]
            below = sum(n <= slot.lower.number for n in seen) if seen is not None else 0
            return slot.section, below

        for _, part in groupby(gaps, key=group):
            classes.append((question, [slot.number for slot in part]))
    return classes


def _reasons(
    cases: Sequence[_Case], gaps: Sequence[Slot], ruled: Mapping[Section, list[str]]
) -> dict[int, tuple[Reason, ...]]:
    found: dict[int, tuple[Reason, ...]] = {}
    for slot in gaps:
        reasons = [Reason(why) for why in ruled.get(slot.section, [])]
        for case in cases:
            if slot.number not in case.failing:
                continue
            finding, variant = case.failing[slot.number]
            text = case.question.check
            if case.question.check == RUNS:
                text = "nobody runs a callback in this slot"
            elif finding.outcome is Outcome.UNKNOWN:
                text = f"{text}: not known ({finding.reason})"
            reasons.append(Reason(text, case.scenario, case.question, finding, variant))
        found[slot.number] = tuple(_merged(reasons, cases))
    return found


def _merged(reasons: Sequence[Reason], cases: Sequence[_Case]) -> list[Reason]:
    """What is not run in one scenario only is no reason: the quick path leaves out much."""
    total = len({c.scenario for c in cases if c.question.check == RUNS})
    idle = [r for r in reasons if r.question and r.question.check == RUNS]
    scenarios = {r.scenario for r in idle}
    kept = [r for r in reasons if r not in idle]
    if idle and len(scenarios) == total:
        kept.append(replace(idle[0], scenario="every scenario"))
    return kept


def _ranges(
    gaps: Sequence[Slot], reasons: Mapping[int, tuple[Reason, ...]]
) -> list[Range]:
    def told(slot: Slot) -> tuple[tuple[str, str], ...]:
        return tuple((r.text, r.scenario) for r in reasons[slot.number])

    found = []
    for _, part in groupby(gaps, key=told):
        listed = tuple(part)
        found.append(Range(listed, reasons[listed[0].number]))
    return found


def _explained(ranges: Sequence[Range], step: Step, judges: Judges) -> list[Range]:
    """The first reason of each range with the steps that are responsible for it."""
    found = []
    for one in ranges:
        reasons = list(one.reasons)
        for at, reason in enumerate(reasons):
            fails = reason.finding and reason.finding.outcome is Outcome.FAILS
            if fails:
                reasons[at] = replace(
                    reason, responsible=_responsible(reason, step, judges)
                )
                break
        found.append(replace(one, reasons=tuple(reasons)))
    return found


def _responsible(reason: Reason, step: Step, judges: Judges) -> tuple[str, ...]:
    """A minimal set of other callbacks with which the claim still fails."""
    variant, question = reason.variant, reason.question
    assert variant is not None and question is not None
    names = {c.name for c in step.callbacks}
    (sight,) = judges.sights(variant, [question], whole=False)
    others = [name for name in sight.callbacks if name not in names]

    def still_fails(left: frozenset[str]) -> bool:
        gone = set(others) - left
        (finding,) = judges.findings([(without_callbacks(variant, gone), question)])
        return finding.outcome is Outcome.FAILS

    if still_fails(frozenset()):
        return ()
    return tuple(n for n in others if n in smallest(others, still_fails))


def _constraints(cases: Sequence[_Case], gaps: Sequence[Slot]) -> list[Constraint]:
    """The borders between slots where a check holds and where it fails."""
    found: dict[tuple[bool, int, str], Constraint] = {}
    for case in cases:
        if case.question.check == RUNS:
            continue
        for one, two in zip(gaps, gaps[1:]):
            bad, good = one.number in case.failing, two.number in case.failing
            if bad == good:
                continue
            row = one.upper
            key = (bad, row.number, case.question.check)
            found.setdefault(
                key, Constraint(bad, row, case.question.check, case.scenario)
            )
    return sorted(found.values(), key=lambda c: (c.row.number, not c.above, c.check))
