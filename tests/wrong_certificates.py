"""Certificates that are wrong, each for a reason of its own."""

from dataclasses import replace
from itertools import combinations

from builders import (
    BOOT,
    DEADLOCK_FREE,
    ME,
    NOBODY,
    Code,
    always,
    build,
    critical_section,
    finally_,
    one_step,
    percpu,
    put,
    rd,
    shared,
)

from cpuhp.engines.certificate.pool_conditions import MAX_APS
from cpuhp.model.expr import (
    Const,
    Op,
    Param,
    Quantified,
    Quantifier,
    and_,
    arithmetic,
    before,
    eq,
    exists,
    forall,
    implies,
    ite,
    not_,
    or_,
)
from cpuhp.model.invariant import FAR, NEAR, Clause, Invariant, Literal, Symbol
from cpuhp.model.sorts import CPU, CPU_OR_NONE, CounterSort, RangeSort
from cpuhp.model.system import Choice, Order, Runs

B, C, D, X, OTHER = (Symbol.BOOT, *(Param(n, CPU) for n in "cdx"), Symbol.OTHER)
I, J = Symbol.I, Symbol.J
MANY = MAX_APS + 3  # CPUs: more than the checker has seats for
MANY_SORT = RangeSort(0, MANY)


def pointers(number):
    """Shared ones that may point anywhere and stay so."""
    return [shared(f"to{n}", CPU_OR_NONE, None, constant=True) for n in range(number)]


def never(*literals):
    parts = [
        Literal(name, where, frozenset(values)) for name, where, values in literals
    ]
    return Invariant((Clause(tuple(parts)),))


def set_if(guard, *variables):
    """A flag that is set where the guard holds, and the claim that it never is."""
    flag = shared("flag")
    system = one_step([flag, *variables], guard, [put(flag, 1)])
    return system, always(not_(rd(flag))), never(("flag", (), {1}))


def all_differ(values):
    return and_(*(not_(eq(a, b)) for a, b in combinations(values, 2)))


def an_actor_that_is_set():
    hit = percpu("hit")
    system = one_step([hit], effects=[put(hit, ME, 1)], runs=Runs.EVERY_AP)
    wrong = always(forall(C, or_(eq(C, BOOT), not_(rd(hit, C)))))
    return system, wrong, never(("hit", (I,), {1}))


def the_control_cpu_as_actor():
    hit = percpu("hit")
    system = one_step([hit], effects=[put(hit, ME, 1)], runs=Runs.EVERY_CPU)
    return system, always(not_(rd(hit, BOOT))), never(("hit", (B,), {1}))


def a_write_to_all():
    hit = percpu("hit")
    system = one_step([hit], effects=[put(hit, X, 1, bound=(X,))])
    wrong = always(forall(C, or_(eq(C, BOOT), not_(rd(hit, C)))))
    return system, wrong, never(("hit", (I,), {1}))


def a_third_cpu_that_decides_a_guard():
    late = percpu("late", initial=None, constant=True)
    guard = exists(C, rd(late, C))
    return set_if(guard, late)


def a_guard_over_all_cpus():
    late = percpu("late", initial=None, constant=True)
    return set_if(forall(C, rd(late, C)), late)


def a_write_through_a_pointer():
    to, hit = shared("to", CPU_OR_NONE, None, constant=True), percpu("hit")
    system = one_step([to, hit], effects=[put(hit, rd(to), 1)])
    wrong = always(forall(C, or_(eq(C, BOOT), not_(rd(hit, C)))))
    return system, wrong, never(("hit", (I,), {1}))


def a_machine_with_the_control_cpu_only():
    return set_if(forall(C, eq(C, BOOT)))


def a_control_cpu_that_decides_a_guard():
    flag, late = shared("flag"), percpu("late", initial=lambda c: eq(c, BOOT))
    system = one_step([flag, late], exists(C, rd(late, C)), [put(flag, 1)])
    others = Clause((Literal("late", (I,), frozenset({1})),))
    clauses = (*never(("flag", (), {1})).clauses, others)
    return system, always(not_(rd(flag))), Invariant(clauses)


def an_environment_that_may_stop():
    flag = shared("flag")
    code = Code("task", "start end", environment=True)
    code.step("start", "end", effects=[put(flag, 1)])
    system = build("stops", [code], [flag])
    start = never(("task.at", (), {0}), ("flag", (), {1})).clauses
    end = never(("task.at", (), {1}), ("flag", (), {0})).clauses
    return system, finally_(rd(flag)), Invariant((*start, *end))


def a_machine_with_many_cpus():
    names = [Param(f"n{n}", CPU) for n in range(4)]
    guard = all_differ(names)
    for name in names:
        guard = exists(name, guard)
    return set_if(guard)


