"""Statements of one process that waits for nobody."""

from __future__ import annotations

from dataclasses import replace

from second_reading import (
    NONE,
    Assert,
    At,
    Atomic,
    Branch,
    Do,
    End,
    For,
    Jump,
    Return,
    Statement,
    While,
    changed,
    held,
    in_order,
    looked_up,
    named,
    without,
)

from programs.words import MASKS, NUMBERS, PHASES
from programs.writer import KINDS, Kind, Value, both, mask


def put(name, value, kept=lambda value: value):
    return Do(lambda s: [s | {name: kept(value(s))}])


def moved(source, name):
    """What was read into `source` is stored."""
    return Do(lambda s: [without(s, source) | {name: s[source]}])


def atomic(statement):
    return Statement(f"atomic {{ {statement.text} }}", (Atomic(statement.nodes),))


def decided(test, then, other=None):
    text = f"if ({test.text}) {{ {then.text} }}"
    if other is not None:
        text += f" else {{ {other.text} }}"
    no = other.nodes if other is not None else ()
    return Statement(text, (Branch(lambda s: [then.nodes if test(s) else no]),))


def words(text: str) -> set[str]:
    found = "".join(c if c.isalnum() or c == "_" else " " for c in text)
    return set(found.split())


TOLD = Statement("seen = true;", (put("seen", lambda s: True),))

# -- assignments -------------------------------------------------------------------


def assignment(w, depth):
    kind = w.random.random()
    if kind < 0.4:
        return set_number(w)
    if kind < 0.5:
        return stored(w, w.pick("x", "y", *w.scope.flags), w.test(), bool)
    if kind < 0.7:
        name = w.pick(*MASKS[:2]) if "sets" in w.needs else "hit"
        return through(w, name, w.test(1), bool)
    if kind < 0.77:
        return through(w, "num", w.number(1), lambda n: held(n, 2))
    if kind < 0.8:
        return kept_as_a_rule(w)
    value = Value("none", lambda s: NONE) if kind < 0.84 else w.cpu()
    if kind < 0.92:
        return through(w, "via", value)
    return stored(w, w.pick("to", "from"), value)


def is_local(w, name):
    scope = w.scope
    return name in (*scope.numbers, *scope.flags, *scope.rows, *w.pointers)


def stored(w, name, value, kept=lambda value: value):
    """To read a variable and to write it are two steps, if others may look."""
    text = f"{name} = {value.text};"
    if is_local(w, name) or name not in words(value.text):
        return Statement(text, (put(name, value, kept),))
    return Statement(text, (put("register", value, kept), moved("register", name)))


def through(w, name, value, kept=lambda value: value, cpu=None):
    cpu = cpu or w.cpu()
    text = f"{name}[{cpu.text}] = {value.text};"

    def write(new):
        return Do(lambda s: [s | {name: changed(s[name], cpu(s), new(s))}])

    if name not in words(value.text):
        return Statement(text, (write(lambda s: kept(value(s))),))
    read = put("register", value, kept)

    def then(s):
        left = without(s, "register")
        return [left | {name: changed(s[name], cpu(s), s["register"])}]

    return Statement(text, (read, Do(then)))


def kept_as_a_rule(w):
    """Few programs change these, so in most of them they are constants."""
    name = w.pick("on", "level", "mate")
    if name == "on":
        return through(w, name, w.test(1), bool)
    if name == "level":
        less = w.number(1)
        more = Value(f"({less.text} + 1)", lambda s: less(s) + 1)
        return through(w, name, more, lambda n: max(1, held(n, 3)))
    who = w.pick("boot", *w.sure)
    return through(w, name, Value(who, lambda s: 0 if who == "boot" else s[who]))


def set_number(w, name=None):
    name = name or w.pick(*NUMBERS, *w.scope.numbers)
    most = {**NUMBERS, **w.scope.numbers}[name]
    value = w.number(w.pick(0, 2))
    return stored(w, name, value, lambda n: held(n, most))


