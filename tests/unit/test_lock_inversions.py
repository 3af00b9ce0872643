"""`inversion_free`: which orders of locks are an inversion, and how that is told."""

import pytest

from cpuhp.api import Settings, certify, loads
from cpuhp.diagnostics import InputError

NESTED = "mutex_lock({0}); mutex_lock({1}); mutex_unlock({1}); mutex_unlock({0});"


def scenario(text, **options):
    text = f"scenario tiny;\n{text}\ncheck order {{ inversion_free; }}"
    return loads(text, options=options)


def answer(text, cpus=None, **options):
    return scenario(text, **options).answer("order", 0, Settings(cpus=cpus, timeout=30))


def verdict(text, cpus=None):
    found = answer(text, cpus)
    return found.verdict, found.cpus


def crossed(first, second):
    return (
        f"mutex a; mutex b; mutex c; process p {{ {first} }} process q {{ {second} }}"
    )


def test_one_order_is_proved_for_every_number_of_cpus():
    both = NESTED.format("a", "b")
    assert verdict(crossed(both, both)) == ("PROVED", "all")


def test_opposite_orders_are_an_inversion_with_its_story():
    found = answer(crossed(NESTED.format("a", "b"), NESTED.format("b", "a")))
    assert found.verdict == "VIOLATED"
    assert found.reason == "locks are asked for in a circle: b under a, a under b"
    told = [step.action for step in found.trace.steps]
    assert "about to mutex_lock(a) under b" in told
    last = found.trace.steps[-1]
    assert last.changes == {"a before b": ("false", "true")}
    assert not any("." in name for name in found.trace.initial)


def test_it_need_not_block():
    text = f"""mutex a; mutex b; completion done;
        process p {{ {NESTED.format("a", "b")} complete(done); }}
        process q {{ wait_for_completion(done); {NESTED.format("b", "a")} }}
        check goes_on {{ deadlock_free; }}"""
    assert answer(text).verdict == "VIOLATED"
    goes_on = scenario(text).answer("goes_on", 0, Settings(cpus=2))
    assert goes_on.verdict == "PROVED"


def test_what_blocks_for_ever_has_been_asked_for():
    # Neither lock is ever taken by the second one.
    text = """mutex a; mutex b; completion one; completion two;
        process p { mutex_lock(a); complete(one); wait_for_completion(two); mutex_lock(b); }
        process q { mutex_lock(b); complete(two); wait_for_completion(one); mutex_lock(a); }"""
    assert answer(text, 2).verdict == "VIOLATED"


def test_two_runs_make_no_inversion_only_one_does():
    # Which order it is, is decided once; so no run has both.
    text = f"""mutex a; mutex b;
        process p {{ either {{ {NESTED.format("a", "b")} }}
                     or {{ {NESTED.format("b", "a")} }} }}"""
    assert verdict(text) == ("PROVED", "all")


def test_three_locks_in_a_ring():
    text = f"""mutex a; mutex b; mutex c;
        process p {{ {NESTED.format("a", "b")} }}
        process q {{ {NESTED.format("b", "c")} }}
        process r {{ {NESTED.format("c", "a")} }}"""
    found = answer(text)
    assert found.verdict == "VIOLATED"
    assert found.reason.count(" under ") == 3


def test_a_lock_under_itself():
    found = answer("mutex a; process p { mutex_lock(a); mutex_lock(a); }")
    assert found.verdict == "VIOLATED"
    assert found.reason == "p asks for a where it is held already"


def test_a_trylock_asks_for_nothing_but_holds():
    tries = "if (mutex_trylock({0})) {{ {1} mutex_unlock({0}); }}"
    other = "mutex_lock(b); mutex_unlock(b);"
    under_b = f"mutex_lock(b); {tries.format('a', '')} mutex_unlock(b);"
    assert verdict(crossed(NESTED.format("a", "b"), under_b)) == ("PROVED", "all")
    under_a = tries.format("a", other)
    assert answer(crossed(under_a, NESTED.format("b", "a"))).verdict == "VIOLATED"


def test_inside_an_atomic_block_the_order_counts_too():
    atomic = f"atomic {{ {NESTED.format('a', 'b')} }}"
    assert answer(crossed(atomic, NESTED.format("b", "a"))).verdict == "VIOLATED"
    assert verdict(crossed(atomic, atomic)) == ("PROVED", "all")


def test_whoever_lets_a_lock_go_it_is_not_held_any_more():
    text = f"""mutex a; mutex b; completion has; completion gone;
        process p {{ mutex_lock(a); complete(has); wait_for_completion(gone);
                    mutex_lock(b); mutex_unlock(b); }}
        process q {{ wait_for_completion(has); %s complete(gone); }}
        process r {{ {NESTED.format("b", "a")} }}"""
    assert answer(text % "mutex_unlock(a);", 2).verdict == "PROVED"
    assert answer(text % "", 2).verdict == "VIOLATED"


# -- readers -------------------------------------------------------------------------

READERS = """mutex m;
    process p {{ {read} mutex_lock(m); mutex_unlock(m); {done} }}
    process q {{ mutex_lock(m); {read} {done} mutex_unlock(m); }}
    process w {{ {write} }}"""