def another_process():
    flag, hit = shared("flag"), percpu("hit")
    ap = Code("ap", "a b", Runs.EVERY_AP).step("a", "b", effects=[put(flag, 1)])
    task = Code("task", "a b").step("a", "b", effects=[put(hit, BOOT, 1)])
    system = build("two", [task, ap], [flag, hit])
    return system, always(not_(rd(flag))), never(("flag", (), {1}))


def an_assumption_that_does_not_last():
    flag, bad = shared("flag", initial=None), shared("bad")
    code = Code("task", "start middle end")
    code.step("start", "middle", effects=[put(flag, 1)])
    code.step("middle", "end", rd(flag), effects=[put(bad, 1)])
    system = build("assumed", [code], [flag, bad], [not_(rd(flag))])
    return system, always(not_(rd(bad))), never(("bad", (), {1}))


def a_choice_that_can_be_anybody():
    chosen = shared("chosen", CPU_OR_NONE, NOBODY)
    system = one_step([chosen], effects=[put(chosen, C)], choices=[Choice(C)])
    wrong = always(not_(eq(rd(chosen), BOOT)))
    return system, wrong, never(("chosen", (), {B}))


def a_counter_that_misses_a_cpu():
    running = percpu("running", initial=lambda c: not_(eq(c, BOOT)))
    sort = CounterSort("running")
    left = shared("left", sort, Quantified(Quantifier.COUNT, X, rd(running, X)))
    effects = [put(running, ME, 0)]
    system = one_step([running, left], effects=effects, runs=Runs.EVERY_AP)
    everybody = implies(forall(C, not_(rd(running, C))), eq(rd(left), Const(0, sort)))
    far = {*NEAR, FAR} - {0}
    return system, always(everybody), never(("left", (), far))


def a_counter_read_through_none():
    """There it is 0; not equal to what it counts, as it is everywhere else."""
    running, flag = percpu("running", initial=1), shared("flag")
    sort = CounterSort("running")
    everyone = Quantified(Quantifier.COUNT, X, rd(running, X))
    left = percpu("left", sort, everyone, constant=True)
    to = shared("to", CPU_OR_NONE, NOBODY, constant=True)
    guard = eq(rd(left, rd(to)), Const(0, sort))
    system = one_step([running, left, to, flag], guard, [put(flag, 1)])
    clauses = (
        *never(("flag", (), {1})).clauses,
        *never(("running", (B,), {0})).clauses,
        *never(("to", (), {B, OTHER})).clauses,
    )
    return system, always(not_(rd(flag))), Invariant(clauses)


def a_number_of_one_mask_or_another():
    one, two = (percpu(n, initial=None, constant=True) for n in ("one", "two"))
    which, flag = shared("which", initial=None, constant=True), shared("flag")
    here, there = (Quantified(Quantifier.COUNT, X, rd(m, X)) for m in (one, two))
    guard = not_(eq(ite(rd(which), here, there), here))
    system = one_step([one, two, which, flag], guard, [put(flag, 1)])
    return system, always(not_(rd(flag))), never(("flag", (), {1}))


def a_number_of_cpus_that_is_assigned():
    late = percpu("late", initial=None, constant=True)
    level = shared("level", MANY_SORT)
    many = Quantified(Quantifier.COUNT, X, rd(late, X))
    system = one_step([late, level], effects=[put(level, many)])
    wrong = always(not_(eq(rd(level), Const(MANY, MANY_SORT))))
    return system, wrong, never(("level", (), {MANY}))


def a_sum_that_is_assigned_beyond_an_end():
    sort = RangeSort(0, 3)
    level = shared("level", sort, 3)
    more = arithmetic(Op.ADD, rd(level), Const(1, sort), RangeSort(0, 4))
    code = Code("task", "start end").step("start", "end", effects=[put(level, more)])
    system = build("beyond", [code], [level])
    wrong = always(not_(and_(code.at("end"), eq(rd(level), Const(3, sort)))))
    before = never(("task.at", (), {0}), ("level", (), {0, 1, 2})).clauses
    after = never(("task.at", (), {1}), ("level", (), {3})).clauses
    return system, wrong, Invariant((*before, *after))


def counted():
    """A mask, and a counter that is what it counts at first."""
    running = percpu("running", initial=1)
    sort = CounterSort("running")
    everyone = Quantified(Quantifier.COUNT, X, rd(running, X))
    left = shared("left", sort, everyone)
    far = never(("left", (), {*NEAR, FAR} - {0}))
    return running, left, always(eq(rd(left), everyone)), far


def a_counter_that_misses_many_cpus():
    running, left, wrong, far = counted()
    late = percpu("late", initial=None, constant=True)
    effects = [put(running, X, rd(late, X), bound=(X,))]
    return one_step([running, left, late], effects=effects), wrong, far


