"""Safe systems with their proofs, and certificates that are wrong."""

import time

from builders import (
    BOOT,
    DEADLOCK_FREE,
    ME,
    NOBODY,
    TRUE,
    Code,
    Param,
    Quantified,
    Quantifier,
    always,
    and_,
    arithmetic,
    build,
    critical_section,
    eq,
    exists,
    finally_,
    forall,
    implies,
    not_,
    or_,
    parallel_shutdown,
    percpu,
    put,
    rd,
    shared,
)

from cpuhp.engines.certificate import (
    FORMS,
    Unsupported,
    check,
    scripts,
)
from cpuhp.engines.parametric import prove
from cpuhp.model.expr import Const, Op
from cpuhp.model.invariant import FAR, NEAR, Clause, Invariant, Literal, Symbol
from cpuhp.model.sorts import CPU, CPU_OR_NONE, CounterSort
from cpuhp.model.system import Choice, Runs

B, C, D, X, OTHER = (Symbol.BOOT, *(Param(n, CPU) for n in "cdx"), Symbol.OTHER)
I, J = Symbol.I, Symbol.J


def election(among_survivors=True):
    """Who leaves hands its duty over, among those that are not marked as leaving."""
    dying, online = percpu("dying"), percpu("online", initial=1)
    owner = shared("owner", CPU_OR_NONE, BOOT)
    control = Code("control", "mark kick done")
    control.step("mark", "mark", effects=[put(owner, C)], choices=[Choice(C)])
    marked = [put(dying, X, not_(eq(X, BOOT)), bound=(X,))]
    control.step("mark", "kick", effects=marked)
    ap = Code("ap", "up chosen dead", Runs.EVERY_AP)
    go, mine = control.at("kick"), eq(rd(owner), ME)
    fit = and_(rd(online, C), not_(eq(C, ME)))
    if among_survivors:
        fit = and_(fit, not_(rd(dying, C)))
    ap.step("up", "chosen", and_(go, mine), [put(owner, C)], [Choice(C, fit)])
    ap.step("up", "chosen", and_(go, not_(mine)))
    ap.step("chosen", "dead", effects=[put(online, ME, 0)])
    alive = forall(C, implies(eq(rd(owner), C), rd(online, C)))
    return build("election", [control, ap], [dying, online, owner]), always(alive)


def barrier(guarded=True):
    ap = Code("ap", "work parked", Runs.EVERY_AP)
    control = Code("control", "wait after")
    ap.step("work", "parked")
    parked = forall(C, or_(eq(C, BOOT), ap.at("parked", C)))
    control.step("wait", "after", parked if guarded else TRUE)
    everyone = forall(D, or_(eq(D, BOOT), ap.at("parked", D)))
    system = build("barrier", [control, ap])
    return system, always(implies(control.at("after"), everyone))


def countdown():
    """The control task goes on when a counter says that nobody runs."""
    running = percpu("running", initial=lambda c: not_(eq(c, BOOT)))
    sort = CounterSort("running")
    everyone = Quantified(Quantifier.COUNT, X, rd(running, X))
    left = shared("left", sort, everyone)
    ap, control = Code("ap", "run off", Runs.EVERY_AP), Code("control", "wait after")
    less = arithmetic(Op.SUB, rd(left), Const(1, sort), sort)
    ap.step("run", "off", effects=[put(left, less), put(running, ME, 0)])
    control.step("wait", "after", eq(rd(left), Const(0, sort)))
    nobody = forall(C, not_(rd(running, C)))
    claim = always(implies(control.at("after"), nobody))
    return build("countdown", [control, ap], [running, left]), claim


def targets():
    dst = percpu("dst", CPU_OR_NONE, NOBODY)
    ap = Code("ap", "start end", Runs.EVERY_AP)
    ap.step(
        "start", "end", effects=[put(dst, ME, C)], choices=[Choice(C, not_(eq(C, ME)))]
    )
    return build("targets", [ap], [dst]), always(forall(D, not_(eq(rd(dst, D), D))))


def locked():
    system, alone = critical_section()
    return system, always(alone)


def shutdown(which):
    system, props = parallel_shutdown(3)
    return system, props[which]


SAFE = {
    "mutual exclusion": locked,
    "lock without deadlock": lambda: (critical_section()[0], DEADLOCK_FREE),
    "barrier": barrier,
    "election": election,
    "counter": countdown,
    "per-CPU pointers": targets,
    "three phases": lambda: shutdown(0),
    "three phases without deadlock": lambda: shutdown(2),
}


def proof_of(system, prop, seconds=20):
    return prove(system, prop, deadline=time.monotonic() + seconds).invariant


def outcomes(system, prop, invariant, solvers=("z3",), forms=FORMS, seconds=5):
    for form in forms:
        try:
            made = scripts(system, prop, invariant, form)
        except Unsupported:
            continue
        for solver in solvers:
            yield check(made, form, solver, seconds)


def accepted(system, prop, invariant, **more):
    return [
        outcome.is_accepted for outcome in outcomes(system, prop, invariant, **more)
    ]


# --- certificates that are wrong, each for a reason of its own


def one_step(variables, guard=TRUE, effects=(), choices=(), runs=Runs.ONCE):
    code = Code("task", "start end", runs)
    code.step("start", "end", guard, effects, choices)
    return build("one_step", [code], variables)


def never(*literals):
    parts = [
        Literal(name, where, frozenset(values)) for name, where, values in literals
    ]
    return Invariant((Clause(tuple(parts)),))


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
    flag, late = shared("flag"), percpu("late", initial=None, constant=True)
    guard = exists(C, rd(late, C))
    system = one_step([flag, late], guard, [put(flag, 1)])
    return system, always(not_(rd(flag))), never(("flag", (), {1}))


def a_guard_over_all_cpus():
    flag, late = shared("flag"), percpu("late", initial=None, constant=True)
    system = one_step([flag, late], forall(C, rd(late, C)), [put(flag, 1)])
    return system, always(not_(rd(flag))), never(("flag", (), {1}))


def a_write_through_a_pointer():
    to, hit = shared("to", CPU_OR_NONE, None, constant=True), percpu("hit")
    system = one_step([to, hit], effects=[put(hit, rd(to), 1)])
    wrong = always(forall(C, or_(eq(C, BOOT), not_(rd(hit, C)))))
    return system, wrong, never(("hit", (I,), {1}))


def a_machine_with_the_control_cpu_only():
    flag = shared("flag")
    system = one_step([flag], forall(C, eq(C, BOOT)), [put(flag, 1)])
    return system, always(not_(rd(flag))), never(("flag", (), {1}))


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
    flag, names = shared("flag"), [Param(f"n{n}", CPU) for n in range(4)]
    apart = and_(*(not_(eq(a, b)) for a in names for b in names if a.name < b.name))
    guard = apart
    for name in names:
        guard = exists(name, guard)
    system = one_step([flag], guard, [put(flag, 1)])
    return system, always(not_(rd(flag))), never(("flag", (), {1}))


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
    nothing_is_known,
    a_system_that_stops,
    an_end_that_is_bad,
]
