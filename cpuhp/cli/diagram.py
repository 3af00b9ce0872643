"""`cpuhp diagram`: pictures of a scenario, a hotplug table or a result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cpuhp.cli._files import read_json
from cpuhp.cli._options import order_option, settings_option, timeout_option
from cpuhp.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from cpuhp.api import Scenario
    from cpuhp.engines.transitions import StateMachine
    from cpuhp.report.diagrams.canvas import Picture
    from cpuhp.report.diagrams.theme import Theme

GROUP = "look"
KINDS = ("sequence", "dependency", "counterexample", "state-machine", "lockdep")


@click.command(
    "diagram",
    short_help="Draw a run, dependencies, a counterexample, locks.",
    epilog="Exit status: 0 the picture was made, 2 the input is not usable.",
)
@click.argument("subject", metavar="SCENARIO|FILE.hp|TABLE|RESULT.json")
@click.option(
    "--kind", type=click.Choice(KINDS), help="Default: sequence; of a result its trace."
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="FILE.svg, .pdf, .png or .dot; default DOT text on standard output.",
)
@order_option
@click.option(
    "--focus",
    metavar="NAME",
    help="Of dependency a step, hotplug state or source file; of counterexample a "
    "check; of state-machine a variable.",
)
@click.option("--theme", type=click.Choice(["light", "dark", "mono"]), default="light",
              help="Colours; default light.")  # fmt: skip
@click.option("--full", is_flag=True, help="Fold nothing and leave nothing out.")
@click.option("--link-base", metavar="URL", help="Where source files are shown.")
@click.option(
    "--rvgen", is_flag=True, help="A state machine in the DOT dialect of rvgen (dot2k)."
)
@settings_option
@timeout_option("per claim, where a check has to run first")
def command(
    subject: str,
    kind: str | None,
    output: str | None,
    order: str | None,
    focus: str | None,
    theme: str,
    full: bool,
    link_base: str | None,
    rvgen: bool,
    options: dict[str, str],
    timeout: float,
) -> None:
    """Draw how a scenario runs, what its steps share, or what went wrong.

    SCENARIO is a name that `cpuhp list` shows, or a spec file; TABLE a hotplug/states
    file; RESULT.json what `cpuhp check --format json` wrote. Rendering needs the `dot`
    program of Graphviz, DOT text does not.
    """
    from cpuhp.report.diagrams.canvas import link
    from cpuhp.report.diagrams.render import render
    from cpuhp.report.diagrams.theme import THEMES

    target, form = _target(output)
    link(link_base, "file")
    job = _Job(subject, order, focus, full, link_base, options, timeout, THEMES[theme])
    wanted = kind or ("counterexample" if job.is_result else "sequence")
    if rvgen:
        text = job.automaton(wanted if kind else "state-machine", form)
        data = text.encode()
    else:
        data = render(job.draw(wanted), form)
    if target is None:
        click.echo(data.decode(), nl=False)
    else:
        write_whole(target, data)


def _target(output: str | None) -> tuple[Path | None, str]:
    from pathlib import Path

    from cpuhp.diagnostics import fail
    from cpuhp.report.diagrams.figure import form_of

    if output is None:
        return None, "dot"
    path, form = Path(output), form_of(output)
    if not path.parent.is_dir():
        raise fail("HP804", f"there is no folder '{path.parent}' to write to")
    return path, form


class _Job:
    """What is drawn. Each kind loads what it needs when it is asked for."""

    def __init__(
        self,
        subject: str,
        order: str | None,
        focus: str | None,
        full: bool,
        base: str | None,
        options: dict[str, str],
        timeout: float,
        theme: Theme,
    ):
        from pathlib import Path

        self.subject = subject
        self.order = order
        self.focus = focus
        self.full = full
        self.base = base
        self.options = options
        self.timeout = timeout
        self.theme = theme
        self.is_result = subject.endswith(".json")
        spec = subject.endswith(".hp") or subject.replace("-", "_").isidentifier()
        exists = Path(subject).is_file()
        self.is_table = not self.is_result and (
            subject.endswith((".states", ".table"))
            or (exists and not subject.endswith(".hp"))
            or (not spec and not exists)
        )

    def draw(self, kind: str) -> Picture:
        from cpuhp.report.diagrams.draw import of_program

        if kind == "counterexample":
            return self._counterexample()
        if kind == "sequence" and self.is_table:
            return self._on_table()
        scenario = self.scenario()
        return of_program(
            kind,
            scenario.name,
            scenario.checker.whole,
            self.theme,
            self.base,
            full=self.full,
            focus=None if self.is_result else self.focus,
        )

    def scenario(self) -> Scenario:
        """The scenario: named, of a result, or the one that runs on a table."""
        from cpuhp.api import ON_A_TABLE, load

        if self.is_table:
            return load(ON_A_TABLE, order=self.subject, options=self.options)
        if not self.is_result:
            return load(self.subject, order=self.order, options=self.options)
        result = self._result()
        given = result.get("options")
        options = {str(k): str(v) for k, v in given.items()} if isinstance(
            given, dict) else {}  # fmt: skip
        name = str(result.get("scenario"))
        return load(name, order=self.order, options={**options, **self.options})

    def _result(self) -> Mapping[str, Any]:
        from cpuhp.report.diagrams.evidence import choose

        return choose(read_json(self.subject), self.focus, self.subject)

    def _counterexample(self) -> Picture:
        if self.is_result:
            from cpuhp.report.diagrams.counterexample import chart
            from cpuhp.report.diagrams.evidence import evidence

            found = evidence(self._result(), self.subject)
            return chart(found, self.theme, self.base, full=self.full)
        from cpuhp.report.diagrams.draw import of_answers

        scenario = self.scenario()
        answers = scenario.until_failure(self.focus or "*", self.timeout)
        return of_answers(answers, scenario.name, self.theme, self.base, full=self.full)

    def _on_table(self) -> Picture:
        from cpuhp.diagnostics import InputError
        from cpuhp.kernel.tables.order import read_order
        from cpuhp.report.diagrams.draw import on_table

        table = read_order(self.subject)
        try:
            whole = self.scenario().checker.whole
        except InputError:  # the scenario does not fit this kernel
            whole = None
        return on_table(table, whole, self.theme, self.base, full=self.full)

    def _machine(self) -> StateMachine:
        from cpuhp.engines.transitions import state_machine

        name = None if self.is_result else self.focus
        return state_machine(self.scenario().checker.whole, name)

    def automaton(self, kind: str, form: str) -> str:
        from cpuhp.report.diagrams.machine import automaton

        if kind != "state-machine" or form != "dot":
            raise click.UsageError("--rvgen is for --kind state-machine as DOT text")
        return automaton(self._machine())
