"""Faults planted in an engine are noticed: it no longer agrees with the semantics.

What is true of the toy systems is found state by state, by the interpreter of
`cpuhp.semantics` alone. Faults in the prover are in test_parametric_soundness.py, those
in the checker of certificates in test_certificate_faults.py, and those in the joining of
steps in test_language_quotient.py.
"""

from dataclasses import replace
from functools import cache

import pytest
from builders import (
    DEADLOCK_FREE,
    Code,
    always,
    build,
    critical_section,
    finally_,
    lost_update,
    opposite_locks,
    parallel_shutdown,
    put,
    rd,
    shared,
    sometimes,
)

from cpuhp.api import Settings, load
from cpuhp.engines import bounded, checking, ladder, refinement
from cpuhp.engines.encoding import Encoder
from cpuhp.engines.explicit import check, compile, moves, multiset, search, space
from cpuhp.engines.expressions import Expressions
from cpuhp.model.expr import TRUE, Op, not_
from cpuhp.model.system import Expectation, Order, Runs
from cpuhp.model.verdict import Verdict
from cpuhp.semantics import (
    Machine,
    ReplayError,
    apply,
    enabled,
    holds,
    initial_states,
    is_quiescent,
    is_stuck,
)

BAD = (Verdict.VIOLATED, Verdict.WITNESSED)
DEPTH = 6


def resting():
    """A service that rests where it waits, and a client that need not come."""
    asked = shared("asked")
    service = Code("service", "wait serve", final="", resting="wait")
    service.step("wait", "serve", rd(asked)).step(
        "serve", "wait", effects=[put(asked, 0)]
    )
    client = Code("client", "away come end", environment=True)
    client.step("away", "come").step("come", "end", not_(rd(asked)), [put(asked, 1)])
    return build("resting", [service, client], [asked])


def cases():
    lost, wrong = lost_update()
    locked, alone = critical_section()
    crowd, together = critical_section(locked=False)
    stale, (kept, *_) = parallel_shutdown(1, stale=True)
    yield lost, sometimes(wrong)
    yield locked, always(alone)
    yield locked, DEADLOCK_FREE
    yield crowd, always(together)
    yield stale, kept
    yield parallel_shutdown(1)[0], kept
    yield opposite_locks(), DEADLOCK_FREE
    yield resting(), DEADLOCK_FREE
    yield resting(), finally_(rd(shared("asked")))


CASES = list(cases())
NAMES = [f"{system.name}, {prop.expectation.value}" for system, prop in CASES]


def decides(machine, prop, state):
    match prop.expectation:
        case Expectation.ALWAYS:
            return not holds(machine, prop.formula, state)
        case Expectation.SOMETIMES:
            return holds(machine, prop.formula, state)
        case Expectation.FINALLY:
            return is_quiescent(machine, state) and not holds(
                machine, prop.formula, state
            )
        case _:
            return is_stuck(machine, state)


@cache
def truth(number, cpus, boot):
    """All states, and after how many steps the claim is decided (None: never)."""
    system, prop = CASES[number]
    machine = Machine(system, cpus, boot)
    layer, seen, depth, found = list(initial_states(machine)), set(), 0, None
    while layer:
        seen.update(layer)
        if found is None and any(decides(machine, prop, state) for state in layer):
            found = depth
        ahead = {
            apply(machine, s, *move) for s in layer for move in enabled(machine, s)
        }
        layer, depth = sorted(ahead - seen), depth + 1
    return seen, found


def search_is_right(number, cpus, boot):
    """Does the search say what is true, of states and of orbits of states?"""
    (system, prop), (states, depth) = CASES[number], truth(number, cpus, boot)
    for symmetry in (False, True):
        try:
            result = check(system, prop, cpus, boot, symmetry=symmetry)
        except ReplayError:  # every run that is found is taken again
            return False
        if (result.verdict in BAD) != (depth is not None):
            return False
        if result.trace is not None and len(result.trace.steps) != depth:
            return False
    compiled = moves.compile_machine(Machine(system, cpus, boot))
    for room in (search.make_space(compiled, False), search.make_space(compiled, True)):
        keys = search.search(room, [], search.Budget(search.Limits())).parents
        images = [{room.state(key)} for key in keys]
        if hasattr(room, "permuter"):
            images = [room.permuter.orbit(room.state(key)) for key in keys]
        if set().union(*images) != states:
            return False
    return True


def right(engine, places):
    return all(engine(n, *at) for n in range(len(CASES)) for at in places)


PLACES = [(2, 0), (3, 1)]


@pytest.mark.parametrize("number", range(len(CASES)), ids=NAMES)
@pytest.mark.parametrize("at", PLACES)
def test_the_search_is_right(number, at):
    assert search_is_right(number, *at)


