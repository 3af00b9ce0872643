"""Our proof for all CPU counts beside SPIN and Rumur at fixed ones.

    python benchmarks/peers.py [--quick] [--out docs/benchmarks.md]

One run measures all rows: what a row compares is the same model on the same machine. A
peer that reaches a limit has it in its row, as '>300 s' or '>2048 MiB'. Needs SPIN,
Rumur and gcc (Debian: spin, rumur, gcc).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
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

from cpuhp.engines.clock import now
from cpuhp.model.system import Property, TransitionSystem
from cpuhp.model.verdict import Result, Verdict

# Workloads: W1 with so many callbacks, its seeded bug, and claims of scenarios.
WORKLOADS = (
    "w1:3",
    "w1:8",
    "w1-stale:3",
    "shutdown-three-phase-fixed/task_on_live_cpu/0",
)
MEANING = {
    "w1": "three-phase shutdown with K callbacks (w1:K): the context is never dead",
    "w1-stale": "the same with the new owner picked among stale candidates (a bug)",
}


def workload(name: str) -> tuple[TransitionSystem, Property]:
    """The system and the claim of a workload."""
    if name.startswith("w1"):
        kind, _, callbacks = name.partition(":")
        system, props = builders.parallel_shutdown(
            int(callbacks), stale=kind == "w1-stale"
        )
        return system, props[0]
    from cpuhp.api import load

    scenario, check, number = name.split("/")
    sliced = load(scenario).checker.slice(check, int(number))
    return sliced.system, sliced.prop


# --- our side, in a process of its own


def measure(name: str, cpus: int | None, seconds: float) -> dict[str, object]:
    """One measurement: all counts if `cpus` is None. Imports are not counted."""
    import resource

    from cpuhp.engines.explicit import Limits, check

    result: Result
    if not name.startswith("w1"):
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
    from cpuhp.api import Settings, load

    scenario, claim, number = name.split("/")
    checker = load(scenario).checker
    settings = Settings(cpus=cpus, timeout=seconds)
    started = time.process_time()
    answer = checker.answer(claim, int(number), settings)
    return answer.result, time.process_time() - started


def ours(name: str, cpus: int | None, limits: argparse.Namespace) -> Run:
    """What our engine answers, within the limit of time."""
    command = [
        sys.executable,
        __file__,
        "--one",
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


# --- the table

HEAD = (
    "| APs | ours, all counts | ours, this count | SPIN | its compilation | its states "
    "| Rumur | its compilation | its states | SPIN : ours, all | Rumur : ours, all |"
)


def shown(run: Run) -> str:
    """Seconds and memory, or the limit."""
    if run.answer.startswith(">"):
        return run.answer
    return f"{run.seconds:.2f} s, {run.memory / 1024:.0f} MiB"


def ratio(theirs: Run, mine: Run) -> str:
    """How many times longer they took; at least so, if a limit of time stopped them."""
    if mine.answer.startswith(">") or not theirs.seconds:
        return "-"
    sign = ">" if theirs.answer.startswith(">") else ""
    times = theirs.seconds / max(mine.seconds, 0.001)
    return f"{sign}{times:,.0f}" if times >= 10 else f"{sign}{times:.2f}"


def row(aps: int, every: Run, mine: Run, spin_run: Run, rumur_run: Run) -> str:
    cells = [str(aps), shown(every), shown(mine)]
    for run in (spin_run, rumur_run):
        done = not run.answer.startswith(">")
        cells += [
            shown(run),
            f"{run.compiling:.1f} s",
            f"{run.states:,}" if done else "-",
        ]
    cells += [ratio(spin_run, every), ratio(rumur_run, every)]
    return "| " + " | ".join(cells) + " |"


def table(name: str, aps: list[int], limits: argparse.Namespace) -> list[str]:
    """The rows of one workload. A peer that gave up is not asked for more APs."""
    tell(f"{name}: all counts")
    every = repeated(limits.repeat, ours, name, None, limits)
    lines = [f"## {name}", "", f"For all counts: {every.answer}.", "", HEAD]
    lines.append("|" + "---:|" * HEAD.count(" |"))
    gone: dict[str, Run] = {}
    for count in aps:
        runs = {}
        for who in ("ours", "promela", "murphi"):
            tell(f"{name}: {count} APs, {who}")
            if who in gone:
                runs[who] = gone[who]
            elif who == "ours":
                runs[who] = repeated(limits.repeat, ours, name, count + 1, limits)
            else:
                runs[who] = repeated(limits.repeat, peer, name, who, count + 1, limits)
            if runs[who].answer.startswith(">"):
                gone[who] = runs[who]
        answers = {r.answer for r in runs.values() if not r.answer.startswith(">")}
        if len(answers) > 1:
            raise SystemExit(f"{name}, {count} APs: {runs}: the answers differ")
        lines.append(row(count, every, runs["ours"], runs["promela"], runs["murphi"]))
    return [*lines, ""]


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def page(names: list[str], aps: list[int], limits: argparse.Namespace) -> str:
    """The whole page."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `python benchmarks/peers.py`, all rows in one run; how to read it: "
        + "[benchmarks/README.md](../benchmarks/README.md).",
        "",
        f"{os.cpu_count()} cores, {platform.machine()}, Python "
        + f"{platform.python_version()}. Limits of a run: {limits.seconds:g} s, "
        + f"{limits.mebibytes} MiB. Median of {limits.repeat}. {limits.note}".rstrip(),
        "",
        *(f"* `{kind}`: {text}" for kind, text in MEANING.items()),
        "",
    ]
    for name in names:
        lines += table(name, aps, limits)
        if limits.out:  # what is known so far, should the run be stopped
            Path(limits.out).write_text("\n".join(lines), encoding="utf-8")
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Our engine beside SPIN and Rumur.")
    parser.add_argument("--workload", action="append", help="default: all of them")
    parser.add_argument("--aps", default="2-6", help="a number or a range; default 2-6")
    parser.add_argument("--seconds", type=float, default=60.0, help="default 60")
    parser.add_argument("--mebibytes", type=int, default=2048, help="default 2048")
    parser.add_argument("--repeat", type=int, default=3, help="default 3")
    parser.add_argument("--note", default="", help="a sentence for the page's head")
    parser.add_argument("--out", help="file to write; default standard output")
    parser.add_argument("--quick", action="store_true", help="one small row, once")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    given = arguments()
    if given.one:
        print(json.dumps(measure(*json.loads(given.one))))
        return
    if given.quick:
        given.workload, given.aps, given.repeat = ["w1:2"], "2", 1
    low, _, high = given.aps.partition("-")
    aps = list(range(int(low), int(high or low) + 1))
    text = page(given.workload or list(WORKLOADS), aps, given)
    if not given.out:
        print(text)


if __name__ == "__main__":
    main()
