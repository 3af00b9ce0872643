"""Hotplug tables as text: a kernel's `hotplug/states` file, and `.table` files.

`/sys/devices/system/cpu/hotplug/states` lists `number: name` of every registered
hotplug state. The fixed numbers of a kernel version, which that file does not tell,
come from the shipped `specs/tables/linux-*.table` (format: docs/conform.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cpuhp.diagnostics import InputError, Source, Span, fail
from cpuhp.model.table import HotplugState, Table

MAX_BYTES = 1 << 20
MAX_NUMBER = 9999

_STATE_LINE = re.compile(r"[ \t]*(\d{1,9}):[ \t]+(\S.*?)[ \t]*\r?")
_HEADER_LINE = re.compile(r"([a-z][a-z-]*)[ \t]+(\S+)(?:[ \t]+(\S+))?[ \t]*\r?")
_ROW_LINE = re.compile(
    r"[ \t]*(\d{1,9})[ \t]+(CPUHP_\w+|-)[ \t]+\"([^\"]*)\"((?:[ \t]+[^\s#]+)*)[ \t]*\r?"
)
_NUMBERS = {"bringup": 1, "teardown": 1, "prepare-dynamic": 2, "dynamic": 2}
_WORDS = ("table", "kernel", "arch")


@dataclass(frozen=True)
class KernelTable:
    """A table with what its file knows beyond the model: version and callbacks.

    `startups` and `teardowns` give, by hotplug state number, the functions that the
    kernel itself may have there; those in `core` are never configured away. `in_tree`
    are the functions that a source tree registers, by number and direction (up?).
    """

    table: Table
    kernel: str | None = None
    arch: str | None = None
    startups: Mapping[int, frozenset[str]] = field(default_factory=dict)
    teardowns: Mapping[int, frozenset[str]] = field(default_factory=dict)
    core: frozenset[int] = frozenset()
    in_tree: Mapping[tuple[int, bool], frozenset[str]] = field(default_factory=dict)


def read_states(path: str | Path) -> Table:
    """The table of a kernel's states file, fixed states with their enumerator.

    Raises InputError HP400-HP407. Source: `states_show()` in kernel/cpu.c.
    """
    return read_kernel_states(path).table


def read_kernel_states(path: str | Path) -> KernelTable:
    """Like `read_states`, with the kernel version that the fixed numbers match."""
    return parse_states(read_source(path))


def read_table(path: str | Path) -> Table:
    """The table of a `.table` file. Raises InputError HP400-HP409."""
    return read_kernel_table(path).table


def read_kernel_table(path: str | Path) -> KernelTable:
    """Like `read_table`, with version and callbacks."""
    return parse_table(read_source(path))


def read_any_table(path: str | Path) -> KernelTable:
    """A states file or a `.table` file, told apart by their first rows."""
    source = read_source(path)
    for _, line in _lines(source):
        if line.strip() and not line.lstrip().startswith("#"):
            return (parse_states if ":" in line else parse_table)(source)
    raise fail("HP402", f"{source.name} has no hotplug state", Span(source, 0, 0))


def shipped_table(name: str) -> KernelTable:
    """One of the tables that come with cpuhp, such as `linux-6.12`."""
    known = shipped_tables()
    if name not in known:
        names = ", ".join(known)
        raise fail("HP408", f"no shipped table '{name}'", help=f"shipped are {names}")
    return _parse_shipped(known[name])


def shipped_tables() -> dict[str, Path]:
    """Names and files of all shipped tables."""
    here = Path(__file__).resolve().parents[2]
    for base in (here / "data", here.parent):
        folder = base / "specs" / "tables"
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.table"))}
    return {}


@cache
def _parse_shipped(path: Path) -> KernelTable:
    return read_kernel_table(path)


def read_source(path: str | Path) -> Source:
    """A small text file as a source. Raises InputError HP400, HP401."""
    name = str(path)
    try:
        with open(path, "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise fail("HP400", f"cannot read {name}: {reason}") from None
    if len(data) > MAX_BYTES:
        raise fail(
            "HP401",
            f"{name} is larger than {MAX_BYTES} bytes: not a table of hotplug states",
            help="a trace is given as the TRACE argument, the states file by --states",
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _binary(name, error.start) from None
    if "\0" in text:
        raise _binary(name, text.index("\0"))
    return Source(name, text)


def _binary(name: str, offset: int) -> InputError:
    return fail("HP401", f"{name} is not text (byte {offset})")


def parse_states(source: Source) -> KernelTable:
    """The states file's text. Raises InputError HP402-HP407."""
    rows: list[HotplugState] = []
    for span, line in _lines(source):
        if not line.strip():
            continue
        match = _STATE_LINE.fullmatch(line)
        if not match or not match[2].isprintable():
            raise fail(
                "HP403",
                "expected 'number: name' of a hotplug state",
                span,
                help="give /sys/devices/system/cpu/hotplug/states as the kernel "
                "prints it",
            )
        row = HotplugState(int(match[1]), match[2], span=span)
        _check_order(row, rows, span)
        rows.append(row)
    if not rows:
        raise fail("HP402", f"{source.name} has no hotplug state", Span(source, 0, 0))
    _check_names(rows)
    return _with_landmarks(source, rows)


