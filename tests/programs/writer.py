"""Writes terms, and chooses what kind of statement comes next."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import eq, gt, le, lt, ne

from second_reading import NONE, Statement, Value, looked_up, named

from programs.words import MASKS, NUMBERS, OFTEN

HOLDS = {"==": eq, "!=": ne, "<": lt, "<=": le, ">": gt}


@dataclass(frozen=True)
class Kind:
    """A kind of statement: how often it is written, and how.

    Only where the writer has what it `needs`; a `deep` one has statements inside.
    """

    weight: float
    write: Callable  # of the writer, and how deep statements may be inside
    needs: str = ""
    deep: bool = False
    loops: bool = False  # may not be atomic
    less: frozenset[str] = frozenset()  # where there is this, it is written less often

    def weighs(self, needs: frozenset[str]) -> float:
        return self.weight / 8 if self.less & needs else self.weight


KINDS: list[Kind] = []


@dataclass(frozen=True)
class Scope:
    """Local variables in view."""

    numbers: dict[str, int] = field(default_factory=dict)  # name -> largest value
    cpus: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    irqs: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()  # hotplug states


class Writer:
    """Writes one process, or callback; `own` is the name of its CPU, if it has one."""

    def __init__(self, seed, own=None, prefix="own", needs=()):
        self.random = random.Random(seed)
        self.prefix, self.needs = prefix, frozenset(needs)
        self.scope = Scope(cpus=(own,) if own else ())
        self.own = own
        self.sure = (own,) if own else ()  # CPUs that are never none
        self.made, self.labels = 0, []
        self.loops = True  # whether there may be some
        self.outermost = False  # directly in the loop of a service
        self.looped = 0  # in which `continue` may stand (1), `break` as well (2)
        self.sealed = False  # inside a loop over a set: no `return`
        self.reading = frozenset()  # locks that are held around the statement
        self.body = self.end = None  # of the callback that is written: name, `End`
        self.pointers = frozenset()  # local variables that hold a CPU
        self.terms = None  # formulas, options and constants
        self.table = None  # hotplug states, and callbacks that can be invoked

    def program(self, most=3, depth=2):
        wanted = self.random.randint(1, most)
        return both(*(self.statement(depth) for _ in range(wanted)))

    def pick(self, *items):
        return self.random.choice(items)

    def fresh(self):
        self.made += 1
        return f"{self.prefix}{self.made}"

    def chance(self, share):
        return self.random.random() < share

    def _calls(self, depth):
        """Is it a formula, or something else that has a name, where there are such?"""
        return depth and self.terms is not None and self.chance(0.15)

    # -- values ----------------------------------------------------------------

    def number(self, depth=2):
        if self._calls(depth):
            return self.terms.summed(self, depth)
        kind = self.random.random() if depth else self.random.random() * 0.6
        if kind < 0.1:
            value = self.pick(0, 1)  # no variable is too small for these
            return Value(str(value), lambda s: value)
        if kind < 0.42:
            name = self.pick(*NUMBERS, *self.scope.numbers, *OFTEN)
            return Value(name, lambda s: s[name])
        if kind < 0.52:
            return self.read(*self.pick(("num", 0), ("level", 1)), self.cpu(depth))
        if kind < 0.6:
            if "sets" in self.needs:
                return self.counted()
            return Value("weight(hit)", lambda s: sum(s["hit"]))
        a, b = self.number(depth - 1), self.number(depth - 1)
        if kind < 0.7:
            return Value(f"({a.text} + {b.text})", lambda s: a(s) + b(s))
        if kind < 0.8:
            return Value(f"({a.text} - {b.text})", lambda s: a(s) - b(s))
        test = self.test(depth - 1)
        text = f"({test.text} ? {a.text} : {b.text})"
        return Value(text, lambda s: a(s) if test(s) else b(s))

    def counted(self):
        kind = self.random.random()
        if kind < 0.4:
            return Value("total", lambda s: s["total"])
        among = self.set(1)
        if kind < 0.7:
            return Value(f"weight({among.text})", lambda s: len(among(s)))
        name, test = self.element()
        text = f"count({name} in {among.text} : {test.text})"
        return Value(text, lambda s: sum(test(named(s, name, c)) for c in among(s)))

    def cpu(self, depth=1):
        if self._calls(depth):
            return self.terms.partner(self, depth)
        kind = self.random.random() if depth else self.random.random() * 0.7
        if kind < 0.2:
            return Value("boot", lambda s: 0)
        if kind < 0.7:
            named = self.scope.cpus
            name = self.pick("to", "from", *named, *named)
            return Value(name, lambda s: s[name])
        if kind < 0.75 and "irqs" in self.needs:
            return self.read("target", NONE, self.irq())
        return self.read(self.pick("via", "via", "mate"), NONE, self.cpu(depth - 1))

    def irq(self):
        name = self.pick("last", *self.scope.irqs, *self.scope.irqs)
        return Value(name, lambda s: s[name])

    def read(self, name, first, cpu):
        """The value of a CPU's variable, whose type has this as the first value."""
        return Value(f"{name}[{cpu.text}]", lambda s: looked_up(s[name], cpu(s), first))

    def test(self, depth=2):
        if self._calls(depth):
            return self.terms.is_another(self)
        kind = self.random.random() if depth else self.random.random() * 0.8
        if kind < 0.15:
            name = self.pick("x", "y", *self.scope.flags, *self.scope.flags)
            return Value(name, lambda s: s[name])
        if kind < 0.33:
            name = self.pick(
                "hit", "hit", "on", *(MASKS if "sets" in self.needs else ())
            )
            return self.read(name, False, self.cpu(depth))
        if kind < 0.38:
            if "irqs" in self.needs:
                return self.read("pend", False, self.irq())
            if self.needs & {"rows", "walks"}:
                return self.table.compared(self)
            if "preempt" in self.needs:
                return self.preempted()
        if kind < 0.7:
            return self.compared(self.number(depth - 1 if depth else 0))
        if kind < 0.8:
            a, b = self.cpu(depth), self.cpu(0)
            if self.chance(0.4):
                return Value(f"{a.text} == none", lambda s: a(s) == NONE)
            return Value(f"{a.text} == {b.text}", lambda s: a(s) == b(s))
        if kind < 0.85:
            return self.of_sets() if "sets" in self.needs else _EMPTY
        a, b = self.test(depth - 1), self.test(depth - 1)
        if kind < 0.9:
            return Value(f"!({a.text})", lambda s: not a(s))
        if kind < 0.94:
            return Value(f"({a.text} && {b.text})", lambda s: a(s) and b(s))
        if kind < 0.96:
            return Value(f"({a.text} => {b.text})", lambda s: not a(s) or b(s))
        return Value(f"({a.text} || {b.text})", lambda s: a(s) or b(s))

    def preempted(self):
        cpu = self.cpu(0)
        return Value(
            f"preempt_count[{cpu.text}] > 1",
            lambda s: looked_up(s["preempt_count"], cpu(s), 0) > 1,
        )

    def compared(self, a):
        b, op = self.number(self.pick(0, 1)), self.pick("==", "<", "<=", ">", "!=")
        return Value(f"{a.text} {op} {b.text}", lambda s: HOLDS[op](a(s), b(s)))

    # -- sets of CPUs: the value is a frozenset ----------------------------------

    def set(self, depth=1):
        if self._calls(depth):
            return self.terms.around(self, depth)
        kind = self.random.random() if depth else self.random.random() * 0.6
        if kind < 0.35:
            return mask(self.pick(*MASKS))
        if kind < 0.5:
            return self.pick(_CPUS, _APS, _NOBODY)
        if kind < 0.6:
            cpu = self.cpu(0)
            return Value(f"{{{cpu.text}}}", lambda s: frozenset({cpu(s)} - {NONE}))
        a = self.set(depth - 1)
        if kind < 0.7:
            return Value(f"(~{a.text})", lambda s: _CPUS(s) - a(s))
        b = self.set(depth - 1)
        if kind < 0.8:
            return Value(f"({a.text} & {b.text})", lambda s: a(s) & b(s))
        if kind < 0.87:
            return Value(f"({a.text} | {b.text})", lambda s: a(s) | b(s))
        if kind < 0.94:
            return Value(f"({a.text} - {b.text})", lambda s: a(s) - b(s))
        test = self.test(0)
        text = f"({test.text} ? {a.text} : {b.text})"
        return Value(text, lambda s: a(s) if test(s) else b(s))

    def element(self):
        """A name for the elements of a set, and a condition about them."""
        with self.naming() as name:
            return name, self.test(0)

    @contextmanager
    def naming(self):
        """A new name for a CPU; what is written meanwhile may speak of it."""
        name, scope = self.fresh(), self.scope
        self.scope = with_cpu(scope, name)
        try:
            yield name
        finally:
            self.scope = scope

    def of_sets(self):
        kind, a = self.random.random(), self.set()
        if kind < 0.2:
            return Value(f"empty({a.text})", lambda s: not a(s))
        if kind < 0.4:
            cpu = self.cpu(0)
            if self.chance(0.3):
                text = f"cpumask_test_cpu({cpu.text}, {a.text})"
            else:
                text = f"{cpu.text} in {a.text}"
            return Value(text, lambda s: cpu(s) in a(s))
        if kind < 0.6:
            b = self.set()
            return Value(f"{a.text} == {b.text}", lambda s: a(s) == b(s))
        name, test = self.element()
        word, holds = self.pick(("all", all), ("exists", any))
        text = f"{word}({name} in {a.text} : {test.text})"
        # All are looked at, whatever the first ones say.
        return Value(text, lambda s: holds([test(named(s, name, c)) for c in a(s)]))

    # -- statements ------------------------------------------------------------

    def block(self, depth):
        scope = self.scope
        inner = [self.statement(depth) for _ in range(self.pick(1, 1, 2, 3))]
        self.scope = scope
        return both(*inner)

    def statement(self, depth):
        kinds = [
            kind
            for kind in KINDS
            if (depth or not kind.deep)
            and (not kind.needs or kind.needs in self.needs)
            and (self.loops or not kind.loops)
        ]
        (kind,) = self.random.choices(kinds, [k.weighs(self.needs) for k in kinds])
        return kind.write(self, depth)


_EMPTY = Value("empty(hit)", lambda s: not any(s["hit"]))
_CPUS = Value("cpus", lambda s: frozenset(range(s["cpus"])))
_APS = Value("aps", lambda s: frozenset(range(1, s["cpus"])))
_NOBODY = Value("nobody", lambda s: frozenset())


def mask(name):
    return Value(name, lambda s: frozenset(c for c, bit in enumerate(s[name]) if bit))


def with_cpu(scope, name):
    return Scope(
        scope.numbers, (*scope.cpus, name), scope.flags, scope.irqs, scope.rows
    )


def both(*statements):
    nodes = tuple(node for one in statements for node in one.nodes)
    return Statement(" ".join(one.text for one in statements), nodes)
