"""Reader-writer locks, grace periods, preempt-off regions, and `this_cpu`."""

import pytest

from cpuhp.api import loads
from cpuhp.diagnostics import InputError, Source
from cpuhp.engines.answer import Settings
from cpuhp.engines.checking import Checker
from cpuhp.kernel.tables.order import shipped_order
from cpuhp.language.library import shipped
from cpuhp.language.link import link
from cpuhp.language.parser import parse


def verdicts(text, cpus=3):
    unit = parse(Source("test.hp", f"scenario test;\n{text}"))
    program = link(unit, shipped().with_units([unit]), shipped_order("arm64-6.12"), {})
    checker = Checker(program)
    return [
        checker.answer(name, number, Settings(cpus=cpus)).result.verdict.name
        for name, number, _ in checker.claims()
        if name == "t"
    ]


def test_a_waiting_writer_holds_new_readers_off_an_rwsem_but_not_an_rwlock():
    text = """
    {kind} l; completion second; completion first;
    process a {{ {down}(l); complete(first); wait (second); {up}(l); }}
    process b {{ wait (first); {down}(l); complete(second); {up}(l); }}
    process w {{ {write}(l); {done}(l); }}
    check t {{ deadlock_free; sometimes at(w, end); }}"""
    fair = text.format(kind="rwsem", down="down_read", up="up_read",
                       write="down_write", done="up_write")  # fmt: skip
    unfair = text.format(kind="rwlock", down="read_lock", up="read_unlock",
                         write="write_lock", done="write_unlock")  # fmt: skip
    assert verdicts(fair) == ["VIOLATED", "WITNESSED"]
    assert verdicts(unfair) == ["PROVED", "WITNESSED"]


@pytest.mark.parametrize(
    ("kind", "read", "unread"),
    [("rwsem", "down_read", "up_read"), ("rwlock", "read_lock", "read_unlock")],
)
def test_readers_on_every_cpu_share_the_lock_and_exclude_the_writer(kind, read, unread):
    write = {"rwsem": "down_write", "rwlock": "write_lock"}[kind]
    assert verdicts(f"""
    {kind} l; percpu bool inside; shared bool writing;
    process r(cpu) on aps {{
        {read}(l); inside[cpu] = true; inside[cpu] = false; {unread}(l);
    }}
    process w {{ {write}(l); writing = true; }}
    check t {{
        never exists(c in aps : inside[c] && writing);
        sometimes all(c in aps : inside[c]);
        sometimes writing;
    }}""") == ["PROVED", "WITNESSED", "WITNESSED"]


def test_a_grace_period_waits_for_readers_of_before_and_for_no_others():
    assert verdicts("""
    use rcu_readers;
    shared bool unlinked; shared bool freed; percpu bool sees; percpu bool uses;
    process reader(cpu) on aps {
        rcu_read_lock();
        atomic { sees[cpu] = !unlinked; uses[cpu] = sees[cpu]; }
        uses[cpu] = false;
        rcu_read_unlock();
    }
    process updater { unlinked = true; synchronize_rcu(); freed = true; }
    check t {
        never freed && exists(c in aps : uses[c]);
        sometimes freed && exists(c in aps : at(reader[c], rcu_read_unlock));
        deadlock_free;
    }""") == ["PROVED", "WITNESSED", "PROVED"]


def test_two_waiters_have_a_snapshot_each():
    assert verdicts("""
    srcu_struct s; percpu bool got;
    process reader(cpu) on aps { srcu_read_lock(s); srcu_read_unlock(s); }
    process waiter(cpu) on aps { synchronize_srcu(s); got[cpu] = true; }
    check t { deadlock_free; sometimes all(c in aps : got[c]); }
    """) == ["PROVED", "WITNESSED"]


def test_a_region_without_preemption_holds_the_rendezvous_off():
    assert verdicts("""
    use preempt;
    shared bool stopped; percpu bool inside;
    process task(cpu) on aps {
        preempt_disable(); inside[cpu] = true; inside[cpu] = false; preempt_enable();
    }
    process stop { wait (all(c in cpus : preemptible(c))); stopped = true; }
    check t { sometimes stopped; deadlock_free; sometimes all(c in aps : inside[c]); }
    """) == ["WITNESSED", "PROVED", "WITNESSED"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("rwsem l; process p { mutex_lock(l); }", "HP302"),
        ("mutex l; process p { down_read(l); }", "HP302"),
        ("rwsem l; process p { up_read(l); }", "HP319"),
        ("bool l; process p { down_read(l); }", "HP302"),
        ("rwsem l; process p { down_read(); }", "HP303"),
        ("rwsem l; process p { down_red(l); }", "HP301"),
    ],
)
def test_a_lock_is_used_as_what_it_is_wrong(text, code):
    with pytest.raises(InputError) as error:
        verdicts(text)
    assert error.value.diagnostics[0].code == code