def _check_order(row: HotplugState, rows: list[HotplugState], span: Span) -> None:
    if row.number > MAX_NUMBER:
        raise fail("HP404", f"hotplug state {row.number} is out of range", span)
    if not rows or row.number > rows[-1].number:
        return
    earlier = next((r for r in rows if r.number == row.number), None)
    if earlier:
        notes = ((f"first as '{earlier.name}'", earlier.span),)
        raise fail(
            "HP404", f"hotplug state {row.number} occurs twice", span, notes=notes
        )
    raise fail(
        "HP405",
        f"hotplug state {row.number} stands after {rows[-1].number}: "
        "numbers must ascend",
        span,
    )


def _check_names(rows: list[HotplugState]) -> None:
    # A name may be registered more than once (drivers with several instances in
    # dynamic slots do); the landmarks may not.
    seen: dict[str, HotplugState] = {}
    for row in rows:
        if row.name in seen and row.name in _LANDMARKS:
            notes = (("first here", seen[row.name].span),)
            message = f"'{row.name}' is listed twice"
            raise fail("HP404", message, row.span, notes=notes)
        seen[row.name] = row


_LANDMARKS = (
    "cpu:bringup",
    "ap:offline",
    "ap:online",
    "cpu:teardown",
    "sched:active",
    "online",
)


class _Limits(NamedTuple):
    bringup: int
    teardown: int
    dynamic: range
    prepare_dynamic: range


def _with_landmarks(source: Source, rows: list[HotplugState]) -> KernelTable:
    numbers = {row.name: row.number for row in rows if row.name in _LANDMARKS}
    for name in ("cpu:bringup", "cpu:teardown"):
        if name not in numbers:
            raise fail(
                "HP406",
                f"no state named '{name}': the sections cannot be told apart",
                rows[-1].span,
                help="is the file cut off? the kernel lists every state up to 'online'",
            )
    found = [numbers[name] for name in _LANDMARKS if name in numbers]
    if found != sorted(found):
        raise fail("HP407", "the kernel's own states are out of order", rows[0].span)
    fixed = detect(numbers)
    if fixed is None:
        limits = _guess_limits(numbers, {row.name: row.number for row in rows})
        return KernelTable(Table(source.name, tuple(rows), *limits))
    table = fixed.table
    limits = _Limits(
        table.bringup, table.teardown, table.dynamic, table.prepare_dynamic
    )
    found_table = Table(source.name, _named(rows, table), *limits, _numbers(table))
    return _at_home(fixed, found_table)


def _at_home(fixed: KernelTable, found: Table) -> KernelTable:
    """A version's own callbacks, each at the number that its state has in `found`."""
    taken = {row.number for row in found.states}
    now = {row.enumerator: row.number for row in found.states if row.enumerator}
    moved: dict[int, int] = {}
    for row in fixed.table.states:
        at = now.get(row.enumerator) if row.enumerator else None
        if at is not None or row.number not in taken:
            moved[row.number] = row.number if at is None else at

    def at_home(functions: Mapping[int, frozenset[str]]) -> dict[int, frozenset[str]]:
        return {moved[n]: names for n, names in functions.items() if n in moved}

    return KernelTable(
        found,
        fixed.kernel,
        startups=at_home(fixed.startups),
        teardowns=at_home(fixed.teardowns),
        core=frozenset(moved[number] for number in fixed.core if number in moved),
    )


def _named(rows: list[HotplugState], fixed: Table) -> tuple[HotplugState, ...]:
    """The rows with the constants of their kernel.

    What is registered under a fixed state's name is that state, also where the order is
    another one than the version's own; of other names the number tells.
    """
    own = {row.name: row.enumerator for row in fixed.states if row.name}
    by_name = {
        row.number: own[row.name]
        for row in rows
        if row.name in own
        and row.number not in fixed.dynamic
        and row.number not in fixed.prepare_dynamic
    }
    taken = set(by_name.values())
    by_number = {
        row.number: row.enumerator
        for row in fixed.states
        if row.enumerator not in taken
    }
    names = {**by_number, **by_name}
    return tuple(replace(row, enumerator=names.get(row.number)) for row in rows)


def _numbers(fixed: Table) -> tuple[tuple[str, int], ...]:
    """The kernel's constants, also of states that nothing is registered for."""
    return tuple((row.enumerator, row.number) for row in fixed.states if row.enumerator)


