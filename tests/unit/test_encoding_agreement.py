"""The encoding says what the concrete semantics says."""

import z3
from builders import critical_section, parallel_shutdown
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_systems import random_systems

from cpuhp.engines.encoding import Encoder, Taken
from cpuhp.engines import formulas
from cpuhp.engines.formulas import (
    as_z3,
    choose,
    conj,
    disj,
    negate,
    proposition,
    same,
)
from cpuhp.semantics import Machine, apply, enabled, initial_states

A, B = proposition("a"), proposition("b")


def test_constants_fold_before_z3_sees_them():
    assert conj((True, True)) is True and conj((A, False)) is False
    assert disj((False, A)) is A and disj(()) is False
    assert negate(True) is False and choose(True, A, B) is A
    assert same(True, A) is A


def successors(machine, state):
    """What the closed encoding can do from a state, by brute force over z3 models."""
    encoder = Encoder(machine.system, machine.cpus, boot=machine.boot, closed=True)
    cells = [(v.name, where) for v, where in machine.cells]
    here = [encoder.cell("", *cell)[value] for cell, value in zip(cells, state)]
    found = set()
    for action in machine.system.actions:
        domains = [machine.elements(p.sort) for p in action.params]
        if action.actor:
            domains[0] = machine.actor_domain(action)
        for values in _product(domains):
            taken = Taken(action, tuple(zip(action.params, values)))
            solver = formulas.solver()
            solver.add(as_z3(conj(here)), as_z3(encoder.enabled(taken, "")))
            posts = [encoder.post(taken, "", *cell) for cell in cells]
            solver.add(*encoder.axioms)
            if solver.check() != z3.sat:
                continue
            model = solver.model()
            after = tuple(_value(model, post) for post in posts)
            found.add((action.name, values, after))
    return found


def _product(domains):
    from itertools import product

    return product(*domains)


def _value(model, values):
    (found,) = [
        value
        for value, bit in values.items()
        if z3.is_true(model.eval(as_z3(bit), model_completion=True))
    ]
    return found


def expected(machine, state):
    return {
        (action.name, values, apply(machine, state, action, values))
        for action, values in enabled(machine, state)
    }


def walk(machine, length=4):
    state = next(initial_states(machine), None)
    for turn in range(length):
        if state is None:
            return
        assert successors(machine, state) == expected(machine, state)
        moves = enabled(machine, state)
        if not moves:
            return
        action, values = moves[turn % len(moves)]
        state = apply(machine, state, action, values)


def test_steps_of_known_systems():
    for system in (critical_section()[0], parallel_shutdown(2)[0]):
        walk(Machine(system, 3, 1))


@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(st.data())
def test_steps_of_random_systems(data):
    system = data.draw(random_systems(ordered=True))
    walk(Machine(system, data.draw(st.integers(1, 3))), length=2)
