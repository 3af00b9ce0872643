"""Fewer program points: a process does the same as before, seen from outside."""

from collections import deque

import pytest
from builders import percpu, put, rd, shared
from hypothesis import given, settings
from hypothesis import strategies as st

from cpuhp.api import Settings, load
from cpuhp.engines.explicit import check
from cpuhp.language.flow import Edge
from cpuhp.language.quotient import merged_loops, quotient
from cpuhp.model.expr import TRUE, Param, not_
from cpuhp.model.sorts import CPU, RangeSort
from cpuhp.model.system import Choice
from cpuhp.model.verdict import Verdict

X, Y, HIT = shared("x"), shared("y", RangeSort(0, 2)), percpu("hit")
PICKED = Param("picked", CPU)
SILENT = {}
LABELS = [
    SILENT,
    SILENT,
    SILENT,
    {"guard": rd(X)},
    {"guard": not_(rd(X))},
    {"effects": (put(X, 1),)},
    {"effects": (put(X, 0),)},
    {"effects": (put(Y, 1),), "guard": rd(X)},
    {"choices": (Choice(PICKED, rd(HIT, PICKED)),)},
    {"choices": (Choice(PICKED, not_(rd(HIT, PICKED))),)},
]
POINTS = range(4)
flows = st.lists(
    st.builds(
        lambda source, target, label: Edge(source, target, **label),
        st.sampled_from(POINTS),
        st.sampled_from(POINTS),
        st.sampled_from(LABELS),
    ),
    max_size=10,
)


def does(edge):
    """What others see of a step; None if nothing."""
    what = (edge.guard, edge.effects, edge.choices)
    return None if what == (TRUE, (), ()) else what


class Seen:
    """The runs of a process as others see them: what it does, and where it is if told.

    A state of this is the set of points where the process may be after what was seen.
    """

    def __init__(self, edges, entry, apart):
        self.edges, self.apart = edges, apart
        self.first = self.closed({entry})

    def told(self, point):
        return point if point in self.apart else None

    def closed(self, points):
        points, stack = set(points), list(points)
        while stack:
            at = stack.pop()
            for edge in self.edges:
                quiet = does(edge) is None and self.told(at) == self.told(edge.target)
                if edge.source == at and quiet and edge.target not in points:
                    points.add(edge.target)
                    stack.append(edge.target)
        return frozenset(points)

    def ahead(self, points):
        found = {}
        for edge in self.edges:
            if edge.source in points:
                seen = does(edge), self.told(edge.target)
                if seen[0] is not None or self.told(edge.source) != seen[1]:
                    found.setdefault(seen, set()).add(edge.target)
        return {seen: self.closed(after) for seen, after in found.items()}


def look_alike(one, other):
    """Can the same be seen of both, in the same order?"""
    queue, done = deque([(one.first, other.first)]), set()
    while queue:
        pair = queue.popleft()
        if pair in done:
            continue
        done.add(pair)
        here, there = one.ahead(pair[0]), other.ahead(pair[1])
        if {one.told(p) for p in pair[0]} != {other.told(p) for p in pair[1]}:
            return False
        if here.keys() != there.keys():
            return False
        queue += [(after, there[seen]) for seen, after in here.items()]
    return True


@settings(max_examples=400, deadline=None, derandomize=True)
@given(flows, st.sampled_from(POINTS), st.sets(st.sampled_from(POINTS), max_size=2))
def test_nothing_that_others_see_changes(edges, entry, apart):
    before = Seen(edges, entry, apart)
    assert look_alike(before, Seen(*quotient(edges, entry, apart), apart))
    merged, start, _ = merged_loops(edges, entry, apart)
    assert look_alike(before, Seen(merged, start, apart))


def classes(edges, entry=0, apart=()):
    found, start = quotient(edges, entry, set(apart))
    return len({p for e in found for p in (e.source, e.target)} | {start})


SET, CLEAR = {"effects": (put(X, 1),)}, {"effects": (put(X, 0),)}
IF, UNLESS = {"guard": rd(X)}, {"guard": not_(rd(X))}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (SET, CLEAR),
        (IF, UNLESS),
        (SET, {**SET, **IF}),
        ({"choices": (Choice(PICKED, rd(HIT, PICKED)),)}, SILENT),
    ],
)
def test_points_alike_but_for_one_thing_stay_two(first, second):
    fork = [Edge(0, 1, **IF), Edge(0, 2, **UNLESS)]
    assert classes([*fork, Edge(1, 3, **first), Edge(2, 3, **second)]) == 4
    assert classes([*fork, Edge(1, 3, **first), Edge(2, 3, **first)]) == 3


