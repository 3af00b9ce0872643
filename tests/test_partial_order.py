"""Partial-order reduction changes no verdict: small cases, random systems and programs.

Each question is put to the search twice: with all interleavings, and with as many as it
takes from the first state on, or from the middle of the search. Each fault in
`FAULTS` changes a verdict.
"""

from dataclasses import replace
from itertools import pairwise

import pytest
from builders import (
    BOOT,
    DEADLOCK_FREE,
    ME,
    NOBODY,
    RACE_FREE,
    Code,
    always,
    buddies,
    build,
    critical_section,
    election,
    finally_,
    hog,
    lost_update,
    opposite_locks,
    parallel_shutdown,
    percpu,
    put,
    rd,
    shared,
    sometimes,
)
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from random_systems import random_formulas, random_systems
from test_reductions import program

from cpuhp.engines.checking import Checker
from cpuhp.engines.explicit import (
    Limits,
    ample,
    check,
    futures,
    glance,
    observers,
    search,
)
from cpuhp.engines.explicit.symmetry import unordered
from cpuhp.model.expr import Const, Param, and_, eq, exists, forall, not_, or_
from cpuhp.model.sorts import BOOL, CPU, CPU_OR_NONE, RangeSort
from cpuhp.model.system import Choice, Expectation, Runs
from cpuhp.model.verdict import Verdict

NINE = Const(9, RangeSort(0, 9))
LIMITS = Limits(max_states=1000)
PLACES = [(2, 0), (3, 1)]


# --- small cases


def undone():
    """A step makes true what a claim looks for, and the next one undoes it."""
    x, y = shared("x"), shared("y")
    one = Code("one", "a b c").step("a", "b", effects=[put(x, 1)])
    one.step("b", "c", effects=[put(x, 0)])
    two = Code("two", "a b").step("a", "b", effects=[put(y, 1)])
    return build("undone", [one, two], [x, y]), always(not_(and_(rd(x), rd(y))))


def for_ever():
    """Somebody goes round and round, and somebody else has something to do."""
    z, y = shared("z"), shared("y")
    spins = Code("spins", "a b").step("a", "b", effects=[put(z, 1)])
    spins.step("b", "a", effects=[put(z, 0)])
    two = Code("two", "a b").step("a", "b", effects=[put(y, 1)])
    return build("for_ever", [spins, two], [z, y]), always(not_(rd(y)))


def late_writer(waits):
    """Who writes does something else first, or waits for a third one."""
    z, seen, go = shared("z"), shared("seen"), shared("go")
    reads = Code("reads", "a b").step("a", "b", effects=[put(seen, rd(z))])
    writes = Code("writes", "a b c").step("a", "b", rd(go) if waits else not_(rd(go)))
    writes.step("b", "c", effects=[put(z, 1)])
    third = Code("third", "a b").step("a", "b", effects=[put(go, 1)])
    codes = [reads, writes, third] if waits else [reads, writes]
    return build("late_writer", codes, [z, seen, go]), sometimes(rd(seen))


def late_reader():
    """What somebody writes is read by who has something else to do first."""
    z, seen = shared("z"), shared("seen")
    writes = Code("writes", "a b").step("a", "b", effects=[put(z, 1)])
    reads = Code("reads", "a b c").step("a", "b")
    reads.step("b", "c", effects=[put(seen, not_(rd(z)))])
    return build("late_reader", [writes, reads], [z, seen]), sometimes(rd(seen))


def through_pointer():
    """The control CPU marks whoever is pointed to, and somebody moves the pointer."""
    to, mark = shared("to", CPU_OR_NONE, NOBODY), percpu("mark")
    saw = percpu("saw")
    c = Param("pick", CPU)
    ap = Code("ap", "a b", Runs.EVERY_AP).step(
        "a", "b", effects=[put(saw, ME, rd(mark, ME))]
    )
    moves = Code("moves", "a b").step(
        "a", "b", effects=[put(to, c)], choices=[Choice(c)]
    )
    marks = Code("marks", "a b").step("a", "b", effects=[put(mark, rd(to), 1)])
    d = Param("d", CPU)
    system = build("through_pointer", [ap, moves, marks], [to, mark, saw])
    return system, sometimes(exists(d, rd(saw, d)))


