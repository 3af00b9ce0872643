"""The dependency graph, may-happen-in-parallel and cycles, on a small scenario."""

from pathlib import Path

import networkx as nx
import pytest

from cpuhp.api import load
from cpuhp.engines.explicit.search import Limits
from cpuhp.engines.parallel_steps import parallel
from cpuhp.graph.cycles import lock_order, wait_cycles
from cpuhp.graph.dependency import dependencies, neighbourhood
from cpuhp.graph.footprint import footprints
from cpuhp.graph.parallel import by_process

SMALL = Path(__file__).parent.parent / "golden" / "small.hp"


def lowered(path):
    return load(str(path)).checker.whole


@pytest.fixture(scope="module")
def small():
    return lowered(SMALL)


def spec(tmp_path, body):
    path = tmp_path / "tiny.hp"
    path.write_text(f"scenario tiny;\n{body}\n")
    return lowered(path)


def tie(found, kind, *steps):
    return next(
        (t for t in found.ties if t.kind == kind and (t.source, t.target) == steps),
        None,
    )


def test_locks_held_on_every_way_count(small):
    found = footprints(small)
    counted = [a for a in found.of("count_down") if a.variable == "counted"]
    assert counted and all({"outer_lock", "inner_lock"} <= a.locks for a in counted)


def test_a_lock_on_one_branch_only_is_not_held(tmp_path):
    whole = spec(
        tmp_path,
        """
        mutex l; shared bool x; shared bool y;
        process p(cpu) on aps { if (y) mutex_lock(l); x = true; }
        process q { y = true; }""",
    )
    (write,) = [a for a in footprints(whole).accesses if a.write and a.variable == "x"]
    assert not write.locks


def test_own_cells_do_not_conflict_between_cpus(small):
    found = footprints(small)
    graph = dependencies(found, by_process(found.steps))
    assert tie(graph, "conflict", "mark_own", "mark_own") is None
    assert not found.crosses("mark_own")
    assert found.crosses("hand_over")


def test_unguarded_callback_is_unsafe_with_itself(small):
    found = footprints(small)
    graph = dependencies(found, parallel(small, found))
    assert tie(graph, "conflict", "hand_over", "hand_over").unsafe == ("owner",)
    assert tie(graph, "conflict", "count_down", "count_down") is None


def test_a_common_lock_ties_without_a_conflict(tmp_path):
    whole = spec(
        tmp_path,
        """
        mutex l; shared bool x;
        process p { mutex_lock(l); x = true; mutex_unlock(l); }
        process q { mutex_lock(l); x = false; mutex_unlock(l); }""",
    )
    found = footprints(whole)
    graph = dependencies(found, by_process(found.steps))
    assert tie(graph, "lock", "p", "q").names == ("l",)
    assert not graph.unsafe


def test_waiters_are_tied_to_who_lets_them_go(small):
    found = footprints(small)
    graph = dependencies(found, parallel(small, found))
    assert tie(graph, "wait", "control/kick_all", "cpuhp").names == ("should_run",)
    assert tie(graph, "wait", "cpuhp", "control/wait_all").names == ("done_down",)


def test_order_follows_the_table_downwards(small):
    found = footprints(small)
    graph = dependencies(found, by_process(found.steps)).graph(("order",))
    names = [n for n in nx.topological_sort(graph) if graph.degree(n)]
    assert names == ["count_down", "hand_over", "mark_own"]


def test_phases_are_told_apart_by_the_search_only(tmp_path):
    whole = spec(
        tmp_path,
        """
        percpu bool first_done; shared bool x; shared bool go;
        process early(cpu) on aps { x = true; first_done[cpu] = true; }
        process late(cpu) on aps { wait (go); x = false; }
        process control { wait (all(c in aps : first_done[c])); go = true; }""",
    )
    found = footprints(whole)
    assert by_process(found.steps).may("early", "late")
    searched = parallel(whole, found)
    assert not searched.may("early", "late")
    assert searched.may("early", "early") and searched.may("late", "late")
    assert "3 CPUs" in searched.basis


def test_a_search_that_is_too_long_claims_nothing(small):
    found = footprints(small)
    answer = parallel(small, found, Limits(max_states=5))
    assert answer == by_process(found.steps)
    assert "not used" in answer.basis


def test_parallel_is_symmetric(small):
    answer = parallel(small, footprints(small))
    assert all((b, a) in answer.other_cpu for a, b in answer.other_cpu)
    assert all((b, a) in answer.same_cpu for a, b in answer.same_cpu)


def test_neighbourhood_keeps_what_is_tied(small):
    found = footprints(small)
    graph = dependencies(found, parallel(small, found))
    near = neighbourhood(graph, ["control/kick_all"])
    assert {s.key for s in near.steps} == {"control/kick_all", "cpuhp"}


def test_lock_order_and_its_circles(small, tmp_path):
    order = lock_order(small)
    assert list(order.graph.edges) == [("outer_lock", "inner_lock")]
    assert not order.cycles
    crossed = spec(
        tmp_path,
        """
        mutex a; mutex b;
        process p { mutex_lock(a); mutex_lock(b); mutex_unlock(b); mutex_unlock(a); }
        process q { mutex_lock(b); mutex_lock(a); mutex_unlock(a); mutex_unlock(b); }""",
    )
    assert lock_order(crossed).cycles == (("a", "b"),)


def test_an_interrupt_that_finds_its_lock_held(tmp_path):
    text = """
        raw_spinlock l; shared bool x; percpu bool irqs_off;
        process p(cpu) on cpus { raw_spin_lock%s(l); x = true; raw_spin_unlock%s(l); }
        interrupt i(cpu) when (x) { raw_spin_lock(l); x = false; raw_spin_unlock(l); }"""
    plain = lock_order(spec(tmp_path, text % ("", "")))
    assert plain.inversions == ("l",)
    assert plain.interrupted == {("l", "l"): ("i",)}
    masked = lock_order(spec(tmp_path, text % ("_irqsave", "_irqrestore")))
    assert not masked.inversions


def test_locks_of_two_cpus_nest(tmp_path):
    whole = spec(
        tmp_path,
        """
        percpu raw_spinlock l; shared bool x;
        process p(cpu) on aps {
            cpu? o = any(c in aps : c != cpu);
            raw_spin_lock(l[cpu]);
            if (o != none) { raw_spin_lock(l[o]); raw_spin_unlock(l[o]); }
            raw_spin_unlock(l[cpu]);
        }""",
    )
    assert lock_order(whole).nested == (("l[cpu]", "l[*]"),)


def test_hand_shakes_are_no_wait_cycle_but_a_circle_is(small, tmp_path):
    assert wait_cycles(small) == ()
    stuck = spec(
        tmp_path,
        """
        shared bool a; shared bool b;
        process p { wait (a); b = true; }
        process q { wait (b); a = true; }""",
    )
    assert wait_cycles(stuck) == (("p", "q"),)