def looked_at(w, depth, own=False):
    """Something is written, and what it is then is told to `seen`.

    With `own` it is a variable of the CPU that runs it.
    """
    kind, cpu = w.random.random(), w.cpu()
    if own:
        kind, cpu = 0.6 + kind * 0.4, Value("cpu", lambda s: s["cpu"])
    if kind < 0.4:
        name = w.pick(*NUMBERS, *w.scope.numbers)
        write = set_number(w, name)
        test = w.compared(Value(name, lambda s: s[name]))
    elif kind < 0.6:
        name, most = w.fresh(), w.pick(1, 2, 3)
        write = declare(w, name, most)
        test = w.compared(Value(name, lambda s: s[name]))
    elif kind < 0.8:
        write = through(w, "num", w.number(1), lambda n: held(n, 2), cpu)
        test = w.compared(w.read("num", 0, cpu))
    else:
        write = through(w, "hit", w.test(1), bool, cpu)
        is_hit = test = w.read("hit", False, cpu)
        if w.pick(True, False):
            test = Value(f"!{is_hit.text}", lambda s: not is_hit(s))
    all_of_it = both(write, decided(test, TOLD))
    return atomic(all_of_it) if w.pick(True, False) else all_of_it


def declaration(w, depth):
    name, most = w.fresh(), w.pick(1, 2, 3)
    if w.chance(0.25):
        test = w.test(1)
        w.scope = replace(w.scope, flags=(*w.scope.flags, name))
        return Statement(f"bool {name} = {test.text};", (put(name, test, bool),))
    declared = declare(w, name, most)
    w.scope = replace(w.scope, numbers={**w.scope.numbers, name: most})
    return declared


def declare(w, name, most):
    value = w.number(w.pick(0, 2))
    made = put(name, value, lambda n: held(n, most))
    return Statement(f"int 0..{most} {name} = {value.text};", (made,))


def phase(w, depth):
    """Few programs write every value, and nobody writes the first on purpose."""
    name, cpu = w.fresh(), w.cpu()
    lamp = w.read("lamp", 0, cpu)
    value = w.pick(lamp, lamp, Value("light", lambda s: s["light"]))
    copied = Statement(f"phase {name} = {value.text};", (put(name, value),))
    number = w.pick(0, 1, 2)
    test = Value(f"{name} == {PHASES[number]}", lambda s: s[name] == number)
    told = TOLD
    if w.pick(True, False):
        then = put("light", lambda s: s[name])
        told = both(told, Statement(f"light = {name};", (then,)))
    return both(copied, decided(test, told))


# -- choices, sets, counters, instances ----------------------------------------------


def choice(w, depth):
    name, order = w.pick("to", "from"), w.pick("any", "first", "last")
    among = w.set(1) if "sets" in w.needs else mask("hit")
    who, test = w.element()

    def chosen(state):
        found = [c for c in among(state) if test(named(state, who, c))]
        found = in_order(state, found)
        found = {"any": found, "first": found[:1], "last": found[-1:]}[order]
        return [state | {name: cpu} for cpu in found or [NONE]]

    text = f"{name} = {order}({who} in {among.text} : {test.text});"
    return Statement(text, (Do(chosen),))


def forall(w, depth):
    value, everybody = w.number(1), w.pick(True, False)

    def done(state):
        num = state["num"]
        for cpu in range(state["cpus"]) if everybody else mask("hit")(state):
            num = changed(num, cpu, held(value(state), 2))
        return [state | {"num": num}]

    among = "cpus" if everybody else "hit"
    text = f"forall (who in {among}) num[who] = {value.text};"
    return Statement(text, (Do(done),))


def whole_mask(w, depth):
    """All bits at once, whatever they are made of."""
    name, among = w.pick("hit", "up"), w.set(2)

    def done(s):
        bits = tuple(c in among(s) for c in range(s["cpus"]))
        return [s | {name: bits}]

    return Statement(f"{name} = {among.text};", (Do(done),))


def exchanged(w, depth):
    """Two assignments for all elements of a set: both read the state before."""
    among = w.set(1)
    with w.naming() as who:
        value, test = w.number(1), w.test(0)

    def done(s):
        num, hit = s["num"], s["hit"]
        for cpu in among(s):
            here = named(s, who, cpu)
            num = changed(num, cpu, held(value(here), 2))
            hit = changed(hit, cpu, bool(test(here)))
        return [s | {"num": num, "hit": hit}]

    text = f"forall ({who} in {among.text}) {{ num[{who}] = {value.text}; "
    return Statement(f"{text}hit[{who}] = {test.text}; }}", (Do(done),))


