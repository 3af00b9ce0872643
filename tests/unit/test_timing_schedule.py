"""Schedules: what runs when, and why not earlier."""

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpuhp.diagnostics import InputError
from cpuhp.timing.phases import Phase, Step, plan
from cpuhp.timing.schedule import Task, schedule

COSTS = st.integers(0, 6).map(float)


@st.composite
def task_lists(draw, lanes=3, locks=2, most=7):
    found = []
    for number in range(draw(st.integers(1, most))):
        after = (
            draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        )
        lane = f"lane {draw(st.integers(0, lanes - 1))}"
        holds = (
            draw(st.sets(st.sampled_from([f"lock {i}" for i in range(locks)])))
            if locks
            else ()
        )
        found.append(
            Task(f"t{number}", draw(COSTS), lane, f"s{number % 3}",
                 tuple(f"t{a}" for a in sorted(after)), tuple(sorted(holds)))
        )  # fmt: skip
    return found


def by_ticks(tasks):
    """The same rule, second by second: whoever can begin does, who waited longest first."""
    start, end, ready = {}, {}, {}
    now = 0.0
    while len(end) < len(tasks) or any(now < e for e in end.values()):
        progress = True
        while progress:
            progress = False
            for number, task in enumerate(tasks):
                before = [end.get(a, now + 1) for a in task.after]
                if task.name not in ready and all(e <= now for e in before):
                    ready[task.name] = (max(before, default=0.0), number)
            for name in sorted(ready, key=ready.get):
                task = tasks[int(name[1:])]
                if name in start:
                    continue
                needs = {task.lane, *task.holds}
                busy = {
                    need
                    for other in tasks
                    if other.name in start and end[other.name] > now
                    for need in (other.lane, *other.holds)
                }
                if not needs & busy:
                    start[name], end[name] = now, now + task.seconds
                    progress = True
        now += 1
    return max(end.values())


def longest_chain(tasks):
    end = {}
    for task in tasks:
        end[task.name] = task.seconds + max((end[a] for a in task.after), default=0)
    return max(end.values())


@given(task_lists())
def test_nothing_overlaps_that_shares_a_resource_and_order_is_kept(tasks):
    found = schedule(tasks)
    for one in found.placed:
        for name in one.task.after:
            assert found.at(name).end <= one.start
        for other in found.placed:
            shared = {one.task.lane, *one.task.holds} & {
                other.task.lane,
                *other.task.holds,
            }
            if one is not other and shared and one.task.seconds and other.task.seconds:
                assert one.end <= other.start or other.end <= one.start


@given(task_lists())
def test_no_schedule_beats_chain_or_busiest_lane_and_none_is_longer_than_serial(tasks):
    found = schedule(tasks)
    assert found.makespan >= longest_chain(tasks)
    assert found.makespan >= max(found.lanes.values())
    assert found.makespan <= found.work
    assert sum(p.end - p.start for p in found.critical_path) == found.makespan


@given(task_lists(locks=0, lanes=2, most=6))
@settings(max_examples=150)
def test_second_by_second_gives_the_same_makespan(tasks):
    # Tasks of no length may be taken in another order within one instant.
    tasks = [Task(t.name, t.seconds + 1, t.lane, t.step, t.after) for t in tasks]
    assert schedule(tasks).makespan == by_ticks(tasks)


def best(tasks):
    """The shortest schedule, by trying every order in which tasks could be begun."""
    shortest = float("inf")
    for order in permutations(tasks):
        end, free = {}, {}
        for task in order:
            if any(a not in end for a in task.after):
                break
            needs = (task.lane, *task.holds)
            start = max(
                (*(end[a] for a in task.after), *(free.get(n, 0) for n in needs))
            )
            end[task.name] = start + task.seconds
            free.update(dict.fromkeys(needs, end[task.name]))
        else:
            shortest = min(shortest, max(end.values()))
    return shortest


@given(task_lists(lanes=2, locks=1, most=5))
def test_no_order_of_tiny_task_lists_is_shorter_than_the_bounds_and_ours_is_near(tasks):
    found = schedule(tasks).makespan
    optimum = best(tasks)
    assert (
        max(longest_chain(tasks), max(schedule(tasks).lanes.values()))
        <= optimum
        <= found
    )
    # Something that is needed always runs: at most as long as on one lane.
    assert found <= sum(t.seconds for t in tasks) <= 3 * optimum


