"""Scenarios against the clock: the run is one of the scenario's own, and takes its time."""

from functools import cache
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpuhp.api import load, scenarios
from cpuhp.diagnostics import InputError
from cpuhp.engines.explicit.moves import compile_machine
from cpuhp.semantics import Machine
from cpuhp.timing.costs import Cost, CostTable, Cpus
from cpuhp.timing.estimate import estimate, sweep_cpus
from cpuhp.timing.points import points_of
from cpuhp.timing.simulate import _Simulation, model, simulate

SHIPPED = (
    "shutdown-serial", "shutdown-three-phase", "shutdown-three-phase-fixed",
    "bringup-serial", "bringup-parallel", "bringup-serial-x86",
)  # fmt: skip
TIMES = st.integers(0, 50).map(lambda n: n / 1024)


@cache
def shipped(name):
    return model(load(name).program)


def costs(**seconds):
    return CostTable(
        "test", {k: v if isinstance(v, Cost) else Cost(v) for k, v in seconds.items()}
    )


def spec(tmp_path, text):
    path = tmp_path / "spec.hp"
    path.write_text(text)
    return model(load(str(path)).program)


class Recorder(_Simulation):
    """Notes every step that was taken."""

    def __init__(self, *args):
        self.taken = []
        super().__init__(*args)

    def _moved(self, actor, point, taken):
        self.taken.append((actor.process, actor.cpu, point, taken))
        super()._moved(actor, point, taken)


def every_scenario():
    for name in SHIPPED:
        yield name
    for name in sorted({*scenarios()} - {*SHIPPED}):
        yield pytest.param(name, marks=pytest.mark.slow)


@pytest.mark.parametrize("name", list(every_scenario()))
def test_every_step_is_one_of_the_scenario_and_ends_in_the_same_state(name):
    made = shipped(name)
    table = costs(cpuhp=0.01, take_cpu_down=0.001, load_ucode_ap=0.02, __cpu_die=0.003)
    found = Recorder(made, 3, table, None)
    start = [list(v) if isinstance(v, list) else v for v in found.state]
    try:
        found.run()
    except InputError as error:  # a deadlock, or an environment that is waited for
        assert error.diagnostics[0].code == "HP913"
    machine = Machine(made.system, 3)
    compiled = compile_machine(machine)
    state = as_state(made, machine, start)
    edges = [
        (p.name, e.source, at)
        for p in made.lowered.processes
        for e, at in numbered(p)
    ]  # fmt: skip
    assert len(edges) == len(made.system.actions) and found.taken
    for process, cpu, point, taken in found.taken:
        number = edges.index((process.name, point, taken))
        moves = [
            m for m in compiled.moves_of(state, process.name, cpu) if m[0] == number
        ]
        assert moves, (process.name, cpu, process.flow.names[point])
        state = min(moves)[2]
    wanted = as_state(made, machine, found.state)
    differ = [
        (v.name, i) for (v, i), a, b in zip(machine.cells, state, wanted)
        if a != b and v.role.value != "location"
    ]  # fmt: skip
    assert not differ


def numbered(process):
    from cpuhp.language.flow import reachable

    seen = {}
    for edge in reachable(process.flow.edges, process.entry):
        seen[edge.source] = seen.get(edge.source, -1) + 1
        yield edge, seen[edge.source]


def as_state(made, machine, values):
    """The simulation's values as a state of the explicit engine, locations at their start."""
    layout, cells = made.layout, []
    for variable, indices in machine.cells:
        value = values[layout.numbers[variable.name]]
        if variable.role.value == "location":
            process = next(
                p for p in made.system.processes if p.location == variable.name
            )
            cells.append(machine.initial_location(process))
            continue
        last = indices[-1] if layout.is_mask(variable) else None
        rest = indices[:-1] if layout.is_mask(variable) else indices
        at = 0
        for sort, index in zip(layout.dimensions(variable), rest):
            at = at * machine.sizes[sort.name] + index
        value = value[at] if isinstance(value, list) else value
        cells.append(value if last is None else value >> last & 1)
    return tuple(cells)


