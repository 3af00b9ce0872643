"""Formulas, functions that take sets, options, constants, and what is there for proofs.

A formula stands for its text; an argument of a function that is no set is read in a step.
"""

from __future__ import annotations

from itertools import product

from second_reading import (
    NONE,
    Branch,
    Do,
    End,
    For,
    Return,
    Statement,
    changed,
    held,
    in_order,
    looked_up,
    named,
    without,
)

from programs.regions import own_number
from programs.statements import assignment, moved, put
from programs.words import NUMBERS
from programs.writer import KINDS, Kind, Value

TOP = 2  # the value of an option
_TEXT = f"""option bool chosen = true; option int 0..3 top = {TOP};
const percpu cpu? peer = {{peer}}; const shared int 0..2 width; shared auxiliary bool noted;
bool other(cpu? k) = exists(d in cpus : d != k && hit[d]);
int 0..3 sum(int 0..4 p, cpu? k) = p + num[k];
cpu? partner(cpu? k) = peer[k] == none ? via[k] : peer[k];
cpumask around(cpumask group, cpu? k) = group - {{k}};
void mark(cpumask group, cpu? k) {{ cpumask_set_cpu(k, group); num[k] = top; }}
int 0..3 many(cpumask group) {{ int 0..4 n = weight(group); if (n > 1) {{ return c; }} return n; }}
cpu? other_of(cpumask group, cpu? k) {{ cpu? found = any(d in group : d != k); return found; }}
bool raised(cpumask group) {{
    bool found = false;
    for (d in group : num[d] < 2) {{ found = true; num[d]++; }}
    return found;
}}
void both_marked(cpu? k) {{ mark(hit, k); mark(up, partner(k)); }}
"""


def declared(several):
    """The text of all these. Several processes have too many states for any `peer`."""
    return _TEXT.replace("{peer}", "none" if several else "any")


def first_functions(cpus, several):
    """All values that the constants may have."""
    peers = [(NONE,) if several else (*range(cpus), NONE)] * cpus
    for width, *peer in product(range(3), *peers):
        yield {"width": width, "peer": tuple(peer), "noted": False}


# -- terms ---------------------------------------------------------------------------


def summed(w, depth):
    kind = w.random.random()
    if kind < 0.3:
        return Value("top", lambda s: TOP)
    if kind < 0.5:
        return Value("width", lambda s: s["width"])
    number, cpu = w.number(depth - 1), w.cpu(0)
    return Value(
        f"sum({number.text}, {cpu.text})",
        lambda s: held(held(number(s), 4) + looked_up(s["num"], cpu(s), 0), 3),
    )


def is_another(w):
    if w.chance(0.3):
        return Value("chosen", lambda s: True)
    cpu = w.cpu(1)

    def holds(s):
        return any([s["hit"][d] for d in range(s["cpus"]) if d != cpu(s)])

    return Value(f"other({cpu.text})", holds)


def partner(w, depth):
    cpu = w.cpu(depth - 1)
    text = f"peer[{cpu.text}]" if w.chance(0.4) else f"partner({cpu.text})"

    def found(s):
        peer = looked_up(s["peer"], cpu(s), NONE)
        if peer == NONE and text.startswith("partner"):
            return looked_up(s["via"], cpu(s), NONE)
        return peer

    return Value(text, found)


def around(w, depth):
    among, cpu = w.set(depth - 1), w.cpu(0)
    text = f"around({among.text}, {cpu.text})"
    return Value(text, lambda s: among(s) - {cpu(s)})


# -- statements ----------------------------------------------------------------------


def marking(name, param):
    """The body of `mark`."""

    def number(s):
        return [s | {"num": changed(s["num"], s[param], min(TOP, 2))}]

    def bit(s):
        return [s | {name: changed(s[name], s[param], True)}]

    return Do(bit), Do(number)


def marked(w, depth):
    cpu = w.cpu(1)
    if w.chance(0.3):
        again = Do(
            lambda s: [s | {"inner": partner_of(s, s["outer"])}],
        )
        nodes = (
            put("outer", cpu),
            *(put("inner", lambda s: s["outer"]), *marking("hit", "inner")),
            *(again, *marking("up", "inner"), End("both", ("inner", "outer"))),
        )
        return Statement(f"both_marked({cpu.text});", nodes)
    name = w.pick("hit", "up")
    nodes = (put("inner", cpu), *marking(name, "inner"), End("mark", ("inner",)))
    return Statement(f"mark({name}, {cpu.text});", nodes)


