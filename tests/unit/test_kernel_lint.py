import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from kernel_trees import real_tree, tree
from sarif_schema import assert_is_sarif

from cpuhp.cli._hazards import check_models
from cpuhp.cli.lint import command
from cpuhp.diagnostics import InputError
from cpuhp.kernel.hazards.lint import explain, lint
from cpuhp.kernel.hazards.rules import BY_ID, Finding
from cpuhp.kernel.hazards.walk import Place

# Files of the series that replaced a pick from the online mask, as of 6.1.
SERIES = [
    "arch/arm/mach-imx/mmdc.c",
    "arch/arm/mm/cache-l2x0-pmu.c",
    "drivers/dma/idxd/perfmon.c",
    "drivers/fpga/dfl-fme-perf.c",
    "drivers/gpu/drm/i915/i915_pmu.c",
    "drivers/perf/arm-cci.c",
    "drivers/perf/arm-ccn.c",
    "drivers/perf/arm-cmn.c",
    "drivers/perf/arm_dmc620_pmu.c",
    "drivers/perf/arm_dsu_pmu.c",
    "drivers/perf/arm_smmuv3_pmu.c",
    "drivers/perf/fsl_imx8_ddr_perf.c",
    "drivers/perf/hisilicon/hisi_uncore_pmu.c",
    "drivers/perf/marvell_cn10k_tad_pmu.c",
    "drivers/perf/qcom_l2_pmu.c",
    "drivers/perf/qcom_l3_pmu.c",
    "drivers/perf/xgene_pmu.c",
    "drivers/soc/fsl/qbman/bman_portal.c",
    "drivers/soc/fsl/qbman/qman_portal.c",
]


def source(body, before="", state="CPUHP_AP_PERF_ONLINE"):
    return (
        f"{before}\nstatic int up(unsigned int cpu)\n{{\n\treturn 0;\n}}\n"
        f"static int down(unsigned int cpu)\n{{\n{body}\n}}\n"
        f"static int init(void)\n{{\n"
        f'\treturn cpuhp_setup_state({state}, "foo", up, down);\n}}\n'
    )


def found(folder, body, before="", state="CPUHP_AP_PERF_ONLINE", **files):
    return lint(
        tree(folder, drivers__foo_c=source(body, before, state), **files)
    ).findings


def pick(expression, lead=""):
    return (
        f"\tunsigned int target;\n{lead}\n\ttarget = {expression};\n"
        "\tif (target >= nr_cpu_ids)\n\t\treturn 0;\n"
        "\tperf_pmu_migrate_context(&pmu, cpu, target);\n\treturn 0;"
    )


@pytest.mark.parametrize(
    "expression, lead, rule",
    [
        ("cpumask_any_but(cpu_online_mask, cpu)", "", "target-from-online-mask"),
        ("cpumask_first(cpu_online_mask)", "", "target-from-online-mask"),
        ("cpumask_any_but(&tmp, cpu)", "cpumask_copy(&tmp, cpu_online_mask);",
         "target-from-online-mask"),
        ("cpumask_any_and(m, cpu_online_mask)", "m = cpumask_of_node(n);",
         "target-from-online-mask"),
        ("cpumask_any_but(&tmp, cpu)",
         "cpumask_and(&tmp, cpumask_of_node(cpu_to_node(cpu)), cpu_online_mask);",
         "target-from-online-mask"),
        ("cpumask_any_but(topology_die_cpumask(cpu), cpu)", "",
         "target-from-stale-mask"),
        ("cpumask_any_but(m, cpu)", "m = cpumask_of_node(n);", "target-from-stale-mask"),
        ("cpumask_any_but(&pmu->cpus, cpu)", "", "target-from-stale-mask"),
        ("cpumask_any_but(&pmu->cpus, cpu)", "cpumask_clear_cpu(cpu, &pmu->cpus);",
         "target-from-private-mask"),
        ("cpumask_last(cpu_active_mask)", "", "target-from-active-mask"),
    ],
)  # fmt: skip
def test_target_by_the_class_of_its_mask(tmp_path, expression, lead, rule):
    findings = found(tmp_path, pick(expression, lead))
    assert [f.rule for f in findings if f.rule != "one-sided"] == [rule]


