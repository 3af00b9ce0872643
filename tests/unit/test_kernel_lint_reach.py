"""What lint follows, and the hazards that are found by following it."""

import json

import pytest
from kernel_trees import tree
from test_kernel_lint import found, run, source

from cpuhp.kernel.hazards.lint import explain, lint

CLEAR = "\tcpumask_clear_cpu(cpu, &d->mask);\n"


def rules(findings):
    return [finding.rule for finding in findings]


def test_function_behind_a_pointer_in_another_file(tmp_path):
    findings = found(
        tmp_path,
        "\tfoo_ops->leave(cpu);\n\treturn 0;",
        "static const struct foo_ops *foo_ops;",
        drivers__sub__bar_c="static int users;\n"
        "static void bar_leave(int cpu)\n{\n\tusers--;\n}\n"
        "static const struct foo_ops bar_ops = {\n\t.leave = bar_leave,\n};\n",
    )
    assert [(f.rule, f.file) for f in findings] == [("plain-rmw", "drivers/sub/bar.c")]


def test_pointer_of_another_type_is_not_guessed(tmp_path):
    other = (
        "static int users;\nstatic void bar_leave(int cpu)\n{\n\tusers--;\n}\n"
        "static const struct bar_ops bar_ops = {\n\t.leave = bar_leave,\n};\n"
    )
    before = "static const struct foo_ops *foo_ops;"
    body = "\tfoo_ops->leave(cpu);\n\treturn 0;"
    assert found(tmp_path, body, before, drivers__bar_c=other) == ()


def test_function_that_a_cross_call_runs(tmp_path):
    before = "static int users;\nstatic void leave(void *arg)\n{\n\tusers--;\n}"
    body = "\treturn smp_call_function_single(cpu, leave, NULL, true);"
    (finding,) = found(tmp_path, body, before)
    assert [place.function for place in finding.chain] == ["down", "leave"]


@pytest.mark.parametrize(
    "body, followed",
    [
        ("void (*go)(int) = leave; go(cpu);", True),
        ("void (*go)(int) = &leave; go(cpu);", True),
        ("void (*go)(int); go = leave; go(cpu);", True),
        ("void (*go)(int) = NULL; if (x) go = leave; if (go) go(cpu);", True),
        ("void (*go)(int) = leave; (*go)(cpu);", True),
        ("void (*go)(int) = leave; (go)(cpu);", True),
        ("void (*go)(int) = leave;", False),
        ("void (*go)(int) = leave; if (x) go = other; go(cpu);", False),
        ("void (*go)(int) = x ? leave : other; go(cpu);", False),
        ("void (*go)(int) = leave; choose(&go); go(cpu);", False),
        ("void (*go)(int); go(cpu); x->go = leave;", False),
    ],
)
def test_function_behind_a_local_pointer(tmp_path, body, followed):
    before = "static int users;\nstatic void leave(int cpu)\n{\n\tusers--;\n}\n"
    before += "static void other(int cpu)\n{\n}\n"
    lines = "\t" + body.replace("; ", ";\n\t")
    findings = found(tmp_path, f"{lines}\n\treturn 0;", before)
    assert rules(findings) == ["plain-rmw"] * followed


def test_what_a_local_pointer_is_given_is_passed_on(tmp_path):
    before = (
        "static void leave(int cpu, const struct cpumask *m)\n{\n"
        "\tperf_pmu_migrate_context(&pmu, cpu, cpumask_any_but(m, cpu));\n}\n"
    )
    body = "\tvoid (*go)(int, const struct cpumask *) = leave;\n\n"
    findings = found(
        tmp_path, f"{body}\tgo(cpu, cpu_active_mask);\n\treturn 0;", before
    )
    assert rules(findings) == ["target-from-active-mask"]


def test_function_that_a_helper_calls(tmp_path):
    before = (
        "static int users;\nstatic void leave(int cpu)\n{\n\tusers--;\n}\n"
        "static void visit(void (*what)(int), int cpu)\n{\n\twhat(cpu);\n}"
    )
    assert rules(found(tmp_path, "\tvisit(&leave, cpu);\n\treturn 0;", before)) == [
        "plain-rmw"
    ]