def partner_of(s, cpu):
    peer = looked_up(s["peer"], cpu, NONE)
    return looked_up(s["via"], cpu, NONE) if peer == NONE else peer


def counted_in(w, depth):
    among, name = w.set(1), w.pick(*NUMBERS)
    end = End("many", ("n",))

    def given(value):
        return Return(lambda s: [s | {"result": held(value(s), 3)}], end)

    nodes = (
        put("n", lambda s: held(len(among(s)), 4)),
        Branch(lambda s: [(given(lambda s: s["c"]),) if s["n"] > 1 else ()]),
        *(given(lambda s: s["n"]), end),
        Do(lambda s: [without(s, "result") | {name: held(s["result"], NUMBERS[name])}]),
    )
    return Statement(f"{name} = many({among.text});", nodes)


def chosen(w, depth):
    """Choices by their names in the kernel, and one in a function."""
    name, among, but = w.pick("to", "from"), w.set(1), w.cpu(0)
    kind = w.pick("any_but", "and_but", "first", "last", "function")
    other = w.set(0)
    if kind == "function":
        picks = put("inner", but)
        found = Do(
            lambda s: [s | {"result": cpu} for cpu in among(s) - {s["inner"]} or {NONE}]
        )
        text = f"{name} = other_of({among.text}, {but.text});"
        end = End("other_of", ("inner",))
        return Statement(text, (picks, found, end, moved("result", name)))
    args = {
        "any_but": f"any_but({among.text}, {but.text})",
        "and_but": f"any_and_but({among.text}, {other.text}, {but.text})",
    }.get(kind, f"{kind}({among.text})")

    def done(s):
        found = in_order(s, among(s))
        if kind.endswith("but"):
            found = [c for c in found if c != but(s)]
        if kind == "and_but":
            found = [c for c in found if c in other(s)]
        found = {"first": found[:1], "last": found[-1:]}.get(kind, found)
        return [s | {name: cpu} for cpu in found or [NONE]]

    return Statement(f"{name} = cpumask_{args};", (Do(done),))


def all_raised(w, depth):
    """A loop in a function, over a set that it is given."""
    if not w.loops:
        return assignment(w, depth)
    among, name = w.set(1), w.pick("x", "y")
    element = Value("d", lambda s: s["d"])
    add = Do(lambda s: [s | {"register": held(s["num"][element(s)] + 1, 2)}])

    def store(s):
        new = changed(s["num"], s["d"], s["register"])
        return [without(s, "register") | {"num": new}]

    body = (put("found", lambda s: True), add, Do(store))
    nodes = (
        put("found", lambda s: False),
        For(
            "d",
            lambda s: in_order(s, among(s)),
            lambda s: s["num"][s["d"]] < 2,
            body,
        ),
        put("result", lambda s: s["found"]),
        End("raised", ("found",)),
        moved("result", name),
    )
    return Statement(f"{name} = raised({among.text});", nodes)


def by_option(w, depth):
    """What an option decides takes no step, and the other branch is not there."""
    inner, other = w.block(depth - 1), w.block(depth - 1)
    test, holds = w.pick(("chosen", True), ("top == 1", False), ("!chosen", False))
    text = f"if ({test}) {{ {inner.text} }} else {{ {other.text} }}"
    return Statement(text, (inner if holds else other).nodes)


def for_some(w, depth):
    """A `forall` about those of a set of which something holds."""
    among = w.set(1)
    with w.naming() as who:
        value, test = w.cpu(1), w.test(1)

    def done(s):
        via = s["via"]
        for cpu in among(s):
            here = named(s, who, cpu)
            if test(here):
                via = changed(via, cpu, value(here))
        return [s | {"via": via}]

    text = f"forall ({who} in {among.text} : {test.text}) via[{who}] = {value.text};"
    return Statement(text, (Do(done),))


def noted(w, depth):
    test = w.test(1)
    return Statement(f"noted = {test.text};", (put("noted", test, bool),))


KINDS += [
    Kind(0.15, marked, needs="functions"),
    Kind(0.1, counted_in, needs="functions"),
    Kind(0.15, chosen, needs="functions"),
    Kind(0.1, all_raised, needs="functions"),
    Kind(0.1, own_number, needs="functions"),
    Kind(0.1, by_option, needs="functions", deep=True),
    Kind(0.1, for_some, needs="functions"),
    Kind(0.05, noted, needs="functions"),
]
