"""The certificate checker accepts proofs, and nothing that is not one."""

import time
from dataclasses import replace
from itertools import islice, permutations
from random import Random

import pytest
from builders import (
    BOOT,
    DEADLOCK_FREE,
    ME,
    NOBODY,
    TRUE,
    Code,
    Param,
    Quantified,
    Quantifier,
    always,
    and_,
    arithmetic,
    build,
    critical_section,
    eq,
    exists,
    finally_,
    forall,
    implies,
    not_,
    or_,
    parallel_shutdown,
    percpu,
    put,
    random_formulas,
    random_systems,
    rd,
    shared,
)
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cpuhp.engines.certificate import (
    FORMS,
    Unsupported,
    check,
    claims,
    pool,
    pool_conditions,
    present,
    scripts,
    twin,
)
from cpuhp.engines.parametric import collect_samples, prove, verify
from cpuhp.model.expr import Const, Op
from cpuhp.model.invariant import FAR, NEAR, Clause, Invariant, Literal, Symbol
from cpuhp.model.sorts import CPU, CPU_OR_NONE, NONE, CounterSort, IndexSort
from cpuhp.model.system import Choice, Runs
from cpuhp.semantics import Machine, apply, enabled, holds, initial_states
from cpuhp.semantics.steps import is_quiescent

B, C, D, X, OTHER = (Symbol.BOOT, *(Param(n, CPU) for n in "cdx"), Symbol.OTHER)
I, J = Symbol.I, Symbol.J


def election(among_survivors=True):
    """Who leaves hands its duty over, among those that are not marked as leaving."""
    dying, online = percpu("dying"), percpu("online", initial=1)
    owner = shared("owner", CPU_OR_NONE, BOOT)
    control = Code("control", "mark kick done")
    control.step("mark", "mark", effects=[put(owner, C)], choices=[Choice(C)])
    marked = [put(dying, X, not_(eq(X, BOOT)), bound=(X,))]
    control.step("mark", "kick", effects=marked)
    ap = Code("ap", "up chosen dead", Runs.EVERY_AP)
    go, mine = control.at("kick"), eq(rd(owner), ME)
    fit = and_(rd(online, C), not_(eq(C, ME)))
    if among_survivors:
        fit = and_(fit, not_(rd(dying, C)))
    ap.step("up", "chosen", and_(go, mine), [put(owner, C)], [Choice(C, fit)])
    ap.step("up", "chosen", and_(go, not_(mine)))
    ap.step("chosen", "dead", effects=[put(online, ME, 0)])
    alive = forall(C, implies(eq(rd(owner), C), rd(online, C)))
    return build("election", [control, ap], [dying, online, owner]), always(alive)


def barrier(guarded=True):
    ap = Code("ap", "work parked", Runs.EVERY_AP)
    control = Code("control", "wait after")
    ap.step("work", "parked")
    parked = forall(C, or_(eq(C, BOOT), ap.at("parked", C)))
    control.step("wait", "after", parked if guarded else TRUE)
    everyone = forall(D, or_(eq(D, BOOT), ap.at("parked", D)))
    system = build("barrier", [control, ap])
    return system, always(implies(control.at("after"), everyone))


def countdown():
    """The control task goes on when a counter says that nobody runs."""
    running = percpu("running", initial=lambda c: not_(eq(c, BOOT)))
    sort = CounterSort("running")
    everyone = Quantified(Quantifier.COUNT, X, rd(running, X))
    left = shared("left", sort, everyone)
    ap, control = Code("ap", "run off", Runs.EVERY_AP), Code("control", "wait after")
    less = arithmetic(Op.SUB, rd(left), Const(1, sort), sort)
    ap.step("run", "off", effects=[put(left, less), put(running, ME, 0)])
    control.step("wait", "after", eq(rd(left), Const(0, sort)))
    nobody = forall(C, not_(rd(running, C)))
    claim = always(implies(control.at("after"), nobody))
    return build("countdown", [control, ap], [running, left]), claim


