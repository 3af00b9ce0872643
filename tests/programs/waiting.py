"""Statements of processes that wait for each other: locks, completions, SRCU."""

from __future__ import annotations

from reading_orders import Use
from second_reading import Do, Statement, changed

from programs.statements import TOLD, atomic, decided, put
from programs.writer import KINDS, Kind, Value, both

UNLOCK = Do(lambda s: [s | {"m": False}], use=Use("drops", "m"))


def between(before, nodes, inner, after, *last):
    text = f"{before} {inner.text} {after}"
    return Statement(text, (*nodes, *inner.nodes, *last))


def reads(name):
    def step(state):
        readers, queued, written = state[name]
        if queued or written:
            return []
        return [state | {name: (readers + 1, queued, written)}]

    return Do(step, use=Use("takes", name, shared=True))


def queues(name):
    return put(name, lambda s: (s[name][0], s[name][1] + 1, s[name][2]))


def writes(name):
    def step(state):
        readers, queued, written = state[name]
        if readers or written:
            return []
        return [state | {name: (0, max(0, queued - 1), True)}]

    return Do(step, use=Use("takes", name))


def leaves(name, part):
    """The lock without one reader, or without the writer that has it."""

    def left(state):
        readers, queued, written = state[name]
        return (readers, queued, False) if part else (readers - 1, queued, written)

    return Do(lambda s: [s | {name: left(s)}], use=Use("drops", name, shared=not part))


def waiting(w, depth):
    kind = w.random.random()
    if kind < 0.2:
        return Statement("complete(done);", (put("done", lambda s: True),))
    if kind < 0.4:
        taken = Do(lambda s: [s | {"done": False}] if s["done"] else [], w.outermost)
        return Statement("wait_for_completion(done);", (taken,))
    if kind < 0.45:
        again = put("done", lambda s: False)
        return Statement("reinit_completion(done);", (again,))
    return until(w.test(1), w.outermost)


def until(test, rests=False):
    node = Do(lambda s: [s] if test(s) else [], rests)
    return Statement(f"wait ({test.text});", (node,))


def waits_in_one_step(w, depth):
    """The whole block waits."""
    loops, w.loops = w.loops, False
    inner = both(until(w.test(1), w.outermost), w.block(0))
    w.loops = loops
    return atomic(inner)


def inside(w, depth, lock):
    """What is done with a lock: nothing leads out of it, and who reads does not nest."""
    outer = w.sealed, w.looped, w.reading
    w.sealed, w.looped, w.reading = True, 0, w.reading | {lock}
    inner = w.block(depth - 1)
    w.sealed, w.looped, w.reading = outer
    return inner


def locked(w, depth):
    kind = w.random.random()
    if kind < 0.5:
        inner = inside(w, depth, "m")
    if kind < 0.4:
        lock = Do(lambda s: [] if s["m"] else [s | {"m": True}], use=Use("takes", "m"))
        return between("mutex_lock(m);", (lock,), inner, "mutex_unlock(m);", UNLOCK)
    if kind < 0.5:
        return tried(w, inner)
    name, read, written = w.pick(
        ("rw", ("down_read", "up_read"), ("down_write", "up_write")),
        ("rl", ("read_lock", "read_unlock"), ("write_lock", "write_unlock")),
    )
    if name in w.reading:
        return w.statement(depth - 1)
    inner = inside(w, depth, name)
    if kind < 0.8:
        (lock, unlock), nodes, last = read, (reads(name),), leaves(name, 0)
    else:
        (lock, unlock), last = written, leaves(name, 2)
        # A writer that waits holds readers off where the lock is fair.
        nodes = (queues(name), writes(name)) if name == "rw" else (writes(name),)
    return between(f"{lock}({name});", nodes, inner, f"{unlock}({name});", last)


def tried(w, inner):
    name = w.fresh()
    got = Use("tries", "m")

    def attempt(s):
        after = s | {name: not s["m"], "m": True}
        return [after if s["m"] else got.booked(s, after)]

    asked = Do(attempt)
    text = f"bool {name} = mutex_trylock(m);"
    then = Statement(f"{inner.text} mutex_unlock(m);", (*inner.nodes, UNLOCK))
    then = decided(Value(name, lambda s: s[name]), then)
    return both(Statement(text, (asked,)), then)


def masked(w, depth):
    """Interrupts are off on the CPU of the process; a task counts as on `boot`."""
    inner = w.block(depth - 1)

    def switch(off):
        here = "irqs_off"
        return Do(lambda s: [s | {here: changed(s[here], s.get("cpu", 0), off)}])

    text = f"local_irq_disable(); {inner.text} local_irq_enable();"
    return Statement(text, (switch(True), *inner.nodes, switch(False)))


# -- SRCU: who reads is known by `me`; `periods` are pairs of who waits for whom ----------


def read_side(w, depth):
    if "domain" in w.reading:
        return w.statement(depth - 1)
    return reading(inside(w, depth, "domain"))


def reading(inner):
    def enters(s):
        return [s | {"readers": s["readers"] | {s["me"]}}]

    entered = Do(enters, use=Use("tries", "domain", shared=True))

    def gone(s):
        left = frozenset(p for p in s["periods"] if p[1] != s["me"])
        return [s | {"readers": s["readers"] - {s["me"]}, "periods": left}]

    before, after = "srcu_read_lock(domain);", "srcu_read_unlock(domain);"
    left = Do(gone, use=Use("drops", "domain", shared=True))
    return between(before, (entered,), inner, after, left)


def grace_period(w, depth):
    """A snapshot of the readers of now; then each of those has to leave."""
    if "domain" in w.reading:
        return w.statement(depth - 1)

    def snapshot(s):
        return s["periods"] | {(s["me"], reader) for reader in s["readers"]}

    def waits(s):
        return [] if any(p[0] == s["me"] for p in s["periods"]) else [s]

    over = Do(waits, use=Use("waits", "domain"))
    text = "synchronize_srcu(domain);"
    return Statement(text, (put("periods", snapshot), over))


def published(w, depth):
    return around(grace_period(w, depth))


def around(grace):
    """What readers may still believe is changed when they have left."""
    before = Statement("y = true;", (put("y", lambda s: True),))
    after = Statement("c = 1;", (put("c", lambda s: 1),))
    return both(before, grace, after)


def believed(w, depth):
    if "domain" in w.reading:
        return w.statement(depth - 1)
    return reading(while_unchanged(inside(w, depth, "domain")))


def while_unchanged(inner):
    """Who reads and sees nothing of the change yet must see nothing of what follows."""
    told = decided(Value("c == 1", lambda s: s["c"] == 1), TOLD)
    return decided(Value("!y", lambda s: not s["y"]), both(inner, told))


KINDS += [
    Kind(0.05, waiting, needs="waits"),
    Kind(0.02, waits_in_one_step, needs="waits"),
    Kind(0.05, locked, needs="waits", deep=True),
    Kind(0.06, masked, needs="masks", deep=True),
    Kind(0.1, read_side, needs="srcu", deep=True),
    Kind(0.05, grace_period, needs="srcu", deep=True),
    Kind(0.1, published, needs="srcu", deep=True),
    Kind(0.15, believed, needs="srcu", deep=True),
]
