"""Choices of a CPU in forms that are easily overlooked, and callbacks that are."""

import json

import pytest
from click.testing import CliRunner
from kernel_trees import tree
from sarif_schema import assert_is_sarif

from cpuhp.cli.lint import command
from cpuhp.kernel.hazards.lint import lint

REGISTERS = """
static int init(void)
{
	return cpuhp_setup_state(CPUHP_AP_PERF_ONLINE, "foo", NULL, down);
}
"""
MOVES = """	if (t < nr_cpu_ids)
		perf_pmu_migrate_context(&pmu, cpu, t);
	return 0;
}
"""
HAZARD = f"""static int down(unsigned int cpu)
{{
	unsigned int t = cpumask_any_but(cpu_online_mask, cpu);

{MOVES}"""
HARMLESS = f"""static int down(unsigned int cpu)
{{
{"	tell_that_it_goes(cpu);" * 20}
	return 0;
}}
"""
ONLINE = "target-from-online-mask"


def rules(folder, text, **files):
    found = lint(tree(folder, drivers__foo_c=text + REGISTERS, **files))
    return [(f.rule, f.level) for f in found.findings]


WRITTEN_OUT = "for (i = cpumask_{}({}); i < nr_cpu_ids; i = cpumask_next{}(i, m))"


def loop(head, test="i != cpu"):
    return f"""static int down(unsigned int cpu)
{{
	unsigned int i, t = nr_cpu_ids;

	{head} {{
		if ({test}) {{
			t = i;
			break;
		}}
	}}
{MOVES}"""


@pytest.mark.parametrize(
    "head, test",
    [
        ("for_each_online_cpu(i)", "i != cpu"),
        ("for_each_online_cpu_wrap(i, cpu)", "i != cpu"),
        ("for_each_cpu(i, cpu_online_mask)", "i != cpu"),
        ("for_each_cpu_from(i, cpu_online_mask)", "i != cpu"),
        ("for_each_cpu_andnot(i, cpu_online_mask, m)", "i != cpu"),
        ("for_each_possible_cpu(i)", "i != cpu && cpu_online(i)"),
        ("for_each_present_cpu(i)", "i != cpu && cpu_online(i)"),
        ("for_each_cpu_or(i, cpu_active_mask, cpu_online_mask)", "i != cpu"),
        (WRITTEN_OUT.format("first", "cpu_online_mask", ""), "i != cpu"),
        (WRITTEN_OUT.format("first_and", "m, cpu_online_mask", "_and"), "i != cpu"),
        (WRITTEN_OUT.format("next", "-1, cpu_online_mask", ""), "i != cpu"),
        (WRITTEN_OUT.format("first", "cpu_possible_mask", ""), "cpu_online(i)"),
        ("while ((i = cpumask_next(i, cpu_online_mask)) < nr_cpu_ids)", "i != cpu"),
        ("while ((i = cpumask_first(cpu_online_mask)) != nr_cpu_ids)", "i != cpu"),
    ],
)
def test_a_copy_of_the_cpu_that_a_loop_finds_is_a_target(tmp_path, head, test):
    assert (ONLINE, "error") in rules(tmp_path, loop(head, test))


def test_a_loop_that_leaves_out_dying_cpus_is_no_error(tmp_path):
    text = loop("for_each_cpu_andnot(i, cpu_online_mask, cpu_dying_mask)")
    assert rules(tmp_path, text) == [("target-not-dying", "note")]


@pytest.mark.parametrize(
    "test, rule",
    [
        ("t != cpu", (ONLINE, "error")),
        ("t != cpu && !cpu_dying(t)", ("target-not-dying", "note")),
    ],
)
def test_a_loop_without_braces_ends_with_its_statement(tmp_path, test, rule):
    text = HAZARD.replace(
        "\tunsigned int t = cpumask_any_but(cpu_online_mask, cpu);\n",
        f"\tunsigned int t;\n\n\tfor_each_online_cpu(t)\n\t\tif ({test})\n"
        "\t\t\tbreak;\n\tif (cpu_dying(cpu))\n\t\treturn 0;\n",
    )
    assert "for_each" in text and rules(tmp_path, text) == [rule]


