"""What random programs are about: variables, with all values that a run can begin with."""

from __future__ import annotations

import re
from itertools import product

from second_reading import NONE

NUMBERS = {"a": 2, "b": 4, "c": 1}  # name -> largest value
OFTEN = ("b", "b", "b")  # the one that does not fit the others is taken more often
MASKS = ("hit", "up", "on")
FREE = (0, 0, False)  # of a lock: readers, writers that queue, whether one has it
PHASES = ("RED", "AMBER", "GREEN")
IRQS = range(2)
ANY = {"a": range(3), "b": range(5), "x": (False, True)}  # that may begin anywhere
DECLARATIONS = """
enum phase {{ RED, AMBER, GREEN }}; percpu phase lamp = AMBER; shared phase light = AMBER;
shared int 0..2 a{a}; shared int 0..4 b{b}; shared int 0..1 c;
shared bool x{x}; shared bool y; shared bool seen; shared cpu? to{to}; shared cpu? from{from_};
percpu bool hit{hit}; percpu int 0..2 num; percpu cpu? via; mutex m;
percpu bool on = true; percpu int 1..3 level = 2; percpu cpu mate = cpu;
shared cpumask up = aps; shared counter of hit total;
instances irq : 2; per irq bool pend; per irq cpu? target; shared irq? last;
percpu bool irqs_off; completion done; rwsem rw; rwlock rl; srcu_struct domain;
int 0..4 same(int 0..2 p) {{ return p; }}
int 0..2 few(int 0..4 p) {{ return p; }}
bool swap(int 0..2 p) {{ c = p; x = !x; return p == c; }}
"""


def declarations(free: frozenset[str]) -> str:
    """The text of all variables; those that are `free` begin with any value.

    But `from` begins with `boot` then, so that it is somebody.
    """
    names = ("a", "b", "x", "to", "hit")
    begins = {n: " = any" if n in free else "" for n in names}
    begins["from_"] = " = boot" if "from" in free else ""
    return DECLARATIONS.format_map(begins)


MARKED = re.compile(r"atomic_(?:inc|dec|dec_and_test)\((\w+)")
MAY_RACE = (
    *("a", "b", "c", "x", "y", "seen", "to", "from", "light"),
    *("hit", "num", "via", "on", "level", "mate", "lamp", "state"),
)


def marked(text, rng):
    """The program, in which most variables are declared atomic; those that are not."""
    names = {name for name in MAY_RACE if rng.random() < 0.8}
    for name in names:
        declared = rf"(shared|percpu) (\w+\??(?: \d\.\.\d)? {name}\b)"
        text = re.sub(declared, r"\1 atomic \2", text, count=1)
    plain = {*MAY_RACE, "total"} - names  # a counter is never declared atomic here
    return text, frozenset(plain) - set(MARKED.findall(text))


LOCKS = "percpu mutex own_m; percpu rwsem own_rw; percpu rwlock own_rl;"
UNLOCKED = (frozenset(), frozenset(), False)


def first_states(cpus: int, free: frozenset[str], ordered: bool):
    """All states that a run can begin in.

    Where ids are `ordered` for the program, the control CPU has every place among them.
    """
    nobody = (False,) * cpus
    values = {name: ANY[name] for name in ANY if name in free}
    if "to" in free:
        values["to"] = (*range(cpus), NONE)
    if "hit" in free:
        values["hit"] = tuple(product((False, True), repeat=cpus))
    values["place"] = range(cpus) if ordered else (0,)
    for picked in product(*values.values()):
        yield {
            "cpus": cpus, "place": 0, "a": 0, "b": 0, "c": 0, "x": False, "y": False,
            "seen": False, "to": NONE, "from": 0 if "from" in free else NONE, "hit": nobody, "num": (0,) * cpus,
            "via": (NONE,) * cpus, "m": False, "irqs_off": nobody,
            "on": (True,) * cpus, "level": (2,) * cpus, "mate": tuple(range(cpus)),
            "up": (False, *(True,) * (cpus - 1)), "total": 0,
            "pend": (False, False), "target": (NONE, NONE), "last": NONE,
            "lamp": (1,) * cpus, "light": 1, "done": False, "rw": FREE, "rl": FREE,
            "readers": frozenset(), "periods": frozenset(),
            **dict.fromkeys(("own_m", "own_rw", "own_rl"), (UNLOCKED,) * cpus),
        } | dict(zip(values, picked))  # fmt: skip
