"""The public Python interface: what the command line does, as a few calls.

scenario = cpuhp.load("shutdown-three-phase", order="arm64.states")
for answer in scenario.check():
    print(answer.check, answer.verdict)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from cpuhp import __version__
from cpuhp.diagnostics import fail, suggestion
from cpuhp.engines.checking import Answer, Checker, Progress, Settings, Sliced
from cpuhp.kernel.order import read_order, shipped_order
from cpuhp.language import tree as t
from cpuhp.language.library import Library, read_unit, shipped
from cpuhp.language.program import Program, link
from cpuhp.language.terms import Terms
from cpuhp.model.sorts import EnumSort, format_value
from cpuhp.model.system import Property
from cpuhp.model.table import HotplugState, Table
from cpuhp.model.verdict import Result, Verdict
from cpuhp.report.answers import ShownAnswer, show_trace

DEFAULT_TABLE = "arm64-6.12"


@dataclass(frozen=True)
class Scenario:
    """A scenario, linked with a hotplug table and option values."""

    program: Program
    given: Mapping[str, str]

    @property
    def name(self) -> str:
        """The scenario's name as the command line spells it."""
        return shown_name(self.program.scenario.name)

    @cached_property
    def checker(self) -> Checker:
        return Checker(self.program)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the texts, the table and the options that answers depend on."""
        texts = {unit.span.source.text for unit in self.program.units}
        texts |= {c.span.source.text for c in self.program.checks.values()}
        rows = [(s.number, s.name, s.enumerator) for s in self.program.table.states]
        options = sorted((n, o.value) for n, o in self.program.options.items())
        told = repr((__version__, sorted(texts), rows, options))
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

    def claims(self, pattern: str = "*") -> list[tuple[str, int, Property]]:
        """The claims of all checks whose name matches. Raises InputError HP501."""
        found = [c for c in self.checker.claims() if fnmatchcase(c[0], pattern)]
        if not found:
            names = sorted({name for name, _, _ in self.checker.claims()})
            raise fail(
                "HP501",
                f"scenario '{self.name}' has no check '{pattern}'",
                help=suggestion(pattern, names) or f"its checks: {', '.join(names)}",
            )
        return found

    def answer(
        self,
        check: str,
        number: int,
        settings: Settings = Settings(),
        progress: Progress | None = None,
    ) -> ShownAnswer:
        """The answer to one claim, as plain data."""
        answer = self.checker.answer(check, number, settings, progress)
        return replace(self.show(answer), proof=self.certify(answer, number))

    def certify(self, answer: Answer, number: int) -> tuple[str, str] | None:
        """File name and text of the certificate, if it is proved for every count."""
        if answer.invariant is None:
            return None
        from cpuhp.engines.certificate import (
            Obligation,
            certificate_of,
            write_certificate,
        )

        sliced, unit = answer.sliced, self.program.scenario
        is_shipped = shipped().units.get(unit.name) == unit
        certificate = certificate_of(
            self.program,
            self.name,
            None if is_shipped else unit.span.source.name,
            self.given,
            number,
            sliced.depth.name,
            Obligation(sliced.system, sliced.prop, answer.invariant),
        )
        name = f"{self.name}.{sliced.prop.check}.{number}.hpcert.json"
        return name, write_certificate(certificate)

    def unknown(self, check: str, number: int, reason: str) -> ShownAnswer:
        """The answer to a claim that could not be worked on."""
        prop = next(p for c, n, p in self.claims(check) if (c, n) == (check, number))
        sliced = Sliced(self.checker.entire(check, number)[0], prop, frozenset())
        result = Result(prop, Verdict.UNKNOWN, reason=reason)
        return self.show(Answer(result, sliced))

    def check(
        self, pattern: str = "*", cpus: int | None = None, timeout: float = 60.0
    ) -> list[ShownAnswer]:
        """The answers to all claims that match, one after the other."""
        settings = Settings(cpus=cpus, timeout=timeout)
        return [
            self.answer(name, number, settings)
            for name, number, _ in self.claims(pattern)
        ]

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

    def options(self) -> Iterator[tuple[str, str, str, str]]:
        """Name, type, value and documentation of each option."""
        for option in self.program.options.values():
            value = format_value(option.sort, option.value)
            yield (
                option.declaration.name,
                str(option.sort),
                value,
                (option.declaration.doc),
            )


def load(
    name: str,
    *,
    order: str | Path | None = None,
    table: Table | None = None,
    options: Mapping[str, str] | None = None,
) -> Scenario:
    """Load a shipped scenario by name, or a spec file by path (it ends in `.hp`).

    `order` is a file in the format of /sys/devices/system/cpu/hotplug/states or of
    specs/tables. Raises InputError for anything that is wrong with the input.
    """
    library = shipped()
    if name.endswith(".hp") or "/" in name:
        library, unit = _from_file(Path(name), library)
    else:
        unit = library.find(name.replace("-", "_"))
    if unit.kind != "scenario":
        raise fail(
            "HP502",
            f"'{name}' is a {unit.kind or 'file of checks'}, not a scenario",
            help="a file that can be checked begins with 'scenario NAME;'",
        )
    if table is None:
        table = read_order(Path(order)) if order else _default_table(unit)
    given = dict(options or {})
    return Scenario(link(unit, library, table, given), given)


def scenarios() -> list[str]:
    """Names of the shipped scenarios that run without arguments."""
    return sorted(
        shown_name(unit.name)
        for unit in shipped().units.values()
        if unit.kind == "scenario"
        and unit.span.source.name.startswith(("specs/scenarios/", "specs/systems/"))
    )


def shown_name(name: str) -> str:
    return name.replace("_", "-")


def _from_file(path: Path, library: Library) -> tuple[Library, t.Unit]:
    unit = read_unit(path)
    known = library.units.get(unit.name)
    if known is not None and known == unit:
        return library, known
    return library.with_units([unit]), unit


def _default_table(unit: t.Unit) -> Table:
    names = [item for item in unit.items if isinstance(item, t.TableName)]
    if not names:
        return shipped_order(DEFAULT_TABLE)
    return shipped_order(names[-1].name, names[-1].span)


__all__ = ["Scenario", "Settings", "load", "scenarios"]