def interrupted():
    """An interrupt need not come; if it does, it leaves a mark."""
    mark, idle = shared("mark"), shared("idle")
    irq = Code("irq", "rest run", final="", resting="rest", spontaneous=True)
    irq.step("rest", "run").step("run", "rest", effects=[put(mark, 1)])
    task = Code("task", "a b").step("a", "b", effects=[put(idle, 1)])
    return build("interrupted", [irq, task], [mark, idle]), finally_(rd(mark))


def skipped_read():
    """A condition reads plain memory, though what it has read before decides."""
    x, mine = shared("x", plain=True), shared("mine")
    test = not_(and_(rd(x), rd(mine)))
    reads = Code("reads", "a b c").step("a", "b", effects=[put(mine, 0)])
    reads.step("b", "c", test)
    writes = Code("writes", "a b c").step("a", "b")
    writes.step("b", "c", effects=[put(x, 1)])
    return build("skipped_read", [reads, writes], [x, mine]), RACE_FREE


def somewhere():
    """What is written, one of two cells, decides on what comes after it."""
    left = percpu("left", BOOL, 1)
    to, z, seen = shared("to", CPU_OR_NONE, BOOT), shared("z"), shared("seen")
    c = Param("pick", CPU)
    task = Code("task", "take look end")
    task.step("take", "look", effects=[put(left, rd(to), 0)])
    task.step("look", "end", rd(left, BOOT), [put(z, 1)])
    reads = Code("reads", "a b").step("a", "b", effects=[put(seen, rd(z))])
    moves = Code("moves", "a b").step(
        "a", "b", effects=[put(to, c)], choices=[Choice(c)]
    )
    system = build("somewhere", [reads, task, moves], [left, to, z, seen])
    return system, sometimes(rd(seen))


def apart():
    """Each CPU is busy with what is its own."""
    mine = percpu("mine", RangeSort(0, 9))
    points = [f"p{number}" for number in range(9)]
    code = Code("ap", " ".join(points), Runs.EVERY_AP)
    for number, (here, there) in enumerate(pairwise(points)):
        code.step(here, there, effects=[put(mine, ME, number)])
    c = Param("c", CPU)
    return build("apart", [code], [mine]), always(
        forall(c, not_(eq(rd(mine, c), NINE)))
    )


def cases():
    lost, wrong = lost_update()
    locked, alone = critical_section()
    crowd, together = critical_section(locked=False)
    stale, (kept, away, _) = parallel_shutdown(1, stale=True)
    yield lost, sometimes(wrong)
    yield lost, RACE_FREE
    yield locked, always(alone)
    yield locked, RACE_FREE
    yield crowd, always(together)
    yield crowd, RACE_FREE
    yield stale, kept
    yield stale, away
    yield parallel_shutdown(1)[0], kept
    yield opposite_locks(), DEADLOCK_FREE
    yield hog(True)[0], DEADLOCK_FREE
    c, d = Param("c", CPU), Param("d", CPU)
    pointing = buddies()
    tag = next(v for v in pointing.variables if v.name == "tag")
    yield pointing, always(forall(c, or_(eq(rd(tag, c), rd(tag, BOOT)), rd(tag, c))))
    yield election(), DEADLOCK_FREE
    yield election(), sometimes(exists(d, not_(rd(percpu("online"), d))))
    yield undone()
    yield for_ever()
    yield late_writer(False)
    yield late_writer(True)
    yield late_reader()
    yield through_pointer()
    yield interrupted()
    yield skipped_read()
    yield somewhere()
    yield apart()


CASES = list(cases())
NAMES = [f"{system.name}, {prop.expectation.value}" for system, prop in CASES]


# --- both searches


