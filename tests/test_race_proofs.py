"""A proof that there is no data race is told only where there is none.

The truth is what each step accesses (`semantics.accesses`), in every state that random
programs reach with few CPUs, every statement a step, the control CPU at every place.
"""

import random
from dataclasses import replace
from functools import cache
from itertools import product

import pytest
from race_programs import checker_of, looking_once, racing, text_of

from cpuhp.api import load
from cpuhp.engines import certificate
from cpuhp.engines.answer import OutOfMemory, Settings
from cpuhp.engines.certificate import (
    Obligation,
    Rejected,
    certificate_of,
    obligations_of,
    scripts,
)
from cpuhp.engines.explicit import Limits, check
from cpuhp.engines.explicit.moves import compile_machine
from cpuhp.engines.explicit.races import RaceFinder
from cpuhp.engines.explicit.space import PlainSpace
from cpuhp.engines.ladder import Ladder
from cpuhp.engines.races import RaceProofs
from cpuhp.graph.races import only_plain, race_freedom
from cpuhp.model.verdict import Verdict
from cpuhp.semantics import Machine

CHECK = "no_race", 0
FEW = 4  # programs of each kind that the quick tests look at
WHOLE = Limits(max_states=2_000, seconds=20)
COARSE = Limits(max_states=20_000, seconds=20)
PLACES = [(cpus, boot) for cpus in (2, 3) for boot in range(cpus)]


def programs(first, count):
    """Random programs, by who writes them and a number; all but a few are slow."""
    return [
        pytest.param(
            write,
            first + number,
            marks=() if number < FEW else (pytest.mark.slow,),
            id=f"{write.__name__}-{first + number}",
        )
        for write, number in product((racing, looking_once), range(count))
    ]


# The formula, state by state


def states(space, most):
    """The states that are reached, up to about so many."""
    seen = dict.fromkeys(space.initial())
    queue = list(seen)
    while queue and len(seen) < most:
        new = dict.fromkeys(space.successors(queue.pop()))
        queue += [key for key in new if key not in seen]
        seen |= new
    return seen


def compared(system, formula, most=1_000):
    """How many states have a race that the formula overlooks, and the other way round."""
    overlooked = stricter = 0
    for cpus, boot in PLACES:
        compiled = compile_machine(Machine(system, cpus, boot))
        space, finder = PlainSpace(compiled), RaceFinder(compiled)
        holds = space.test(formula)
        for state in states(space, most):
            race, free = finder.race(state) is not None, bool(holds(state))
            overlooked += race and free
            stricter += not race and not free
    return overlooked, stricter


@pytest.mark.parametrize(("write", "seed"), programs(0, 200))
def test_the_formula_overlooks_no_race(write, seed):
    checker = write(seed)
    names = checker.plain_variables()
    whole, _ = checker.entire(*CHECK)
    for some in (names, *([name] for name in names)):
        system = only_plain(whole, some)
        assert compared(system, race_freedom(system))[0] == 0, (some, text_of(checker))
    for group in checker.race_groups(*CHECK):
        system, prop = checker.thinned(*CHECK, group).to_prove.system()
        assert compared(system, prop.formula)[0] == 0, (group, text_of(checker))


# Slices over few variables


def narrowed(checker, names, chance):
    """The slices of a data race on these variables that a proof may begin with."""
    thin = checker.thinned(*CHECK, names).to_prove
    every = sorted(thin.kept.variables)
    some = (
        frozenset(chance.sample(every, chance.randint(0, len(every)))) for _ in "ab"
    )
    for only in (
        None, frozenset(), names, thin.guarding(), thin.shallow(), thin.data(), *some
    ):  # fmt: skip
        yield only, *thin.system(only)


def lost(checker, names, chance=random.Random(0)):
    """Slices in which a race on these variables is not seen; how many were compared."""
    whole, told = checker.entire(*CHECK)
    whole = only_plain(whole, names)
    found, count = [], 0
    for cpus, boot in PLACES:
        truth = check(whole, told, cpus, boot, WHOLE, symmetry=False, traces=False)
        if truth.verdict is not Verdict.VIOLATED:
            continue
        for only, system, prop in narrowed(checker, names, chance):
            seen = check(system, prop, cpus, boot, COARSE, traces=False).verdict
            count += seen is not Verdict.UNKNOWN
            if seen is Verdict.PROVED:
                found.append((sorted(names), only, cpus, boot))
    return found, count


