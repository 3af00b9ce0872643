"""Where units come from: the shipped specs and checks, and the user's own files.

Units are found by name, never by path, so loading a spec reads nothing outside the
shipped folders and the files that the user named.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from cpuhp.diagnostics import InputError, Source, Span, fail, suggestion
from cpuhp.language import tree as t
from cpuhp.language.parser import MAX_CHARACTERS, parse

_T = TypeVar("_T")
# What a file declares, as its text tells without being parsed.
_UNIT = re.compile(r"^(?:component|scenario)\s+(\w+)", re.MULTILINE)
_CHECK = re.compile(r"^check\s+(\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Library:
    """Components and scenarios by name, checks by name; parsed when asked for.

    `catalogue` names the checks that no component or scenario declares.
    """

    units: Mapping[str, t.Unit]
    checks: Mapping[str, t.CheckDeclaration]
    catalogue: frozenset[str] = frozenset()

    def find(self, name: str, span: Span | None = None) -> t.Unit:
        """The unit called `name`. Raises InputError HP201."""
        self.demand(name, span)
        return self.units[name]

    def demand(self, name: str, span: Span | None = None) -> None:
        """Raises InputError HP201 if there is no unit called `name`."""
        _demand("component or scenario", name, self.units, span)

    def demand_check(self, name: str, span: Span) -> None:
        """Raises InputError HP201 if there is no check called `name`."""
        _demand("check", name, self.checks, span)

    def with_units(self, units: Iterable[t.Unit]) -> Library:
        """The library with the user's own units in it. Raises InputError HP202."""
        known: ChainMap[str, t.Unit]
        checks: ChainMap[str, t.CheckDeclaration]
        known = ChainMap({}, self.units)  # type: ignore[arg-type]
        checks = ChainMap({}, self.checks)  # type: ignore[arg-type]
        for unit in units:
            _add(known, checks, unit)
        return Library(known, checks, self.catalogue)


def _demand(
    what: str, name: str, known: Mapping[str, object], span: Span | None
) -> None:
    if name not in known:
        raise fail("HP201", f"there is no {what} '{name}'", span,
                   help=suggestion(name, known))  # fmt: skip


def _add(
    units: MutableMapping[str, t.Unit],
    checks: MutableMapping[str, t.CheckDeclaration],
    unit: t.Unit,
) -> None:
    if unit.name:
        if unit.name in units:
            raise _twice(unit.name, unit.span, units[unit.name].span)
        units[unit.name] = unit
    for item in checks_of(unit):
        if item.name in checks:
            raise _twice(item.name, item.span, checks[item.name].span)
        checks[item.name] = item


def checks_of(unit: t.Unit) -> tuple[t.CheckDeclaration, ...]:
    """The checks that a unit declares, or a file of the catalogue."""
    return tuple(i for i in unit.items if isinstance(i, t.CheckDeclaration))


def _twice(name: str, span: Span, first: Span) -> InputError:
    return fail(
        "HP202",
        f"'{name}' is defined twice",
        span,
        notes=(("the other definition", first),),
        help="names of components, scenarios and checks are unique; rename one",
    )


def read_unit(path: Path) -> t.Unit:
    """Parse one file. Raises InputError HP203 if it can't be read, HP1xx if malformed."""
    return parse(read_source(path, str(path)))


def read_source(path: Path, name: str) -> Source:
    """The text of a spec, `name` for those who read of it. Raises InputError HP203."""
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
    return Source(name, text)


def data_root() -> Path:
    """The folder that holds `specs/` and `checks/`: installed, or the checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "data"
    return installed if (installed / "specs").is_dir() else package.parent


class _Shipped(Mapping[str, _T]):
    """Declarations by name, each parsed with its file when it is asked for first."""

    def __init__(
        self, places: Mapping[str, Span], take: Callable[[t.Unit, str], _T]
    ) -> None:
        self._places, self._take = places, take

    def __getitem__(self, name: str) -> _T:
        return self._take(_parsed(self._places[name].source), name)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


@cache
def shipped() -> Library:
    """Everything in `specs/` and `checks/`. Raises InputError HP202, HP203."""
    units: dict[str, Span] = {}
    checks: dict[str, Span] = {}
    catalogue: set[str] = set()
    for source in _shipped_sources():
        named = _declared(_UNIT, source, units)
        asked = _declared(_CHECK, source, checks)
        catalogue |= set() if named else set(asked)
        units |= named
        checks |= asked
    return Library(
        _Shipped(units, lambda unit, _: unit),
        _Shipped(checks, _check_of),
        frozenset(catalogue),
    )


def _shipped_sources() -> Iterator[Source]:
    root = data_root()
    for folder in ("specs", "checks"):
        for path in sorted((root / folder).rglob("*.hp")):
            yield read_source(path, path.relative_to(root).as_posix())


def _declared(
    what: re.Pattern[str], source: Source, known: Mapping[str, Span]
) -> dict[str, Span]:
    found: dict[str, Span] = {}
    for match in what.finditer(source.text):
        name, span = match[1], Span(source, match.start(), match.end())
        other = known.get(name) or found.get(name)
        if other:
            raise _twice(name, span, other)
        found[name] = span
    return found


@cache
def _parsed(source: Source) -> t.Unit:
    return parse(source)


def _check_of(unit: t.Unit, name: str) -> t.CheckDeclaration:
    return next(check for check in checks_of(unit) if check.name == name)
