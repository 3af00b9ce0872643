"""Steps in phases: which of them may overlap, and where the barriers stand.

    phases = [
        Phase("kick", (Step("kick", 5e-6, control=True),), overlap=False),
        Phase("ONLINE section", steps, overlap=True),
        Phase("stop_machine", dying, overlap=True),
    ]
    plan(phases, cpus=range(1, 80)).makespan

Between two phases stands a barrier: no CPU begins the second one before all CPUs have
finished the first. `joined=False` takes the barrier before a phase away: each CPU goes
on when it has finished itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cpuhp.timing.schedule import Schedule, Task, schedule

CONTROL = "control CPU"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of each CPU: its cost in seconds, and the locks that it holds.

    `control` says that the control CPU runs it; otherwise the CPU itself does.
    """

    name: str
    seconds: float
    control: bool = False
    locks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Phase:
    """Steps that each CPU runs in this order between two barriers.

    With `overlap` the CPUs run them at the same time, as far as locks and the control
    CPU allow; without, one CPU after the other runs them all. `joined`: no CPU begins
    before all have finished the phase before. `cpus`: those of whom the phase is, if it
    is not of all.
    """

    name: str
    steps: tuple[Step, ...]
    overlap: bool = True
    joined: bool = True
    cpus: tuple[int, ...] | None = None


def plan(phases: Sequence[Phase], cpus: Iterable[int]) -> Schedule:
    """The schedule of the phases on these CPUs: makespan, critical path and the rest.

    Deterministic. O(CPUs x steps). A task is called `phase/step/CPU`; its `step` is the
    step's name. Raises InputError HP901 for costs that are none and for two phases, or
    two steps of one phase, of one name.
    """
    everybody = tuple(cpus)
    tasks: list[Task] = []
    last: dict[int, tuple[str, ...]] = {}  # per CPU: what its next step comes after
    gate: tuple[str, ...] = ()  # what everybody has to come after
    for phase in phases:
        if phase.joined:
            gate = _barrier(phase, tasks, gate, last)
            last = {}
        turn: tuple[str, ...] = ()
        for cpu in everybody if phase.cpus is None else phase.cpus:
            before = last.get(cpu, gate)
            for step in phase.steps:
                task = _task(phase, step, cpu, (*before, *turn))
                tasks.append(task)
                before, turn = (task.name,), ()
            last[cpu] = before
            turn = () if phase.overlap else before
    return schedule(tasks)


def _barrier(
    phase: Phase,
    tasks: list[Task],
    gate: tuple[str, ...],
    last: dict[int, tuple[str, ...]],
) -> tuple[str, ...]:
    """One task of no cost that comes after all; so that edges stay few."""
    before = tuple(
        dict.fromkeys((*gate, *(n for names in last.values() for n in names)))
    )
    if len(before) <= 1:
        return before
    name = f"{phase.name}/barrier"
    tasks.append(Task(name, 0.0, "", "barrier", before, (), phase.name))
    return (name,)


def _task(phase: Phase, step: Step, cpu: int, after: tuple[str, ...]) -> Task:
    lane = CONTROL if step.control else f"CPU {cpu}"
    name = f"{phase.name}/{step.name}/CPU {cpu}"
    after = tuple(dict.fromkeys(after))
    return Task(name, step.seconds, lane, step.name, after, step.locks, phase.name)
