"""The distribution's kernel sources, where they are installed."""

import json
import re
import shutil
import subprocess
from collections import Counter

import pytest
from kernel_trees import real_tree

from cpuhp.kernel.registrations.extract import extract

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

COUNTS = {  # call sites, files, multi, static, startup, teardown
    "6.1": (256, 218, 46, 30, 206, 196),
    "6.12": (273, 232, 56, 32, 220, 209),
}
SECTIONS = {
    "6.1": {"PREPARE": 61, "STARTING": 54, "ONLINE": 141},
    "6.12": {"PREPARE": 63, "STARTING": 54, "ONLINE": 156},
}


@pytest.fixture(scope="module", params=sorted(COUNTS))
def real(request, tmp_path_factory):
    folder = real_tree(request.param, tmp_path_factory.mktemp("tree"))
    if folder is None:
        pytest.skip(f"linux-source-{request.param} is not installed")
    return request.param, folder, extract(folder)


def test_every_call_site_is_a_row(real):
    version, _, found = real
    multi = sum(row.kind == "multi" for row in found.calls)
    assert (
        len(found.calls),
        len({row.file for row in found.calls}),
        multi,
        len(found.static),
        sum(row.startup.exists for row in found.calls),
        sum(row.teardown.exists for row in found.calls),
    ) == COUNTS[version]
    assert Counter(row.section.value for row in found.calls) == SECTIONS[version]


def test_everything_is_resolved(real):
    found = real[2]
    assert not [row for row in found.rows if row.unresolved]
    assert not found.notes


def test_definitions_name_the_function_in_their_line(real):
    _, folder, found = real
    for row in found.rows:
        for callback in (row.startup, row.teardown):
            if callback.definition is None:
                continue
            place = callback.definition
            lines = (folder / place.file).read_text(errors="replace").split("\n")
            assert re.search(rf"\b{place.name}\b", lines[place.line - 1])


@pytest.fixture(scope="module")
def tags(real):
    """Functions as ctags sees them: (file, name, first line, last line)."""
    if not shutil.which("ctags"):
        pytest.skip("needs ctags")
    _, folder, found = real
    files = {row.file for row in found.rows}
    files |= {definition.file for _, definition in definitions(found)}
    command = ["ctags", "--langmap=C:.c.h", "--languages=C", "--kinds-C=fpd"]
    command += ["--fields=+ne", "--output-format=json", "-f", "-", "-L", "-"]
    output = subprocess.run(
        command, input="\n".join(sorted(files)), cwd=folder, check=True,
        capture_output=True, encoding="latin-1",
    ).stdout  # fmt: skip
    if not output.startswith("{"):
        pytest.skip("needs ctags with JSON")
    lines = [json.loads(line) for line in output.splitlines()]
    return [(t["path"], t["name"], t["line"], t.get("end"), t["kind"]) for t in lines]


def definitions(found):
    for row in found.rows:
        pairs = [row, *row.variants]
        for callback in [c for p in pairs for c in (p.startup, p.teardown)]:
            places = [callback.definition, *callback.alternatives]
            yield from ((row, place) for place in places if place)


def test_definitions_are_where_ctags_finds_them(real, tags):
    known = {tag[:3] for tag in tags}
    all_of_them = list(definitions(real[2]))
    lost = [d for _, d in all_of_them if (d.file, d.name, d.line) not in known]
    # A macro in this file makes ctags lose what follows it.
    assert {d.file for d in lost} <= {"drivers/bus/mips_cdmm.c"}
    assert len(lost) < len(all_of_them) / 100


def test_enclosing_functions_are_those_of_ctags(real, tags):
    for row in real[2].calls:
        around = [
            name
            for file, name, first, last, kind in tags
            if file == row.file and kind == "function" and first <= row.line <= last
        ]
        assert row.function == (around[-1] if around else None)


def test_guards_are_as_deep_as_the_conditionals(real):
    _, folder, found = real
    for row in found.calls:
        depth = 0
        text = (folder / row.file).read_text("latin-1")
        for line in text.split("\n")[: row.line]:
            word = re.match(r"\s*#\s*(if|ifdef|ifndef|endif)\b", line)
            depth += 0 if not word else -1 if word[1] == "endif" else 1
        assert len(row.guards) == depth


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
def test_enum_values_are_those_of_gcc(real, tmp_path):
    _, folder, found = real
    text = (folder / "include/linux/cpuhotplug.h").read_text()
    body = re.search(r"enum cpuhp_state \{.*?\};", text, re.DOTALL)[0]
    prints = "".join(f'printf("%d\\n", {e.name});' for e in found.enumerators)
    source = tmp_path / "values.c"
    source.write_text(f"#include <stdio.h>\n{body}\nint main(void){{{prints}}}\n")
    subprocess.run(["gcc", "-o", tmp_path / "values", source], check=True)
    printed = subprocess.run(
        [tmp_path / "values"], check=True, capture_output=True, text=True
    ).stdout.split()
    assert [e.value for e in found.enumerators] == [int(line) for line in printed]
