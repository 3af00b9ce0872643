"""Models for every number of CPUs mean what the system means.

Neither checker is a package of a distribution, so readers of their languages stand in
for them: one counts states with so many processes, the other verifies on z3.
"""

import re
from dataclasses import replace

import pytest
import z3
from builders import (
    DEADLOCK_FREE,
    TERMINATES,
    always,
    buddies,
    critical_section,
    opposite_locks,
    parallel_shutdown,
    topology,
)
from click.testing import CliRunner
from cubicle_reader import Model as Cubicle
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from mypyvy_reader import Model as Mypyvy
from random_systems import random_formulas, random_systems

from cpuhp.api import load
from cpuhp.cli.export import command
from cpuhp.diagnostics import InputError
from cpuhp.engines.checking import Checker
from cpuhp.engines.explicit import Limits, check
from cpuhp.engines.parametric import prove
from cpuhp.model.expr import TRUE, Const, Param, reads, walk
from cpuhp.model.invariant import Invariant
from cpuhp.model.sorts import BoolSort, CounterSort, IndexSort
from cpuhp.report.export import export_unbounded, unbounded
from cpuhp.semantics import Machine, apply, enabled, initial_states

quick = settings(
    max_examples=15,
    deadline=None,
    phases=[Phase.generate],
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


def proof(callbacks=2, stale=False):
    system, props = parallel_shutdown(callbacks, stale=stale)
    return system, props[0], prove(system, props[0]).invariant


# --- Cubicle


def counted(system, prop, cpus):
    """States and the verdict of ours, over every place of the control CPU."""
    total, bad = 0, False
    for boot in range(cpus):
        every = check(system, always(TRUE), cpus, boot, Limits(), symmetry=False)
        total += every.stats.get("states", 0)
        bad = bad or check(system, prop, cpus, boot).verdict.name == "VIOLATED"
    return total, bad


def agree(system, prop, most=3):
    model = Cubicle(export_unbounded(system, prop, "cubicle", None))
    for cpus in range(1, most + 1):
        states, bad = model.run(cpus)
        assert (len(states), bad) == counted(system, prop, cpus), cpus


@pytest.mark.parametrize("stale", [False, True])
def test_cubicle_counts_the_states_of_a_shutdown(stale):
    system, props = parallel_shutdown(2, stale=stale)
    agree(system, props[0])


@pytest.mark.parametrize("locked", [False, True])
def test_cubicle_sees_whether_two_are_in_a_critical_section(locked):
    system, alone = critical_section(locked)
    agree(system, always(alone))


@pytest.mark.parametrize("system", [buddies(), topology()], ids=lambda s: s.name)
def test_cubicle_knows_pointers_and_topologies(system):
    agree(system, always(TRUE))


def test_what_clauses_forbid_is_unsafe_and_never_reached():
    system, prop, invariant = proof()
    model = Cubicle(export_unbounded(system, prop, "cubicle", invariant))
    assert len(model.unsafes) > len(invariant.clauses)
    assert not model.run(3)[1]
    first = invariant.clauses[0]
    literal = first.cube[0]
    values = frozenset(range(8)) - literal.values
    turned = replace(first, cube=(replace(literal, values=values),))
    model = Cubicle(export_unbounded(system, prop, "cubicle", Invariant((turned,))))
    assert model.run(2)[1]


compared = []


@seed(20240607)
@quick
@given(st.data(), random_systems(counted=False))
def some_random_systems(data, system):
    one_random_system(data, system)


def test_cubicle_counts_the_states_of_random_systems():
    compared.clear()
    some_random_systems()
    assert len(compared) > 10


@pytest.mark.slow
@seed(20240609)
@settings(quick, max_examples=150)
@given(st.data(), random_systems(counted=False))
def test_cubicle_counts_the_states_of_many_random_systems(data, system):
    one_random_system(data, system)


def one_random_system(data, system):
    prop = always(data.draw(random_formulas(system, counted=False)))
    try:
        text = export_unbounded(system, prop, "cubicle", None)
    except InputError as error:
        assert error.diagnostics[0].code in ("HP836", "HP832")
        return
    model = Cubicle(text)
    for cpus in (1, 2):
        starts = [any(True for _ in initial_states(Machine(system, cpus, boot)))
                  for boot in range(cpus)]  # fmt: skip
        expected = counted(system, prop, cpus) if all(starts) else (1000, False)
        if expected[0] < 200:
            states, bad = model.run(cpus)
            assert (len(states), bad) == expected
            compared.append(cpus)


# --- mypyvy


@pytest.mark.parametrize("callbacks", [1, 3])
def test_mypyvy_accepts_the_clauses_of_a_proof(callbacks):
    system, prop, invariant = proof(callbacks)
    model = Mypyvy(export_unbounded(system, prop, "mypyvy", invariant))
    assert model.is_possible()
    assert model.failures() == []


def test_mypyvy_misses_clauses_that_are_left_out():
    system, prop, invariant = proof()
    missed = []
    for number, clause in enumerate(invariant.clauses):
        kept = invariant.clauses[:number] + invariant.clauses[number + 1 :]
        text = export_unbounded(system, prop, "mypyvy", Invariant(kept))
        if Mypyvy(text).failures():
            missed.append(clause)
    assert len(missed) >= 2


def test_mypyvy_rejects_the_proof_of_another_system():
    _, _, invariant = proof()
    system, props = parallel_shutdown(2, stale=True)
    text = export_unbounded(system, props[0], "mypyvy", invariant)
    assert any(name.endswith("claim") or "clause" in name
               for name in Mypyvy(text).failures())  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        (r"\(p_1 = boot\) \|", "true |"),  # a guard that is read too weakly
        (r"  modifies v_mutex, ", "  modifies v_context, v_mutex, "),  # no frame
        (r"& \(v_context != p_0\)\)", ")"),
    ],
)
def test_mypyvy_notices_a_fault_in_a_step(change):
    system, prop, invariant = proof()
    text = export_unbounded(system, prop, "mypyvy", invariant)
    changed = re.sub(*change, text)
    assert changed != text
    assert Mypyvy(changed).failures()


