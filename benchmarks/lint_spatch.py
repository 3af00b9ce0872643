"""`cpuhp lint` beside a Coccinelle rule for the simplest of its patterns.

    python benchmarks/lint_spatch.py TREE

Same tree, same machine, one after the other: the literal pick from the online mask by
`spatch -j 2` (package coccinelle), and everything that lint looks for, cold and from
its cache. Each runs twice and the second run counts, so that the files are in memory.
Limits for lint: 30 s and 2 GiB cold, 2 s warm.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

RULE = """\
@@
expression c;
@@
* cpumask_any_but(cpu_online_mask, c)
"""


@dataclass(frozen=True)
class Run:
    """Seconds of processor and wall time, MiB of the largest process, what it said."""

    cpu: float
    wall: float
    peak: float
    output: str


def run(command: list[str], environment: dict[str, str]) -> Run:
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.DEVNULL, env=environment
        )
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
        wall = time.monotonic() - start
        out.seek(0)
        return Run(
            usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024, out.read()
        )


def main() -> None:
    tree = Path(sys.argv[1]).resolve()
    spatch = shutil.which("spatch")
    if spatch is None:
        sys.exit("spatch is not installed: apt-get install coccinelle")
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "XDG_CACHE_HOME": folder}
        rule = Path(folder) / "any_but.cocci"
        rule.write_text(RULE)
        cocci = [spatch, "--very-quiet", "-j", "2", "--sp-file", str(rule)]
        lint = [sys.executable, "-c", "from cpuhp.cli import main; main()", "lint"]
        lint += [str(tree), "--format", "json"]
        for _ in range(2):
            other = run([*cocci, "--dir", str(tree)], environment)
        for _ in range(2):
            cold = run([*lint, "--no-cache"], environment)
        for _ in range(2):
            warm = run(lint, environment)
    places = sum(
        line.startswith("-") and not line.startswith("---")
        for line in other.output.splitlines()
    )
    found = json.loads(cold.output)["findings"]
    literal = sum(
        f["class"] == "A"
        and f["message"].endswith("cpu_online_mask, by cpumask_any_but()")
        for f in found
    )
    assert json.loads(warm.output)["findings"] == found
    print("| | processor s | wall s | ratio | MiB | finds |")
    print("|---|---|---|---|---|---|")
    for name, result, what in (
        ("spatch, one rule", other, f"{places} literal picks, anywhere"),
        ("lint, cold", cold, f"{len(found)} findings, {literal} of them literal picks"),
        ("lint, warm", warm, "the same"),
    ):
        print(
            f"| {name} | {result.cpu:.1f} | {result.wall:.1f} "
            f"| {result.cpu / other.cpu:.2f} | {result.peak:.0f} | {what} |"
        )


if __name__ == "__main__":
    main()