def targets():
    dst = percpu("dst", CPU_OR_NONE, NOBODY)
    ap = Code("ap", "start end", Runs.EVERY_AP)
    ap.step(
        "start", "end", effects=[put(dst, ME, C)], choices=[Choice(C, not_(eq(C, ME)))]
    )
    return build("targets", [ap], [dst]), always(forall(D, not_(eq(rd(dst, D), D))))


def locked():
    system, alone = critical_section()
    return system, always(alone)


def shutdown(which):
    system, props = parallel_shutdown(3)
    return system, props[which]


SAFE = {
    "mutual exclusion": locked,
    "lock without deadlock": lambda: (critical_section()[0], DEADLOCK_FREE),
    "barrier": barrier,
    "election": election,
    "counter": countdown,
    "per-CPU pointers": targets,
    "three phases": lambda: shutdown(0),
    "three phases without deadlock": lambda: shutdown(2),
}


def proof_of(system, prop, seconds=20):
    return prove(system, prop, deadline=time.monotonic() + seconds).invariant


def outcomes(system, prop, invariant, solvers=("z3",), forms=FORMS, seconds=5):
    for form in forms:
        try:
            made = scripts(system, prop, invariant, form)
        except Unsupported:
            continue
        for solver in solvers:
            yield check(made, form, solver, seconds)


def accepted(system, prop, invariant, **more):
    return [outcome.is_accepted for outcome in outcomes(system, prop, invariant, **more)]


@pytest.mark.parametrize("name", SAFE)
def test_proofs_are_accepted(name):
    system, prop = SAFE[name]()
    found = list(outcomes(system, prop, proof_of(system, prop), solvers=present()))
    assert all(outcome.is_accepted for outcome in found), found
    assert len(found) == len(FORMS) * len(present())


@pytest.mark.parametrize("name", SAFE)
def test_a_clause_that_is_needed_cannot_be_removed(name):
    system, prop = SAFE[name]()
    clauses = proof_of(system, prop).clauses
    needed = 0
    for number in range(len(clauses)):
        fewer = Invariant(clauses[:number] + clauses[number + 1 :])
        proves = verify(system, prop, fewer) == []
        assert accepted(system, prop, fewer) == [proves, proves]
        needed += not proves
    assert needed


def test_a_clause_that_forbids_too_much_is_rejected():
    system, prop = barrier()
    clauses = proof_of(system, prop).clauses
    always_parked = Literal("ap.at", (I,), frozenset({0}))
    stronger = Invariant((*clauses, Clause((always_parked,))))
    for outcome in outcomes(system, prop, stronger):
        assert "initial state violates clause" in str(outcome.failures[0])


def test_a_clause_that_forbids_too_little_is_rejected():
    system, prop = barrier()
    clause = next(c for c in proof_of(system, prop).clauses if c.symbols)
    where = Literal("control.at", (), frozenset({0}))
    assert not any(accepted(system, prop, Invariant((Clause((*clause.cube, where)),))))


def test_reasons_name_the_step_and_the_clause():
    system, prop = locked()
    alone = Clause(tuple(Literal("user.at", (c,), frozenset({1})) for c in (I, J)))
    for outcome in outcomes(system, prop, Invariant((alone,))):
        texts = [str(failure) for failure in outcome.failures]
        assert "consecution: the step 'user.0' breaks clause 1" in texts


def test_a_solver_that_gives_up_accepts_nothing():
    system, (_, _, free) = parallel_shutdown(8)
    invariant = proof_of(system, free)
    made = scripts(system, free, invariant, "forall")
    outcome = check(made, "forall", "z3", seconds=0.001)
    assert not outcome.is_accepted and outcome.is_unknown
    assert "gives no answer" in str(outcome.failures[0])


# --- certificates that are wrong, each for a reason of its own


def one_step(variables, guard=TRUE, effects=(), choices=(), runs=Runs.ONCE):
    code = Code("task", "start end", runs)
    code.step("start", "end", guard, effects, choices)
    return build("one_step", [code], variables)


def never(*literals):
    parts = [Literal(name, where, frozenset(values)) for name, where, values in literals]
    return Invariant((Clause(tuple(parts)),))


