"""Run counts that were worked out by hand: the golden table, one file of specs a row."""

import pytest

from cpuhp.engines.explicit import check, count_runs
from cpuhp.kernel.tables.states_file import read_table
from cpuhp.language.build import build
from cpuhp.language.compile import claims, lower
from cpuhp.language.library import data_root, shipped
from cpuhp.language.link import link
from cpuhp.model.expr import (
    FALSE,
    Boot,
    Const,
    Param,
    Read,
    and_,
    eq,
    forall,
    not_,
    or_,
)
from cpuhp.model.sorts import CPU
from cpuhp.model.system import Expectation, Runs, location_sort

TABLE = read_table(data_root() / "specs/tables/arm64-6.12.table")
LOWEST, HIGHEST = 0, -1

ROWS = [
    # scenario, options, CPUs, control CPU, (runs, bad, deadlocked)
    ("n_online", {}, 3, LOWEST, (6, 4, 0)),
    ("n_online", {}, 4, LOWEST, (90, 84, 0)),
    ("n_online", {"atomically": "true"}, 3, LOWEST, (2, 0, 0)),
    ("tick_handover", {}, 3, LOWEST, (70, 0, 0)),
    ("tick_handover", {}, 3, HIGHEST, (70, 3, 0)),
    ("tick_handover", {"barrier": "true"}, 3, HIGHEST, (40, 0, 0)),
    ("irq_migration", {}, 3, HIGHEST, (12, 0, 0)),
    ("irq_migration", {"lock": "false"}, 3, HIGHEST, (20, 2, 0)),
    ("irq_migration", {"lock": "false", "not_dying": "true"}, 3, HIGHEST, (20, 0, 0)),
    ("irq_migration", {"walk_first": "true"}, 3, HIGHEST, (12, 12, 0)),
    ("dsu_election", {}, 3, LOWEST, (70, 0, 0)),
    ("dsu_election", {"outside": "true"}, 3, LOWEST, (70, 70, 0)),
    ("dsu_election", {}, 3, HIGHEST, (70, 70, 0)),
    ("dsu_election", {"lock": "true"}, 3, LOWEST, (14, 0, 0)),
    ("dsu_election", {"lock": "true", "outside": "true"}, 3, LOWEST, (14, 14, 0)),
    ("dsu_election", {"lock": "true"}, 3, HIGHEST, (14, 14, 0)),
    ("dsu_own_kick", {}, 3, HIGHEST, (56, 3, 0)),
    ("dsu_own_kick", {"lock": "true"}, 3, HIGHEST, (22, 0, 0)),
    ("rcu_boost", {}, 4, LOWEST, (6, 6, 0)),
    ("rcu_boost", {"outgoing_set": "true"}, 4, LOWEST, (6, 0, 0)),
    ("conditional_kick", {}, 2, LOWEST, (0, 0, 1)),
    ("stop_machine_error", {}, 2, LOWEST, (0, 0, 1)),
    ("stop_machine_error", {"checked": "true"}, 2, LOWEST, (4, 0, 0)),
    ("microcode", {}, 3, LOWEST, (6, 4, 0)),
    ("microcode", {"primary_first": "true"}, 3, LOWEST, (1, 0, 0)),
    ("park", {"park": "POSTED"}, 2, LOWEST, (4, 2, 2)),
    ("park", {"park": "NO_SEV"}, 2, LOWEST, (1, 0, 1)),
    ("park", {"park": "SEV_FIRST"}, 2, LOWEST, (2, 0, 1)),
    ("park", {"park": "FINAL"}, 2, LOWEST, (1, 0, 0)),
    ("luo_rollback", {"design": "RFC_V2"}, 4, LOWEST, (5, 4, 0)),
    ("luo_rollback", {"design": "RFC_V3"}, 4, LOWEST, (5, 3, 0)),
    ("luo_rollback", {"design": "MERGED"}, 4, LOWEST, (5, 0, 0)),
    ("pmu_interrupt", {}, 1, LOWEST, (2, 0, 2)),
    ("pmu_interrupt", {"irqsave": "true"}, 1, LOWEST, (2, 0, 0)),
] + [
    # Orders of serialization: with waits, the linear extensions are what is left.
    ("linear_extensions", {"shape": shape, "waits": waits}, devices + 1, LOWEST,
     (extensions, 0, 0) if waits == "true" else (every, every - extensions, 0))
    for shape, devices, extensions, every in [
        ("NONE", 3, 6, 6), ("PAIR", 3, 3, 6), ("CHAIN", 3, 1, 6), ("FORK", 3, 2, 6),
        ("DIAMOND", 4, 2, 24), ("ZIGZAG", 4, 5, 24), ("PAIR", 4, 12, 24),
    ]
    for waits in ("false", "true")
] + [
    # Where dying CPUs are no targets, nothing is bad, whoever controls.
    ("dsu_election", {"not_dying": "true", "lock": lock, "outside": out}, 3, boot,
     (70 if lock == "false" else 14, 0, 0))
    for lock in ("false", "true")
    for out in ("false", "true")
    for boot in (0, 1, 2)
]  # fmt: skip


def row_id(row):
    name, options, _, boot, _ = row
    place = {LOWEST: "lowest", HIGHEST: "highest"}.get(boot, boot)
    return "-".join([name, *(f"{k}={v}" for k, v in options.items()), str(place)])


@pytest.mark.parametrize("row", ROWS, ids=row_id)
def test_a_golden_row_has_its_runs_and_a_check_agrees_with_it(row):
    name, options, cpus, boot, expected = row
    lowered, claim = load(f"golden_{name}", options)
    system, prop = build(lowered, claim, reduced=False)
    boot %= cpus
    counted = count_runs(system, cpus, boot, bad_state(system, prop))
    assert (counted.completed, counted.bad_runs, counted.deadlocked) == expected

    for prop in all_claims(lowered):
        reduced, small = build(lowered, prop)
        verdict = check(reduced, small, cpus, boot).verdict
        if prop.expectation is Expectation.SOMETIMES:
            assert verdict.name == "WITNESSED"
            continue
        stuck = prop.expectation is Expectation.DEADLOCK_FREE
        wrong = counted.deadlocked if stuck else counted.bad_runs
        assert verdict.name == ("VIOLATED" if wrong else "PROVED")


def load(name, options):
    library = shipped()
    lowered = lower(link(library.units[name], library, TABLE, options))
    formulas = (p for p in all_claims(lowered) if p.expectation in (
        Expectation.ALWAYS, Expectation.FINALLY))  # fmt: skip
    return lowered, next(formulas, None)


def all_claims(lowered):
    own = lowered.program.scenario.items
    checks = [item for item in own if hasattr(item, "claims")]
    return [claim for check in checks for claim in claims(lowered, check)]


def bad_state(system, prop):
    """What makes a run bad: a state that violates `always`, an end `finally`."""
    if prop is None:
        return FALSE
    bad = not_(prop.formula)
    if prop.expectation is Expectation.FINALLY:
        bad = and_(bad, *(ended(system, process) for process in system.processes))
    return bad


def ended(system, process):
    sort = location_sort(system, process)
    cpu = Param(f"end of {process.name}", CPU)
    alone = process.runs is Runs.ONCE
    here = Read(process.location, () if alone else (cpu,), sort)
    over = or_(*(eq(here, Const(sort.values.index(p), sort)) for p in process.final))
    if alone:
        return over
    spared = eq(cpu, Boot()) if process.runs is Runs.EVERY_AP else FALSE
    return forall(cpu, or_(over, spared))
