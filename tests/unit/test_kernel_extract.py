import json

import pytest
from kernel_trees import CALLBACKS, tree

from cpuhp.diagnostics import InputError
from cpuhp.kernel.registrations.as_json import from_json, to_json
from cpuhp.kernel.registrations.extract import extract
from cpuhp.kernel.registrations.join import join
from cpuhp.kernel.registrations.table import left_out, table_of
from cpuhp.model.table import HotplugState, Section, Table


def calls(folder, body, before=CALLBACKS, **files):
    found = extract(
        tree(folder, drivers__foo_c=f"{before}\nint foo_init(void)\n{{\n{body}\n}}\n",
             **files)
    )  # fmt: skip
    return [row for row in found.calls if row.file == "drivers/foo.c"]


def with_call(callbacks):
    call = f'cpuhp_setup_state(CPUHP_A_DEAD, "n", {callbacks});'
    return f"{CALLBACKS}int init(void)\n{{\n\t{call}\n}}\n"


def only(folder, body, before=CALLBACKS, **files):
    (row,) = calls(folder, body, before, **files)
    return row


def test_enum_has_values_and_sections(tmp_path):
    found = extract(tree(tmp_path))
    values = {e.name: e.value for e in found.enumerators}
    assert values["CPUHP_INVALID"] == -1
    assert values["CPUHP_B_DEAD"] == 3
    assert values["CPUHP_BP_PREPARE_DYN_END"] == 7
    assert values["CPUHP_BRINGUP_CPU"] == 8
    assert values["CPUHP_AP_ONLINE_DYN_END"] == 20
    assert values["CPUHP_ONLINE"] == 22
    sections = {e.name: e.section for e in found.enumerators}
    assert sections["CPUHP_INVALID"] is None
    assert sections["CPUHP_BRINGUP_CPU"] is Section.PREPARE
    assert sections["CPUHP_TEARDOWN_CPU"] is Section.STARTING
    assert sections["CPUHP_AP_ONLINE_IDLE"] is Section.ONLINE
    assert found.version == "6.99.1-rc1"


def test_static_table_keeps_both_alternatives(tmp_path):
    found = extract(tree(tmp_path))
    assert [row.state for row in found.static] == [
        "CPUHP_OFFLINE",
        "CPUHP_CREATE_THREADS",
        "CPUHP_BRINGUP_CPU",
        "CPUHP_BRINGUP_CPU",
        "CPUHP_ONLINE",
    ]
    threads, split, whole = found.static[1:4]
    assert threads.startup.definition.file == "kernel/threads.c"
    assert threads.cant_stop
    assert split.guards == ("CONFIG_SMP", "CONFIG_SPLIT")
    assert split.startup.function == "bringup_ap"
    assert whole.guards == ("CONFIG_SMP", "!CONFIG_SPLIT")
    assert whole.startup.function == "bringup_cpu"
    assert not threads.teardown.exists


def test_the_interface_itself_is_no_call_site(tmp_path):
    assert extract(tree(tmp_path)).calls == ()


def test_plain_call(tmp_path):
    row = only(
        tmp_path,
        '\tret = cpuhp_setup_state(CPUHP_AP_TIMER_STARTING, "foo:starting",\n'
        "\t\t\t\tup, down);",
    )
    assert (row.line, row.function, row.api) == (14, "foo_init", "cpuhp_setup_state")
    assert (row.kind, row.state, row.name) == (
        "single",
        "CPUHP_AP_TIMER_STARTING",
        "foo:starting",
    )
    assert (row.number, row.section, row.dynamic) == (11, Section.STARTING, None)
    assert (row.startup.function, row.startup.definition.line) == ("up", 2)
    assert (row.teardown.function, row.teardown.definition.line) == ("down", 7)
    assert row.unresolved == ()
    assert row.parser == "tree-sitter"


@pytest.mark.parametrize(
    "written",
    ["up", "&up", "(up)", "(void *)up", "(int (*)(unsigned int))up", "up /* why */"],
)
def test_callback_may_be_dressed_up(tmp_path, written):
    text = f'cpuhp_setup_state(CPUHP_A_DEAD, "n", {written}, NULL);'
    assert only(tmp_path, text).startup.definition.line == 2