def groups_of(checker):
    names = checker.plain_variables()
    groups = checker.race_groups(*CHECK)
    together = [frozenset(names)] if names else []
    return dict.fromkeys([*groups, *(frozenset({n}) for n in names), *together])


@pytest.mark.parametrize(("write", "seed"), programs(1_004, 200))
def test_no_slice_loses_a_race(write, seed):
    checker, chance = write(seed), random.Random(seed)
    for names in groups_of(checker):
        assert lost(checker, names, chance)[0] == [], text_of(checker)


# The whole way


def certificate_for(checker, answer):
    obligations = [
        Obligation(p.sliced.system, p.sliced.prop, p.invariant, p.sliced.only, p.races)
        for p in answer.proofs
    ]
    name = checker.program.scenario.name
    claimed = answer.sliced.prop, CHECK[1]
    return certificate_of(checker.program, name, "it.hp", {}, claimed, (), obligations)


def is_accepted(told, program):
    try:
        made = scripts(obligations_of(told, program), "qf")
    except Rejected:
        return False
    return certificate.check(made, "qf", "z3", 30).is_accepted


def has_race(checker, places):
    """Has the whole program a race at one of these counts, with the limits?"""
    system, told = checker.entire(*CHECK)
    return any(
        check(system, told, *place, WHOLE, symmetry=False, traces=False).verdict
        is Verdict.VIOLATED
        for place in places
    )


def answered(checker, timeout):
    return checker.answer(*CHECK, Settings(timeout=timeout))


@pytest.mark.parametrize(("write", "seed"), programs(2_000, 200))
def test_what_is_proved_has_no_race_and_a_certificate(write, seed):
    checker = write(seed)
    answer = answered(checker, 20)
    result = answer.result
    if result.verdict is not Verdict.PROVED or result.cpus is not None:
        assert answer.proofs is None
        return
    places = [*PLACES, (4, 0), (4, 2)] if write is looking_once else PLACES
    assert not has_race(checker, places), text_of(checker)
    told = certificate_for(checker, answer)
    assert is_accepted(told, checker.program), text_of(checker)
    for number in range(len(told.parts)):
        for wrong in wrong_certificates(told, number):
            with pytest.raises(Rejected):
                obligations_of(wrong, checker.program)


def wrong_certificates(told, number):
    """A part is missing, says less, or nothing, or too much."""
    part, rest = told.parts[number], (*told.parts[:number], *told.parts[number + 1 :])
    yield replace(told, parts=rest)
    yield replace(told, parts=(*rest, replace(part, races=part.races[1:])))
    yield replace(told, parts=(*rest, replace(part, races=())))
    yield replace(told, parts=(*rest, replace(part, races=(*part.races, "marked"))))
    yield replace(told, parts=(*rest, replace(part, model="0" * 64)))
    yield replace(told, parts=(*told.parts, part))


# By hand: what may be lost, and where the formula has to say no more than is so


def spec(text):
    return checker_of(f"scenario races;\n{text}\ncheck no_race {{ race_free; }}\n")


WRITES = "process other(cpu) on aps { ready[cpu] = true; }"
READY = f"percpu bool ready; {WRITES}"
SETS = "shared bool flag; shared atomic bool go; process other { flag = true; }"

