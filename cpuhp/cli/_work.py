"""What `cpuhp check` has to do, as independent jobs for any executor."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    ProcessPoolExecutor,
    wait,
)
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from cpuhp.api import Scenario, Settings, context_of, load, scenarios
from cpuhp.cli._files import read_results
from cpuhp.diagnostics import InputError, fail
from cpuhp.engines.checking import ClaimNumber
from cpuhp.files import write_whole
from cpuhp.kernel.tables.order import complete, read_order
from cpuhp.kernel.tables.states_file import KernelTable
from cpuhp.model.table import Table
from cpuhp.report.answers import ShownAnswer, as_json

_ROOM = (MemoryError, RecursionError)


@dataclass(frozen=True)
class Job:
    """Claims of one scenario; small enough to send to another machine.

    Several are to be proved together, for every number of CPUs. Those that could not be
    proved are left for jobs of their own.
    """

    scenario: str
    table: Table | None
    options: tuple[tuple[str, str], ...]
    places: tuple[int, ...]  # in the plan
    claims: tuple[ClaimNumber, ...]
    together: bool
    settings: Settings


@dataclass(frozen=True)
class Plan:
    """What to answer, in order; `known` are answers from an earlier run, by place."""

    scenarios: tuple[Scenario, ...]
    claims: tuple[Job, ...]  # one claim each
    known: Mapping[int, ShownAnswer]


def plan(
    names: tuple[str, ...],
    table: Table | None,
    checks: tuple[str, ...],
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
    claims: list[Job] = []
    known: dict[int, ShownAnswer] = {}
    given = tuple(sorted(options.items()))
    for name in chosen:
        scenario = _load(name, table, given)
        loaded.append(scenario)
        for check, number, prop in scenario.claims(*checks):
            place = len(claims)
            answer = earlier.get(f"{scenario.fingerprint}.{check}.{prop.text}")
            if answer is not None and (cpus is None) == (answer.cpus == "all"):
                known[place] = answer
            one = ((check, number),)
            claims.append(Job(name, table, given, (place,), one, False, settings))
    return Plan(tuple(loaded), tuple(claims), known)


def opening(todo: Plan) -> Iterator[Job]:
    """The jobs to begin with: claims that share a proof, then those that do not."""
    asked = [c for c in todo.claims if c.places[0] not in todo.known]
    for (name, table, options), found in groupby(asked, key=_program):
        by_claim = {job.claims[0]: job for job in found}
        together: set[ClaimNumber] = set()
        if any(job.settings.cpus is None for job in by_claim.values()):
            for group in _load(name, table, options).groups(by_claim):
                together.update(group)
                members = [by_claim[claim] for claim in group]
                places = tuple(member.places[0] for member in members)
                yield replace(members[0], places=places, claims=group, together=True)
        for claim, job in by_claim.items():
            if claim not in together:
                yield job


def _program(job: Job) -> tuple[str, Table | None, tuple[tuple[str, str], ...]]:
    return job.scenario, job.table, job.options


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


Found = dict[int, ShownAnswer]  # by place in the plan


def work(job: Job) -> Found:
    """Do one job. This runs in a worker process."""
    scenario = _load(job.scenario, job.table, job.options)
    try:
        if job.together:
            settled = scenario.settle(job.claims, job.settings)
            places = dict(zip(job.claims, job.places))
            return {places[claim]: answer for claim, answer in settled.items()}
        (claim,), (place,) = job.claims, job.places
        return {place: scenario.answer(*claim, job.settings)}
    except InputError:
        raise
    except Exception as error:  # one claim must not take the others with it
        if job.together:
            return {}
        unsaid = "out of room" if isinstance(error, _ROOM) else "internal error"
        reason = f"{unsaid}, worth a report: {error!r}"
        return {place: scenario.unknown(*claim, reason)}


def run(
    todo: Plan, jobs: int | None, tell: Callable[[int, str], None]
) -> Iterator[ShownAnswer]:
    """The answers in the order of the plan, each as soon as it is known."""
    count = min(jobs or os.cpu_count() or 1, max(1, len(todo.claims)))
    if count == 1:
        yield from _in_order(todo, _one_by_one(todo), tell)
        return
    executor = ProcessPoolExecutor(count, initializer=_deaf)
    workers = executor._processes  # the executor forgets them when it is shut down
    try:
        yield from in_order(executor, todo, tell)
    except BaseException:
        # What they are at is lost anyway; who pressed Ctrl-C does not want to wait.
        for worker in dict(workers or {}).values():
            worker.terminate()
        raise
    finally:
        executor.shutdown()


def _deaf() -> None:
    """Ctrl-C reaches all processes of a terminal; whoever prints decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def in_order(
    executor: Executor, todo: Plan, tell: Callable[[int, str], None]
) -> Iterator[ShownAnswer]:
    """Hand all jobs to an executor; any that follows concurrent.futures will do."""
    try:
        yield from _in_order(todo, _side_by_side(executor, todo), tell)
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        raise


def _one_by_one(todo: Plan) -> Iterator[Found]:
    for job in opening(todo):
        found = work(job)
        yield found
        for rest in _left(todo, job, found):
            yield work(rest)


def _side_by_side(executor: Executor, todo: Plan) -> Iterator[Found]:
    running = {executor.submit(work, job): job for job in opening(todo)}
    while running:
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            job, found = running.pop(future), future.result()
            for rest in _left(todo, job, found):
                running[executor.submit(work, rest)] = rest
            yield found


def _left(todo: Plan, job: Job, found: Found) -> Iterator[Job]:
    """What the job did not answer, a claim a job."""
    return (todo.claims[place] for place in job.places if place not in found)


def _in_order(
    todo: Plan, results: Iterator[Found], tell: Callable[[int, str], None]
) -> Iterator[ShownAnswer]:
    answers = dict(todo.known)
    for place, job in enumerate(todo.claims):
        while place not in answers:
            tell(len(answers), f"{job.scenario} {job.claims[0][0]}")
            answers |= next(results)
        yield answers[place]


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