@pytest.mark.parametrize(
    "lead", ["cpumask_andnot(&tmp, cpu_online_mask, cpu_dying_mask);"]
)
def test_dying_aware_pick_is_only_noted(tmp_path, lead):
    (finding,) = found(tmp_path, pick("cpumask_any_but(&tmp, cpu)", lead))
    assert (finding.rule, finding.level) == ("target-not-dying", "note")


LOOP = (
    "static inline int cpumask_not_dying_but(const struct cpumask *m, int cpu)\n{{\n"
    "\tint i;\n\n\tfor_each_cpu(i, m)\n\t\tif (i != cpu && {test})\n"
    "\t\t\tbreak;\n\treturn i;\n}}\n"
)


@pytest.mark.parametrize(
    "helper, mask",
    [
        (LOOP.format(test="!cpumask_test_cpu(i, cpu_dying_mask)"), "N"),
        (LOOP.format(test="!cpu_dying(i)"), "N"),
        (LOOP.format(test="cpu_dying(i)"), "A"),
        ("#define cpumask_not_dying_but(m, c) \\\n\tcpumask_any_andnot_but(m, "
         "cpu_dying_mask, c)\n", "N"),
        ("#define cpumask_not_dying_but(m, c) cpumask_any_but(m, c)\n", "A"),
    ],
)  # fmt: skip
def test_helper_beside_the_masks_is_read(tmp_path, helper, mask):
    (finding,) = found(
        tmp_path,
        pick("cpumask_not_dying_but(cpu_online_mask, cpu)"),
        paths={"include/linux/cpumask.h": helper},
    )
    assert finding.mask == mask


def test_pick_in_a_helper_of_a_header(tmp_path):
    (finding,) = found(
        tmp_path,
        "\tmove(cpu, next_cpu(cpu));\n\treturn 0;",
        '#include "foo.h"',
        drivers__foo_h="static inline int next_cpu(int cpu)\n{\n"
        "\treturn cpumask_any_but(cpu_online_mask, cpu);\n}\n",
    )
    assert finding.file == "drivers/foo.h"
    assert [place.function for place in finding.chain] == ["down", "next_cpu"]


def test_pick_in_another_file_of_the_directory(tmp_path):
    (finding,) = found(
        tmp_path,
        "\tfar_move(cpu);\n\treturn 0;",
        drivers__bar_c="void far_move(unsigned int cpu)\n{\n"
        "\tint t = cpumask_any_but(cpu_online_mask, cpu);\n\tsend(t);\n}\n",
    )
    assert (finding.file, finding.line) == ("drivers/bar.c", 3)


def test_mask_passed_as_a_parameter(tmp_path):
    (finding,) = found(
        tmp_path,
        "\tmove(cpu, cpu_online_mask);\n\treturn 0;",
        "static void move(int cpu, const struct cpumask *mask)\n{\n"
        "\tint to = cpumask_any_but(mask, cpu);\n\tsend(to);\n}",
    )
    assert finding.mask == "A"


def test_loop_that_takes_the_first_it_likes(tmp_path):
    (finding,) = found(
        tmp_path,
        "\tint j;\n\tfor_each_online_cpu(j) {\n\t\tif (j == cpu)\n\t\t\tcontinue;\n"
        "\t\tmigrate(cpu, j);\n\t\tbreak;\n\t}\n\treturn 0;",
    )
    assert finding.rule == "target-from-online-mask"


def test_loop_over_all_is_no_choice(tmp_path):
    body = "\tint j;\n\tfor_each_online_cpu(j)\n\t\tkick(j);\n\treturn 0;"
    assert found(tmp_path, body) == ()


def test_startup_may_choose(tmp_path):
    text = source("\treturn 0;").replace(
        "up(unsigned int cpu)\n{", "up(unsigned int cpu)\n{\n" + pick("cpumask_any(m)")
    )
    assert lint(tree(tmp_path, drivers__foo_c=text)).findings == ()


def test_control_cpu_sees_the_dead_gone(tmp_path):
    text = pick("cpumask_any(cpu_online_mask)")
    (finding,) = found(tmp_path, text, state="CPUHP_A_DEAD")
    assert finding.level == "note"


