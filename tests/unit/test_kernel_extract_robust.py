import os
import socket
import stat

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_trees import CALLBACKS, CORE, HEADER, tree

from cpuhp.cli.extract import command
from cpuhp.diagnostics import InputError
from cpuhp.kernel.registrations.extract import extract
from cpuhp.kernel.registrations.facts import read_facts
from cpuhp.kernel.registrations.state_enum import read_enum, read_static
from cpuhp.kernel.source import tree as tree_module
from cpuhp.kernel.source.constants import evaluate
from cpuhp.kernel.source.text import CText
from cpuhp.kernel.source.tree import open_tree

CALL = CALLBACKS + (
    'int i(void)\n{\n\treturn cpuhp_setup_state(CPUHP_A_DEAD, "n", up, down);\n}\n'
)


@pytest.mark.parametrize("calls", [1000, 1001])
@pytest.mark.parametrize(
    "call",
    [
        'cpuhp_setup_state(CPUHP_A_DEAD, "n", up, down)',
        "cpuhp_state_add_instance(CPUHP_A_DEAD, &node)",
        "cpuhp_state_remove_instance(CPUHP_A_DEAD, &node)",
    ],
)
def test_calls_that_are_too_many_to_be_read_are_told(tmp_path, call, calls):
    text = f"{CALLBACKS}void i(void)\n{{\n" + f"\t{call};\n" * calls + "}\n"
    found = extract(tree(tmp_path, drivers__foo_c=text))
    told = [note.message for note in found.notes if note.file == "drivers/foo.c"]
    sentence = "only the first 1,000 of 1,001 calls were read"
    assert told == ([sentence] if calls > 1000 else [])


def test_links_are_never_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "evil.c").write_text(CALL)
    folder = tree(tmp_path / "t")
    (folder / "drivers").mkdir()
    os.symlink(folder, folder / "drivers" / "loop")
    os.symlink("self", folder / "drivers" / "self")
    os.symlink(outside, folder / "drivers" / "out")
    os.symlink(outside / "evil.c", folder / "drivers" / "evil.c")
    assert extract(folder).calls == ()
    opened = open_tree(folder)
    assert opened.read("drivers/out/evil.c") is None
    assert opened.read("../outside/evil.c") is None
    assert opened.read("/etc/passwd") is None
    assert not opened.has("drivers/evil.c")


def test_linked_header_is_no_kernel_tree(tmp_path):
    folder = tree(tmp_path / "t")
    header = folder / "include/linux/cpuhotplug.h"
    header.rename(tmp_path / "h")
    header.symlink_to(tmp_path / "h")
    with pytest.raises(InputError, match="HP613"):
        extract(folder)


def test_devices_and_pipes_are_left_alone(tmp_path):
    folder = tree(tmp_path / "t")
    os.mkfifo(folder / "kernel" / "pipe.c")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "s.c"))
    assert extract(folder).calls == ()


def test_binary_and_odd_names(tmp_path):
    folder = tree(
        tmp_path,
        drivers__bin_c=bytes(range(256)) * 40 + b"cpuhp_setup_state(" + b"\0(" * 999,
    )
    odd = os.fsencode(folder) + b"/drivers/\xff\x1b[2J\n.c"
    with open(odd, "w") as stream:
        stream.write(CALL)
    found = extract(folder)
    names = [row.name for row in found.calls]
    assert "n" in names
    result = CliRunner().invoke(command, [str(folder), "--rows"])
    assert result.exit_code == 0
    assert "\x1b" not in result.output
    assert "\\xff\\x1b[2J\\x0a.c:13" in result.output
    as_json = CliRunner().invoke(command, [str(folder), "--json"])
    assert as_json.output.isascii()


def test_too_large_a_file_is_noted(tmp_path, monkeypatch):
    folder = tree(tmp_path, drivers__big_c=CALL)
    monkeypatch.setattr(tree_module, "MAX_FILE", 4096)
    with open(folder / "drivers/big.c", "a") as stream:
        stream.write(" " * 4096)
    found = extract(folder)
    assert found.calls == ()
    assert [(n.file, "too large" in n.message) for n in found.notes] == [
        ("drivers/big.c", True)
    ]


def test_too_many_files_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(tree_module, "MAX_FILES", 2)
    with pytest.raises(InputError, match="HP610"):
        extract(tree(tmp_path))


def test_deep_nesting_is_bounded(tmp_path):
    folder = tree(tmp_path)
    (folder / ("d/" * 60)).mkdir(parents=True)
    (note,) = extract(folder).notes
    assert "nested too deeply" in note.message


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_file_is_noted(tmp_path):
    folder = tree(tmp_path, drivers__foo_c=CALL)
    (folder / "drivers/foo.c").chmod(0)
    (note,) = extract(folder).notes
    assert note.message == "not read: Permission denied"