@given(task_lists(locks=0), st.data())
def test_without_contention_a_cheaper_task_never_makes_it_later(tasks, data):
    apart = [Task(t.name, t.seconds, t.name, t.step, t.after) for t in tasks]
    number = data.draw(st.integers(0, len(tasks) - 1))
    less = data.draw(st.floats(0, tasks[number].seconds))
    cheaper = list(apart)
    old = apart[number]
    cheaper[number] = Task(old.name, less, old.lane, old.step, old.after)
    assert schedule(cheaper).makespan <= schedule(apart).makespan


@given(st.lists(COSTS, min_size=1), st.integers(1, 4))
def test_one_lane_is_the_sum_and_a_pool_is_not_faster_than_its_workers(costs, workers):
    row = [Task(f"t{i}", cost, "only") for i, cost in enumerate(costs)]
    assert schedule(row).makespan == sum(costs)
    assert schedule(row).serial_fraction == (1.0 if sum(costs) else 0.0)
    pool = schedule(row, {"only": workers})
    assert pool.makespan >= sum(costs) / workers
    assert pool.makespan <= sum(costs) / workers + max(costs)


def test_a_lock_goes_to_whom_it_was_taken_from_first():
    found = schedule(
        [
            Task("holder", 3, "A", holds=("m",)),
            Task("second", 1, "C", after=("early",), holds=("m",)),
            Task("early", 1, "C"),
            Task("third", 1, "B", after=("late",), holds=("m",)),
            Task("late", 2, "B"),
        ]
    )
    assert (found.at("second").start, found.at("third").start) == (3, 4)
    assert found.at("third").waited_for == "m"
    assert [p.task.name for p in found.critical_path] == ["holder", "second", "third"]


def test_what_a_second_less_per_step_saves():
    found = schedule(
        [Task("a", 2, "A", "x"), Task("b", 2, "A", "x"), Task("c", 3, "B", "y")]
    )
    assert found.on_path() == {"x": (4, 2)}


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([Task("a", 1, "A"), Task("a", 2, "A")], "error[HP901]: two tasks are called 'a'"),
        ([Task("a", -1, "A")], "error[HP901]: task 'a' takes -1 s, which is no cost"),
        ([Task("a", float("nan"), "A")], "error[HP901]: task 'a' takes nan s, which is no cost"),
        ([Task("a", 1, "A", after=("b",))], "error[HP901]: task 'a' is after 'b', which is no task"),
        (
            [Task("a", 1, "A", after=("b",)), Task("b", 1, "A", after=("a",))],
            "error[HP902]: tasks wait for each other: a after b after a",
        ),
    ],
    ids=["twice", "negative", "not a number", "unknown", "circle"],
)  # fmt: skip
def test_what_is_no_schedule_is_an_error(tasks, message):
    with pytest.raises(InputError) as error:
        schedule(tasks)
    assert error.value.render() == message


STEPS = (
    Step("kick", 1, control=True),
    Step("wq", 2, locks=("mutex",)),
    Step("work", 5),
)


def test_phases_overlap_only_as_far_as_locks_and_the_control_cpu_allow():
    serial = plan([Phase("all", STEPS, overlap=False)], range(1, 4))
    assert serial.makespan == 3 * 8
    parallel = plan([Phase("all", STEPS)], range(1, 4))
    assert parallel.makespan == 1 + 3 * 2 + 5
    assert parallel.on_path() == {"wq": (6, 3), "work": (5, 1), "kick": (1, 1)}


def test_a_barrier_waits_for_the_slowest():
    phases = [
        Phase("one", (Step("a", 4),), cpus=(1,)),
        Phase("two", (Step("b", 1),)),
    ]
    assert plan(phases, [1, 2]).at("two/b/CPU 2").start == 4
    loose = [phases[0], Phase("two", (Step("b", 1),), joined=False)]
    assert plan(loose, [1, 2]).at("two/b/CPU 2").start == 0


@given(st.lists(st.lists(COSTS, min_size=1, max_size=3), min_size=1, max_size=3),
       st.integers(1, 4))  # fmt: skip
def test_the_serial_plan_is_the_sum_and_overlap_never_loses(costs, cpus):
    def phases(overlap):
        return [
            Phase(f"p{i}", tuple(Step(f"s{j}", c) for j, c in enumerate(row)), overlap)
            for i, row in enumerate(costs)
        ]

    total = sum(map(sum, costs))
    assert plan(phases(False), range(cpus)).makespan == cpus * total
    assert plan(phases(True), range(cpus)).makespan == total
