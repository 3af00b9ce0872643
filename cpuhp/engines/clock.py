"""The clock that limits go by: seconds of the processor.

What is proved in time on a quiet machine is proved in time on a busy one, and searches
that try one thing for a while and then another do so at the same point. The seconds that
results tell are those of a clock on the wall.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import z3

_TIME_IS_UP = ("timeout", "canceled")  # as z3 says it


def now() -> float:
    """The seconds that this thread has had of a processor. Deadlines are such times."""
    return time.thread_time()


def ask(
    solver: z3.Solver, deadline: float | None, *assumed: z3.BoolRef
) -> z3.CheckSatResult:
    """What z3 answers before the deadline, `unknown` if it has no answer by then.

    z3 goes by the clock on the wall; it is asked again while there is time left.
    """
    import z3

    from cpuhp.engines.formulas import check

    while deadline is not None:
        left = deadline - now()
        if left <= 0:
            return z3.unknown
        solver.set("timeout", max(1, int(left * 1000)))
        answer = check(solver, assumed)
        if answer != z3.unknown or solver.reason_unknown() not in _TIME_IS_UP:
            return answer
    return check(solver, assumed)


def why_unknown(solver: z3.Solver, deadline: float | None) -> str:
    """Why z3 had no answer to what it was asked last."""
    if deadline is not None and now() >= deadline:
        return "time limit reached"
    return f"z3 gave up: {solver.reason_unknown()}"
