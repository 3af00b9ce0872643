"""The compiled engine, with and without symmetry, means what the semantics means."""

from itertools import islice

import pytest
from builders import (
    DEADLOCK_FREE,
    RACE_FREE,
    TERMINATES,
    always,
    buddies,
    critical_section,
    election,
    finally_,
    leads_to,
    lost_update,
    parallel_shutdown,
    sometimes,
    topology,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_systems import random_formulas, random_systems

from cpuhp.api import loads
from cpuhp.diagnostics import InputError
from cpuhp.engines.explicit import Limits, check_many, count_runs, trace
from cpuhp.engines.explicit.moves import compile_machine
from cpuhp.engines.explicit.multiset import MultisetSpace
from cpuhp.engines.explicit.search import Budget, make_space, search
from cpuhp.engines.explicit.space import PlainSpace
from cpuhp.engines.explicit.symmetry import Permuter, SymmetricSpace, count_orbits
from cpuhp.model.system import Order
from cpuhp.model.verdict import Verdict
from cpuhp.semantics import (
    Machine,
    apply,
    enabled,
    evaluate,
    initial_states,
    instance_of,
    is_fair,
    is_stuck,
    last_state,
    replay,
)

quick = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
machines = st.tuples(st.integers(1, 3), st.integers(0, 2)).filter(lambda m: m[1] < m[0])


def some_states(machine, most=40):
    """Breadth first, by the interpreter."""
    found = dict.fromkeys(islice(initial_states(machine), 5))
    for state in (queue := list(found)):
        for action, binding in enabled(machine, state):
            after = apply(machine, state, action, binding)
            if after not in found and len(found) < most:
                found[after] = None
                queue.append(after)
    return queue


@quick
@given(st.data(), random_systems(ordered=True), machines)
def test_compiled_actions_do_what_the_interpreter_does(data, system, at):
    machine = Machine(system, *at)
    compiled = compile_machine(machine)
    for state in some_states(machine):
        expected = [
            (
                system.actions.index(action),
                binding,
                apply(machine, state, action, binding),
            )
            for action, binding in enabled(machine, state)
        ]
        moves = compiled.moves(state)
        assert sorted(moves) == sorted(expected)
        assert all(type(v) is int for move in moves for v in move[2])


@quick
@given(st.data(), random_systems(ordered=True), machines)
def test_compiled_formulas_have_the_interpreters_value(data, system, at):
    machine = Machine(system, *at)
    formula = data.draw(random_formulas(system, ordered=True))
    predicate = compile_machine(machine).predicate(formula)
    for state in some_states(machine):
        assert bool(predicate(state)) == bool(evaluate(machine, formula, state))


def reached(space):
    return search(space, [], Budget(Limits())).parents


def plain_and_symmetric(system, cpus, boot):
    compiled = compile_machine(Machine(system, cpus, boot))
    return PlainSpace(compiled), SymmetricSpace(compiled)


@pytest.mark.parametrize(
    "system",
    [
        lost_update()[0],
        critical_section()[0],
        election(),
        buddies(),
        topology(),
        parallel_shutdown(2)[0],
    ],
    ids=lambda system: system.name,
)
@pytest.mark.parametrize(("cpus", "boot"), [(2, 0), (3, 1), (4, 0), (4, 3)])
def test_orbits_add_up_to_all_states(system, cpus, boot):
    plain, folded = plain_and_symmetric(system, cpus, boot)
    orbits = reached(folded)
    assert count_orbits(orbits, folded, folded.permuter) == len(reached(plain))


@quick
@given(random_systems(), machines)
def test_orbits_of_random_systems_add_up(system, at):
    plain, folded = plain_and_symmetric(system, *at)
    states = search(plain, [], Budget(Limits(max_states=2000)))
    if states.stopped is None:
        orbits = reached(folded)
        assert count_orbits(orbits, folded, folded.permuter) == len(states.parents)


@quick
@given(random_systems(per_cpu_pointers=False), st.integers(0, 3))
def test_multisets_are_the_orbits(system, boot):
    plain, folded = plain_and_symmetric(system, 4, boot)
    orbits = search(folded, [], Budget(Limits(max_states=500)))
    if orbits.stopped is None:
        space = MultisetSpace(plain.compiled)
        keys = reached(space)
        assert {folded.key(space.state(k)) for k in keys} == set(orbits.parents)
        assert len(keys) == len(orbits.parents)
        assert all(space.key(space.state(k)) == k for k in keys)


@quick
@given(st.data(), random_systems(per_cpu_pointers=False), st.integers(0, 3))
def test_multisets_know_the_value_of_formulas(data, system, boot):
    formula = data.draw(random_formulas(system))
    machine = Machine(system, 4, boot)
    space = MultisetSpace(compile_machine(machine))
    test = space.test(formula)
    for key in search(space, [], Budget(Limits(max_states=300))).parents:
        assert bool(test(key)) == bool(evaluate(machine, formula, space.state(key)))


@quick
@given(random_systems(), st.integers(0, 2))
def test_the_space_in_use_stands_for_all_states(system, boot):
    compiled = compile_machine(Machine(system, 3, boot))
    states = search(PlainSpace(compiled), [], Budget(Limits(max_states=2000)))
    if states.stopped is None:
        space = make_space(compiled, symmetry=True)
        keys = reached(space)
        permuter = Permuter(compiled.machine)
        total = set()
        for key in keys:
            total |= permuter.orbit(space.state(key))
        assert total == set(states.parents)


@quick
@given(st.data(), random_systems(), st.integers(0, 2))
def test_symmetry_changes_no_verdict_and_no_length(data, system, boot):
    formula = data.draw(random_formulas(system))
    claims = [
        always(formula),
        sometimes(formula),
        finally_(formula),
        DEADLOCK_FREE,
        RACE_FREE,
    ]
    limits = Limits(max_states=1500)
    with_it = check_many(system, claims, 3, boot, limits, symmetry=True)
    without = check_many(system, claims, 3, boot, limits, symmetry=False)
    for a, b in zip(with_it, without):
        if b.verdict is Verdict.UNKNOWN:
            continue
        assert a.verdict is b.verdict
        if a.trace:
            replay(Machine(system, 3, boot), a.trace)
            assert len(a.trace.steps) == len(b.trace.steps)
            assert a.stats["switches"] == b.stats["switches"]


@quick
@given(st.data(), random_systems(), machines)
def test_liveness_counterexamples_are_fair(data, system, at):
    trigger, goal = (data.draw(random_formulas(system)) for _ in range(2))
    claims = [TERMINATES, leads_to(trigger, goal)]
    machine = Machine(system, *at)
    ends, progress = check_many(system, claims, *at, Limits(max_states=1500))
    for result in (ends, progress):
        if result.trace is not None:
            replay(machine, result.trace)
            assert is_fair(machine, result.trace)
    if progress.trace is not None:
        assert not evaluate(machine, goal, last_state(progress.trace))
    if ends.trace is not None:
        assert ends.trace.loop is not None


@pytest.mark.parametrize("order", [Order.FIRST, Order.LAST])
def test_the_order_of_cpus_turns_symmetry_off(order):
    from cpuhp.engines.explicit.symmetry import is_symmetric

    assert is_symmetric(election(Order.ANY))
    assert not is_symmetric(election(order))


def fewest_switches(machine, formula, steps):
    """By the interpreter: over all runs of so many steps to a state with `formula`."""
    best = {(state, None): 0 for state in initial_states(machine)}
    for _ in range(steps):
        ahead = {}
        for (state, last), switches in best.items():
            for action, binding in enabled(machine, state):
                who = instance_of(action, binding)
                node = apply(machine, state, action, binding), who
                cost = switches + (last not in (None, who))
                ahead[node] = min(cost, ahead.get(node, cost))
        best = ahead
    return min(n for (state, _), n in best.items() if evaluate(machine, formula, state))


@quick
@given(st.data(), random_systems(), machines)
def test_no_shortest_run_switches_less(data, system, at):
    formula = data.draw(random_formulas(system))
    machine = Machine(system, *at)
    (found,) = check_many(system, [sometimes(formula)], *at, Limits(max_states=500))
    if found.trace is not None:
        steps = len(found.trace.steps)
        assert found.stats["switches"] == fewest_switches(machine, formula, steps)


def test_a_search_cut_short_still_finds_a_shortest_run(monkeypatch):
    system, claims = parallel_shutdown(4, stale=True)
    best = check_many(system, claims[:1], 4)[0]
    monkeypatch.setattr(trace, "_MOST_NODES", 1)
    found = check_many(system, claims[:1], 4)[0]
    assert len(found.trace.steps) == len(best.trace.steps)
    assert found.stats["switches"] >= best.stats["switches"]


@quick
@given(random_systems(), st.integers(2, 3))
def test_runs_are_counted_one_by_one(system, cpus):
    machine = Machine(system, cpus, 0)
    try:
        found = count_runs(system, cpus)
    except InputError:
        return
    if found.runs < 500:
        ends = list(all_ends(machine))
        stuck = sum(is_stuck(machine, state) for state in ends)
        assert found == (len(ends), 0, stuck)


def all_ends(machine):
    stack = list(initial_states(machine))
    while stack:
        state = stack.pop()
        ahead = [apply(machine, state, *move) for move in enabled(machine, state)]
        stack += ahead
        if not ahead:
            yield state


@pytest.mark.parametrize("cpus", [2, 3, 4])
def test_cpus_that_name_each_other_have_one_key_an_orbit(cpus):
    """Masks of each CPU: who looks like another one may name others than that does."""
    scenario = loads("""
        scenario spec;
        const percpu cpumask before = any;
        assume all(a in cpus : !(a in before[a]));
        percpu cpu? friend;
        process ap(cpu) on aps { friend[cpu] = any(o in aps : o in before[cpu]); }
        check some { sometimes exists(a in aps : friend[a] != none); }
    """)
    system = scenario.checker.slice("some", 0).system
    compiled = compile_machine(Machine(system, cpus))
    plain, folded = PlainSpace(compiled), SymmetricSpace(compiled)

    def reached(space):
        found = set(space.initial())
        todo = list(found)
        while todo:
            new = set(space.successors(todo.pop())) - found
            found |= new
            todo += new
        return found

    orbits = reached(folded)
    assert {folded.key(state) for state in reached(plain)} == orbits
    assert count_orbits(orbits, folded, folded.permuter) == len(reached(plain))
