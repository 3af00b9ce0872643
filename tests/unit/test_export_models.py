"""Exported models mean what the system means; names of specs do no harm in them."""

import os
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
import z3
from builders import (
    BOOT,
    DEADLOCK_FREE,
    RACE_FREE,
    TERMINATES,
    Code,
    always,
    buddies,
    build,
    critical_section,
    election,
    finally_,
    leads_to,
    leavers,
    opposite_locks,
    parallel_shutdown,
    percpu,
    put,
    rd,
    shared,
    sometimes,
    topology,
)
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_systems import random_formulas, random_systems

import cpuhp
from cpuhp.cli.export import command
from cpuhp.diagnostics import InputError
from cpuhp.engines.explicit import check
from cpuhp.model.expr import FALSE, TRUE, Const, not_
from cpuhp.model.sorts import CPU, EnumSort, RangeSort
from cpuhp.model.system import Order, Runs
from cpuhp.report.export import covers_every_count, export, formats, ground, suffix
from cpuhp.report.export.names import comment, identifiers
from cpuhp.semantics import (
    Machine,
    apply,
    enabled,
    evaluate,
    holds,
    initial_states,
    is_quiescent,
    is_stuck,
)

quick = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
machines = st.tuples(st.integers(1, 3), st.integers(0, 2)).filter(lambda m: m[1] < m[0])


def some_states(machine, most=25):
    found = dict.fromkeys(islice(initial_states(machine), 5))
    for state in (queue := list(found)):
        for action, binding in enabled(machine, state):
            after = apply(machine, state, action, binding)
            if after not in found and len(found) < most:
                found[after] = None
                queue.append(after)
    return queue


def after_command(claim, state, written):
    """What the writes of a command do to a state."""
    machine, after = claim.machine, list(state)
    for write in written.writes:
        where = tuple(evaluate(machine, i, state) for i in write.indices)
        cell = machine.cell(write.variable.name, where)
        if cell is not None:
            value = evaluate(machine, write.value, state)
            low, high = claim.bounds(write.variable.sort)
            if isinstance(write.variable.sort, EnumSort | RangeSort):
                value = max(low, min(high, value))
            assert low <= value <= high
            after[cell] = value
    return tuple(after)


@quick
@given(st.data(), random_systems(ordered=True), machines)
def test_commands_do_what_the_actions_do(data, system, at):
    machine = Machine(system, *at)
    if not any(True for _ in initial_states(machine)):
        return
    claim = ground(system, always(TRUE), *at)
    assert list(claim.starts) == list(initial_states(machine))
    for state in some_states(machine):
        expected = [apply(machine, state, a, b) for a, b in enabled(machine, state)]
        able = [c for c in claim.commands if holds(machine, c.guard, state)]
        assert sorted(after_command(claim, state, c) for c in able) == sorted(expected)


@quick
@given(st.data(), random_systems(ordered=True), machines)
def test_the_invariant_fails_where_the_claim_is_decided(data, system, at):
    machine = Machine(system, *at)
    if not any(True for _ in initial_states(machine)):
        return
    formula = data.draw(random_formulas(system, ordered=True))
    always_, never = (
        ground(system, always(formula), *at),
        ground(system, sometimes(formula), *at),
    )
    end = ground(system, finally_(formula), *at)
    stuck = ground(system, DEADLOCK_FREE, *at)
    assert [c.is_witness for c in (always_, never, end)] == [False, True, False]
    for state in some_states(machine):
        truth = holds(machine, formula, state)
        assert holds(machine, always_.invariant, state) == truth
        assert holds(machine, never.invariant, state) != truth
        quiet = is_quiescent(machine, state)
        assert holds(machine, end.invariant, state) == (truth or not quiet)
        assert holds(machine, stuck.invariant, state) != is_stuck(machine, state)


# --- SMT-LIB


def answer(text):
    solver = z3.Solver()
    solver.from_string(text)
    return str(solver.check())