@pytest.mark.parametrize(
    "body",
    [
        "\tif (num_online_cpus() == 1)\n\t\tstop_all();\n\treturn 0;",
        "\tif (cpumask_weight(cpu_smt_mask(cpu)) == 2)\n\t\tdec();\n\treturn 0;",
        "\tif (cpumask_any_but(cpu_online_mask, cpu) > n)\n\t\tstop();\n\treturn 0;",
    ],
)
def test_last_one_out(tmp_path, body):
    assert "last-one-out" in [f.rule for f in found(tmp_path, body)]


def test_plain_change_of_a_shared_variable(tmp_path):
    before = "static int users;\nstatic DEFINE_SPINLOCK(lock);"
    body = "\tusers--;\n\treturn 0;"
    assert [f.rule for f in found(tmp_path, body, before)] == ["plain-rmw"]
    body = "\tspin_lock(&lock);\n\tusers--;\n\tspin_unlock(&lock);\n\treturn 0;"
    assert found(tmp_path, body, before) == ()
    assert found(tmp_path, "\tint users = 1;\n\tusers--;\n\treturn 0;", before) == ()


@pytest.mark.parametrize(
    "claim",
    [
        "\tASSERT_EXCLUSIVE_WRITER(n);",
        "\t/* The caller is globally serialized */",
        "\t// CPU hotplug is serial here: serialized by cpu hotplug",
        "\t/* there is no concurrency */",
    ],
)
def test_serial_claim(tmp_path, claim):
    assert "serial-claim" in [f.rule for f in found(tmp_path, f"{claim}\n\treturn 0;")]


def test_failure_is_reported_where_it_is_not_allowed(tmp_path):
    body = "\tif (busy)\n\t\treturn -EBUSY;\n\treturn 0;"
    (finding,) = found(tmp_path, body, state="CPUHP_AP_TIMER_STARTING")
    assert finding.rule == "teardown-can-fail"
    assert found(tmp_path, body) == ()


def test_wait_under_a_lock(tmp_path):
    body = "\tmutex_lock(&m);\n\tsynchronize_rcu();\n\tmutex_unlock(&m);\n\treturn 0;"
    assert [f.rule for f in found(tmp_path, body)] == ["wait-under-lock"]
    body = "\tmutex_lock(&m);\n\tmutex_unlock(&m);\n\tsynchronize_rcu();\n\treturn 0;"
    assert found(tmp_path, body) == ()


def test_explanation_covers_what_was_not_reported(tmp_path):
    folder = tree(tmp_path, drivers__foo_c=source(pick("cpumask_any(cpu_active_mask)")))
    parts = explain(lint(folder), "drivers/foo.c")
    assert [part.role for part in parts] == ["startup", "teardown"]
    assert "class D" in parts[1].choices[0]


def test_recursion_ends(tmp_path):
    before = "static void b(int c);\nstatic void a(int c)\n{\n\tb(c);\n}\n"
    before += "static void b(int c)\n{\n\ta(c);\n\tdown(c);\n}"
    assert found(tmp_path, "\ta(cpu);\n\treturn 0;", before) == ()


def run(folder, *options):
    return CliRunner().invoke(command, [str(folder), *options])


def test_forms(tmp_path):
    text = pick("cpumask_any_but(cpu_online_mask, cpu)")
    folder = tree(tmp_path, drivers__foo_c=source(text))
    plain = run(folder)
    assert plain.exit_code == 1
    assert "drivers/foo.c:10: error: down() takes its target" in plain.output
    assert json.loads(run(folder, "--format", "json").output)["findings"][0]["chain"]
    sarif = json.loads(run(folder, "--format", "sarif").output)
    (result,) = sarif["runs"][0]["results"]
    assert_is_sarif(sarif)
    rules = sarif["runs"][0]["tool"]["driver"]["rules"]
    assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    mail = run(folder, "--format", "mail").output
    assert mail.isascii()
    assert all(len(line) <= 80 for line in mail.splitlines())
    assert run(folder, "--rule", "last-one-out").exit_code == 0


def test_sarif_of_odd_names_and_all_rules(tmp_path):
    body = (
        "\tint i;\n\tusers--;\n\tif (num_online_cpus() == 1)\n\t\treturn -EBUSY;\n"
        "\tmutex_lock(&m);\n\tmsleep(1);\n\tmutex_unlock(&m);\n\treturn 0;"
    )
    text = source(body, "static int users;\n", "CPUHP_A_DEAD")
    folder = tree(tmp_path, paths={"drivers/a b%?#.c": text})
    log = json.loads(run(folder, "--all", "--format", "sarif").output)
    assert_is_sarif(log)
    assert len(log["runs"][0]["results"]) == 4


