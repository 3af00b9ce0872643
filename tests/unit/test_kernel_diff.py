import json

import pytest
from click.testing import CliRunner
from kernel_trees import CALLBACKS, CORE, HEADER, real_tree, tree

from cpuhp.cli.diff import command
from cpuhp.diagnostics import InputError
from cpuhp.kernel.registrations.as_json import to_json
from cpuhp.kernel.registrations.diff import difference
from cpuhp.kernel.registrations.extract import extract


def registering(*calls):
    body = "".join(f"\tcpuhp_setup_state({call});\n" for call in calls)
    return f"{CALLBACKS}void init(void)\n{{\n{body}}}\n"


def compared(tmp_path, before, after):
    return difference(
        extract(tree(tmp_path / "a", **before)), extract(tree(tmp_path / "b", **after))
    )


def with_header(*changes):
    text = HEADER
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return {"paths": {"include/linux/cpuhotplug.h": text}}


def test_same_tree_has_no_difference(tmp_path):
    source = {"drivers__foo_c": registering('CPUHP_A_DEAD, "a", up, down')}
    assert compared(tmp_path, source, source).empty


def test_states_come_and_go(tmp_path):
    found = compared(
        tmp_path, {}, with_header(("CPUHP_A_DEAD, CPUHP_B_DEAD", "CPUHP_NEW"))
    )
    assert found.added_states == ("CPUHP_NEW",)
    assert found.removed_states == ("CPUHP_A_DEAD", "CPUHP_B_DEAD")
    assert found.moved_states == ()


def test_rename_is_seen_by_the_registrant(tmp_path):
    found = compared(
        tmp_path,
        {"drivers__foo_c": registering('CPUHP_A_DEAD, "a", up, down')},
        with_header(("CPUHP_A_DEAD", "CPUHP_Z_DEAD"))
        | {"drivers__foo_c": registering('CPUHP_Z_DEAD, "a", up, down')},
    )
    (renamed,) = found.renamed_states
    assert (renamed.before, renamed.after) == ("CPUHP_A_DEAD", "CPUHP_Z_DEAD")
    assert not (found.added_states or found.removed_states or found.changed)


def test_callback_in_another_state_crosses_those_between(tmp_path):
    before = {"drivers__foo_c": registering('CPUHP_AP_ONLINE_DYN, "a", up, down')}
    after = {"drivers__foo_c": registering('CPUHP_TEARDOWN_CPU, "a", up, down')}
    (change,) = compared(tmp_path, before, after).changed
    assert change.crossed == ("CPUHP_AP_ONLINE_IDLE", "CPUHP_AP_PERF_ONLINE")
    told = CliRunner().invoke(command, [str(tmp_path / "a"), str(tmp_path / "b")])
    assert "up(), down(): CPUHP_AP_ONLINE_DYN -> CPUHP_TEARDOWN_CPU" in told.output
    assert "across CPUHP_AP_ONLINE_IDLE, CPUHP_AP_PERF_ONLINE\n" in told.output


def test_callback_moved_back_crosses_the_same(tmp_path):
    one = {"drivers__foo_c": registering('CPUHP_A_DEAD, "a", up, down')}
    other = {"drivers__foo_c": registering('CPUHP_AP_ONLINE_DYN, "a", up, down')}
    (forth,) = compared(tmp_path / "x", one, other).changed
    (back,) = compared(tmp_path / "y", other, one).changed
    assert forth.crossed and forth.crossed == back.crossed
    assert "CPUHP_TEARDOWN_CPU" in forth.crossed


def test_move_names_the_edges_that_turned(tmp_path):
    found = compared(
        tmp_path,
        {},
        with_header(
            ("CPUHP_A_DEAD, ", ""),
            ("CPUHP_AP_OFFLINE,", "CPUHP_AP_OFFLINE,\n\tCPUHP_A_DEAD,"),
        ),
    )
    (moved,) = found.moved_states
    assert moved.state == "CPUHP_A_DEAD"
    assert (moved.section_before.value, moved.section_after.value) == (
        "PREPARE",
        "STARTING",
    )
    assert moved.crossed == (
        "CPUHP_B_DEAD",
        "CPUHP_BP_PREPARE_DYN",
        "CPUHP_BRINGUP_CPU",
        "CPUHP_AP_IDLE_DEAD",
        "CPUHP_AP_OFFLINE",
    )


def test_changed_callback_and_state(tmp_path):
    found = compared(
        tmp_path,
        {"drivers__foo_c": registering('CPUHP_A_DEAD, "a", up, down',
                                       'CPUHP_AP_ONLINE_DYN, "b", up, down')},
        {"drivers__foo_c": registering('CPUHP_A_DEAD, "a", down, NULL',
                                       'CPUHP_AP_PERF_ONLINE, "b", up, down')},
    )  # fmt: skip
    a, b = found.changed
    assert a.columns == (("startup", "up", "down"), ("teardown", "down", ""))
    assert b.columns == (("state", "CPUHP_AP_ONLINE_DYN", "CPUHP_AP_PERF_ONLINE"),)
    assert {"CPUHP_AP_PERF_ONLINE", "up", "a"} <= found.words


def test_static_alternatives_pair_up_by_what_they_run(tmp_path):
    one = CORE.replace("#ifdef CONFIG_SPLIT", "#if 0\n#endif\n#ifdef CONFIG_OTHER")
    found = compared(tmp_path, {}, {"paths": {"kernel/cpu.c": one}})
    for change in found.changed:
        assert [column[0] for column in change.columns] == ["guards"]