def other_cells_are_lost(machine, action, number):
    take = true_compile_action(machine, action, number)
    written = {effect.variable for effect in action.effects}
    cells = [n for n, (v, _) in enumerate(machine.cells) if v.name not in written]

    def taken(state, actor, out):
        before = len(out)
        take(state, actor, out)
        for place in range(before, len(out)):
            which, binding, after = out[place]
            after = tuple(0 if n in cells else v for n, v in enumerate(after))
            out[place] = which, binding, after

    return taken


def any_is_the_first(machine, action, number):
    choices = tuple(replace(c, order=Order.FIRST) for c in action.choices)
    return true_compile_action(machine, replace(action, choices=choices), number)


def nobody_runs(machine, process, takers):
    runner = true_runner(machine, process, takers)
    return replace(runner, instances=()) if process.runs is Runs.ONCE else runner


def without_the_last(machine, process, takers):
    runner = true_runner(machine, process, takers)
    return replace(runner, instances=runner.instances[:-1])


def first_conjunct_only(writer, lines, pending, env, indent):
    pending[:] = pending[:1]
    return true_emit_guard(writer, lines, pending, env, indent)


def never_enough(writer, lines, pending, env, indent):
    indent = true_emit_guard(writer, lines, pending, env, indent)
    lines.append(f"{indent}if s[0] == s[-1]:")
    return indent + "    "


true_compile_action, true_runner = moves.compile_action, moves._runner
true_emit_guard = compile._emit_guard
true_local = multiset.MultisetSpace._local

SEARCH_FAULTS = {
    "a step does not keep what it does not assign":
        (moves, "compile_action", other_cells_are_lost),
    "of several CPUs only the first is picked":
        (moves, "compile_action", any_is_the_first),
    "a process is forgotten": (moves, "_runner", nobody_runs),
    "a CPU is forgotten": (moves, "_runner", without_the_last),
    "a guard is read too weakly": (compile, "_emit_guard", first_conjunct_only),
    "a guard is read too strongly": (compile, "_emit_guard", never_enough),
    "only one step is taken":
        (space.PlainSpace, "successors", lambda self, key:
            [move[2] for move in self.compiled.moves(key)][:1]),
    "nobody is ever stuck": (search, "stuck_test", lambda room: lambda key, moves: False),
    "everybody is at rest": (space, "at_rest", lambda system: TRUE),
    "rest is forgotten": (space, "at_rest", lambda system: not_(TRUE)),
    "an environment owes progress":
        (search, "quiescent_test", lambda room: lambda key, moves: not moves),
    "who holds a lock is forgotten in an orbit":
        (multiset.MultisetSpace, "_local", lambda self, values, held:
            true_local(self, values, ())),
}  # fmt: skip


@pytest.mark.parametrize("fault", SEARCH_FAULTS)
def test_a_fault_in_the_search_is_noticed(fault, monkeypatch):
    monkeypatch.setattr(*SEARCH_FAULTS[fault])
    assert not right(search_is_right, PLACES)


# --- z3 at a fixed number of CPUs


def bounded_is_right(number, cpus, boot):
    """Does z3 find what happens within a few steps, and nothing else?"""
    (system, prop), (_, depth) = CASES[number], truth(number, cpus, boot)
    result = bounded.search(system, prop, cpus, boot, max_depth=DEPTH)
    if depth is None or depth > DEPTH:
        return result.verdict is Verdict.HOLDS_TO_BOUND
    return result.verdict in BAD and len(result.trace.steps) == depth


@pytest.mark.parametrize("number", range(len(CASES)), ids=NAMES)
def test_bounded_search_is_right(number):
    assert bounded_is_right(number, 2, 0)


def nothing_is_written(self, taken, frame, variable, where):
    return self.cell(frame, variable, where)


def anything_is_written(self, taken, frame, variable, where):
    if variable in {effect.variable for effect in taken.action.effects}:
        return true_post(self, taken, frame, variable, where)
    return self.anything(self.system.variable(variable).sort)


def enabled_by_its_place(self, taken, frame):
    """Of a guard, only where the process is."""
    guard = taken.action.guard
    place = guard.args[0] if guard.op is Op.AND else guard
    return self.truth(place, taken.binding, frame)


def takings_but(forgotten):
    def takings(self):
        return (t for t in true_takings(self) if not forgotten(t))

    return takings


true_post, true_takings = Encoder.post, bounded._Paths._takings
BOUNDED_FAULTS = {
    "a frame condition too many": (Encoder, "post", nothing_is_written),
    "a dropped frame condition": (Encoder, "post", anything_is_written),
    "a guard is read too weakly": (Encoder, "enabled", enabled_by_its_place),
    "a guard is read too strongly": (Encoder, "enabled", lambda *_: False),
    "a process is forgotten":
        (bounded._Paths, "_takings", takings_but(lambda t: t.action.actor is None)),
    "a CPU is forgotten":
        (bounded._Paths, "_takings", takings_but(lambda t: t.action.actor
            and t.env[0][1] == 1)),
    "any state is a first one": (Encoder, "initial", lambda *_: True),
    "everybody is quiet": (bounded._Paths, "quiescent", lambda *_: True),
    "everybody is at rest": (bounded, "at_rest", lambda system: TRUE),
}  # fmt: skip


