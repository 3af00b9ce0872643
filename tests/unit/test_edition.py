"""Which code answers: any change of a module is another edition."""

import shutil
import subprocess
import sys
from pathlib import Path

import cpuhp

TELL = "from cpuhp.edition import edition; print(edition())"


def edition_in(folder):
    command = [sys.executable, "-c", TELL]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_changed_module_is_another_edition(tmp_path):
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(cpuhp.__file__).parent, tmp_path / "cpuhp", ignore=ignored)
    before = edition_in(tmp_path)
    assert edition_in(tmp_path) == before
    with (tmp_path / "cpuhp/graph/slicing.py").open("a") as file:
        file.write("\n# of no account\n")
    assert edition_in(tmp_path) != before
