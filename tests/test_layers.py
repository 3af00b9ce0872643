"""Each room imports only from rooms above it (ARCHITECTURE.md)."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "cpuhp"
ORDER = (
    "files",
    "diagnostics",
    "model",
    "language",
    "graph",
    "semantics",
    "engines",
    "kernel",
    "timing",
    "ordering",
    "report",
    "api",
    "cli",
)
# Inside `kernel`, in the same way; a package imports only from those named before it.
KERNEL = (
    "tables",
    "source",
    "registrations",
    "hazards",
    "patches",
    "traces",
    "recordings",
)
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(name):
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ORDER else None


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def module_name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    room = room_of(module_name(path))
    if room is None:
        return
    for name in imports_of(path):
        other = room_of(name) if name.startswith("cpuhp.") else None
        if other is not None:
            assert ORDER.index(other) <= ORDER.index(room), f"{path} imports {name}"


def kernel_package_of(name):
    parts = name.split(".")
    return parts[2] if parts[:2] == ["cpuhp", "kernel"] and len(parts) > 2 else None


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_inside_kernel_go_one_way(path):
    package = kernel_package_of(module_name(path))
    if package is None:
        return
    for name in imports_of(path):
        other = kernel_package_of(name)
        if other is not None:
            assert KERNEL.index(other) <= KERNEL.index(package), (
                f"{path} imports {name}"
            )


def test_every_room_is_known():
    rooms = {p.name for p in PACKAGE.iterdir() if (p / "__init__.py").exists()}
    assert rooms - {"data"} <= set(ORDER)  # data: what is installed beside the code
    assert rooms


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_z3_lives_in_the_engines_only(path):
    if any(name.split(".")[0] in ("z3", "cvc5") for name in imports_of(path)):
        assert room_of(module_name(path)) == "engines"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_reads_in_one_sitting(path):
    assert len(path.read_text().splitlines()) <= 600
