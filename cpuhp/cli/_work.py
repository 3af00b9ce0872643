"""What `cpuhp check` has to do, as independent jobs for any executor."""

from __future__ import annotations

import gc
import json
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    ProcessPoolExecutor,
    wait,
)
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, count, groupby
from pathlib import Path
from typing import TYPE_CHECKING

from cpuhp.api import Scenario, Settings, context_of, load, scenarios
from cpuhp.cli._files import read_results
from cpuhp.diagnostics import InputError, fail
from cpuhp.engines.answer import ClaimNumber
from cpuhp.files import CERTIFICATE, write_whole
from cpuhp.kernel.tables.order import complete, read_order
from cpuhp.kernel.tables.states_file import KernelTable
from cpuhp.model.system import Expectation
from cpuhp.model.table import Table
from cpuhp.model.verdict import Verdict
from cpuhp.report.answers import ShownAnswer, as_json

if TYPE_CHECKING:
    from cpuhp.engines.parametric.lessons import Lessons

LEARNING = (Expectation.RACE_FREE, Expectation.INVERSION_FREE)  # proved by themselves
MANY_PROOFS = 3  # from so many on, one goes ahead
_PROOFS = (Verdict.PROVED.value, Verdict.UNREACHABLE.value)  # of all CPU counts
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
    lessons: Lessons = ()


@dataclass(frozen=True)
class Start:
    """A job, and those that wait for what it teaches."""

    job: Job
    then: tuple[Job, ...] = ()


@dataclass(frozen=True)
class Done:
    """The answers of a job by place in the plan, and what its proof teaches."""

    answers: Mapping[int, ShownAnswer]
    lessons: Lessons = ()


@dataclass(frozen=True)
class Plan:
    """What to answer, in order; `known` are answers from an earlier run, by place."""

    scenarios: tuple[Scenario, ...]
    claims: tuple[Job, ...]  # one claim each
    known: Mapping[int, ShownAnswer]
    elsewhere: tuple[str, ...] = ()  # scenarios that go by steps that the table lacks


def plan(
    names: tuple[str, ...],
    table: Table | None,
    checks: tuple[str, ...],
    options: dict[str, str],
    settings: Settings,
    earlier: Mapping[str, ShownAnswer],
) -> Plan:
    """Load everything, so that bad input is known before any work begins.

    Without `names` all shipped scenarios that can run on the table's machine.
    """
    chosen = names or tuple(scenarios())
    loaded: list[Scenario] = []
    elsewhere: list[str] = []
    claims: list[Job] = []
    known: dict[int, ShownAnswer] = {}
    given = tuple(sorted(options.items()))
    for name in chosen:
        try:
            scenario = _load(name, table, given)
        except InputError as error:
            is_last = not loaded and name == chosen[-1]
            if names or is_last or not _lacks_a_row(error):
                raise
            elsewhere.append(name)
            continue
        loaded.append(scenario)
        for check, number, prop in scenario.claims(*checks):
            place = len(claims)
            answer = earlier.get(f"{scenario.fingerprint}.{check}.{prop.text}")
            if answer is not None and _settles(answer, settings):
                known[place] = answer
            one = ((check, number),)
            claims.append(Job(name, table, given, (place,), one, False, settings))
    return Plan(tuple(loaded), tuple(claims), known, tuple(elsewhere))


def _lacks_a_row(error: InputError) -> bool:
    """Is it that the table is not one of a machine that the scenario can run on?"""
    return {told.code for told in error.diagnostics} == {"HP206"}


def _settles(answer: ShownAnswer, settings: Settings) -> bool:
    """Whether an earlier answer is one to what is asked now."""
    every_count = answer.cpus == "all"
    if every_count != (settings.cpus is None):
        return False
    is_proof = every_count and answer.verdict in _PROOFS
    return not (settings.recheck and is_proof and not answer.accepted_by)


def opening(todo: Plan) -> Iterator[Start]:
    """The jobs to begin with: claims that share a proof, then those that do not.

    Where many proofs are wanted, one goes ahead, and the others learn from it. So do
    claims about data races and the order of locks.
    """
    asked = [c for c in todo.claims if c.places[0] not in todo.known]
    for key, found in groupby(asked, key=_program):
        single = {job.claims[0]: job for job in found}
        scenario = _load(*key)
        proofs: list[Job] = []
        if any(job.settings.cpus is None for job in single.values()):
            for group in scenario.groups(single):
                members = [single.pop(claim) for claim in group]
                places = tuple(member.places[0] for member in members)
                proofs.append(
                    replace(members[0], places=places, claims=group, together=True)
                )
        if len(proofs) < MANY_PROOFS:
            yield from map(Start, proofs)
        else:
            late = [
                c for c in single if scenario.checker.claim(*c).expectation in LEARNING
            ]
            yield Start(proofs[0], (*(single.pop(c) for c in late), *proofs[1:]))
        yield from map(Start, single.values())


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