def test_without_a_proof_a_model_says_so_and_nothing_is_inductive():
    system, props = parallel_shutdown(2)
    text = export_unbounded(system, props[0], "mypyvy", None)
    assert "# without invariants" in text
    assert any(name.endswith(": claim") for name in Mypyvy(text).failures())


class Finite:
    """A mypyvy model with so many CPUs, which z3 asks for single steps."""

    def __init__(self, system, text, cpus, boot):
        self.system, self.model = system, Mypyvy(text)
        self.machine = Machine(system, cpus, boot)
        sort = self.model.sorts["cpu"]
        self.cpus = [z3.Const(f"cpu{n}", sort) for n in range(cpus)]
        none, x = self.model.symbols["none"][0](), z3.Const("x", sort)
        self.cpus.append(none)  # so that NONE, which is -1, is the last
        self.facts = [
            z3.Distinct(*self.cpus),
            z3.ForAll([x], z3.Or([x == c for c in self.cpus])),
            self.model.symbols["boot"][0]() == self.cpus[boot],
            *self.model.axioms,
        ]
        self.names = dict(
            (spec, made)
            for made, spec in re.findall(r"^# (v_\w+) = ([\w.]+)", text, re.MULTILINE)
        )
        self.constants = dict(
            re.findall(r"^immutable constant (c_\w+): (s_\w+)", text, re.MULTILINE)
        )

    def value(self, symbol, sort, value):
        if isinstance(sort, BoolSort):
            return z3.BoolVal(bool(value))
        if isinstance(sort, IndexSort) and sort.name == "cpu":
            return self.cpus[value]
        kind = symbol.range().name()
        named = [c for c, s in self.constants.items() if s == kind]
        low = getattr(sort, "low", -1 if isinstance(sort, IndexSort) else 0)
        return self.model.symbols[named[value - low]][0]()

    def state(self, state, later):
        parts = []
        for cell, (variable, where) in enumerate(self.machine.cells):
            symbol = self.model.symbols[self.names[variable.name]][later]
            at = [self.cpus[w] for w in where]
            parts.append(symbol(*at) == self.value(symbol, variable.sort, state[cell]))
        for variable in self.system.variables:
            if variable.indices:  # nothing is at none
                symbol = self.model.symbols[self.names[variable.name]][later]
                default = 0 if not isinstance(variable.sort, IndexSort) else -1
                default = getattr(variable.sort, "low", default)
                parts.append(
                    symbol(self.cpus[-1]) == self.value(symbol, variable.sort, default)
                )
        return parts

    def is_step(self, before, after):
        solver = z3.Solver()
        solver.add(*self.facts, *self.state(before, 0), *self.state(after, 1))
        solver.add(z3.Or([step for _, step in self.model.steps]))
        return solver.check() == z3.sat

    def is_start(self, state):
        solver = z3.Solver()
        solver.add(*self.facts, *self.state(state, 0), *self.model.inits)
        return solver.check() == z3.sat


