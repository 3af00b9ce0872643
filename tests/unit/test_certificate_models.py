"""Whatever real machines do has a model in the conditions of a certificate."""

from dataclasses import replace
from itertools import islice, permutations
from random import Random

from builders import DEADLOCK_FREE, always, finally_
from certificate_cases import accepted, outcomes
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from random_systems import random_formulas, random_systems

from cpuhp.engines.certificate import (
    claims,
)
from cpuhp.engines.clock import now
from cpuhp.engines.parametric import collect_samples, prove
from cpuhp.model.expr import TRUE
from cpuhp.model.invariant import FAR, NEAR, Clause, Invariant, Literal, Symbol
from cpuhp.model.sorts import CPU, NONE, CounterSort, IndexSort
from cpuhp.semantics import Machine, apply, enabled, holds, initial_states
from cpuhp.semantics.steps import is_quiescent

B, OTHER, I, J = Symbol.BOOT, Symbol.OTHER, Symbol.I, Symbol.J


def random_state(machine, random):
    return tuple(
        random.choice(machine.values(variable.sort)) for variable, _ in machine.cells
    )


def literal_of(machine, cell, cpus, state):
    """What a clause says of a cell whose value is this, or None if it cannot."""
    (variable, where), value = machine.cells[cell], state[cell]
    named = {cpu: symbol for symbol, cpu in cpus.items()}
    arguments = []
    for index, sort in zip(where, variable.indices):
        if sort == CPU and index not in named:
            return None
        arguments.append(named[index] if sort == CPU else index)
    if isinstance(variable.sort, IndexSort) and variable.sort.name == "cpu":
        value = Symbol.NONE if value == NONE else named.get(value, OTHER)
    if isinstance(variable.sort, CounterSort):
        value = difference(machine, variable.sort, value, state)
    return Literal(variable.name, tuple(arguments), frozenset({value}))


def difference(machine, sort, value, state):
    """Of a counter, clauses know how much more it is than its mask has CPUs."""
    cells = (machine.cell(sort.mask, (cpu,)) for cpu in range(machine.cpus))
    more = value - sum(state[cell] for cell in cells)
    return more if more in NEAR else FAR


def is_violated(machine, clause, state):
    """Some distinct CPUs make true what the clause forbids."""
    others = [c for c in range(machine.cpus) if c != machine.boot]
    symbols = sorted(clause.symbols, key=lambda s: s.value)
    for chosen in permutations(others, len(symbols)):
        cpus = {B: machine.boot, **dict(zip(symbols, chosen))}
        if all(literal_holds(machine, x, cpus, state) for x in clause.cube):
            return True
    return False


def literal_holds(machine, literal, cpus, state):
    where = tuple(cpus.get(a, a) for a in literal.arguments)
    value = state[machine.cell(literal.variable, where)]
    sort = machine.system.variable(literal.variable).sort
    if isinstance(sort, CounterSort):
        return difference(machine, sort, value, state) in literal.values
    if not (isinstance(sort, IndexSort) and sort.name == "cpu"):
        return value in literal.values
    names = {NONE: Symbol.NONE} | {cpu: symbol for symbol, cpu in cpus.items()}
    return names.get(value, OTHER) in literal.values


def clause_against(machine, state, cells, random):
    """A clause that this state violates, and that speaks of one of these cells."""
    others = [c for c in range(machine.cpus) if c != machine.boot]
    random.shuffle(others)
    cpus = {B: machine.boot, **dict(zip((I, J), others))}
    cells = [random.choice(cells), *random.sample(range(len(state)), 1)]
    found = [literal_of(machine, c, cpus, state) for c in dict.fromkeys(cells)]
    return Clause(tuple(literal for literal in found if literal is not None))


@settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
@given(st.data())
def test_every_step_of_a_machine_has_a_model(data):
    """A clause that a real step breaks is rejected, from whatever state."""
    ordered = data.draw(st.booleans())
    system = data.draw(random_systems(ordered=ordered))
    random = Random(data.draw(st.integers(0, 1 << 30)))
    machine = Machine(system, random.randint(1, 4))
    machine = replace(machine, boot=random.randrange(machine.cpus))
    kept = [a for a in system.assumptions if a in claims.lasting(system)]
    for _ in range(20):
        state = random_state(machine, random)
        moves = enabled(machine, state)
        if not moves or not all(holds(machine, a, state) for a in kept):
            continue
        action, binding = random.choice(moves)
        after = apply(machine, state, action, binding)
        changed = [c for c, value in enumerate(after) if value != state[c]]
        if not changed:
            continue
        clause = clause_against(machine, after, changed, random)
        if is_violated(machine, clause, state) or not clause.cube:
            continue
        assert is_violated(machine, clause, after)
        for outcome in outcomes(system, always(TRUE), Invariant((clause,)), seconds=1):
            broken = [f for f in outcome.failures if f.label == action.name]
            assert broken, (
                outcome.form,
                action.name,
                binding,
                clause,
                state,
                after,
                machine.cpus,
                machine.boot,
                outcome.failures,
            )
        return


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
@given(st.data())
def test_every_first_and_every_bad_state_has_a_model(data):
    system = data.draw(random_systems(ordered=data.draw(st.booleans())))
    random = Random(data.draw(st.integers(0, 1 << 30)))
    machine = Machine(system, random.randint(1, 3))
    machine = replace(machine, boot=random.randrange(machine.cpus))
    first = list(islice(initial_states(machine), 5))
    if first:
        state = random.choice(first)
        clause = clause_against(machine, state, list(range(len(state))), random)
        for outcome in outcomes(system, always(TRUE), Invariant((clause,)), seconds=1):
            assert "initiation" in [f.group for f in outcome.failures]
    formula = data.draw(random_formulas(system))
    for kind in (always, finally_):
        for _ in range(20):
            state = random_state(machine, random)
            kept = all(holds(machine, a, state) for a in claims.lasting(system))
            bad = not holds(machine, formula, state)
            if kept and bad and (kind is always or is_quiescent(machine, state)):
                break
        else:
            continue
        for outcome in outcomes(system, kind(formula), Invariant(()), seconds=1):
            assert "safety" in [f.group for f in outcome.failures]


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
@given(st.data())
def test_random_proofs_are_accepted(data):
    system = data.draw(random_systems(ordered=data.draw(st.booleans())))
    formula = data.draw(random_formulas(system))
    prop = data.draw(
        st.sampled_from([always(formula), finally_(formula), DEADLOCK_FREE])
    )
    few = collect_samples(system, max_states=150)
    proof = prove(system, prop, samples=few, deadline=now() + 3)
    if proof.invariant is not None:
        assert all(accepted(system, prop, proof.invariant))