def test_points_that_lead_to_different_ends_stay_two():
    fork = [
        Edge(0, 1, **IF),
        Edge(0, 2, **UNLESS),
        Edge(1, 3, **SET),
        Edge(2, 4, **SET),
    ]
    assert classes([*fork, Edge(3, 5, **SET), Edge(4, 5, **CLEAR)]) == 6
    assert classes([*fork, Edge(3, 5, **SET), Edge(4, 5, **SET)]) == 4
    assert classes([*fork, Edge(3, 5, **SET), Edge(4, 5, **SET)], apart={3}) == 6


def test_who_begins_in_a_silent_loop_begins_at_its_one_point():
    found, start = quotient([Edge(3, 1), Edge(1, 3), Edge(3, 2, **SET)], 3, {2})
    assert [(edge.source, edge.target) for edge in found] == [(start, 2)]


def test_a_silent_loop_through_a_place_that_is_looked_at_stays():
    ring = [Edge(0, 1), Edge(1, 0), Edge(1, 2, **SET)]
    assert classes(ring, apart={1}) == 3
    assert classes(ring, apart={2}) == 2


def test_points_of_silent_loops_are_named():
    ring = [Edge(0, 1), Edge(1, 2), Edge(2, 1), Edge(2, 3, **IF)]
    assert merged_loops(ring, 0, set())[2] == {1}
    assert merged_loops([Edge(0, 1), Edge(1, 1), Edge(1, 2, **IF)], 0, set())[2] == {1}
    assert merged_loops([Edge(0, 1), Edge(1, 2, **IF)], 0, set())[2] == set()
    assert merged_loops([Edge(0, 1), Edge(1, 0, **SET)], 0, set())[2] == set()


# --- in programs