@given(TIMES, TIMES, st.integers(2, 12))
@settings(max_examples=25, deadline=None)
def test_three_phases_overlap_the_threads_and_nothing_else(online, off, cpus):
    table = costs(cpuhp=online, __cpu_die=off)
    serial = simulate(shipped("shutdown-serial"), cpus, table).makespan
    three = simulate(shipped("shutdown-three-phase"), cpus, table).makespan
    assert serial == pytest.approx((cpus - 1) * (online + off))
    assert three == pytest.approx(online + (cpus - 1) * off)


@given(st.lists(TIMES, min_size=3, max_size=3), st.integers(2, 9))
@settings(max_examples=25, deadline=None)
def test_parallel_bringup_overlaps_what_lies_between_kick_and_report(times, cpus):
    prepare, early, online = times
    table = costs(
        smpboot_create_threads=prepare, load_ucode_ap=early, sched_cpu_activate=online
    )
    made = shipped("bringup-parallel")
    primary = CostTable("test", table.costs, constants={"primary_thread": Cpus()})
    alive, end = [], (cpus - 1) * prepare
    for number in range(1, cpus):  # kicked one by one, released one by one
        alive.append(number * prepare + early)
        end = max(end, alive[-1]) + online
    assert simulate(made, cpus, primary).makespan == pytest.approx(end)


def test_one_cpu_after_the_other_goes_through_the_trampoline():
    made = shipped("bringup-parallel")
    table = costs(trampoline=1.0, load_ucode_ap=0.25)
    primary = CostTable("test", table.costs, constants={"primary_thread": Cpus()})
    run = simulate(made, 6, primary)
    assert run.makespan == 5 * 1.0 + 0.25
    early = [s for s in run.spans if s.step == "trampoline"]
    assert [(s.start, s.waited_for) for s in early[1:]] == [
        (n, "tr_lock") for n in (1.0, 2.0, 3.0, 4.0)
    ]


LOCKED = ("workqueue_offline_cpu", "smpboot_park_threads", "perf_event_exit_cpu")


@given(st.lists(TIMES, min_size=5, max_size=5), st.integers(0, 4), st.integers(2, 6))
@settings(max_examples=25, deadline=None)
def test_dearer_steps_never_make_the_shutdown_shorter(times, which, cpus):
    names = (*LOCKED, "sched_cpu_deactivate", "__cpu_die")
    made = shipped("shutdown-three-phase")
    before = simulate(made, cpus, costs(**dict(zip(names, times))))
    times[which] += 1 / 128
    after = simulate(made, cpus, costs(**dict(zip(names, times))))
    assert after.makespan >= before.makespan - 1e-12
    # What stands under a lock is done one after the other, and so is the control task.
    assert after.makespan >= (cpus - 1) * max(*times[:3], times[4]) - 1e-9


def test_the_critical_path_has_no_gap_and_ends_with_the_run():
    found = estimate(shipped("bringup-parallel"), "x", 9,
                     costs(load_ucode_ap=0.01, smpboot_create_threads=0.001,
                           sched_cpu_activate=0.002))  # fmt: skip
    path = found.schedule.critical_path
    assert path[0].start == 0 and path[-1].end == found.makespan
    assert all(a.end == pytest.approx(b.start) for a, b in zip(path, path[1:]))
    for helps in found.helps:
        assert found.makespan - helps.on_path - 1e-9 <= helps.without <= found.makespan


def test_the_phases_of_three_phase_shutdown_are_its_functions():
    found = estimate(
        shipped("shutdown-three-phase"),
        "x",
        5,
        costs(cpuhp=1, take_cpu_down=0.5, __cpu_die=0.1),
    )
    assert [p.name for p in found.phases][0] == "cpus_down_no_rollback"
    assert found.phases[0].end == 1.0
    assert found.phases[-1].end == found.makespan