def readers(kind, write=""):
    read, done = {"rwsem": ("down_read(l);", "up_read(l);"),
                  "rwlock": ("read_lock(l);", "read_unlock(l);")}[kind]  # fmt: skip
    return f"{kind} l;" + READERS.format(read=read, done=done, write=write)


def test_readers_of_a_fair_lock_wait_behind_a_writer():
    assert answer(readers("rwsem", "down_write(l); up_write(l);")).verdict == "VIOLATED"
    assert verdict(readers("rwsem")) == ("PROVED", "all")


def test_readers_of_an_rwlock_do_not_wait_for_readers():
    assert verdict(readers("rwlock", "write_lock(l); write_unlock(l);")) == (
        "PROVED",
        "all",
    )


def test_a_grace_period_is_asked_for_and_its_readers_hold():
    text = """mutex m; srcu_struct s;
        process p { mutex_lock(m); synchronize_srcu(s); mutex_unlock(m); }
        process q { srcu_read_lock(s); mutex_lock(m); mutex_unlock(m); srcu_read_unlock(s); }"""
    assert answer(text).verdict == "VIOLATED"


# -- locks of CPUs -------------------------------------------------------------------

CROSSWISE = """percpu raw_spinlock l;
    process p(cpu) on aps {{
        cpu? o = any(c in {whom} : c != cpu);
        raw_spin_lock(l[cpu]);
        if (o != none) {{ raw_spin_lock(l[o]); raw_spin_unlock(l[o]); }}
        raw_spin_unlock(l[cpu]);
    }}"""


def test_two_cpus_take_each_other_s_lock():
    found = answer(CROSSWISE.format(whom="aps"))
    assert (found.verdict, found.cpus) == ("VIOLATED", 3)
    assert "l[CPU1] before l[CPU2]" in found.trace.steps[-1].changes


def test_the_control_cpu_s_lock_comes_last_and_that_is_proved(tmp_path):
    found = answer(CROSSWISE.format(whom="{boot}"))
    assert (found.verdict, found.cpus) == ("PROVED", "all")
    path = tmp_path / "tiny.hp"
    path.write_text(
        "scenario tiny;\n"
        + CROSSWISE.format(whom="{boot}")
        + "\ncheck order { inversion_free; }"
    )
    outcomes = certify(found.save_certificate(tmp_path), spec=str(path))
    assert outcomes and all(outcome.is_accepted for outcome in outcomes)


def test_locks_in_the_order_of_the_ids():
    text = """percpu mutex l;
        process p { for (c in cpus) { mutex_lock(l[c]); }
                    for (c in cpus) { mutex_unlock(l[c]); } }"""
    assert answer(text, 3).verdict == "PROVED"


# -- interrupts ----------------------------------------------------------------------

HANDLER = """percpu bool irqs_off; percpu bool raised; raw_spinlock l; raw_spinlock m;
    environment device { raised[boot] = true; }
    interrupt irq(cpu) when (raised[cpu]) {
        raised[cpu] = false; raw_spin_lock(l); raw_spin_unlock(l); }
    """


def test_a_handler_finds_its_lock_held():
    found = answer(HANDLER + "process p { raw_spin_lock(l); raw_spin_unlock(l); }")
    assert found.verdict == "VIOLATED"
    assert found.reason == "irq asks for l where it is held already"


def test_interrupts_are_off_while_it_is_held():
    text = "process p { raw_spin_lock_irqsave(l); raw_spin_unlock_irqrestore(l); }"
    assert verdict(HANDLER + text) == ("PROVED", "all")


def test_an_interrupt_that_cannot_come_finds_nothing():
    # Asked for after the lock was let go; the text alone does not tell.
    text = (
        HANDLER.replace("device {", "device { wait (done);")
        + """shared bool done;
        process p { raw_spin_lock(l); raw_spin_unlock(l); done = true; }"""
    )
    assert answer(text, 2).verdict == "PROVED"


def test_a_chain_of_locks_leads_into_the_handler():
    text = (
        HANDLER
        + """
        process safe(cpu) on aps { raw_spin_lock_irqsave(l); raw_spin_lock(m);
            raw_spin_unlock(m); raw_spin_unlock_irqrestore(l); }
        process unsafe { raw_spin_lock(m); raw_spin_unlock(m); }"""
    )
    found = answer(text)
    assert found.verdict == "VIOLATED"
    assert found.reason == "locks are asked for in a circle: m under l, l under m"
    masked = text.replace(
        "raw_spin_lock(m); raw_spin_unlock(m); }",
        "raw_spin_lock_irqsave(m); raw_spin_unlock_irqrestore(m); }",
    )
    assert verdict(masked) == ("PROVED", "all")


# -- the language --------------------------------------------------------------------


@pytest.mark.parametrize("text", ["inversion_free", "inversion_free a;", "inversions;"])
def test_the_claim_stands_alone(text):
    with pytest.raises(InputError) as error:
        loads(f"scenario tiny;\nshared bool a;\ncheck order {{ {text} }}")
    assert error.value.diagnostics[0].code in ("HP104", "HP106")


def test_a_scenario_without_locks_has_no_inversion():
    assert verdict("process p { }") == ("PROVED", "all")
