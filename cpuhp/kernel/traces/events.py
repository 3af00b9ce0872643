"""Trace text to events: what tracefs, `trace-cmd report` and `perf script` print.

A trace is read line by line and never held in memory. Lines that are no event of the
trace system `cpuhp` are passed over; marks of lost events become `Lost`.

    init-1     [000] ..... 0.7: cpuhp_enter: cpu: 0001 target:  85 step:   1 (f)
    cpuhp/1-24 [001] d.... 2.1: cpuhp_exit:  cpu: 0001  state: 150 step: 150 ret: 0

Source of the formats: include/trace/events/cpuhp.h, kernel/trace/trace_output.c.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import BinaryIO, NamedTuple

from cpuhp.diagnostics import InputError, Source, Span, fail

MAX_LINE = 4096
IDLE = frozenset({"<idle>", "swapper"})


class Kind(Enum):
    ENTER = "cpuhp_enter"
    MULTI_ENTER = "cpuhp_multi_enter"
    EXIT = "cpuhp_exit"


class Event(NamedTuple):
    """One trace event.

    `on` is the CPU that ran it and `cpu` the one that goes up or down; both None or -1
    where a format does not say. `level` is `target` of an enter and `state` of an exit.
    `time` is in seconds, or in ticks when the trace clock counts. `irqs_off` is None
    where the format does not tell. `sampled` is an event that perf took.
    """

    line: int
    kind: Kind
    comm: str
    pid: int
    on: int
    irqs_off: bool | None
    time: float
    cpu: int
    level: int
    step: int
    function: str
    ret: int
    sampled: bool = False


class Lost(NamedTuple):
    """The trace says that events are missing here (or a line is damaged).

    A mark that names a CPU stands before the next event of that CPU: the gap begins at
    the one before, maybe far up. `on` is that CPU, -1 where the mark names none.
    """

    line: int
    text: str
    damaged: bool = False
    on: int = -1


class Marker(NamedTuple):
    """Something about the file that is not an event: its end was cut, its buffer ran
    over (`entries` of `written` were kept)."""

    line: int
    text: str


Item = Event | Lost | Marker

_EVENT = re.compile(
    r"(?P<head>.*?)(?P<perf>cpuhp:)?cpuhp_(?P<kind>enter|multi_enter|exit):\s+"
    r"cpu[:=]\s*(?P<cpu>\d{1,6})\s+(?:target|state)[:=]\s*(?P<level>-?\d{1,6})\s+"
    r"(?:step:|idx=)\s*(?P<step>-?\d{1,6})\s+"
    r"(?:\((?P<fn>[^()]*)\)|fun=(?P<raw>\S+)|ret[:=]\s*(?P<ret>-?\d{1,10}))\s*"
)
_HEAD = re.compile(
    r"\s*(?P<comm>.*?)(?:\s*-|\s+)(?P<pid>-?\d+)(?:/-?\d+)?\s+(?:\([-\d ]+\)\s+)?"
    r"(?:\[(?P<on>\d+)\]\s+(?:(?P<flags>[^\s:]{4,8})\s+)?|"
    r"(?P<latency_on>\d+)(?P<latency_flags>[^\s:\d][^\s:]{3,7})\s+)"
    r"(?P<time>\d+(?:\.\d+)?):\s*"
)
_PRINTK_HEAD = re.compile(
    r"(?:<\d+>)?\s*\[\s*(?P<time>\d+\.\d+)\](?:\[\s*(?:T(?P<task>\d+)|C\d+)\])?:?\s*"
)
_LOST = re.compile(
    r"\[LOST \d+ EVENTS\]|EVENTS? (?:DROPPED|LOST)|\bLOST \d+ events|LOST EVENTS"
)
_LOST_ON = re.compile(r"\bCPU[: ]\s*(\d{1,6})\b")
_WRITTEN = re.compile(r"#\s*entries-in-buffer/entries-written:\s*(\d+)/(\d+)")
_KINDS = {
    "enter": Kind.ENTER,
    "multi_enter": Kind.MULTI_ENTER,
    "exit": Kind.EXIT,
}
_ADDRESS = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8,16}")
_LABELS = {f"{kind.value}:": kind for kind in Kind}
_CONTAINERS = {
    b"\x17\x08\x44tracing": "trace.dat of trace-cmd; give what trace-cmd report prints",
    b"PERFILE2": "perf.data of perf; give what perf script prints",
    b"\xfd7zXZ": "xz-compressed; unpack it first",
    b"\x28\xb5\x2f\xfd": "zstd-compressed; unpack it first",
    b"BZh": "bzip2-compressed; unpack it first",
}


@contextmanager
def open_trace(path: str | Path) -> Iterator[io.TextIOBase]:
    """The trace as text, unpacked if it is gzip. Raises InputError HP420, HP421."""
    name = str(path)
    try:
        raw = open(path, "rb")  # noqa: SIM115
        with raw:
            yield _as_text(raw, name)
    except OSError as error:
        reason = error.strerror or str(error)
        raise fail("HP420", f"cannot read {name}: {reason}") from None


def _as_text(raw: BinaryIO, name: str) -> io.TextIOBase:
    start = raw.read(16)
    raw.seek(0)
    for magic, what in _CONTAINERS.items():
        if start.startswith(magic):
            raise fail("HP421", f"{name} is not trace text: it is {what}")
    data: object = gzip.GzipFile(fileobj=raw) if start[:2] == b"\x1f\x8b" else raw
    return io.TextIOWrapper(data, encoding="utf-8", errors="replace")  # type: ignore


def read_trace(path: str | Path) -> Iterator[Item]:
    """The events of a trace file, in its order.

    Raises InputError HP420 to HP423 (unreadable, not text, damaged, no event at all).
    """
    with open_trace(path) as stream:
        yield from parse_trace(stream, str(path))


def quote_lines(path: str | Path, wanted: Iterable[int]) -> dict[int, str]:
    """The text of some lines of a trace, for showing them."""
    left = set(wanted)
    found: dict[int, str] = {}
    with open_trace(path) as stream:
        for number, line in enumerate(_lines(stream), 1):
            if number in left and isinstance(line, str):
                shown = line.strip()[:160]
                found[number] = "".join(c if c.isprintable() else " " for c in shown)
                left.discard(number)
            if not left:
                break
    return found


def parse_trace(stream: io.TextIOBase, name: str) -> Iterator[Item]:
    """The events of a text stream. Raises InputError HP421, HP423."""
    number, events, last_damage = 0, 0, 0
    tasks: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(_lines(stream), 1):
        item: Item | None = None
        if isinstance(line, Marker):
            yield line._replace(line=number)
            break
        if "cpuhp_" in line:
            item = _event(number, line, tasks)
            if item is None and _looks_like_event(line):
                last_damage = number
                item = Lost(number, line.strip()[:120], damaged=True)
        elif "LOST" in line or "DROPPED" in line:
            if _LOST.search(line):
                on = _LOST_ON.search(line)
                text = line.strip()[:120]
                item = Lost(number, text, on=int(on[1]) if on else -1)
        elif line.startswith("#"):
            item = _overrun(number, line)
        elif "\0" in line and not events:
            raise fail("HP421", f"{name} is not text (line {number})")
        if item is not None:
            events += isinstance(item, Event)
            yield item
    if not events:
        raise _no_events(name, number, last_damage)
    if last_damage and last_damage == number:
        yield Marker(number, "the last line is cut")


def _lines(stream: io.TextIOBase) -> Iterator[str | Marker]:
    try:
        yield from iter(lambda: stream.readline(MAX_LINE), "")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        yield Marker(0, f"the compressed file is cut or damaged: {error}")


def _no_events(name: str, lines: int, damaged: int) -> InputError:
    if damaged:
        message = f"{name}: no line could be read as an event of the system cpuhp"
    else:
        message = f"{name} has {lines} lines and no event of the trace system cpuhp"
    return fail(
        "HP423",
        message,
        Span(Source(name, ""), 0, 0) if not lines else None,
        help="record with 'echo 1 > events/cpuhp/enable' in tracefs or "
        "'trace-cmd record -e cpuhp'; reports of tracefs, trace-cmd and perf are read",
    )


class _Head(NamedTuple):
    comm: str
    pid: int
    on: int
    irqs_off: bool | None
    time: float


def _usual(number: int, line: str, tasks: dict[str, tuple[str, int]]) -> Event | None:
    """The common form of tracefs, in a quarter of the time; None if it is not that.

    comm-pid [cpu] flags time: event: cpu: N target: N step: N (function)
    """
    words = line.split()
    kind = _LABELS.get(words[4]) if 12 <= len(words) <= 13 else None
    if kind is None:
        return None
    task = tasks.get(words[0])
    if task is None:
        comm, dash, pid = words[0].rpartition("-")
        if not dash or not comm or not pid.isdecimal():
            return None
        task = tasks[words[0]] = comm, int(pid)
    on, flags, time = words[1], words[2], words[3]
    last = words[11]
    try:
        if kind is Kind.EXIT:
            if len(words) != 13 or last != "ret:" or words[7] != "state:":
                return None
            function, ret = "", int(words[12])
        elif last[0] == "(" and last[-1] == ")" and words[7] == "target:":
            function, ret = last[1:-1], 0
            if len(words) != 12 or not function.isidentifier() or "ffff" in function:
                return None
        else:
            return None
        return Event(
            number,
            kind,
            task[0],
            task[1],
            int(on[1:-1]),
            flags[0] in "dD",
            float(time[:-1]),
            int(words[6]),
            int(words[8]),
            int(words[10]),
            function,
            ret,
        )
    except ValueError:
        return None


def _event(number: int, line: str, tasks: dict[str, tuple[str, int]]) -> Event | None:
    usual = _usual(number, line, tasks)
    if usual is not None:
        return usual
    match = _EVENT.fullmatch(line)
    if match is None or sum(line.count(label) for label in _LABELS) > 1:
        return None
    head, perf, kind, cpu, level, step, function, raw, ret = match.groups()
    function = function or raw
    who = _head(head)
    if who is None or (kind == "exit") is (ret is None):
        return None
    return Event(
        number,
        _KINDS[kind],
        who.comm,
        who.pid,
        who.on,
        who.irqs_off,
        who.time,
        int(cpu),
        int(level),
        int(step),
        _plain(function) if function else "",
        int(ret) if ret else 0,
        perf is not None,
    )


def _head(text: str) -> _Head | None:
    match = _HEAD.fullmatch(text)
    if match:
        comm, pid, on, flags, on_too, flags_too, time = match.groups()
        on, flags = on or on_too, flags or flags_too
        # The first latency flag: d or D hard interrupts off; b is bottom halves only.
        irqs_off = flags[0] in "dD" if flags else None
        return _Head(comm, int(pid), int(on), irqs_off, float(time))
    match = _PRINTK_HEAD.fullmatch(text)
    if match:
        return _Head("", int(match[2] or -1), -1, None, float(match[1]))
    return None


def _plain(function: str) -> str:
    """A function name without offset and module: `f.isra.0+0x0 [mod]` is `f`.

    Empty for an address that the tool could not resolve.
    """
    if _ADDRESS.fullmatch(function):
        return ""
    return function.split(" ", 1)[0].split("+0x", 1)[0].split(".", 1)[0]


def _looks_like_event(line: str) -> bool:
    return any(
        word in line for word in ("cpuhp_enter:", "cpuhp_exit:", "cpuhp_multi_enter:")
    ) and not line.startswith("#")


def _overrun(number: int, line: str) -> Marker | None:
    match = _WRITTEN.match(line)
    if match and match[1] != match[2]:
        return Marker(number, f"the buffer kept {match[1]} of {match[2]} entries")
    return None