@pytest.mark.parametrize(
    "head, test, rule",
    [
        (WRITTEN_OUT.format("first", "cpu_online_mask", ""),
         "!cpumask_test_cpu(i, cpu_dying_mask)", "target-not-dying"),
        (WRITTEN_OUT.format("first_andnot", "cpu_online_mask, cpu_dying_mask",
                            "_andnot"), "i != cpu", "target-not-dying"),
        (WRITTEN_OUT.format("first", "cpu_active_mask", ""), "i != cpu",
         "target-from-active-mask"),
        (WRITTEN_OUT.format("first", "topology_core_cpumask(cpu)", ""), "i != cpu",
         "target-from-stale-mask"),
        ("for_each_cpu_or(i, cpu_active_mask, cpu_active_mask)", "i != cpu",
         "target-from-active-mask"),
        ("for_each_cpu_or(i, cpu_active_mask, cpumask_of_node(n))", "i != cpu",
         "target-from-stale-mask"),
    ],
)  # fmt: skip
def test_the_class_of_a_loop(tmp_path, head, test, rule):
    assert rule in [rule for rule, _ in rules(tmp_path, loop(head, test))]


@pytest.mark.parametrize(
    "head",
    [
        WRITTEN_OUT.format("first", "cpu_online_mask", ""),
        "for_each_cpu_or(i, m, cpu_online_mask)",
        "for_each_cpu_andnot(i, cpu_online_mask, m)",
        "for_each_cpu_from(i, cpu_online_mask)",
    ],
)
@pytest.mark.parametrize("inside", ["visit(i);", 'pr_info("%u", i); break;'])
def test_a_loop_that_looks_or_visits_all_is_no_target(tmp_path, head, inside):
    text = loop(head).replace("\t\t\tt = i;\n\t\t\tbreak;", f"\t\t\t{inside}")
    assert inside in text and (ONLINE, "error") not in rules(tmp_path, text)


@pytest.mark.parametrize(
    "how, rule", [("or", ONLINE), ("and", "target-from-active-mask")]
)
def test_a_mask_made_of_two(tmp_path, how, rule):
    made = f"cpumask_{how}(m, cpu_active_mask, cpu_online_mask);\n"
    text = HAZARD.replace(" = cpumask_any_but(cpu_online_mask, cpu);\n", ";\n\t" + made)
    text = text.replace(made, f"{made}\tt = cpumask_any_but(m, cpu);\n")
    assert [rule for rule, _ in rules(tmp_path, text)] == [rule]


def test_a_loop_whose_cpu_is_looked_at_only_is_no_target(tmp_path):
    text = loop("for_each_online_cpu(i)").replace(
        "perf_pmu_migrate_context(&pmu, cpu, t)", 'pr_info("%u", t)'
    )
    assert (ONLINE, "error") not in rules(tmp_path / "a", text)
    text = loop("for_each_possible_cpu(i)")
    assert not rules(tmp_path / "b", text)


@pytest.mark.parametrize(
    "choice",
    [
        "x ? cpumask_any_but(cpu_online_mask, cpu) : 0",
        "x == 1 ? 0 : cpumask_any_but(cpu_online_mask, cpu)",
        "cpumask_local_spread(0, node)",
        "housekeeping_any_cpu(HK_TYPE_TIMER)",
        "cpumask_nth_and(0, m, cpu_online_mask)",
        "cpumask_nth_and_andnot(0, m, cpu_online_mask, n)",
        "cpumask_first_and_and(m, n, cpu_online_mask)",
        "cpumask_next_and_wrap(cpu, m, cpu_online_mask)",
        "cpumask_random(cpu_online_mask)",
    ],
)
def test_more_ways_to_choose(tmp_path, choice):
    text = HAZARD.replace("cpumask_any_but(cpu_online_mask, cpu)", choice)
    assert rules(tmp_path, text) == [(ONLINE, "error")]


@pytest.mark.parametrize("first", [HAZARD, HARMLESS])
def test_both_branches_of_a_callback_are_followed(tmp_path, first):
    second = HARMLESS if first is HAZARD else HAZARD
    text = f"#ifdef CONFIG_A\n{first}#else\n{second}#endif\n"
    assert rules(tmp_path / "maybe", text) == [(ONLINE, "error")]
    config = "CONFIG_A=y\nCONFIG_X86=y\n"
    files = {
        "paths": {
            ".config": config,
            "Kbuild": "obj-y += kernel/ drivers/\n",
            "drivers/Makefile": "obj-y += foo.o\n",
        }
    }
    (tmp_path / "yes/arch/x86").mkdir(parents=True)
    known = [(ONLINE, "error")] if first is HAZARD else []
    assert rules(tmp_path / "yes", text, **files) == known