@pytest.mark.parametrize("order", [Order.ANY, Order.FIRST, Order.LAST])
def test_the_smt_question_is_answered_yes_from_the_shortest_run_on(order):
    system = election(order)
    found = check(system, DEADLOCK_FREE, 3, 1)
    shortest = len(found.trace.steps) if found.trace else None
    for depth in range(5):
        expected = shortest is not None and depth >= shortest
        text = export(system, DEADLOCK_FREE, "smt2", 3, 1, depth)
        assert answer(text) == ("sat" if expected else "unsat")


def test_the_smt_question_knows_pointers_tables_and_simultaneous_writes():
    swap, other = (
        shared("swap", RangeSort(0, 5), 1),
        shared("other", RangeSort(0, 5), 4),
    )
    code = Code("p", "start done")
    code.step("start", "done", effects=[put(swap, rd(other)), put(other, rd(swap))])
    system = build("swap", [code], [swap, other])
    moved = not_(rd_is(swap, 4)), not_(rd_is(other, 1))
    for formula in moved:
        assert answer(export(system, always(formula), "smt2", 1, 0, 1)) == "sat"
    exclusive, alone = critical_section(locked=False)
    assert answer(export(exclusive, always(alone), "smt2", 2, 0, 2)) == "sat"
    assert answer(export(buddies(), always(FALSE), "smt2", 3, 1, 0)) == "sat"
    assert answer(export(topology(), sometimes(FALSE), "smt2", 3, 0, 2)) == "unsat"


def test_a_counter_may_be_any_number():
    system, once = leavers()
    assert answer(export(system, always(not_(once)), "smt2", 3, 0, 1)) == "sat"
    assert answer(export(system, always(not_(once)), "smt2", 3, 0, 0)) == "unsat"
    assert "  v_left: 50..250;\n" in export(system, always(not_(once)), "murphi", 3)


def rd_is(variable, value):
    from cpuhp.model.expr import eq

    return eq(rd(variable), Const(value, variable.sort))


# --- names


@given(st.lists(st.text(max_size=80), max_size=8))
def test_identifiers_are_safe_and_differ(names):
    made = identifiers(((n, name) for n, name in enumerate(names)), "v")
    assert len({name.lower() for name in made.values()}) == len(names)
    assert all(re.fullmatch(r"v(_[A-Za-z0-9_]+)?", name) for name in made.values())


@given(st.text(max_size=200))
def test_a_comment_stays_one(text):
    shown = comment(text)
    assert shown.isprintable() and shown.isascii() and len(shown) <= 120
    assert not re.search(r'\*|//|--|\?\?|[\\"`#]', shown)


HOSTILE = 'x"; */ end } #include </etc/passwd> \\\n-- a'


@pytest.mark.parametrize("to", ["promela", "murphi", "smt2"])
def test_a_hostile_name_never_leaves_its_comment(to):
    value = EnumSort(f"e{HOSTILE}", (HOSTILE, "if", "IF", "do"))
    variable = shared(HOSTILE, value, "if")
    code = Code("p", "start done").step(
        "start", "done", effects=[put(variable, "do")], name=HOSTILE
    )
    text = export(build(HOSTILE, [code], [variable]), always(TRUE), to, 1)
    bare = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    bare = re.sub(r'^(--|;).*$|Rule ".*?"', "", bare, flags=re.MULTILINE)
    assert "passwd" in text
    assert "</" not in bare and "include <" not in bare and "\\" not in text
    if to == "smt2":
        assert answer(text) == "unsat"


def test_a_model_tells_which_name_became_which():
    text = export(parallel_shutdown(2)[0], DEADLOCK_FREE, "promela", 3)
    assert " * v_context = context: cpu\n" in text
    assert "/* 4 ap.0 CPU2 */" in text or "ap.0 CPU2 */" in text
    assert "#define c_ap_at_parked " in text


# --- what cannot be exported


