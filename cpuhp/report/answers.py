"""Answers as plain data: what every output format is written from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpuhp.diagnostics import Span, fail
from cpuhp.files import write_whole
from cpuhp.model.system import (
    Action,
    Expectation,
    Property,
    Role,
    TransitionSystem,
    Variable,
)
from cpuhp.model.verdict import Trace, Verdict
from cpuhp.semantics import Machine, cell_name, cell_value
from cpuhp.semantics.locks import is_of_observers, order_seen

if TYPE_CHECKING:
    from cpuhp.report.diagrams.figure import Diagram

JSON_VERSION = 1


@dataclass(frozen=True)
class ShownStep:
    """One step of an interleaving, as people and machines read it."""

    cpu: int | None
    process: str
    hotplug_state: str | None
    callback: str | None
    action: str
    source: str | None
    origin: str | None
    changes: dict[str, tuple[str, str]]


@dataclass(frozen=True)
class ShownTrace:
    cpus: int
    boot: int
    initial: dict[str, str]
    steps: tuple[ShownStep, ...]
    loop: int | None
    replayed: int  # steps of the run of the whole program that confirms it


@dataclass(frozen=True)
class ShownPart:
    """What a part of a proof is about: the variables on which there is no data race."""

    races: tuple[str, ...]
    sentences: int  # of the invariant, after those of the parts before it


@dataclass(frozen=True)
class ShownAnswer:
    """The answer to one claim. `cpus` is "all" or a number."""

    scenario: str
    check: str
    claim: str
    kind: str
    verdict: str
    cpus: int | str
    seconds: float
    modelled: int
    steps: int
    trace: ShownTrace | None
    certificate: str | None
    reason: str | None
    expected: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    stats: dict[str, int] = field(default_factory=dict)
    fingerprint: str = ""  # of everything that the answer depends on
    invariant: tuple[str, ...] | None = None  # a sentence a clause, if it is proved
    parts: tuple[ShownPart, ...] = ()  # of a proof that there is no data race
    accepted_by: tuple[str, ...] = ()  # solvers that checked the proof again
    proof: tuple[str, str] | None = field(default=None, repr=False)  # file name, text

    @property
    def is_as_expected(self) -> bool:
        return self.expected is None or self.expected == self.verdict

    @property
    def is_failure(self) -> bool:
        """Not if a `sometimes` never happens and the spec says so itself."""
        known = self.verdict == Verdict.UNREACHABLE.value == self.expected
        return Verdict(self.verdict).is_failure and not known

    @property
    def is_unknown(self) -> bool:
        return self.verdict in (Verdict.UNKNOWN.value, Verdict.HOLDS_TO_BOUND.value)

    def told_parts(self) -> list[tuple[str, tuple[str, ...]]]:
        """The invariant by its parts: what each is about, if it says so, and sentences."""
        said = self.invariant or ()
        if self.kind != Expectation.RACE_FREE.value or self.invariant is None:
            return [("", said)] if said else []
        found, begin = [], 0
        for part in self.parts:
            end = begin + part.sentences
            found.append((f"no data race on {', '.join(part.races)}", said[begin:end]))
            begin = end
        return found or [("no variable that can race: nothing has to be shown", ())]

    def text(self, width: int = 80) -> str:
        """The verdict, and the interleaving if there is one, as a terminal shows it."""
        from cpuhp.report.terminal import Style, violation

        return "\n".join(list(violation(self, Style(width)))[1:])

    def diagram(self, *, full: bool = False) -> Diagram:
        """The chart of the interleaving. Raises InputError HP811 if there is none."""
        from cpuhp.report.diagrams.draw import of_answers
        from cpuhp.report.diagrams.figure import Diagram

        drawn = of_answers([self], self.scenario, full=full)
        return Diagram(drawn, drawn.title)

    def save_certificate(self, folder: str | Path = ".") -> Path:
        """Write the certificate of a proof for every number of CPUs; its path.

        Raises InputError HP807 if it is no such proof.
        """
        if self.proof is None:
            raise fail(
                "HP807",
                f"'{self.check}' is {self.verdict} with cpus={self.cpus}",
                help="a certificate is of a proof for every number of CPUs",
            )
        name, text = self.proof
        path = Path(folder) / name
        write_whole(path, text)
        return path

    def __repr__(self) -> str:
        reason = f"  ({self.reason})" if self.reason else ""
        told = f"{self.verdict}  cpus={self.cpus}  {self.check}: {self.claim}{reason}"
        return "".join(c if c.isprintable() else "?" for c in told)

    def _repr_svg_(self) -> str | None:
        shown = self.is_failure and self.trace is not None and self.trace.steps
        return self.diagram()._repr_svg_() if shown else None

    def _repr_html_(self) -> str | None:
        from cpuhp.report.display import verdicts

        # A notebook would prefer the table to the picture.
        return verdicts([self]) if self._repr_svg_() is None else None


@dataclass(frozen=True)
class ShownRow:
    """A row of the hotplug table. `models`: what the scenario knows of it."""

    number: int
    name: str
    section: str
    models: tuple[str, ...]
    added: bool  # by the scenario; the recorded machine does not have it


@dataclass(frozen=True)
class ShownScenario:
    """What was checked. `file` is None for a shipped scenario.

    `left_out`: checks with claims about hotplug states that the table does not have.
    `not_asked`: checks that require components of which the scenario has a copy only.
    """

    name: str
    file: str | None
    doc: str
    options: dict[str, str]
    table: str  # its name; `Context.tables` has it
    rows: tuple[ShownRow, ...]
    left_out: dict[str, tuple[str, ...]] = field(default_factory=dict)
    not_asked: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """What a run of `cpuhp check` was a run of, as far as a reader wants to know.

    `versions` by program; `checks` tells by name what a check is about; `sources` has the
    spec texts that interleavings refer to; `tables` are as in a certificate.
    """

    command: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    scenarios: tuple[ShownScenario, ...] = ()
    checks: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    tables: dict[str, Any] = field(default_factory=dict)


def show_trace(
    system: TransitionSystem, trace: Trace, replayed: int | None = None
) -> ShownTrace:
    """A trace with names for all numbers."""
    machine = Machine(system, trace.cpus, trace.boot)
    before = trace.initial
    steps = []
    for step in trace.steps:
        changed = {
            _shown_name(machine, cell): (
                cell_value(machine, cell, before[cell]),
                cell_value(machine, cell, step.state[cell]),
            )
            for cell, (variable, _) in enumerate(machine.cells)
            if before[cell] != step.state[cell] and _is_shown(variable)
        }
        order = order_seen(step)
        if order is not None:
            changed[" before ".join(order)] = ("false", "true")
        steps.append(_step(step.action, step.binding, trace.boot, changed))
        before = step.state
    initial = {
        cell_name(machine, cell): cell_value(machine, cell, trace.initial[cell])
        for cell, (variable, _) in enumerate(machine.cells)
        if variable.role is not Role.LOCATION
        and variable.owner is None
        and not is_of_observers(variable.name)
    }
    count = len(trace.steps) if replayed is None else replayed
    return ShownTrace(trace.cpus, trace.boot, initial, tuple(steps), trace.loop, count)


def _is_shown(variable: Variable) -> bool:
    # What a loop over CPUs keeps to itself explains nothing.
    helper = variable.owner is not None and "." in variable.name.split(".", 2)[-1]
    helper = helper or is_of_observers(variable.name)
    return variable.role is not Role.LOCATION and not helper


def _shown_name(machine: Machine, cell: int) -> str:
    """The name of a cell; a local variable goes without its process and function."""
    variable, _ = machine.cells[cell]
    name = cell_name(machine, cell)
    return name if variable.owner is None else name.split(".", 2)[-1]


def _step(
    action: Action,
    binding: tuple[int, ...],
    boot: int,
    changed: dict[str, tuple[str, str]],
) -> ShownStep:
    return ShownStep(
        cpu=binding[0] if action.actor else boot,
        process=action.process,
        hotplug_state=action.hotplug_state,
        callback=action.callback,
        action=action.text,
        source=place(action.span),
        origin=str(action.origin) if action.origin else None,
        changes=changed,
    )


def place(span: Span | None) -> str | None:
    """`file:line` of a span."""
    return f"{span.source.name}:{span.line}" if span else None


def is_safety(prop: Property) -> bool:
    return prop.expectation in (Expectation.ALWAYS, Expectation.FINALLY)


def as_json(
    answers: Iterable[ShownAnswer], context: Context | None = None
) -> dict[str, Any]:
    """The documented JSON form (docs/json.md), version 1."""
    told = asdict(context) if context else {}
    return {
        "version": JSON_VERSION,
        "results": [_result(a) for a in answers],
        **told,
    }


def _result(answer: ShownAnswer) -> dict[str, Any]:
    data = asdict(answer)
    trace = data.pop("trace")
    del data["proof"]
    data["trace"] = trace and trace["steps"]
    data["machine"] = trace and {
        "cpus": trace["cpus"],
        "boot": trace["boot"],
        "initial": trace["initial"],
        "loop": trace["loop"],
        "replayed_steps": trace["replayed"],
    }
    data["seconds"] = round(answer.seconds, 3)
    return data
