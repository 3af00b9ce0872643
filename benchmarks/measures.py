"""What one row of the table is measured by, each in a process of its own.

    python benchmarks/measures.py NAME ARGUMENTS-AS-JSON

Seconds are of the processor (user and system time of the process, solvers included), as
a machine that does something else as well lengthens all others. Starting Python and
importing are not counted.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]

from cpuhp.api import Scenario, Settings, load
from cpuhp.engines.certificate import (
    Obligation,
    check,
    obligations_of,
    program_of,
    read_certificate,
    scripts,
)
from cpuhp.engines.clock import now
from cpuhp.engines.explicit import Limits
from cpuhp.engines.explicit import check as search
from cpuhp.engines.parametric import prove
from cpuhp.model.system import Property, TransitionSystem
from cpuhp.model.verdict import Verdict

Row = dict[str, object]
SOLVERS = ("z3", "cvc5")


def clock() -> float:
    return time.process_time()


def memory() -> int:
    """KiB, the greatest resident size so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def scenario(name: str, table: str, seconds: float) -> Row:
    """The command on all claims of a scenario, and all certificates by each solver.

    Here the time on the wall counts, too: the command uses all cores.
    """
    command = [sys.executable, "-m", "cpuhp", "check", name, "--order", table,
               "--timeout", str(seconds), "--format", "json"]  # fmt: skip
    began, before = time.monotonic(), children()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall, used = time.monotonic() - began, children() - before
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*command, "--out", folder], capture_output=True, check=False)
        kept = json.loads((Path(folder) / "results.json").read_text())["results"]
        for answer, again in zip(json.loads(done.stdout)["results"], kept):
            path = again["certificate"]
            rows.append([answer["check"], answer["claim"], answer["kind"],
                         answer["verdict"], str(answer["cpus"]), answer["seconds"],
                         recheck(Path(path), seconds) if path else {}])  # fmt: skip
    return {"wall": wall, "used": used, "claims": rows, "memory": most}