def an_actor_that_is_set():
    hit = percpu("hit")
    system = one_step([hit], effects=[put(hit, ME, 1)], runs=Runs.EVERY_AP)
    wrong = always(forall(C, or_(eq(C, BOOT), not_(rd(hit, C)))))
    return system, wrong, never(("hit", (I,), {1}))


def the_control_cpu_as_actor():
    hit = percpu("hit")
    system = one_step([hit], effects=[put(hit, ME, 1)], runs=Runs.EVERY_CPU)
    return system, always(not_(rd(hit, BOOT))), never(("hit", (B,), {1}))


def a_write_to_all():
    hit = percpu("hit")
    system = one_step([hit], effects=[put(hit, X, 1, bound=(X,))])
    wrong = always(forall(C, or_(eq(C, BOOT), not_(rd(hit, C)))))
    return system, wrong, never(("hit", (I,), {1}))


def a_third_cpu_that_decides_a_guard():
    flag, late = shared("flag"), percpu("late", initial=None, constant=True)
    guard = exists(C, rd(late, C))
    system = one_step([flag, late], guard, [put(flag, 1)])
    return system, always(not_(rd(flag))), never(("flag", (), {1}))


def a_guard_over_all_cpus():
    flag, late = shared("flag"), percpu("late", initial=None, constant=True)
    system = one_step([flag, late], forall(C, rd(late, C)), [put(flag, 1)])
    return system, always(not_(rd(flag))), never(("flag", (), {1}))


def a_write_through_a_pointer():
    to, hit = shared("to", CPU_OR_NONE, None, constant=True), percpu("hit")
    system = one_step([to, hit], effects=[put(hit, rd(to), 1)])
    wrong = always(forall(C, or_(eq(C, BOOT), not_(rd(hit, C)))))
    return system, wrong, never(("hit", (I,), {1}))


def a_machine_with_the_control_cpu_only():
    flag = shared("flag")
    system = one_step([flag], forall(C, eq(C, BOOT)), [put(flag, 1)])
    return system, always(not_(rd(flag))), never(("flag", (), {1}))


def a_control_cpu_that_decides_a_guard():
    flag, late = shared("flag"), percpu("late", initial=lambda c: eq(c, BOOT))
    system = one_step([flag, late], exists(C, rd(late, C)), [put(flag, 1)])
    others = Clause((Literal("late", (I,), frozenset({1})),))
    clauses = (*never(("flag", (), {1})).clauses, others)
    return system, always(not_(rd(flag))), Invariant(clauses)


def an_environment_that_may_stop():
    flag = shared("flag")
    code = Code("task", "start end", environment=True)
    code.step("start", "end", effects=[put(flag, 1)])
    system = build("stops", [code], [flag])
    start = never(("task.at", (), {0}), ("flag", (), {1})).clauses
    end = never(("task.at", (), {1}), ("flag", (), {0})).clauses
    return system, finally_(rd(flag)), Invariant((*start, *end))


def a_machine_with_many_cpus():
    flag, names = shared("flag"), [Param(f"n{n}", CPU) for n in range(4)]
    apart = and_(*(not_(eq(a, b)) for a in names for b in names if a.name < b.name))
    guard = apart
    for name in names:
        guard = exists(name, guard)
    system = one_step([flag], guard, [put(flag, 1)])
    return system, always(not_(rd(flag))), never(("flag", (), {1}))


def another_process():
    flag, hit = shared("flag"), percpu("hit")
    ap = Code("ap", "a b", Runs.EVERY_AP).step("a", "b", effects=[put(flag, 1)])
    task = Code("task", "a b").step("a", "b", effects=[put(hit, BOOT, 1)])
    system = build("two", [task, ap], [flag, hit])
    return system, always(not_(rd(flag))), never(("flag", (), {1}))


def an_assumption_that_does_not_last():
    flag, bad = shared("flag", initial=None), shared("bad")
    code = Code("task", "start middle end")
    code.step("start", "middle", effects=[put(flag, 1)])
    code.step("middle", "end", rd(flag), effects=[put(bad, 1)])
    system = build("assumed", [code], [flag, bad], [not_(rd(flag))])
    return system, always(not_(rd(bad))), never(("bad", (), {1}))