RACES = {
    "one step reads a variable twice":
        "int 0..3 x; process p(cpu) on aps { atomic { x = x + x; } }",
    "a read behind &&":
        f"{SETS} bool k = true; process p {{ go = k && flag; }}",
    "a read behind ||":
        f"{SETS} process p {{ if (go || flag) go = true; }}",
    "a read in a branch": f"{SETS} process p {{ go = go ? go : flag; }}",
    "a read before what a constant decides":
        f"{SETS} bool k = true; process p {{ if (flag || k) go = true; }}",
    "a read before what a local variable decides":
        f"{SETS} process p {{ bool l; if (flag && l) go = true; }}",
    "a read that is stored, before what a local variable decides":
        f"{SETS} process p {{ bool l; bool k = flag && l; }}",
    "a condition on something else, too":
        f"{SETS} bool e = any; process p {{ if (e || !flag) go = true; }}",
    "what is read goes where nothing matters":
        f"{SETS} bool sink; process p {{ sink = flag; }}",
    "an index":
        "cpu? owner; percpu bool sink; process other { owner = boot; }"
        "process p { sink[owner] = true; }",
    "the index of what never changes":
        "cpu? owner; percpu int 0..1 spare; process other { owner = boot; }"
        "process p { spare[owner] = 0; }",
    "an element that is looked at, not chosen":
        f"{READY} process p {{ cpu? c = any(d in aps : ready[d]); }}",
    "an element that is looked at, before what a local variable decides":
        f"{READY} process p {{ bool l; cpu? c = any(d in aps : ready[d] && l); }}",
    "an element that is looked at until one is chosen":
        f"{READY} percpu atomic bool on; process p {{ wait (on[boot]); "
        "cpu? c = any(d in cpus : ready[d] || d == boot); }"
        "process q { on[boot] = true; }",
    "a set that assignments go through":
        f"{READY} percpu atomic bool q;"
        "process p { forall (d in aps : ready[d]) { q[d] = true; } }",
    "what assignments of a set write":
        f"{READY} process p {{ forall (d in aps) {{ ready[d] = false; }} }}",
    "two of the same process write":
        "bool x; process p(cpu) on aps { x = true; }",
    "another CPU's": f"{READY} process p {{ ready[boot] = true; }}"
        "process q(cpu) { ready[cpu] = false; }",
    "the control CPU's own": "percpu bool x; process p { x[boot] = true; }"
        "process q(cpu) { x[cpu] = false; }",
    "an owner that may be none":
        "percpu bool x; cpu? owner = any; process p { x[owner] = true; }"
        "process q { x[owner] = true; }",
    "values that a condition may have":
        "bool x; enum e { A, B, C }; atomic e now = any;"
        "process p { if (now == C) x = true; } process q { x = false; }",
    "one of several steps at a point":
        "bool x; int 0..2 n; bool b = any; process p { either { if (b) x = true; } or "
        "{ if (!b) x = true; } } process q { x = false; }",
}  # fmt: skip

RACE_FREE = {
    "a lock": "int 0..3 x; mutex m;"
        "process p(cpu) on aps { mutex_lock(m); x = 1; mutex_unlock(m); }",
    "each its own": "percpu bool x; process p(cpu) { x[cpu] = true; bool l = x[cpu]; }",
    "readers": "bool x; atomic bool done; process once { x = true; done = true; }"
        "process p(cpu) { wait (done); bool l = x; }",
    "nobody's": "percpu bool x; cpu? owner; process p { x[owner] = true; }"
        "process q { x[owner] = true; }",
    "no element": "percpu bool x; cpumask few; process p { "
        "forall (c in few) { x[c] = true; } } process q { x[boot] = true; }",
    "the control CPU does not": "percpu bool x; process p { x[boot] = true; }"
        "process q(cpu) on aps { x[cpu] = false; }",
    "what && skips": "bool x; atomic bool go; process p { if (go && x) go = false; }"
        "process q { x = true; }",
    "what a branch skips": "bool x; atomic bool go; atomic bool y;"
        "process p { y = go ? x : y; } process q { x = true; }",
    "other values": "bool x; enum e { A, B, C }; atomic e now = B;"
        "process p { if (now == A) x = true; if (now == C) x = true; }"
        "process q { x = false; }",
    "two variables": "bool x; bool y; mutex a; mutex b; "
        "process p(cpu) { mutex_lock(a); x = true; mutex_unlock(a); }"
        "process q(cpu) { mutex_lock(b); y = true; mutex_unlock(b); }",
}  # fmt: skip


@cache
def entire(text):
    """The system of a program, every statement a step, and the variables that race."""
    checker = spec(text)
    names = checker.plain_variables()
    return only_plain(checker.entire(*CHECK)[0], names), frozenset(names)


def wrong_formula(text):
    """How many races of a program by hand are overlooked and invented, if any."""
    system, _ = entire(text)
    found = compared(system, race_freedom(system))
    return found if any(found) else None


