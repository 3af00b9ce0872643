"""Runs SPIN and Rumur on exported models, within limits of time and memory."""

import os
import re
import resource
import shutil
import subprocess
import time
from dataclasses import dataclass, replace

HAS_SPIN = bool(shutil.which("spin") and shutil.which("gcc"))
HAS_RUMUR = bool(shutil.which("rumur") and shutil.which("gcc"))
DEPTHS = (100_000, 1_000_000, 10_000_000)  # steps; SPIN has to be told a bound
COMPILING = 300  # seconds for which a compiler may run
SPIN_START = 1  # stored states of SPIN that are no states of ours: before the start


@dataclass(frozen=True)
class Run:
    """What a peer answers: `holds`, `violated`, or the limit at which it gave up.

    `states` are all states if it holds. Seconds of compilation and of the search by the
    clock, and of the processor for the search; memory in KiB, of the search.
    """

    answer: str
    states: int = 0
    compiling: float = 0.0
    seconds: float = 0.0
    memory: int = 0
    processor: float = 0.0


class Trouble(Exception):
    """A peer said something that we do not understand."""


def spin(text, folder, *, seconds=60, mebibytes=2048, fast=False):
    """The answer of SPIN to a Promela model.

    `fast` is its best: compiled with optimisation, states compressed (COLLAPSE), and
    reduced as it can; its count of states may then be less than all.
    """
    (folder / "model.pml").write_text(text)
    exact = [] if fast else ["-o1", "-o2", "-o3"]
    flags = ["-O2", "-DCOLLAPSE"] if fast else ["-O0", "-DNOREDUCE"]
    flags += ["-w", "-DSAFETY", f"-DMEMLIM={mebibytes}"]
    started = time.monotonic()
    _quiet(["spin", "-a", *exact, "model.pml"], folder, COMPILING)
    made = _quiet(["gcc", *flags, "-o", "pan", "pan.c"], folder, COMPILING)
    compiling = time.monotonic() - started
    if not made:
        return Run(f">{COMPILING} s to compile", compiling=compiling)
    for depth in DEPTHS:
        command = ["./pan", "-E", f"-m{depth}", "-w20"]
        out, run = _limited(command, folder, seconds, mebibytes)
        run = replace(run, compiling=compiling)
        if run.answer:
            return run
        if "max search depth too small" not in out:
            break
    else:
        return replace(run, answer=f">{depth} steps deep")
    if "out of memory" in out or "reached -DMEMLIM" in out:
        return replace(run, answer=f">{mebibytes} MiB")
    found = re.search(r"^ *([\d.e+]+) states, stored", out, re.MULTILINE)
    errors = re.search(r"errors: (\d+)", out)
    if found is None or errors is None:
        raise Trouble(out)
    states = int(float(found.group(1))) - SPIN_START
    if int(errors.group(1)) and "assertion violated" not in out:
        raise Trouble(out)
    answer = "violated" if int(errors.group(1)) else "holds"
    return replace(run, answer=answer, states=states)


def rumur(text, folder, *, seconds=60, mebibytes=2048, fast=False, threads=1):
    """The answer of Rumur to a Murphi model; `fast` compiles with optimisation."""
    (folder / "model.m").write_text(text)
    started = time.monotonic()
    options = ["--deadlock-detection", "off", "--symmetry-reduction", "heuristic",
               "--threads", str(threads), "--counterexample-trace", "off"]  # fmt: skip
    _quiet(["rumur", *options, "--output", "model.c", "model.m"], folder, COMPILING)
    level = "-O2" if fast else "-O0"
    gcc = ["gcc", "-std=c11", level, "-w", "-mcx16", "-o", "model", "model.c"]
    made = _quiet([*gcc, "-lpthread"], folder, COMPILING)
    compiling = time.monotonic() - started
    if not made:
        return Run(f">{COMPILING} s to compile", compiling=compiling)
    out, run = _limited(["./model"], folder, seconds, mebibytes)
    run = replace(run, compiling=compiling)
    if run.answer:
        return run
    if re.search(r"failed to (re)?alloc|out of memory", out, re.IGNORECASE):
        return replace(run, answer=f">{mebibytes} MiB")
    found = re.search(r"^\s*(\d+) states, \d+ rules", out, re.MULTILINE)
    if found is None:
        raise Trouble(out)
    states = int(found.group(1))
    if "No error found" in out:
        return replace(run, answer="holds", states=states)
    if 'invariant "claim" failed' not in out:
        raise Trouble(out)
    return replace(run, answer="violated", states=states)


def _quiet(command, folder, seconds):
    """Run a generator or compiler; False if it takes too long."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return False
    if done.returncode:
        raise Trouble(
            f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return True


def _limited(command, folder, seconds, mebibytes):
    """Output and resources of a command; `answer` is set if a limit stopped it."""

    def limit():
        most = (mebibytes + 256) << 20
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    started = time.monotonic()
    with open(folder / "out.txt", "w+") as out:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=out,
            stderr=out,
            preexec_fn=limit,  # noqa: PLW1509
        )
        status, usage = _wait(process, started + seconds)
        taken = time.monotonic() - started
        out.seek(0)
        text = out.read()
    busy = usage.ru_utime + usage.ru_stime
    run = Run("", seconds=taken, memory=usage.ru_maxrss, processor=busy)
    if taken >= seconds:
        return text, replace(run, answer=f">{seconds:g} s")
    if os.WIFSIGNALED(status) and usage.ru_maxrss > mebibytes << 9:
        return text, replace(run, answer=f">{mebibytes} MiB")
    return text, run


def _wait(process, deadline):
    killed = False
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return status, usage
        if time.monotonic() > deadline and not killed:
            process.kill()
            killed = True
        time.sleep(0.002)