@pytest.mark.parametrize("written", ["NULL", "(void *)0", "0", "((void *) 0)"])
def test_null_callback(tmp_path, written):
    row = only(tmp_path, f'cpuhp_setup_state(CPUHP_A_DEAD, "n", up, {written});')
    assert not row.teardown.exists


@pytest.mark.parametrize(
    "before, name",
    [
        ('#define DRVNAME "foo"', "DRVNAME"),
        ('#define DRVNAME "fo" "o"', "DRVNAME"),
        ('#define BASE "f"\n#define DRVNAME BASE "oo"', "DRVNAME"),
        ('static const char drvname[] = "foo";', "drvname"),
        ('static const char *drvname = "foo";', "drvname"),
        ('#define F "f"', 'F "oo"'),
    ],
)
def test_name_by_constant(tmp_path, before, name):
    text = f"cpuhp_setup_state(CPUHP_A_DEAD, {name}, up, NULL);"
    assert only(tmp_path, text, f"{before}\n{CALLBACKS}").name == "foo"


def test_name_from_a_header(tmp_path):
    row = only(
        tmp_path,
        "cpuhp_setup_state(CPUHP_A_DEAD, DRVNAME, up, NULL);",
        f'#include "foo.h"\n{CALLBACKS}',
        drivers__foo_h='#define DRVNAME "foo"\n',
    )
    assert row.name == "foo"


def test_run_time_name_is_kept_as_unresolved(tmp_path):
    row = only(
        tmp_path,
        'char *name;\nname = kasprintf(GFP_KERNEL, "pmu_%d", id);\n'
        "cpuhp_setup_state(CPUHP_A_DEAD, name, up, NULL);",
    )
    assert row.name is None
    assert row.startup.function == "up"
    (reason,) = row.unresolved
    assert "run time" in reason and "pmu_%d" in reason


def test_format_without_arguments_is_a_name(tmp_path):
    row = only(
        tmp_path,
        'char *name;\nname = kasprintf(GFP_KERNEL, "pmu");\n'
        "cpuhp_setup_state(CPUHP_A_DEAD, name, up, NULL);",
    )
    assert row.name == "pmu"


def test_unknown_callback_is_kept_with_a_reason(tmp_path):
    row = only(tmp_path, 'cpuhp_setup_state(CPUHP_A_DEAD, "n", nowhere, down);')
    assert row.startup.kind == "unresolved"
    assert row.unresolved == ("startup: nowhere is defined in no file that was read",)


def test_dynamic_slot_kept_in_a_variable(tmp_path):
    row = only(
        tmp_path,
        "int ret;\n"
        'ret = cpuhp_setup_state_multi(CPUHP_AP_ONLINE_DYN, "foo:online", up, down);\n'
        "if (ret < 0) return ret;\n"
        "foo_state = ret;\n"
        "cpuhp_state_add_instance_nocalls(foo_state, &node);\n"
        "cpuhp_remove_multi_state(foo_state);",
    )
    assert (row.kind, row.dynamic) == ("multi", "CPUHP_AP_ONLINE_DYN")
    assert (row.number, row.section) == (16, Section.ONLINE)
    assert (row.result, row.slot) == ("ret", "foo_state")
    assert row.instances == ("drivers/foo.c:18",)
    assert row.removals == ("drivers/foo.c:19",)


@pytest.mark.parametrize(
    "lines, slot, removals",
    [
        ("if (ret > 0)\n\tcpuhp_remove_state_nocalls(ret);", "ret", 1),
        ("int kept = ret;\nret = other();\ncpuhp_remove_state(kept);", "kept", 1),
        ("if (!ret)\n\tret = -EINVAL;\nfoo->state = ret;", "foo->state", 0),
        ("ret = other();\ncpuhp_remove_state(ret);", None, 0),
        ("return ret;", None, 0),
    ],
)
def test_dynamic_slot_in_a_local_variable(tmp_path, lines, slot, removals):
    row = only(
        tmp_path,
        "int ret;\n"
        'ret = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "foo:online", up, down);\n'
        + lines,
    )
    assert (row.slot, len(row.removals)) == (slot, removals)


def test_instance_of_a_fixed_state_in_another_file(tmp_path):
    row = only(
        tmp_path,
        'cpuhp_setup_state_multi(CPUHP_AP_PERF_ONLINE, "p", up, down);',
        drivers__bar_c="int probe(void)\n{\n"
        "\treturn cpuhp_state_add_instance(CPUHP_AP_PERF_ONLINE, &p->node);\n}\n",
    )
    assert row.instances == ("drivers/bar.c:3",)


