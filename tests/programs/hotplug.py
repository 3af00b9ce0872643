"""Hotplug states, callbacks, and statements that invoke them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from second_reading import (
    NONE,
    Branch,
    Do,
    End,
    Statement,
    While,
    changed,
    looked_up,
    without,
)

from programs.statements import TOLD, assignment, decided, leaving, moved, put, words
from programs.writer import HOLDS, KINDS, Kind, Value, Writer, both

# Some rows of the table arm64-6.12 in its order, with their sections.
TABLE = (
    ("CPUHP_OFFLINE", "PREPARE"),
    ("CPUHP_PERF_PREPARE", "PREPARE"),
    ("CPUHP_TIMERS_PREPARE", "PREPARE"),
    ("CPUHP_AP_SCHED_STARTING", "STARTING"),
    ("CPUHP_AP_TICK_DYING", "STARTING"),
    ("CPUHP_AP_ONLINE_IDLE", "ONLINE"),
    ("CPUHP_AP_WORKQUEUE_ONLINE", "ONLINE"),
    ('"drv_a"', "ONLINE"),
    ('"drv_b"', "ONLINE"),
    ("CPUHP_AP_ACTIVE", "ONLINE"),
    ("CPUHP_ONLINE", "ONLINE"),
)
EMPTY = "CPUHP_AP_ONLINE_IDLE"  # the machine has none: its callbacks play no part
SECTION = dict(TABLE)
ROWS = tuple(SECTION)
CONSTANTS = tuple(row for row in ROWS if row.startswith("CPUHP"))


@dataclass(frozen=True)
class Callback:
    direction: str
    name: str
    param: str
    row: str
    body: Statement
    end: End

    @property
    def head(self):
        return f"{self.direction} {self.name}({self.param}) for {self.row} fails"

    @property
    def text(self):
        return f"{self.head} {{ {self.body.text} }}"


WALKS = tuple(
    (section, direction)
    for section in ("ONLINE", "STARTING", "PREPARE")
    for direction in ("startup", "teardown")
)


@dataclass
class Table:
    """The callbacks of a program. `rows` are the hotplug states that it steps through.

    Only callbacks of `walks` can be invoked here: none invokes itself.
    """

    callbacks: list[Callback] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    walks: tuple[tuple[str, str], ...] = WALKS
    loops: bool = False  # in callbacks, which then no atomic block can invoke
    named: tuple[str, ...] = CONSTANTS  # the states that the program can name

    def read(self, text: str) -> None:
        """Find out which states the program names or has callbacks for."""
        for callback in self.callbacks:
            text = text.replace(callback.head, "")
        named = words(text) | {c.row for c in self.callbacks if c.row != EMPTY}
        self.rows[:] = [n for n, row in enumerate(ROWS) if row in named]

    def step(self, row: int, by: int) -> int:
        at = self.rows.index(row) + by
        return self.rows[max(0, min(len(self.rows) - 1, at))]

    # -- terms -------------------------------------------------------------------

    def constant(self, w, *names):
        name = w.pick(*(names or self.named))
        return Value(name, lambda s: ROWS.index(name))

    def row(self, w, depth=1):
        """A hotplug state: in variables and states it is its number in ROWS."""
        kind = w.random.random() if depth else w.random.random() * 0.7
        if kind < 0.2:
            return self.constant(w)
        if kind < 0.5 and w.scope.rows:
            name = w.pick(*w.scope.rows)
            return Value(name, lambda s: s[name])
        if kind < 0.7:
            cpu = w.cpu(0)
            text = f"state[{cpu.text}]"
            return Value(text, lambda s: looked_up(s["state"], cpu(s), self.rows[0]))
        inner, by = self.row(w, depth - 1), w.pick(1, -1)
        word = "next_state" if by > 0 else "prev_state"
        return Value(f"{word}({inner.text})", lambda s: self.step(inner(s), by))

    def near(self, w, row):
        """The row itself, if the program names it, or what follows one that it names."""
        if row in self.named:
            return self.constant(w, row)
        before = [name for name in self.named if ROWS.index(name) < ROWS.index(row)]
        if not before:
            return self.row(w)
        inner = self.constant(w, before[-1])
        return Value(f"next_state({inner.text})", lambda s: self.step(inner(s), 1))

    def compared(self, w):
        a, b = self.row(w), self.row(w, 0)
        op = w.pick("==", "<", "<=", ">", "!=")
        return Value(f"{a.text} {op} {b.text}", lambda s: HOLDS[op](a(s), b(s)))

    def write(self, seed, needs, many):
        """Callbacks; each can invoke those of later walks."""
        first = Writer(seed)
        places = [(row, d) for row in ROWS[1:] for d in ("startup", "teardown")]
        likely = [p for p in places if p[0] in self.named or '"' in p[0]] * 4
        for number in range(many):
            row, direction = first.pick(*places, *likely)
            if any((c.row, c.direction) == (row, direction) for c in self.callbacks):
                continue
            name, param = f"call{number}", f"who{number}"
            w = Writer(seed + number, prefix=name, needs=needs | {"rows", "returns"})
            w.scope = replace(w.scope, cpus=(param,))
            later = WALKS[WALKS.index((SECTION[row], direction)) + 1 :]
            w.table, w.loops = replace(self, walks=later), self.loops
            w.own, w.body, w.end = param, name, End(name)
            body = w.program(2, 1)
            if w.pick(True, False):
                body = both(body, leaving(w))
            self.callbacks.append(Callback(direction, name, param, row, body, w.end))


def invoked(w, depth):
    """`r = invoke_...(SECTION, cpu, state);`, and perhaps what follows if it failed."""
    if not w.table.walks or (w.table.loops and not w.loops):
        return assignment(w, depth)
    section, direction = w.pick(*w.table.walks[:2], *w.table.walks)
    cpu, row = w.cpu(w.pick(0, 0, 1)), w.table.row(w)
    there = [
        c for c in w.table.callbacks if (SECTION[c.row], c.direction) in w.table.walks
    ]
    if there and w.chance(0.8):
        wanted = w.pick(*there)
        section, direction = SECTION[wanted.row], wanted.direction
        row = w.table.near(w, wanted.row)
    call = Call(w.table, section, direction, cpu, row)
    kind = w.random.random()
    if kind < 0.3:
        return call.into(None)
    if kind < 0.5:
        return call.into(w.pick("x", "y"))
    name = w.fresh()
    made = call.into(name, declare="bool ")
    w.scope = replace(w.scope, flags=(*w.scope.flags, name))
    return made


@dataclass(frozen=True)
class Call:
    table: Table
    section: str
    direction: str
    cpu: Value
    row: Value

    def into(self, name, declare=""):
        call = (
            f"invoke_{self.direction}({self.section}, {self.cpu.text}, {self.row.text})"
        )
        text = f"{declare}{name} = {call};" if name else f"{call};"
        cpu, result = f"cpu{id(self)}", f"result{id(self)}"
        passed = put(cpu, self.cpu)
        kept = moved(result, name) if name else forgotten(result)
        none = (put(result, lambda s: False), End(cpu, (cpu,)), kept)
        ways = {}

        def chosen(s):
            if not ways:
                ways[NONE] = none
                for callback in self.table.callbacks:
                    here = SECTION[callback.row], callback.direction
                    if here == (self.section, self.direction) and callback.row != EMPTY:
                        row = ROWS.index(callback.row)
                        ways[row] = self._of(callback, cpu, result, kept)
            return [ways.get(self.row(s), none)]

        return Statement(text, (passed, Branch(chosen)))

    def _of(self, callback, cpu, result, kept):
        mine, param = callback.name, callback.param
        begun = Do(lambda s: [s | {param: s[cpu], mine: False}])
        over = Do(
            lambda s: [
                without(s, param, *(k for k in s if k.startswith(mine)))
                | {result: s[mine]}
            ]
        )
        end = End(cpu, (cpu,))
        return (begun, *callback.body.nodes, callback.end, over, end, kept)


def forgotten(name):
    return Do(lambda s: [without(s, name)])


def walk(w, depth):
    """As a hotplug thread goes: up to a state, and back down where a callback failed."""
    table = w.table
    if not table.walks:
        return assignment(w, depth)
    section = w.pick("ONLINE", *(section for section, _ in table.walks))
    found = [direction for s, direction in table.walks if s == section]
    if len(found) < 2:
        return assignment(w, depth)
    at, failed, cpu = w.fresh(), w.fresh(), w.cpu(0)
    here = Value(at, lambda s: s[at])
    up = w.pick(True, True, False)
    end = table.constant(w, *table.named[1:] if up else table.named[:-1])
    direction, by = ("startup", 1) if up else ("teardown", -1)
    first = table.constant(w) if w.chance(0.5) else table.row(w, 0)
    stops = w.chance(0.7)
    step = put(at, lambda s: table.step(s[at], by))
    word, op = ("next_state", "<") if up else ("prev_state", ">")

    def on(s):
        return HOLDS[op](s[at], end(s)) and not (stops and s[failed])

    call = Call(table, section, direction, cpu, here)
    made = call.into(failed)
    undo = Call(table, section, "teardown" if up else "startup", cpu, here).into(None)
    test = f"{at} {op} {end.text}" + (f" && !{failed}" if stops else "")
    before = w.chance(0.5)
    step_text = f"{at} = {word}({at});"
    body_text = f"{step_text} {made.text}" if before else f"{made.text} {step_text}"
    body = (step, *made.nodes) if before else (*made.nodes, step)
    text = f"hpstate {at} = {first.text}; bool {failed} = false; while ({test}) {{ {body_text} }}"
    nodes = (put(at, first), put(failed, lambda s: False), While(on, body))
    walked = Statement(text, nodes)
    flag = Value(failed, lambda s: s[failed])
    w.scope = replace(w.scope, rows=(*w.scope.rows, at), flags=(*w.scope.flags, failed))
    last = kept(w, Value(at, lambda s: s[at]), cpu)
    return both(walked, decided(flag, undo, w.pick(None, last)), last)


def kept(w, value, cpu):
    text = f"state[{cpu.text}] = {value.text};"

    def write(s, new):
        return s | {"state": changed(s["state"], cpu(s), new)}

    if "state" in words(value.text):
        read = put("register", value)

        def then(s):
            left = without(s, "register")
            return [write(left, s["register"])]

        return Statement(text, (read, Do(then)))
    return Statement(text, (Do(lambda s: [write(s, value(s))]),))


def passed_on(w, depth):
    """The variable that a callback's CPU may come from is another one; is it the same?"""
    other = w.pick("to", "from")
    value = w.pick(Value("none", lambda s: NONE), Value("boot", lambda s: 0))
    mine, row = Value(w.own, lambda s: s[w.own]), w.cpu(0)
    test = Value(f"{mine.text} == {row.text}", lambda s: mine(s) == row(s))
    moved_on = Statement(f"{other} = {value.text};", (put(other, value),))
    return both(moved_on, decided(test, TOLD))


def of_rows(w, depth):
    kind = w.random.random()
    if kind < 0.3:
        return kept(w, w.table.row(w), w.cpu())
    if kind < 0.6:
        return decided(w.table.compared(w), TOLD)
    name, row = w.fresh(), w.table.row(w)
    w.scope = replace(w.scope, rows=(*w.scope.rows, name))
    return Statement(f"hpstate {name} = {row.text};", (put(name, row),))


KINDS += [
    Kind(0.6, invoked, needs="rows"),
    Kind(0.3, passed_on, needs="returns"),
    Kind(0.25, of_rows, needs="rows"),
    Kind(0.2, walk, needs="rows", loops=True),
]
