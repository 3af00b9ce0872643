"""Regions of a CPU: preemption off, RCU and SRCU of each CPU, spinlocks that mask interrupts.

`rcu` and each `own_s` are who reads, and pairs of who waits for whom; see waiting.py.
"""

from __future__ import annotations

from reading_orders import Use
from second_reading import (
    Assert,
    Atomic,
    Branch,
    Do,
    Statement,
    changed,
    held,
    looked_up,
    without,
)

from programs.statements import TOLD, decided
from programs.waiting import around, between, inside, until, while_unchanged
from programs.writer import KINDS, Kind, Value, both

REGIONS = """use preempt, rcu_readers;
percpu srcu_struct own_s; spinlock s; percpu raw_spinlock own_sp; percpu completion ready;
"""
NOBODY = (frozenset(), frozenset())


def first_regions(cpus):
    """The values that all these begin with."""
    nobody = (False,) * cpus
    return {
        **{"preempt_count": (0,) * cpus, "rcu": NOBODY, "own_s": (NOBODY,) * cpus},
        **{"s": False, "own_sp": nobody, "ready": nobody},
    }


def mine(state):
    return state.get("cpu", 0)  # a task counts as on `boot`


def on_mine(name, new):
    """The step that gives the variable of the CPU that runs another value."""

    def step(s):
        value = new(s[name][mine(s)])
        return [s | {name: changed(s[name], mine(s), value)}]

    return step


def counted(by):
    return Do(on_mine("preempt_count", lambda depth: held(depth + by, 3)))


def not_preempted(w, depth):
    """It may nest, and the end of a region may be left out."""
    inner, nodes = w.block(depth - 1), (counted(1),)
    if w.chance(0.1):
        return between("preempt_disable();", nodes, inner, "")
    after = "preempt_enable();"
    return between("preempt_disable();", nodes, inner, after, counted(-1))


def preemptible(w):
    cpu = w.cpu(w.pick(0, 1))
    return Value(
        f"preemptible({cpu.text})",
        lambda s: looked_up(s["preempt_count"], cpu(s), 0) == 0,
    )


def rendezvous(w, depth):
    """It begins where the CPU can be preempted; or somebody looks whether it can."""
    test = preemptible(w)
    if w.chance(0.2):
        name, among = w.fresh(), w.pick("cpus", "aps")
        first = among == "aps"
        test = Value(
            f"all({name} in {among} : preemptible({name}))",
            lambda s: not any(s["preempt_count"][first:]),
        )
    if "waits" not in w.needs or w.chance(0.4):
        return decided(test, TOLD)
    return both(until(test, w.outermost), TOLD if w.chance(0.4) else w.block(0))


# -- RCU, and SRCU of each CPU -------------------------------------------------------


BOOT = Value("boot", lambda s: 0)


def domain(w, cpu=None):
    """Calls, the name of the domain, and the index if it has one: this CPU, or any."""
    if w.chance(0.4):
        return "rcu_read_lock()", "rcu_read_unlock()", "synchronize_rcu()", "rcu", None
    cpu = cpu or w.cpu(w.pick(0, 0, 1))
    of = f"(own_s[{cpu.text}])"
    calls = f"srcu_read_lock{of}", f"srcu_read_unlock{of}", f"synchronize_srcu{of}"
    return (*calls, "own_s", cpu)


def _readers(name, cpu, s):
    return s[name] if cpu is None else looked_up(s[name], cpu(s), NOBODY)


def _stored(name, cpu, s, domain):
    return s | {name: domain if cpu is None else changed(s[name], cpu(s), domain)}


def entering(name, cpu):
    """In one step. Who reads it already under another name stops there."""

    def enters(s):
        readers, periods = _readers(name, cpu, s)
        return [_stored(name, cpu, s, (readers | {s["me"]}, periods))]

    def is_new(s):
        return s["me"] not in _readers(name, cpu, s)[0]

    entered = Do(enters, use=Use("tries", name, cpu, shared=True))
    return entered if cpu is None else Atomic((Assert(is_new, False), entered))


def leaving(name, cpu):
    def gone(s):
        readers, periods = _readers(name, cpu, s)
        left = frozenset(p for p in periods if p[1] != s["me"])
        return [_stored(name, cpu, s, (readers - {s["me"]}, left))]

    return Do(gone, use=Use("drops", name, cpu, shared=True))


def waiting_for(name, cpu):
    """A snapshot of the readers of now; then each of those has to leave."""

    def snapshot(s):
        readers, periods = _readers(name, cpu, s)
        others = frozenset(p for p in periods if p[0] != s["me"])
        of_now = {(s["me"], reader) for reader in readers}
        return [_stored(name, cpu, s, (readers, others | of_now))]

    def waits(s):
        periods = _readers(name, cpu, s)[1]
        return [] if any(p[0] == s["me"] for p in periods) else [s]

    return Do(snapshot), Do(waits, use=Use("waits", name, cpu))


def read_side(w, depth):
    taken, dropped, _, name, cpu = domain(w)
    if name in w.reading and (cpu is None or w.chance(0.8)):
        return w.statement(depth - 1)
    inner = inside(w, depth, name)
    return between(
        f"{taken};", (entering(name, cpu),), inner, f"{dropped};", leaving(name, cpu)
    )