def test_stub_of_a_header_gives_way_to_the_function(tmp_path):
    findings = found(
        tmp_path,
        "\tbar_leave(cpu);\n\treturn 0;",
        '#include "bar.h"',
        drivers__bar_h="#ifdef CONFIG_BAR\nvoid bar_leave(int cpu);\n#else\n"
        "static inline void bar_leave(int cpu) { }\n#endif\n",
        drivers__bar_c="static int users;\nvoid bar_leave(int cpu)\n{\n\tusers--;\n}\n",
    )
    assert [finding.file for finding in findings] == ["drivers/bar.c"]


@pytest.mark.parametrize(
    "lead, count",
    [
        ("struct ctx *ctx = cpuc->ctx;", 1),
        ("struct ctx *ctx = this_cpu_ptr(all);\n\tctx->users->count--;", 1),
        ("struct ctx *ctx = *per_cpu_ptr(all, cpu);", 1),
        ("struct ctx *ctx = &per_cpu(all, cpu);", 0),
        ("struct ctx *ctx = all[cpu];", 0),
        ("struct ctx *ctx = kzalloc(8, GFP_KERNEL);", 0),
        ("struct ctx *ctx = cpuc->ctx;\n\tguard(mutex)(&m);", 0),
    ],
)
def test_count_of_users_that_cpus_share(tmp_path, lead, count):
    body = f"\t{lead}\n\tif (!--ctx->refcnt)\n\t\tkfree(ctx);\n\treturn 0;"
    assert rules(found(tmp_path, body)) == ["plain-rmw"] * count


@pytest.mark.parametrize(
    "statement, count",
    [
        ("ctx->refs--", 1),
        ("ctx->refs = ctx->refs - 1", 1),
        ("ctx->refs = 1 +\n\t\tctx->refs", 1),
        ("ctx->a.refs = ctx->a.refs + x->n", 1),
        ("ctx->refs = ctx->refs2 - 1", 0),
        ("ctx->refs = ctx->refs->n", 0),
        ("ctx->refs = x - ctx->refs", 0),
        ("ctx->refs = x->refs - 1", 0),
        ("ctx->refs = 1 + ctx->refs->n", 0),
        ("own->refs = own->refs - 1", 0),
        ("mutex_lock(&m);\n\tctx->refs = ctx->refs - 1;\n\tmutex_unlock(&m)", 0),
    ],
)
def test_an_assignment_may_change_what_cpus_share(tmp_path, statement, count):
    lead = "struct ctx *ctx = cpuc->ctx, *own;\n\town = &per_cpu(all, cpu);\n\t"
    body = f"\t{lead}{statement};\n\treturn 0;"
    assert rules(found(tmp_path, body)) == ["plain-rmw"] * count


def test_register_that_cpus_share(tmp_path):
    body = "\tCHIP_CLOCK(package) &= ~(1 << core);\n\treturn 0;"
    assert rules(found(tmp_path, body)) == ["plain-rmw"]


@pytest.mark.parametrize(
    "wait",
    [
        "on_each_cpu(mask, p, 1);",
        "smp_call_function_single(other, mask, p, true);",
        "while (!quiet(p))\n\t\tcpu_relax();",
        "hrtimer_cancel(&p->timer);",
    ],
)
def test_waits_for_other_cpus_under_a_lock(tmp_path, wait):
    body = f"\tmutex_lock(&m);\n\t{wait}\n\tmutex_unlock(&m);\n\treturn 0;"
    assert rules(found(tmp_path, body)) == ["wait-under-lock"]


@pytest.mark.parametrize(
    "call", ["on_each_cpu(f, p, 0);", "smp_call_function_single(cpu, f, p, 1);"]
)
def test_no_wait_for_nobody_else(tmp_path, call):
    body = f"\tmutex_lock(&m);\n\t{call}\n\tmutex_unlock(&m);\n\treturn 0;"
    assert found(tmp_path, body) == ()