def a_choice_that_can_be_anybody():
    chosen = shared("chosen", CPU_OR_NONE, NOBODY)
    system = one_step([chosen], effects=[put(chosen, C)], choices=[Choice(C)])
    wrong = always(not_(eq(rd(chosen), BOOT)))
    return system, wrong, never(("chosen", (), {B}))


def a_counter_that_misses_a_cpu():
    running = percpu("running", initial=lambda c: not_(eq(c, BOOT)))
    sort = CounterSort("running")
    left = shared("left", sort, Quantified(Quantifier.COUNT, X, rd(running, X)))
    effects = [put(running, ME, 0)]
    system = one_step([running, left], effects=effects, runs=Runs.EVERY_AP)
    everybody = implies(forall(C, not_(rd(running, C))), eq(rd(left), Const(0, sort)))
    far = {*NEAR, FAR} - {0}
    return system, always(everybody), never(("left", (), far))


def nothing_is_known():
    system, alone = critical_section(locked=False)
    return system, always(alone), Invariant(())


def a_system_that_stops():
    flag = shared("flag")
    system = one_step([flag], rd(flag))
    return system, DEADLOCK_FREE, never(("flag", (), {1}))


def an_end_that_is_bad():
    flag = shared("flag")
    system = one_step([flag], effects=[put(flag, 1)])
    return system, finally_(not_(rd(flag))), Invariant(())


WRONG = [
    an_actor_that_is_set,
    the_control_cpu_as_actor,
    a_write_to_all,
    a_third_cpu_that_decides_a_guard,
    a_guard_over_all_cpus,
    a_write_through_a_pointer,
    a_machine_with_the_control_cpu_only,
    a_machine_with_many_cpus,
    another_process,
    an_assumption_that_does_not_last,
    a_control_cpu_that_decides_a_guard,
    an_environment_that_may_stop,
    a_choice_that_can_be_anybody,
    a_counter_that_misses_a_cpu,
    nothing_is_known,
    a_system_that_stops,
    an_end_that_is_bad,
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda made: made.__name__)
def test_wrong_certificates_are_rejected(wrong):
    assert not any(accepted(*wrong(), solvers=present(), seconds=2))


def slips(form):
    """Wrong certificates that the checker, as it is now, accepts."""
    return [
        wrong.__name__
        for wrong in WRONG
        if any(accepted(*wrong(), forms=[form], seconds=2))
    ]


# --- a checker with a fault is noticed


def test_a_frame_condition_too_many_is_noticed(monkeypatch):
    def keep(self, variable, where):
        return self.pool.cell(variable, where)

    monkeypatch.setattr(pool_conditions._Step, "after", keep)
    assert "an_actor_that_is_set" in slips("qf")


def test_a_write_that_is_not_read_back_is_noticed(monkeypatch):
    monkeypatch.setattr(twin, "written_by", lambda system, action: frozenset())
    monkeypatch.setattr(twin, "touched", lambda clauses, written: range(len(clauses)))
    assert "an_actor_that_is_set" in slips("forall")


@pytest.mark.parametrize("form", FORMS)
def test_a_forgotten_process_is_noticed(monkeypatch, form):
    def fewer(clauses, written):
        return [] if "ap.at" in written else list(range(len(clauses)))

    monkeypatch.setattr(pool_conditions, "touched", fewer)
    monkeypatch.setattr(twin, "touched", fewer)
    assert slips(form) == ["another_process"]


def test_a_guard_that_sees_only_the_seats_is_noticed(monkeypatch):
    plain = pool.Pool.hole

    def closed(self, expr, env):
        hole = plain(self, expr, env)
        every = expr.kind is Quantifier.FORALL
        self.axiom(hole if every else f"(not {hole})")
        return hole

    monkeypatch.setattr(pool_conditions, "MAX_APS", 2)
    assert slips("qf") == []
    monkeypatch.setattr(pool.Pool, "hole", closed)
    assert slips("qf") == ["a_machine_with_many_cpus"]


