"""An interleaving for Perfetto and chrome://tracing: a track for each CPU and actor.

Steps have an order and no duration, so each is drawn as one millisecond. Arrows lead from
the step that wrote a value to the one that read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from cpuhp.report.answers import ShownAnswer, as_json
from cpuhp.report.diagrams.evidence import Evidence, Moment, evidence
from cpuhp.report.trace_events import FIRST, Entry, name_once, written

STEP = 1000.0  # microseconds
Actor = tuple[int, str]


def step_events(answer: ShownAnswer, name: str) -> Iterator[str]:
    """The JSON text in pieces. Raises InputError HP810 if there are too many steps."""
    (result,) = as_json([answer])["results"]
    found = evidence(result, name)
    told = {
        "scenario": found.scenario,
        "check": found.check,
        "claim": found.claim,
        "verdict": found.verdict,
        "cpus": found.cpus,
        "control CPU": found.boot,
        "time": "one step is drawn as one millisecond",
    }
    return written(told, _entries(found))


def _entries(found: Evidence) -> Iterator[Entry]:
    threads: dict[Actor, int] = {}
    named: set[tuple[int, int]] = set()
    for moment in found.moments:
        actor = moment.cpu, moment.process
        if actor not in threads:
            threads[actor] = 1 + sum(cpu == moment.cpu for cpu, _ in threads)
            yield from name_once(moment.cpu, threads[actor], moment.process, named)
    for actor, thread in threads.items():
        own = [m for m in found.moments if (m.cpu, m.process) == actor]
        yield from _calls(own, thread)
    for moment in found.moments:
        yield _step(moment, threads[moment.cpu, moment.process])
        yield from _reads(moment, found, threads)
    if found.loop is not None:
        yield _instant("from here on it repeats for ever", found.loop * STEP, 0, 0, "g")


def _calls(own: list[Moment], thread: int) -> Iterator[Entry]:
    """A callback as a slice around its steps."""
    for (callback, state), run in groupby(own, lambda m: (m.callback, m.hotplug_state)):
        steps = list(run)
        if callback is not None:
            start, end = steps[0].number - 1, steps[-1].number
            yield {
                "ph": "X",
                "cat": "callback",
                "name": callback,
                "pid": FIRST + steps[0].cpu,
                "tid": thread,
                "ts": start * STEP,
                "dur": (end - start) * STEP,
                "args": {"hotplug state": state, "kernel": steps[0].origin},
            }


def _step(moment: Moment, thread: int) -> Entry:
    args: dict[str, object] = {"step": moment.number, "spec": moment.source}
    args |= {cell: f"{old} -> {new}" for cell, (old, new) in moment.changes.items()}
    if moment.origin:
        args["kernel"] = moment.origin
    if moment.bad:
        args[moment.fault] = moment.bad
    return {
        "ph": "X",
        "cat": "bad" if moment.bad else "step",
        "name": moment.text or "a step",
        "pid": FIRST + moment.cpu,
        "tid": thread,
        "ts": (moment.number - 1) * STEP,
        "dur": STEP,
        "args": args,
        **({"cname": "terrible"} if moment.bad else {}),
    }


def _reads(
    moment: Moment, found: Evidence, threads: dict[Actor, int]
) -> Iterator[Entry]:
    if moment.bad:
        thread = threads[moment.cpu, moment.process]
        at = (moment.number - 0.5) * STEP
        yield _instant(f"{moment.fault}: {moment.bad}", at, moment.cpu, thread, "t")
    for number, (writer, name) in enumerate(moment.came):
        source = found.moments[writer]
        for phase, end in (("s", source), ("f", moment)):
            yield {
                "ph": phase,
                "cat": "reads",
                "name": name,
                "id": moment.number * 100 + number,
                "pid": FIRST + end.cpu,
                "tid": threads[end.cpu, end.process],
                "ts": (end.number - 0.5) * STEP,
                **({"bp": "e"} if phase == "f" else {}),
            }


def _instant(name: str, at: float, cpu: int, thread: int, scope: str) -> Entry:
    return {
        "ph": "i", "cat": "remark", "name": name, "pid": FIRST + cpu, "tid": thread, "ts": at,
        "s": scope,
    }  # fmt: skip
