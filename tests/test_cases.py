"""What the pages of docs/cases and of the assumptions show is what the tool prints.

`python tests/test_cases.py [PAGE...]` writes the commands' output into the pages anew.
"""

import re
import shlex
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cpuhp.cli import group

ROOT = Path(__file__).parents[1]
CASES = sorted(path for path in (ROOT / "docs/cases").glob("m*.md"))
PAGES = [*CASES, ROOT / "docs/serialisation-assumptions.md"]
BLOCK = re.compile(r"^```console\n\$ ([^\n]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PICTURE = re.compile(r"^    (cpuhp diagram .*)$", re.MULTILINE)
TIME = re.compile(r" +\d+\.\d\d s$", re.MULTILINE)
BLOCKS = [(path, *match) for path in PAGES for match in BLOCK.findall(path.read_text())]


def printed(line):
    """Output of a command without its times."""
    result = CliRunner().invoke(
        group, [*shlex.split(line)[1:], "--jobs", "1"], catch_exceptions=False
    )
    return TIME.sub("", result.output).strip("\n") + "\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "line", "shown"), BLOCKS, ids=[f"{b[0].stem}-{b[1]}" for b in BLOCKS]
)
def test_a_page_shows_what_its_command_prints(path, line, shown, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert printed(line) == shown


@pytest.mark.slow
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_picture_tells_the_same_run_as_its_command(path, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    arguments = shlex.split(PICTURE.search(path.read_text())[1])[1:]
    kept = ROOT / arguments[-1]
    arguments[-1] = str(tmp_path / kept.name)
    result = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    told = re.compile(r"<desc.*?</desc>", re.DOTALL)
    wanted = told.findall((tmp_path / kept.name).read_text())
    assert wanted and told.findall(kept.read_text()) == wanted
    assert f"](images/{kept.name})" in path.read_text()


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_case_tells_its_whole_story(path):
    text = path.read_text()
    heads = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert heads == [
        "The report", "The model", "The interleaving", "The fix",
        "What the checker says now",
    ]  # fmt: skip
    spec = re.search(r"specs/bugs/\S+\.hp", text)[0]
    commit = re.search(r"\b[0-9a-f]{12}\b", (ROOT / spec).read_text())[0]
    assert commit in text
    assert re.search(r"^Kernel: .*\d\.\d", text, re.MULTILINE)
    assert "VIOLATED" in text and "PROVED" in text


def test_five_cases_are_told():
    assert len(CASES) >= 5


def main(names):
    for path in PAGES:
        if names and path.stem not in names:
            continue
        text = BLOCK.sub(
            lambda m: f"```console\n$ {m[1]}\n{printed(m[1])}```", path.read_text()
        )
        path.write_text(text)
        for line in PICTURE.findall(text) if path in CASES else ():
            CliRunner().invoke(group, shlex.split(line)[1:], catch_exceptions=False)


if __name__ == "__main__":
    main(sys.argv[1:])
