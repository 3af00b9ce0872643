"""Random programs in the language, each with its second reading."""

from __future__ import annotations

import random
from itertools import product
from operator import eq, gt, le, lt, ne

from second_reading import (
    NONE,
    Branch,
    Do,
    For,
    Statement,
    Value,
    While,
    changed,
    held,
    in_order,
    looked_up,
    run,
)

HOLDS = {"==": eq, "!=": ne, "<": lt, "<=": le, ">": gt}
NUMBERS = {"a": 2, "b": 4, "c": 1}  # name -> largest value
OFTEN = ["b", "b", "b"]  # the one that does not fit the others is taken more often
FREE = (0, 0, False)  # of a lock: readers, writers that queue, whether one has it
PHASES = ("RED", "AMBER", "GREEN")
DECLARATIONS = """
enum phase {{ RED, AMBER, GREEN }}; percpu phase lamp = AMBER; shared phase light = AMBER;
shared int 0..2 a{any}; shared int 0..4 b = any; shared int 0..1 c;
shared bool x = any; shared bool y; shared bool seen; shared cpu? to = any; shared cpu? from;
percpu bool hit{any}; percpu int 0..2 num; percpu cpu? via; mutex m;
percpu bool on = true; percpu int 1..3 level = 2; percpu cpu mate = cpu;
percpu bool irqs_off; completion done; rwsem rw; rwlock rl;
int 0..4 same(int 0..2 p) {{ return p; }}
int 0..2 few(int 0..4 p) {{ return p; }}
bool swap(int 0..2 p) {{ c = p; x = !x; return p == c; }}
"""


def declarations(free: bool) -> str:
    return DECLARATIONS.format(any=" = any" if free else "")


def first_states(cpus: int, free: bool, ordered: bool):
    """All states that a run can begin in.

    With `free` more variables can be anything; where ids are `ordered` for the program,
    the control CPU has every place among them.
    """
    places = range(cpus) if ordered else (0,)
    hits = product((False, True), repeat=cpus) if free else [(False,) * cpus]
    some = [*range(cpus), NONE]
    for a, b, x, to, hit, place in product(
        range(3 if free else 1), range(5), (False, True), some, hits, places
    ):
        yield {
            "cpus": cpus, "place": place, "a": a, "b": b, "c": 0, "x": x, "y": False,
            "seen": False, "to": to, "from": NONE, "hit": hit, "num": (0,) * cpus,
            "via": (NONE,) * cpus, "m": False, "irqs_off": (False,) * cpus,
            "on": (True,) * cpus, "level": (2,) * cpus, "mate": tuple(range(cpus)),
            "lamp": (1,) * cpus, "light": 1, "done": False, "rw": FREE, "rl": FREE,
        }  # fmt: skip


def put(name, value, kept=lambda value: value):
    return Do(lambda s: [s | {name: kept(value(s))}])


def both(*statements):
    nodes = tuple(node for one in statements for node in one.nodes)
    return Statement(" ".join(one.text for one in statements), nodes)


def atomic(statement):
    nodes = statement.nodes
    done = Do(lambda s: run(nodes, s))
    return Statement(f"atomic {{ {statement.text} }}", (done,))


def decided(test, then, other=None):
    text = f"if ({test.text}) {{ {then.text} }}"
    if other is not None:
        text += f" else {{ {other.text} }}"
    no = other.nodes if other is not None else ()
    return Statement(text, (Branch(lambda s: [then.nodes if test(s) else no]),))


UNLOCK = put("m", lambda s: False)


def between(before, nodes, inner, after, last):
    text = f"{before} {inner.text} {after}"
    return Statement(text, (*nodes, *inner.nodes, last))


def reads(name):
    def step(state):
        readers, queued, written = state[name]
        if queued or written:
            return []
        return [state | {name: (readers + 1, queued, written)}]

    return Do(step)


def queues(name):
    return put(name, lambda s: (s[name][0], s[name][1] + 1, s[name][2]))


def writes(name):
    def step(state):
        readers, queued, written = state[name]
        if readers or written:
            return []
        return [state | {name: (0, max(0, queued - 1), True)}]

    return Do(step)


def leaves(name, part):
    """The lock without one reader, or without the writer that has it."""

    def left(state):
        readers, queued, written = state[name]
        return (readers, queued, False) if part else (readers - 1, queued, written)

    return put(name, left)


