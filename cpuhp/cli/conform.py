"""`cpuhp conform`: does a trace do what the model of CPU hotplug allows?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cpuhp.cli._options import json_option

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cpuhp.kernel.tables.states_file import KernelTable
    from cpuhp.kernel.traces.conform import Conformance
    from cpuhp.kernel.traces.models import Comparison, Met
    from cpuhp.kernel.traces.operations import Deviation, Operation
    from cpuhp.kernel.traces.spans import SpanOfCall

GROUP = "kernel"
SHOWN = 20


@click.command(
    "conform",
    short_help="Check a trace of a real kernel against the model.",
    epilog="Exit status: 0 conforms, 1 deviates, 2 nothing could be checked.",
)
@click.argument("trace", metavar="TRACE", type=click.Path())
@click.option(
    "--states",
    type=click.Path(),
    metavar="FILE",
    help="The kernel's hotplug/states file, or a .table file. Default: the file beside "
    "TRACE that ends in .states, else the fixed states of the version that the trace "
    "shows.",
)
@click.option(
    "--tree",
    type=click.Path(),
    metavar="DIR",
    help="Kernel source tree: callbacks must be those that it registers.",
)
@click.option(
    "--scenario",
    metavar="NAME",
    help="Also tell which steps have no model in this scenario, and the reverse.",
)
@click.option("--perfetto", metavar="FILE.json", help="Write the trace for Perfetto.")
@click.option("--timeline", metavar="FILE.svg", help="Write a picture of the trace.")
@json_option
@click.option("--costs", is_flag=True, help="Also print what each step cost.")
@click.option("--operations", is_flag=True, help="Also print every operation.")
def command(
    trace: str,
    states: str | None,
    tree: str | None,
    scenario: str | None,
    perfetto: str | None,
    timeline: str | None,
    as_json: bool,
    costs: bool,
    operations: bool,
) -> None:
    """Check the cpuhp events of TRACE against the model of CPU hotplug.

    TRACE is text as tracefs, `trace-cmd report` or `perf script` prints it, gzip or
    not. Each deviation is shown where it happens, with what the model allowed.
    """
    from cpuhp.kernel.traces.conform import conform
    from cpuhp.kernel.traces.events import read_trace

    known = table_beside(trace, states)
    complete = known is not None
    if tree is not None:
        known = _with_tree(tree, known)
    answer = conform(read_trace(trace), known, complete)
    compared = _compare(answer, scenario, known) if scenario else None
    _write(trace, answer, known, perfetto, timeline)
    lines = _quoted(trace, [d.line for d in answer.deviations[:SHOWN]])
    if as_json:
        import json

        data = _as_json(trace, answer)
        if compared:
            data["models"] = _plain_models(compared)
        click.echo(json.dumps(data, indent=2))
    else:
        _print(trace, answer, lines)
        if operations:
            _print_operations(answer)
        if costs:
            _print_costs(answer)
        if compared and scenario:
            _print_models(scenario, compared)
    raise SystemExit(0 if answer.conforms else 1 if answer.checked else 2)


def table_beside(trace: str, states: str | None) -> KernelTable | None:
    """The table of the file that is given, or that lies beside the trace."""
    from pathlib import Path

    from cpuhp.kernel.tables.states_file import read_any_table

    if states is not None:
        return read_any_table(states)
    stem = trace.removesuffix(".gz")
    beside = Path(stem).with_suffix(".states")
    if stem.endswith((".trace", ".txt")) and beside.is_file():
        return read_any_table(beside)
    return None


def _with_tree(tree: str, known: KernelTable | None) -> KernelTable:
    from pathlib import Path

    from cpuhp.kernel.registrations.extract import extract
    from cpuhp.kernel.traces.tree import with_tree

    return with_tree(extract(Path(tree), arch=known.arch if known else None), known)


def _compare(
    answer: Conformance, scenario: str, known: KernelTable | None
) -> Comparison:
    from cpuhp.api import load
    from cpuhp.kernel.tables.order import complete
    from cpuhp.kernel.tables.states_file import shipped_table
    from cpuhp.kernel.traces.models import compare

    known = known or shipped_table(f"linux-{answer.kernel or '6.12'}")
    return compare(answer, load(scenario, table=complete(known)).program)


def _write(
    trace: str,
    answer: Conformance,
    known: KernelTable | None,
    perfetto: str | None,
    timeline: str | None,
) -> None:
    """The trace is read once more for each file, so that it need not fit in memory."""
    from pathlib import Path

    from cpuhp.files import write_whole

    if perfetto:
        write_whole(Path(perfetto), _events(trace, answer, known))
    if timeline:
        from cpuhp.report.timeline import timeline as draw

        calls = _calls(trace, answer, known)
        write_whole(Path(timeline), draw(answer, calls, Path(trace).name))


def _calls(
    trace: str, answer: Conformance, known: KernelTable | None
) -> Iterable[SpanOfCall]:
    from cpuhp.kernel.tables.states_file import shipped_table
    from cpuhp.kernel.traces.events import read_trace
    from cpuhp.kernel.traces.rules import rules_of
    from cpuhp.kernel.traces.spans import spans

    rules = rules_of(known or shipped_table(f"linux-{answer.kernel or '6.12'}"))
    return spans(read_trace(trace), rules)


def _events(
    trace: str, answer: Conformance, known: KernelTable | None
) -> Iterator[str]:
    from cpuhp.report.trace_events import trace_events

    return trace_events(answer, _calls(trace, answer, known))


def perfetto_of(trace: str, states: str | None) -> Iterator[str]:
    """A recorded trace for Perfetto, in pieces of text."""
    from cpuhp.kernel.traces.conform import conform
    from cpuhp.kernel.traces.events import read_trace

    known = table_beside(trace, states)
    answer = conform(read_trace(trace), known, known is not None)
    return _events(trace, answer, known)


def _quoted(trace: str, wanted: list[int]) -> dict[int, str]:
    from cpuhp.kernel.traces.events import quote_lines

    return quote_lines(trace, wanted) if wanted else {}


def _print(trace: str, answer: Conformance, lines: dict[int, str]) -> None:
    for deviation in answer.deviations[:SHOWN]:
        _print_deviation(trace, deviation, lines)
    hidden = len(answer.deviations) - SHOWN + answer.suppressed
    if len(answer.deviations) > SHOWN:
        click.echo(f"... and {hidden} more deviations (--json lists them)")
    for line, text in answer.notes[:SHOWN]:
        click.echo(f"{trace}:{line}: note: {text}")
    for wave in answer.parallel:
        cpus = ", ".join(str(cpu) for cpu in wave.cpus)
        click.echo(
            f"parallel bringup of CPUs {cpus}: up to {wave.most_at_once} between kick "
            f"and release, {_time(wave.end - wave.start)} "
            f"(lines {wave.first_line} to {wave.last_line})"
        )
    for overlap in answer.overlaps[:SHOWN]:
        click.echo(
            f"overlap: {overlap.first} with {overlap.second}: {overlap.times} times, "
            f"{_time(overlap.total)} together, {_time(overlap.longest)} the longest"
        )
    click.echo(_summary(answer))


def _print_deviation(trace: str, deviation: Deviation, lines: dict[int, str]) -> None:
    number = str(deviation.line)
    click.echo(
        f"{trace}:{number}: deviation[{deviation.rule.value}]: CPU{deviation.cpu}: "
        f"{deviation.message}"
    )
    if deviation.line in lines:
        click.echo(f"  {number} | {lines[deviation.line]}")
    click.echo(f"  allowed: {deviation.allowed}")


def _summary(answer: Conformance) -> str:
    total = len(answer.operations)
    kinds: dict[str, int] = {}
    for operation in answer.operations:
        kinds[operation.kind.value] = kinds.get(operation.kind.value, 0) + 1
    rolled = sum(operation.rolled_back for operation in answer.operations)
    if not answer.checked:
        return (
            f"NOTHING CHECKED: {answer.events} events, and no step of which enter and "
            f"exit are there\n  Linux {answer.kernel or 'of unknown version'}"
            + (f"; {answer.lost} gaps" if answer.lost else "")
        )
    share = 100.0 * answer.explained / total if total else 0.0
    counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    verdict = "CONFORMS" if answer.conforms else "DEVIATES"
    count = len(answer.deviations) + answer.suppressed
    # Never rounded up to 100 while something is left.
    percent = f"{int(share * 10) / 10:.1f}"
    return (
        f"{verdict}: {answer.explained} of {total} operations explained ({percent} %), "
        f"{count} deviations\n"
        f"  Linux {answer.kernel or 'of unknown version'}, {answer.events} events; "
        f"{counted or 'no operation'}; {rolled} rolled back"
        + (f"; {answer.lost} gaps" if answer.lost else "")
    )


def _print_operations(answer: Conformance) -> None:
    for operation in answer.operations:
        click.echo(_operation_line(operation, answer.names))


def _operation_line(operation: Operation, names: dict[int, str]) -> str:
    where = f"{operation.first_line}-{operation.last_line}"
    if operation.step is not None:
        name = names.get(operation.step, "")
        what = f"step {operation.step} {name} ({operation.function})"
        what += f" on {len(operation.cpus)} CPUs"
    else:
        before = "?" if operation.before is None else operation.before
        after = "?" if operation.after is None else operation.after
        what = f"CPU{operation.cpu} {before} -> {after}"
    words = [f"{where:>13} {operation.kind.value:<12} {what}"]
    if operation.rolled_back:
        at = operation.failed_step
        words.append(f"rolled back{f' from step {at}' if at is not None else ''}")
    if operation.result:
        words.append(f"result {operation.result}")
    if operation.cut:
        words.append("cut off")
    if not operation.explained:
        words.append("DEVIATES")
    words.append(_time(operation.end - operation.start))
    return ", ".join(words)


def _print_costs(answer: Conformance) -> None:
    click.echo("step  way   calls     median        p99  callback")
    for cost in answer.costs:
        way = "up" if cost.up else "down"
        name = answer.names.get(cost.step, "")
        click.echo(
            f"{cost.step:4}  {way:<4} {cost.calls:6} {_time(cost.median):>10} "
            f"{_time(cost.p99):>10}  {cost.function} {name}".rstrip()
        )


def _print_models(scenario: str, compared: Comparison) -> None:
    ran = len(compared.modelled) + len(compared.core) + len(compared.without_model)
    click.echo(
        f"{scenario}: of {ran} steps of the trace {len(compared.modelled)} have a model, "
        f"{len(compared.core)} are the core's own, {len(compared.without_model)} have none"
    )
    _print_met("without a model", compared.without_model)
    _print_met("modelled, not in the trace", compared.without_step)
    _print_met("modelled, of a CPU that leaves no events", compared.silent)
    for name, met in compared.renamed:
        click.echo(
            f"  step {met.step} ran {', '.join(met.names)}, the model is of {name}"
        )


def _print_met(title: str, found: tuple[Met, ...]) -> None:
    if found:
        click.echo(f"  {title}:")
    for met in found:
        way = "up" if met.up else "down"
        click.echo(f"    {met.step:3} {way:<4} {met.state:<34} {', '.join(met.names)}")


def _plain_models(compared: Comparison) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(compared)


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.3f} s"
    if seconds >= 0.001:
        return f"{seconds * 1e3:.3f} ms"
    return f"{seconds * 1e6:.1f} us"


def _as_json(trace: str, answer: Conformance) -> dict[str, object]:
    from dataclasses import asdict

    def plain(item: object) -> dict[str, object]:
        data = asdict(item)  # type: ignore[call-overload]
        return {key: getattr(value, "value", value) for key, value in data.items()}

    return {
        "trace": trace,
        "conforms": answer.conforms,
        "checked": answer.checked,
        "kernel": answer.kernel,
        "events": answer.events,
        "explained": answer.explained,
        "operations": [plain(operation) for operation in answer.operations],
        "deviations": [plain(deviation) for deviation in answer.deviations],
        "suppressed": answer.suppressed,
        "gaps": answer.lost,
        "notes": [{"line": line, "text": text} for line, text in answer.notes],
        "parallel": [plain(wave) for wave in answer.parallel],
        "costs": [plain(cost) for cost in answer.costs],
        "overlaps": [plain(overlap) for overlap in answer.overlaps],
        "states_without_a_call": [
            {"number": n, "name": answer.names[n]} for n in answer.unseen
        ],
    }
