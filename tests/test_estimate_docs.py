"""What docs/estimate.md shows is what the tool prints.

`python tests/test_estimate_docs.py` writes the commands' output into the page anew.
"""

import re
import shlex
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cpuhp.cli import group
from cpuhp.diagnostics import Source
from cpuhp.timing.cost_file import parse_costs

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/estimate.md"
BLOCK = re.compile(r"^```console\n\$ ([^\n]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
SLOW = "--claims"


def printed(line):
    result = CliRunner().invoke(group, shlex.split(line)[1:], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def marked(line):
    marks = [pytest.mark.slow] if SLOW in line else []
    return pytest.param(line, marks=marks, id=line)


@pytest.mark.parametrize("line", [marked(line) for line, _ in BLOCKS])
def test_the_page_shows_what_the_command_prints(line, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert printed(line) == dict(BLOCKS)[line]


def test_the_page_s_cost_file_is_one():
    text = PAGE.read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    found = parse_costs(Source("docs/estimate.md", shown))
    assert found.cpus == 80 and found.costs["__cpu_die"].seconds == 0.010387
    assert found.costs["takedown_cpu"].inclusive
    assert found.is_random


def test_the_page_s_python_runs(capsys):
    text = PAGE.read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    exec(code, {})  # noqa: S102
    assert capsys.readouterr().out.startswith("1.000")


def test_the_page_tells_every_field_and_every_key():
    from cpuhp.timing import cost_file

    text = PAGE.read_text(encoding="utf-8")
    for word in (*cost_file._FIELDS, *cost_file._TABLES, *cost_file._MACHINE):
        assert word in text
    shown = printed("cpuhp estimate cpu-park --cpus 2 --format json")
    for field in re.findall(r'^  "(\w+)"', shown, re.MULTILINE):
        assert f"`{field}`" in text, field


def main():
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(
        BLOCK.sub(lambda m: f"```console\n$ {m[1]}\n{printed(m[1])}```", text)
    )


if __name__ == "__main__":
    sys.exit(main())
