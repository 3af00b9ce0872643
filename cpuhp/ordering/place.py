"""Where a step may stand: every slot of the table in which all checks still hold.

The system that decides a claim has only those rows of the table that matter to it. Slots
with none of them in between lead to the same system, and one search answers for all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

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
    ruled: Mapping[Section, list[str]]  # sections that a rule of the kernel forbids
    everywhere: tuple[Reason, ...] = ()  # checks that fail wherever the step stands

    @property
    def allowed(self) -> list[Range]:
        """The slots that keep all checks but those that fail `everywhere`."""
        return [r for r in self.ranges if not r.reasons]


@dataclass(frozen=True)
class _Setup:
    """A scenario with the step. `listed`: questions that the step can matter to, each
    with the number of variables that it looks at; `probes` ask who runs the step.
    """

    scenario: str
    base: Variant
    variant: Variant
    there: Mapping[int, Variant]
    listed: Mapping[Question, int]
    probes: tuple[Question, ...]
    everything: int


@dataclass(frozen=True)
class _Case:
    """A question of a scenario: the slots for which it was asked, and where it fails."""

    scenario: str
    question: Question
    asked: frozenset[int]
    failing: Mapping[int, tuple[Finding, Variant]]
    unknown: bool = False

    @property
    def everywhere(self) -> bool:
        """It fails in all slots: that is no matter of where the step stands."""
        return len(self.asked) > 1 and self.asked == self.failing.keys()


def place(
    step: Step,
    bases: Sequence[Variant],
    judges: Judges,
    section: Section | None = None,
    thorough: bool = False,
) -> Placement:
    """Try the step in every slot (of one section, if given) of the scenarios' table.

    A slot that a check forbids is not tried again with other checks; with `thorough` it
    is, so that all reasons are told. Raises InputError if the step does not compile in
    any scenario.
    """
    table = _shared_table(bases)
    gaps = [s for s in slots(table, step.state) if section in (None, s.section)]
    before = judges.runs
    setups, ruled = _setups(step, bases, gaps, judges)
    left = [s for s in gaps if thorough or not ruled.get(s.section)]
    idle = _idle(setups, step, left, judges)
    if not thorough:
        left = [s for s in left if s.number not in idle.failing]
    cases, excluded = _tried(setups, step, left, judges, thorough)
    always = [case for case in cases if case.everywhere]
    cases = [case for case in cases if not case.everywhere]
    reasons = _reasons([idle, *cases], gaps, ruled)
    ranges = _explained(_ranges(gaps, reasons), step, judges, setups)
    everything = sum(setup.everything for setup in setups)
    return Placement(
        step,
        table,
        str(judges.bound),
        tuple(setup.scenario for setup in setups),
        tuple(ranges),
        tuple(_constraints(cases, gaps)),
        own_slot(table, step.state, gaps),
        tuple(excluded),
        tuple((c.scenario, c.question.check) for c in cases if c.unknown),
        sum(len(setup.listed) + len(setup.probes) for setup in setups),
        everything,
        judges.runs - before,
        everything * len(gaps),
        ruled,
        tuple(_everywhere(always, step, judges)),
    )


def _setups(
    step: Step, bases: Sequence[Variant], gaps: Sequence[Slot], judges: Judges
) -> tuple[list[_Setup], dict[Section, list[str]]]:
    """The scenarios that walk the table, and the sections that the kernel's rules forbid."""
    found: list[_Setup] = []
    ruled: dict[Section, list[str]] = {}
    last_error: InputError | None = None
    for base in bases:
        try:
            if not _is_run(base.program().units):
                continue  # a step may bring the walk with it, but nobody who begins it
            variant = _with_probe(with_step(base, step), step)
            program = variant.program()
        except InputError as error:
            last_error = error
            continue
        for where, why in rules(step, dict(program.functions)):
            if why not in ruled.setdefault(where, []):
                ruled[where].append(why)
        found.append(_setup(base, variant, step, gaps, judges))
    if not found and last_error is not None:
        raise last_error
    return found, ruled


def _idle(
    setups: Sequence[_Setup], step: Step, left: Sequence[Slot], judges: Judges
) -> _Case:
    """The slots in which no scenario runs all of the step's callbacks."""
    idle: dict[int, tuple[Finding, Variant]] = {}
    question: Question | None = None
    asked = frozenset(s.number for s in left)
    for setup in setups:
        idle, open_slots = {}, left
        for question in setup.probes:
            case = _case(setup, question, step, open_slots, judges)
            idle |= case.failing
        left = [s for s in left if s.number in idle]
    assert question is not None or not setups
    nobody = Question(RUNS, 0, Expectation.SOMETIMES, "")
    return _Case("every scenario", question or nobody, asked, idle)