@pytest.mark.parametrize(
    "expression, verdict",
    [
        ("cpumask_any_but(cpu_online_mask, cpu)", "VIOLATED"),
        ("cpumask_any_but(cpumask_of_node(n), cpu)", "VIOLATED"),
        ("cpumask_any(cpu_active_mask)", "PROVED"),
    ],
)
def test_model_of_a_hand_off_is_checked(tmp_path, expression, verdict):
    folder = tree(tmp_path, drivers__foo_c=source(pick(expression)))
    data = json.loads(run(folder, "--all", "--format", "json").output)
    model = data["findings"][0]["model"]
    assert model["verdict"] == verdict
    assert (model["cpus"] == "all") == (verdict == "PROVED")
    assert bool(model["steps"]) == (verdict == "VIOLATED")
    assert "scenario lint_down" in model["spec"]


@pytest.mark.parametrize(
    "body, before",
    [
        ("\tusers--;\n\treturn 0;", "static int users;"),
        ("\tif (num_online_cpus() == 1)\n\t\tstop();\n\treturn 0;", ""),
    ],
)
def test_other_models_have_an_interleaving(tmp_path, body, before):
    folder = tree(tmp_path, drivers__foo_c=source(body, before))
    output = run(folder).output
    assert "VIOLATED with 3 CPUs" in output
    assert "  1 CPU" in output


IRQ = """
static irqreturn_t handle(int irq, void *data)
{
	spin_lock(&pmu->pmu_lock);
	spin_unlock(&pmu->pmu_lock);
	return IRQ_HANDLED;
}
"""


@pytest.mark.parametrize(
    "before, body, state, count",
    [
        (IRQ, "spin_lock(&p->pmu_lock);\n", "CPUHP_AP_PERF_ONLINE", 1),
        (IRQ, "guard(spinlock)(&p->pmu_lock);\n", "CPUHP_AP_PERF_ONLINE", 1),
        (IRQ, "spin_lock(&p->pmu_lock);\n", "CPUHP_AP_TIMER_STARTING", 0),
        (IRQ, "spin_lock(&p->other);\n", "CPUHP_AP_PERF_ONLINE", 0),
        (IRQ, "spin_lock_irqsave(&p->pmu_lock, f);\n", "CPUHP_AP_PERF_ONLINE", 0),
        (IRQ, "local_irq_save(f);\nspin_lock(&p->pmu_lock);\n",
         "CPUHP_AP_PERF_ONLINE", 0),
        (IRQ, "local_irq_save(f);\nlocal_irq_restore(f);\nspin_lock(&p->pmu_lock);\n",
         "CPUHP_AP_PERF_ONLINE", 1),
        ("static void a(void)\n{\n\tspin_lock_irq(&p->pmu_lock);\n}\n",
         "spin_lock(&p->pmu_lock);\n", "CPUHP_AP_PERF_ONLINE", 1),
        (IRQ + "static void take(void)\n{\n\tspin_lock(&p->pmu_lock);\n}\n",
         "local_irq_disable();\ntake();\n", "CPUHP_AP_PERF_ONLINE", 0),
    ],
)  # fmt: skip
def test_lock_that_an_interrupt_takes_too(tmp_path, before, body, state, count):
    findings = found(tmp_path, body + "\treturn 0;", before, state)
    rules = [f.rule for f in findings if f.rule != "lock-not-released"]
    assert rules == ["lock-irq-unsafe"] * count


@pytest.mark.parametrize(
    "body, count",
    [
        ("mutex_lock(&m);\n\tif (x)\n\t\treturn 0;\n\tmutex_unlock(&m);\n\treturn 0;", 1),
        ("mutex_lock(&m);\n\tif (x) {\n\t\tmutex_unlock(&m);\n\t\treturn 0;\n\t}\n"
         "\tmutex_unlock(&m);\n\treturn 0;", 0),
        ("guard(mutex)(&m);\n\tif (x)\n\t\treturn 0;\n\treturn 0;", 0),
        ("mutex_lock(&m);\n\tif (x)\n\t\tgoto out;\nout:\n\tmutex_unlock(&m);\n"
         "\treturn 0;", 0),
        ("spin_lock(&p->lock);\n\tstop(p);\n\treturn 0;", 1),
    ],
)  # fmt: skip
def test_lock_that_is_kept(tmp_path, body, count):
    assert [f.rule for f in found(tmp_path, body)] == ["lock-not-released"] * count