SPECS = {
    "who is waited for through others is no bystander": (
        """
        shared bool a; shared bool b; shared bool c;
        process r { wait (b); c = true; }
        process q { wait (a); b = true; }
        process p { a = true; }
        check t { never c; sometimes c; }
        """,
        "VIOLATED WITNESSED",
    ),
    "who only may be looked at is no bystander": (
        """
        shared bool a; shared bool b;
        process q { wait (a); b = true; }
        process p { a = true; }
        check t { never at(q, end); sometimes at(q, end) && at(p, end); }
        """,
        "VIOLATED WITNESSED",
    ),
    "who holds a lock for ever is no bystander": (
        """
        mutex m; shared bool a; shared bool b;
        process p { mutex_lock(m); b = true; wait (!b); mutex_unlock(m); }
        process q { wait (b); mutex_lock(m); a = true; }
        check t { never a; sometimes b; }
        """,
        "PROVED WITNESSED",
    ),
    "what bystanders do is nobody's business": (
        """
        shared bool a; shared int 0..3 n;
        process q { for (;;) { n++; if (n == 3) n = 0; } }
        process p { a = true; }
        check t { never a; sometimes a && at(p, end); }
        """,
        "VIOLATED WITNESSED",
    ),
    # The branch that waits is left at once, and entered again: `a` does not wait for it.
    "where a process may stay it can be seen": (
        """
        shared bool a; shared bool go; shared bool b; shared int 0..3 mine;
        process q { go = true; }
        process p {
            if (go) { mine = 1; }
            a = true;
            for (;;) { either { wait (mine == 1); b = true; } or { } }
        }
        check t { never a && !go; sometimes a && !go; never b && !go; }
        """,
        "VIOLATED WITNESSED PROVED",
    ),
    "a loop that does nothing is left only as its condition allows": (
        """
        shared bool a; shared bool go; shared bool idle;
        process q { go = true; }
        process p { while (!go) { idle = !idle; } a = true; }
        check t { never a && !go; sometimes a; always at(p, end) => a; }
        """,
        "PROVED WITNESSED PROVED",
    ),
    "places in a loop that does nothing are told apart": (
        """
        shared bool x; shared bool y;
        process p { x = true; for (;;) { one: y = true; two: y = false; } }
        check t {
            never at(p, one); never at(p, two);
            sometimes x && !at(p, one); sometimes x && !at(p, two);
        }
        """,
        "VIOLATED VIOLATED WITNESSED WITNESSED",
    ),
    "who begins in a loop comes back": (
        """
        shared bool y; shared int 0..3 n;
        process p { for (;;) { lab: y = true; n++; } }
        check t { never n == 2; sometimes at(p, lab); sometimes n == 1 && at(p, lab); }
        """,
        "VIOLATED WITNESSED WITNESSED",
    ),
    "who begins with a choice has it": (
        """
        shared bool x; shared bool y;
        process p { either { x = true; } or { y = true; } }
        check t { sometimes x; sometimes y; never x && y; }
        """,
        "WITNESSED WITNESSED PROVED",
    ),
    "who begins at a place is there": (
        """
        shared bool y; shared bool x;
        process p { lab: y = true; x = true; }
        check t { sometimes at(p, lab); never at(p, lab) && x; }
        """,
        "WITNESSED PROVED",
    ),
    "what others may change is read in a step of its own": (
        """
        shared bool x; shared bool y; shared bool z;
        process p { x = true; bool saw = y; if (saw) z = true; }
        process q { wait (x); y = true; }
        check t { never z; }
        """,
        "VIOLATED",
    ),
    "a variable of another CPU is not one's own": (
        """
        percpu bool taken; percpu bool inside;
        process p(cpu) on cpus {
            if (!taken[boot]) { taken[boot] = true; inside[cpu] = true; }
        }
        check t { never all(c in cpus : inside[c]); }
        """,
        "VIOLATED",
    ),
    "the place that a claim names is none of those that are alike": (
        """
        shared bool a = any; shared bool go;
        process p { if (a) { one: wait (go); } else { wait (go); } }
        process q { go = true; }
        check t {
            never at(p, one); never at(p, one) && !a; never at(p, end);
            sometimes !go && !a && !at(p, one);
        }
        """,
        "VIOLATED PROVED VIOLATED WITNESSED",
    ),
    "places from which something else is done are not alike": (
        """
        shared bool a = any; shared bool go; shared bool x; shared bool y;
        process p {
            if (a) { wait (go); x = true; } else { wait (go); y = true; }
        }
        process q { go = true; }
        check t { never (x && !a) || (y && a); sometimes x; sometimes y; }
        """,
        "PROVED WITNESSED WITNESSED",
    ),
    "a condition in a loop is no silent step": (
        """
        shared bool go; shared bool x;
        process p { for (;;) { wait (go); either { x = true; } or { } } }
        process q { go = true; }
        check t { never x && !go; sometimes x; }
        """,
        "PROVED WITNESSED",
    ),
    "a place is one, whatever a local variable holds there": (
        """
        shared bool a = any; shared bool x;
        process p { bool held = a; lab: if (held) x = true; }
        check t { never at(p, lab) && a; never at(p, lab) && !a; }
        """,
        "VIOLATED VIOLATED",
    ),
    "a step is taken at once only if all that may be taken there can be": (
        """
        shared bool go = any; shared int 0..3 mine;
        shared bool x; shared bool y; shared bool z;
        process q { wait (x); y = true; }
        process p {
            if (go) { mine = 1; }
            x = true;
            atomic { if (mine == 1) { z = y; } }
        }
        check t { never z; never y && at(p, end) && mine == 1 && !z; }
        """,
        "VIOLATED VIOLATED",
    ),
    "who goes round for ever is never at rest": (
        """
        shared bool x; shared int 0..3 n;
        process p { x = true; }
        process busy { for (;;) { n++; n = 0; } }
        check t { finally !x; never x; }
        """,
        "PROVED VIOLATED",
    ),
}


@pytest.mark.parametrize("about", SPECS)
def test_verdicts_stay(about, tmp_path):
    text, expected = SPECS[about]
    path = tmp_path / "spec.hp"
    path.write_text(f"scenario spec;\n{text}")
    loaded, two = load(str(path)), Settings(cpus=2)
    found = [loaded.answer(*claim[:2], two).verdict for claim in loaded.claims("t")]
    assert found == expected.split()


def test_a_process_may_stay_in_a_loop_that_is_left_under_a_condition(tmp_path):
    """Of `idle` nothing is known, so the loop may be gone round without `mine`."""
    path = tmp_path / "spec.hp"
    path.write_text("""scenario spec;
        shared bool a; shared bool go; shared bool idle; shared int 0..3 mine;
        process q { go = true; idle = !idle; }
        process p {
            if (go) { mine = 1; }
            a = true;
            for (;;) { idle = false; atomic { if (!idle) { wait (mine == 1); break; } } }
        }
        check t { never a && !go; }""")
    sliced = load(str(path)).checker.slice("t", 0, frozenset({"mine"}))
    assert "idle" not in {variable.name for variable in sliced.system.variables}
    assert check(sliced.system, sliced.prop, 2).verdict is Verdict.VIOLATED
