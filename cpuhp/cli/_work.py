"""What `cpuhp check` has to do, as independent jobs for any executor."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from cpuhp.api import Scenario, Settings, context_of, load, scenarios
from cpuhp.cli._files import read_results
from cpuhp.diagnostics import InputError, fail
from cpuhp.files import write_whole
from cpuhp.kernel.tables.order import complete, read_order
from cpuhp.kernel.tables.states_file import KernelTable
from cpuhp.model.table import Table
from cpuhp.report.answers import ShownAnswer, as_json


@dataclass(frozen=True)
class Job:
    """One claim of one scenario; small enough to send to another machine."""

    scenario: str
    table: Table | None
    options: tuple[tuple[str, str], ...]
    check: str
    number: int
    settings: Settings


@dataclass(frozen=True)
class Plan:
    """`known`: answers from an earlier run, by the number of the job."""

    scenarios: tuple[Scenario, ...]
    jobs: tuple[Job, ...]
    known: Mapping[int, ShownAnswer]


def plan(
    names: tuple[str, ...],
    table: Table | None,
    checks: str,
    options: dict[str, str],
    cpus: int | None,
    timeout: float,
    memory: int | None,
    earlier: Mapping[str, ShownAnswer],
) -> Plan:
    """Load everything, so that bad input is known before any work begins."""
    settings = Settings(cpus=cpus, timeout=timeout, memory=memory)
    chosen = names or tuple(scenarios())
    loaded: list[Scenario] = []
    jobs: list[Job] = []
    known: dict[int, ShownAnswer] = {}
    given = tuple(sorted(options.items()))
    for name in chosen:
        scenario = _load(name, table, given)
        loaded.append(scenario)
        for check, number, prop in scenario.claims(checks):
            answer = earlier.get(f"{scenario.fingerprint}.{check}.{prop.text}")
            if answer is not None and (cpus is None) == (answer.cpus == "all"):
                known[len(jobs)] = answer
            jobs.append(Job(name, table, given, check, number, settings))
    return Plan(tuple(loaded), tuple(jobs), known)


@lru_cache(maxsize=16)
def _load(
    name: str, table: Table | None, options: tuple[tuple[str, str], ...]
) -> Scenario:
    return load(name, table=table, options=dict(options))


def order_of(order: str | None, tree: str | None) -> Table | None:
    """The table of a states file, of a kernel tree, or of a tree as a file recorded it.

    Raises InputError if either cannot be read; None if neither is given.
    """
    if tree is None:
        return read_order(Path(order)) if order else None
    from cpuhp.kernel.registrations.extract import extract
    from cpuhp.kernel.registrations.join import join
    from cpuhp.kernel.registrations.table import table_of
    from cpuhp.kernel.tables.states_file import read_states

    extraction = extract(Path(tree))
    if order:
        extraction = join(extraction, read_states(order))
    return complete(KernelTable(table_of(extraction)))


def work(job: Job) -> ShownAnswer:
    """Do one job. This runs in a worker process."""
    scenario = _load(job.scenario, job.table, job.options)
    try:
        return scenario.answer(job.check, job.number, job.settings)
    except (MemoryError, RecursionError) as error:
        return scenario.unknown(job.check, job.number, f"out of room: {error!r}")
    except InputError:
        raise
    except Exception as error:  # one claim must not take the others with it
        reason = f"internal error, worth a report: {error!r}"
        return scenario.unknown(job.check, job.number, reason)


def run(
    todo: Plan, jobs: int | None, tell: Callable[[int, str], None]
) -> Iterator[ShownAnswer]:
    """The answers in the order of the plan, each as soon as it is known."""
    count = min(jobs or os.cpu_count() or 1, max(1, len(todo.jobs)))
    if count == 1:
        for done, job in enumerate(todo.jobs):
            tell(done, f"{job.scenario} {job.check}")
            yield todo.known[done] if done in todo.known else work(job)
        return
    with ProcessPoolExecutor(count) as executor:
        yield from in_order(executor, todo, tell)


def in_order(
    executor: Executor, todo: Plan, tell: Callable[[int, str], None]
) -> Iterator[ShownAnswer]:
    """Hand all jobs to an executor; any that follows concurrent.futures will do."""
    futures: list[Future[ShownAnswer] | None] = [
        None if number in todo.known else executor.submit(work, job)
        for number, job in enumerate(todo.jobs)
    ]
    try:
        for number, (job, future) in enumerate(zip(todo.jobs, futures)):
            done = sum(other is None or other.done() for other in futures)
            tell(done, f"{job.scenario} {job.check}")
            yield todo.known[number] if future is None else future.result()
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        raise


class Folder:
    """Where answers are kept, each as soon as it is there, each file whole."""

    def __init__(self, path: str, todo: Plan, command: str | None = None):
        self._root = Path(path)
        self._todo = todo
        self._command = command
        self._kept: list[ShownAnswer] = []

    def keep(self, answer: ShownAnswer) -> ShownAnswer:
        """The answer, with the path of its certificate."""
        self._root.mkdir(parents=True, exist_ok=True)
        if answer.proof is not None:
            name, text = answer.proof
            write_whole(self._root / name, text)
            answer = replace(answer, certificate=str(self._root / name))
        self._kept.append(answer)
        context = context_of(self._todo.scenarios, self._kept, self._command)
        text = json.dumps(as_json(self._kept, context), indent=1) + "\n"
        write_whole(self._root / "results.json", text)
        return answer


def certified(path: str) -> dict[str, ShownAnswer]:
    """Answers of an earlier run that have a certificate, by fingerprint.

    Raises InputError HP504 if the folder has no results that can be read.
    """
    file = Path(path) / "results.json"
    try:
        answers = read_results(str(file)).answers
    except (InputError, OSError) as error:
        told = str(error).split(": ", 1)[-1].splitlines()[0]
        raise fail(
            "HP504",
            f"'{file}' is not the result of an earlier run: {told}",
            help="--resume takes the folder that --out wrote",
        ) from None
    return {
        answer.fingerprint: replace(answer, trace=None)
        for answer in answers
        if answer.certificate and Path(answer.certificate).exists()
    }