def wrong_about(text, *, races):
    """What is wrongly said of a program by hand that has data races, or has none."""
    checker, (_, names) = spec(text), entire(text)
    if races:
        yield from lost(checker, names)[0]
    answer = answered(checker, 5)
    found = answer.result.verdict, answer.result.cpus
    if found[0] is not Verdict.VIOLATED if races else found != (Verdict.PROVED, None):
        yield f"answered: {found}"
    if answer.proofs is not None:
        told = certificate_for(checker, answer)
        if not is_accepted(told, checker.program):
            yield "the certificate is not accepted"
        for number, _ in enumerate(told.parts):
            for wrong in wrong_certificates(told, number):
                try:
                    obligations_of(wrong, checker.program)
                except Rejected:
                    continue
                yield "a wrong certificate is not rejected"


@pytest.mark.parametrize("about", RACES)
def test_a_race_is_seen(about):
    assert has_race(spec(RACES[about]), PLACES)
    assert wrong_formula(RACES[about]) is None
    assert list(wrong_about(RACES[about], races=True)) == []


@pytest.mark.parametrize("about", RACE_FREE)
def test_no_race_is_invented(about):
    assert not has_race(spec(RACE_FREE[about]), PLACES)
    assert wrong_formula(RACE_FREE[about]) is None
    assert list(wrong_about(RACE_FREE[about], races=False)) == []


def test_a_certificate_is_of_this_program_alone():
    one, other = (spec(RACE_FREE[about]) for about in ("a lock", "two variables"))
    told = certificate_for(one, answered(one, 5))
    with pytest.raises(Rejected):
        obligations_of(told, other.program)
    edited = replace(told, texts=certificate_for(other, answered(other, 5)).texts)
    with pytest.raises(Rejected):
        obligations_of(edited, other.program)


# Without a proof


def full(self, *_):
    raise OutOfMemory("limit of 64 MiB of memory reached")


def by_locks(self, groups):
    return {}


@pytest.mark.parametrize("found", [lambda self, groups: None, full])
def test_where_no_proof_is_found_few_cpus_are_told(found, monkeypatch):
    monkeypatch.setattr(RaceProofs, "by_locks", full if found is full else by_locks)
    monkeypatch.setattr(RaceProofs, "over_data", found)
    answer = answered(spec(RACE_FREE["two variables"]), 5)
    assert (answer.result.verdict, answer.result.cpus) == (Verdict.PROVED, 3)
    assert answer.result.reason == "no proof for every number of CPUs"
    assert answer.proofs is None


def test_what_was_not_searched_to_its_end_does_not_count(monkeypatch):
    true = Ladder._races

    def cut_at_three(self, cpus):
        found = true(self, cpus)
        return found if cpus < 3 else self._doubtful(found.result, "time limit reached")

    monkeypatch.setattr(RaceProofs, "by_locks", by_locks)
    monkeypatch.setattr(RaceProofs, "over_data", lambda self, groups: None)
    monkeypatch.setattr(Ladder, "_races", cut_at_three)
    answer = answered(spec(RACE_FREE["two variables"]), 5)
    assert (answer.result.verdict, answer.result.cpus) == (Verdict.PROVED, 2)


# Shipped systems

RACING = [
    ("shutdown-three-phase", {}),
    ("shutdown-three-phase-fixed", {"fix_uncore_lock": "false"}),
    ("shutdown-three-phase-fixed", {"patch5": "false"}),
    ("bringup-parallel", {"no_wait_for_release": "true"}),
]


def slices_of(thin):
    for only in (None, thin.guarding(), thin.shallow(), thin.data()):
        yield thin.to_prove.system(only)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), RACING)
def test_a_race_of_a_shipped_system_is_in_each_of_its_slices(name, options):
    checker = load(name, options=options).checker
    limits = Limits(200_000, 60)
    found = 0
    for names in checker.race_groups("no_data_race", 0):
        sliced = checker.race_slice("no_data_race", 0, *names)
        if is_violated(sliced.system, sliced.prop, limits):
            found += 1
            thin = checker.thinned("no_data_race", 0, names)
            for system, prop in slices_of(thin):
                assert is_violated(system, prop, limits)
    assert found


def is_violated(system, prop, limits):
    verdicts = [check(system, prop, cpus, 0, limits).verdict for cpus in (2, 3)]
    return Verdict.VIOLATED in verdicts