def apart(to):
    """A constant in which the CPUs differ that these point to; none is the control CPU."""
    kind = percpu("kind", MANY_SORT, None, constant=True)
    kinds = (eq(rd(kind, rd(p)), Const(n, MANY_SORT)) for n, p in enumerate(to))
    return kind, and_(*kinds, *(not_(is_near(p)) for p in to))


def a_counter_that_misses_a_cpu_without_a_seat():
    running, left, wrong, far = counted()
    to = pointers(MANY)
    kind, guard = apart(to)
    effects = [put(running, rd(to[-1]), 0)]
    return one_step([running, left, kind, *to], guard, effects), wrong, far


def a_counter_that_misses_one_cpu_twice():
    running, left, wrong, far = counted()
    *to, again = pointers(MANY + 1)
    kind, guard = apart(to)
    same = eq(rd(again), rd(to[-1]))
    less = arithmetic(Op.SUB, rd(left), Const(2, left.sort), left.sort)
    effects = [put(left, less)]
    effects += [put(running, rd(p), 0) for p in (to[-1], again)]
    system = one_step([running, left, kind, *to, again], and_(guard, same), effects)
    return system, wrong, far


def a_counter_that_is_far_from_its_mask():
    running, left, wrong, far = counted()
    less = arithmetic(Op.SUB, rd(left), Const(20, left.sort), left.sort)
    return one_step([running, left], effects=[put(left, less)]), wrong, far


def nothing_is_known():
    system, alone = critical_section(locked=False)
    return system, always(alone), Invariant(())


def a_system_that_stops():
    flag = shared("flag")
    system = one_step([flag], rd(flag))
    return system, DEADLOCK_FREE, never(("flag", (), {1}))


def an_end_that_is_bad():
    flag = shared("flag")
    system = one_step([flag], effects=[put(flag, 1)])
    return system, finally_(not_(rd(flag))), Invariant(())


def more_cpus_than_seats():
    """A number of CPUs that only those without a seat make so large."""
    late = percpu("late", initial=None, constant=True)
    many = Quantified(Quantifier.COUNT, X, rd(late, X))
    return set_if(eq(many, Const(MANY, MANY_SORT)), late)


def pointers_to_more_cpus_than_seats():
    to = pointers(MANY)
    return set_if(all_differ(map(rd, to)), *to)


def reads_of_more_cpus_than_seats():
    to, kind = pointers(MANY), percpu("kind", MANY_SORT, None, constant=True)
    each = (eq(rd(kind, rd(p)), Const(n, MANY_SORT)) for n, p in enumerate(to))
    return set_if(and_(*each), kind, *to)


def values_that_more_cpus_than_seats_decide():
    kind = percpu("kind", MANY_SORT, None, constant=True)
    seen = [shared(f"seen{n}", initial=1, constant=True) for n in range(MANY)]
    each = (
        eq(exists(C, eq(rd(kind, C), Const(n, MANY_SORT))), rd(flag))
        for n, flag in enumerate(seen)
    )
    guard = and_(*each, *map(rd, seen))
    return set_if(guard, kind, *seen)


