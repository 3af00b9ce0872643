"""Whole programs, with claims."""

from __future__ import annotations

import random

from reading_orders import inverted
from reading_races import races
from second_reading import Forever, Statement, Thread, goes_on, is_missed, reachable

import programs.functions
import programs.hotplug
import programs.locks
import programs.regions
import programs.waiting  # noqa: F401
from programs.functions import first_functions
from programs.hotplug import CONSTANTS, ROWS, Table
from programs.regions import REGIONS, first_regions
from programs.statements import looked_at
from programs.waiting import until
from programs.walkers import (
    OPEN,
    OWN,
    WALKS,
    Walk,
    Walked,
    first_walks,
    kicked,
    one_by_one,
)
from programs.words import LOCKS, declarations, first_states, marked
from programs.writer import Value, Writer, both

SEEN = Value("seen", lambda s: s["seen"])
# What a program has beside the plain statements of one process.
FORMS = {
    "alone": {},
    "parallel": {"waits", "labels"},
    "handled": {"waits", "masks", "asserts"},
    "sets": {"sets", "irqs"},
    "hotplug": {"rows", "asserts"},
    "threads": {"rows", "waits"},
    "services": {"waits", "labels", "asserts"},
    "readers": {"srcu", "waits"},
    "locks": {"locks", "waits"},
    "nested": {"locks", "waits", "masks"},
    "regions": {"preempt", "domains", "spins", "waits", "masks", "asserts"},
    "sections": {"rows", "preempt", "waits"},
    "walkers": {"walks"},
    "steps": {"walks", "alone"},
    "functions": {"functions", "sets"},
    "called": {"functions", "sets", "waits"},
}
SEVERAL = {"parallel", "handled", "threads", "services", "readers", "locks", "nested"}
SEVERAL |= {"regions", "sections", "walkers", "called"}