def test_underscored_interface(tmp_path):
    row = only(
        tmp_path, '__cpuhp_setup_state(CPUHP_A_DEAD, "n", false, NULL, down, true);'
    )
    assert (row.kind, row.teardown.function) == ("multi", "down")


def test_wrapper_is_followed_to_its_callers(tmp_path):
    wrapper = (
        "int foo_setup(int (*prep)(unsigned int), int (*dead)(unsigned int))\n{\n"
        '\treturn cpuhp_setup_state(CPUHP_A_DEAD, "foo", prep, dead);\n}\n'
    )
    found = extract(
        tree(
            tmp_path,
            drivers__foo_c=wrapper,
            drivers__one_c=f"{CALLBACKS}\nvoid a(void)\n{{\n\tfoo_setup(up, down);\n}}",
            drivers__two_c=CALLBACKS.replace("down", "dead")
            + "\nvoid b(void)\n{\n\tWARN_ON(foo_setup(NULL, dead));\n}\n",
        )
    )
    (row,) = found.calls
    assert row.startup.kind == row.teardown.kind == "parameter"
    assert row.teardown.candidates == ("down", "dead")
    one, two = row.variants
    assert (one.file, one.startup.function) == ("drivers/one.c", "up")
    assert (two.file, two.teardown.definition.file) == ("drivers/two.c",) * 2
    assert not two.startup.exists
    assert row.unresolved == ()


def test_macro_wrapper(tmp_path):
    found = extract(
        tree(
            tmp_path,
            drivers__foo_c=CALLBACKS
            + "#define REGISTER(fn, what) \\\n"
            + "\tcpuhp_setup_state(CPUHP_B_DEAD, what, NULL, \\\n\t\tfn)\n"
            + 'void a(void)\n{\n\tREGISTER(down, "foo:dead");\n}\n',
        )
    )
    (row,) = found.calls
    assert row.function == "REGISTER"
    (variant,) = row.variants
    assert (variant.name, variant.teardown.function) == ("foo:dead", "down")
    assert variant.state == "CPUHP_B_DEAD"


def test_uncalled_wrapper_says_so(tmp_path):
    row = only(
        tmp_path,
        "}\nint wrap(int (*cb)(unsigned int))\n{\n"
        'return cpuhp_setup_state(CPUHP_A_DEAD, "n", cb, NULL);',
    )
    assert row.unresolved == ("no call of the wrapper wrap() was found",)


def test_ops_struct_gives_candidates_of_its_own_type(tmp_path):
    row = only(
        tmp_path,
        'cpuhp_setup_state(CPUHP_A_DEAD, "n", ops->enable, NULL);',
        f"static struct foo_ops *ops;\n{CALLBACKS}",
        drivers__intel_c="int intel_enable(unsigned int cpu)\n{\n\treturn 0;\n}\n"
        "struct foo_ops intel_ops = {\n\t.enable = intel_enable,\n};\n",
        drivers__amd_c="int amd_enable(unsigned int cpu)\n{\n\treturn 0;\n}\n"
        "struct foo_ops amd_ops = {\n\t.enable\t= &amd_enable,\n};\n",
        drivers__other_c="int no(int x)\n{\n\treturn 0;\n}\n"
        "struct bar_ops bar = {\n\t.enable = no,\n};\n",
    )
    assert row.startup.kind == "field"
    assert row.startup.candidates == ("amd_enable", "intel_enable")
    assert row.startup.function is None
    assert row.unresolved == ()


def test_conditional_expression_gives_both(tmp_path):
    row = only(tmp_path, 'cpuhp_setup_state(CPUHP_A_DEAD, "n", late ? up : down, 0);')
    assert row.startup.candidates == ("up", "down")