def test_both_branches_of_a_helper_are_followed(tmp_path):
    first, second = (t.replace("int down", "int help") for t in (HAZARD, HARMLESS))
    text = f"#ifdef CONFIG_A\n{first}#else\n{second}#endif\n"
    text += "static int down(unsigned int cpu)\n{\n\treturn help(cpu);\n}\n"
    assert rules(tmp_path, text) == [(ONLINE, "error")]


WHILE = "while ((i = cpumask_next(i, cpu_online_mask)) < nr_cpu_ids) {"
FIRST = "i = cpumask_first(cpu_online_mask);"
APART = f"{FIRST}\n\twhile (i < nr_cpu_ids) {{"
ERROR = [(ONLINE, "error")]
NEXT = "i = cpumask_next(i, cpu_online_mask);"


@pytest.mark.parametrize(
    "lines, told",
    [
        (f"{WHILE} move(i); }}", []),
        (f"{WHILE} move(i); break; }}", ERROR),
        (f"{WHILE} if (cpu_dying(i)) continue; move(i); break; }}",
         [("target-not-dying", "note")]),
        (f"{APART} move(i); {NEXT} }}", []),
        (f"{APART} move(i); {NEXT} if (i == 4) break; }}", ERROR),
        (f"{APART} relax(); }} move(i);", ERROR),  # it waits for something else
        ("while ((i = cpumask_first(&m)) < nr_cpu_ids) {"
         " cpumask_clear_cpu(i, &m); move(i); }", []),
        # Nobody is left, or somebody is: no loop over the mask.
        ("while ((i = cpumask_first(&m)) >= nr_cpu_ids) { relax(); } move(i);", ERROR),
        ("for (i = cpumask_first(&m); i < nr_cpu_ids;\n\t\t"
         "i = cpumask_next(i, &m)) { move(i); }", []),
        # What its head asks beside the end of the mask leaves a loop early, too.
        (f"{FIRST} while (i < nr_cpu_ids && i == cpu) {NEXT} move(i);", ERROR),
        (f"{FIRST} while (i == cpu && i < nr_cpu_ids) {{ {NEXT} }} move(i);", ERROR),
        (f"{WHILE[:-3]} && i == cpu) {{ }} move(i);", ERROR),
        ("for (i = cpumask_first(&m); i < nr_cpu_ids && i == cpu;\n\t\t"
         "i = cpumask_next(i, &m)) { } move(i);", ERROR),
        (f"{FIRST} n = 0; while (i < nr_cpu_ids) {{ move(i); {NEXT} }}", []),
        (f"{FIRST} while (nr_cpu_ids > i) {{ move(i); {NEXT} }}", []),
        (f"{FIRST} i = other(); while (i < nr_cpu_ids) {{ {NEXT} }} move(i);", ERROR),
    ],
)  # fmt: skip
def test_a_while_loop_over_a_mask_chooses_where_it_is_left(tmp_path, lines, told):
    body = "\tint i = -1;\n\tcpumask_copy(&m, cpu_online_mask);\n\t"
    text = f"static int down(unsigned int cpu)\n{{\n{body}{lines}\n\treturn 0;\n}}\n"
    assert rules(tmp_path, text) == told


@pytest.mark.parametrize(
    "head",
    [
        "static int __attribute__((cold)) down(",
        "static __printf(1, 2) __attribute__((noinline)) int down(",
        "__no_sanitize(x)\nstatic int down(",
    ],
)
def test_a_function_with_attributes_is_a_function(tmp_path, head):
    assert rules(tmp_path, HAZARD.replace("static int down(", head))


def test_a_callback_that_cannot_be_read_is_told(tmp_path):
    text = "#define CALLBACK(n) static int n(unsigned int cpu)\nCALLBACK(down) { }\n"
    root = tree(tmp_path, drivers__foo_c=text + REGISTERS)
    result = CliRunner().invoke(command, [str(root), "--no-cache"])
    assert "teardown down of CPUHP_AP_PERF_ONLINE 'foo' was not looked" in result.output
    args = [str(root), "--no-cache", "--format", "json"]
    (sentence,) = json.loads(CliRunner().invoke(command, args).output)["unread"]
    assert sentence.startswith("drivers/foo.c:")
    log = json.loads(CliRunner().invoke(command, [*args[:-1], "sarif"]).output)
    assert_is_sarif(log)
    (told,) = log["runs"][0]["invocations"][0]["toolExecutionNotifications"]
    assert told == {"level": "warning", "message": {"text": sentence}}
    assert not lint(tree(tmp_path / "x", drivers__foo_c=HAZARD + REGISTERS)).unread