def children() -> float:
    """Seconds of the processor that ended child processes used."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def recheck(certificate: Path, seconds: float) -> dict[str, float]:
    """Seconds by solver, reading spec and certificate included; -1: not accepted."""
    found = {}
    for solver in SOLVERS:
        began = clock()
        read = read_certificate(certificate)
        made = obligations_of(read, program_of(read))
        found[solver] = conditions(made, solver, seconds, began)
    return found


def conditions(
    made: Sequence[Obligation], solver: str, seconds: float, began: float
) -> float:
    written = scripts(made, "qf")
    outcome = check(written, "qf", solver, seconds)
    return clock() - began if outcome.is_accepted else -1.0


def variant(path: str, options: dict[str, str], checks: list[str]) -> Row:
    """How long it takes to find the violations that the header of a spec expects."""
    loaded = load(path, options=options)
    rows = []
    for name in checks:
        for claim, number, prop in loaded.claims(name):
            if prop.expectation.value == "sometimes":
                continue
            began = clock()
            answer = loaded.answer(claim, number)
            rows.append([claim, answer.verdict, str(answer.cpus), clock() - began])
    return {"claims": rows, "memory": memory()}


# --- workloads


def shutdown(name: str) -> tuple[TransitionSystem, Property]:
    """`w1:K` or `w1-stale:K`: the system and its claim."""
    import builders

    kind, _, callbacks = name.partition(":")
    system, props = builders.parallel_shutdown(int(callbacks), stale=kind != "w1")
    return system, props[0]


def every_count(name: str, seconds: float) -> Row:
    """W1 for every number of CPUs as `cpuhp check` does it, with both re-checks."""
    system, prop = shutdown(name)
    began = clock()
    for cpus in (2, 3):
        result = search(system, prop, cpus, 0, Limits(seconds=seconds))
        if result.verdict is Verdict.VIOLATED:
            break
    again = {}
    if result.verdict is not Verdict.VIOLATED:
        proof = prove(system, prop, deadline=now() + seconds)
        result = proof.result
        taken = clock() - began
        if proof.invariant is not None:
            for solver in SOLVERS:
                start = clock()
                made = Obligation(system, prop, proof.invariant)
                again[solver] = conditions([made], solver, seconds, start)
    else:
        taken = clock() - began
    return row(result.verdict.value, result.cpus, taken, again)


def claim(path: str, options: dict[str, str], name: str, seconds: float) -> Row:
    """The first claim of a check that is no `sometimes`, with both re-checks."""
    began = clock()
    loaded = load(path, options=options)
    number = next(n for _, n, p in loaded.claims(name)
                  if p.expectation.value != "sometimes")  # fmt: skip
    answer = loaded.answer(name, number, Settings(timeout=seconds))
    taken = clock() - began
    again = {}
    if answer.invariant is not None:
        with tempfile.TemporaryDirectory() as folder:
            again = recheck(answer.save_certificate(folder), seconds)
    return row(
        answer.verdict, None if answer.cpus == "all" else answer.cpus, taken, again
    )


def row(verdict: str, cpus: object, taken: float, again: dict[str, float]) -> Row:
    shown = "all" if cpus is None else str(cpus)
    return {"verdict": verdict, "cpus": shown, "seconds": taken, "again": again,
            "memory": memory()}  # fmt: skip


def fixed(name: str, cpus: int, seconds: float) -> Row:
    """Our exhaustive search of W1 with so many CPUs."""
    system, prop = shutdown(name)
    began = clock()
    result = search(system, prop, cpus, 0, Limits(10_000_000, seconds))
    taken = clock() - began
    return {"verdict": result.verdict.value, "seconds": taken, "memory": memory(),
            "states": result.stats.get("states", 0)}  # fmt: skip


# --- growth


def grown(steps: int, matters: bool) -> str:
    """A shutdown with so many steps of a callback beside those of the claim.

    Each step sets a bit of its own CPU. The claim reads who owns a context; if the steps
    matter, also that whoever is dead has done each of them.
    """
    bits = "".join(f"percpu bool step_{n};\n" for n in range(steps))
    walk = "".join(f"    step_{n}[cpu] = true;\n" for n in range(steps))
    told = " && ".join(f"step_{n}[c]" for n in range(steps))
    also = f" && all(c in aps : dead[c] => ({told}))" if matters else ""
    return f"""scenario grown;
{bits}percpu bool leaving;
percpu bool dead;
mutex lock;
shared cpu? owner = boot;
process down(cpu) on aps {{
{walk}    mutex_lock(lock);
    leaving[cpu] = true;
    if (owner == cpu) {{
        cpu? other = any(c in cpus : !leaving[c]);
        if (other != none) owner = other;
    }}
    mutex_unlock(lock);
    dead[cpu] = true;
}}
check grown_owner_lives {{ always owner != none && !dead[owner]{also}; }}
"""


def growth(steps: int, matters: bool, seconds: float) -> Row:
    """Loading, and the claim, of a scenario that has grown."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grown.hp"
        path.write_text(grown(steps, matters), encoding="utf-8")
        began = clock()
        loaded: Scenario = load(str(path))
        loaded.claims()
        loading = clock() - began
        began = clock()
        answer = loaded.answer("grown_owner_lives", 0, Settings(timeout=seconds))
        taken = clock() - began
    cpus = None if answer.cpus == "all" else answer.cpus
    return {**row(answer.verdict, cpus, taken, {}), "loading": loading}


MEASURES: dict[str, Callable[..., Row]] = {
    f.__name__: f for f in (scenario, variant, every_count, claim, fixed, growth)
}


def variants(folder: str) -> Iterator[tuple[str, str, list[str]]]:
    """Spec, condition and checks of each `expect CHECK VIOLATED [when CONDITION];`."""
    import re

    told = re.compile(r"^expect (\w+) VIOLATED(?: when ([^;]+))?;", re.MULTILINE)
    for path in sorted((ROOT / "specs" / folder).glob("**/*.hp")):
        found: dict[str, list[str]] = {}
        for name, condition in told.findall(path.read_text(encoding="utf-8")):
            found.setdefault(condition, []).append(name)
        for condition, names in found.items():
            yield str(path.relative_to(ROOT)), condition, names


if __name__ == "__main__":
    name, arguments = sys.argv[1:]
    print(json.dumps(MEASURES[name](*json.loads(arguments))))