def test_definition_in_another_file_beats_the_header_stub(tmp_path):
    row = only(
        tmp_path,
        'cpuhp_setup_state(CPUHP_A_DEAD, "n", far_up, NULL);',
        paths={
            "include/linux/far.h": "#ifdef CONFIG_FAR\n"
            "int far_up(unsigned int cpu);\n#else\n#define far_up NULL\n#endif\n",
            "kernel/far.c": "int far_up(unsigned int cpu)\n{\n\treturn 0;\n}\n",
            "kernel/near.c": "static int far_up(unsigned int cpu)\n{\n}\n",
        },
    )
    assert row.startup.definition.file == "kernel/far.c"
    (other,) = row.startup.alternatives
    assert (other.kind, other.guards) == ("null", ("!CONFIG_FAR",))


def test_configuration_picks_the_null_macro(tmp_path):
    config = tmp_path / "config"
    config.write_text("# CONFIG_FAR is not set\nCONFIG_SMP=y\n")
    found = extract(
        tree(
            tmp_path / "t",
            drivers__foo_c="void a(void)\n{\n"
            '\tcpuhp_setup_state(CPUHP_A_DEAD, "n", far_up, NULL);\n}\n',
            paths={
                "include/linux/far.h": "#ifndef CONFIG_FAR\n#define far_up NULL\n#endif",
                "kernel/far.c": "#ifdef CONFIG_FAR\nint far_up(int cpu)\n{\n}\n#endif",
            },
        ),
        config=config,
    )
    assert found.calls[0].startup.definition.kind == "null"


def test_guards_around_a_call(tmp_path):
    row = only(
        tmp_path,
        "#ifdef CONFIG_A\n#if defined(CONFIG_B) || X\n#else\n"
        "if (IS_ENABLED(CONFIG_C))\n"
        'cpuhp_setup_state(CPUHP_A_DEAD, "n", up, NULL);\n#endif\n#endif',
    )
    assert row.guards == ("CONFIG_A", "!(defined(CONFIG_B) || X)")
    assert row.runtime_guards == ("IS_ENABLED(CONFIG_C)",)


def test_alternative_definitions_follow_the_guard(tmp_path):
    row = only(
        tmp_path,
        'cpuhp_setup_state(CPUHP_A_DEAD, "n", act, NULL);',
        "#ifdef CONFIG_TINY\nstatic int act(int c) { return 0; }\n#else\n"
        "static int act(int c)\n{\n\treturn 1;\n}\n#endif",
    )
    lines = {row.startup.definition.line, row.startup.alternatives[0].line}
    assert lines == {2, 4}


def test_call_that_the_parser_loses_is_read_as_text(tmp_path):
    row = only(
        tmp_path,
        'cpuhp_setup_state(CPUHP_A_DEAD, "n", up, NULL);',
        f"{CALLBACKS}\nBUILD_HELPER(x)\nBUILD_HELPER(y) }} ] struct {{ \n",
    )
    assert (row.name, row.startup.function) == ("n", "up")


def test_wrong_number_of_arguments_is_a_row(tmp_path):
    row = only(tmp_path, "cpuhp_setup_state(CPUHP_A_DEAD, NULL);")
    assert "has 2 arguments here, not 4" in row.unresolved[0]
    row = only(tmp_path, "cpuhp_setup_state(CPUHP_A_DEAD, NULL")
    assert "does not end" in row.unresolved[0]


def test_comments_and_strings_are_no_calls(tmp_path):
    assert not calls(
        tmp_path,
        "/* cpuhp_setup_state(CPUHP_A_DEAD, 1, 2, 3); */\n"
        'pr_info("cpuhp_setup_state(a, b, c, d)");\n// cpuhp_setup_state(a)',
    )


def test_state_through_macro_and_variable(tmp_path):
    first, second = calls(
        tmp_path,
        'cpuhp_setup_state(MY_STATE, "n", up, NULL);\n'
        "enum cpuhp_state s = CPUHP_B_DEAD;\n"
        'cpuhp_setup_state(s, "m", up, NULL);',
        f"#define MY_STATE CPUHP_A_DEAD\n{CALLBACKS}",
    )
    assert (first.state, second.state) == ("CPUHP_A_DEAD", "CPUHP_B_DEAD")


