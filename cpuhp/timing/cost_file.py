"""Cost files: what steps cost on some machine, as TOML. docs/estimate.md has the format."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cpuhp.diagnostics import InputError, Source, Span, fail, suggestion
from cpuhp.timing.costs import EVERY_CPU, Cost, CostTable, Cpus

MAX_BYTES = 1 << 20
CLAIMS = "claims"  # the one shipped file that has no costs
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_NUMBER = r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_TIME = re.compile(rf"({_NUMBER})\s*(s|ms|us|ns)")
_TERM = re.compile(rf"(?:({_NUMBER})\s*\*\s*)?([A-Za-z_]\w*)")
_PART = re.compile(r"(first|last|every) (\d+)(?:/(\d+))?")
_LINE = re.compile(r"""^\s*(?:"([^"]*)"|'([^']*)'|([\w.-]+))\s*=""")
_HEADER = re.compile(r"^\s*\[([^\]]+)\]")
_TABLES = ("machine", "parameters", "options", "constants", "costs")
_FIELDS = (
    "time", "p99", "low", "high", "values", "inclusive", "cpus", "otherwise", "source",
)  # fmt: skip
_MACHINE = ("name", "cpus", "source", "scenarios")


@dataclass(frozen=True)
class _Text:
    """A file with the places of its keys, since the TOML reader does not tell them."""

    source: Source
    places: Mapping[tuple[str, str], Span] = field(default_factory=dict)

    def span(self, table: str, key: str) -> Span | None:
        return self.places.get((table, key)) or self.places.get((table, ""))


def shipped_costs() -> dict[str, Path]:
    """Names and files of all shipped cost files."""
    here = Path(__file__).resolve().parent.parent
    for base in (here / "data", here.parent):
        folder = base / "specs" / "costs"
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.toml"))}
    return {}


def find_costs(
    name: str,
    given: Mapping[str, str] | None = None,
    constants: Mapping[str, str] | None = None,
) -> CostTable:
    """The costs of a shipped machine by name, or of a file that ends in `.toml`.

    Raises InputError HP92x; see `read_costs`.
    """
    if name.endswith(".toml") or "/" in name:
        return read_costs(Path(name), given, constants)
    known = shipped_costs()
    if name not in known or name == CLAIMS:
        raise fail(
            "HP920",
            f"no shipped costs are called '{name}'",
            help=suggestion(name, known)
            or f"shipped are {', '.join(n for n in known if n != CLAIMS)}",
        )
    return read_costs(known[name], given, constants)


def usual_costs(scenario: str) -> str | None:
    """Name of the shipped costs that are meant for a scenario; None if there are none."""
    for name, path in shipped_costs().items():
        if name != CLAIMS:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
            if scenario in data["machine"].get("scenarios", ()):
                return name
    return None


def names_in(name: str, part: str) -> frozenset[str]:
    """Names in a part of the costs that `find_costs` finds: parameters, constants."""
    path = Path(name) if name.endswith(".toml") or "/" in name else None
    path = path or shipped_costs().get(name)
    if path is None:
        return frozenset()
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return frozenset()  # reading it will tell what is wrong
    found = data.get(part)
    return frozenset(found) if isinstance(found, dict) else frozenset()


