"""May-happen-in-parallel misses nothing that the whole program can do."""

from pathlib import Path

import pytest

from cpuhp.api import load
from cpuhp.engines.explicit.moves import compile_machine
from cpuhp.engines.parallel_steps import parallel
from cpuhp.graph.footprint import footprints
from cpuhp.graph.parallel import occupancy
from cpuhp.language.build import build
from cpuhp.semantics import Machine, initial_states

ROOT = Path(__file__).parents[2]
SPECS = ["tests/golden/small.hp", *(
    f"specs/golden/{name}.hp" for name in (
        "dsu-election", "park", "pmu-interrupt", "stop-machine-error", "tick-handover")
)]  # fmt: skip
LIMIT = 60_000


def exhaustive(whole, found, cpus, boot):
    """The pairs in all states of the whole program, every statement a step."""
    system, _ = build(whole, None, reduced=False)
    machine = Machine(system, cpus, boot)
    compiled = compile_machine(machine)
    collected = occupancy(whole, found)
    cells = [
        (p.name, cpu, machine.cell(p.location, () if cpu is None else (cpu,)))
        for p in system.processes
        for cpu in machine.instances(p)
    ]
    seen = set(initial_states(machine))
    todo = list(seen)
    while todo and len(seen) < LIMIT:
        state = todo.pop()
        where = [(name, cpu, state[cell]) for name, cpu, cell in cells]
        collected.visit(where, boot)
        for _, _, after in compiled.moves(state):
            if after not in seen:
                seen.add(after)
                todo.append(after)
    return collected.result(cpus, len(seen))


@pytest.mark.parametrize("boot", [0, 2])
@pytest.mark.parametrize("spec", SPECS)
def test_all_pairs_of_the_whole_program_are_found(spec, boot):
    whole = load(str(ROOT / spec)).checker.whole
    found = footprints(whole)
    searched = parallel(whole, found)
    actual = exhaustive(whole, found, 3, boot)
    assert actual.reached and actual.reached <= searched.reached
    assert actual.same_cpu <= searched.same_cpu
    assert actual.other_cpu <= searched.other_cpu