@seed(20240608)
@settings(quick, max_examples=12)
@given(st.data(), random_systems(counted=False))
def test_mypyvy_takes_the_steps_that_random_systems_take(data, system):
    if any(
        isinstance(v.sort, CounterSort) or any(i.name != "cpu" for i in v.indices)
        or len(v.indices) > 1
        for v in system.variables
    ):  # fmt: skip
        return
    try:
        text = export_unbounded(system, always(TRUE), "mypyvy", None)
    except InputError as error:
        assert error.diagnostics[0].code in ("HP836", "HP832")
        return
    finite = Finite(system, text, 2, data.draw(st.sampled_from([0, 1])))
    starts = list(initial_states(finite.machine))[:3]
    for start in starts:
        assert finite.is_start(start)
        after = {apply(finite.machine, start, a, b)
                 for a, b in enabled(finite.machine, start)}  # fmt: skip
        for state in after:
            assert finite.is_step(start, state)
            assert finite.is_start(state) == (
                state in set(initial_states(finite.machine))
            )
        assert finite.is_step(start, start) == (start in after)
        for state in starts:
            assert finite.is_step(start, state) == (state in after)


# --- plain words


@quick
@given(random_systems(counted=False))
def test_plain_actions_compare_cells_and_constants_only(system):
    made = unbounded(system, DEADLOCK_FREE, None)
    for action in made.actions:
        for expr in walk(action.guard):
            assert not isinstance(expr, Const) or expr.sort == BoolSort() or reads(
                action.guard
            )  # fmt: skip
            if isinstance(expr, Param):
                assert expr.sort.name == "cpu"
        for write in action.writes:
            assert write.cases or write.variable.indices
    assert {a.label.split()[0] for a in made.actions} <= {
        a.name for a in system.actions
    }


@pytest.mark.parametrize(
    ("prop", "to", "code"),
    [
        (TERMINATES, "mypyvy", "HP831"),
        (DEADLOCK_FREE, "cubicle", "HP836"),
        (DEADLOCK_FREE, "promela", "HP830"),
        (DEADLOCK_FREE, "cubical", "HP830"),
    ],
)
def test_what_cannot_be_written_is_an_error_of_the_input(prop, to, code):
    with pytest.raises(InputError, match=code):
        export_unbounded(opposite_locks(), prop, to, None)


def test_a_deadlock_is_a_claim_of_mypyvy():
    text = export_unbounded(opposite_locks(), DEADLOCK_FREE, "mypyvy", None)
    assert any(name.endswith(": claim") for name in Mypyvy(text).failures())


# --- the command


def test_the_command_finds_the_proof_itself_or_takes_it_from_a_certificate(tmp_path):
    answer = load("bringup-parallel").check("one_cpu_on_the_trampoline_stack")[0]
    certificate = answer.save_certificate(tmp_path)
    claim = ["--check", answer.check, "--claim", "0"]
    searched = ["bringup-parallel", *claim, "--timeout", "120"]
    for subject in (searched, [str(certificate)]):
        for to in ("cubicle", "mypyvy"):
            done = CliRunner().invoke(command, [*subject, "--to", to])
            assert done.exit_code == 0, done.output
        assert "invariant [clause_1]" in done.output
        assert Mypyvy(done.output).failures() == []


def test_the_command_refuses_a_number_of_cpus(tmp_path):
    done = CliRunner().invoke(
        command, ["bringup-parallel", "--to", "cubicle", "--cpus", "3"]
    )
    assert done.exit_code == 2
    assert "every number of CPUs" in done.output


def test_no_proof_is_looked_for_where_none_can_be_written(monkeypatch):
    monkeypatch.setattr(Checker, "answer", None)
    claim = ["bringup-parallel", "--check", "no_data_race", "--to", "mypyvy"]
    error = CliRunner().invoke(command, claim).exception
    assert isinstance(error, InputError) and error.diagnostics[0].code == "HP831"


def test_an_edited_certificate_is_not_exported(tmp_path):
    answer = load("bringup-parallel").check("one_cpu_on_the_trampoline_stack")[0]
    certificate = answer.save_certificate(tmp_path)
    text = certificate.read_text()
    certificate.write_text(text.replace("start_secondary", "start_secundary"))
    with pytest.raises(InputError, match="HP70"):
        CliRunner().invoke(
            command, [str(certificate), "--to", "mypyvy"], catch_exceptions=False
        )
