"""Where units come from: the shipped specs and checks, and the user's own files.

Units are found by name, never by path, so loading a spec reads nothing outside the
shipped folders and the files that the user named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from cpuhp.diagnostics import InputError, Source, Span, fail, suggestion
from cpuhp.language import tree as t
from cpuhp.language.parser import MAX_CHARACTERS, parse


@dataclass(frozen=True)
class Library:
    """Components and scenarios by name, checks by name, all from parsed files."""

    units: Mapping[str, t.Unit]
    checks: Mapping[str, t.CheckDeclaration]

    def find(self, name: str, span: Span | None = None) -> t.Unit:
        """The unit called `name`. Raises InputError HP201."""
        if name in self.units:
            return self.units[name]
        raise fail(
            "HP201",
            f"there is no component or scenario '{name}'",
            span,
            help=suggestion(name, self.units),
        )

    def with_units(self, units: Iterable[t.Unit]) -> Library:
        """The library with the user's own units in it. Raises InputError HP202."""
        known, checks = dict(self.units), dict(self.checks)
        for unit in units:
            _add(known, checks, unit)
        return Library(MappingProxyType(known), MappingProxyType(checks))


def _add(
    units: dict[str, t.Unit], checks: dict[str, t.CheckDeclaration], unit: t.Unit
) -> None:
    if unit.name:
        if unit.name in units:
            raise _twice(unit.name, unit.span, units[unit.name].span)
        units[unit.name] = unit
    for item in unit.items:
        if isinstance(item, t.CheckDeclaration):
            if item.name in checks:
                raise _twice(item.name, item.span, checks[item.name].span)
            checks[item.name] = item


def _twice(name: str, span: Span, first: Span) -> InputError:
    return fail(
        "HP202",
        f"'{name}' is defined twice",
        span,
        notes=(("the other definition", first),),
        help="names of components, scenarios and checks are unique; rename one",
    )


def read_unit(path: Path, name: str | None = None) -> t.Unit:
    """Parse one file. Raises InputError HP203 if it can't be read, HP1xx if malformed."""
    name = name or str(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CHARACTERS * 4 + 1)
    except OSError as error:
        raise fail("HP203", f"cannot read '{name}': {error.strerror}") from None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(data) <= MAX_CHARACTERS * 4 or error.start < MAX_CHARACTERS:
            raise fail(
                "HP203", f"'{name}' is not UTF-8 text (byte {error.start})"
            ) from None
        text = data.decode("utf-8", "replace")
    return parse(Source(name, text))


def data_root() -> Path:
    """The folder that holds `specs/` and `checks/`: installed, or the checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "data"
    return installed if (installed / "specs").is_dir() else package.parent


@cache
def shipped() -> Library:
    """Everything in `specs/` and `checks/`."""
    root = data_root()
    units: dict[str, t.Unit] = {}
    checks: dict[str, t.CheckDeclaration] = {}
    for folder in ("specs", "checks"):
        for path in sorted((root / folder).rglob("*.hp")):
            _add(units, checks, read_unit(path, path.relative_to(root).as_posix()))
    return Library(MappingProxyType(units), MappingProxyType(checks))
