"""May-happen-in-parallel from a search with few CPUs: which steps meet."""

from __future__ import annotations

from cpuhp.engines.explicit.moves import compile_machine
from cpuhp.engines.explicit.search import Budget, Limits, make_space
from cpuhp.engines.explicit.symmetry import is_symmetric
from cpuhp.graph.footprint import Footprints
from cpuhp.graph.parallel import (
    At,
    Parallel,
    by_process,
    landmarks,
    occupancy,
    point_of,
    skeleton,
)
from cpuhp.language.build import build
from cpuhp.language.compile import Lowered
from cpuhp.semantics import Machine

CPUS = 3
LIMITS = Limits(max_states=400_000, seconds=40.0)


def parallel(whole: Lowered, found: Footprints, limits: Limits = LIMITS) -> Parallel:
    """Which steps may happen in parallel, as precisely as the limits allow.

    Searched with 3 CPUs, wherever the control CPU is among them. Where that does not
    end, only what holds without looking at phases.
    """
    bones = skeleton(whole)
    system, _ = build(bones, landmarks(bones))
    collected = occupancy(bones, found)
    budget = Budget(limits)
    total = 0
    symmetric = is_symmetric(system)
    for boot in (0,) if symmetric else range(CPUS):
        machine = Machine(system, CPUS, boot)
        cells = _cells(machine, bones)
        space = make_space(compile_machine(machine), symmetric)
        seen = set(space.initial())
        todo = list(seen)
        met: set[tuple[At, ...]] = set()
        while todo:
            key = todo.pop()
            state = space.state(key)
            where = tuple(
                (process, cpu, points[state[cell]])
                for process, cpu, cell, points in cells
            )
            if where not in met:
                met.add(where)
                collected.visit(where, boot)
            for after in space.successors(key):
                if after not in seen:
                    seen.add(after)
                    todo.append(after)
            if budget.exceeded(total + len(seen)):
                return by_process(found.steps)
        total += len(seen)
    return collected.result(CPUS, total)


_Cell = tuple[str, int | None, int, tuple[int, ...]]


def _cells(machine: Machine, bones: Lowered) -> list[_Cell]:
    """Where each process instance's program point lies in a state."""
    found: list[_Cell] = []
    lowered = {process.name: process for process in bones.processes}
    for process in machine.system.processes:
        sort = machine.system.variable(process.location).sort
        names = getattr(sort, "values", ())
        points = tuple(point_of(lowered[process.name], name) for name in names)
        known = tuple(-1 if point is None else point for point in points)
        for cpu in machine.instances(process):
            cell = machine.cell(process.location, () if cpu is None else (cpu,))
            if cell is not None:
                found.append((process.name, cpu, cell, known))
    return found
