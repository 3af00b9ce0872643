"""Two steps at once do what they do one after the other."""

import pytest
from builders import BOOT, NOBODY, Code, build, const, percpu, put, rd, shared
from hypothesis import given, settings
from hypothesis import strategies as st

from cpuhp.language import flow
from cpuhp.language.flow import Edge, compose
from cpuhp.model.expr import (
    TRUE,
    Op,
    Param,
    and_,
    arithmetic,
    eq,
    exists,
    ite,
    not_,
    or_,
)
from cpuhp.model.sorts import CPU, CPU_OR_NONE, RangeSort
from cpuhp.model.system import Choice
from cpuhp.semantics import Machine, apply, enabled, initial_states

N = RangeSort(0, 2)
X, COUNT, TO = shared("x"), shared("count", N), shared("to", CPU_OR_NONE, NOBODY)
HIT = percpu("hit")
WIDE = shared("wide", RangeSort(-1, 3), 2)
VARIABLES = [X, COUNT, WIDE, TO, HIT]
ONE = const(N, 1)
C = Param("c", CPU)
GUARDS = [
    TRUE,
    rd(X),
    not_(rd(X)),
    eq(rd(COUNT), ONE),
    rd(HIT, BOOT),
    rd(HIT, rd(TO)),
    exists(C, rd(HIT, C)),
    and_(rd(X), not_(eq(rd(TO), BOOT))),
]
MORE = arithmetic(Op.ADD, rd(COUNT), ONE, N)


def effects(chosen):
    return [
        put(X, 1),
        put(X, not_(rd(X))),
        put(COUNT, MORE),
        put(COUNT, ite(rd(X), ONE, MORE)),
        put(COUNT, rd(WIDE)),
        put(WIDE, rd(COUNT)),
        put(TO, BOOT),
        put(TO, chosen),
        put(HIT, BOOT, rd(X)),
        put(HIT, rd(TO), 1),
        put(HIT, chosen, not_(rd(HIT, BOOT))),
        put(HIT, C, or_(rd(HIT, C), eq(rd(TO), C)), bound=(C,)),
        put(HIT, C, 0, bound=(C,)),
    ]


def edges(source, target):
    chosen = Param(f"chosen{source}", CPU)
    among = st.sampled_from([TRUE, not_(rd(HIT, chosen)), eq(rd(TO), chosen)])
    return st.builds(
        lambda guard, among, written: Edge(
            source, target, guard, (Choice(chosen, among),), tuple(written)
        ),
        st.sampled_from(GUARDS),
        among,
        st.lists(st.sampled_from(effects(chosen)), max_size=3, unique_by=repr),
    )


def ends(variables, points, *steps):
    """The data before and after, of all runs of a task that takes these steps."""
    code = Code("task", points)
    for step in steps:
        names = points.split()[step.source], points.split()[step.target]
        code.step(*names, step.guard, step.effects, step.choices)
    machine = Machine(build("steps", [code], variables), 2, 0)
    found = set()
    for first in initial_states(machine):
        layer = [first]
        for _ in steps:
            layer = [apply(machine, s, *m) for s in layer for m in enabled(machine, s)]
        found |= {(first[:-1], last[:-1]) for last in layer}
    return found


def agree(first, second):
    free = [shared(v.name, v.sort, None) for v in VARIABLES[:-1]] + [
        percpu("hit", initial=None)
    ]
    apart = ends(free, "a b c", first, second)
    joined = compose(first, second)
    together = set() if joined is None else ends(free, "a b c", joined)
    return apart == together


@settings(max_examples=80, deadline=None, derandomize=True)
@given(edges(0, 1), edges(1, 2))
def test_joined_steps_do_the_same(first, second):
    assert agree(first, second)


FLIP, AIM = Param("chosen0", CPU), Param("chosen1", CPU)
PAIRS = [
    (put(X, not_(rd(X))), rd(X), put(COUNT, 1)),
    (put(X, 1), TRUE, put(X, not_(rd(X)))),
    (put(TO, BOOT), TRUE, put(HIT, rd(TO), 1)),
    (put(HIT, C, 0, bound=(C,)), TRUE, put(HIT, BOOT, 1)),
    (put(HIT, BOOT, 1), rd(HIT, rd(TO)), put(HIT, C, rd(HIT, C), bound=(C,))),
    (put(COUNT, MORE), eq(rd(COUNT), ONE), put(COUNT, MORE)),
    (put(COUNT, rd(WIDE)), eq(rd(COUNT), const(N, N.high)), put(WIDE, rd(COUNT))),
    (put(COUNT, rd(WIDE)), eq(rd(COUNT), const(N, N.low)), put(X, 1)),
    (put(HIT, rd(TO), 1), not_(rd(HIT, rd(TO))), put(X, 1)),
    (put(HIT, C, 1, bound=(C,)), not_(rd(HIT, rd(TO))), put(X, 1)),
]


def right():
    return all(
        agree(
            Edge(0, 1, effects=(one,)),
            Edge(1, 2, guard, (Choice(AIM, not_(rd(HIT, AIM))),), (other,)),
        )
        for one, guard, other in PAIRS
    )


def test_what_was_written_is_read():
    assert right()


FAULTS = {
    "what was written is not read": ("_after", lambda effects: lambda expr: expr),
    "the first step wins": ("_merged", lambda first, second: second + first),
    "what the first step writes is lost": ("_merged", lambda first, second: second),
    "what is written is not held within the range": ("held", lambda expr, sort: expr),
    "something is written through none": ("may_be_none", lambda index: False),
    "a write hits every CPU": ("eq", lambda a, b: TRUE),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_joining_is_noticed(fault, monkeypatch):
    monkeypatch.setattr(flow, *FAULTS[fault])
    assert not right()