@pytest.mark.parametrize(
    "body",
    [
        "\tif (cpumask_weight(topology_die_cpumask(cpu)) > 1)\n\t\tstop();",
        "\tcpumask_copy(&tmp, cpu_online_mask);\n"
        "\tif (!cpumask_intersects(mine, &tmp))\n\t\tstop();",
    ],
)
def test_other_forms_of_being_the_last(tmp_path, body):
    assert rules(found(tmp_path, f"{body}\n\treturn 0;")) == ["last-one-out"]


def test_what_is_done_if_nobody_is_left(tmp_path):
    body = (
        "\tint t = cpumask_any_but(cpu_online_mask, cpu);\n\tif (t < nr_cpu_ids)\n"
        "\t\tsend(t);\n\telse\n\t\tstop_unit(unit);\n\treturn 0;"
    )
    assert rules(found(tmp_path, body)) == ["target-from-online-mask", "last-one-out"]


@pytest.mark.parametrize(
    "lock, level",
    [("\tmutex_lock(&d->lock);\n", "note"), ("", "warning")],
)
def test_last_to_leave_a_mask_under_one_lock(tmp_path, lock, level):
    body = f"{lock}{CLEAR}\tif (cpumask_empty(&d->mask))\n\t\tstop();\n\treturn 0;"
    (finding,) = (f for f in found(tmp_path, body) if f.rule == "last-one-out")
    assert finding.level == level


@pytest.mark.parametrize(
    "state, level", [("CPUHP_AP_PERF_ONLINE", "warning"), ("CPUHP_A_DEAD", "note")]
)
def test_count_of_the_cpus_that_are_online(tmp_path, state, level):
    body = "\tset_share(total / (num_online_cpus() - 1));\n\treturn 0;"
    (finding,) = found(tmp_path, body, state=state)
    assert (finding.rule, finding.level) == ("online-count", level)


@pytest.mark.parametrize(
    "test, told",
    [
        ("1 == num_online_cpus()", True),
        ("2 > num_active_cpus()", True),
        ("1 == cpumask_weight(topology_core_cpumask(cpu))", True),
        ("1 >= cpumask_weight(cpu_online_mask)", True),
        ("1 == cpumask_weight(&box->pages)", False),
    ],
)
def test_a_test_for_the_last_cpu_may_be_turned(tmp_path, test, told):
    findings = found(tmp_path, f"\tif ({test})\n\t\tstop_all();\n\treturn 0;")
    assert rules(findings) == ["last-one-out"] * told
    assert all(f.message.endswith(f"depends on {test}") for f in findings)


@pytest.mark.parametrize(
    "before",
    [
        "static LIST_HEAD(items); /* guarded by CPU hotplug lock */",
        "/* access is serialized by cpu hotplug locking */\nstatic LIST_HEAD(items);",
    ],
)
def test_claim_beside_the_data_that_is_used(tmp_path, before):
    body = "\tlist_del_init(&items);\n\treturn 0;"
    assert rules(found(tmp_path, body, before)) == ["serial-claim"]
    assert found(tmp_path, "\treturn 0;", before) == ()


def test_choice_that_is_written_to(tmp_path):
    body = (
        "\tint t;\n\tstruct rq *next;\n\tfor_each_cpu(t, cpu_smt_mask(cpu)) {\n"
        "\t\tif (t == cpu)\n\t\t\tcontinue;\n\t\tnext = cpu_rq(t);\n\t\tbreak;\n\t}\n"
        "\tnext->cookie = rq->cookie;\n\treturn 0;"
    )
    assert rules(found(tmp_path, body)) == ["target-from-stale-mask"]


@pytest.mark.parametrize(
    "body",
    [
        "\tp->wake_cpu = cpumask_any_but(cpu_online_mask, cpu);\n\treturn 0;",
        "\tfirst_online(cpumask_next_wrap(cpu, &all, cpu, true));\n\treturn 0;",
    ],
)
def test_hint_and_place_to_begin_are_no_targets(tmp_path, body):
    before = (
        "static int first_online(int from)\n{\n\tint i;\n"
        "\tfor_each_cpu_wrap(i, cpu_active_mask, from)\n\t\tbreak;\n\treturn i;\n}"
    )
    assert "error" not in [f.level for f in found(tmp_path, body, before)]