def work(job: Job) -> Done:
    """Do one job. This runs in a worker process."""
    scenario = _load(job.scenario, job.table, job.options)
    try:
        if job.together:
            settled = scenario.settle(job.claims, job.settings, job.lessons)
            places = dict(zip(job.claims, job.places))
            answers = {places[c]: answer for c, answer in settled.answers.items()}
            return Done(answers, settled.lessons)
        (claim,), (place,) = job.claims, job.places
        answer = scenario.answer(*claim, job.settings, lessons=job.lessons)
        return Done({place: answer})
    except InputError:
        raise
    except Exception as error:  # one claim must not take the others with it
        if job.together:
            return Done({})
        unsaid = "out of room" if isinstance(error, _ROOM) else "internal error"
        reason = f"{unsaid}, worth a report: {error!r}"
        return Done({place: scenario.unknown(*claim, reason)})


def run(
    todo: Plan, jobs: int | None, tell: Callable[[int, str], None]
) -> Iterator[ShownAnswer]:
    """The answers in the order of the plan, each as soon as it is known."""
    count = min(jobs or os.cpu_count() or 1, max(1, len(todo.claims)))
    collect_seldom()
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


def collect_seldom() -> None:
    """Formulas and states are many and without cycles: do not look for some all day."""
    gc.set_threshold(100_000, 50, 100)


def _deaf() -> None:
    """Ctrl-C reaches all processes of a terminal; whoever prints decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    collect_seldom()


def in_order(
    executor: Executor, todo: Plan, tell: Callable[[int, str], None]
) -> Iterator[ShownAnswer]:
    """Hand all jobs to an executor; any that follows concurrent.futures will do."""
    try:
        yield from _in_order(todo, _side_by_side(executor, todo), tell)
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        raise


def _one_by_one(todo: Plan) -> Iterator[Done]:
    waiting = deque(opening(todo))
    while waiting:
        start = waiting.popleft()
        done = work(start.job)
        waiting.extendleft(reversed([*_next(todo, start, done)]))
        yield done


def _side_by_side(executor: Executor, todo: Plan) -> Iterator[Done]:
    running = {executor.submit(work, start.job): start for start in opening(todo)}
    while running:
        ended, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in ended:
            start, done = running.pop(future), future.result()
            for following in _next(todo, start, done):
                running[executor.submit(work, following.job)] = following
            yield done


def _next(todo: Plan, start: Start, done: Done) -> Iterator[Start]:
    """What waited for the job, and what it did not answer, a claim a job."""
    for job in start.then:
        yield Start(replace(job, lessons=done.lessons))
    for place in start.job.places:
        if place not in done.answers:  # perhaps because of what it was taught
            yield Start(todo.claims[place])


def _in_order(
    todo: Plan, results: Iterator[Done], tell: Callable[[int, str], None]
) -> Iterator[ShownAnswer]:
    answers = dict(todo.known)
    told = 0
    try:
        for place, job in enumerate(todo.claims):
            while place not in answers:
                tell(len(answers), f"{job.scenario} {job.claims[0][0]}")
                answers |= next(results).answers
            told = place + 1
            yield answers[place]
    except KeyboardInterrupt:  # what came before its turn is not lost
        yield from (answers[place] for place in sorted(answers) if place >= told)
        raise


class Folder:
    """Where answers are kept, each as soon as it is there, each file whole."""

    def __init__(self, path: str, todo: Plan, command: str | None = None):
        self._root = Path(path)
        self._todo = todo
        self._command = command
        self._kept: list[ShownAnswer] = []
        earlier = [a.certificate for a in todo.known.values() if a.certificate]
        self._taken = {Path(name).name for name in earlier}

    def _free(self, name: str) -> str:
        """The name, or one beside it: two specs may have a scenario of one name."""
        stem = name.removesuffix(CERTIFICATE)
        more = (f"{stem}.{number}{CERTIFICATE}" for number in count(2))
        free = next(n for n in chain([name], more) if n not in self._taken)
        self._taken.add(free)
        return free

    def keep(self, answer: ShownAnswer) -> ShownAnswer:
        """The answer, with the path of its certificate."""
        self._root.mkdir(parents=True, exist_ok=True)
        if answer.proof is not None:
            name, text = answer.proof
            path = self._root / self._free(name)
            write_whole(path, text)
            answer = replace(answer, certificate=str(path))
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
