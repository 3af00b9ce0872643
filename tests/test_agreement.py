"""All engines on the same question: none contradicts another.

A random system is asked one claim: of the proof for every number of CPUs, of the search
with and without symmetry at 1 to 4 hotplugged CPUs, of an enumeration by the interpreter
alone, of z3 at a fixed number of steps, and of SPIN. "I do not know" contradicts nobody.
The seed is printed; a failure prints the system that it shrank to as well.
"""

from itertools import count

import pytest
from builders import DEADLOCK_FREE, always, finally_, sometimes
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from peer_tools import HAS_SPIN, spin
from random_systems import random_formulas, random_systems
from test_reductions import program

from cpuhp.diagnostics import InputError
from cpuhp.engines.answer import Settings
from cpuhp.engines.bounded import decided
from cpuhp.engines.bounded import search as bounded
from cpuhp.engines.checking import Checker
from cpuhp.engines.clock import now
from cpuhp.engines.explicit import Limits, check
from cpuhp.engines.parametric import collect_samples, prove
from cpuhp.model.system import Expectation
from cpuhp.model.verdict import Trace, Verdict
from cpuhp.report.export import export
from cpuhp.semantics import Machine, apply, enabled, initial_states

SEED = 20261121
MOST = 1500  # states
STEPS = 3
NO, YES = "it can happen", "it cannot happen"
MEANING = {
    Verdict.VIOLATED: NO,
    Verdict.WITNESSED: NO,
    Verdict.PROVED: YES,
    Verdict.UNREACHABLE: YES,
}


def by_search(system, prop, at, symmetry):
    found = check(system, prop, *at, Limits(max_states=MOST), symmetry=symmetry)
    return MEANING.get(found.verdict)


def by_enumeration(system, prop, at):
    """Every state, by the interpreter alone."""
    machine, seen = Machine(system, *at), set()
    stack = []
    for number, state in zip(count(), initial_states(machine)):
        if number > MOST:
            return None
        stack.append(state)
    while stack:
        state = stack.pop()
        if state in seen:
            continue
        seen.add(state)
        if decided(machine, Trace(*at, state, ()), prop):
            return NO
        if len(seen) > MOST:
            return None
        stack += [apply(machine, state, *move) for move in enabled(machine, state)]
    return YES


def by_z3(system, prop, at):
    until = now() + 5
    found = bounded(system, prop, *at, max_depth=STEPS, deadline=until)
    return MEANING.get(found.verdict)


def by_spin(system, prop, at, folder):
    try:
        run = spin(export(system, prop, "promela", *at), folder)
    except InputError as error:
        assert (
            error.diagnostics[0].code == "HP835"
        )  # no state satisfies what is assumed
        return None
    return {"violated": NO, "holds": YES}.get(run.answer)


def for_every_count(system, prop):
    if prop.expectation is Expectation.SOMETIMES:
        return None
    few = collect_samples(system, max_states=150)
    proof = prove(system, prop, samples=few, deadline=now() + 3)
    return MEANING.get(proof.result.verdict)


def nobody_contradicts(data, system, aps, spin_aps, folder):
    ordered = data.draw(st.booleans())
    formula = data.draw(random_formulas(system, ordered=ordered))
    claims = [always(formula), sometimes(formula), finally_(formula), DEADLOCK_FREE]
    prop = data.draw(st.sampled_from(claims))
    proved = for_every_count(system, prop)
    assert proved in (YES, None)
    for number in aps:
        at = number + 1, data.draw(st.integers(0, number))
        said = {
            "every count": proved,
            "search": by_search(system, prop, at, False),
            "search of orbits": by_search(system, prop, at, True),
            "enumeration": by_enumeration(system, prop, at),
        }
        if number <= 2:
            said["z3"] = by_z3(system, prop, at)
        if number in spin_aps and HAS_SPIN:
            said["spin"] = by_spin(system, prop, at, folder)
        assert len({answer for answer in said.values() if answer}) <= 1, (at, said)


quick = settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
    database=None,
    print_blob=True,
)


@seed(SEED)
@quick
@given(st.data(), random_systems())
def test_nobody_contradicts_anybody(tmp_path_factory, data, system):
    print("seed", SEED)
    folder = tmp_path_factory.mktemp("model")
    nobody_contradicts(data, system, (1, 2, 3, 4), (), folder)


@pytest.mark.skipif(not HAS_SPIN, reason="needs gcc and the package spin")
@seed(SEED + 1)
@settings(quick, max_examples=3)
@given(st.data(), random_systems(ordered=True))
def test_nor_does_spin(tmp_path_factory, data, system):
    print("seed", SEED + 1)
    folder = tmp_path_factory.mktemp("model")
    nobody_contradicts(data, system, (1, 2), (2,), folder)


@pytest.mark.slow
@pytest.mark.skipif(not HAS_SPIN, reason="needs gcc and the package spin")
@seed(SEED + 2)
@settings(quick, max_examples=40, phases=[Phase.generate, Phase.shrink])
@given(st.data(), random_systems(ordered=True))
def test_nobody_contradicts_anybody_on_many_systems(tmp_path_factory, data, system):
    print("seed", SEED + 2)
    folder = tmp_path_factory.mktemp("model")
    nobody_contradicts(data, system, (1, 2, 3, 4), (1, 2, 3), folder)


# --- programs, with all that stands between their text and an engine


def program_keeps_its_word(number, most):
    """What is proved of a program, or shown, is true of its every statement."""
    checker = Checker(program(number))
    limits = Limits(max_states=most, seconds=20)
    for name, claim, prop in checker.claims():
        if prop.expectation is Expectation.RACE_FREE:
            continue
        answer = checker.answer(name, claim, Settings(timeout=3))
        said, trace = answer.result, answer.replayed
        whole, told = checker.entire(name, claim)
        for aps in (1, 2, 3, 4):
            for boot in {0, aps}:
                found = check(whole, told, aps + 1, boot, limits, symmetry=False)
                truth = MEANING.get(found.verdict)
                if MEANING.get(said.verdict) == YES:
                    assert truth != NO, (number, name, aps, boot)
                if trace is not None and (trace.cpus, trace.boot) == (aps + 1, boot):
                    assert truth != YES, (number, name, aps, boot)


@pytest.mark.parametrize("number", range(0, 6))
def test_a_program_keeps_its_word(number):
    print("seed", number)
    program_keeps_its_word(number, 3_000)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(100, 116))
def test_many_programs_keep_their_word(number):
    print("seed", number)
    program_keeps_its_word(number, 10_000)
