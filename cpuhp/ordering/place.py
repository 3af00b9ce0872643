"""Where a step may stand: every slot of the table in which all checks still hold.

The system that decides a claim has only those rows of the table that matter to it. Slots
with none of them in between lead to the same system, and one search answers for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from cpuhp.diagnostics import InputError, fail, suggestion
from cpuhp.language import tree as t
from cpuhp.language.tree import nodes_below
from cpuhp.model.system import Expectation
from cpuhp.model.table import Section, Table
from cpuhp.ordering.placement import Bounded, Placement, Proofs
from cpuhp.ordering.proofs import proved
from cpuhp.ordering.questions import (
    ENDLESS,
    Finding,
    Outcome,
    Question,
    observed,
    questions,
)
from cpuhp.ordering.reasons import (
    RUNS,
    Case,
    constraints,
    everywhere,
    explained,
    ranges,
    reasons,
)
from cpuhp.ordering.steps import (
    Slot,
    Step,
    moved,
    own_slot,
    rules,
    slots,
    with_step,
)
from cpuhp.ordering.variant import Variant
from cpuhp.ordering.workers import Judges

PROOF = 20.0  # seconds for the proof of one claim
AT_ONCE = 64  # questions that are asked together at most


@dataclass(frozen=True)
class _Setup:
    """A scenario with the step. `listed`: questions that the step can matter to, each
    with what it is like; `probes` ask for each callback if somebody runs it. `tried`:
    slots whose variant has been compiled.
    """

    scenario: str
    base: Variant
    variant: Variant
    there: Mapping[int, Variant]
    listed: Mapping[Question, _Weight]
    probes: Mapping[str, Question]
    everything: int
    tried: set[int] = field(default_factory=set)


@dataclass(frozen=True, order=True)
class _Weight:
    """Questions that come first are likely to forbid most, and take least.

    `aside`: the claim does not speak of what the step writes; `race`: it is one about
    data races; `size`: the number of variables that it looks at.
    """

    aside: bool
    race: bool
    size: int


def place(
    step: Step,
    bases: Sequence[Variant],
    judges: Judges,
    section: Section | None = None,
    thorough: bool = False,
    prove: bool = False,
) -> Placement:
    """Try the step in every slot (of one section, if given) of the scenarios' table.

    A slot that a check forbids is not tried again with other checks; with `thorough` it
    is, so that all reasons are told. With `prove`, what holds in the slots that are left
    is proved for every number of CPUs where that is possible. Raises InputError if the
    step does not compile in any scenario.
    """
    table = _shared_table(bases)
    gaps = [s for s in slots(table, step.state) if section in (None, s.section)]
    before = judges.runs
    setups, ruled = _setups(step, bases, gaps, judges)
    left = [s for s in gaps if thorough or not ruled.get(s.section)]
    idle, unrun = _idle(setups, step, left, judges)
    unused = _unused(idle)
    if not thorough:
        left = [s for s in left if s.number not in unused]
    others = [s for s in gaps if s not in left and s.number not in unused]
    tried = _Tried(setups, step, judges, thorough, unused, frozenset(unrun), others)
    cases, excluded = tried.cases(left)
    always = [case for case in cases if case.everywhere]
    cases = [case for case in cases if not case.everywhere]
    why = reasons([*idle, *cases], gaps, ruled)
    there = {setup.scenario: setup.there for setup in setups}
    found = explained(ranges(gaps, why), step, judges, there)
    everything = sum(setup.everything for setup in setups)
    free = [slot for one in found if not one.reasons for slot in one.slots]
    failing = {(case.scenario, case.question.check) for case in always}
    aside = {*excluded, *failing}  # nothing to prove about the slots
    tally = _proofs(setups, step, free, judges, aside) if prove else None
    return Placement(
        step,
        table,
        str(judges.bound),
        tuple(setup.scenario for setup in setups),
        tuple(found),
        tuple(constraints(cases, gaps)),
        own_slot(table, step.state, gaps),
        tuple(excluded),
        tuple((c.scenario, c.question.check) for c in cases if c.unknown),
        sum(len(setup.listed) + len(setup.probes) for setup in setups),
        everything,
        judges.runs - before,
        everything * len(gaps),
        ruled,
        tuple(everywhere(always, step, judges)),
        unrun,
        not any(setup.listed for setup in setups),
        tally,
    )


def _proofs(
    setups: Sequence[_Setup],
    step: Step,
    free: Sequence[Slot],
    judges: Judges,
    aside: set[tuple[str, str]],
) -> Proofs:
    """Prove what was searched, in the slots that nothing forbids; slots that lead to
    the same system count once."""
    asked: dict[Variant, list[tuple[str, Question, list[int]]]] = {}
    claims: dict[tuple[str, Question], list[int]] = {}  # slots where it is not proved
    for setup in setups:
        for question in setup.listed:
            if (setup.scenario, question.check) in aside:
                continue
            claims[setup.scenario, question] = []
            for group in _classes(setup, question, step, free, judges):
                one = setup.scenario, question, group
                asked.setdefault(_of_one(setup, group), []).append(one)
    for at, here in asked.items():
        wanted = {question for _, question, _ in here}
        good = proved(at, wanted, judges.executor, judges.cache, PROOF)
        for scenario, question, group in here:
            if question not in good:
                claims[scenario, question] += group
    bounded: dict[tuple[str, str], set[int]] = {}
    for (scenario, question), left in claims.items():
        if left:
            bounded.setdefault((scenario, question.check), set()).update(left)
    return Proofs(
        sum(not left for left in claims.values()),
        len(claims),
        tuple(Bounded(*where, len(left)) for where, left in bounded.items()),
        len(free),
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
            if error.diagnostics[0].code == "HP207":
                raise  # what is asked is wrong, not what there is
            last_error = error
            continue
        for where, why in rules(step, dict(program.functions)):
            if why not in ruled.setdefault(where, []):
                ruled[where].append(why)
        found.append(_setup(base, variant, step, gaps, judges))
    if not found and last_error is not None:
        raise last_error
    known = {name for setup in found for name in setup.variant.program().options}
    for name, _ in step.options:
        if name not in known:
            raise fail("HP207", f"no scenario or step here has an option '{name}'",
                       help=suggestion(name, known))  # fmt: skip
    return found, ruled


def _idle(
    setups: Sequence[_Setup], step: Step, left: Sequence[Slot], judges: Judges
) -> tuple[list[Case], tuple[str, ...]]:
    """For each callback the slots in which no scenario runs it.

    And the callbacks that no scenario runs anywhere: of them nothing is known.
    """
    asked = frozenset(slot.number for slot in left)
    cases: list[Case] = []
    unrun: list[str] = []
    for callback in step.callbacks:
        idle: dict[int, tuple[Finding, Variant]] = {}
        open_slots = left
        question: Question | None = None
        for setup in sorted(setups, key=lambda s: _is_against(s, callback)):
            probe = setup.probes.get(callback.name)
            if probe is None or not open_slots:
                continue
            question = probe
            (case,) = _cases([(setup, question)], step, open_slots, judges)
            idle = dict(case.failing)
            open_slots = [slot for slot in open_slots if slot.number in idle]
        if all(n in idle and idle[n][0].is_known for n in asked):
            unrun.append(callback.name)
        elif question is not None:
            told = replace(question, text=callback.name)
            cases.append(Case("every scenario", told, asked, idle))
    return cases, tuple(unrun)


def _is_against(setup: _Setup, callback: t.Callback) -> bool:
    """Whether the scenario as a whole goes the other way."""
    online = setup.base.program().options.get("starts_online")
    goes_up = online is not None and not online.value
    return goes_up != (callback.direction == "startup")


_Asked = tuple[_Setup, Question]


def _unused(idle: Sequence[Case]) -> frozenset[int]:
    """The slots in which it is known that nobody runs one of the callbacks."""
    return frozenset[int]().union(*(case.decided for case in idle))


@dataclass(frozen=True)
class _Tried:
    """Who asks check by check, those first that are about the step and look at few
    variables.

    A check that fails in all slots that are `left` may hold in `others`, which are
    forbidden already: only if it fails there as well it is no matter of the slot.
    """

    setups: Sequence[_Setup]
    step: Step
    judges: Judges
    thorough: bool
    unused: frozenset[int]
    unrun: frozenset[str]
    others: Sequence[Slot]

    def cases(self, left: Sequence[Slot]) -> tuple[list[Case], list[tuple[str, str]]]:
        """What came of it; also the checks of scenarios that fail without the step."""
        ranked, judges = self._ranked(), self.judges
        cases: list[Case] = []
        excluded = _unsound(ranked, judges)
        order = [(s, q) for s, q in ranked if (s.scenario, q.check) not in excluded]
        every, at, size = left, 0, 1
        while at < len(order) and left:
            window = order[at : at + size]
            found = _cases(window, self.step, left, judges)
            at += size
            # As long as nothing fails, more and more are asked at once, for many workers.
            size = 1 if any(case.failing for case in found) else min(AT_ONCE, 2 * size)
            for (setup, question), case in zip(window, found):
                case = case.only(left)
                if case.failing and _fails_without(setup, question, judges):
                    excluded[setup.scenario, question.check] = None
                    continue
                if left and case.failing.keys() == case.asked:
                    case = self._beyond(setup, question, case, every)
                case = replace(case, idle=self.unused)
                cases.append(case)
                if not self.thorough and not case.everywhere:
                    left = [s for s in left if s.number not in case.decided]
        return cases, list(excluded)

    def _ranked(self) -> list[_Asked]:
        weights: dict[str, _Weight] = {}
        for setup in self.setups:
            for question, weight in setup.listed.items():
                known = weights.get(question.check, weight)
                weights[question.check] = max(weight, known)
        ranked = sorted(
            ((weights[q.check], q.check, weight, at, number, setup, q)
             for at, setup in enumerate(self.setups)
             for number, (q, weight) in enumerate(setup.listed.items())),
            key=lambda one: one[:5],
        )  # fmt: skip
        return [(setup, q) for *_, setup, q in ranked]

    def _beyond(
        self, setup: _Setup, question: Question, case: Case, every: Sequence[Slot]
    ) -> Case:
        """The case of a check that fails in all slots that are left, with those that are
        forbidden already; of the others, with those in which somebody runs the step.
        """
        before = [slot for slot in every if slot.number not in case.asked]
        for part in (before, self.others):
            if not part or case.failing.keys() != case.asked:
                continue
            (more,) = _cases([(setup, question)], self.step, part, self.judges)
            case = case.joined(more)
        holding = [
            s for s in self.others if s.number in case.asked - case.failing.keys()
        ]
        return case.only([*every, *self._awake(holding)]) if holding else case

    def _awake(self, slots: Sequence[Slot]) -> list[Slot]:
        """Those in which somebody runs all callbacks that are run at all."""
        idle, unrun = _idle(self.setups, self.step, slots, self.judges)
        if set(unrun) - self.unrun:
            return []
        return [slot for slot in slots if slot.number not in _unused(idle)]


def _unsound(order: Sequence[_Asked], judges: Judges) -> dict[tuple[str, str], None]:
    """Checks that fail without the step as well, of those that are known to fail at
    times: so the scenario itself says.
    """
    doubtful = [(s, q) for s, q in order if q.check in _known_to_fail(s.base)]
    doubtful = [(s, q) for s, q in doubtful if _is_shipped(s, q)]
    found = judges.findings([(s.base, q) for s, q in doubtful])
    return {
        (setup.scenario, question.check): None
        for (setup, question), finding in zip(doubtful, found)
        if finding.outcome is Outcome.FAILS
    }


def _known_to_fail(base: Variant) -> set[str]:
    told = base.program().expectations
    return {expect.check for expect in told if expect.verdict == "VIOLATED"}


def _is_shipped(setup: _Setup, question: Question) -> bool:
    mine = (question.check, question.number, question.variable)
    return mine in {
        (q.check, q.number, q.variable) for q in questions(setup.base.checker())
    }


def _fails_without(setup: _Setup, question: Question, judges: Judges) -> bool:
    if not _is_shipped(setup, question):
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
    formulas = (_somebody_at(variant, name) for name in _present(variant, step))
    claims = tuple(t.Claim("sometimes", f, None, span) for f in formulas if f)
    probe = t.CheckDeclaration(RUNS, (), claims, "", span)
    items = (*variant.scenario.items, probe)
    return replace(variant, scenario=replace(variant.scenario, items=items))


def _present(variant: Variant, step: Step) -> list[str]:
    here = {c.name for u in variant.program().units for c in u.items
            if isinstance(c, t.Callback)}  # fmt: skip
    return [callback.name for callback in step.callbacks if callback.name in here]


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
    sights: dict[Question, _Weight] = {}
    known: set[Question] = set()
    looked_at: set[str] = set()
    for section in (Section.ONLINE, Section.STARTING, Section.PREPARE):
        members = [s for s in gaps if s.section is section]
        if not members:
            continue
        middle = there[members[len(members) // 2].number]
        asked = [q for q in questions(middle.checker()) if q.check != RUNS]
        asked = [q for q in asked if q.kind is not Expectation.SOMETIMES]
        known |= set(asked)
        if _lowered(middle, names) <= looked_at:
            # Who runs the step decides on what there may be races, and on nothing else.
            asked = [q for q in asked if q.variable is not None and q not in sights]
        looked_at |= _lowered(middle, names)
        sights = _weighed(middle, asked, names, judges) | sights
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
    asked = [q for q in questions(anywhere.checker()) if q.check == RUNS]
    probes = dict(zip(_present(variant, step), asked))
    name = variant.scenario.shown_name
    everything = len(known) + len(probes)
    return _Setup(name, base, variant, there, listed, probes, everything)


def _weighed(
    variant: Variant, asked: Sequence[Question], names: set[str], judges: Judges
) -> dict[Question, _Weight]:
    """Those of the questions that look at what the step does."""
    written = _written(variant, names)
    found = {}
    for question, sight in zip(asked, judges.sights(variant, asked, whole=False)):
        if names & set(sight.callbacks):
            about = observed(variant.checker(), question)
            race = question.variable is not None
            found[question] = _Weight(not written & about, race, len(sight.variables))
    return found


def _written(variant: Variant, callbacks: set[str]) -> frozenset[str]:
    return frozenset[str]().union(
        *(
            edge.writes()
            for process in variant.checker().whole.processes
            for edge in process.flow.edges
            if edge.note is not None and callbacks & set(edge.note.places)
        )
    )


def _declared_in(step: Step) -> set[str]:
    items = step.unit.items if step.unit else ()
    return {item.name for item in items if isinstance(item, t.VariableDeclaration)}


def _lowered(variant: Variant, names: set[str]) -> set[str]:
    """The callbacks that some process can come to, as far as the text goes."""
    places = (
        edge.note.places
        for process in variant.checker().whole.processes
        for edge in process.flow.edges
        if edge.note is not None
    )
    return names & set[str]().union(*places)


def _cases(
    asked: Sequence[_Asked], step: Step, left: Sequence[Slot], judges: Judges
) -> list[Case]:
    """The questions in these slots; one search for all that lead to the same system."""
    groups = [
        (number, setup, question, group)
        for number, (setup, question) in enumerate(asked)
        for group in _classes(setup, question, step, left, judges)
    ]
    wanted = [(_of_one(setup, group), q) for _, setup, q, group in groups]
    failing: list[dict[int, tuple[Finding, Variant]]] = [{} for _ in asked]
    unknown: set[int] = set()
    for (number, _, question, group), (at, _), finding in zip(
        groups, wanted, judges.findings(wanted)
    ):
        bad = finding.outcome in (Outcome.FAILS, Outcome.UNKNOWN)
        if question.check == RUNS:
            bad = finding.outcome is not Outcome.HOLDS
        if bad:
            failing[number] |= {slot: (finding, at) for slot in group}
        if finding.outcome is Outcome.UNKNOWN:
            unknown.add(number)
    slots = frozenset(slot.number for slot in left)
    return [
        Case(setup.scenario, question, slots, failing[number], number in unknown)
        for number, (setup, question) in enumerate(asked)
    ]


def _of_one(setup: _Setup, group: Sequence[int]) -> Variant:
    """The variant of one of these slots, of one that was compiled before if there is."""
    slot = next((number for number in group if number in setup.tried), group[0])
    setup.tried.add(slot)
    return setup.there[slot]


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
