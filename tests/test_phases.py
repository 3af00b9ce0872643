"""Phases of a shutdown: what may overlap, what must not, and what a fix would buy."""

from dataclasses import replace

import pytest

from cpuhp.api import Scenario, load
from cpuhp.diagnostics import InputError
from cpuhp.engines.cheapest import Cheapest
from cpuhp.ordering.assign import assign
from cpuhp.ordering.phases import Assignment, program_text, rows_of, scheduled
from cpuhp.ordering.questions import Bound
from cpuhp.ordering.variant import variant_of
from cpuhp.ordering.workers import Judges, TimeIsUp
from cpuhp.report.phases import as_json, text
from cpuhp.timing.costs import Cost, CostTable
from cpuhp.timing.estimate import estimate
from cpuhp.timing.share import of_rows

SPEC = """
/// An owner hands over to somebody who is online, and may be on the way out.
scenario handover;
use three_phase, arm64;
table "arm64-6.12";
option bool patch1 = true;
option bool patch2 = true;
option bool patch3 = true;
option bool patch7 = true;
/// Only to a CPU that stays.
option bool fix_owner = false;
shared atomic cpu? owner = any;
void rcutree_report_cpu_dead(cpu c) { }
teardown hand_over(cpu) for CPUHP_AP_WORKQUEUE_ONLINE source "kernel/workqueue.c" {
    atomic {
        if (owner == cpu)
            owner = any(c in online : c != cpu && (!fix_owner || !dying[c]));
    }
    return 0;
}
process control {
    enter_shutdown();
    smp_shutdown_nonboot_cpus();
    leave_shutdown();
}
check owner_is_there { always all(c in dead : owner != c); }
"""
COSTS = CostTable("a machine", {"workqueue:online teardown": Cost(1.0)})
ROW = 188  # CPUHP_AP_WORKQUEUE_ONLINE


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    path = tmp_path_factory.mktemp("phases") / "handover.hp"
    path.write_text(SPEC)
    return variant_of(load(str(path)).program, {})


def clock(variant):
    setup = Scenario(variant.program(), dict(variant.options)).timing(costs=COSTS)
    return estimate(setup.model, "", 8, COSTS).makespan


def test_the_cheapest_choice_keeps_what_is_required():
    solver = Cheapest(["a", "b", "c"], {"a": 5, "b": 1, "c": 1})
    solver.require([[("a", True)], [("b", True), ("c", True)]])
    assert solver.choose(((), 0)) == {"b", "c"}
    assert solver.choose((("b", "c"), 1)) == {"a"}
    solver.require([[("a", False)]])
    assert solver.choose((("b", "c"), 1)) is None


def test_phases_are_cut_where_cpus_meet(base):
    rows = rows_of(base)
    last = rows.online[-1].number
    chosen = Assignment(
        frozenset({last}), frozenset({rows.online[-2].number, last}), False
    )
    first, second = rows.phases(chosen)
    assert not first.serial and second.serial and len(second.rows) == 1
    assert "wait_for_completion" in program_text(base, rows, chosen)
    assert clock(scheduled(base, rows, rows.one_by_one())) == 7.0
    assert clock(scheduled(base, rows, rows.together())) == 1.0


def test_a_barrier_within_the_stop_is_part_of_the_program(base):
    rows = rows_of(base)
    meets = frozenset({rows.online[-1].number, rows.stop.number})
    chosen = Assignment(frozenset(), meets, False)
    variant = scheduled(base, rows, chosen)
    assert "passed0" in variant.program().variables
    assert clock(variant) == 1.0


@pytest.mark.slow
def test_what_must_be_in_turn_is_told_with_the_reason_and_the_fix(base):
    rows = rows_of(base)
    _, costs = of_rows(COSTS, rows.online, {})
    found = assign(base, Judges(Bound(3, timeout=600)), clock, costs, 8)
    assert found.failing == ("owner_is_there",)
    assert found.fixes == ("fix_owner",)
    none, one = found.steps
    assert none.safe and none.seconds == 7.0 and ROW in none.assignment.serial
    # What stands above the row may overlap: only from there on CPUs take turns.
    assert {row.number for row in rows.online if row.number > ROW} & (
        none.assignment.serial
    ) == set()
    (why,) = none.because
    assert {lesson.question.check for lesson in why} == {"owner_is_there"}
    assert one.safe and one.seconds == found.together == 1.0
    assert found.worth == {"fix_owner": 7.0}
    page = "\n".join(text(found, "a machine", 8))
    assert "The single fix that buys most is fix_owner: 1.000 s, 6.000 s less." in page
    assert as_json(found, "a machine", 8)["best"][1]["fixes"] == ["fix_owner"]