@pytest.mark.parametrize("fault", BOUNDED_FAULTS)
def test_a_fault_in_bounded_search_is_noticed(fault, monkeypatch):
    monkeypatch.setattr(*BOUNDED_FAULTS[fault])
    assert not right(bounded_is_right, [(2, 0)])


# --- the ladder: what is shown was replayed, what is proved was proved

# `late` needs five CPUs: no search looks at so many. The other claim needs `asked`.
FIVE = """
scenario five;
percpu bool up; shared bool late; shared bool asked; mutex m;
process ap(cpu) on aps { wait (asked); mutex_lock(m); up[cpu] = true; mutex_unlock(m); }
process control { first: asked = true; if (count(c in cpus : up[c]) >= 5) late = true; }
check never_late { never late; }
check asked_first { never exists(c in cpus : up[c]) && !asked; }
check begun { never exists(c in cpus : up[c]) && at(control, first); }
check all_up { never all(c in aps : up[c]); }
"""


@pytest.fixture
def five(tmp_path):
    path = tmp_path / "five.hp"
    path.write_text(FIVE)

    def verdict(name, **more):
        return load(str(path)).answer(name, 0, Settings(timeout=4, **more)).verdict

    return verdict


def no_run(*_, **__):
    return None


def half_a_run(single, prop, joined, trace, *rest, **more):
    found = true_unfold(single, prop, joined, trace, *rest, **more)
    return found and replace(found, steps=found.steps[: len(found.steps) // 2])


true_unfold, Refinement = refinement.unfold, refinement.Refinement
REFINEMENT_FAULTS = {
    "no run is unfolded": (refinement, "unfold", no_run),
    "half a run is unfolded": (refinement, "unfold", half_a_run),
    "nothing is to blame": (Refinement, "_blamed", lambda *_: frozenset()),
    "the wrong variable is to blame":
        (Refinement, "_blamed", lambda *_: frozenset({"m"})),
    "no violation is seen": (Refinement, "_violation", no_run),
    "a variable counts as idle": (Refinement, "_drop_idle", lambda self:
        bool(self.only) and not setattr(self, "only", frozenset())),
}  # fmt: skip


def test_what_needs_five_cpus_is_not_proved(five):
    assert five("never_late") == "UNKNOWN"
    assert five("asked_first") == "PROVED"


@pytest.mark.parametrize("fault", REFINEMENT_FAULTS)
def test_a_fault_in_refinement_costs_a_proof_at_most(fault, five, monkeypatch):
    monkeypatch.setattr(*REFINEMENT_FAULTS[fault])
    assert five("never_late") == "UNKNOWN"
    assert five("asked_first") in ("PROVED", "UNKNOWN")


def test_a_run_that_the_program_has_not_is_not_shown(five, monkeypatch):
    whole = checking.Checker.slice

    def too_little(self, name, number, only=None):
        return whole(self, name, number, frozenset())

    assert five("begun", cpus=2) == "PROVED"
    monkeypatch.setattr(checking.Checker, "slice", too_little)
    assert five("begun", cpus=2) == "UNKNOWN"


def test_a_run_that_z3_does_not_confirm_is_not_shown(five, monkeypatch):
    def too_short(*args, **more):
        found = check(*args, **more)
        trace = found.trace and replace(found.trace, steps=found.trace.steps[:-1])
        return replace(found, trace=trace)

    monkeypatch.setattr(ladder, "check", too_short)
    assert five("all_up", cpus=2) == "UNKNOWN"


def test_a_run_that_cannot_be_taken_again_is_not_shown(five, monkeypatch):
    monkeypatch.setattr(compile, "_emit_guard", first_conjunct_only)
    with pytest.raises(ReplayError):
        five("asked_first", cpus=2)


NINE = """
scenario nine; percpu bool on; shared bool many;
process p(cpu) on aps { on[cpu] = true; }
process q { if (count(c in aps : on[c]) == 9) many = true; }
check nine_are_many { never many; }
"""


def test_a_wrong_proof_is_not_told_if_it_is_checked_again(monkeypatch, tmp_path):
    """CPUs without a seat are not counted, so that nine of them are never seen."""
    path = tmp_path / "nine.hp"
    path.write_text(NINE)
    claim = ("nine_are_many", 0)
    assert load(str(path)).answer(*claim).verdict == "UNKNOWN"
    monkeypatch.setattr(Expressions, "_add_outside", lambda self, key, total: total)
    wrong = load(str(path)).answer(*claim)
    assert (wrong.verdict, wrong.cpus) == ("PROVED", "all")
    told = load(str(path)).answer(*claim, Settings(recheck=True))
    assert told.verdict == "UNKNOWN" and told.proof is None
    assert "the checker of certificates does not accept the proof" in told.reason
