"""The commands of docs/diagrams.md work, and made the pictures that it shows."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from cpuhp.cli.diagram import command

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/diagrams.md").read_text()
COMMANDS = [
    line for line in re.sub(r"\\\n\s*", "", PAGE).splitlines()
    if line.startswith("    cpuhp diagram ") and "-o" in line
    and "SCENARIO" not in line and "result.json" not in line and "/sys/" not in line
]  # fmt: skip
IMAGES = [line for line in COMMANDS if "docs/images/" in line]


def test_the_page_has_its_commands():
    assert len(COMMANDS) >= 8
    assert len(IMAGES) == len(list((ROOT / "docs/images").glob("*.svg"))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page_makes_its_picture(line, tmp_path):
    args = shlex.split(line)[2:]
    at = args.index("-o") + 1
    target = tmp_path / Path(args[at]).name
    args[at] = str(target)
    result = CliRunner().invoke(command, args, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert target.stat().st_size > 400


@pytest.mark.parametrize("path", sorted((ROOT / "docs/images").glob("*.svg")), ids=str)
def test_shown_pictures_are_small_and_tell_themselves_in_words(path):
    text = path.read_text()
    assert len(text) < 120_000
    assert 'role="img"' in text and "<desc" in text
    assert "<script" not in text


def test_codes_are_documented():
    raised = set()
    for source in [*(ROOT / "cpuhp/report/diagrams").glob("*.py"),
                   ROOT / "cpuhp/engines/transitions.py",
                   ROOT / "cpuhp/cli/diagram.py"]:  # fmt: skip
        raised |= set(re.findall(r'"(HP\d+)"', source.read_text()))
    assert raised == set(re.findall(r"^\| (HP\d+)", PAGE, re.MULTILINE))
