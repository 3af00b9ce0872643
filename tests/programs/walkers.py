"""Walks over the hotplug table as the core does them: a control task that kicks the
threads of CPUs, which go from row to row, and back where a callback fails.

States are compared with named rows as a rule, so that a slice may merge the others.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from second_reading import (
    Branch,
    Do,
    End,
    For,
    Forever,
    Statement,
    While,
    changed,
    in_order,
    looked_up,
    named,
)

from programs.hotplug import EMPTY, ROWS, SECTION, Call, Callback, Table, kept
from programs.statements import (
    TOLD,
    atomic,
    conditional,
    decided,
    leaving,
    put,
    stored,
)
from programs.waiting import until
from programs.writer import HOLDS, KINDS, Kind, Value, Writer, both

FIRST = "CPUHP_OFFLINE"  # a table whose first row nobody names is not merged
WALKS = f"""percpu atomic hpstate goal = {FIRST}; percpu completion came;
percpu atomic bool kick; percpu atomic bool outcome;
"""
OPEN = "shared hpstate low = any; shared hpstate high = any;"


def first_walks(cpus):
    nobody = (False,) * cpus
    return {"goal": (ROWS.index(FIRST),) * cpus} | dict.fromkeys(
        ("kick", "outcome", "came"), nobody
    )


class Walked(Table):
    """A table whose rows between the named ones are told apart by few programs.

    With `open` there are two rows that may be any at first.
    """

    open = False
    does = 0.5  # how often a callback does anything, and how often it may fail

    def opened(self, every):
        """The first states, with all values that these rows may have."""
        for low, high in product(self.rows, repeat=2):
            yield from (s | {"low": low, "high": high} for s in every)

    def assumed(self, w):
        """One of them is below the other, and perhaps both between two named ones."""
        a, b = sorted(w.random.sample(self.named, 2), key=ROWS.index)
        first, last = ROWS.index(a), ROWS.index(b)
        if w.chance(0.5):
            return Value("low < high", lambda s: s["low"] < s["high"])
        text = f"({a} < low && low < high && high < {b})"
        return Value(text, lambda s: first < s["low"] < s["high"] < last)

    def compared(self, w):
        op = w.pick("==", "<", "<=", ">", "!=")
        if w.chance(0.3):
            name, row, among = w.fresh(), self.constant(w), w.pick(0, 1)
            text = f"exists({name} in {('cpus', 'aps')[among]} : state[{name}] {op} {row.text})"

            def found(s):
                every = s["state"]
                ats = [every[cpu] for cpu in range(among, s["cpus"])]
                return any(HOLDS[op](at, row(s)) for at in ats)

            return Value(text, found)
        a = state_of(self, w.cpu(0))
        rows = (*w.scope.rows, "low", "high") if self.open else w.scope.rows
        if rows and w.chance(0.5):
            name = w.pick(*rows)
            a = Value(name, lambda s: s[name])
        b = self.constant(w) if w.chance(0.8) else state_of(self, w.cpu(0))
        return Value(f"{a.text} {op} {b.text}", lambda s: HOLDS[op](a(s), b(s)))

    def write(self, seed, needs, many):
        """Small callbacks at most rows of a section, some of which may fail."""
        first = Writer(seed)
        wanted = first.pick("ONLINE", "ONLINE", "ONLINE", "STARTING", "PREPARE")
        for number, (row, direction) in enumerate(
            (row, d) for row in ROWS[1:-1] for d in ("startup", "teardown")
        ):
            often = 0.7 if SECTION[row] == wanted else 0.1
            if row == EMPTY or not first.chance(often):
                continue
            name, param = f"call{number}", f"who{number}"
            w = Writer(seed + number, prefix=name, needs=needs | {"returns"})
            w.scope = replace(w.scope, cpus=(param,))
            w.own, w.body, w.end = param, name, End(name)
            body = w.program(1, 1) if w.chance(self.does) else Statement("", ())
            if w.chance(self.does):
                body = both(body, failing(w))
            self.callbacks.append(Callback(direction, name, param, row, body, w.end))


def failing(w):
    fails = leaving(w)
    if w.chance(0.5):
        return decided(w.test(0), fails)
    text = f"either {{ {fails.text} }} or {{ ; }}"
    return Statement(text, (Branch(lambda s: [fails.nodes, ()]),))


def state_of(table, cpu):
    text = f"state[{cpu.text}]"
    return Value(text, lambda s: looked_up(s["state"], cpu(s), table.rows[0]))


# -- statements of those who look on -------------------------------------------------


def looked(w, depth):
    return decided(w.table.compared(w), TOLD)


def remembered(w, depth):
    name, state = w.fresh(), state_of(w.table, w.cpu(0))
    w.scope = replace(w.scope, rows=(*w.scope.rows, name))
    made = Statement(f"hpstate {name} = {state.text};", (put(name, state),))
    return made if w.chance(0.4) else both(made, looked(w, depth))


def set_state(w, depth):
    return kept(w, w.table.constant(w), w.cpu(0))


def stepped(w, depth):
    """One row on; of one CPU, or of all at once."""
    table, by, kind = w.table, w.pick(1, 1, -1), w.random.random()
    word = "next_state" if by > 0 else "prev_state"
    if kind < 0.4 and w.scope.rows:
        name = w.pick(*w.scope.rows)
        on = put(name, lambda s: table.step(s[name], by))
        return Statement(f"{name} = {word}({name});", (on,))
    if kind < 0.8:
        cpu = w.cpu(0)
        state = state_of(table, cpu)
        value = Value(f"{word}({state.text})", lambda s: table.step(state(s), by))
        made = kept(w, value, cpu)
        return atomic(made) if w.chance(0.5) else made
    name, test = w.element()

    def done(s):
        rows = state = s["state"]
        for cpu in range(s["cpus"]):
            if test(named(s, name, cpu)):
                state = changed(state, cpu, table.step(rows[cpu], by))
        return [s | {"state": state}]

    text = (
        f"forall ({name} in cpus : {test.text}) state[{name}] = {word}(state[{name}]);"
    )
    return Statement(text, (Do(done),))


def some_rows_on(w, depth):
    """Step after step, with nothing in between; then somebody looks."""
    made, scope = [], w.scope
    if not w.scope.rows or w.chance(0.4):
        name, first = w.fresh(), w.table.constant(w)
        w.scope = replace(scope, rows=(name,))
        made.append(Statement(f"hpstate {name} = {first.text};", (put(name, first),)))
    made += [stepped(w, depth)] * w.pick(1, 2, 3, 4)
    made.append(looked(w, depth))
    if made[0].text.startswith("hpstate"):
        w.scope = replace(scope, rows=(*scope.rows, name))
    return both(*made)


# -- the control task ----------------------------------------------------------------


def kicked(w, depth):
    """The thread of a CPU is told where to go; it may be waited for, and asked."""
    cpu, goal = w.cpu(0), w.table.constant(w)
    parts = [at_cpu("goal", cpu, goal), at_cpu("kick", cpu, TRUE)]
    asked = both(*parts)
    if w.chance(0.5):
        asked = atomic(asked)
    if w.chance(0.3):
        return asked

    def over(s):
        there = looked_up(s["came"], cpu(s), False)
        return [s | {"came": changed(s["came"], cpu(s), False)}] if there else []

    waits = Statement(f"wait_for_completion(came[{cpu.text}]);", (Do(over),))
    failed = Value(
        f"outcome[{cpu.text}]", lambda s: looked_up(s["outcome"], cpu(s), False)
    )
    then = w.pick(TOLD, looked(w, 0), stored(w, "x", failed, bool))
    return both(asked, waits, decided(failed, then) if w.chance(0.6) else then)


TRUE = Value("true", lambda s: True)


def at_cpu(name, cpu, value):
    def done(s):
        return [s | {name: changed(s[name], cpu(s), value(s))}]

    return Statement(f"{name}[{cpu.text}] = {value.text};", (Do(done),))


def one_by_one(w, depth):
    sealed, w.sealed = w.sealed, True
    with w.naming() as name:
        w.scope = replace(w.scope, cpus=(name,))
        body = kicked(w, 0)
    w.sealed = sealed

    def aps(s):
        return in_order(s, range(1, s["cpus"]))

    node = For(name, aps, lambda s: True, body.nodes)
    return Statement(f"for ({name} in aps) {{ {body.text} }}", (node,))


# -- a thread that walks -------------------------------------------------------------


class Walk:
    """The walks of one thread: `at` is where it is, `failed` whether a callback did."""

    def __init__(self, w, cpu):
        self.w, self.table, self.cpu = w, w.table, cpu
        self.at, self.failed = w.fresh(), w.fresh()
        self.section = w.pick("ONLINE", "ONLINE", *SECTION.values())
        self.halts = w.pick(None, None, "x", "y")
        self.shows = w.chance(0.3)  # each row, in `state`
        first = self.table.constant(w)
        goal = Value(
            f"goal[{cpu.text}]",
            lambda s: looked_up(s["goal"], cpu(s), self.table.rows[0]),
        )
        self.goal = w.pick(first, goal)
        here = state_of(self.table, self.cpu)
        self.begun = here if w.chance(0.8) else self.table.constant(w)

    def step(self, by):
        word = "next_state" if by > 0 else "prev_state"
        on = put(self.at, lambda s: self.table.step(s[self.at], by))
        return Statement(f"{self.at} = {word}({self.at});", (on,))

    def row(self):
        at = self.at
        return Value(at, lambda s: s[at])

    def there(self):
        return at_cpu("state", self.cpu, self.row())

    def way(self, direction, goal, first, stops=True):
        """`while (at < goal && !failed) ...`, one row after the other."""
        at, failed, halts = self.at, self.failed, self.halts if stops else None
        by, op = (1, "<") if direction == "startup" else (-1, ">")
        made = Call(self.table, self.section, direction, self.cpu, self.row())
        call = made.into(failed) if stops else made.into(None)
        body = both(self.step(by), call) if first else both(call, self.step(by))
        if self.shows:
            body = both(body, self.there())
        text = f"{at} {op} {goal.text}" + (f" && !{failed}" if stops else "")
        text += f" && !{halts}" if halts else ""

        def on(s):
            if not HOLDS[op](s[at], goal(s)):
                return False
            return not (stops and s[failed]) and not (halts and s[halts])

        return Statement(f"while ({text}) {{ {body.text} }}", (While(on, body.nodes),))

    def back(self, direction):
        """What was done is undone; the row that failed is not, as a rule."""
        w, by = self.w, -1 if direction == "startup" else 1
        down = "teardown" if direction == "startup" else "startup"
        end = (
            self.table.constant(w) if w.chance(0.7) else state_of(self.table, self.cpu)
        )
        undone = self.way(down, end, by > 0, stops=False)
        if w.chance(0.8) and by < 0:
            undone = both(self.step(by), undone)
        failed = Value(self.failed, lambda s: s[self.failed])
        return decided(failed, undone)

    def both_ways(self):
        w, at = self.w, self.row()
        up = both(self.way("startup", self.goal, True), self.back("startup"))
        down = self.way("teardown", self.goal, False)
        if w.chance(0.5):
            down = both(down, self.back("teardown"))
        kind = w.random.random()
        if kind < 0.3:
            return up
        if kind < 0.6:
            return down
        less = Value(f"{at.text} < {self.goal.text}", lambda s: at(s) < self.goal(s))
        return decided(less, up, down)

    def over(self):
        failed = Value(self.failed, lambda s: s[self.failed])
        told = both(
            self.there(),
            at_cpu("outcome", self.cpu, failed),
            at_cpu("came", self.cpu, TRUE),
        )
        return atomic(told) if self.w.chance(0.6) else told

    def begin(self):
        at, failed = self.at, self.failed
        text = f"hpstate {at} = {self.begun.text}; bool {failed} = false;"
        return Statement(text, (put(at, self.begun), put(failed, lambda s: False)))

    def once(self):
        return both(self.begin(), self.both_ways(), self.over())

    def served(self):
        """For ever, when it is kicked."""
        kick = Value("kick[cpu]", lambda s: s["kick"][self.cpu(s)])
        asked = both(
            until(kick, True), at_cpu("kick", self.cpu, Value("false", lambda s: False))
        )
        asked = atomic(asked) if self.w.chance(0.5) else asked
        whole = both(asked, self.begin(), self.both_ways(), self.over())
        return Statement(f"for (;;) {{ {whole.text} }}", (Forever(whole.nodes),))


OWN = Value("cpu", lambda s: s["cpu"])


def walked(w, depth):
    """Who has no thread walks by itself."""
    made = Walk(w, w.cpu(0) if w.own is None else OWN)
    return made.once()


KINDS += [
    Kind(0.35, looked, needs="walks"),
    Kind(0.2, remembered, needs="walks"),
    Kind(0.1, set_state, needs="walks"),
    Kind(0.2, stepped, needs="walks"),
    Kind(0.8, some_rows_on, needs="walks"),
    Kind(0.3, conditional, needs="walks", deep=True),
    Kind(0.2, walked, needs="alone", loops=True),
]
