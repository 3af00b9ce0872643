"""A scenario, linked and ready: what can be asked of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from cpuhp.diagnostics import fail, suggestion
from cpuhp.edition import edition
from cpuhp.engines.answer import (
    Answer,
    ClaimNumber,
    Progress,
    Settings,
    Sliced,
)
from cpuhp.engines.checking import Checker
from cpuhp.language import tree as t
from cpuhp.language.copies import not_asked
from cpuhp.language.library import shipped
from cpuhp.language.program import Program
from cpuhp.language.terms import Terms
from cpuhp.model.sorts import EnumSort, format_value
from cpuhp.model.system import Expectation, Property
from cpuhp.model.table import HotplugState
from cpuhp.model.verdict import Result, Verdict
from cpuhp.report.answers import (
    Context,
    ShownAnswer,
    ShownPart,
    ShownRow,
    ShownScenario,
    show_trace,
)

if TYPE_CHECKING:
    from cpuhp.engines.certificate import Certificate
    from cpuhp.engines.parametric.lessons import Lessons
    from cpuhp.kernel.tables.states_file import KernelTable
    from cpuhp.report.diagrams.figure import Diagram
    from cpuhp.report.display import Answers
    from cpuhp.timing.costs import CostTable
    from cpuhp.timing.estimate import Estimate
    from cpuhp.timing.setup import Setup

DEFAULT_CPUS = 8


@dataclass(frozen=True)
class Settled:
    """Claims proved together, and what their proof teaches other proofs."""

    answers: Mapping[ClaimNumber, ShownAnswer]
    lessons: Lessons = ()


@dataclass(frozen=True)
class Scenario:
    """A scenario, linked with a hotplug table and option values."""

    program: Program
    given: Mapping[str, str]

    @property
    def name(self) -> str:
        """The scenario's name as the command line spells it."""
        return self.program.scenario.shown_name

    @cached_property
    def checker(self) -> Checker:
        return Checker(self.program)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of what answers depend on: texts, table, options, and our own code."""
        texts = {unit.span.source.text for unit in self.program.units}
        texts |= {c.span.source.text for c in self.program.checks.values()}
        table = self.program.table
        rows = [(s.number, s.name, s.enumerator) for s in table.states]
        borders = (table.bringup, table.teardown, table.dynamic, table.prepare_dynamic)
        options = sorted((n, o.value) for n, o in self.program.options.items())
        order = (rows, borders, table.enumerators)
        told = repr((edition(), sorted(texts), order, options))
        return hashlib.sha256(told.encode()).hexdigest()

    @cached_property
    def modelled(self) -> tuple[HotplugState, ...]:
        """Rows of the table that have a callback model or belong to the core."""
        rows = {c.state.number for c in self.program.callbacks}
        rows |= {state.number for state in self.program.landmarks}
        return tuple(s for s in self.program.table.states if s.number in rows)

    @property
    def passed_through(self) -> tuple[HotplugState, ...]:
        """Rows of the table without a model."""
        modelled = {state.number for state in self.modelled}
        return tuple(s for s in self.program.table.states if s.number not in modelled)

    def claims(self, *patterns: str) -> list[tuple[str, int, Property]]:
        """The claims of all checks whose name matches one of the patterns, or of all.

        Raises InputError HP501 if a pattern matches none.
        """
        every = self.checker.claims()
        names = sorted({name for name, _, _ in every} | self.left_out.keys())
        for pattern in patterns:
            if not any(is_asked(name, (pattern,)) for name in names):
                raise fail(
                    "HP501",
                    f"scenario '{self.name}' has no check '{pattern}'",
                    help=self._why_not(pattern)
                    or suggestion(pattern, names)
                    or f"its checks: {', '.join(names)}",
                )
        return [claim for claim in every if is_asked(claim[0], patterns)]

    def _why_not(self, pattern: str) -> str:
        """What a check of the catalogue requires that the scenario does not have."""
        used = {unit.name for unit in self.program.units}
        for name in sorted(shipped().catalogue - self.program.checks.keys()):
            if is_asked(name, (pattern,)):
                requires = (part.name for part in shipped().checks[name].requires)
                missing = ", ".join(part for part in requires if part not in used)
                return f"'{name}' requires what the scenario does not use: {missing}"
        return ""

    @cached_property
    def not_asked(self) -> dict[str, tuple[str, ...]]:
        """Checks that require components of which this has a copy only, and these."""
        return not_asked(self.program, shipped())

    @cached_property
    def left_out(self) -> dict[str, tuple[str, ...]]:
        """Checks with claims about hotplug states that the table lacks, and these."""
        found: dict[str, tuple[str, ...]] = {}
        for (check, _), states in self.checker.absent.items():
            found[check] = tuple(dict.fromkeys((*found.get(check, ()), *states)))
        return found

    def answer(
        self,
        check: str,
        number: int,
        settings: Settings = Settings(),
        progress: Progress | None = None,
        lessons: Lessons = (),
    ) -> ShownAnswer:
        """The answer to one claim, as plain data; `lessons` are those of other proofs."""
        answer = self.checker.answer(check, number, settings, progress, lessons)
        return self._proved(answer, number, settings)

    def _proved(self, answer: Answer, number: int, settings: Settings) -> ShownAnswer:
        shown = _with_proof(self.show(answer), answer)
        if not (settings.certify or settings.recheck):
            return shown
        certificate = self._certificate(answer, number)
        if certificate is None:
            return shown
        from cpuhp.api.certificates import rechecked, written

        if settings.recheck:
            shown = rechecked(shown, certificate, settings.timeout)
        if shown.is_unknown or not settings.certify:
            return shown
        return replace(shown, proof=written(certificate))

    def groups(self, chosen: Iterable[ClaimNumber]) -> list[tuple[ClaimNumber, ...]]:
        """Claims, each a check and a number, that are best proved together.

        Of those with `sometimes` only what the header says is UNREACHABLE.
        """
        from cpuhp.engines.joint import groups

        return groups(self.checker, filter(self._is_to_be_proved, chosen))

    def _is_to_be_proved(self, claim: ClaimNumber) -> bool:
        prop = self.checker.claim(*claim)
        if prop.expectation is Expectation.SOMETIMES:
            return self.expected(prop) == Verdict.UNREACHABLE.value
        return True

    def settle(
        self,
        group: Iterable[ClaimNumber],
        settings: Settings = Settings(),
        lessons: Lessons = (),
    ) -> Settled:
        """The answers to those of the claims that are proved for every CPU count."""
        from cpuhp.engines.joint import lighter, settle, taught

        found = settle(self.checker, group, settings, lessons)
        kept = found
        if settings.certify or settings.recheck:
            kept = {c: lighter(self.checker, c, a, settings) for c, a in found.items()}
        shown = {c: self._proved(a, c[1], settings) for c, a in kept.items()}
        return Settled(shown, taught(found.values()))

    def answers(
        self, chosen: Iterable[ClaimNumber], settings: Settings = Settings()
    ) -> Iterator[ShownAnswer]:
        """The answers to these claims, in order; what can be is proved together.

        What the first group teaches helps all others.
        """
        chosen = tuple(chosen)
        known: dict[ClaimNumber, ShownAnswer] = {}
        lessons: Lessons = ()
        for group in self.groups(chosen) if settings.cpus is None else ():
            settled = self.settle(group, settings, lessons)
            known |= settled.answers
            lessons = lessons or settled.lessons
        for claim in chosen:
            yield known.get(claim) or self.answer(*claim, settings, lessons=lessons)

    def certify(self, answer: Answer, number: int) -> tuple[str, str] | None:
        """File name and text of the certificate, if it is proved for every count."""
        from cpuhp.api.certificates import written

        certificate = self._certificate(answer, number)
        return None if certificate is None else written(certificate)

    def _certificate(self, answer: Answer, number: int) -> Certificate | None:
        if answer.proofs is None:
            return None
        from cpuhp.engines.certificate import Obligation, certificate_of

        sliced, unit = answer.sliced, self.program.scenario
        is_shipped = shipped().units.get(unit.name) == unit
        return certificate_of(
            self.program,
            self.name,
            None if is_shipped else unit.span.source.name,
            self.given,
            (sliced.prop, number),
            sliced.together,
            [
                Obligation(
                    one.sliced.system,
                    one.sliced.prop,
                    one.invariant,
                    one.sliced.only,
                    one.races,
                )
                for one in answer.proofs
            ],
        )

    def unknown(self, check: str, number: int, reason: str) -> ShownAnswer:
        """The answer to a claim that could not be worked on."""
        prop = next(p for c, n, p in self.claims(check) if (c, n) == (check, number))
        sliced = Sliced(self.checker.entire(check, number)[0], prop, frozenset())
        result = Result(prop, Verdict.UNKNOWN, reason=reason)
        return self.show(Answer(result, sliced))

    def check(
        self, pattern: str = "*", cpus: int | None = None, timeout: float = 60.0
    ) -> Answers:
        """The answers to all claims of the checks whose name matches.

        `cpus`: exactly so many, instead of every number; `timeout`: seconds per claim.
        Raises InputError HP501 if no check matches.
        """
        from cpuhp.report.display import Answers

        settings = Settings(cpus=cpus, timeout=timeout)
        chosen = [(name, number) for name, number, _ in self.claims(pattern)]
        found = tuple(self.answers(chosen, settings))
        return Answers(found, lambda answers: context_of([self], answers))

    def __repr__(self) -> str:
        options = "".join(f" {k}={v}" for k, v in self.given.items())
        rows = len(self.program.table.states)
        return f"{self.name}{options}: {len(self.modelled)} of {rows} steps modelled"

    def until_failure(self, pattern: str, timeout: float) -> list[ShownAnswer]:
        """The answers up to the first violation that has an interleaving."""
        answers = []
        for name, number, _ in self.claims(pattern):
            answers.append(self.answer(name, number, Settings(timeout=timeout)))
            if answers[-1].is_failure and answers[-1].trace:
                break
        return answers

    def diagram(
        self,
        kind: str = "sequence",
        *,
        focus: str | None = None,
        theme: str = "light",
        full: bool = False,
        link_base: str | None = None,
        timeout: float = 60.0,
    ) -> Diagram:
        """A picture; the arguments are the options of `cpuhp diagram`.

        `kind`: sequence, dependency, counterexample, state-machine or lockdep. Raises
        InputError HP801, HP805, HP811 or HP820 for what cannot be drawn.
        """
        from cpuhp.report.diagrams.draw import KINDS, of_answers, of_program
        from cpuhp.report.diagrams.figure import Diagram
        from cpuhp.report.diagrams.theme import THEMES

        one_of("kind of diagram", kind, KINDS)
        colours = THEMES[one_of("theme", theme, THEMES)]
        if kind == "counterexample":
            answers = self.until_failure(focus or "*", timeout)
            drawn = of_answers(answers, self.name, colours, link_base, full=full)
        else:
            drawn = of_program(
                kind, self.name, self.checker.whole, colours, link_base,
                full=full, focus=focus,
            )  # fmt: skip
        return Diagram(drawn, drawn.title)

    def show(self, answer: Answer) -> ShownAnswer:
        result = answer.result
        trace = None
        if result.trace is not None:
            whole = answer.replayed
            replayed = len(whole.steps) if whole else None
            trace = show_trace(answer.sliced.system, result.trace, replayed)
        prop = result.prop
        return ShownAnswer(
            scenario=self.name,
            check=prop.check,
            claim=prop.text,
            kind=prop.expectation.value,
            verdict=result.verdict.value,
            cpus="all" if result.cpus is None else result.cpus,
            seconds=result.seconds,
            modelled=len(self.modelled),
            steps=len(self.program.table.states),
            trace=trace,
            certificate=None,
            reason=result.reason,
            expected=self.expected(prop),
            options=dict(self.given),
            fingerprint=f"{self.fingerprint}.{prop.check}.{prop.text}",
            stats=dict(result.stats),
        )

    def expected(self, prop: Property) -> str:
        """The verdict that the scenario's header expects, the last that applies.

        Without a line a `sometimes` is to be witnessed and any other claim proved.
        """
        sometimes = prop.expectation.value == "sometimes"
        found = "WITNESSED" if sometimes else "PROVED"
        terms = Terms(self.program, EnumSort("hpstate", ()))
        for item in self.program.expectations:
            reached = item.verdict in ("WITNESSED", "UNREACHABLE")
            if item.check != prop.check or reached is not sometimes:
                continue
            if item.condition is not None:
                holds = terms.boolean(item.condition, {})
                if not getattr(holds, "value", 0):
                    continue
            found = item.verdict
        return found

    def shown(self) -> ShownScenario:
        """What is checked, as plain data."""
        program = self.program
        models: dict[int, list[str]] = {}
        for item in program.callbacks:
            told = f"{item.callback.direction} {item.callback.name}"
            models.setdefault(item.state.number, []).append(told)
        core = {state.number for state in self.modelled}
        rows = tuple(
            ShownRow(
                state.number,
                state.label,
                program.table.section(state.number).value,
                tuple(
                    models.get(state.number, ["core"] if state.number in core else [])
                ),
                state.added,
            )
            for state in program.table.states
        )
        unit = program.scenario
        is_shipped = shipped().units.get(unit.name) == unit
        file = None if is_shipped else unit.span.source.name
        doc = " ".join(unit.doc.split())
        options = dict(self.given)
        return ShownScenario(
            self.name,
            file,
            doc,
            options,
            program.table.name,
            rows,
            self.left_out,
            self.not_asked,
        )

    def estimate(
        self,
        cpus: int | None = None,
        *,
        costs: str | CostTable | None = None,
        params: Mapping[str, str] | None = None,
        trace: str | Path | None = None,
        samples: int = 0,
        seed: int = 0,
    ) -> Estimate:
        """How long the scenario takes on so many CPUs, why, and what would help.

        `costs` is a shipped name, a `.toml` file or a `CostTable`; `trace` a recording
        whose durations are the costs; `params` sets parameters of the costs or options.
        Without `cpus`: as many as the machine of the costs has, else 8. `samples` draws
        costs that are distributions. Raises InputError HP9xx, HP207, HP42x.
        """
        from cpuhp.timing.estimate import estimate

        setup = self.timing(costs=costs, params=params, trace=trace)
        count = cpus or setup.costs.cpus or DEFAULT_CPUS
        return estimate(
            setup.model, self.name, count, setup.costs, samples=samples, seed=seed
        )

    def timing(
        self,
        *,
        costs: str | CostTable | None = None,
        params: Mapping[str, str] | None = None,
        trace: str | Path | None = None,
        states: KernelTable | None = None,
    ) -> Setup:
        """What an estimate begins with: the model and the costs. Raises as `estimate`."""
        from cpuhp.timing.setup import set_up

        library = shipped()
        if library.units.get(self.program.scenario.name) != self.program.scenario:
            library = library.with_units([self.program.scenario])
        return set_up(
            self.program,
            library,
            self.given,
            costs=costs,
            params=params,
            trace=trace,
            states=states,
        )

    def options(self) -> Iterator[tuple[str, str, str, str]]:
        """Name, type, value and documentation of each option."""
        # A scenario that gives another default leaves the sentence to the component.
        told = {
            item.name: item.doc
            for unit in self.program.units
            for item in unit.items
            if isinstance(item, t.OptionDeclaration) and item.doc
        }
        for option in self.program.options.values():
            name = option.declaration.name
            value = format_value(option.sort, option.value)
            doc = option.declaration.doc or told.get(name, "")
            yield name, str(option.sort), value, doc


def is_asked(check: str, patterns: Sequence[str]) -> bool:
    """Does the name of a check match one of the patterns, or are there none?"""
    return any(fnmatchcase(check, pattern) for pattern in patterns or ("*",))


def one_of(what: str, name: str, known: Iterable[str]) -> str:
    """The name, if it is a known one. Raises InputError HP806."""
    if name not in known:
        raise fail(
            "HP806",
            f"there is no {what} '{name}'",
            help=suggestion(name, known) or f"one of: {', '.join(known)}",
        )
    return name


def _with_proof(shown: ShownAnswer, answer: Answer) -> ShownAnswer:
    """With the invariant behind a proof for every number of CPUs, a sentence a clause."""
    if answer.proofs is None:
        return shown
    from cpuhp.engines.certificate.sentences import in_sentences

    said = [in_sentences(p.sliced.system, p.invariant.clauses) for p in answer.proofs]
    parts = tuple(
        ShownPart(tuple(sorted(proved.races)), len(sentences))
        for proved, sentences in zip(answer.proofs, said)
        if proved.races
    )
    return replace(shown, invariant=tuple(chain(*said)), parts=parts)


def context_of(
    scenarios: Iterable[Scenario],
    answers: Iterable[ShownAnswer],
    command: str | None = None,
) -> Context:
    """What a reader of the answers wants to know beside them."""
    from cpuhp.report.context import context

    return context([(s.program, s.shown()) for s in scenarios], answers, command)
