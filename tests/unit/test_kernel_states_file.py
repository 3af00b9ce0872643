import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpuhp.diagnostics import InputError, Source
from cpuhp.kernel.tables.order import complete
from cpuhp.kernel.tables.states_file import (
    parse_states,
    parse_table,
    read_any_table,
    read_states,
    read_table,
    shipped_table,
    shipped_tables,
)
from cpuhp.model.table import Section

MINIMAL = """  0: offline
 86: cpu:bringup
 88: ap:offline
144: ap:online
145: cpu:teardown
191: base/cacheinfo:online
193: mm/vmstat:online
235: sched:active
236: online
"""

TABLE = """# comment
table toy
kernel 9.9
bringup 4
teardown 8
prepare-dynamic 2 3
dynamic 10 12
  1 CPUHP_A "a:prepare" startup=f|g teardown=h core
 10 -       "b:online"
"""


def states(text):
    return parse_states(Source("states", text))


def code_of(text, parse=parse_states):
    with pytest.raises(InputError) as caught:
        parse(Source("states", text))
    return caught.value.diagnostics[0].code


def test_version_is_found_from_landmarks():
    known = states(MINIMAL)
    assert known.kernel == "6.12"
    assert known.table.find("cpu:bringup").enumerator == "CPUHP_BRINGUP_CPU"
    assert known.table.dynamic == range(192, 233)
    assert known.table.find("mm/vmstat:online").enumerator is None


def test_a_fixed_state_is_known_by_its_name_where_the_order_is_another_one():
    swapped = MINIMAL.replace("144:", "140: tick:dying\n141: hrtimers:dying\n144:")
    table = complete(states(swapped))
    assert table.find("tick:dying").enumerator == "CPUHP_AP_TICK_DYING"
    assert table.find("CPUHP_AP_HRTIMERS_DYING").number == 141
    assert dict(table.enumerators)["CPUHP_AP_HRTIMERS_DYING"] == 141
    renamed = states(MINIMAL.replace("144:", "140: other\n144:")).table
    assert renamed.find("other").enumerator == "CPUHP_AP_HRTIMERS_DYING"
    dynamic = states(
        MINIMAL.replace("193: mm/vmstat", "193: tick:dying\n194: mm/vmstat")
    ).table
    assert dynamic.find("tick:dying").enumerator is None


def test_6_1_numbers_are_told_apart():
    text = MINIMAL.replace(" 86:", " 91:").replace(" 88:", " 93:")
    text = text.replace("144:", "152:").replace("145:", "153:")
    known = states(text)
    assert known.kernel == "6.1"
    assert known.table.dynamic == range(201, 232)


def test_unknown_version_keeps_its_sections():
    known = states(MINIMAL.replace("145:", "146:"))
    assert known.kernel is None
    assert known.table.section(86) is Section.PREPARE
    assert known.table.section(146) is Section.STARTING
    assert known.table.section(147) is Section.ONLINE


@pytest.mark.parametrize(
    "text, code",
    [
        ("", "HP402"),
        ("\n\n", "HP402"),
        ("  0 offline\n", "HP403"),
        ("  0: \n", "HP403"),
        ("nonsense\n", "HP403"),
        ("  0: offline\n  0: twice\n", "HP404"),
        ("12345: far\n", "HP404"),
        ("  2: b\n  1: a\n", "HP405"),
        ("  0: offline\n", "HP406"),
        ("  1: cpu:teardown\n  2: cpu:bringup\n", "HP407"),
        (MINIMAL + "237: online\n", "HP404"),
    ],
)
def test_bad_states_are_refused(text, code):
    assert code_of(text) == code


def test_error_quotes_the_line():
    with pytest.raises(InputError) as caught:
        states("  0: offline\n???\n")
    assert "states:2:1: error[HP403]" in caught.value.render()
    assert "2 | ???" in caught.value.render()


@pytest.mark.parametrize(
    "data, code",
    [(b"\x00\x01", "HP401"), (b"\xff\xfe", "HP401"), (b"1: a\n" * 300000, "HP401")],
)
def test_binary_or_huge_file_is_refused(tmp_path, data, code):
    path = tmp_path / "states"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_states(path)
    assert caught.value.diagnostics[0].code == code


def test_missing_file_and_directory_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError) as caught:
            read_states(path)
        assert caught.value.diagnostics[0].code == "HP400"


def test_shipped_tables_all_load():
    assert {"linux-6.1", "linux-6.12", "arm64-6.12", "x86_64-6.12"} <= set(
        shipped_tables()
    )
    for path in shipped_tables().values():
        assert read_table(path).section(0) is Section.PREPARE


def test_fixed_numbers_of_shipped_versions():
    old, new = shipped_table("linux-6.1").table, shipped_table("linux-6.12").table
    assert (old.bringup, old.teardown, len(old.dynamic)) == (91, 153, 31)
    assert (new.bringup, new.teardown, len(new.dynamic)) == (86, 145, 41)
    assert len(old.prepare_dynamic) == len(new.prepare_dynamic) == 21
    assert old.find("CPUHP_AP_ACTIVE").number == 235
    assert new.find("CPUHP_BP_KICK_AP").number == 85
    assert old.find("CPUHP_BP_KICK_AP") is None


def test_table_file_is_read(tmp_path):
    path = tmp_path / "toy.table"
    path.write_text(TABLE)
    known = read_any_table(path)
    assert known.table.name == "toy"
    assert known.startups[1] == {"f", "g"}
    assert known.teardowns[1] == {"h"}
    assert known.core == {1}
    assert known.table.dynamic == range(10, 13)
    assert known.table.states[1].enumerator is None


@pytest.mark.parametrize(
    "old, new, code",
    [
        ("bringup 4\n", "", "HP409"),
        ("bringup 4", "bringup 9", "HP407"),
        ("bringup 4", "bringup four", "HP403"),
        ("kernel 9.9", "kernel 9.9\nkernel 9.8", "HP404"),
        (" core", " frozen", "HP403"),
        (" 10 -", "  1 -", "HP404"),
    ],
)
def test_bad_table_is_refused(old, new, code):
    assert code_of(TABLE.replace(old, new), parse_table) == code


@given(st.text(alphabet='0123456789: \n\tabc:CPUHP_"-=é\r', max_size=80))
def test_any_text_gives_a_table_or_an_error(text):
    for parse in (parse_states, parse_table):
        try:
            parse(Source("states", text))
        except InputError as error:
            assert error.render()