def pairs_of_more_cpus_than_seats():
    kind = percpu("kind", MANY_SORT, None, constant=True)
    two = Const(2, MANY_SORT)
    each = (
        eq(Quantified(Quantifier.COUNT, X, eq(rd(kind, X), Const(n, MANY_SORT))), two)
        for n in range(MANY // 2)
    )
    return set_if(and_(*each), kind)


def a_claim_about_more_cpus_than_seats():
    to = pointers(MANY)
    far = (not_(is_near(p)) for p in to)
    wrong = and_(all_differ(map(rd, to)), *far)
    return one_step(to), always(not_(wrong)), Invariant(())


def a_clause_about_more_cpus_than_seats():
    """One step makes the last pointer point to yet another CPU."""
    *others, last = pointers(MANY)
    last = replace(last, initial=NOBODY, constant=False)
    fit = (not_(eq(C, BOOT)), *(not_(eq(C, rd(p))) for p in others))
    taken = (not_(eq(rd(p), BOOT)) for p in others)
    system = one_step(
        [*others, last],
        and_(all_differ(map(rd, others)), *taken),
        [put(last, C)],
        [Choice(C, and_(*fit))],
    )
    all_far = never(*((p.name, (), {OTHER}) for p in (*others, last)))
    claim = always(or_(*(is_near(p) for p in (*others, last))))
    return system, claim, all_far


def is_near(pointer):
    """It does not point to a CPU other than the control CPU."""
    return or_(eq(rd(pointer), NOBODY), eq(rd(pointer), BOOT))


def an_order_of_cpus():
    return set_if(exists(C, before(BOOT, C)))


def two_cpus_that_do_not_act():
    hit = percpu("hit")
    system = one_step([hit], effects=[put(hit, X, 1, bound=(X,))])
    hits = (or_(eq(c, BOOT), not_(rd(hit, c))) for c in (C, D))
    wrong = always(forall(C, forall(D, or_(eq(C, D), *hits))))
    return system, wrong, never(("hit", (I,), {1}), ("hit", (J,), {1}))


def a_write_through_the_pointers_of_all():
    to, hit = percpu("to", CPU_OR_NONE, None, constant=True), percpu("hit")
    system = one_step([to, hit], effects=[put(hit, rd(to, X), 1, bound=(X,))])
    wrong = always(forall(C, or_(eq(C, BOOT), not_(rd(hit, C)))))
    return system, wrong, never(("hit", (I,), {1}))


def the_first_that_does_not_fit():
    """Somebody fits; but only the first is looked at."""
    fits = percpu("fits", initial=None, constant=True)
    somebody = exists(C, rd(fits, C))
    code = Code("task", "start end")
    code.step("start", "end", rd(fits, C), choices=[Choice(C, order=Order.FIRST)])
    return build("first", [code], [fits], [somebody]), DEADLOCK_FREE, Invariant(())


def a_second_part_of_the_claim():
    one, two = shared("one"), shared("two")
    system = one_step([one, two], effects=[put(two, 1)])
    wrong = always(and_(not_(rd(one)), not_(rd(two))))
    return system, wrong, never(("one", (), {1}))


def a_second_part_of_the_claim_about_each_cpu():
    one, two = percpu("one"), percpu("two")
    system = one_step([one, two], effects=[put(two, X, 1, bound=(X,))])
    neither = (or_(eq(C, BOOT), not_(rd(v, C))) for v in (one, two))
    return system, always(forall(C, and_(*neither))), never(("one", (I,), {1}))


def a_sum_that_stops_at_its_end():
    sort = RangeSort(0, 3)
    level = shared("level", sort, 3)
    more = arithmetic(Op.ADD, rd(level), Const(1, sort), sort)
    code = Code("task", "start end").step("start", "end", effects=[put(level, more)])
    system = build("stops", [code], [level])
    wrong = always(not_(and_(code.at("end"), eq(rd(level), Const(3, sort)))))
    before = never(("task.at", (), {0}), ("level", (), {0, 1, 2})).clauses
    after = never(("task.at", (), {1}), ("level", (), {3})).clauses
    return system, wrong, Invariant((*before, *after))


def a_pointer_read_through_none():
    to = shared("to", CPU_OR_NONE, NOBODY, constant=True)
    friend = percpu("friend", CPU, BOOT, constant=True)
    found = shared("found", CPU_OR_NONE, BOOT)
    system = one_step([to, friend, found], effects=[put(found, rd(friend, rd(to)))])
    wrong = always(not_(eq(rd(found), NOBODY)))
    return system, wrong, never(("found", (), {Symbol.NONE}))


WRONG = [
    an_actor_that_is_set,
    the_control_cpu_as_actor,
    a_write_to_all,
    a_third_cpu_that_decides_a_guard,
    a_guard_over_all_cpus,
    a_write_through_a_pointer,
    a_machine_with_the_control_cpu_only,
    a_machine_with_many_cpus,
    another_process,
    an_assumption_that_does_not_last,
    a_control_cpu_that_decides_a_guard,
    an_environment_that_may_stop,
    a_choice_that_can_be_anybody,
    a_counter_that_misses_a_cpu,
    a_counter_read_through_none,
    a_number_of_one_mask_or_another,
    a_number_of_cpus_that_is_assigned,
    a_sum_that_is_assigned_beyond_an_end,
    a_counter_that_misses_many_cpus,
    a_counter_that_misses_a_cpu_without_a_seat,
    a_counter_that_misses_one_cpu_twice,
    a_counter_that_is_far_from_its_mask,
    nothing_is_known,
    a_system_that_stops,
    an_end_that_is_bad,
    more_cpus_than_seats,
    pointers_to_more_cpus_than_seats,
    reads_of_more_cpus_than_seats,
    values_that_more_cpus_than_seats_decide,
    pairs_of_more_cpus_than_seats,
    a_claim_about_more_cpus_than_seats,
    a_clause_about_more_cpus_than_seats,
    an_order_of_cpus,
    two_cpus_that_do_not_act,
    a_write_through_the_pointers_of_all,
    the_first_that_does_not_fit,
    a_second_part_of_the_claim,
    a_second_part_of_the_claim_about_each_cpu,
    a_sum_that_stops_at_its_end,
    a_pointer_read_through_none,
]