def _tried(
    setups: Sequence[_Setup],
    step: Step,
    left: Sequence[Slot],
    judges: Judges,
    thorough: bool,
) -> tuple[list[_Case], list[tuple[str, str]]]:
    """Check by check, those first that look at few variables.

    Also the checks of scenarios that fail without the step as well.
    """
    weights: dict[str, int] = {}
    for setup in setups:
        for question, weight in setup.listed.items():
            weights[question.check] = max(weight, weights.get(question.check, 0))
    order = sorted(
        ((weights[q.check], q.check, weight, at, number, setup, q)
         for at, setup in enumerate(setups)
         for number, (q, weight) in enumerate(setup.listed.items())),
        key=lambda one: one[:5],
    )  # fmt: skip
    cases: list[_Case] = []
    excluded: dict[tuple[str, str], None] = {}
    for *_, setup, question in order:
        if not left:
            break
        case = _case(setup, question, step, left, judges)
        if case.failing and _fails_without(setup, question, judges):
            excluded[setup.scenario, question.check] = None
            continue
        cases.append(case)
        if not thorough and not case.everywhere:
            left = [s for s in left if s.number not in case.failing]
    return cases, list(excluded)


def _fails_without(setup: _Setup, question: Question, judges: Judges) -> bool:
    mine = (question.check, question.number, question.variable)
    shipped = {(q.check, q.number, q.variable) for q in questions(setup.base.checker())}
    if mine not in shipped:
        return False
    (found,) = judges.findings([(setup.base, question)])
    return found.outcome is Outcome.FAILS


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


