"""What `cpuhp check` has to do, as independent jobs for any executor."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from cpuhp.api import Scenario, Settings, load, scenarios
from cpuhp.kernel.order import complete, read_order
from cpuhp.kernel.states_file import KernelTable
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
    scenarios: tuple[Scenario, ...]
    jobs: tuple[Job, ...]


def plan(
    names: tuple[str, ...],
    table: Table | None,
    checks: str,
    options: dict[str, str],
    cpus: int | None,
    timeout: float,
    memory: int | None,
) -> Plan:
    """Load everything, so that bad input is known before any work begins."""
    settings = Settings(cpus=cpus, timeout=timeout, memory=memory)
    chosen = names or tuple(scenarios())
    loaded: list[Scenario] = []
    jobs: list[Job] = []
    given = tuple(sorted(options.items()))
    for name in chosen:
        scenario = _load(name, table, given)
        loaded.append(scenario)
        for check, number, _ in scenario.claims(checks):
            jobs.append(Job(name, table, given, check, number, settings))
    return Plan(tuple(loaded), tuple(jobs))


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
    from cpuhp.kernel.extract import extract
    from cpuhp.kernel.extract_join import join
    from cpuhp.kernel.extract_table import table_of
    from cpuhp.kernel.states_file import read_states

    extraction = extract(Path(tree))
    if order:
        extraction = join(extraction, read_states(order))
    return complete(KernelTable(table_of(extraction)))


def work(job: Job) -> ShownAnswer:
    """Do one job. This runs in a worker process."""
    scenario = _load(job.scenario, job.table, job.options)
    return scenario.answer(job.check, job.number, job.settings)


def run(
    todo: Plan, jobs: int | None, tell: Callable[[int, str], None]
) -> Iterator[ShownAnswer]:
    """The answers in the order of the plan, each as soon as it is known."""
    count = min(jobs or os.cpu_count() or 1, max(1, len(todo.jobs)))
    if count == 1:
        for done, job in enumerate(todo.jobs):
            tell(done, f"{job.scenario} {job.check}")
            yield work(job)
        return
    with ProcessPoolExecutor(count) as executor:
        yield from in_order(executor, todo.jobs, tell)


def in_order(
    executor: Executor, jobs: tuple[Job, ...], tell: Callable[[int, str], None]
) -> Iterator[ShownAnswer]:
    """Hand all jobs to an executor; any that follows concurrent.futures will do."""
    futures: list[Future[ShownAnswer]] = [executor.submit(work, job) for job in jobs]
    try:
        for job, future in zip(jobs, futures):
            done = sum(other.done() for other in futures)
            tell(done, f"{job.scenario} {job.check}")
            yield future.result()
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        raise


def save(folder: str, answers: list[ShownAnswer]) -> None:
    """Write the certificates and `results.json`, each whole or not at all."""
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    saved = [_with_certificate(root, answer) for answer in answers]
    write_whole(root / "results.json", json.dumps(as_json(saved), indent=1) + "\n")


def _with_certificate(root: Path, answer: ShownAnswer) -> ShownAnswer:
    if answer.proof is None:
        return answer
    name, text = answer.proof
    write_whole(root / name, text)
    return replace(answer, certificate=str(root / name))


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader, or a full disk, never leaves a part of it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
