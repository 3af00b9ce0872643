"""Slicing, folding, unrolling and fusing keep every verdict: random programs.

A random spec is checked twice at a fixed number of CPUs: reduced for its claim, and whole
with every statement a step of its own. A slice may do more than the program, so a
violation of the slice alone is allowed (the tool then replays and does not report it);
a proof on the slice that the whole program contradicts is not.
"""

import random

import pytest

from cpuhp.api import DEFAULT_TABLE
from cpuhp.diagnostics import Source
from cpuhp.engines.checking import Checker
from cpuhp.engines.explicit import Limits, check
from cpuhp.engines.lifting import lift
from cpuhp.kernel.tables.order import shipped_order
from cpuhp.language import build
from cpuhp.language.library import Library
from cpuhp.language.link import link
from cpuhp.language.parser import parse
from cpuhp.model.system import Expectation
from cpuhp.model.verdict import Verdict

LIMITS = Limits(max_states=10_000, seconds=20)
SEEDS = range(60)

DECLARATIONS = """
scenario random_program;
enum phase { ONE, TWO, THREE };
shared atomic bool go;
shared atomic phase at_phase;
shared atomic cpu? owner = boot;
shared cpumask marked;
shared int 0..2 level;
shared int 0..2 mine;
shared int 0..5 wide = any;
percpu bool left;
percpu cpu? peer;
percpu completion done;
mutex m;
raw_spinlock s;
"""


class Writer:
    """Random statements of a process; `own` is its CPU, if it has one."""

    def __init__(self, seed, own):
        self.random = random.Random(seed)
        self.own = own
        self.locals = 0

    def pick(self, *items):
        return self.random.choice(items)

    def claim(self):
        """A condition that may also look at where a process is."""
        if self.random.random() < 0.6:
            return self.condition()
        place = self.pick("end", "here")
        where = self.pick(
            f"at(control, {place})",
            f"exists(c in aps : at(leaf[c], {place}))",
            f"all(c in aps : at(leaf[c], {place}))",
        )
        return f"{self.pick('', '!')}{where}"

    def cpu(self):
        return self.pick(self.own or "boot", "boot", "owner")

    def condition(self, depth=1):
        simple = [
            "go", "!go", "at_phase == TWO", "at_phase < THREE", "owner == boot",
            f"owner != {self.own or 'boot'}", f"left[{self.cpu()}]", "level > 0",
            f"{self.cpu()} in marked", "all(c in aps : left[c])", "empty(marked)",
            "exists(c in marked : !left[c])", "weight(marked) <= 1",
            "level == wide", "wide - level > 1", "level + weight(marked) == 2",
            f"left[peer[{self.cpu()}]]", f"peer[{self.cpu()}] == none",
        ]  # fmt: skip
        if depth and self.random.random() < 0.3:
            return f"({self.condition(0)} {self.pick('&&', '||')} {self.condition(0)})"
        return self.random.choice(simple)

    def simple(self):
        who = self.own or "boot"
        return self.pick(
            "go = true;",
            f"at_phase = {self.pick('ONE', 'TWO', 'THREE')};",
            f"left[{who}] = {self.pick('true', 'false')};",
            f"cpumask_set_cpu({who}, marked);",
            f"cpumask_clear_cpu({who}, marked);",
            f"owner = {self.pick(who, 'boot', 'none')};",
            f"owner = any(c in marked : c != {who});",
            "owner = first(c in aps : !left[c]);",
            "level++;",
            "level = 0;",
            "level = wide;",
            f"wide = level {self.pick('+', '-')} {self.pick('mine', 'weight(marked)', '2')};",
            f"level = {self.condition(0)} ? wide : mine;",
            f"left[owner] = {self.pick('true', 'false', 'go')};",
            f"left[peer[{who}]] = {self.pick('true', 'false')};",
            f"peer[{self.cpu()}] = {self.pick('owner', 'none', who)};",
            f"complete(done[{who}]);",
            f"forall (c in marked) left[c] = {self.pick('true', 'go')};",
        )

    def statement(self, depth):
        if depth == 0:
            return self.simple()
        kind = self.random.random()
        inner = self.block(depth - 1)
        if kind < 0.25:
            other = f" else {{ {self.block(depth - 1)} }}" if kind < 0.1 else ""
            return f"if ({self.condition()}) {{ {inner} }}{other}"
        if kind < 0.35:
            return f"atomic {{ {self.simple()} {self.simple()} }}"
        if kind < 0.45:
            return f"mutex_lock(m); {inner} mutex_unlock(m);"
        if kind < 0.55:
            return f"wait ({self.condition()});"
        if kind < 0.65:
            self.locals += 1
            name = f"local{self.locals}"
            test = f"bool {name} = {self.condition()};"
            if self.random.random() < 0.4:
                number = (
                    f"int 0..{self.pick(1, 3)} {name} = {self.pick('wide', 'level')};"
                )
                return f"{number} if ({name} {self.pick('==', '<')} wide) {{ {inner} }}"
            return f"{test} if ({name}) {{ {inner} }}"
        if kind < 0.7 and self.own is None:
            return "for (c in aps : !left[c]) { cpumask_set_cpu(c, marked); }"
        if kind < 0.75:
            return f"either {{ {inner} }} or {{ {self.simple()} }}"
        return self.simple()

    def block(self, depth):
        count = self.random.randint(1, 2 if depth else 1)
        return " ".join(self.statement(depth) for _ in range(count))


