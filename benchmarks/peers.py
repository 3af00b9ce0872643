"""Our proof for all CPU counts beside SPIN and Rumur at fixed ones: how one is measured.

A workload is `w1:K`, `w1-stale:K` (the three-phase shutdown with K callbacks, correct and
with a stale choice of the new owner), or a claim of a spec: `SPEC#CHECK`, with options
`SPEC?option=value&option=value#CHECK`. A peer that reaches a limit has it as its answer:
'>300 s' or '>2048 MiB'. Needs SPIN, Rumur and gcc (Debian: spin, rumur, gcc).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]

import builders
import spin_local
from peer_tools import Run, rumur, spin

from cpuhp.api import Scenario, Settings, load
from cpuhp.engines.clock import now
from cpuhp.model.system import Property, TransitionSystem
from cpuhp.model.verdict import Result, Verdict


def claim(name: str) -> tuple[Scenario, str, int]:
    """The scenario that a workload names, and its claim: the first that is no `sometimes`."""
    path, _, check = name.partition("#")
    spec, _, query = path.partition("?")
    options = dict(each.split("=") for each in query.split("&") if each)
    scenario = load(spec, options=options)
    number = next(
        n for _, n, prop in scenario.claims(check)
        if prop.expectation.value != "sometimes"
    )  # fmt: skip
    return scenario, check, number


def workload(name: str) -> tuple[TransitionSystem, Property]:
    """The system and the claim of a workload."""
    if "#" in name:
        scenario, check, number = claim(name)
        sliced = scenario.checker.slice(check, number)
        return sliced.system, sliced.prop
    kind, _, callbacks = name.partition(":")
    system, props = builders.parallel_shutdown(int(callbacks), stale=kind == "w1-stale")
    return system, props[0]


# --- our side, in a process of its own


def measure(name: str, cpus: int | None, seconds: float) -> dict[str, object]:
    """One measurement: all counts if `cpus` is None. Imports are not counted."""
    import resource

    from cpuhp.engines.explicit import Limits, check

    result: Result
    if "#" in name:
        result, taken = as_checked(name, cpus, seconds)
    elif cpus is None:
        result, taken = every_count(name, seconds)
    else:
        system, prop = workload(name)
        started = time.process_time()
        result = check(system, prop, cpus, 0, Limits(seconds=seconds))
        taken = time.process_time() - started
    return {
        "answer": result.verdict.value,
        "states": result.stats.get("states", 0),
        "seconds": taken,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def every_count(name: str, seconds: float) -> tuple[Result, float]:
    """What `cpuhp check` does: a search with few CPUs, then the proof for all."""
    from cpuhp.engines.explicit import Limits, check
    from cpuhp.engines.parametric import prove

    system, prop = workload(name)
    started = time.process_time()
    for cpus in (2, 3):
        result = check(system, prop, cpus, 0, Limits(seconds=seconds))
        if result.verdict is Verdict.VIOLATED:
            return result, time.process_time() - started
    result = prove(system, prop, deadline=now() + seconds).result
    return result, time.process_time() - started


def as_checked(name: str, cpus: int | None, seconds: float) -> tuple[Result, float]:
    """What `cpuhp check` says of a claim of a scenario, and its seconds."""
    scenario, check, number = claim(name)
    settings = Settings(cpus=cpus, timeout=seconds)
    started = time.process_time()
    answer = scenario.checker.answer(check, number, settings)
    return answer.result, time.process_time() - started


def ours(name: str, cpus: int | None, limits: argparse.Namespace) -> Run:
    """What our engine answers, within the limit of time."""
    command = [
        sys.executable,
        __file__,
        json.dumps([name, cpus, limits.seconds]),
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True,
            timeout=2 * limits.seconds + 60,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Run(f">{limits.seconds:g} s", seconds=limits.seconds)
    found = json.loads(done.stdout)
    if found["answer"] not in ("PROVED", "VIOLATED"):
        gave_up = f"> {found['states']:,} states, {found['seconds']:.0f} s"
        return Run(gave_up, seconds=found["seconds"])
    holds = found["answer"] == "PROVED"
    return Run(
        "holds" if holds else "violated",
        found["states"],
        0.0,
        found["seconds"],
        found["memory"],
        found["seconds"],
    )


# --- the others


def peer(name: str, to: str, cpus: int, limits: argparse.Namespace) -> Run:
    """What SPIN or Rumur answers, within the limits of time and memory."""
    from cpuhp.report.export import export

    if to == "local":
        kind, _, callbacks = name.partition(":")
        text, to = spin_local.model(kind, int(callbacks), cpus), "promela"
    else:
        system, prop = workload(name)
        text = export(system, prop, to, cpus)
    with tempfile.TemporaryDirectory() as folder:
        most = {"seconds": limits.seconds, "mebibytes": limits.mebibytes, "fast": True}
        if to == "promela":
            return spin(text, Path(folder), **most)
        return rumur(text, Path(folder), threads=os.cpu_count() or 1, **most)


def repeated(runs: int, take: object, *arguments: object) -> Run:
    """The run of median time among some; one alone if it reached a limit."""
    assert callable(take)
    found: list[Run] = []
    for _ in range(runs):
        found.append(take(*arguments))
        if found[-1].answer.startswith(">"):
            return found[-1]
    middle = median(run.seconds for run in found)
    return min(found, key=lambda run: abs(run.seconds - middle))


if __name__ == "__main__":
    print(json.dumps(measure(*json.loads(sys.argv[1]))))
