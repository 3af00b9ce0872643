"""A trace for Perfetto and chrome://tracing: a track for each CPU and actor.

Format: Trace Event Format, the JSON object form. Times are in microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from cpuhp.kernel.traces.conform import Conformance
from cpuhp.kernel.traces.operations import Operation, OperationKind, is_up
from cpuhp.kernel.traces.spans import Actor, SpanOfCall

FIRST = 1000  # the process id of CPU0; viewers take process 0 for the idle task
OPERATIONS = 1  # the thread id of a CPU's operations; actors follow
_ACTORS = tuple(Actor)

Entry = Mapping[str, object]


def trace_events(answer: Conformance, calls: Iterable[SpanOfCall]) -> Iterator[str]:
    """The JSON text in pieces. A process is a CPU that goes up or down."""
    told = {"kernel": answer.kernel or "unknown", "table": answer.table}
    return written(told, _entries(answer, calls))


def written(told: Entry, entries: Iterable[Entry]) -> Iterator[str]:
    """The JSON object form of some entries. `told`: what else is to be known."""
    yield '{"displayTimeUnit": "ms",\n"otherData": '
    yield json.dumps(told)
    yield ',\n"traceEvents": [\n'
    between = ""
    for entry in entries:
        yield between + json.dumps(entry)
        between = ",\n"
    yield "\n]}\n"


def _entries(answer: Conformance, calls: Iterable[SpanOfCall]) -> Iterator[Entry]:
    named: set[tuple[int, int]] = set()
    for operation in answer.operations:
        if operation.kind is not OperationKind.REGISTRATION:
            yield from name_once(operation.cpu, OPERATIONS, "operations", named)
            yield _operation(operation)
    for span in calls:
        thread = OPERATIONS + 1 + _ACTORS.index(span.actor)
        yield from name_once(span.cpu, thread, span.actor.value, named)
        yield _call(span, thread, answer.names)


def name_once(
    cpu: int, thread: int, name: str, named: set[tuple[int, int]]
) -> Iterator[Entry]:
    """Names of a CPU and of an actor's track, where they have none yet."""
    if (cpu, 0) not in named:
        named.add((cpu, 0))
        yield _meta(cpu, 0, "process_name", {"name": f"CPU{cpu}"})
        yield _meta(cpu, 0, "process_sort_index", {"sort_index": cpu})
    if (cpu, thread) not in named:
        named.add((cpu, thread))
        yield _meta(cpu, thread, "thread_name", {"name": name})
        yield _meta(cpu, thread, "thread_sort_index", {"sort_index": thread})


def _meta(cpu: int, thread: int, name: str, args: Entry) -> Entry:
    return {"ph": "M", "name": name, "pid": FIRST + cpu, "tid": thread, "args": args}


def _operation(operation: Operation) -> Entry:
    args: dict[str, object] = {
        "before": operation.before,
        "after": operation.after,
        "result": operation.result,
        "rolled back": operation.rolled_back,
        "conforms": operation.explained,
        "lines": f"{operation.first_line}-{operation.last_line}",
    }
    return {
        "ph": "X",
        "cat": "operation",
        "name": operation.kind.value,
        "pid": FIRST + operation.cpu,
        "tid": OPERATIONS,
        "ts": _micro(operation.start),
        "dur": _micro(operation.end - operation.start),
        "args": args,
    }


def _call(span: SpanOfCall, thread: int, names: Mapping[int, str]) -> Entry:
    enter, exit_ = span.call
    args: dict[str, object] = {
        "step": enter.step,
        "state": names.get(enter.step, ""),
        "target": enter.level,
        "result": exit_.ret,
        "line": enter.line,
    }
    if enter.comm:
        args["task"] = f"{enter.comm}-{enter.pid}"
    if enter.on >= 0:
        args["ran on"] = f"CPU{enter.on}"
    return {
        "ph": "X",
        "cat": "up" if is_up(enter) else "down",
        "name": enter.function or f"step {enter.step}",
        "pid": FIRST + enter.cpu,
        "tid": thread,
        "ts": _micro(enter.time),
        "dur": _micro(span.call.seconds),
        "args": args,
    }


def _micro(seconds: float) -> float:
    return round(seconds * 1e6, 3)