def test_steps_of_the_table_without_a_model_take_their_time_in_order():
    made = shipped("shutdown-three-phase")
    table = costs(**{"mm/vmstat:online teardown": 0.25, "sched:active teardown": 0.5})
    spans = [s for s in simulate(made, 2, table).spans if s.cpu == 1]
    assert [(s.step, s.start, s.end) for s in spans] == [
        ("sched_cpu_deactivate", 0.0, 0.5),
        ("mm/vmstat:online teardown", 0.5, 0.75),
    ]
    assert simulate(made, 3, table).without_cost["smpboot_park_threads"] == 2


def test_a_measured_step_that_waits_for_others_is_not_counted_twice():
    made = shipped("shutdown-serial")
    inside = costs(__cpu_die=0.5, takedown_cpu=Cost(2.0, inclusive=True))
    assert simulate(made, 3, inside).makespan == 4.0
    longer = costs(__cpu_die=3.0, takedown_cpu=Cost(2.0, inclusive=True))
    assert simulate(made, 3, longer).makespan == 6.0


LOCKS = """scenario timed_locks;
percpu bool done;
mutex m;
process worker(cpu) on aps {
    work(cpu);
}
void work(cpu c) { mutex_lock(m); done[c] = true; mutex_unlock(m); }
process control { wait (all(c in aps : done[c])); }
"""


def test_a_lock_lets_one_after_the_other_in(tmp_path):
    made = spec(tmp_path, LOCKS)
    run = simulate(made, 6, costs(work=1.0))
    assert run.makespan == 5.0
    assert [(s.cpu, s.start) for s in run.spans] == [(n, n - 1.0) for n in range(1, 6)]
    assert {s.waited_for for s in run.spans[1:]} == {"m"}


def test_a_statement_has_a_cost_by_what_it_writes(tmp_path):
    made = spec(tmp_path, LOCKS.replace("{ mutex_lock", "{ begun[c] = true; mutex_lock")
                .replace("mutex m;", "mutex m; percpu bool begun;"))  # fmt: skip
    table = costs(**{"work.begun": 8.0, "work.done": 0.5})
    assert simulate(made, 5, table).makespan == 8.0 + 4 * 0.5


def test_who_comes_in_the_instant_of_a_release_does_not_stop_the_clock():
    made = shipped("shutdown-three-phase")
    times = (0, 39 / 1024, 26 / 1024, 1 / 1024, 1 / 1024)
    table = costs(**dict(zip((*LOCKED, "sched_cpu_deactivate", "__cpu_die"), times)))
    run = simulate(made, 5, table)
    assert run.steps < 3000
    # Four times under the second lock, all but the first wait of the third hidden.
    assert run.makespan == pytest.approx((1 + 26 + 4 * 39 + 4) / 1024)


