"""Check conditions with a solver: each must be unsatisfiable, anything else rejects."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cpuhp.engines.certificate.claims import GROUPS, Condition, Script
from cpuhp.engines.certificate.pool_conditions import PoolConditions
from cpuhp.engines.certificate.rebuild import Obligation
from cpuhp.engines.certificate.solvers import (
    SAT,
    UNKNOWN,
    UNSAT,
    Solver,
    SolverError,
    start,
)
from cpuhp.engines.certificate.terms import conj, disj
from cpuhp.engines.certificate.twin import TwinConditions

FORMS = ("qf", "forall")
# Conditions that are asked for together, as hardly any ever fails. With quantifiers,
# what is asked at once takes longer than one after the other.
AT_ONCE = {"qf": 200, "forall": 1}
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Failure:
    """A condition that was not refuted: what it is about, and the solver's answer."""

    group: str
    label: str
    part: str
    answer: str

    def __str__(self) -> str:
        about = f"{self.label}: {self.part}" if self.part else self.label
        if self.answer == UNKNOWN:
            return f"{self.group}: the solver gives no answer for {about}"
        match self.group:
            case "initiation":
                return f"{self.group}: an initial state violates {self.part}"
            case "consecution":
                return f"{self.group}: the step '{self.label}' breaks {self.part}"
        return f"{self.group}: the clauses admit a state in which {about}"


@dataclass(frozen=True)
class Outcome:
    """What one solver says of all conditions in one form."""

    solver: str
    version: str
    form: str
    counts: tuple[tuple[str, int], ...]  # conditions by group
    failures: tuple[Failure, ...]
    seconds: float

    @property
    def is_accepted(self) -> bool:
        return not self.failures

    @property
    def is_unknown(self) -> bool:
        """Nothing was refuted, but something was not answered."""
        return bool(self.failures) and all(f.answer != SAT for f in self.failures)


def scripts(obligations: Sequence[Obligation], form: str) -> list[Script]:
    """The conditions in one of FORMS, as SMT-LIB scripts."""
    made = PoolConditions if form == "qf" else TwinConditions
    found: list[Script] = []
    for number, it in enumerate(obligations, 1):
        for script in made(it.system, it.prop, it.invariant).scripts():
            if len(obligations) > 1:
                script.name = f"{number}.{script.name}"
            found.append(script)
    return found


def check(made: list[Script], form: str, solver: str, seconds: float = 60.0) -> Outcome:
    """Put every condition to the solver, at most `seconds` for each."""
    began = time.monotonic()
    failures: list[Failure] = []
    counts = dict.fromkeys(GROUPS, 0)
    version = start(solver, 1000).version
    for script in made:
        engine = start(solver, int(seconds * 1000))
        try:
            for condition in script.conditions:
                counts[condition.group] += 1
            failures += _run(script, engine, AT_ONCE[form])
        except SolverError as error:
            failures.append(Failure("solver", script.name, str(error), UNKNOWN))
    return Outcome(
        solver,
        version,
        form,
        tuple(counts.items()),
        tuple(failures),
        time.monotonic() - began,
    )


def _run(script: Script, solver: Solver, at_once: int) -> Iterator[Failure]:
    """Ask for a state that violates any condition of several, and then for which."""
    solver.tell(f"(set-logic {script.head})")
    asked: list[Condition] = []
    last = len(script.items) - 1
    waiting: list[str] = []
    for place, item in enumerate(script.items):
        if isinstance(item, str):
            waiting.append(item)
        else:
            asked.append(item)
        if len(asked) == at_once or place == last:
            solver.tell("\n".join(waiting))
            waiting.clear()
            yield from _asked(asked, solver)
            asked.clear()


def _asked(conditions: list[Condition], solver: Solver) -> Iterator[Failure]:
    if len(conditions) > 1 and solver.ask(question(*conditions)) == UNSAT:
        return
    for condition in conditions:
        if solver.ask(question(condition)) != UNSAT:
            yield _failure(condition, solver)


def question(*conditions: Condition, part: int | None = None) -> str:
    """The commands that ask for a state that violates one of the conditions.

    Of each condition all parts are asked for, or the one with this number.
    """
    violated = []
    for condition in conditions:
        parts = [text for _, text in condition.parts]
        goal = disj(parts) if part is None else parts[part]
        violated.append(conj((condition.premise, goal)))
    return f"(push 1)\n(assert {disj(violated)})\n(check-sat)\n(pop 1)"


def _failure(condition: Condition, solver: Solver) -> Failure:
    """Find the part of the condition that fails, so that the reason can name it."""
    answers = []
    for number, (name, _) in enumerate(condition.parts):
        answer = solver.ask(question(condition, part=number))
        if answer == SAT:
            return Failure(condition.group, condition.label, name, SAT)
        answers.append((name, answer))
    name = next((name for name, answer in answers if answer != UNSAT), "")
    return Failure(condition.group, condition.label, name, UNKNOWN)


def exported(script: Script) -> str:
    """The script as a file of its own: every `check-sat` must answer `unsat`."""
    lines = [f"(set-logic {script.head})"]
    for item in script.items:
        if isinstance(item, str):
            lines.append(item)
        else:
            label = item.label.replace("\n", " ")
            lines += [f"; {item.group}: {label}; unsat expected", question(item)]
    return "\n".join(lines) + "\n"
