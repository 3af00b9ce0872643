"""Random sequential programs, each with a second reading of it in Python.

What a piece of a program means is written here a second time, as a function of the
state, by nothing but docs/language.md. So an error in how the tool reads, joins, folds or
leaves out steps shows, even where all its engines are given the same wrong system.

A state is a dict: numbers and bools by name, per-CPU variables as tuples, CPUs from 0,
`none` is -1. A statement turns a state into all states that it can lead to.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import product
from operator import eq, gt, le, lt, ne

NONE = -1
HOLDS = {"==": eq, "!=": ne, "<": lt, "<=": le, ">": gt}
WIDE = ["b", "b", "b"]  # so often it is taken besides
NUMBERS = {"a": 2, "b": 4, "c": 1}  # name -> largest value
DECLARATIONS = """
shared int 0..2 a = any; shared int 0..4 b = any; shared int 0..1 c;
shared bool x = any; shared bool y; shared bool seen; shared cpu? to = any; shared cpu? from;
percpu bool hit = any; percpu int 0..2 num; percpu cpu? via;
int 0..4 same(int 0..2 p) { return p; }
int 0..2 few(int 0..4 p) { return p; }
bool swap(int 0..2 p) { c = p; x = !x; return p == c; }
"""


@dataclass(frozen=True)
class Piece:
    """Text in the language, and what it means: its value, or what follows."""

    text: str
    of: object

    def __call__(self, state):
        return self.of(state)


def first_states(cpus):
    """All states that a run can begin in."""
    some = [*range(cpus), NONE]
    for a, b, x, to in product(range(3), range(5), (False, True), some):
        for hit in product((False, True), repeat=cpus):
            yield {
                "cpus": cpus, "a": a, "b": b, "c": 0, "x": x, "y": False, "seen": False,
                "to": to, "from": NONE, "hit": hit, "num": (0,) * cpus, "via": (NONE,) * cpus,
            }  # fmt: skip


def final_states(body, cpus):
    return [last for first in first_states(cpus) for last in body(first)]


def held(value, most):
    return max(0, min(most, value))


def looked_up(values, cpu, default):
    """Reading through none gives the first value of the type."""
    return default if cpu == NONE else values[cpu]


def changed(values, cpu, value):
    """Writing through none does nothing."""
    if cpu == NONE:
        return values
    return (*values[:cpu], value, *values[cpu + 1 :])


def one_after_the_other(pieces):
    def run(state):
        states = [state]
        for piece in pieces:
            states = [after for before in states for after in piece(before)]
        return states

    return Piece(" ".join(piece.text for piece in pieces), run)


class Writer:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.locals = {}  # in view: name -> largest value
        self.made = 0

    def program(self):
        return one_after_the_other(
            [self.statement(2) for _ in range(self.pick(1, 2, 3))]
        )

    def pick(self, *items):
        return self.random.choice(items)

    # -- values ----------------------------------------------------------------

    def number(self, depth=2):
        kind = self.random.random() if depth else self.random.random() * 0.6
        if kind < 0.1:
            value = self.pick(0, 1)  # no variable is too small for these
            return Piece(str(value), lambda s: value)
        if kind < 0.45:
            name = self.pick(*NUMBERS, *self.locals, *WIDE)
            return Piece(name, lambda s: s[name])
        if kind < 0.55:
            cpu = self.cpu(depth)
            return Piece(f"num[{cpu.text}]", lambda s: looked_up(s["num"], cpu(s), 0))
        if kind < 0.6:
            return Piece("weight(hit)", lambda s: sum(s["hit"]))
        a, b = self.number(depth - 1), self.number(depth - 1)
        if kind < 0.7:
            return Piece(f"({a.text} + {b.text})", lambda s: a(s) + b(s))
        if kind < 0.8:
            return Piece(f"({a.text} - {b.text})", lambda s: a(s) - b(s))
        test = self.test(depth - 1)
        text = f"({test.text} ? {a.text} : {b.text})"
        return Piece(text, lambda s: a(s) if test(s) else b(s))

    def cpu(self, depth=1):
        kind = self.random.random() if depth else self.random.random() * 0.7
        if kind < 0.2:
            return Piece("boot", lambda s: 0)
        if kind < 0.7:
            name = self.pick("to", "from")
            return Piece(name, lambda s: s[name])
        at = self.cpu(depth - 1)
        return Piece(f"via[{at.text}]", lambda s: looked_up(s["via"], at(s), NONE))

    def test(self, depth=2):
        kind = self.random.random() if depth else self.random.random() * 0.8
        if kind < 0.15:
            name = self.pick("x", "y")
            return Piece(name, lambda s: s[name])
        if kind < 0.35:
            cpu = self.cpu(depth)
            return Piece(
                f"hit[{cpu.text}]", lambda s: looked_up(s["hit"], cpu(s), False)
            )
        if kind < 0.7:
            return self.compared(self.number(depth - 1 if depth else 0))
        if kind < 0.8:
            a, b = self.cpu(depth), self.cpu(0)
            if self.random.random() < 0.4:
                return Piece(f"{a.text} == none", lambda s: a(s) == NONE)
            return Piece(f"{a.text} == {b.text}", lambda s: a(s) == b(s))
        if kind < 0.85:
            return Piece("empty(hit)", lambda s: not any(s["hit"]))
        a, b = self.test(depth - 1), self.test(depth - 1)
        if kind < 0.9:
            return Piece(f"!({a.text})", lambda s: not a(s))
        if kind < 0.95:
            return Piece(f"({a.text} && {b.text})", lambda s: a(s) and b(s))
        return Piece(f"({a.text} || {b.text})", lambda s: a(s) or b(s))

    # -- statements ------------------------------------------------------------

    def block(self, depth):
        outer = dict(self.locals)
        inner = [self.statement(depth) for _ in range(self.pick(1, 1, 2, 3))]
        self.locals = outer
        return one_after_the_other(inner)

    def statement(self, depth):
        kind = self.random.random() if depth else self.random.random() * 0.65
        if kind < 0.1:
            return self.assignment()
        if kind < 0.4:
            return self.looked_at()
        if kind < 0.5:
            return self.declaration()
        if kind < 0.56:
            return self.choice()
        if kind < 0.62:
            return self.forall()
        if kind < 0.65:
            return self.call()
        inner = self.block(depth - 1)
        if kind < 0.75:
            return Piece(f"atomic {{ {inner.text} }}", inner)
        if kind < 0.8:
            other = self.block(depth - 1)
            return Piece(
                f"either {{ {inner.text} }} or {{ {other.text} }}",
                lambda s: inner(s) + other(s),
            )
        test, other = self.test(), self.block(depth - 1)
        if kind < 0.9:
            text = f"if ({test.text}) {{ {inner.text} }}"
            return Piece(text, lambda s: inner(s) if test(s) else [s])
        text = f"if ({test.text}) {{ {inner.text} }} else {{ {other.text} }}"
        return Piece(text, lambda s: inner(s) if test(s) else other(s))

    def assignment(self):
        kind = self.random.random()
        if kind < 0.4:
            return self.set_number()
        if kind < 0.5:
            name, value = self.pick("x", "y"), self.test()
            return Piece(
                f"{name} = {value.text};", lambda s: [s | {name: bool(value(s))}]
            )
        if kind < 0.7:
            return self.through("hit", self.test(1), bool)
        if kind < 0.8:
            return self.through("num", self.number(1), lambda n: held(n, 2))
        value = Piece("none", lambda s: NONE) if kind < 0.84 else self.cpu()
        if kind < 0.92:
            return self.through("via", value, lambda cpu: cpu)
        name = self.pick("to", "from")
        return Piece(f"{name} = {value.text};", lambda s: [s | {name: value(s)}])

    def looked_at(self):
        """Something is written, and what it is then is told to `seen`."""
        kind, cpu = self.random.random(), self.cpu()
        if kind < 0.4:
            name = self.pick(*NUMBERS, *self.locals)
            write, place = self.set_number(name), Piece(name, lambda s: s[name])
            test = self.compared(place)
        elif kind < 0.6:
            name, most = f"own{(made := self.made + 1)}", self.pick(1, 2, 3)
            self.made, write = made, self.declare(name, most)
            test = self.compared(Piece(name, lambda s: s[name]))
        elif kind < 0.8:
            write = self.through("num", self.number(1), lambda n: held(n, 2), cpu)
            test = self.compared(
                Piece(f"num[{cpu.text}]", lambda s: looked_up(s["num"], cpu(s), 0))
            )
        else:
            write, isnt = (
                self.through("hit", self.test(1), bool, cpu),
                self.pick("", "!"),
            )
            test = Piece(
                f"{isnt}hit[{cpu.text}]",
                lambda s: looked_up(s["hit"], cpu(s), False) != (isnt == "!"),
            )
        text = f"{write.text} if ({test.text}) seen = true;"
        if self.pick(True, False):
            text = f"atomic {{ {text} }}"

        def done(state):
            return [s | {"seen": s["seen"] or test(s)} for s in write(state)]

        return Piece(text, done)

    def compared(self, a):
        b, op = self.number(self.pick(0, 1)), self.pick("==", "<", "<=", ">", "!=")
        return Piece(f"{a.text} {op} {b.text}", lambda s: HOLDS[op](a(s), b(s)))

    def set_number(self, name=None):
        name = name or self.pick(*NUMBERS, *self.locals)
        most = {**NUMBERS, **self.locals}[name]
        value = self.number(self.pick(0, 2))
        return Piece(
            f"{name} = {value.text};", lambda s: [s | {name: held(value(s), most)}]
        )

    def through(self, name, value, kept, cpu=None):
        cpu = cpu or self.cpu()
        return Piece(
            f"{name}[{cpu.text}] = {value.text};",
            lambda s: [s | {name: changed(s[name], cpu(s), kept(value(s)))}],
        )

    def declaration(self):
        self.made += 1
        name, most = f"own{self.made}", self.pick(1, 2, 3)
        declared = self.declare(name, most)
        self.locals = {**self.locals, name: most}
        return declared

    def declare(self, name, most):
        value = self.number(self.pick(0, 2))
        return Piece(
            f"int 0..{most} {name} = {value.text};",
            lambda s: [s | {name: held(value(s), most)}],
        )

    def choice(self):
        name, test = self.pick("to", "from"), self.test(0)
        order = self.pick("any", "first")

        def chosen(state):
            found = [c for c in range(state["cpus"]) if state["hit"][c] and test(state)]
            if order == "first":
                found = found[:1]
            return [state | {name: cpu} for cpu in found or [NONE]]

        return Piece(f"{name} = {order}(who in hit : {test.text});", chosen)

    def forall(self):
        value, everybody = self.number(1), self.pick(True, False)

        def done(state):
            new = held(value(state), 2)
            hit = [everybody or bit for bit in state["hit"]]
            num = [new if bit else n for n, bit in zip(state["num"], hit)]
            return [state | {"num": tuple(num)}]

        among = "cpus" if everybody else "hit"
        return Piece(f"forall (who in {among}) num[who] = {value.text};", done)

    def call(self):
        value = self.number(1)
        if self.random.random() < 0.3:

            def swapped(state):
                c = held(p := held(value(state), 2), 1)
                return [state | {"c": c, "x": not state["x"], "y": p == c}]

            return Piece(f"y = swap({value.text});", swapped)
        function, taken, given = self.pick(("same", 2, 4), ("few", 4, 2))
        name = self.pick(*NUMBERS)

        def called(state):
            result = held(held(value(state), taken), given)
            return [state | {name: held(result, NUMBERS[name])}]

        return Piece(f"{name} = {function}({value.text});", called)