def test_a_scenario_without_phases_is_an_error():
    with pytest.raises(InputError, match="HP530"):
        rows_of(variant_of(load("shutdown-serial").program, {}))


def test_a_walk_is_shared_out_among_its_rows(base):
    rows = rows_of(base).online
    whole = CostTable("a machine", {"cpuhp": Cost(3.1)})
    table, seconds = of_rows(whole, rows, {})
    assert sum(seconds.values()) == pytest.approx(3.1) and "cpuhp" not in table.costs
    _, traced = of_rows(whole, rows, {}, COSTS)
    assert traced[ROW] == pytest.approx(3.1)


def test_a_row_costs_its_part_of_the_walk_and_what_its_function_does(base):
    rows = rows_of(base)
    walk, function = {"cpuhp": Cost(3.0)}, {ROW: "hand_over"}
    for name in ("hand_over", "workqueue:online teardown"):
        known = CostTable("a machine", {name: Cost(1.0)})
        assert of_rows(known, rows.online, function)[1][ROW] == 1.0
        known = CostTable("a machine", {name: Cost(1.0), **walk})
        table, seconds = of_rows(known, rows.online, function)
        assert seconds[ROW] == pytest.approx(1.0 + 3.0 / len(rows.online))
        assert sum(seconds.values()) == pytest.approx(4.0)
        # However often the walk is cut, it takes its time once.
        meets = frozenset({rows.online[5].number, rows.online[-1].number})
        for chosen in (rows.together(), Assignment(frozenset(), meets, False)):
            made = scheduled(base, rows, chosen)
            setup = Scenario(made.program(), dict(made.options)).timing(costs=table)
            assert estimate(setup.model, "", 8, table).makespan == pytest.approx(4.0)


def test_phases_that_no_run_comes_to_are_an_error(tmp_path):
    path = tmp_path / "closed.hp"
    path.write_text(SPEC.replace("option bool patch2 = true;\n", ""))
    closed = variant_of(load(str(path)).program, {})
    _, costs = of_rows(COSTS, rows_of(closed).online, {})
    with pytest.raises(InputError, match="HP530") as error:
        assign(closed, Judges(Bound(2)), clock, costs, 8)
    assert "never comes to its phases" in str(error.value)


def test_what_is_known_when_the_time_is_up_is_told(base):
    rows = rows_of(base)
    _, costs = of_rows(COSTS, rows.online, {})
    told = []

    def after(calls):
        """The answer if time is up when so many lists of questions are answered."""
        told.clear()

        def tell(done, of):
            told.extend([done] if done == of else [])
            if len(told) >= calls:
                judges.deadline = 0.0

        judges = Judges(Bound(2), tell=tell)
        return assign(base, judges, clock, costs, 8)

    with pytest.raises(TimeIsUp):
        after(1)
    early = after(2)
    assert early.stopped and early.failing is None and not early.steps
    page = "\n".join(text(early, "a machine", 8))
    assert "three phases: not known to be safe" in page
    assert "Stopped at --limit" in page and "no assignment" not in page
    assert as_json(early, "a machine", 8)["failing"] is None
    whole = after(10)
    assert not whole.stopped and whole.failing == () and whole.steps
    bare = tuple(s for s in whole.steps if not s.assignment.fixes)
    page = "\n".join(text(replace(whole, steps=bare, fixes=("fix_owner",)), "", 8))
    assert "No single fix buys anything." in page
    late = replace(whole, steps=bare, fixes=("fix_owner",), stopped=True)
    assert "No single fix" not in "\n".join(text(late, "a machine", 8))