@pytest.mark.parametrize("rule", [r for r in BY_ID if not r.startswith("target")])
def test_every_rule_has_a_counterexample(rule):
    place = Place("f", "a.c", 1)
    finding = Finding(rule, "error", "", "a.c", 1, (place,), "S", "n", "teardown")
    (answer,) = check_models([finding]).values()
    assert answer.verdict == "VIOLATED"
    assert answer.trace.steps


@pytest.fixture
def cached(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("cpuhp.kernel.hazards.cache.WORTH", 0)
    text = pick("cpumask_any_but(cpu_online_mask, cpu)")
    folder = tree(tmp_path / "t", drivers__foo_c=source(text))
    first = run(folder, "--format", "json").output
    monkeypatch.setattr(
        "cpuhp.kernel.hazards.lint.lint", None
    )  # a second run may not need it
    return folder, first


def test_unchanged_tree_is_not_read_again(cached):
    folder, first = cached
    assert run(folder, "--format", "json").output == first


@pytest.mark.parametrize(
    "change",
    [
        lambda t: (t / "drivers/foo.c").write_text("int x;\n"),
        lambda t: (t / "drivers/new.c").write_text("int x;\n"),
        lambda t: (t / "kernel/threads.c").unlink(),
        lambda t: (t / "Kbuild").write_text(""),
        lambda t: (t / ".config").write_text("CONFIG_A=y\n"),
        lambda t: (t / "Makefile").touch(),
    ],
)
def test_any_change_is_seen(cached, change):
    folder, _ = cached
    change(folder)
    assert isinstance(run(folder).exception, TypeError)


@pytest.mark.parametrize("text", ["", "{}", "[[[", '{"tree": 1}'])
def test_spoilt_cache_is_ignored(cached, text, tmp_path):
    (kept,) = (tmp_path / "cache/cpuhp").iterdir()
    kept.write_text(text)
    assert isinstance(run(cached[0]).exception, TypeError)


def test_other_settings_have_their_own_result(cached):
    assert isinstance(run(cached[0], "--depth", "1").exception, TypeError)


@pytest.mark.parametrize(
    "options, code",
    [(["--rule", "nope"], "HP630"), (["--explain", "drivers/x.c"], "HP631")],
)
def test_wrong_options(tmp_path, options, code):
    result = run(tree(tmp_path), *options)
    assert isinstance(result.exception, InputError)
    assert code in str(result.exception)


@pytest.mark.kernel
@pytest.mark.slow
def test_series_files_are_found(tmp_path_factory):
    folder = real_tree("6.1", tmp_path_factory.mktemp("tree"))
    if folder is None:
        pytest.skip("linux-source-6.1 is not installed")
    errors = [f for f in lint(folder).findings if f.level == "error"]
    online = {f.chain[0].file for f in errors if f.mask == "A"}
    stale = {f.chain[0].file for f in errors if f.mask == "B"}
    assert set(SERIES) - online == {"drivers/gpu/drm/i915/i915_pmu.c"}
    assert "drivers/gpu/drm/i915/i915_pmu.c" in stale
    assert len(online) <= 30


@pytest.mark.kernel
@pytest.mark.slow
def test_findings_against_a_judgement_by_hand(tmp_path_factory):
    folder = real_tree("6.12", tmp_path_factory.mktemp("tree"))
    if folder is None:
        pytest.skip("linux-source-6.12 is not installed")
    text = (Path(__file__).parent.parent / "data/lint-6.12.tsv").read_text()
    lines = [line.split("\t") for line in text.splitlines() if line[0] != "#"]
    truth = {tuple(line[1:4]): line[0] for line in lines}
    reported = {
        (f.rule, f.file, f.chain[-1].function)
        for f in lint(folder).findings
        if f.level != "note"
    }
    right = {key for key in reported if truth.get(key) == "true"}
    known = {key for key, verdict in truth.items() if verdict in ("true", "missed")}
    assert len(right) / len(reported) >= 0.95
    assert len(right) / len(known) >= 0.95
