"""Who works on the questions: all cores, or a Dask cluster; and what is known already.

Both are executors in the sense of concurrent.futures. Findings are kept by content of
sliced system, claim and bound, so an interrupted or repeated run costs what is new.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

from cpuhp.diagnostics import InputError, fail
from cpuhp.engines.checking import Checker
from cpuhp.files import write_whole
from cpuhp.ordering.questions import (
    Bound,
    Finding,
    Outcome,
    Question,
    judge,
    key_of,
    seen,
    sliced,
    statements,
)
from cpuhp.ordering.text import Keys
from cpuhp.ordering.together import together
from cpuhp.ordering.variant import Variant


@dataclass(frozen=True)
class Sight:
    """What the system that decides a question contains: variables, statements that do
    something, and callbacks from the first that runs to the last (teardowns downwards).
    """

    variables: frozenset[str]
    statements: Keys
    callbacks: tuple[str, ...]


Asked = tuple[Variant, Question]
BROKEN = "does not compile: "  # instead of a key
PART = 16  # questions that a worker gets at a time,
WHOLE = 64  # and if all are about one variant
OneJudged = tuple[str, Finding, bool]
Judged = list[OneJudged]
Tell = Callable[[int, int], None]  # done, of how many


class TimeIsUp(Exception):
    """No more questions are answered: the deadline of their judges has passed."""


@contextmanager
def executor_of(engine: str | None, jobs: int | None) -> Iterator[Executor | None]:
    """Whoever runs jobs; None for this process alone.

    `engine` is None, "local" or "dask://HOST:PORT". Raises InputError HP505 for another
    one, HP506 if Dask is not installed or its scheduler does not answer.
    """
    if engine is None or engine == "local":
        count = jobs or os.cpu_count() or 1
        if count == 1:
            yield None
            return
        with ProcessPoolExecutor(count) as pool:
            try:
                yield pool
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return
    scheme, _, address = engine.partition("://")
    if scheme != "dask" or ":" not in address:
        raise fail(
            "HP505",
            f"there is no engine '{engine}'",
            help="local, or dask://HOST:PORT of a Dask scheduler",
        )
    with _dask(address) as found:
        yield found


@contextmanager
def _dask(address: str) -> Iterator[Executor]:
    try:
        from distributed import Client
    except ImportError:
        raise fail(
            "HP506", "Dask is not installed", help="pip install 'cpuhp[dask]'"
        ) from None
    try:
        client = Client(f"tcp://{address}", timeout="10s", set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise fail(
            "HP506", f"no Dask scheduler answers at {address}: {error}"
        ) from None
    try:
        # A question has one answer: asked again, because a worker died, it is the same.
        yield client.get_executor(pure=False, retries=5)
    finally:
        client.close()


class Cache:
    """Findings by content, in memory and, with a folder, from one run to the next."""

    def __init__(self, folder: Path | None = None):
        self.folder = folder
        self._known: dict[str, Finding] = {}
        self.hits = 0

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def get(self, key: str) -> Finding | None:
        found = self._known.get(key) or self._read(key)
        if found is not None:
            self._known[key] = found
            self.hits += 1
        return found

    def put(self, key: str, found: Finding) -> None:
        """Keep what was decided. A run that gave up may do better next time."""
        if key in self._known:
            return
        self._known[key] = found
        if self.folder is None or found.outcome is Outcome.UNKNOWN:
            return
        told = {**asdict(found), "outcome": found.outcome.value}
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(told) + "\n")
        except OSError:
            self.folder = None  # a cache that cannot be written is none

    def _read(self, key: str) -> Finding | None:
        if self.folder is None:
            return None
        try:
            told = json.loads(self._path(key).read_text(encoding="utf-8"))
            return Finding(
                Outcome(told["outcome"]),
                int(told["cpus"]),
                int(told["steps"]),
                tuple(str(name) for name in told["callbacks"]),
                str(told["reason"]),
                tuple(str(line) for line in told["story"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / f"{key[2:]}.json"


class Judges:
    """Answers questions about variants; each system is searched once.

    After `deadline`, a time of `time.monotonic()`, questions whose answer is not known
    yet raise TimeIsUp. What is being searched then is searched to its end.
    """

    def __init__(
        self,
        bound: Bound,
        executor: Executor | None = None,
        cache: Cache | None = None,
        tell: Tell | None = None,
        wider: Judges | None = None,
        deadline: float | None = None,
    ):
        self.deadline = deadline
        self.bound = bound
        self.cache = cache or Cache()
        self.runs = 0  # systems that were searched
        self.asked = 0  # questions
        self._executor = executor
        self._tell = tell
        self._wider = wider
        self._keys: dict[Asked, str] = {}
        self._searched: set[str] = set()
        self._narrower: dict[int, Judges] = {}

    def up_to(self, cpus: int) -> Judges:
        """The same with fewer CPUs: who wants to know less need not search as far."""
        if cpus >= self.bound.cpus:
            return self
        if cpus not in self._narrower:
            bound = replace(self.bound, cpus=cpus)
            self._narrower[cpus] = Judges(
                bound, self._executor, self.cache, self._tell, self, self.deadline
            )
        return self._narrower[cpus]

    @property
    def executor(self) -> Executor | None:
        """Whoever runs jobs; None for this process alone."""
        return self._executor

    @property
    def time_is_up(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline

    def findings(self, asked: Sequence[Asked], broken: bool = False) -> list[Finding]:
        """The findings, in the order of the questions.

        A variant that does not compile raises its InputError, or with `broken` counts
        as not known. Raises TimeIsUp.
        """
        self._count(asked=len(asked))
        wanted = [one for one in dict.fromkeys(asked) if not self._is_known(one)]
        parts = list(_parts(wanted))
        done = 0
        for part, found in self._judged(parts):
            self._note(part, found, broken)
            done += len(part)
            if self._tell:
                self._tell(done, len(wanted))
        return [self._known(self._keys[one]) for one in asked]

    def _count(self, asked: int = 0, runs: int = 0) -> None:
        self.asked += asked
        self.runs += runs
        if self._wider is not None:
            self._wider._count(asked, runs)

    def _is_known(self, one: Asked) -> bool:
        key = self._keys.get(one)
        return key is not None and (key.startswith(BROKEN) or key in self.cache)

    def _known(self, key: str) -> Finding:
        if key.startswith(BROKEN):
            return Finding(Outcome.UNKNOWN, 0, reason=key)
        found = self.cache.get(key)
        assert found is not None, "each key was judged or known"
        return found

    def _note(self, part: Sequence[Asked], found: Judged, broken: bool) -> None:
        for one, (key, told, ran) in zip(part, found):
            self._keys[one] = key
            if key.startswith(BROKEN):
                if not broken:
                    one[0].checker()  # raises the error that it has
                continue
            if ran and key not in self._searched:
                self._searched.add(key)
                self._count(runs=1)
            self.cache.put(key, told)

    def _judged(self, parts: list[list[Asked]]) -> Iterator[tuple[list[Asked], Judged]]:
        cache = self.cache.folder
        if self._executor is None or len(parts) < 2:
            for part in parts:
                if self.time_is_up:
                    raise TimeIsUp
                yield part, judged(part, self.bound, cache, self.cache)
            return
        futures = {
            self._executor.submit(judged, part, self.bound, cache): part
            for part in parts
        }
        left = None if self.deadline is None else self.deadline - time.monotonic()
        try:
            for future in as_completed(futures, None if left is None else max(0, left)):
                yield futures[future], future.result()
        except TimeoutError:
            for future in futures:
                future.cancel()
            raise TimeIsUp from None

    def same(self, first: Variant, second: Variant, question: Question) -> bool:
        """Whether two variants have the same system for a question."""
        return self.key(first, question) == self.key(second, question)

    def sights(
        self, variant: Variant, listed: Sequence[Question], whole: bool = True
    ) -> list[Sight]:
        """What each question looks at, of one variant; with `whole`, statements too."""
        if self._executor is None:
            return sights(variant, list(listed), whole)
        parts = [listed[at : at + PART] for at in range(0, len(listed), PART)]
        futures = [
            self._executor.submit(sights, variant, list(part), whole) for part in parts
        ]
        return [sight for future in futures for sight in future.result()]

    def key(self, variant: Variant, question: Question) -> str:
        """The content of the sliced system, as one word."""
        self._find_keys([(variant, question)])
        return self._keys[variant, question]

    def _find_keys(self, asked: Sequence[Asked]) -> None:
        by_variant: dict[Variant, list[Question]] = {}
        for variant, question in dict.fromkeys(asked):
            if (variant, question) not in self._keys:
                by_variant.setdefault(variant, []).append(question)
        for variant, listed in by_variant.items():
            for question, key in zip(listed, keys(variant, listed, self.bound)):
                self._keys[variant, question] = key


def _parts(wanted: Sequence[Asked]) -> Iterator[list[Asked]]:
    """What comes to one worker.

    All questions about a variant, which can share a search; else the same question about
    many variants, some of which may have equal systems. Few questions are spread.
    """
    by_variant: dict[Variant, list[Asked]] = {}
    by_question: dict[Question, list[Asked]] = {}
    for one in wanted:
        by_variant.setdefault(one[0], []).append(one)
        by_question.setdefault(one[1], []).append(one)
    if 2 * len(by_variant) <= len(wanted):
        groups, size = list(by_variant.values()), max(4, min(WHOLE, len(wanted) // 4))
    else:
        groups, size = list(by_question.values()), max(1, min(PART, len(wanted) // 8))
    for group in groups:
        for at in range(0, len(group), size):
            yield group[at : at + size]


def sights(variant: Variant, listed: list[Question], whole: bool) -> list[Sight]:
    """What each question looks at. This runs in a worker process."""
    checker = variant.checker()
    return [_sight(checker, question, whole) for question in listed]


def _sight(checker: Checker, question: Question, whole: bool) -> Sight:
    found = seen(checker, question)
    listed = [
        c.callback.name
        for c in checker.program.callbacks
        if c.callback.name in found.parts
    ]
    told = statements(checker, question) if whole else frozenset()
    return Sight(found.variables, told, tuple(listed))


def keys(variant: Variant, listed: list[Question], bound: Bound) -> list[str]:
    """The contents of the sliced systems. This runs in a worker process."""
    checker = variant.checker()
    return [key_of(sliced(checker, question), bound) for question in listed]


def judged(
    part: list[Asked],
    bound: Bound,
    folder: Path | None,
    cache: Cache | None = None,
) -> Judged:
    """For each question the key, the finding, and whether it had to be searched.

    This runs in a worker process, which remembers what it has done. What the machine
    has no room for is UNKNOWN. A variant that does not compile has a key that says so.
    """
    known = cache or _of_this_process(folder)
    shared = _shared(part, bound, known)
    return [shared.get(one) or _judged_alone(*one, bound, known) for one in part]


def _shared(part: list[Asked], bound: Bound, known: Cache) -> dict[Asked, OneJudged]:
    """What holds in systems that several questions about one variant have in common."""
    by_variant: dict[Variant, list[Question]] = {}
    for variant, question in part:
        by_variant.setdefault(variant, []).append(question)
    found: dict[Asked, OneJudged] = {}
    for variant, listed in by_variant.items():
        try:
            for told in together(variant, listed, bound, known.get):
                found[variant, told.question] = told.key, told.finding, told.searched
                known.put(told.key, told.finding)
        except (InputError, MemoryError, RecursionError):
            continue  # each by itself may fare better, or tells what is wrong
    return found


def _judged_alone(
    variant: Variant, question: Question, bound: Bound, known: Cache
) -> OneJudged:
    before = known.hits
    try:
        key, told = judge(variant, question, bound, known.get)
    except InputError as error:
        told = Finding(Outcome.UNKNOWN, 0, reason=error.diagnostics[0].message)
        return BROKEN + told.reason, told, False
    except (MemoryError, RecursionError) as error:
        key = f"{variant.scenario.name} {question.check} {error!r}"
        told = Finding(Outcome.UNKNOWN, 0, reason=f"out of room: {error!r}")
    known.put(key, told)
    return key, told, known.hits == before


@lru_cache(maxsize=4)
def _of_this_process(folder: Path | None) -> Cache:
    return Cache(folder)