@pytest.mark.parametrize("form", FORMS)
def test_a_guard_read_too_strongly_is_noticed(monkeypatch, form):
    for room in (pool.Pool, twin.Twin):
        plain = room.quantified

        def strong(self, expr, env, plain=plain):
            return plain(self, replace(expr, kind=Quantifier.FORALL), env)

        monkeypatch.setattr(room, "quantified", strong)
    monkeypatch.setattr(pool.Pool, "_decides", lambda self, kind, want: False)
    assert "a_machine_with_many_cpus" in slips(form)


@pytest.mark.parametrize("form", FORMS)
def test_a_quantifier_over_hotplugged_cpus_only_is_noticed(monkeypatch, form):
    def without_boot(self, sort):
        return list(self.is_there.items())[1:]

    monkeypatch.setattr(pool.Pool, "taken", without_boot)
    plain = twin.Twin.element

    def no_boot(self, text, sort):
        return f"(and (distinct {text} boot) {plain(self, text, sort)})"

    monkeypatch.setattr(twin.Twin, "element", no_boot)
    assert "a_control_cpu_that_decides_a_guard" in slips(form)


def test_a_forgotten_cpu_is_noticed(monkeypatch):
    plain = pool_conditions._roles

    def seated(pool, clause, used):
        return [c for c in plain(pool, clause, used) if len(c) < 2 or used]

    monkeypatch.setattr(pool_conditions, "_roles", seated)
    assert {"a_write_to_all", "a_write_through_a_pointer"} <= set(slips("qf"))


def test_a_forgotten_control_cpu_is_noticed(monkeypatch):
    monkeypatch.setattr(
        pool_conditions.PoolConditions,
        "_actors",
        lambda self, action: [1] if action.actor else [None],
    )
    assert slips("qf") == ["the_control_cpu_as_actor"]


@pytest.mark.parametrize("form", FORMS)
def test_assumptions_taken_for_ever_are_noticed(monkeypatch, form):
    monkeypatch.setattr(pool_conditions, "lasting", lambda system: system.assumptions)
    monkeypatch.setattr(twin, "lasting", lambda system: system.assumptions)
    assert slips(form) == ["an_assumption_that_does_not_last"]


@pytest.mark.parametrize("form", FORMS)
def test_a_forgotten_claim_is_noticed(monkeypatch, form):
    monkeypatch.setattr(pool_conditions, "goals", lambda system, prop: [])
    monkeypatch.setattr(twin, "goals", lambda system, prop: [])
    missed = {"nothing_is_known", "a_system_that_stops", "an_end_that_is_bad"}
    assert missed <= set(slips(form))


@pytest.mark.parametrize("form", FORMS)
def test_rest_taken_for_progress_is_noticed(monkeypatch, form):
    everything = lambda system: list(system.actions)
    monkeypatch.setattr(pool_conditions, "movers", everything)
    monkeypatch.setattr(twin, "movers", everything)
    assert slips(form) == ["an_environment_that_may_stop"]


# --- whatever real machines do has a model


def random_state(machine, random):
    return tuple(
        random.choice(machine.values(variable.sort)) for variable, _ in machine.cells
    )


def literal_of(machine, cell, value, cpus):
    """What a clause says of a cell whose value is this, or None if it cannot."""
    variable, where = machine.cells[cell]
    named = {cpu: symbol for symbol, cpu in cpus.items()}
    arguments = []
    for index, sort in zip(where, variable.indices):
        if sort == CPU and index not in named:
            return None
        arguments.append(named[index] if sort == CPU else index)
    if isinstance(variable.sort, IndexSort) and variable.sort.name == "cpu":
        value = Symbol.NONE if value == NONE else named.get(value, OTHER)
    return Literal(variable.name, tuple(arguments), frozenset({value}))


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
    found = [literal_of(machine, c, state[c], cpus) for c in dict.fromkeys(cells)]
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
            assert broken, (outcome.form, action.name, binding, clause, state, after, machine.cpus, machine.boot, outcome.failures)
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
    proof = prove(system, prop, samples=few, deadline=time.monotonic() + 3)
    if proof.invariant is not None:
        assert all(accepted(system, prop, proof.invariant))