def read_costs(
    path: Path,
    given: Mapping[str, str] | None = None,
    constants: Mapping[str, str] | None = None,
) -> CostTable:
    """Read a cost file; `given` sets parameters of it, `constants` sets of CPUs.

    Raises InputError HP920 if the file cannot be read, HP921 if it is no TOML, HP922
    for what the format does not have, HP923 for a time, set of CPUs or parameter that
    is none.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise fail(
                "HP920", f"'{path}' has more than {MAX_BYTES} bytes: no cost file"
            )
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise fail("HP920", f"cannot read '{path}': {error.strerror}") from None
    except UnicodeDecodeError:
        raise fail("HP920", f"'{path}' is no UTF-8 text") from None
    return parse_costs(Source(str(path), text), given or {}, constants or {})


def parse_costs(
    source: Source,
    given: Mapping[str, str] = MappingProxyType({}),
    constants: Mapping[str, str] = MappingProxyType({}),
) -> CostTable:
    """The costs of a text; see `read_costs`."""
    try:
        data = tomllib.loads(source.text)
    except tomllib.TOMLDecodeError as error:
        raise _no_toml(source, str(error)) from None
    text = _Text(source, dict(_places(source)))
    for table in data:
        if table not in _TABLES:
            raise fail(
                "HP922",
                f"a cost file has no part '{table}'",
                text.span(table, "") or text.span("", table),
                help=suggestion(table, _TABLES) or f"its parts: {', '.join(_TABLES)}",
            )
        if not isinstance(data[table], dict):
            raise fail("HP922", f"'{table}' is a part: [{table}]", text.span("", table))
    machine = data.get("machine", {})
    _only(text, "machine", machine, _MACHINE)
    parameters = _parameters(text, data.get("parameters", {}), given)
    said = {**data.get("constants", {}), **constants}
    sets = {name: _cpus(text, "constants", name, v, {}) for name, v in said.items()}
    costs = data.get("costs", {})
    return CostTable(
        str(machine.get("name", Path(source.name).stem)),
        {n: _cost(text, n, entry, parameters, sets) for n, entry in costs.items()},
        {k: _option(text, k, v) for k, v in data.get("options", {}).items()},
        sets,
        _count(text, machine.get("cpus")),
        str(machine.get("source", "")),
        parameters,
    )


def _no_toml(source: Source, message: str) -> InputError:
    match = re.search(r"\(at line (\d+), column (\d+)\)", message)
    told = re.sub(r"\s*\(at .*\)$", "", message)
    told = told[:1].lower() + told[1:]
    lines = source.text.split("\n")
    line, column = (int(match[1]), int(match[2])) if match else (len(lines), 1)
    line = min(line, len(lines))
    start = sum(len(each) + 1 for each in lines[: line - 1]) + column - 1
    start = min(start, len(source.text))
    span = Span(source, start, start + 1)
    return fail("HP921", f"this is no TOML: {told}", span)


def _places(source: Source) -> Iterator[tuple[tuple[str, str], Span]]:
    table, offset = "", 0
    for line in source.text.split("\n"):
        header, key = _HEADER.match(line), _LINE.match(line)
        if header:
            table = header[1].strip()
            yield (
                (table, ""),
                Span(source, offset + header.start(1), offset + header.end(1)),
            )
            first, _, rest = table.partition(".")
            if rest:
                name = rest.strip("\"'")
                yield (first, name), Span(source, offset, offset + len(line))
        elif key:
            at = next(n for n in (1, 2, 3) if key[n] is not None)
            span = Span(source, offset + key.start(at), offset + len(line.rstrip()))
            yield (table, key[at]), span
        offset += len(line) + 1


def _only(
    text: _Text,
    table: str,
    entry: Mapping[str, Any],
    known: tuple[str, ...],
    of: str = "",
) -> None:
    for key in entry:
        if key not in known:
            raise fail(
                "HP922",
                f"{of or table} has no '{key}'",
                text.span(table, of.strip("'") if of else key),
                help=suggestion(key, known) or f"known: {', '.join(known)}",
            )


def _count(text: _Text, value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise fail(
            "HP923", f"'{value}' is no number of CPUs", text.span("machine", "cpus")
        )
    return value


def _option(text: _Text, name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | str):
        return str(value)
    raise fail(
        "HP923", f"'{value}' is no value of an option", text.span("options", name)
    )


# -- times -----------------------------------------------------------------------


def _parameters(
    text: _Text, entries: Mapping[str, Any], given: Mapping[str, str]
) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, entry in entries.items():
        if isinstance(entry, dict):
            _only(text, "parameters", entry, ("value", "source"), f"'{name}'")
            entry = entry.get("value")
        found[name] = _time(text, "parameters", name, entry, found)
        if name in given:
            seconds = time_of(given[name].strip())
            if seconds is None:
                raise fail(
                    "HP923",
                    f"parameter {name}: '{given[name]}' is no time",
                    help="a number and its unit: '12.5 ms' (s, ms, us, ns)",
                )
            found[name] = seconds
    for name in given:
        if name not in found:
            raise fail(
                "HP923",
                f"the cost file has no parameter '{name}'",
                help=suggestion(name, found)
                or f"its parameters: {', '.join(found) or 'none'}",
            )
    return found


def _time(
    text: _Text, table: str, key: str, value: object, parameters: Mapping[str, float]
) -> float:
    """Seconds: '12.5 ms', a parameter, a multiple of one, or a sum of such."""
    if isinstance(value, str):
        total = 0.0
        for part in value.split("+"):
            seconds = _term(part.strip(), parameters)
            if seconds is None:
                break
            total += seconds
        else:
            if math.isfinite(total):
                return total
    raise fail(
        "HP923",
        f"'{value}' is no time",
        text.span(table, key),
        help="a number and its unit, '12.5 ms' (s, ms, us, ns), a parameter, "
        "'2 * parameter', or a sum of those",
    )


def time_of(text: str) -> float | None:
    """Seconds of '12.5 ms', or None if that is no time, or longer than any number."""
    match = _TIME.fullmatch(text)
    seconds = float(match[1]) * UNITS[match[2]] if match else math.inf
    return seconds if math.isfinite(seconds) else None


def _term(part: str, parameters: Mapping[str, float]) -> float | None:
    seconds = time_of(part)
    if seconds is not None:
        return seconds
    match = _TERM.fullmatch(part)
    if match and match[2] in parameters:
        return float(match[1] or 1) * parameters[match[2]]
    return None


def _cost(
    text: _Text,
    name: str,
    entry: object,
    parameters: Mapping[str, float],
    sets: Mapping[str, Cpus],
) -> Cost:
    span = text.span("costs", name)
    if not isinstance(entry, dict):
        return Cost(_time(text, "costs", name, entry, parameters), span=span)
    _only(text, "costs", entry, _FIELDS, f"'{name}'")

    def time(key: str) -> float | None:
        if key not in entry:
            return None
        return _time(text, "costs", name, entry[key], parameters)

    inclusive = entry.get("inclusive", False)
    if not isinstance(inclusive, bool):
        raise fail("HP923", f"'{name}': inclusive is true or false", span)
    if not isinstance(entry.get("values", []), list):
        raise fail("HP923", f"'{name}': values are a list of times", span)
    values = tuple(
        _time(text, "costs", name, value, parameters)
        for value in entry.get("values", ())
    )
    p99, low, high = time("p99"), time("low"), time("high")
    seconds = _nominal(time("time"), low, high, values)
    problem = _problem(seconds, p99, low, high, values)
    if problem:
        raise fail("HP923", f"'{name}': {problem}", span)
    return Cost(
        seconds or 0.0, p99, low, high, values,
        inclusive,
        _cpus(text, "costs", name, entry["cpus"], sets) if "cpus" in entry else EVERY_CPU,
        time("otherwise") or 0.0,
        str(entry.get("source", "")),
        span=span,
    )  # fmt: skip


def _nominal(
    seconds: float | None,
    low: float | None,
    high: float | None,
    values: tuple[float, ...],
) -> float | None:
    """The value of a run without chance: the one that is given, else the middle."""
    if seconds is not None:
        return seconds
    if values:
        return sorted(values)[(len(values) - 1) // 2]
    return None if low is None or high is None else (low + high) / 2


def _problem(
    seconds: float | None,
    p99: float | None,
    low: float | None,
    high: float | None,
    values: tuple[float, ...],
) -> str | None:
    if seconds is None:
        return "a cost has a time, values, or low and high"
    if (low is None) != (high is None):
        return "low and high belong together"
    if sum((p99 is not None, low is not None, bool(values))) > 1:
        return "give one distribution: p99, or low and high, or values"
    if p99 is not None and not 0 < seconds <= p99:
        return "p99 is not less than time, which is the median and more than 0"
    if low is not None and high is not None and not low <= seconds <= high:
        return "low is not more than time, and high is not less"
    return None


# -- sets of CPUs ------------------------------------------------------------------


def _cpus(
    text: _Text, table: str, key: str, value: object, sets: Mapping[str, Cpus]
) -> Cpus:
    """'all', 'none', 'first 1/2', 'last 1/4', 'every 2', ids, or a constant's name."""
    if isinstance(value, str) and value in sets:
        return sets[value]
    found = parse_cpus(value) if isinstance(value, str) else None
    if found is None:
        raise fail(
            "HP923",
            f"'{value}' is no set of CPUs",
            text.span(table, key),
            help="'all', 'none', 'first 1/2', 'last 1/4', 'every 2', ids as '0-27,56', or "
            "the name of a constant of this file",
        )
    return found


def parse_cpus(value: str) -> Cpus | None:
    """A set of CPUs, or None if the text is none."""
    if value == "all":
        return EVERY_CPU
    if value == "none":
        return Cpus(ids=())
    match = _PART.fullmatch(value)
    if match:
        top, bottom = int(match[2]), int(match[3] or 1)
        if match[1] == "every":
            return Cpus(every=top) if top and not match[3] else None
        if not bottom or top > bottom:
            return None
        part = top / bottom
        return Cpus(high=part) if match[1] == "first" else Cpus(low=1 - part)
    ids: list[int] = []
    for part_ in value.split(","):
        bounds = re.fullmatch(r"\s*(\d{1,6})(?:-(\d{1,6}))?\s*", part_)
        if not bounds or int(bounds[2] or bounds[1]) < int(bounds[1]):
            return None
        ids += range(int(bounds[1]), int(bounds[2] or bounds[1]) + 1)
    return Cpus(ids=tuple(ids))
