"""Locks that each CPU has one of. What names one may change before it is let go.

A lock is the set of who reads it, the set of who queues to write it, and whether one has
it; who it is, is known by `me`.
"""

from __future__ import annotations

from reading_orders import Use
from second_reading import NONE, Do, NestedError, Statement, changed, looked_up

from programs.statements import TOLD, atomic, decided, put, stored, through
from programs.waiting import between, inside, locked
from programs.words import UNLOCKED
from programs.writer import KINDS, Kind, Value, both, with_cpu

PAIRS = {
    "own_m": (("mutex_lock", "mutex_unlock"),) * 2,
    "own_rw": (("down_read", "up_read"), ("down_write", "up_write")),
    "own_rl": (("read_lock", "read_unlock"), ("write_lock", "write_unlock")),
}
IN = Statement("y = true;", (put("y", lambda s: True),))
OUT = Statement("y = false;", (put("y", lambda s: False),))
MET = both(  # somebody notices whether another one is in here, too
    atomic(both(decided(Value("y", lambda s: s["y"]), TOLD), IN)), OUT
)


def _step(name, cpu, after, does=None, shared=False):
    """A step that makes the lock what `after` says of it and of who runs, or waits."""

    def step(s):
        lock = after(looked_up(s[name], cpu(s), UNLOCKED), s["me"])
        return [] if lock is None else [s | {name: changed(s[name], cpu(s), lock)}]

    return Do(step, use=does and Use(does, name, cpu, shared))


def _read(lock, me):
    readers, queued, written = lock
    if queued or written:
        return None
    if me in readers:
        raise NestedError
    return readers | {me}, queued, written


def _unread(lock, me):
    return lock[0] - {me}, *lock[1:]


def _queue(lock, me):
    return lock[0], lock[1] | {me}, lock[2]


def _write(lock, me):
    readers, queued, written = lock
    return None if readers or written else (readers, queued - {me}, True)


def _unwrite(lock, me):
    return *lock[:2], False


def own_lock(w, depth):
    if "waits" in w.needs and w.chance(0.3):
        return locked(w, depth)
    name, writes = w.pick(*PAIRS), w.chance(0.5)
    writes = writes or name == "own_m" or name in w.reading
    cpu, (taken, dropped) = w.cpu(w.pick(0, 0, 1)), PAIRS[name][writes]
    inner = held_around(w, depth, name, cpu, writes)
    if name == "own_m" and w.chance(0.3):
        return tried(w, name, cpu, inner)
    if not writes:
        nodes = (_step(name, cpu, _read, "takes", shared=True),)
    else:
        # A writer that waits holds readers off where the lock is fair.
        first = (_step(name, cpu, _queue),) if name == "own_rw" else ()
        nodes = (*first, _step(name, cpu, _write, "takes"))
    call = f"{taken}({name}[{cpu.text}]);"
    kind = w.random.random()
    if kind > 0.95:
        return between(call, nodes, inner, "")
    then = w.cpu(0) if kind < 0.1 else cpu
    undone = _unwrite if writes else _unread
    last = _step(name, then, undone, "drops", shared=not writes)
    return between(call, nodes, inner, f"{dropped}({name}[{then.text}]);", last)


def held_around(w, depth, name, cpu, writes):
    """What is done with the lock; perhaps what names it is another one then."""
    inner = MET if w.chance(0.3) else inside(w, depth, None if writes else name)
    if w.chance(0.6):
        return inner
    value = Value("none", lambda s: NONE) if w.chance(0.2) else w.cpu(0)
    if cpu.text in ("to", "from", *pointers(w)):
        then = stored(w, cpu.text, value)
    elif cpu.text.startswith("via["):
        then = through(w, "via", value)
    else:
        return inner
    return both(inner, then)


def tried(w, name, cpu, inner):
    flag = w.fresh()

    got = Use("tries", name, cpu)

    def step(s):
        written = looked_up(s[name], cpu(s), UNLOCKED)[2]
        taken = (frozenset(), frozenset(), True)
        after = s | {name: changed(s[name], cpu(s), taken), flag: not written}
        return [after if written else got.booked(s, after)]

    asked = Statement(f"bool {flag} = mutex_trylock({name}[{cpu.text}]);", (Do(step),))
    last = (_step(name, cpu, _unwrite, "drops"),)
    text = f"{inner.text} mutex_unlock({name}[{cpu.text}]);"
    then = Statement(text, (*inner.nodes, *last))
    return both(asked, decided(Value(flag, lambda s: s[flag]), then))


def pointers(w):
    """Local variables that hold a CPU, or none."""
    return [name for name in w.scope.cpus if name in w.pointers]


def local_cpu(w, depth):
    if pointers(w) and w.chance(0.4):
        name, value = w.pick(*pointers(w)), w.cpu(1)
        return stored(w, name, value)
    name, value = w.fresh(), w.cpu(1)
    w.scope, w.pointers = with_cpu(w.scope, name), w.pointers | {name}
    made = Do(lambda s: [s | {name: value(s)}])
    return Statement(f"cpu? {name} = {value.text};", (made,))


def pointed(w, depth):
    """What may name somebody's lock is another CPU then, or none."""
    name, value = w.pick("to", "from"), w.cpu(1)
    if w.chance(0.2):
        value = Value("none", lambda s: NONE)
    return stored(w, name, value) if w.chance(0.7) else through(w, "via", value)


KINDS += [
    Kind(1.2, own_lock, needs="locks", deep=True),
    Kind(0.1, local_cpu, needs="locks"),
    Kind(0.2, pointed, needs="locks"),
]
