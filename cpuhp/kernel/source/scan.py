"""One look at every file of a tree, on several processes where that pays."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from cpuhp.kernel.source.tree import Tree

Progress = Callable[[str, int, int], None]  # what, files done, files in all
Found = TypeVar("Found")
_CHUNK = 800
_SMALL = 2000  # files; below that, starting processes costs more than it saves


def quiet(what: str, done: int, total: int) -> None:
    """Reports no progress."""


def over_files(
    tree: Tree,
    files: Sequence[str],
    task: Callable[[Tree, Sequence[str]], list[Found]],
    what: str,
    progress: Progress = quiet,
    jobs: int | None = None,
) -> list[Found]:
    """The findings of `task` on chunks of the files, in the order of the files.

    `task` must be a module's function or a `functools.partial` of one.
    """
    chunks = [files[i : i + _CHUNK] for i in range(0, len(files), _CHUNK)]
    jobs = jobs or min(8, _cpus())
    if jobs > 1 and len(files) >= _SMALL:
        try:
            return _parallel(tree, chunks, task, what, progress, jobs)
        except (OSError, ImportError):
            pass  # no semaphores or no processes here: do it alone
    found: list[Found] = []
    done = 0
    for chunk in chunks:
        found += task(tree, chunk)
        done += len(chunk)
        progress(what, done, len(files))
    return found


def _parallel(
    tree: Tree,
    chunks: list[Sequence[str]],
    task: Callable[[Tree, Sequence[str]], list[Found]],
    what: str,
    progress: Progress,
    jobs: int,
) -> list[Found]:
    total, done = sum(map(len, chunks)), 0
    found: list[Found] = []
    with ProcessPoolExecutor(jobs, mp_context=_context()) as pool:
        trees = [tree] * len(chunks)
        for chunk, part in zip(chunks, pool.map(task, trees, chunks), strict=True):
            found += part
            done += len(chunk)
            progress(what, done, total)
    return found


def _context() -> multiprocessing.context.BaseContext:
    # Forking is fastest, and safe only while there is a single thread.
    alone = threading.active_count() == 1 and sys.platform == "linux"
    return multiprocessing.get_context("fork" if alone else "spawn")


def _cpus() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