@given(st.sampled_from(SHIPPED), st.randoms(use_true_random=False), st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_any_costs_come_to_an_end_in_about_the_same_number_of_steps(name, chance, cpus):
    made = shipped(name)
    places = sorted({f for p in made.lowered.processes for f in p.flow.labels})
    some = chance.sample(places, 8)
    table = costs(**{
        place: Cost(chance.choice([0, 1, 1, 2, 5]) / 64, inclusive=chance.random() < 0.2)
        for place in some
    })  # fmt: skip
    free = simulate(made, cpus, costs())
    run = simulate(made, cpus, table)
    assert free.makespan == 0 and run.steps < 2 * free.steps + 1000
    assert run.makespan <= sum(s.end - s.start for s in run.spans) + 1e-9


def test_costs_of_some_cpus_only(tmp_path):
    made = spec(tmp_path, LOCKS)
    table = costs(work=Cost(4.0, cpus=Cpus(ids=(2,)), otherwise=1.0))
    assert simulate(made, 4, table).makespan == 6.0


def test_a_process_that_polls_goes_on_when_something_changes(tmp_path):
    made = spec(
        tmp_path,
        """scenario timed_polling;
shared bool flag;
shared bool seen;
process control { while (!flag) { } saw(); }
void saw() { seen = true; }
process worker { raise(); }
void raise() { flag = true; }
""",
    )
    assert simulate(made, 1, costs(**{"raise": 2.0, "saw": 1.0})).makespan == 3.0


def test_draws_are_the_same_for_the_same_seed_and_lie_around_the_median():
    table = costs(cpuhp=Cost(0.01, p99=0.02), __cpu_die=Cost(0.002, low=0.001, high=0.003),
                  sched_cpu_deactivate=Cost(0.001, values=(0.001, 0.004)))  # fmt: skip
    made = shipped("shutdown-three-phase")
    one = estimate(made, "x", 6, table, samples=40, seed=1).sampled
    assert one == estimate(made, "x", 6, table, samples=40, seed=1).sampled
    other = estimate(made, "x", 6, table, samples=40, seed=2).sampled
    assert other != one
    assert (
        one.least <= one.p50 <= one.p99 <= one.most and one.least < one.mean < one.most
    )


def test_a_scenario_that_deadlocks_has_no_duration():
    with pytest.raises(InputError, match=r"HP913.*'control' never gets to its end"):
        simulate(shipped("bringup-fully-parallel"), 8, costs(load_ucode_ap=0.001))


def test_a_long_sweep_continues_a_straight_line_and_says_so():
    table = costs(cpuhp=0.0625, __cpu_die=0.5)
    made = shipped("shutdown-serial")
    found = sweep_cpus(made, [2**n for n in range(1, 11)], table)
    assert [p.continued for p in found.points] == [False] * 8 + [True] * 2
    assert found.points[-1].makespan == pytest.approx(1023 * 0.5625)
    assert found.upper.exponent == pytest.approx(1.0, abs=0.01)
    assert all(p.steps for p in found.points if not p.continued)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["shutdown-three-phase", "shutdown-serial", "bringup-parallel"]
)
def test_a_sweep_to_1024_cpus_takes_less_than_five_seconds(name):
    setup = load(name).timing()
    start = process_time()
    found = sweep_cpus(setup.model, [2**n for n in range(1, 11)], setup.costs)
    assert process_time() - start < 5
    assert found.points[-1].value == 1024


def test_points_tell_every_process_of_every_scenario_where_time_passes():
    from cpuhp.timing.points import Named

    for name in SHIPPED:
        made = shipped(name)
        for process in made.lowered.processes:
            found = points_of(process, Named(made.lowered, costs(cpuhp=1.0)))
            due = {n for numbers in found.due.values() for n in numbers}
            assert due == set(range(len(found.steps)))


LOOPS = """scenario loops;
instances irq : 2;
shared int 0..9 n;
percpu bool asked;
percpu bool seen;
percpu bool done;
void ask(cpu c) { asked[c] = true; wait (done[c]); n = 1; }
void leave() { n = 2; }
process boss {
    for (c in aps) {
        for (d in cpus) seen[d] = true;
        ask(c);
    }
    for (i in irq) leave();
}
process served(cpu) on aps { wait (asked[cpu]); work: done[cpu] = true; }
"""


def test_a_task_is_about_the_cpu_of_the_loop_that_it_is_in(tmp_path):
    made = spec(tmp_path, LOOPS)
    second, control = Cpus(ids=(2,)), Cpus(ids=(0,))
    table = costs(
        ask=Cost(1.0, cpus=second, otherwise=0.25), leave=Cost(4.0, cpus=control)
    )
    run = simulate(made, 4, table)
    assert [(s.step, s.about, s.end - s.start) for s in run.spans] == [
        ("ask", 1, 0.25), ("ask", 2, 1.0), ("ask", 3, 0.25),
        ("leave", None, 4.0), ("leave", None, 4.0),
    ]  # fmt: skip


def test_a_step_that_ran_for_no_time_of_its_own_did_run(tmp_path):
    made = spec(tmp_path, LOOPS)
    table = costs(
        ask=Cost(1.0, inclusive=True),
        leave=Cost(4.0, cpus=Cpus(ids=(7,))),
        work=2.0,
        nobody=1.0,
    )
    found = estimate(made, "loops", 3, table)
    assert found.makespan == 4.0
    assert found.unused == ("nobody",)
