"""`cpuhp diagram`: pictures of a scenario, a hotplug table or a result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cpuhp.cli._options import assignments

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from cpuhp.api import Scenario
    from cpuhp.graph.dependency import Dependencies
    from cpuhp.report.diagrams.canvas import Picture
    from cpuhp.report.diagrams.theme import Theme
    from cpuhp.report.diagrams.transitions import StateMachine

GROUP = "look"
KINDS = ("sequence", "dependency", "counterexample", "state-machine", "lockdep")
ON_A_TABLE = "shutdown-three-phase"  # the scenario that runs on a table given alone
MAX_RESULT = 64 << 20  # bytes


@click.command(
    "diagram",
    short_help="Draw a sequence, dependencies, a counterexample.",
    epilog="Exit status: 0 the picture was made, 2 the input is not usable.",
)
@click.argument("subject", metavar="SCENARIO|TABLE|RESULT.json")
@click.option(
    "--kind", type=click.Choice(KINDS), help="Default: sequence; of a result its trace."
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="FILE.svg, .pdf, .png or .dot; default DOT text on standard output.",
)
@click.option("--order", metavar="FILE", help="hotplug/states file or .table file.")
@click.option(
    "--focus",
    metavar="STATE|CHECK|FILE",
    help="A step, hotplug state or source file; a check; a variable (state-machine).",
)
@click.option("--theme", type=click.Choice(["light", "dark", "mono"]), default="light")
@click.option("--full", is_flag=True, help="Fold nothing and leave nothing out.")
@click.option("--link-base", metavar="URL", help="Where source files are shown.")
@click.option(
    "--rvgen", is_flag=True, help="A state machine in the DOT dialect of rvgen (dot2k)."
)
@click.option(
    "-D",
    "options",
    multiple=True,
    callback=assignments,
    metavar="OPTION=VALUE",
    help="Set an option of the scenario.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1),
    default=60.0,
    help="Seconds per claim, where a check has to run first.",
)
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
        _write(target, data)


def _target(output: str | None) -> tuple[Path | None, str]:
    from pathlib import Path

    from cpuhp.diagnostics import fail
    from cpuhp.report.diagrams.render import FORMATS

    if output is None:
        return None, "dot"
    path = Path(output)
    form = path.suffix.lower().removeprefix(".")
    if form not in FORMATS:
        raise fail(
            "HP804",
            f"'{output}' does not tell a form of picture",
            help="a name that ends in .svg, .pdf, .png or .dot",
        )
    if not path.parent.is_dir():
        raise fail("HP804", f"there is no folder '{path.parent}' to write to")
    return path, form


def _write(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a full disk, never leaves a part of it."""
    import os

    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


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
        if kind == "sequence":
            return self._sequence()
        if kind == "dependency":
            return self._dependency()
        if kind == "counterexample":
            return self._counterexample()
        if kind == "state-machine":
            from cpuhp.report.diagrams.machine import picture

            return picture(self.scenario().name, self._machine(), self.theme, self.base)
        from cpuhp.graph.cycles import lock_order
        from cpuhp.graph.footprint import footprints
        from cpuhp.report.diagrams.lockdep import picture as locks

        scenario = self.scenario()
        order = lock_order(footprints(scenario.checker.whole))
        return locks(scenario.name, order, self.theme)

    def scenario(self) -> Scenario:
        """The scenario: named, of a result, or the one that runs on a table."""
        from cpuhp.api import load

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
        import json

        from cpuhp.diagnostics import fail
        from cpuhp.report.diagrams.evidence import choose

        with open(self.subject, "rb") as file:
            data = file.read(MAX_RESULT + 1)
        try:
            if len(data) > MAX_RESULT:
                raise ValueError("it is too large")
            results = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise fail(
                "HP810",
                f"'{self.subject}' is not JSON: {error}",
                help="cpuhp check SCENARIO --format json > RESULT.json",
            ) from None
        return choose(results, self.focus, self.subject)

    def _counterexample(self) -> Picture:
        from cpuhp.report.diagrams.counterexample import chart
        from cpuhp.report.diagrams.evidence import evidence

        result = self._result() if self.is_result else self._checked()
        found = evidence(result, self.subject)
        return chart(found, self.theme, self.base, full=self.full)

    def _checked(self) -> Mapping[str, Any]:
        """Run the check that is in focus, or all until one is violated."""
        from cpuhp.api import Settings
        from cpuhp.report.answers import as_json
        from cpuhp.report.diagrams.evidence import choose

        scenario = self.scenario()
        answers = []
        for name, number, _ in scenario.claims(self.focus or "*"):
            settings = Settings(timeout=self.timeout)
            answers.append(scenario.answer(name, number, settings))
            if answers[-1].is_failure and answers[-1].trace:
                break
        return choose(as_json(answers), None, scenario.name)

    def _sequence(self) -> Picture:
        from cpuhp.report.diagrams.sequence import of_run
        from cpuhp.report.diagrams.sequence_chart import chart

        if self.is_table:
            from cpuhp.kernel.order import read_order
            from cpuhp.report.diagrams.sequence_table import of_table

            table = read_order(self.subject)
            sequence = of_table(table, self._models(), self.full)
        else:
            from cpuhp.graph.footprint import footprints
            from cpuhp.report.diagrams.walk import run

            whole = self.scenario().checker.whole
            sequence = of_run(whole, footprints(whole), run(whole), self.full)
        return chart(sequence, self.theme, self.base)

    def _models(self) -> list[tuple[int, str, str, bool]]:
        """Rows of the table with a teardown model, and if other CPUs notice it."""
        from cpuhp.diagnostics import InputError
        from cpuhp.graph.footprint import footprints

        try:
            found = footprints(self.scenario().checker.whole)
        except InputError:  # the scenario does not fit this kernel
            return []
        models = []
        for key, step in found.steps.items():
            registered = step.callback
            if registered is None or registered.state.added:
                continue
            if registered.callback.direction == "teardown":
                number, source = registered.state.number, registered.source or ""
                models.append((number, key, source, found.crosses(key)))
        return models

    def _dependency(self) -> Picture:
        from cpuhp.graph.dependency import dependencies, neighbourhood
        from cpuhp.graph.footprint import footprints
        from cpuhp.report.diagrams.dependency import picture
        from cpuhp.report.diagrams.explore import parallel

        scenario = self.scenario()
        whole = scenario.checker.whole
        steps = footprints(whole)
        found = dependencies(steps, parallel(whole, steps))
        focus = None
        if self.focus is not None and not self.is_result:
            keys = _focused(found, self.focus)
            found = neighbourhood(found, keys)
            focus = keys[0]
        return picture(
            scenario.name, found, self.theme, self.base, full=self.full, focus=focus
        )

    def _machine(self) -> StateMachine:
        from cpuhp.report.diagrams.transitions import state_machine

        name = None if self.is_result else self.focus
        return state_machine(self.scenario().checker.whole, name)

    def automaton(self, kind: str, form: str) -> str:
        from cpuhp.report.diagrams.machine import automaton

        if kind != "state-machine" or form != "dot":
            raise click.UsageError("--rvgen is for --kind state-machine as DOT text")
        return automaton(self._machine())


def _focused(found: Dependencies, focus: str) -> list[str]:
    """The steps that a name means: a step, its hotplug state, or a source file."""
    from cpuhp.diagnostics import fail, suggestion

    keys = []
    for step in found.steps:
        names = {step.key, step.name}
        if step.callback is not None:
            state = step.callback.state
            names |= {str(state.number), state.name, state.enumerator or state.name}
            names.add(step.callback.source or step.key)
        if step.span is not None:
            names.add(step.span.source.name)
        if focus in names:
            keys.append(step.key)
    if not keys:
        known = [step.name for step in found.steps]
        raise fail(
            "HP805",
            f"no step of the graph is called '{focus}', belongs to such a hotplug "
            "state or stands in such a file",
            help=suggestion(focus, known) or f"steps: {', '.join(known[:8])}, ...",
        )
    return keys