def said(system, prop, at, symmetry, **more):
    return check(system, prop, *at, LIMITS, symmetry=symmetry, **more)


def same(patch, system, prop, at, symmetry, few):
    """Do the searches with and without reduction say the same, if both say anything?

    The reduced one looks at `few` states in full first.
    """
    whole = said(system, prop, at, symmetry)
    patch.setattr(search, "FEW_STATES", few)
    reduced = said(system, prop, at, symmetry, traces=False)
    verdicts = whole.verdict, reduced.verdict
    return Verdict.UNKNOWN in verdicts or len(set(verdicts)) == 1


def agree(patch, numbers=range(len(CASES))):
    return all(
        same(patch, *CASES[n], at, symmetry, few)
        for n in numbers
        for at in PLACES
        for symmetry in (False, True)
        for few in (-1, 3)
    )


@pytest.mark.parametrize("number", range(len(CASES)), ids=NAMES)
def test_a_reduced_search_says_the_same(number, monkeypatch):
    assert agree(monkeypatch, [number])


@pytest.mark.parametrize("most", [0, 6, 12])
def test_with_too_many_views_there_is_less_reduction(most, monkeypatch):
    monkeypatch.setattr(futures, "_MOST_VIEWS", most)
    assert agree(monkeypatch)
    reduced = said(*apart(), (3, 0), True, traces=False)
    assert reduced.verdict is Verdict.PROVED and reduced.stats["states"] > 17


def test_there_is_less_to_look_at(monkeypatch):
    monkeypatch.setattr(search, "FEW_STATES", -1)
    whole = said(*apart(), (3, 0), True)
    reduced = said(*apart(), (3, 0), True, traces=False)
    assert reduced.verdict is whole.verdict is Verdict.PROVED
    assert (reduced.stats["states"], whole.stats["states"]) == (17, 45)


def test_where_it_hardly_helps_it_pauses(monkeypatch):
    tried = []
    whole = ample.Reduction._enough
    count = lambda self, *seen: tried.append(1) or whole(self, *seen)  # noqa: E731
    monkeypatch.setattr(ample.Reduction, "_enough", count)
    monkeypatch.setattr(search, "FEW_STATES", -1)
    system, (prop, *_) = parallel_shutdown(2)
    found = check(system, prop, 12, traces=False)
    assert found.verdict is Verdict.PROVED
    assert 500 < len(tried) < 1500 < found.stats["states"]
    monkeypatch.setattr(ample, "_PAYS", 0)
    tried.clear()
    again = check(system, prop, 12, traces=False)
    assert again.stats["states"] == len(tried) == found.stats["states"]


@pytest.mark.parametrize("pause", [1, 7])
def test_pauses_lose_nothing(pause, monkeypatch):
    monkeypatch.setattr(ample, "_TRIAL", pause)
    monkeypatch.setattr(ample, "_PAYS", 2)
    monkeypatch.setattr(ample, "_FIRST_PAUSE", pause)
    assert agree(monkeypatch)


def test_a_run_is_as_short_as_without_reduction(monkeypatch):
    system, prop = undone()
    first = said(system, prop, (2, 0), True)
    monkeypatch.setattr(search, "FEW_STATES", -1)
    again = said(system, prop, (2, 0), True)
    assert first.trace == again.trace and len(first.trace.steps) == 2
    assert first.stats == again.stats


