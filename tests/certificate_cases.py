"""Safe systems with their proofs, and certificates that are wrong."""

from builders import (
    BOOT,
    DEADLOCK_FREE,
    ME,
    NOBODY,
    Code,
    always,
    build,
    critical_section,
    parallel_shutdown,
    percpu,
    put,
    rd,
    shared,
)

from cpuhp.engines.certificate import (
    FORMS,
    Obligation,
    Unsupported,
    check,
    scripts,
)
from cpuhp.engines.clock import now
from cpuhp.engines.parametric import prove
from cpuhp.model.expr import (
    TRUE,
    Const,
    Op,
    Param,
    Quantified,
    Quantifier,
    and_,
    arithmetic,
    eq,
    forall,
    implies,
    not_,
    or_,
)
from cpuhp.model.sorts import CPU, CPU_OR_NONE, CounterSort
from cpuhp.model.system import Choice, Runs

C, D, X = (Param(n, CPU) for n in "cdx")


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
    return prove(system, prop, deadline=now() + seconds).invariant


def outcomes(system, prop, invariant, solvers=("z3",), forms=FORMS, seconds=5):
    for form in forms:
        try:
            made = scripts([Obligation(system, prop, invariant)], form)
        except Unsupported:
            continue
        for solver in solvers:
            yield check(made, form, solver, seconds)


def accepted(system, prop, invariant, **more):
    return [
        outcome.is_accepted for outcome in outcomes(system, prop, invariant, **more)
    ]