def one_bit(w, depth):
    """One atomic step, though the bit is read and written."""
    cpu, name, new = w.cpu(), w.pick("hit", "up"), w.pick(True, False)
    word = "set" if new else "clear"

    def done(s):
        return s | {name: changed(s[name], cpu(s), new)}

    if w.pick(True, False):
        text = f"cpumask_{word}_cpu({cpu.text}, {name});"
        return Statement(text, (Do(lambda s: [done(s)]),))
    flag = w.fresh()
    w.scope = replace(w.scope, flags=(*w.scope.flags, flag))
    tested = Do(lambda s: [done(s) | {flag: looked_up(s[name], cpu(s), False)}])
    call = f"cpumask_test_and_{word}_cpu({cpu.text}, {name})"
    return Statement(f"bool {flag} = {call};", (tested,))


def counter(w, depth):
    """A number of CPUs is exact: it is not held."""
    kind = w.random.random()
    if kind < 0.5:
        value = w.number(1)
        text = f"total = {value.text};"

        if "total" not in words(value.text):
            return Statement(text, (put("total", value),))
        return Statement(text, (put("register", value), moved("register", "total")))
    return by_one("total", lambda number: number, w)


def number_by_one(w, depth):
    name = w.pick(*NUMBERS, *w.scope.numbers)
    most = {**NUMBERS, **w.scope.numbers}[name]
    return by_one(name, lambda number: held(number, most), w)


def by_one(name, kept, w):
    more = w.pick(1, -1)

    def after(s):
        return kept(s[name] + more)

    if more < 0 and w.pick(True, False):
        flag = w.fresh()
        w.scope = replace(w.scope, flags=(*w.scope.flags, flag))
        text = f"bool {flag} = atomic_dec_and_test({name});"
        return Statement(
            text, (Do(lambda s: [s | {name: after(s), flag: not after(s)}]),)
        )
    word = "inc" if more > 0 else "dec"
    return Statement(f"atomic_{word}({name});", (put(name, after),))


def of_irqs(w, depth):
    kind = w.random.random()
    if kind < 0.3:
        irq, value = w.irq(), w.test(1)
        return through(w, "pend", value, bool, irq)
    if kind < 0.5:
        return through(w, "target", w.cpu(), cpu=w.irq())
    who = w.fresh()
    scope, w.scope = w.scope, replace(w.scope, irqs=(*w.scope.irqs, who))
    test = w.test(0)
    if kind < 0.75 or not w.loops or not depth:
        w.scope = scope
        order = w.pick("any", "first", "last")

        def chosen(s):
            found = [i for i in range(2) if test(named(s, who, i))]
            found = {"any": found, "first": found[:1], "last": found[-1:]}[order]
            return [s | {"last": irq} for irq in found or [NONE]]

        text = f"last = {order}({who} in irq : {test.text});"
        return Statement(text, (Do(chosen),))
    body = looping(w, 1, seals=True)
    w.scope = scope
    node = For(who, lambda s: list(range(2)), test, body.nodes)
    text = f"for ({who} in irq : {test.text}) {{ {body.text} }}"
    return Statement(text, (node,))


# -- control flow --------------------------------------------------------------------


def call(w, depth):
    """A parameter takes a value of its own, and a result is stored in a step."""
    value = w.number(1)
    if w.chance(0.3):
        nodes = (
            put("p", value, lambda n: held(n, 2)),
            put("c", lambda s: held(s["p"], 1)),
            put("register", lambda s: not s["x"]),
            moved("register", "x"),
            put("result", lambda s: s["p"] == s["c"]),
            moved("result", "y"),
            End("swap", ("p",)),
        )
        return Statement(f"y = swap({value.text});", nodes)
    function, taken = w.pick(("same", 2), ("few", 4))
    name = w.pick(*NUMBERS)
    given = min(NUMBERS[name], 2)  # neither lets more than 2 through
    nodes = (
        put("p", value, lambda n: held(n, taken)),
        put(name, lambda s: held(s["p"], given)),
        End(function, ("p",)),
    )
    return Statement(f"{name} = {function}({value.text});", nodes)


def loop(w, depth):
    among = w.set(1) if "sets" in w.needs else mask("hit")
    with w.naming() as name:
        test = w.test(0)
        body = looping(w, 1, seals=True)
    node = For(name, lambda s: in_order(s, among(s)), test, body.nodes)
    text = f"for ({name} in {among.text} : {test.text}) {{ {body.text} }}"
    return Statement(text, (node,))