@pytest.mark.parametrize(
    ("prop", "arguments", "code"),
    [
        (TERMINATES, ("murphi", 2), "HP831"),
        (RACE_FREE, ("promela", 2), "HP831"),
        (leads_to(TRUE, TRUE), ("smt2", 2), "HP831"),
        (DEADLOCK_FREE, ("promella", 2), "HP830"),
        (DEADLOCK_FREE, ("promela", 2, 0, 7), "HP834"),
        (DEADLOCK_FREE, ("murphi", 2, 5), "HP601"),
    ],
)
def test_what_cannot_be_exported_is_an_error_of_the_input(prop, arguments, code):
    with pytest.raises(InputError) as error:
        export(opposite_locks(), prop, *arguments)
    assert error.value.diagnostics[0].code == code


def test_the_page_explains_every_error_of_an_export():
    root = Path(cpuhp.__file__).parent
    sources = [*(root / "report/export").glob("*.py"), root / "cli/export.py"]
    raised = {
        c for path in sources for c in re.findall(r'"(HP83\d)"', path.read_text())
    }
    page = (root.parent / "docs/export.md").read_text()
    assert raised == set(re.findall(r"^\| (HP\d+) ", page, re.MULTILINE))


def test_a_model_that_is_too_large_or_has_no_start_is_refused():
    many = percpu("many", CPU, None)
    code = Code("p", "start done", Runs.EVERY_CPU).step(
        "start", "done", effects=[put(many, BOOT, BOOT)]
    )
    with pytest.raises(InputError, match="HP832"):
        export(build("many", [code], [many]), DEADLOCK_FREE, "murphi", 6)
    none = build("none", [code], [many], assumptions=[FALSE])
    with pytest.raises(InputError, match="HP835"):
        export(none, DEADLOCK_FREE, "murphi", 2)


# --- the command


SPEC = """scenario export_me;
shared cpu? leader;
percpu bool leads;
process elect(cpu) on aps { if (leader == none) { leader = cpu; leads[cpu] = true; } }
check export_one_leader {
    never exists(a in cpus : exists(b in cpus : a != b && leads[a] && leads[b]));
    sometimes exists(a in cpus : leads[a]);
}
"""


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "export_me.hp"
    path.write_text(SPEC)
    return path


CLAIM = ["--check", "export_one_leader", "--claim", "0"]


@pytest.mark.parametrize("to", formats())
def test_the_command_writes_the_slice_of_a_claim(spec, to, tmp_path):
    target = tmp_path / f"model{suffix(to)}"
    arguments = [str(spec), *CLAIM, "--to", to]
    arguments += [] if covers_every_count(to) else ["--cpus", "3"]
    shown = CliRunner().invoke(command, arguments)
    assert shown.exit_code == 0, shown.output
    written = CliRunner().invoke(command, [*arguments, "-o", str(target)])
    assert (written.exit_code, written.stdout) == (0, "")
    assert target.read_text() == shown.stdout
    assert "export_one_leader" in shown.stdout
    assert ("without invariants" in shown.stderr) == covers_every_count(to)
    if to == "smt2":
        assert answer(shown.output) == "sat"


def test_the_command_asks_which_claim_is_meant(spec):
    for arguments in (CLAIM[:2], [*CLAIM[:2], "--claim", "9"]):
        with pytest.raises(InputError, match="HP833") as error:
            CliRunner().invoke(
                command,
                [str(spec), *arguments, "--to", "promela", "--cpus", "2"],
                catch_exceptions=False,
            )
        assert "--check export_one_leader --claim 1" in error.value.render()


def test_the_text_does_not_depend_on_hash_order(spec):
    texts = set()
    for start in "12":
        done = subprocess.run(
            [sys.executable, "-m", "cpuhp", "export", str(spec), *CLAIM, "--to",
             "murphi", "--cpus", "3"],
            env={**os.environ, "PYTHONHASHSEED": start},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        texts.add(done.stdout)
    assert len(texts) == 1
