"""Limits of `cpuhp check`: what was reached is told, what was done is kept."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from cpuhp.api import Settings, load
from cpuhp.cli import _work
from cpuhp.engines.explicit.search import memory_used

COMMAND = [sys.executable, "-m", "cpuhp", "check"]


def test_a_proof_that_needs_more_memory_says_how_far_it_holds():
    loaded = load("bringup-parallel")
    settings = Settings(memory=memory_used() + (8 << 20))
    answer = loaded.answer("one_cpu_comes_online_at_a_time", 0, settings)
    assert answer.verdict == "UNKNOWN"
    assert "MiB of memory reached" in answer.reason


def test_memory_that_was_given_back_does_not_count():
    before = memory_used()
    held = bytearray(64 << 20)
    assert memory_used() - before > 50 << 20
    del held
    assert memory_used() - before < 20 << 20


def test_a_search_out_of_time_says_how_many_states_it_saw():
    settings = Settings(cpus=5, timeout=0.1)
    answer = load("shutdown-three-phase").answer("no_deadlock", 0, settings)
    assert answer.verdict == "UNKNOWN"
    assert "time limit reached after" in answer.reason
    assert "states of 5 CPUs" in answer.reason


def kept(folder):
    """The answers with a certificate that were written so far."""
    results = folder / "results.json"
    if not results.exists():
        return []
    answers = json.loads(results.read_text())["results"]
    return [answer for answer in answers if answer["certificate"]]


def test_ctrl_c_keeps_what_came_before_its_turn():
    def results():
        yield SimpleNamespace(answers={2: "third", 4: "fifth"})
        yield SimpleNamespace(answers={0: "first"})
        raise KeyboardInterrupt

    job = SimpleNamespace(scenario="s", claims=[("c", 0)])
    todo = SimpleNamespace(known={3: "fourth"}, claims=[job] * 6)
    got = []
    answers = _work._in_order(todo, results(), lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        for answer in answers:
            got.append(answer)
    assert got == ["first", "third", "fourth", "fifth"]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_prints_what_is_done_and_the_next_run_goes_on(tmp_path, jobs):
    folder = tmp_path / "results"
    # The first claim of the first one has a proof soon; the others are work for longer.
    names = ["shutdown-serial", "shutdown-three-phase-fixed", "deferred-probe"]
    names += ["--check", "no_bug", "--check", "no_deadlock"]
    began = subprocess.Popen(
        [*COMMAND, *names, "--out", str(folder), "--jobs", jobs],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    until = time.monotonic() + 600
    while not kept(folder) and time.monotonic() < until:
        time.sleep(0.1)
    os.killpg(began.pid, signal.SIGINT)
    out, err = began.communicate(timeout=120)
    assert began.returncode == 130, err
    assert "interrupted: " in err and " done" in err and "Traceback" not in err
    assert "verdicts: " in out and "PROVED" in out
    proved = kept(folder)
    check = proved[0]["check"]
    again = subprocess.run(
        [*COMMAND, proved[0]["scenario"], "--check", check, "--resume", str(folder),
         "--format", "json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    first = json.loads(again.stdout)["results"][0]
    assert first["seconds"] == proved[0]["seconds"]  # it was not proved anew