@pytest.mark.parametrize(
    "make, code",
    [
        (lambda p: p / "missing", "HP611"),
        (lambda p: p, "HP613"),
        (lambda p: tree(p) / "Makefile", "HP612"),
    ],
)
def test_what_is_no_tree(tmp_path, make, code):
    with pytest.raises(InputError, match=code):
        extract(make(tmp_path))


def test_looping_root_is_an_error(tmp_path):
    os.symlink("loop", tmp_path / "loop")
    with pytest.raises(InputError, match="HP611"):
        extract(tmp_path / "loop")


def test_truncated_unpack(tmp_path):
    folder = tree(tmp_path)
    header = folder / "include/linux/cpuhotplug.h"
    header.write_text(HEADER[:200])
    with pytest.raises(InputError, match="HP617"):
        extract(folder)
    header.write_text(HEADER)
    (folder / "kernel/cpu.c").write_text(CORE[:300])
    (note,) = extract(folder).notes
    assert "static table is missing" in note.message
    (folder / "kernel/cpu.c").unlink()
    (note,) = extract(folder).notes
    assert note.message == "the static table is missing: No such file or directory"


@pytest.mark.parametrize("text", ["", "\0\1\2", "CONFIG\n", "just words\n"])
def test_what_is_no_configuration(tmp_path, text):
    config = tmp_path / "config"
    config.write_text(text)
    with pytest.raises(InputError, match="HP615"):
        extract(tree(tmp_path / "t"), config=config)


def test_unknown_architecture_lists_the_known(tmp_path):
    folder = tree(tmp_path, paths={"arch/x86/Kbuild": "", "arch/arm64/Kbuild": ""})
    assert extract(folder, arch="x86_64").arch == "x86"
    with pytest.raises(InputError, match="HP616") as caught:
        extract(folder, arch="pdp11")
    assert "it has arm64, x86" in caught.value.render()


def test_output_is_complete_or_absent(tmp_path):
    folder = tree(tmp_path / "t", drivers__foo_c=CALL)
    target = tmp_path / "table.json"
    result = CliRunner().invoke(command, [str(folder), "-o", str(target)])
    assert result.exit_code == 0
    assert stat.S_IMODE(target.stat().st_mode) & 0o400
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t", "table.json"]
    assert "1 call sites in 1 files" in result.output


@pytest.mark.parametrize("where", ["t/table.json", "t/kernel/x.json"])
def test_nothing_is_written_into_the_tree(tmp_path, where):
    folder = tree(tmp_path / "t")
    result = CliRunner().invoke(command, [str(folder), "-o", str(tmp_path / where)])
    assert isinstance(result.exception, InputError)
    assert not (tmp_path / where).exists()


def test_output_to_a_missing_folder(tmp_path):
    folder = tree(tmp_path / "t")
    result = CliRunner().invoke(command, [str(folder), "-o", str(tmp_path / "n/x")])
    assert "HP620" in str(result.exception)


def cut(text):
    places = st.integers(0, len(text))
    bits = st.sampled_from(["", "{", "}", "(", ")", '"', "'", "/*", "#if 0\n", "\\\n",
                            "\0", "#else\n", ",", "\x80"])  # fmt: skip
    return st.tuples(places, places, bits).map(
        lambda t: text[: min(t[:2])] + t[2] + text[max(t[:2]) :]
    )


@settings(max_examples=150, deadline=None)
@given(cut(CALL + CORE))
def test_mutated_sources_never_crash(text):
    data = text.encode("latin-1")
    facts = read_facts("f.c", data)
    assert facts is None or all(site.line > 0 for site in facts.sites)
    read_static(CText.of(data))


@settings(max_examples=100, deadline=None)
@given(cut(HEADER))
def test_mutated_enum_never_crashes(text):
    assert all(e.line > 0 for e in read_enum(CText.of(text.encode("latin-1"))))


@given(st.text("()!&|<>=+-*/%?:, definedXY019'\"", max_size=40))
def test_any_expression_has_a_value_or_none(text):
    value = evaluate(text, lambda name, call: None)
    assert value is None or isinstance(value, int)


@pytest.mark.parametrize("depth", [10, 5000])
def test_nested_expression_is_bounded(depth):
    value = evaluate("(" * depth + "1" + ")" * depth, lambda name, call: None)
    assert value == (1 if depth == 10 else None)


def test_long_lines_and_deep_conditionals_stay_fast():
    data = ("a " * 200_000 + "\n" + "#if X\n" * 300 + CALL).encode()
    facts = read_facts("f.c", data)
    assert len(facts.sites[0].guards) == 100
