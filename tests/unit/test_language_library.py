"""The shipped specs: found by what their text declares, parsed when asked for."""

import pytest

from cpuhp.diagnostics import InputError
from cpuhp.language import library
from cpuhp.language.library import checks_of, data_root, read_unit, shipped


@pytest.fixture
def fresh(monkeypatch):
    """Nothing was read yet."""
    library.shipped.cache_clear()
    library._parsed.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    library.shipped.cache_clear()
    library._parsed.cache_clear()


def test_what_the_text_declares_is_what_is_parsed():
    units, checks, catalogue = set(), set(), set()
    for folder in ("specs", "checks"):
        for path in (data_root() / folder).rglob("*.hp"):
            unit = read_unit(path)
            names = {check.name for check in checks_of(unit)}
            units |= {unit.name} - {""}
            checks |= names
            catalogue |= set() if unit.name else names
    found = shipped()
    assert (set(found.units), set(found.checks)) == (units, checks)
    assert found.catalogue == catalogue
    assert all(found.units[name].name == name for name in units)
    assert all(found.checks[name].name == name for name in checks)


def test_only_what_is_asked_for_is_parsed(fresh):
    assert "bringup_parallel" in shipped().units
    assert library._parsed.cache_info().currsize == 0
    shipped().find("bringup_parallel")
    assert library._parsed.cache_info().currsize == 1


@pytest.mark.parametrize(
    "text, told",
    [("component a;\n", "'a' is defined twice"), ("check c { never bug(); }\n", "'c'")],
)
def test_a_name_that_two_files_declare(fresh, tmp_path, text, told):
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs/one.hp").write_text(text)
    (tmp_path / "specs/two.hp").write_text(f"/// Again.\n{text}")
    fresh.setattr(library, "data_root", lambda: tmp_path)
    with pytest.raises(InputError) as error:
        shipped()
    assert told in str(error.value)
    assert "specs/two.hp:2" in error.value.render()
    assert "specs/one.hp:1" in error.value.render()