class Writer:
    """Writes one process; `own` is the name of its CPU, if it is one of each CPU."""

    def __init__(self, seed, own=None, prefix="own", waits=False, masks=False):
        self.random = random.Random(seed)
        self.prefix, self.waits, self.masks = prefix, waits, masks
        self.locals = {}  # in view: name -> largest value
        self.named = [own] if own else []  # local variables that are CPUs
        self.made, self.loops = 0, True

    def program(self, most=3, depth=2):
        wanted = self.random.randint(1, most)
        return both(*(self.statement(depth) for _ in range(wanted)))

    def pick(self, *items):
        return self.random.choice(items)

    # -- values ----------------------------------------------------------------

    def number(self, depth=2):
        kind = self.random.random() if depth else self.random.random() * 0.6
        if kind < 0.1:
            value = self.pick(0, 1)  # no variable is too small for these
            return Value(str(value), lambda s: value)
        if kind < 0.45:
            name = self.pick(*NUMBERS, *self.locals, *OFTEN)
            return Value(name, lambda s: s[name])
        if kind < 0.55:
            return self.read(*self.pick(("num", 0), ("level", 1)), self.cpu(depth))
        if kind < 0.6:
            return Value("weight(hit)", lambda s: sum(s["hit"]))
        a, b = self.number(depth - 1), self.number(depth - 1)
        if kind < 0.7:
            return Value(f"({a.text} + {b.text})", lambda s: a(s) + b(s))
        if kind < 0.8:
            return Value(f"({a.text} - {b.text})", lambda s: a(s) - b(s))
        test = self.test(depth - 1)
        text = f"({test.text} ? {a.text} : {b.text})"
        return Value(text, lambda s: a(s) if test(s) else b(s))

    def cpu(self, depth=1):
        kind = self.random.random() if depth else self.random.random() * 0.7
        if kind < 0.2:
            return Value("boot", lambda s: 0)
        if kind < 0.7:
            name = self.pick("to", "from", *self.named, *self.named)
            return Value(name, lambda s: s[name])
        return self.read(self.pick("via", "via", "mate"), NONE, self.cpu(depth - 1))

    def read(self, name, first, cpu):
        """The value of a CPU's variable, whose type has this as the first value."""
        return Value(f"{name}[{cpu.text}]", lambda s: looked_up(s[name], cpu(s), first))

    def test(self, depth=2):
        kind = self.random.random() if depth else self.random.random() * 0.8
        if kind < 0.15:
            name = self.pick("x", "y")
            return Value(name, lambda s: s[name])
        if kind < 0.35:
            return self.read(self.pick("hit", "hit", "on"), False, self.cpu(depth))
        if kind < 0.7:
            return self.compared(self.number(depth - 1 if depth else 0))
        if kind < 0.8:
            a, b = self.cpu(depth), self.cpu(0)
            if self.random.random() < 0.4:
                return Value(f"{a.text} == none", lambda s: a(s) == NONE)
            return Value(f"{a.text} == {b.text}", lambda s: a(s) == b(s))
        if kind < 0.85:
            return Value("empty(hit)", lambda s: not any(s["hit"]))
        a, b = self.test(depth - 1), self.test(depth - 1)
        if kind < 0.9:
            return Value(f"!({a.text})", lambda s: not a(s))
        if kind < 0.95:
            return Value(f"({a.text} && {b.text})", lambda s: a(s) and b(s))
        return Value(f"({a.text} || {b.text})", lambda s: a(s) or b(s))

    def compared(self, a):
        b, op = self.number(self.pick(0, 1)), self.pick("==", "<", "<=", ">", "!=")
        return Value(f"{a.text} {op} {b.text}", lambda s: HOLDS[op](a(s), b(s)))

    # -- statements ------------------------------------------------------------

    def block(self, depth):
        outer, named = dict(self.locals), list(self.named)
        inner = [self.statement(depth) for _ in range(self.pick(1, 1, 2, 3))]
        self.locals, self.named = outer, named
        return both(*inner)

    def statement(self, depth):
        kind = self.random.random() if depth else self.random.random() * 0.65
        if kind < 0.1:
            return self.assignment()
        if kind < 0.36:
            return self.looked_at()
        if kind < 0.44:
            return self.declaration()
        if kind < 0.48:
            return self.choice()
        if kind < 0.51:
            return self.phase()
        if kind < 0.56:
            return self.forall()
        if kind < 0.6:
            return self.call()
        if kind < 0.65:
            return self.waiting() if self.waits else self.assignment()
        if kind < 0.7 and self.loops:
            return self.loop(depth)
        if kind < 0.78:
            loops, self.loops = self.loops, False  # none may be atomic
            inner = self.block(depth - 1)
            self.loops = loops
            return atomic(inner)
        inner = self.block(depth - 1)
        if kind < 0.82 and self.waits:
            return self.locked(inner)
        other = self.block(depth - 1)
        if kind < 0.86:
            text = f"either {{ {inner.text} }} or {{ {other.text} }}"
            return Statement(text, (Branch(lambda s: [inner.nodes, other.nodes]),))
        return decided(self.test(), inner, self.pick(None, other))

    def assignment(self):
        kind = self.random.random()
        if kind < 0.4:
            return self.set_number()
        if kind < 0.5:
            return self.stored(self.pick("x", "y"), self.test(), bool)
        if kind < 0.7:
            return self.through("hit", self.test(1), bool)
        if kind < 0.77:
            return self.through("num", self.number(1), lambda n: held(n, 2))
        if kind < 0.8:
            return self.kept_as_a_rule()
        value = Value("none", lambda s: NONE) if kind < 0.84 else self.cpu()
        if kind < 0.92:
            return self.through("via", value)
        return self.stored(self.pick("to", "from"), value)

    def stored(self, name, value, kept=lambda value: value):
        """To read a variable and to write it are two steps, if others may look."""
        text = f"{name} = {value.text};"
        if name in self.locals or name not in _names(value.text):
            return Statement(text, (put(name, value, kept),))
        read = put("register", value, kept)
        return Statement(text, (read, put(name, lambda s: s["register"])))

    def through(self, name, value, kept=lambda value: value, cpu=None):
        cpu = cpu or self.cpu()
        text = f"{name}[{cpu.text}] = {value.text};"

        def write(new):
            return Do(lambda s: [s | {name: changed(s[name], cpu(s), new(s))}])

        if name not in _names(value.text):
            return Statement(text, (write(lambda s: kept(value(s))),))
        read = put("register", value, kept)
        return Statement(text, (read, write(lambda s: s["register"])))

    def kept_as_a_rule(self):
        """Few programs change these, so in most of them they are constants."""
        name = self.pick("on", "level", "mate")
        if name == "on":
            return self.through(name, self.test(1), bool)
        if name == "level":
            less = self.number(1)
            more = Value(f"({less.text} + 1)", lambda s: less(s) + 1)
            return self.through(name, more, lambda n: max(1, held(n, 3)))
        who = self.pick("boot", *self.named)  # these are never none
        return self.through(name, Value(who, lambda s: 0 if who == "boot" else s[who]))

    def set_number(self, name=None):
        name = name or self.pick(*NUMBERS, *self.locals)
        most = {**NUMBERS, **self.locals}[name]
        value = self.number(self.pick(0, 2))
        return self.stored(name, value, lambda n: held(n, most))

    def looked_at(self):
        """Something is written, and what it is then is told to `seen`."""
        kind, cpu = self.random.random(), self.cpu()
        if kind < 0.4:
            name = self.pick(*NUMBERS, *self.locals)
            write = self.set_number(name)
            test = self.compared(Value(name, lambda s: s[name]))
        elif kind < 0.6:
            name, most = self.fresh(), self.pick(1, 2, 3)
            write = self.declare(name, most)
            test = self.compared(Value(name, lambda s: s[name]))
        elif kind < 0.8:
            write = self.through("num", self.number(1), lambda n: held(n, 2), cpu)
            test = self.compared(self.read("num", 0, cpu))
        else:
            write = self.through("hit", self.test(1), bool, cpu)
            is_hit = test = self.read("hit", False, cpu)
            if self.pick(True, False):
                test = Value(f"!{is_hit.text}", lambda s: not is_hit(s))
        told = Statement("seen = true;", (put("seen", lambda s: True),))
        all_of_it = both(write, decided(test, told))
        return atomic(all_of_it) if self.pick(True, False) else all_of_it

    def fresh(self):
        self.made += 1
        return f"{self.prefix}{self.made}"

    def declaration(self):
        name, most = self.fresh(), self.pick(1, 2, 3)
        declared = self.declare(name, most)
        self.locals = {**self.locals, name: most}
        return declared

    def declare(self, name, most):
        value = self.number(self.pick(0, 2))
        made = put(name, value, lambda n: held(n, most))
        return Statement(f"int 0..{most} {name} = {value.text};", (made,))

    def phase(self):
        """Few programs write every value, and nobody writes the first on purpose."""
        name, cpu = self.fresh(), self.cpu()
        lamp = self.read("lamp", 0, cpu)
        value = self.pick(lamp, lamp, Value("light", lambda s: s["light"]))
        copied = Statement(f"phase {name} = {value.text};", (put(name, value),))
        number = self.pick(0, 1, 2)
        test = Value(f"{name} == {PHASES[number]}", lambda s: s[name] == number)
        told = Statement("seen = true;", (put("seen", lambda s: True),))
        if self.pick(True, False):
            then = put("light", lambda s: s[name])
            told = both(told, Statement(f"light = {name};", (then,)))
        return both(copied, decided(test, told))

    def choice(self):
        name, test = self.pick("to", "from"), self.test(0)
        order = self.pick("any", "first")

        def chosen(state):
            found = [c for c in range(state["cpus"]) if state["hit"][c] and test(state)]
            if order == "first":
                found = in_order(state, found)[:1]
            return [state | {name: cpu} for cpu in found or [NONE]]

        return Statement(f"{name} = {order}(who in hit : {test.text});", (Do(chosen),))

    def forall(self):
        value, everybody = self.number(1), self.pick(True, False)

        def done(state):
            new = held(value(state), 2)
            hit = [everybody or bit for bit in state["hit"]]
            num = [new if bit else n for n, bit in zip(state["num"], hit)]
            return [state | {"num": tuple(num)}]

        among = "cpus" if everybody else "hit"
        text = f"forall (who in {among}) num[who] = {value.text};"
        return Statement(text, (Do(done),))

    def call(self):
        """A parameter takes a value of its own, and a result is stored in a step."""
        value = self.number(1)
        if self.random.random() < 0.3:
            text = f"y = swap({value.text});"
            nodes = (
                put("p", value, lambda n: held(n, 2)),
                put("c", lambda s: held(s["p"], 1)),
                put("register", lambda s: not s["x"]),
                put("x", lambda s: s["register"]),
                put("result", lambda s: s["p"] == s["c"]),
                put("y", lambda s: s["result"]),
            )
            return Statement(text, nodes)
        function, taken = self.pick(("same", 2), ("few", 4))
        name = self.pick(*NUMBERS)
        given = min(NUMBERS[name], 2)  # neither lets more than 2 through
        nodes = (
            put("p", value, lambda n: held(n, taken)),
            put(name, lambda s: held(s["p"], given)),
        )
        return Statement(f"{name} = {function}({value.text});", nodes)

    def loop(self, depth):
        if self.pick(True, False, False):
            return self.repeated(depth)
        name, named = self.fresh(), self.named
        self.named = [*named, name]
        test = self.test(0)
        body = self.block(min(depth - 1, 0))
        self.named = named
        text = f"for ({name} in hit : {test.text}) {{ {body.text} }}"
        return Statement(text, (For(name, test, body.nodes),))

    def repeated(self, depth):
        test, body = self.test(1), self.block(min(depth - 1, 0))
        text = f"while ({test.text}) {{ {body.text} }}"
        return Statement(text, (While(test, body.nodes),))

    def waiting(self):
        kind = self.random.random()
        if kind < 0.2:
            return Statement("complete(done);", (put("done", lambda s: True),))
        if kind < 0.4:
            taken = Do(lambda s: [s | {"done": False}] if s["done"] else [])
            return Statement("wait_for_completion(done);", (taken,))
        test = self.test(1)
        until = Do(lambda s: [s] if test(s) else [])
        return Statement(f"wait ({test.text});", (until,))

    def locked(self, inner):
        kind = self.random.random()
        if self.masks and kind < 0.3:
            return self.masked(inner)
        if kind < 0.5:
            lock = Do(lambda s: [] if s["m"] else [s | {"m": True}])
            return between("mutex_lock(m);", (lock,), inner, "mutex_unlock(m);", UNLOCK)
        if kind < 0.6:
            return self.tried(inner)
        name, read, written = self.pick(
            ("rw", ("down_read", "up_read"), ("down_write", "up_write")),
            ("rl", ("read_lock", "read_unlock"), ("write_lock", "write_unlock")),
        )
        if kind < 0.8:
            (lock, unlock), nodes, last = read, (reads(name),), leaves(name, 0)
        else:
            (lock, unlock), last = written, leaves(name, 2)
            # A writer that waits holds readers off where the lock is fair.
            nodes = (queues(name), writes(name)) if name == "rw" else (writes(name),)
        return between(f"{lock}({name});", nodes, inner, f"{unlock}({name});", last)

    def tried(self, inner):
        name = self.fresh()
        asked = Do(lambda s: [s | {name: not s["m"], "m": True}])
        text = f"bool {name} = mutex_trylock(m);"
        got = Statement(f"{inner.text} mutex_unlock(m);", (*inner.nodes, UNLOCK))
        then = decided(Value(name, lambda s: s[name]), got)
        return both(Statement(text, (asked,)), then)

    def masked(self, inner):
        """Interrupts are off on the CPU of the process; a task counts as on `boot`."""

        def switch(off):
            here = "irqs_off"
            return Do(lambda s: [s | {here: changed(s[here], s.get("cpu", 0), off)}])

        text = f"local_irq_disable(); {inner.text} local_irq_enable();"
        return Statement(text, (switch(True), *inner.nodes, switch(False)))


def _names(text: str) -> set[str]:
    words = "".join(c if c.isalnum() or c == "_" else " " for c in text)
    return set(words.split())