def _setup(
    base: Variant,
    variant: Variant,
    step: Step,
    gaps: Sequence[Slot],
    judges: Judges,
) -> _Setup:
    """The questions that the step can matter to.

    A step that is no part of the slice of a claim writes nothing that the claim can
    see, in whatever section it stands.
    """
    names = {c.name for c in step.callbacks}
    table = variant.program().table
    there = {s.number: _at_slot(variant, step, s, table) for s in gaps}
    sights: dict[Question, int] = {}
    count = 0
    for section in (Section.ONLINE, Section.STARTING, Section.PREPARE):
        members = [s for s in gaps if s.section is section]
        if not members:
            continue
        middle = there[members[len(members) // 2].number]
        asked = [q for q in questions(middle.checker()) if q.check != RUNS]
        asked = [q for q in asked if q.kind is not Expectation.SOMETIMES]
        if not _is_lowered(middle, names):
            continue
        count = len(asked)
        for question, sight in zip(asked, judges.sights(middle, asked, whole=False)):
            if names & set(sight.callbacks):
                sights[question] = len(sight.variables)
        break
    shipped_ones = {(q.check, q.number, q.variable) for q in questions(base.checker())}
    mine = _declared_in(step)
    listed = {
        q: weight
        for q, weight in sights.items()
        # A model of one step may be loose about its own memory: its races are no news.
        # Runs without end take long: only those that the step's own file speaks of.
        if q.variable not in mine
        and (q.kind not in ENDLESS or (q.check, q.number, None) not in shipped_ones)
    }
    anywhere = there[gaps[0].number]
    probes = tuple(q for q in questions(anywhere.checker()) if q.check == RUNS)
    name = variant.scenario.name.replace("_", "-")
    everything = count + len(probes)
    return _Setup(name, base, variant, there, listed, probes, everything)


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


def _case(
    setup: _Setup,
    question: Question,
    step: Step,
    left: Sequence[Slot],
    judges: Judges,
) -> _Case:
    """The question in these slots; one search for all that lead to the same system."""
    classes = _classes(setup, question, step, left, judges)
    wanted = [(setup.there[group[0]], question) for group in classes]
    failing: dict[int, tuple[Finding, Variant]] = {}
    unknown = False
    bad = {Outcome.FAILS, Outcome.UNKNOWN}
    if question.check == RUNS:
        bad = {Outcome.UNREACHED}
    for group, (at, _), finding in zip(classes, wanted, judges.findings(wanted)):
        if finding.outcome in bad:
            unknown = unknown or finding.outcome is Outcome.UNKNOWN
            failing |= {number: (finding, at) for number in group}
    asked = frozenset(s.number for s in left)
    return _Case(setup.scenario, question, asked, failing, unknown)


def _classes(
    setup: _Setup,
    question: Question,
    step: Step,
    left: Sequence[Slot],
    judges: Judges,
) -> list[list[int]]:
    """The slots in groups that lead to the same sliced system.

    Such a group has none of the rows that the question looks at between its slots; it
    may have slots in between that are not asked for.
    """
    names = {c.name for c in step.callbacks}
    classes: list[list[int]] = []
    for _, part in groupby(left, key=lambda s: s.section):
        members = list(part)
        inside = [s for s in setup.there if s in {m.number for m in members}]
        middle = setup.there[inside[len(inside) // 2]]
        program = middle.program()
        numbers = {c.callback.name: c.state.number for c in program.callbacks}
        (sight,) = judges.sights(middle, [question], whole=False)
        seen: frozenset[int] = frozenset()
        if names & set(sight.callbacks) or question.check == RUNS:
            fixed = {row.number for row in program.landmarks}
            others = {numbers[n] for n in sight.callbacks if n not in names}
            seen = frozenset(n // 2 for n in fixed | others)

        def below(slot: Slot, seen: frozenset[int] = seen) -> int:
            return sum(n <= slot.lower.number for n in seen)

        for _, group in groupby(members, key=below):
            classes.append([slot.number for slot in group])
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
        found[slot.number] = tuple(reasons)
    return found


def _everywhere(
    always: Sequence[_Case], step: Step, judges: Judges
) -> Iterator[Reason]:
    """One reason a check, with the steps that are responsible."""
    for case in always:
        finding, variant = next(iter(case.failing.values()))
        check = case.question.check
        reason = Reason(check, case.scenario, case.question, finding, variant)
        if finding.outcome is Outcome.FAILS:
            told = _responsible(reason, step, judges)
            reason = replace(reason, responsible=told)
        yield reason


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


def _explained(
    ranges: Sequence[Range], step: Step, judges: Judges, setups: Sequence[_Setup]
) -> list[Range]:
    """The first reason of each range with the steps that are responsible for it."""
    good = next((r.slots[0].number for r in ranges if not r.reasons), None)
    beside = {s.scenario: s.there[good] for s in setups} if good is not None else {}
    found = []
    for one in ranges:
        reasons = list(one.reasons)
        for at, reason in enumerate(reasons):
            fails = reason.finding and reason.finding.outcome is Outcome.FAILS
            if fails:
                told = _responsible(reason, step, judges, beside.get(reason.scenario))
                reasons[at] = replace(reason, responsible=told)
                break
        found.append(replace(one, reasons=tuple(reasons)))
    return found


def _responsible(
    reason: Reason, step: Step, judges: Judges, beside: Variant | None = None
) -> tuple[str, ...]:
    """A minimal set of other callbacks with which the claim still fails.

    With only these the step would do no harm in a slot that is allowed (`beside`): what
    fails there as well, fails because too much was taken away.
    """
    variant, question = reason.variant, reason.question
    assert variant is not None and question is not None
    names = {c.name for c in step.callbacks}
    (sight,) = judges.sights(variant, [question], whole=False)
    others = [name for name in sight.callbacks if name not in names]

    def outcome(where: Variant, left: frozenset[str]) -> Outcome:
        reduced = without_callbacks(where, set(others) - left)
        (finding,) = judges.findings([(reduced, question)])
        return finding.outcome

    def still_fails(left: frozenset[str]) -> bool:
        if outcome(variant, left) is not Outcome.FAILS:
            return False
        return beside is None or outcome(beside, left) is not Outcome.FAILS

    if still_fails(frozenset()):
        return ()
    return tuple(n for n in others if n in smallest(others, still_fails))


def _constraints(cases: Sequence[_Case], gaps: Sequence[Slot]) -> list[Constraint]:
    """The borders between slots where a check holds and where it fails."""
    found: dict[tuple[bool, int, str], Constraint] = {}
    for case in cases:
        tried = [slot for slot in gaps if slot.number in case.asked]
        for one, two in pairwise(tried):
            bad, good = one.number in case.failing, two.number in case.failing
            if bad == good:
                continue
            row = two.lower if bad else one.upper
            key = (bad, row.number, case.question.check)
            found.setdefault(
                key, Constraint(bad, row, case.question.check, case.scenario)
            )
    return sorted(found.values(), key=lambda c: (c.row.number, not c.above, c.check))
