"""The distribution's kernel sources, where they are installed."""

import re
import shutil
import subprocess
from collections import Counter

import pytest
from kernel_trees import real_tree

from cpuhp.kernel.extract import extract

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