def looping(w, looped, seals=False):
    """A body that `continue` may stand in, or, with 2, `break` as well."""
    outer = w.looped, w.sealed
    w.looped, w.sealed = looped, w.sealed or seals
    body = w.block(0)
    w.looped, w.sealed = outer
    return body


def repeated(w, depth):
    test, body = w.test(1), looping(w, 2)
    text = f"while ({test.text}) {{ {body.text} }}"
    return Statement(text, (While(test, body.nodes),))


def counted(w, depth):
    """A loop that ends: what is unrolled."""
    name, most = w.fresh(), w.pick(2, 3)
    body = looping(w, 2)
    more = put(name, lambda s: held(s[name] + 1, most))
    first = Statement(f"int 0..{most} {name};", (put(name, lambda s: 0),))
    test = Value(f"{name} < {most}", lambda s: s[name] < most)
    # The step comes first, so that `continue` goes on.
    text = f"while ({test.text}) {{ {name} = {name} + 1; {body.text} }}"
    return both(first, Statement(text, (While(test, (more, *body.nodes)),)))


def jump(w, depth):
    """Out of the loop, or on with it, if there is one."""
    if not w.looped:
        return assignment(w, depth)
    leaves = w.looped > 1 and w.pick(True, False)
    word = "break;" if leaves else "continue;"
    return decided(w.test(0), Statement(word, (Jump(leaves),)))


def returned(w, depth):
    """Out of a callback; with an error, or without."""
    if w.body is None or w.sealed:
        return assignment(w, depth)
    return decided(w.test(0), leaving(w))


def leaving(w):
    name, end, kind = w.body, w.end, w.random.random()
    if kind < 0.5:
        value = w.pick(Value("0", lambda s: False), Value("-EBUSY", lambda s: True))
    else:
        value = w.test(1)

    def done(s):
        return [s | {name: bool(value(s))}]

    return Statement(f"return {value.text};", (Return(done, end),))


def in_one_step(w, depth):
    loops, w.loops = w.loops, False
    inner = w.block(depth - 1)
    w.loops = loops
    return atomic(inner)


def either(w, depth):
    inner, other = w.block(depth - 1), w.block(depth - 1)
    text = f"either {{ {inner.text} }} or {{ {other.text} }}"
    return Statement(text, (Branch(lambda s: [inner.nodes, other.nodes]),))


def conditional(w, depth):
    inner, other = w.block(depth - 1), w.block(depth - 1)
    return decided(w.test(), inner, w.pick(None, other))


def asserted(w, depth):
    word, test = w.pick("assert", "BUG_ON", "WARN_ON"), w.test(1)
    holds = test if word == "assert" else (lambda s: not test(s))
    node = Assert(holds, word == "WARN_ON")
    return Statement(f"{word}({test.text});", (node,))


def labelled(w, depth):
    scope = w.scope
    inner = w.statement(depth - 1)
    if scope is not w.scope or not inner.nodes:
        return inner  # a declaration cannot be named
    name = f"{w.prefix}{w.fresh()}"
    w.labels.append(name)
    first = At(name, inner.nodes[0])
    text = f"{name}: {{ {inner.text} }}"
    return Statement(text, (first, *inner.nodes[1:]))


PLAIN = frozenset({"locks"})  # about what else the programs are
KINDS += [
    Kind(0.1, assignment),
    Kind(0.26, looked_at, less=PLAIN),
    Kind(0.08, declaration, less=PLAIN),
    Kind(0.04, choice),
    Kind(0.03, phase, less=PLAIN),
    Kind(0.05, forall, less=PLAIN),
    Kind(0.04, call, less=PLAIN),
    Kind(0.03, number_by_one, less=PLAIN),
    Kind(0.03, jump),
    Kind(0.04, returned, needs="returns"),
    Kind(0.06, asserted, needs="asserts"),
    Kind(0.08, labelled, needs="labels", deep=True),
    Kind(0.05, whole_mask, needs="sets"),
    Kind(0.04, exchanged, needs="sets"),
    Kind(0.06, one_bit, needs="sets"),
    Kind(0.08, counter, needs="sets"),
    Kind(0.12, of_irqs, needs="irqs"),
    Kind(0.03, loop, deep=True, loops=True),
    Kind(0.01, repeated, deep=True, loops=True),
    Kind(0.02, counted, deep=True, loops=True),
    Kind(0.08, in_one_step, deep=True),
    Kind(0.05, either, deep=True),
    Kind(0.12, conditional, deep=True),
]