@seed(20261122)
@settings(
    max_examples=60,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(st.data())
def test_random_systems(data):
    system = data.draw(random_systems(ordered=data.draw(st.booleans())))
    formula = data.draw(random_formulas(system))
    claims = [always(formula), sometimes(formula), finally_(formula)]
    at = data.draw(st.sampled_from([*PLACES, (3, 0), (4, 1)]))
    for prop in (*claims, DEADLOCK_FREE, RACE_FREE):
        with pytest.MonkeyPatch.context() as patch:
            few = data.draw(st.sampled_from([-1, 5, 30]))
            assert same(patch, system, prop, at, data.draw(st.booleans()), few)


def slices(number):
    """What a random program's claims come down to: systems and claims."""
    checker = Checker(program(number))
    for name, position, prop in checker.claims():
        if prop.expectation is Expectation.RACE_FREE:
            for variable in checker.plain_variables()[:2]:
                found = checker.race_slice(name, position, variable)
                yield found.system, found.prop
        else:
            found = checker.slice(name, position)
            yield found.system, found.prop


@pytest.mark.parametrize("number", range(500, 512))
def test_random_programs(number, monkeypatch):
    for system, prop in slices(number):
        wide = unordered(system) if number % 2 else system
        for at, few in zip(PLACES, (-1, 10)):
            assert same(monkeypatch, wide, prop, at, True, few), prop.text


# --- faults


def only_what_comes_next(self, number, view):
    steps = self._steps_from(number, view)
    reads = writes = 0
    for step in steps:
        reads, writes = reads | step.reads, writes | step.writes
    for step in steps:
        for after in step.after:
            self._ahead.setdefault((number, after), (0, 0))
    self._ahead[number, view] = reads, writes


def nobody_is_woken(still, awake, seen):
    reads = writes = 0
    for number in awake:
        if number != still:
            reads |= seen[number].reads_ahead
            writes |= seen[number].writes_ahead
    return reads, writes


def forgetting(what):
    def touched(still, awake, seen):
        return what(*true_touched(still, awake, seen))

    return touched


def through_pointers_nothing(self, variable, indices, env, known):
    cells, alone, seen = true_cells(self, variable, indices, env, known)
    return (cells if alone else 0), alone, seen


def all_is_its_own(self, compiled):
    for seat in true_seats(self, compiled):
        cells = tuple(range(len(compiled.machine.cells)))
        yield replace(seat, cells=cells, view=lambda state: state)


def any_write_is_sure(self, seat, known, sets):
    return true_after(self, seat, known, [(c, value, True) for c, value, _ in sets])


def always_skipping(self, compiled, *, skips=True):
    true_futures(self, compiled, skips=True)


def nobody_need_owe(self, space, props):
    true_reduction(self, space, props)
    self._must_owe = False


true_touched, true_cells = ample._touched_by_others, glance.Glance.cells
true_seats, true_after = futures.Futures._seats, futures.Futures._after
true_futures, true_reduction = futures.Futures.__init__, ample.Reduction.__init__
FAULTS = {
    "the others are forgotten":
        (ample, "_touched_by_others", forgetting(lambda reads, writes: (0, 0))),
    "what others read is forgotten":
        (ample, "_touched_by_others", forgetting(lambda reads, writes: (0, writes))),
    "what others write is forgotten":
        (ample, "_touched_by_others", forgetting(lambda reads, writes: (reads, 0))),
    "nobody is woken": (ample, "_touched_by_others", nobody_is_woken),
    "only what comes next is looked at":
        (futures.Futures, "_look_ahead", only_what_comes_next),
    "nobody minds a step": (observers.Observers, "mind", lambda *_: False),
    "what is true stays true":
        (observers._Literal, "survives", lambda *_: True),
    "others never write what a claim looks at":
        (observers._Alternative, "survives", lambda self, step, others:
            true_survives(self, step, 0)),
    "steps are put off for ever": (ample.Reduction, "_puts_off", lambda *_: False),
    "through pointers nothing is touched":
        (glance.Glance, "cells", through_pointers_nothing),
    "all variables are one's own": (futures.Futures, "_seats", all_is_its_own),
    "what may be written is written": (futures.Futures, "_after", any_write_is_sure),
    "no skipped read can race": (futures.Futures, "__init__", always_skipping),
    "who need not come does": (ample.Reduction, "__init__", nobody_need_owe),
}  # fmt: skip
true_survives = observers._Alternative.survives


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_noticed(fault, monkeypatch):
    monkeypatch.setattr(*FAULTS[fault])
    assert not agree(monkeypatch)
