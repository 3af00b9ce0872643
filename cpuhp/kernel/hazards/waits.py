"""Waits of a teardown while it holds a lock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from cpuhp.kernel.hazards.held import held_at
from cpuhp.kernel.hazards.rules import Finding, Subject, report
from cpuhp.kernel.hazards.walk import MAX_PLACES, Reached, runs_atomic

_WAIT = re.compile(
    r"\b(wait_for_completion\w*|synchronize_(?:rcu|srcu|net|irq|sched)\w*|"
    r"rcu_barrier\w*|flush_(?:delayed_)?work\w*|"
    r"(?:\w+_)?cancel_(?:delayed_)?work_sync|kthread_flush_\w+|"
    r"(?:drain|destroy)_workqueue|schedule_on_each_cpu|kthread_(?:stop|park)|"
    r"kthread_destroy_worker|msleep\w*|ssleep|usleep_range\w*|rcuwait_wait_event|"
    r"s?wait_event\w*|work_on_cpu\w*|perf_pmu_migrate_context|del_timer_sync|"
    r"timer_delete_sync|hrtimer_cancel|irq_work_sync|napi_(?:disable|synchronize)|"
    r"stop_machine\w*|stop_(?:one|two)_cpus?)\s*\("
)
# Calls on other CPUs; the last argument says whether to wait for them.
_CROSS = re.compile(
    r"\b(smp_call_function(?:_single|_any|_many)?|on_each_cpu(?:_mask)?)\s*\("
)
_SPIN = re.compile(r"\b(while)\s*\([^;{}]*\)\s*\{?\s*cpu_relax\s*\(\s*\)")


def waits(where: Reached) -> list[tuple[int, str]]:
    """Where a function waits, and what the wait is called."""
    body = where.body
    start = max(0, body.find("{"))
    found = [(m.start(), f"{m[1]}()") for m in _WAIT.finditer(body, start)]
    for match in _CROSS.finditer(body, start):
        split = where.source.arguments(where.function.start + match.end() - 1)
        given = [where.source.piece(span) for span in split[0]] if split else []
        own = given and match[1].endswith("single") and _is_own(where, given[0])
        if given and given[-1] in ("1", "true") and not own:
            found.append((match.start(), f"{match[1]}()"))
    found += [(m.start(), "cpu_relax() in a loop") for m in _SPIN.finditer(body, start)]
    return sorted(islice(found, MAX_PLACES))


def _is_own(where: Reached, cpu: str) -> bool:
    """True for the CPU that the callback is about: there nobody is waited for."""
    step = where
    while cpu in step.arguments:
        cpu, step = step.arguments[cpu]
    first = step.function.parameters[:1]
    return step.caller is None and (cpu,) == first or cpu.startswith("smp_processor_id")


def wait_under_lock(subject: Subject) -> Iterator[Finding]:
    """Waits with a lock held, by the function or by a caller on the way to it."""
    if not subject.teardown:
        return
    for where in subject.reached:
        if len(where.chain) > 3:
            break
        if runs_atomic(where):
            continue  # nothing in it can sleep
        for offset, wait in waits(where):
            locks = held_at(where, offset)
            if locks:
                lock = f"{locks[0].call}({locks[0].lock})"
                message = f"{where.function.name}() calls {wait} under {lock}"
                level = "warning"
                yield report(subject, "wait-under-lock", level, message, where, offset)