def grace_period(w, depth, whose=None):
    *_, call, name, cpu = domain(w, whose)
    if name in w.reading and w.chance(0.7):
        return w.statement(depth - 1)
    return Statement(f"{call};", waiting_for(name, cpu))


def published(w, depth):
    return around(grace_period(w, depth, BOOT))


def believed(w, depth):
    taken, dropped, _, name, cpu = domain(w, BOOT)
    if name in w.reading:
        return w.statement(depth - 1)
    inner = while_unchanged(inside(w, depth, name))
    return between(
        f"{taken};", (entering(name, cpu),), inner, f"{dropped};", leaving(name, cpu)
    )


# -- spinlocks -----------------------------------------------------------------------


def spinning(w, depth):
    name, word = w.pick(("s", "spin"), ("own_sp", "raw_spin"))
    cpu = w.cpu(0) if name == "own_sp" else None
    lock = f"{name}[{cpu.text}]" if cpu else name
    inner = inside(w, depth, None)
    if w.chance(0.25):
        return spin_tried(w, name, cpu, f"{word}_trylock({lock})", inner,
                          f"{word}_unlock({lock});")  # fmt: skip
    takes, drops = w.pick(("", ""), ("_irq", "_irq"), ("_irqsave", "_irqrestore"))
    if w.chance(0.1):
        drops = ""  # interrupts stay off
    nodes = (_spin(name, cpu, True, bool(takes)),)
    last = _spin(name, cpu, False, bool(drops))
    before, after = f"{word}_lock{takes}({lock});", f"{word}_unlock{drops}({lock});"
    return between(before, nodes, inner, after, last)


def _is_taken(name, cpu, s):
    return s[name] if cpu is None else looked_up(s[name], cpu(s), False)


def _held(name, cpu, s, taken):
    return s | {name: taken if cpu is None else changed(s[name], cpu(s), taken)}


def _spin(name, cpu, taken, masks):
    def step(s):
        if taken and _is_taken(name, cpu, s):
            return []
        after = _held(name, cpu, s, taken)
        if masks:
            (after,) = on_mine("irqs_off", lambda _: taken)(after)
        return [after]

    return Do(step, use=Use("takes" if taken else "drops", name, cpu))


def spin_tried(w, name, cpu, call, inner, unlock):
    """`if (spin_trylock(l)) { ... }`: to try is a step, and to decide another one."""
    flag = w.fresh()
    got = Use("tries", name, cpu)

    def attempt(s):
        taken = _is_taken(name, cpu, s)
        after = _held(name, cpu, s, True) | {flag: not taken}
        return [after if taken else got.booked(s, after)]

    then = Statement(
        f"{inner.text} {unlock}", (*inner.nodes, _spin(name, cpu, False, False))
    )
    decides = Branch(lambda s: [then.nodes if s[flag] else ()])
    return Statement(f"if ({call}) {{ {then.text} }}", (Do(attempt), decides))


# -- what each CPU has one of --------------------------------------------------------


def own_completion(w, depth):
    cpu, kind = w.cpu(0), w.random.random()

    def stored(s, value):
        return s | {"ready": changed(s["ready"], cpu(s), value)}

    if kind < 0.5:
        done = Do(lambda s: [stored(s, True)])
        return Statement(f"complete(ready[{cpu.text}]);", (done,))
    if kind < 0.6:
        again = Do(lambda s: [stored(s, False)])
        return Statement(f"reinit_completion(ready[{cpu.text}]);", (again,))

    def taken(s):
        return [stored(s, False)] if looked_up(s["ready"], cpu(s), False) else []

    text = f"wait_for_completion(ready[{cpu.text}]);"
    return Statement(text, (Do(taken, w.outermost),))


def own_number(w, depth):
    """One more or one less, in one step or, as `++`, in two."""
    cpu, more = w.cpu(0), w.pick(1, -1)
    place = f"num[{cpu.text}]"

    def after(s):
        return held(looked_up(s["num"], cpu(s), 0) + more, 2)

    def stored(s, value):
        return s | {"num": changed(s["num"], cpu(s), value)}

    if w.chance(0.3):
        read = Do(lambda s: [s | {"register": after(s)}])

        def then(s):
            return [stored(without(s, "register"), s["register"])]

        return Statement(f"{place}{'++' if more > 0 else '--'};", (read, Do(then)))
    word = "inc" if more > 0 else "dec"
    return Statement(f"atomic_{word}({place});", (Do(lambda s: [stored(s, after(s))]),))


KINDS += [
    Kind(0.2, not_preempted, needs="preempt", deep=True),
    Kind(0.2, rendezvous, needs="preempt"),
    Kind(0.25, read_side, needs="domains", deep=True),
    Kind(0.15, grace_period, needs="domains", deep=True),
    Kind(0.4, published, needs="domains", deep=True),
    Kind(0.6, believed, needs="domains", deep=True),
    Kind(0.25, spinning, needs="spins", deep=True),
    Kind(0.12, own_completion, needs="spins"),
    Kind(0.12, own_number, needs="spins"),
]
