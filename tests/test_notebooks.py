"""The notebooks run, by the public interface only, and show what they showed.

`python tests/test_notebooks.py` runs them and writes their outputs anew; read the
difference before you commit it.
"""

import ast
import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
BOOKS = sorted(FOLDER.glob("*.ipynb"))
SLOW = ("2-", "3-", "5-")
PUBLIC = {
    "cpuhp",
    "cpuhp.diagnostics",
    "cpuhp.engines.certificate",
    "os",
    "pathlib",
    "tempfile",
}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def executed(path):
    book = nbformat.read(path, as_version=4)
    root = str(FOLDER.parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [root, os.environ.get("PYTHONPATH")])
    )
    client = NotebookClient(
        book, timeout=300, resources={"metadata": {"path": str(FOLDER)}}
    )
    client.execute()
    return book


def told(book):
    """The text of all outputs, cell by cell."""
    return [
        [_text(output) for output in cell.outputs]
        for cell in book.cells
        if cell.cell_type == "code"
    ]


def _text(output):
    return output.get("text") or output.get("data", {}).get("text/plain", "")


def cases():
    for path in BOOKS:
        slow = [pytest.mark.slow] if path.name.startswith(SLOW) else []
        yield pytest.param(path, id=path.stem, marks=slow)


@pytest.mark.parametrize("path", list(cases()))
def test_a_notebook_shows_what_it_showed(path):
    pytest.importorskip("ipykernel")
    assert told(executed(path)) == told(nbformat.read(path, as_version=4))


@pytest.mark.parametrize("path", BOOKS, ids=lambda p: p.stem)
def test_a_notebook_uses_the_public_interface_and_names_no_machine(path):
    book = nbformat.read(path, as_version=4)
    code = "\n".join(c.source for c in book.cells if c.cell_type == "code")
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= PUBLIC
        elif isinstance(node, ast.ImportFrom):
            assert node.module in PUBLIC
    assert code.rstrip().splitlines()[-1].startswith("assert ")
    assert not re.search(r"/(home|work|root)/", path.read_text())


@pytest.mark.parametrize("path", BOOKS, ids=lambda p: p.stem)
def test_pictures_are_kept_with_the_notebook(path):
    text = path.read_text()
    assert text.count("<svg") >= (0 if path.name.startswith("5-") else 1)
    assert f"({path.name})" in (FOLDER / "README.md").read_text()


def _refresh(names):
    for path in [b for b in BOOKS if not names or b.stem in names]:
        book = executed(path)
        for cell in book.cells:
            cell.metadata = {}
            for output in cell.get("outputs", []):
                output.pop("metadata", None)
                if output.output_type in ("display_data", "execute_result"):
                    output["metadata"] = {}
        book.metadata = {
            "kernelspec": {
                "display_name": "Python 3",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python"},
        }
        nbformat.write(book, path)
        print(path.name, path.stat().st_size)


if __name__ == "__main__":
    _refresh(sys.argv[1:])