def _numbers_of(version: str | None, name: str) -> tuple[tuple[str, int], ...]:
    fixed = f"linux-{version}"
    if name == fixed or fixed not in shipped_tables():
        return ()
    return _numbers(shipped_table(fixed).table)


def detect(numbers: Mapping[str, int]) -> KernelTable | None:
    """The shipped version whose fixed numbers are those of these named states."""
    for name in shipped_tables():
        if not name.startswith("linux-"):
            continue
        fixed = shipped_table(name)
        known = {row.name: row.number for row in fixed.table.states}
        if all(known.get(name) == number for name, number in numbers.items()):
            return fixed
    return None


def _guess_limits(marks: Mapping[str, int], numbers: Mapping[str, int]) -> _Limits:
    # An estimate: in the versions that are shipped, these are the last fixed states
    # before the dynamic slots.
    bringup, teardown = marks["cpu:bringup"], marks["cpu:teardown"]
    last = numbers.get("base/cacheinfo:online", numbers.get("RCU/tree:online"))
    active = marks.get("sched:active")
    dynamic = range(0)
    if last is not None and active is not None and last < active:
        dynamic = range(last + 1, active)
    before = numbers.get("timers:prepare")
    prepare = range(before + 1, bringup) if before is not None else range(0)
    return _Limits(bringup, teardown, dynamic, prepare)


def parse_table(source: Source) -> KernelTable:
    """The text of a `.table` file. Raises InputError HP402-HP409."""
    words: dict[str, str] = {}
    ranges: dict[str, tuple[int, ...]] = {}
    rows: list[HotplugState] = []
    startups: dict[int, frozenset[str]] = {}
    teardowns: dict[int, frozenset[str]] = {}
    core: set[int] = set()
    for span, line in _lines(source):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        row = _ROW_LINE.fullmatch(line)
        if not row:
            _header(line, span, words, ranges)
            continue
        enumerator = None if row[2] == "-" else row[2]
        state = HotplugState(int(row[1]), row[3], enumerator, span=span)
        _check_order(state, rows, span)
        rows.append(state)
        for word in row[4].split():
            _attribute(word, state.number, span, startups, teardowns, core)
    if not rows:
        raise fail("HP402", f"{source.name} has no hotplug state", Span(source, 0, 0))
    missing = [key for key in _NUMBERS if key not in ranges]
    if missing:
        message = f"{source.name} has no '{missing[0]}' line"
        raise fail("HP409", message, rows[0].span)
    if ranges["bringup"][0] >= ranges["teardown"][0]:
        raise fail("HP407", "'bringup' must be less than 'teardown'", rows[0].span)
    version, arch = words.get("kernel"), words.get("arch")
    name = words.get("table", source.name)
    table = Table(
        name,
        tuple(rows),
        ranges["bringup"][0],
        ranges["teardown"][0],
        _inclusive(ranges["dynamic"]),
        _inclusive(ranges["prepare-dynamic"]),
        _numbers_of(version, name),
    )
    return KernelTable(table, version, arch, startups, teardowns, frozenset(core))


def _inclusive(ends: tuple[int, ...]) -> range:
    return range(ends[0], ends[1] + 1)


def _header(
    line: str, span: Span, words: dict[str, str], ranges: dict[str, tuple[int, ...]]
) -> None:
    match = _HEADER_LINE.fullmatch(line)
    if not match or match[1] not in (*_WORDS, *_NUMBERS):
        raise fail(
            "HP403",
            'expected a header line or a row: number CPUHP_NAME "registered name"',
            span,
            help="header lines are: " + ", ".join((*_WORDS, *_NUMBERS)),
        )
    key, values = match[1], [value for value in (match[2], match[3]) if value]
    if key in words or key in ranges:
        raise fail("HP404", f"'{key}' is given twice", span)
    if key in _WORDS:
        words[key] = " ".join(values)
        return
    if len(values) != _NUMBERS[key] or not all(_is_number(v) for v in values):
        raise fail("HP403", f"'{key}' takes {_NUMBERS[key]} state number(s)", span)
    ranges[key] = tuple(int(value) for value in values)


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) < 5


def _attribute(
    word: str,
    number: int,
    span: Span,
    startups: dict[int, frozenset[str]],
    teardowns: dict[int, frozenset[str]],
    core: set[int],
) -> None:
    kind, equals, names = word.partition("=")
    if word == "core":
        core.add(number)
    elif equals and names and kind in ("startup", "teardown"):
        functions = frozenset(names.split("|"))
        (startups if kind == "startup" else teardowns)[number] = functions
    else:
        raise fail(
            "HP403",
            f"unknown attribute '{word}'",
            span,
            help="a row ends with startup=FUNCTION, teardown=FUNCTION or core",
        )


def _lines(source: Source) -> Iterator[tuple[Span, str]]:
    start = 0
    for line in source.text.split("\n"):
        yield Span(source, start, start + len(line)), line
        start += len(line) + 1
