"""All benchmarks in one run, and the page that shows them.

    python benchmarks/all.py [--seconds 300] [--mebibytes 10240] [--only SECTION]

Each row is kept in a file as it is measured (--results), and the page is written anew
after it: Ctrl-C loses the row that is being measured, and the next run goes on behind
it. `--again` measures rows that are known, too; `--page` only writes the page.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]

import page
import peers
from measures import variants

Store = dict[str, dict[str, object]]


@dataclass(frozen=True)
class Row:
    """One measurement: `what` is a function of `measures`, or `peer`."""

    section: str
    key: str
    what: str
    arguments: tuple[object, ...]


SCENARIOS = (
    ("shutdown-three-phase-fixed", "arm64-6.12"),
    ("bringup-parallel", "x86_64-6.12"),
)
BUGS = "specs/bugs/"
PEERS = ("w1:3", "w1:8", "w1-stale:8", "shutdown-three-phase-fixed#task_on_live_cpu",
         "bringup-parallel#one_cpu_on_the_trampoline_stack")  # fmt: skip
FEW_APS = (3, 5)  # for the other workloads beside the peers
# Workload, spec, options of the correct and of the seeded variant, check.
WORKLOADS = (
    ("W3 hand-off and trampoline lock", "bringup-parallel", {}, {"no_trampoline_lock": "true"}, "one_cpu_on_the_trampoline_stack"),
    ("W3 prepared data reaches its CPU", "bringup-parallel", {}, {"one_spare_mask": "true"}, "prepared_data_reaches_its_cpu"),
    ("W4 multi_cpu_stop", "multi-cpu-stop", {}, {"early": "true"}, "stop_runs_with_interrupts_off"),
    ("W5 stopper's work is dropped", BUGS + "m16-stopper-work-dropped.hp", {"fixed": "true"}, {}, "m16_waiter_goes_on"),
    ("W6 parked before the grace period", BUGS + "m13-parked-before-grace-period.hp", {"fixed": "true"}, {}, "m13_tear_down_ends"),
    ("W7 rollback of a failed bringup", "bringup-late", {}, {"no_cleanup": "true"}, "brought_online_or_rolled_back"),
    ("W8 lock orders", BUGS + "m37-zswap-abba.hp", {"fixed": "true"}, {}, "m37_both_go_on"),
    ("W8 wait under a lock", BUGS + "m35-kobject-under-lock.hp", {"fixed": "true"}, {}, "m35_both_go_on"),
    ("W11 Dijkstra", "dijkstra", {}, {"careless": "true"}, "dijkstra_one_in_section"),
    ("W11 German", "german", {}, {"forgets_exclusive": "true"}, "german_exclusive_is_alone"),
    ("W11 FLASH", "flash", {}, {"keeps_copy": "true"}, "flash_exclusive_is_alone"),
    ("W11 Illinois", "illinois", {}, {"quiet_write": "true"}, "illinois_exclusive_is_alone"),
    ("W11 MOESI", "moesi", {}, {"stale_copies": "true"}, "moesi_modified_is_alone"),
    ("W11 Szymanski", "szymanski", {}, {"no_door": "true"}, "szymanski_one_in_section"),
    ("W11 Szymanski, looks apart", "szymanski", {"apart": "true"}, {"apart": "true", "no_door": "true"}, "szymanski_one_in_section"),
    ("W11 Burns", "burns", {}, {"hasty": "true"}, "burns_one_in_section"),
    ("W11 Bakery", "bakery", {}, {"glance": "true"}, "bakery_one_in_section"),
)  # fmt: skip
OPTION = re.compile(r"^\s*(!?)(\w+)(?:\s*==\s*(\w+))?\s*$")


def spec(name: str) -> str:
    """A workload's own spec, or what `cpuhp.load` knows."""
    own = ROOT / "benchmarks/workloads" / f"{name}.hp"
    return str(own) if own.exists() else str(ROOT / name) if "/" in name else name


def options(condition: str) -> dict[str, str] | None:
    """Options under which a condition of `expect ... when` holds, if that is plain."""
    found = {}
    condition = re.sub(r"!\((\w+)[^)]*\)", r"!\1", condition)  # one of them is enough
    for term in condition.replace("(", " ").replace(")", " ").split("&&"):
        match = OPTION.match(term)
        if match is None and term.strip():
            match = OPTION.match(term.split("||")[0])
        if match is None:
            continue
        no, name, value = match.groups()
        found[name] = value or ("false" if no else "true")
    return found


def workloads() -> Iterator[tuple[str, str, dict[str, str], str]]:
    """Title, spec, options and check of each workload, correct and seeded."""
    for title, name, right, wrong, check in WORKLOADS:
        yield f"{title}, correct", spec(name), right, check
        yield f"{title}, seeded", spec(name), wrong, check


