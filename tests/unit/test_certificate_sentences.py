"""Sentences of an invariant: short, and true exactly where their clause is."""

import re
from dataclasses import replace
from itertools import product
from random import Random

import pytest
from builders import NOBODY, percpu, shared

from cpuhp.engines.certificate import sentences as module
from cpuhp.engines.certificate.sentences import domain, in_sentences, value_text
from cpuhp.model.invariant import Clause, Literal, Symbol
from cpuhp.model.sorts import CPU_OR_NONE, BoolSort, EnumSort, RangeSort
from cpuhp.model.system import Action, Process, Role, Runs, TransitionSystem

POINTS = EnumSort("points", ("up:1", "up:2", "up:2[A]", "down:7", "down:9"))
STATES = EnumSort("state", ("OFFLINE", "KICKED", "DYING", "DEAD", "ONLINE"))
SYSTEM = TransitionSystem(
    "spoken_of",
    (
        shared("busy"),
        shared("lock", CPU_OR_NONE, NOBODY),
        shared("n", RangeSort(0, 4)),
        shared("at.control", POINTS, role=Role.LOCATION),
        percpu("online"),
        percpu("state", STATES),
    ),
    (),
    (),
)


def literal(variable, *values, of=None):
    sort = SYSTEM.variable(variable).sort
    numbers = (sort.values.index(v) if type(v) is str else v for v in values)
    return Literal(variable, () if of is None else (of,), frozenset(numbers))


def said(*cubes):
    return list(in_sentences(SYSTEM, [Clause(cube) for cube in cubes]))


def test_what_is_never_so():
    busy, start = literal("busy", 1), literal("at.control", "up:1")
    assert said((busy,)) == ["never busy"]
    assert said((busy, start)) == ["never busy && at.control == up:1"]


def test_what_follows_where_that_is_shorter():
    left = literal("n", 0, 1, 2, 3)
    assert said((literal("busy", 1), left)) == ["busy => n == 4"]
    assert said((literal("busy", 0), left)) == ["always busy || n == 4"]
    assert said((literal("busy", 0),)) == ["always busy"]


def test_whom_a_pointer_points_to_then():
    nobody = Literal("lock", (), frozenset({Symbol.NONE, Symbol.OTHER}))
    (text,) = said((literal("online", 1, of=Symbol.I), nobody))
    assert text.endswith(": online[i] => lock in {boot, i}")


def test_whom_it_is_about():
    online, dying = (
        literal("online", 1, of=Symbol.I),
        literal("state", "DYING", of=Symbol.J),
    )
    assert said((online,)) == ["for every CPU i but the control CPU: never online[i]"]
    (text,) = said((online, dying))
    assert text == (
        "for all distinct CPUs i and j but the control CPU: "
        "never online[i] && state[j] == DYING"
    )
    assert said((literal("online", 0, of=Symbol.BOOT),)) == ["always online[boot]"]


def test_program_points_of_a_function_stand_together():
    points = literal("at.control", "up:1", "down:7", "up:2[A]")
    (text,) = said((points, literal("busy", 1)))
    assert text == "busy => at.control in {up:2, down:9}"
    (text,) = said((literal("at.control", "down:7", "up:1", "up:2[A]"),))
    assert text == "always at.control in {up:2, down:9}"
    (text,) = said((literal("at.control", "up:1", "up:2[A]"), literal("busy", 1)))
    assert text == "never at.control in {up:1 2[A]} && busy"


def test_values_that_a_variable_never_has_are_not_spoken_of():
    points = literal("at.control", "up:1", "up:2")
    never = literal("at.control", "up:2[A]", "down:7")
    assert said((points, literal("busy", 1)))[0].startswith("never at.control in {up:1")
    _, text = said((never,), (points, literal("busy", 1)))
    assert text == "busy => at.control == down:9"
    # What is said of any CPU i is no news about the control CPU.
    dying = literal("state", "DYING", "DEAD", of=Symbol.I)
    busy = literal("busy", 1)
    off = {
        whose: literal("state", "OFFLINE", "KICKED", of=whose)
        for whose in (Symbol.J, Symbol.BOOT)
    }
    _, of_j, of_boot = said((dying,), (off[Symbol.J], busy), (off[Symbol.BOOT], busy))
    assert of_j.endswith(": busy => state[j] == ONLINE")
    assert of_boot == "never state[boot] in {OFFLINE, KICKED} && busy"


def test_nobody_and_the_control_cpu_are_not_spoken_of_where_they_never_are():
    online = literal("online", 1, of=Symbol.I)
    others = Literal("lock", (), frozenset({Symbol.NONE, Symbol.OTHER}))
    never = Literal("lock", (), frozenset({Symbol.BOOT}))
    assert said((never,), (online, others))[1].endswith(": online[i] => lock == i")
    # What is said where there is a CPU i is not said of a machine without one.
    never = Literal("lock", (), frozenset({Symbol.BOOT, Symbol.I}))
    (_, text) = said((never,), (literal("busy", 1), others))
    assert text == "busy => lock == boot"