class Program:
    """A random program of one process, or of several, and claims about it.

    With `large` they are about machines with that many CPUs or more, so that no search
    with fewer finds what a proof overlooks.
    """

    def __init__(self, seed, form, large=None):
        self.random = random.Random(f"{seed} {form}")
        self.form, self.parallel = form, form in SEVERAL
        self.needs = frozenset(FORMS[form])
        self.races = self.parallel and not large
        self.everywhere = seed % 2 == 0
        self.table = Table(loops=seed % 3 == 0) if "rows" in self.needs else None
        if "walks" in self.needs:
            self.table = Walked()
            self.table.open = seed % 4 == 1
            self.table.does = 0.15 if "alone" in self.needs else 0.5
        self.bodies = []  # of each process: its form, name, CPU if it has one, its body
        self.labels = []
        self.free = self._free(large)
        lines = [f"scenario meaning;\n{declarations(self.free)}"]
        if "locks" in self.needs:
            lines.append(LOCKS)
        if "preempt" in self.needs:
            lines.append(REGIONS)
        if "functions" in self.needs:
            lines.append(programs.functions.declared(self.parallel))
        if self.table:
            lines += self._callbacks(seed)
        self.when = None
        self._processes(seed)
        last = self._writer(
            seed + 50_000, needs=self.needs & {"sets", "irqs", "preempt", "walks"}
        )
        self.assumed = last.test(1) if seed % 4 == 1 else None
        if "walks" in self.needs and self.table.open:
            self.assumed = self.table.assumed(last)
        if self.assumed is not None:
            lines.append(f"assume {self.assumed.text};")
        lines += [f"{form} {{ {body.text} }}" for form, _, _, body in self.bodies]
        self._claims(last, large)
        lines += [
            f"check t{n} {{ {claim}; }}" for n, (claim, _) in enumerate(self.claims)
        ]
        self.text = "\n".join([*lines, ""])
        if self.races:
            self.text, self.plain = marked(self.text, random.Random(f"{seed} marks"))
        if self.table:
            self.table.read(self.text)

    def _free(self, large):
        if "locks" in self.needs:
            return frozenset(
                {"from"} | ({"to"} if self.random.random() < 0.3 else set())
            )
        if self.needs & {"functions", "walks"}:
            return frozenset({"x"})
        if self.form == "alone" and large is None:
            return frozenset({"a", "b", "x", "to", "hit"})
        if not self.parallel:
            return frozenset({"b", "x", "to"})
        names = ("x", "to", "hit", "b")
        return frozenset(self.random.sample(names, self.random.choice((1, 1, 2))))

    def _callbacks(self, seed):
        named = sorted(self.random.sample(range(len(CONSTANTS)), 4))
        if "walks" in self.needs:
            named = sorted({0, *named[2:]})
            yield WALKS + (OPEN if self.table.open else "")
        self.table.named = tuple(CONSTANTS[n] for n in named)
        self.table.write(seed + 40_000, self.needs & {"asserts", "preempt"}, 4)
        self.begins = self.random.choice(self.table.named)
        yield 'register "drv_a"; register "drv_b";'
        yield f"percpu hpstate state = {self.begins};"
        for callback in self.table.callbacks:
            yield callback.text

    def _writer(self, seed, *more, needs=None):
        writer = Writer(seed, *more, needs=self.needs if needs is None else needs)
        writer.table = self.table
        writer.terms = programs.functions if "functions" in self.needs else None
        return writer

    def _processes(self, seed):
        one = self._writer(seed)
        first = size = (2, 1) if self.parallel else (3, 2)
        if self.form == "walkers":
            return self._walkers(seed, one)
        if "locks" in self.needs:
            first, size, self.everywhere = (2, 2), (1, 2), seed % 5 == 0
        self._process("process", "p", None, one, one.program(*first))
        if not self.parallel:
            return
        two = self._writer(seed + 10_000, None, "her")
        three = self._writer(seed + 20_000, "cpu", "his")
        few = self.form == "nested" or (self.form == "regions" and seed % 3)
        if self.form == "services":
            kind = "environment" if seed % 3 else "service"
            self._process("service", "q", None, two, self._served(two))
            endless = kind == "service" or seed % 3 == 2
            body = self._served(three) if endless else three.program(2, 1)
            self._process(kind, "r", "cpu", three, body)
        else:
            if not few:
                self._process("process", "q", None, two, two.program(*size))
            self._process("process", "r", "cpu", three, three.program(*size))
        if "masks" in self.needs and (few or self.form != "regions"):
            handler = self.needs & {"locks", "preempt", "domains", "spins"}
            for name in ("i", "j") if seed % 3 == 0 else ("i",):
                w = self._writer(
                    seed + 30_000 + len(self.bodies), "cpu", name, needs=handler
                )
                when = w.test(1)
                body = w.program(1, 1)
                if not handler:
                    body = both(looked_at(w, 0, own=True), body)
                self._process("interrupt", name, "cpu", w, body, when)

    def _walkers(self, seed, one):
        """A control task, a thread of each CPU that walks, and somebody who looks on."""
        two = self._writer(seed + 10_000, None, "her")
        three = self._writer(seed + 20_000, "cpu", "his")
        walk = Walk(three, OWN)
        self.everywhere = seed % 5 == 0
        if seed % 2:
            body = both(one.pick(kicked, one_by_one)(one, 1), one.program(1, 1))
            self._process("process", "p", None, one, body)
            self._process("service", "r", "cpu", three, walk.served())
        else:
            self._process("process", "p", None, one, one.program(2, 1))
            self._process("process", "r", "cpu", three, walk.once())
        if seed % 3:
            self._process("process", "q", None, two, two.program(1, 1))

    def _served(self, w):
        """The loop of a service that waits for something to do."""
        first = until(w.test(1), rests=True)
        w.outermost = True
        inner = both(first, w.block(0))
        return Statement(f"for (;;) {{ {inner.text} }}", (Forever(inner.nodes),))

    def _process(self, kind, name, cpu, writer, body, when=None):
        head = f"{kind} {name}" + (f"({cpu})" if cpu else "")
        if cpu and kind != "interrupt" and not self.everywhere:
            head += " on aps"
        if when is not None:
            head += f" when ({when.text})"
        self.bodies.append((head, name, when, body))
        self.labels += [(name, cpu, label) for label in writer.labels]

    # -- claims: text, and whether what must never be is -------------------------------

    def _claims(self, last, large):
        self.claims = []
        guard = "" if self.parallel else "at(p, end) && "
        guard += f"weight(cpus) >= {large} && " if large else ""
        alone = not self.parallel

        def never(claim):
            def happens(found):
                looked = [r for r in found if not alone or r.told["at"]["p", 0][1]]
                return any(claim(r.told) for r in looked)

            self.claims.append((f"never {guard}{claim.text}", happens))

        for claim in (SEEN, last.test(), last.test()):
            never(claim)
        if large:
            return
        self.claims.append(("deadlock_free", lambda found: any(r.stuck for r in found)))
        at_rest = last.test()
        self.claims.append(
            (
                f"finally {at_rest.text}",
                lambda found: any(r.quiet and not at_rest(r.told) for r in found),
            )
        )
        if "asserts" in self.needs:
            self.claims.append(("never bug()", lambda found: any(r.bug for r in found)))
        if self.labels:
            never(self._at(last))
        if "masks" not in self.needs:
            self.claims.append(("terminates", goes_on))
            first, then = last.test(1), last.test(1)
            text = f"({first.text}) leads to ({then.text})"
            self.claims.append((text, lambda found: is_missed(found, first, then)))
        if self.races and "waits" in self.needs:
            self.claims.append(("inversion_free", self._inverted))
        if self.races:
            self.claims.append(("race_free", lambda found: races(found, self.plain)))

    def _at(self, w):
        """Somebody is at a label, and something holds or somebody else is at one."""
        process, cpu, label = self.random.choice(self.labels)
        other, test = self.random.choice(self.labels), w.test(1)
        one = _at(process, cpu, label)
        if self.random.random() < 0.3:
            one = Value(f"!{one.text}", negated(one))
        if self.random.random() < 0.5 and other[2] != label:
            test = _at(*other)
        return Value(f"({one.text} && {test.text})", lambda s: one(s) and test(s))

    def _inverted(self, found):
        """Are locks asked for in a circle?"""
        if not found or not any(
            call in self.text for call in ("lock(", "lock_irq", "down_")
        ):
            return False
        cpus = found[0].shared["cpus"]
        queued = {
            name for name in ("rw", "own_rw") if f"down_write({name}" in self.text
        }
        return inverted(self.firsts(cpus), tuple(self.threads(cpus)), queued, 20_000)

    # -- what happens ------------------------------------------------------------------

    def threads(self, cpus):
        number = 0
        for head, name, when, body in self.bodies:
            kind = head.split()[0]
            everywhere = "(cpu)" in head
            first = 1 if "on aps" in head else 0
            for cpu in range(first, cpus) if everywhere else (0,):
                own = {"me": number} if self.parallel else {}
                own |= {"cpu": cpu} if everywhere else {}
                todo = () if when else body.nodes
                yield Thread(todo, own, cpu, body.nodes, when, name, kind)
                number += 1

    def firsts(self, cpus):
        ordered = any(word in self.text for word in ("first(", "last(", "for ("))
        every = first_states(cpus, self.free, ordered)
        if self.table:
            begins = (ROWS.index(self.begins),) * cpus
            every = (s | {"state": begins} for s in every)
        if "walks" in self.needs:
            every = [s | first_walks(cpus) for s in every]
            every = self.table.opened(every) if self.table.open else every
        if "preempt" in self.needs:
            every = (s | first_regions(cpus) for s in every)
        if "functions" in self.needs:
            constants = [*first_functions(cpus, self.parallel)]
            every = (s | c for s in every for c in constants)
        return [s for s in every if self.assumed is None or self.assumed(s)]

    def happens(self, cpus, most):
        """For each claim whether what must never be is, by the second reading."""
        found = reachable(self.firsts(cpus), tuple(self.threads(cpus)), most)
        return [happens(found) for _, happens in self.claims]


def negated(test):
    return lambda s: not test(s)


def _at(process, cpu, label):
    if not cpu:
        return Value(
            f"at({process}, {label})", lambda s: s["at"][process, 0][0] == label
        )

    def somebody(s):
        return any(n == process and at[0] == label for (n, _), at in s["at"].items())

    return Value(f"exists(who in cpus : at({process}[who], {label}))", somebody)