def test_an_assertion_inside_an_atomic_block_can_fail():
    assert verdicts("""
    shared bool bad;
    process p { bad = true; }
    process q { atomic { BUG_ON(bad); bad = true; } }
    check t { never bug(); }
    """) == ["VIOLATED"]


def test_an_if_that_options_decide_is_not_there():
    text = """
    option bool on = {on};
    shared bool x;
    process p {{ if (on) x = true; else if (!on) {{ x = false; }} }}
    check t {{ finally x == {on}; }}"""
    assert verdicts(text.format(on="true")) == ["PROVED"]
    assert verdicts(text.format(on="false")) == ["PROVED"]


def test_an_interrupt_comes_only_when_it_may():
    assert verdicts("""
    percpu bool raised; percpu bool irqs_off; percpu bool handled;
    process p { raised = aps; }
    interrupt i(cpu) when (raised[cpu]) { handled[cpu] = true; }
    check t { never handled[boot]; sometimes all(c in aps : handled[c]); }
    """) == ["PROVED", "WITNESSED"]


@pytest.mark.parametrize(
    "body",
    [
        "down_read(l); down_read(l); up_read(l); up_read(l);",
        "if (x) { down_read(l); } down_read(l); up_read(l);",
        "down_read(l); inner(); up_read(l);",
        "atomic { srcu_read_lock(s); srcu_read_lock(s); } srcu_read_unlock(s);",
    ],
)
def test_readers_do_not_nest(body):
    text = "scenario nested; rwsem l; srcu_struct s; shared bool x;"
    inner = "void inner() { down_read(l); up_read(l); }"
    with pytest.raises(InputError, match="HP508"):
        Checker(loads(f"{text} {inner} process p {{ {body} }}").program)


def test_readers_that_follow_each_other_do_not_nest():
    text = """
    percpu rwsem l;
    process p { for (c in aps) { down_read(l[c]); up_read(l[c]); } down_read(l[boot]); }
    check t { finally at(p, end); }
    """
    assert verdicts(text) == ["PROVED"]


@pytest.mark.parametrize(
    "body",
    [
        "read_lock(l[x]); read_lock(l[y]); read_unlock(l[x]);",
        "read_lock(l[x]); x = y; read_lock(l[x]); read_unlock(l[x]);",
        "read_lock(l[x]); inner(y); read_unlock(l[x]);",
        "atomic { read_lock(l[x]); read_lock(l[y]); read_unlock(l[x]); }",
        "srcu_read_lock(s[x]); srcu_read_lock(s[y]); srcu_read_unlock(s[x]);",
        "for (c in cpus) { read_lock(l[x]); x = boot; }",
    ],
)
def test_readers_of_one_lock_under_two_names_do_not_nest(body):
    text = """
    percpu rwlock l; percpu srcu_struct s; shared bool gone;
    void inner(cpu z) {{ read_lock(l[z]); read_unlock(l[z]); }}
    process p {{ cpu x = boot; cpu y = boot; {body} gone = true; }}
    process w {{ write_lock(l[boot]); write_unlock(l[boot]); synchronize_srcu(s[boot]); }}
    check t {{ never bug(); deadlock_free; never gone; }}"""
    assert verdicts(text.format(body=body)) == ["VIOLATED", "VIOLATED", "PROVED"]


def test_readers_of_several_locks_nest():
    text = """
    percpu rwlock l; shared bool gone;
    process p(cpu) on aps {
        cpu x = boot;
        read_lock(l[x]); read_lock(l[cpu]); read_unlock(l[x]); read_unlock(l[cpu]); gone = true;
    }
    process w { write_lock(l[boot]); write_unlock(l[boot]); }
    check t { never bug(); deadlock_free; never gone; }"""
    assert verdicts(text) == ["PROVED", "PROVED", "VIOLATED"]