def test_kbuild_and_configuration_decide_presence(tmp_path):
    source = with_call("up, down")
    folder = tree(
        tmp_path,
        paths={
            ".config": "# Linux/x86 6.99 Kernel Configuration\nCONFIG_ON=y\nCONFIG_M=m\n",
            "drivers/Makefile": "obj-$(CONFIG_ON) += on/\nobj-$(CONFIG_OFF) += off/\n",
            "drivers/on/Makefile": "obj-$(CONFIG_M) += mod.o\nmod-y := part.o\n",
            "drivers/on/part.c": source,
            "drivers/off/Makefile": "obj-y += x.o\n",
            "drivers/off/x.c": source,
            "arch/x86/Kbuild": "obj-y += k.o\n",
            "arch/x86/k.c": source,
            "arch/arm/Kbuild": "obj-y += k.o\n",
            "arch/arm/k.c": source,
        },
    )
    found = extract(folder)
    assert found.arch == "x86"
    present = {row.file: (row.kbuild, row.present) for row in found.calls}
    assert present == {
        "arch/arm/k.c": ("", "no"),
        "arch/x86/k.c": ("", "yes"),
        "drivers/off/x.c": ("CONFIG_OFF", "no"),
        "drivers/on/part.c": ("CONFIG_ON && CONFIG_M", "yes"),
    }


def recording(*rows):
    states = tuple(HotplugState(number, name) for number, name in rows)
    return Table("recorded", states, 8, 13, range(16, 21), range(4, 8))


def test_join_finds_slots_and_strangers(tmp_path):
    source = (
        f"{CALLBACKS}void a(void)\n{{\n"
        '\tcpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "foo:online", up, down);\n'
        '\tcpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "idle:online", up, down);\n}\n'
    )
    recorded = recording((0, "offline"), (17, "foo:online"), (18, "out:of:tree"),
                         (22, "online"))  # fmt: skip
    found = join(extract(tree(tmp_path, drivers__foo_c=source)), recorded)
    live = {row.name: row.recorded.number for row in found.rows if row.recorded}
    assert live == {"offline": 0, "foo:online": 17, "online": 22}
    assert [r.name for r in found.join.not_in_tree] == ["out:of:tree"]
    table = table_of(found)
    assert [(s.number, s.name) for s in table.states] == [
        (0, "offline"),
        (17, "foo:online"),
        (18, "out:of:tree"),
        (22, "online"),
    ]
    assert table.find("CPUHP_ONLINE").number == 22


def test_join_with_another_version_says_so(tmp_path):
    found = join(extract(tree(tmp_path)), recording((0, "offline"), (99, "online")))
    (note,) = found.notes
    assert "online is hotplug state 99 there and 22 (CPUHP_ONLINE) here" in note.message


def test_table_without_a_recording_has_the_fixed_states(tmp_path):
    source = (
        f"{CALLBACKS}void a(void)\n{{\n"
        '\tcpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "foo:online", up, down);\n'
        '\tcpuhp_setup_state(CPUHP_AP_PERF_ONLINE, "perf", up, down);\n}\n'
    )
    found = extract(tree(tmp_path, drivers__foo_c=source))
    table = table_of(found)
    assert [s.name for s in table.states] == [
        "offline",
        "threads:prepare",
        "cpu:bringup",
        "perf",
        "online",
    ]
    assert (table.bringup, table.teardown) == (8, 13)
    assert (table.dynamic, table.prepare_dynamic) == (range(16, 21), range(4, 8))
    assert [row.name for row in left_out(found)] == ["foo:online"]


def test_json_round_trip(tmp_path):
    source = with_call("up, o->x")
    found = extract(tree(tmp_path, drivers__foo_c=source))
    text = to_json(found)
    assert from_json(text, "t") == found
    data = json.loads(text)
    assert data["counts"]["call_sites"] == 1
    assert data["rows"][-1]["startup"]["definition"]["file"] == "drivers/foo.c"


@pytest.mark.parametrize("text", ["", "{}", "[]", "[" * 100_000, '{"format": "x"}'])
def test_other_json_is_refused(text):
    with pytest.raises(InputError, match="HP619"):
        from_json(text, "t.json")


def test_same_result_on_many_processes(tmp_path, monkeypatch):
    source = with_call("up, 0")
    folder = tree(tmp_path, **{f"drivers__f{i}_c": source for i in range(20)})
    alone = extract(folder, jobs=1)
    monkeypatch.setattr("cpuhp.kernel.source.scan._SMALL", 1)
    monkeypatch.setattr("cpuhp.kernel.source.scan._CHUNK", 3)
    assert extract(folder, jobs=2) == alone
    assert len(alone.calls) == 20