def test_points_that_no_step_leads_to_are_not_spoken_of():
    control = Process("control", Runs.ONCE, "at.control", "up:1")
    steps = [Action(to, "control", "up:1", to) for to in ("up:2", "down:9")]
    system = replace(SYSTEM, processes=(control,), actions=tuple(steps))
    cubes = [
        (literal("at.control", "up:2[A]", "down:7"),),
        (literal("at.control", "up:2", "down:7"),),
        (literal("busy", 1), literal("at.control", "up:1", "up:2[A]", "down:7")),
    ]
    assert list(in_sentences(system, [Clause(cube) for cube in cubes])) == [
        "no step from up:2[A], down:7 matters: who is there counts as at the next point",
        "never at.control == up:2",
        "never busy && at.control == up:1",
    ]


def random_clause(random, size, variables=SYSTEM.variables):
    cube = {}
    for _ in range(size):
        variable = random.choice(variables)
        of = random.choice(tuple(Symbol)[1:4]) if variable.indices else None
        values = domain(SYSTEM, variable.sort, Clause(()))
        some = random.sample(values, random.randint(1, len(values) - 1))
        cube[variable.name, of] = literal(variable.name, *some, of=of)
    return Clause(tuple(cube.values()))


def worlds():
    """All values of all cells that a sentence can speak of."""
    cells = [
        (v.name + (f"[{of}]" if of else ""), v.sort)
        for v in SYSTEM.variables
        for of in (("boot", "i", "j") if v.indices else ("",))
    ]
    values = (domain(SYSTEM, sort, Clause(())) for _, sort in cells)
    return [
        {cell: (value, sort) for (cell, sort), value in zip(cells, some)}
        for some in Random(1).sample(list(product(*values)), 400)
    ]


def swapped(world):
    other = {"[i]": "[j]", "[j]": "[i]"}
    return {
        re.sub(r"\[[ij]\]", lambda found: other[found[0]], cell): value
        for cell, value in world.items()
    }


def holds(clause, world):
    def so(one):
        of = f"[{one.arguments[0].value}]" if one.arguments else ""
        return world[one.variable + of][0] in one.values

    return not all(map(so, clause.cube))


def is_true(text, world):
    """The truth of a sentence, read from its words alone."""
    text = re.sub("^for .* CPU: ", "", text)
    if text.startswith("never "):
        return not every(text.removeprefix("never "), world)
    if text.startswith("always "):
        return some(text.removeprefix("always "), world)
    never, _, always = text.partition(" => ")
    return not every(never, world) or some(always, world)


def every(text, world):
    return all(atom(part, world) for part in text.split(" && "))


def some(text, world):
    return any(atom(part, world) for part in text.split(" || "))


def atom(text, world):
    cell, comparison, right = re.fullmatch(r"(\S+)(?: (==|in) (.+))?", text).groups()
    value, sort = world[cell]
    if comparison is None:
        assert isinstance(sort, BoolSort)
        return value == 1
    names, function = [], ""
    for one in right.strip("{}").split(", "):
        function, colon, lines = one.rpartition(":")
        names += [function + colon + line for line in lines.split(" ")]
    return value_text(sort, value) in names


def compare(seeds):
    """Sentences and clauses in all of these worlds; how many were false in one."""
    every_world, false = worlds(), 0
    for seed in range(seeds):
        random = Random(seed)
        alone = random_clause(random, 1)
        clauses = [alone, random_clause(random, 2), random_clause(random, 3)]
        texts = in_sentences(SYSTEM, clauses)
        for world in every_world:
            # Each is meant for all CPUs i and j, so also the other way about.
            both = world, swapped(world)
            truth = all(holds(clause, w) for clause in clauses for w in both)
            told = all(is_true(text, w) for text in texts for w in both)
            # Together they say the same: what one leaves out is said by another.
            assert truth == told, (seed, texts)
            false += not told
    return false


def test_sentences_say_what_the_clauses_say():
    assert compare(200) > 1000


@pytest.mark.parametrize("fault", ["any cell", "all values"])
def test_a_sentence_that_says_too_much_is_noticed(fault, monkeypatch):
    if fault == "any cell":  # what is known of i is believed of everybody
        monkeypatch.setattr(module, "_cell", lambda literal: literal.variable)
    else:  # what another clause forbids is taken for allowed

        def ranges(system, clauses):
            alone = [c.cube[0] for c in clauses if len(c.cube) == 1]
            return {module._cell(one): one.values for one in alone}

        monkeypatch.setattr(module, "_ranges", ranges)
    with pytest.raises(AssertionError):
        compare(200)