def test_verb_takes_trees_and_tables(tmp_path):
    old = tree(tmp_path / "a")
    new = tree(
        tmp_path / "b",
        drivers__foo_c=registering('CPUHP_A_DEAD, "foo:dead", NULL, down'),
    )
    table = tmp_path / "b.json"
    table.write_text(to_json(extract(new)))
    result = CliRunner().invoke(command, [str(old), str(table)])
    assert result.exit_code == 1
    assert "+ CPUHP_A_DEAD foo:dead teardown down" in result.output.replace("'", "")
    result = CliRunner().invoke(command, [str(old), str(old)])
    assert (result.exit_code, "no difference" in result.output) == (0, True)
    data = json.loads(
        CliRunner().invoke(command, [str(old), str(new), "--json"]).output
    )
    assert data["registrations"]["added"][0]["name"] == "foo:dead"


@pytest.mark.parametrize("text", [None, "", "{}"])
def test_what_is_no_table(tmp_path, text):
    other = tmp_path / "table.json"
    if text is not None:
        other.write_text(text)
    result = CliRunner().invoke(command, [str(tree(tmp_path / "a")), str(other)])
    assert isinstance(result.exception, InputError)


@pytest.mark.kernel
@pytest.mark.slow
def test_the_example_of_the_docs(tmp_path_factory):
    trees = [real_tree(v, tmp_path_factory.mktemp("tree")) for v in ("6.1", "6.12")]
    if None in trees:
        pytest.skip("linux-source-6.1 and linux-source-6.12 are not installed")
    found = difference(*map(extract, trees))
    assert len(found.removed_states) == 23
    assert len(found.added_states) == 13
    assert not found.moved_states
    moved = {c.after.startup.function for c in found.changed
             if c.after.state == "CPUHP_AP_HYPERV_ONLINE"}  # fmt: skip
    assert "hv_cpu_init" in moved


WRAPPER = """
int wrap(enum cpuhp_state s, const char *n, int (*u)(unsigned int), int (*d)(unsigned int))
{
	return cpuhp_setup_state(s, n, u, d);
}

static int one(void)
{
	return wrap(CPUHP_AP_PERF_ONLINE, "one", up, down);
}
"""
TWO = WRAPPER[WRAPPER.index("static int one") :].replace("one", "two")
IN_USE = """
void in_use(void *node)
{
	cpuhp_state_add_instance(CPUHP_A_DEAD, node);
	cpuhp_remove_state(CPUHP_A_DEAD);
}
"""
NULLED = f"#ifdef CONFIG_B{CALLBACKS}#else\n#define down NULL\n#endif\n"


@pytest.mark.parametrize(
    "column, change",
    [
        ("kbuild", (("CONFIG_A", "CONFIG_B"),)),
        ("kbuild", (("foo.o", "bar.o"),)),
        ("runtime guards", (("\tcpuhp_", "\tif (IS_ENABLED(CONFIG_B))\n\tcpuhp_"),)),
        ("teardown defined", ((CALLBACKS, NULLED),)),
        ("callers", ((WRAPPER, WRAPPER + TWO),)),
        ("callers", (("CPUHP_AP_PERF_ONLINE", "CPUHP_B_DEAD"),)),
        ("callers", (("static int one", "#ifdef CONFIG_B\nstatic int one"),)),
        ("name", (('"foo"', "name(1)"), ('"foo"', "name(2)"))),
        ("instances", (("cpuhp_state_add_instance", "add"),)),
        ("removals", (("cpuhp_remove_state", "remove"),)),
        ("cant_stop", ((".cant_stop\t\t= true,", ""),)),
    ],
)
def test_what_is_registered_under_other_conditions_is_changed(tmp_path, column, change):
    single = registering('CPUHP_A_DEAD, "foo", up, down') + IN_USE
    files = {
        "drivers/Makefile": "obj-$(CONFIG_A) += foo.o wrap.o\n",
        "drivers/foo.c": single,
        "drivers/wrap.c": CALLBACKS + WRAPPER,
        "kernel/cpu.c": CORE,
    }
    after = {path: text.replace(*change[-1]) for path, text in files.items()}
    if len(change) > 1:
        files = {path: text.replace(*change[0]) for path, text in files.items()}
    assert after != files
    found = compared(tmp_path, {"paths": files}, {"paths": after})
    assert column in {c for changed in found.changed for c, _, _ in changed.columns}


def test_a_range_with_other_slots_and_a_state_under_a_condition(tmp_path):
    after = with_header(
        ("DYN + (1 << 2)", "DYN + 9"),
        ("\tCPUHP_AP_PERF_ONLINE,\n", "#ifdef CONFIG_B\n\tCPUHP_AP_PERF_ONLINE,\n#endif\n"),
    )  # fmt: skip
    found = compared(tmp_path, {}, after)
    assert [(r.state, r.before, r.after) for r in found.restated] == [
        ("CPUHP_AP_PERF_ONLINE", "", "CONFIG_B"),
        ("CPUHP_AP_ONLINE_DYN", "5", "10"),
    ]
    result = CliRunner().invoke(command, [str(tmp_path / "a"), str(tmp_path / "b")])
    assert result.exit_code == 1
    assert "CPUHP_AP_ONLINE_DYN: slots 5 -> 10" in result.output


@pytest.mark.parametrize("calls, told", [(63, False), (65, True)])
def test_calls_of_a_wrapper_that_are_left_out_are_told(tmp_path, calls, told):
    many = "".join(TWO.replace("two", f"n{number}") for number in range(calls - 1))
    text = CALLBACKS + WRAPPER + many
    (row,) = extract(tree(tmp_path, drivers__foo_c=text)).calls
    assert any("no more are looked at" in why for why in row.unresolved) is told