def rows(given: argparse.Namespace) -> Iterator[Row]:
    """All rows, the quick ones first."""
    seconds = given.seconds
    for name, table in SCENARIOS:
        path = str(ROOT / f"specs/tables/{table}.table")
        yield Row("scenarios", name, "scenario", (name, path, min(seconds, 60.0)))
    for callbacks in (3, 8, 20, 60, 200):
        key = f"w1:{callbacks}"
        yield Row("workloads", f"W1 K={callbacks}", "every_count", (key, seconds))
    for callbacks in (3, 8, 20):
        key = f"w1-stale:{callbacks}"
        yield Row("workloads", f"W2 K={callbacks}", "every_count", (key, seconds))
    for title, path, chosen, check in workloads():
        yield Row("workloads", title, "claim",
                  (path, chosen, check, min(seconds, 60.0)))  # fmt: skip
    for cpus in (8, 16, 32, 64):
        yield Row("ladder", f"W9 K=3, {cpus} CPUs", "fixed", ("w1:3", cpus, seconds))
    for matters in (False, True):
        for steps in (10, 50, 100, 200):
            key = f"{steps} steps that {'matter' if matters else 'do not matter'}"
            yield Row("growth", key, "growth", (steps, matters, seconds))
    for folder in ("mutants", "scenarios", "bugs"):
        for path, condition, checks in variants(folder):
            chosen = options(condition)
            if chosen is not None:
                key = f"{path} {condition}".strip()
                yield Row(
                    "violations", key, "variant", (str(ROOT / path), chosen, checks)
                )
    low, _, high = given.aps.partition("-")
    for name in PEERS:
        yield Row("peers", f"{name} all", "peer", (name, "ours", 0, seconds))
        for aps in range(int(low), int(high or low) + 1):
            whos = ["promela", "murphi", "here"]
            whos += ["local"] if name.startswith("w1") else []
            for who in whos:
                yield Row(
                    "peers", f"{name} {who} {aps}", "peer", (name, who, aps, seconds)
                )
    for title, path, chosen, check in workloads():
        query = "&".join(f"{option}={value}" for option, value in chosen.items())
        name = f"{path}?{query}#{check}"
        for aps in FEW_APS:
            for who in ("promela", "murphi"):
                yield Row("few", f"{title} {who} {aps}", "peer",
                          (name, who, aps, min(seconds, 60.0)))  # fmt: skip


def measure(row: Row, given: argparse.Namespace, store: Store) -> dict[str, object]:
    """One row; a limit that was reached is a result, too."""
    if row.what == "peer":
        return peer(row, given, store)
    command = [sys.executable, str(ROOT / "benchmarks/measures.py"), row.what]
    most = 40 * given.seconds if row.what == "scenario" else 3 * given.seconds + 60
    try:
        done = subprocess.run(
            [*command, json.dumps(row.arguments)],
            capture_output=True, text=True, check=False, timeout=most,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"limit": f">{most:g} s"}
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1][:200]}
    found: dict[str, object] = json.loads(done.stdout)
    return found


def peer(row: Row, given: argparse.Namespace, store: Store) -> dict[str, object]:
    """SPIN, Rumur or our search. Who gave up is not asked for more CPUs."""
    name, who, aps, seconds = row.arguments
    assert isinstance(name, str) and isinstance(aps, int)
    given = argparse.Namespace(**{**vars(given), "seconds": seconds})
    title = row.key.removesuffix(f" {who} {aps}")
    for fewer in range(2, aps):
        before = store.get(f"{title} {who} {fewer}", {})
        if str(before.get("answer", "")).startswith(">"):
            return before
    if who == "ours":
        run = peers.repeated(given.repeat, peers.ours, name, None, given)
    elif who == "here":
        run = peers.repeated(given.repeat, peers.ours, name, aps + 1, given)
    else:
        run = peers.repeated(given.repeat, peers.peer, name, who, aps + 1, given)
    for other in ("promela", "murphi", "here", "local"):
        answers = {run.answer, store.get(f"{title} {other} {aps}", {}).get("answer")}
        if answers >= {"holds", "violated"}:
            raise SystemExit(f"{row.key}: {run.answer}; {other} says otherwise")
    if run.answer == "violated" and store.get(title, {}).get("verdict") == "PROVED":
        raise SystemExit(f"{row.key}: violated; we say that it is proved")
    return asdict(run)


def kept(path: Path) -> Store:
    """The rows that are known, by key; the last one counts."""
    found: Store = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        row = json.loads(line)
        found[row.pop("key")] = row
    return found


def run(given: argparse.Namespace) -> None:
    path = Path(given.results)
    path.parent.mkdir(parents=True, exist_ok=True)
    wanted = [
        row for row in rows(given)
        if given.only in (None, row.section) and fnmatch(row.key, given.rows)
    ]  # fmt: skip
    store = {} if given.again else kept(path)
    try:
        for number, row in enumerate(wanted, 1):
            if given.page or row.key in store:
                continue
            print(f"{number}/{len(wanted)} {row.section}: {row.key}", file=sys.stderr)
            found = measure(row, given, store)
            store[row.key] = found
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": row.key, **found}) + "\n")
            if len(store) % 20 == 0:
                write(given, store)
    except KeyboardInterrupt:
        print("stopped; the next run goes on here", file=sys.stderr)
    write(given, store if not given.again else {**kept(path), **store})


def write(given: argparse.Namespace, store: Store) -> None:
    head = (
        f"{os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}. Limits of a run: {given.seconds:g} s, "
        f"{given.mebibytes} MiB. {given.note}".rstrip()
    )
    everything = [(r.section, r.key) for r in rows(given)]
    text = page.text(head, everything, store, PEERS)
    Path(given.out).write_text(text, encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="All benchmarks, and their page.")
    parser.add_argument("--seconds", type=float, default=300.0, help="default 300")
    parser.add_argument("--mebibytes", type=int, default=10240, help="default 10240")
    parser.add_argument("--aps", default="2-7", help="CPUs beside the control CPU")
    parser.add_argument("--repeat", type=int, default=3, help="median of; default 3")
    parser.add_argument("--only", choices=page.SECTIONS, help="one section")
    parser.add_argument("--rows", default="*", help="of these names only, as `W11*`")
    parser.add_argument("--again", action="store_true", help="known rows, too")
    parser.add_argument("--page", action="store_true", help="measure nothing")
    parser.add_argument("--note", default="", help="a sentence for the page's head")
    parser.add_argument("--results", default=str(ROOT / "build/benchmarks.jsonl"))
    parser.add_argument("--out", default=str(ROOT / "docs/benchmarks.md"))
    return parser.parse_args()


if __name__ == "__main__":
    run(arguments())