def sides(folder, up, down, before=""):
    text = source(f"{down}\n\treturn 0;", before).replace(
        "up(unsigned int cpu)\n{", f"up(unsigned int cpu)\n{{\n{up}"
    )
    found = lint(tree(folder, drivers__foo_c=text)).findings
    return [(f.rule, f.role) for f in found if f.rule == "one-sided"]


@pytest.mark.parametrize(
    "up, down, role",
    [
        ("enable_percpu_irq(irq, 0);", "stop();", "startup"),
        ("enable_percpu_irq(irq, 0);", "disable_percpu_irq(irq);", None),
        ("start();", "disable_percpu_irq(irq);", "teardown"),
        ("request_irq(i, f, 0, n, p);", "stop();", "startup"),
        ("hrtimer_start(&t, 1, 0);", "hrtimer_cancel(&t);", None),
        ("hrtimer_start(&t, 1, 0);", "stop();", "startup"),
        ("hwmon_device_register(p);", "stop();", "startup"),
        ("hwmon_device_register(p);", "hwmon_device_unregister(p);", None),
        ("if (!known)\n\t\thwmon_device_register(p);", "stop();", None),
        ("cpumask_set_cpu(cpu, &a);", "cpumask_clear_cpu(cpu, &a);", None),
        ("cpumask_set_cpu(cpu, &a);", "cpumask_clear_cpu(cpu, &b);", "both"),
        ("buffer[cpu] = kzalloc(8, GFP_KERNEL);", "stop();", "startup"),
        ("buffer[cpu] = kzalloc(8, GFP_KERNEL);", "kfree(buffer[cpu]);", None),
        ("static_branch_inc(&key);", "static_branch_dec(&key);", None),
        ("static_branch_inc(&key);", "stop();", "startup"),
    ],
)
def test_what_one_side_does_and_the_other_does_not_undo(tmp_path, up, down, role):
    expected = ["startup", "teardown"] if role == "both" else [role] if role else []
    assert sides(tmp_path, f"\t{up}", f"\t{down}") == [
        ("one-sided", r) for r in expected
    ]


def test_undone_by_another_state_of_the_file(tmp_path):
    before = (
        "static int gone(unsigned int cpu)\n{\n\tfree_irq(i, p);\n\treturn 0;\n}\n"
        "static int first(void)\n{\n"
        '\treturn cpuhp_setup_state(CPUHP_A_DEAD, "bar", NULL, gone);\n}'
    )
    assert sides(tmp_path, "\trequest_irq(i, f, 0, n, p);", "\tstop();", before) == []


def test_explanation_tells_what_a_callback_does(tmp_path):
    body = (
        "\tunsigned long flags;\n\tusers = limit;\n\tmutex_lock(&m);\n"
        "\tsynchronize_rcu();\n\tmutex_unlock(&m);\n"
        "\tspin_lock_irqsave(&p->lock, flags);\n\tp->n = 1;\n"
        "\tspin_unlock_irqrestore(&p->lock, flags);\n\tfoo->leave(cpu);\n"
        "\tif (num_online_cpus() == 1)\n\t\treturn -EBUSY;\n\treturn 0;"
    )
    folder = tree(tmp_path, drivers__foo_c=source(body, "static int users, n;\n"
                                                  "static int limit;"))  # fmt: skip
    told = explain(lint(folder), "drivers/foo.c")[1].summary
    assert told.writes == ("users", "p->n") and told.reads == ("limit",)
    assert [line.rpartition(", ")[0] for line in told.locks] == [
        "mutex_lock(&m), interrupts on, may sleep",
        "spin_lock_irqsave(&p->lock), interrupts off",
    ]
    assert told.waits[0].startswith("synchronize_rcu() under mutex_lock(m)")
    assert told.returns == "may return -EBUSY"
    assert told.asks and told.unfollowed[0].startswith("foo->leave()")


def test_explanation_as_json(tmp_path):
    folder = tree(tmp_path, drivers__foo_c=source("\treturn 0;"))
    result = run(folder, "--explain", "drivers/foo.c", "--format", "json")
    up, down = json.loads(result.output)
    assert down["role"] == "teardown" and down["summary"]["returns"] == "never fails"