def third(seed):
    """Somebody besides: of each kind that there is."""
    other = Writer(seed + 3_000, "cpu" if seed % 6 == 2 else None)
    body = other.block(1)
    return (
        f"environment other {{ {body} {other.block(0)} }}",
        f"service other {{ for (;;) {{ wait ({other.condition()}); {body} }} }}",
        f"interrupt other(cpu) when (marked[cpu]) {{ {body} }}",
        f"process other {{ for (;;) {{ either {{ wait (mine == 1); {body} }} or {{ }} "
        f"if (go) mine++; }} }}",
        f"process other {{ while ({other.condition()}) {{ {body} }} }}",
        "",
    )[seed % 6]


def program(seed, more=0):
    """A random program with five claims, and `more` that look at little."""
    control, leaf = Writer(seed, None), Writer(seed + 1_000, "cpu")
    claims = Writer(seed + 2_000, None)
    first, second = (
        f"{w.block(2)} here: {w.block(0)} {w.block(2)}" for w in (control, leaf)
    )
    text = (
        DECLARATIONS
        + f"process control {{ {first} }}\nprocess leaf(cpu) on aps {{ {second} }}\n"
        + f"{third(seed)}\n"
        + f"check one {{ never {claims.claim()} && {claims.claim()}; }}\n"
        + f"check two {{ sometimes {claims.claim()} && {claims.claim()}; }}\n"
        + "check three { deadlock_free; }\n"
        + f"check four {{ finally {claims.condition()}; }}\n"
        + "check five { race_free; }\n"
    )
    for number in range(more):
        text += f"check more{number} {{ never {claims.claim()}; }}\n"
    unit = parse(Source(f"seed {seed}", text))
    library = Library({}, {}).with_units([unit])
    return link(unit, library, shipped_order(DEFAULT_TABLE), {})


def verdict(system, prop, cpus, boot):
    return check(system, prop, cpus, boot, LIMITS, symmetry=False)


def same(reduced, whole):
    """The verdicts of a reduced and a whole system say the same or nothing."""
    if Verdict.UNKNOWN in (reduced, whole):
        return True
    if reduced == whole:
        return True
    return reduced in (Verdict.VIOLATED, Verdict.WITNESSED)  # the slice does more


@pytest.mark.parametrize("seed", SEEDS)
def test_a_reduced_program_never_proves_too_much(seed):
    checker = Checker(program(seed))
    for name, number, prop in checker.claims():
        if prop.expectation is Expectation.RACE_FREE:
            continue
        whole, told = checker.entire(name, number)
        choices = [None]
        if prop.expectation is Expectation.ALWAYS:
            choices += some_variables(checker, name, number, seed)
        for cpus, boot in ((2, 0), (3, 1)):
            truth = verdict(whole, told, cpus, boot)
            for only in choices:
                sliced = checker.slice(name, number, only)
                found = verdict(sliced.system, sliced.prop, cpus, boot)
                assert same(found.verdict, truth.verdict), (
                    f"seed {seed}, {name} at {cpus} CPUs, boot {boot}, {only}: "
                    f"{found.verdict} but {truth.verdict}\n"
                    f"{checker.program.scenario.span.source.text}"
                )


def some_variables(checker, name, number, seed):
    """Nothing, what holds no CPU, and two random choices of what matters."""
    thin = checker.thinned(name, number)
    names, pick = sorted(thin.kept.variables), random.Random(seed)
    chances = [frozenset(n for n in names if pick.random() < 0.5) for _ in range(2)]
    return [frozenset(), thin.data(), *chances]


@pytest.mark.parametrize("seed", range(36))
def test_fewer_program_points_change_no_verdict(seed, monkeypatch):
    linked = program(seed, more=4)
    names = ["one", "two", *(f"more{n}" for n in range(4))]
    with monkeypatch.context() as patch:
        patch.setattr(
            build, "merged_loops", lambda edges, entry, _: (edges, entry, set())
        )
        patch.setattr(build, "quotient", lambda edges, entry, _: (edges, entry))
        patch.setattr(build, "without_bystanders", lambda lowered, *_: lowered)
        before = Checker(linked)
        plain = {name: before.slice(name, 0) for name in names}
    after = Checker(linked)
    for name, whole in plain.items():
        fewer = after.slice(name, 0)
        assert len(fewer.system.actions) <= len(whole.system.actions)
        for cpus, boot in ((2, 0), (3, 1)):
            found = verdict(fewer.system, fewer.prop, cpus, boot).verdict
            truth = verdict(whole.system, whole.prop, cpus, boot).verdict
            assert found is truth or Verdict.UNKNOWN in (found, truth), (
                f"seed {seed}, {name} at {cpus} CPUs: {found} but {truth}\n"
                f"{linked.scenario.span.source.text}"
            )


@pytest.mark.parametrize("seed", range(20))
def test_a_violation_of_the_program_is_found_and_replayed(seed):
    checker = Checker(program(seed))
    for name, number, prop in checker.claims():
        if prop.expectation is Expectation.RACE_FREE:
            continue
        whole, told = checker.entire(name, number)
        truth = verdict(whole, told, 3, 0)
        sliced = checker.slice(name, number)
        found = verdict(sliced.system, sliced.prop, 3, 0)
        if truth.trace is not None and found.verdict is not Verdict.UNKNOWN:
            assert found.verdict is truth.verdict
            assert lift(whole, told, sliced.system, found.trace) is not None


@pytest.mark.parametrize("seed", range(12))
def test_races_are_the_same_variable_by_variable(seed):
    checker = Checker(program(seed))
    whole, told = checker.entire("five", 0)
    truth = verdict(whole, told, 2, 0)
    found = {
        verdict(sliced.system, sliced.prop, 2, 0).verdict
        for variable in checker.plain_variables()
        for sliced in [checker.race_slice("five", 0, variable)]
    }
    if truth.verdict is Verdict.VIOLATED:
        assert Verdict.VIOLATED in found or Verdict.UNKNOWN in found
