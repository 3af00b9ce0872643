"""What a counterexample shows, read out of a result's JSON: messages and the bad read.

Everything here comes from a file that anybody may have written, so each field is
checked before use.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cpuhp.diagnostics import fail

MAX_STEPS = 2000
MAX_CPUS = 64
MAX_USES = 12  # the latest ones explain; looking at all would take cubic time
_WORD = re.compile(r"[A-Za-z_]\w*")
_WAIT = re.compile(r"\bwait\w*\s*\(")


@dataclass
class Moment:
    """One step. `came`: step that wrote what this one reads, and the variable.

    `bad`: what is wrong with what it read, in words; or, as `fault` tells, with what it
    did.
    """

    number: int
    cpu: int
    process: str
    text: str
    callback: str | None
    hotplug_state: str | None
    source: str | None
    origin: str | None
    changes: dict[str, tuple[str, str]]
    came: list[tuple[int, str]] = field(default_factory=list)
    bad: str | None = None
    fault: str = "bad read"  # or "breaks the claim"
    told: bool = True  # drawn also where what matters less is folded


@dataclass(frozen=True)
class Evidence:
    scenario: str
    check: str
    claim: str
    verdict: str
    cpus: int
    boot: int
    loop: int | None
    moments: tuple[Moment, ...]
    ending: tuple[str, ...]  # values at the end of what the claim speaks of
    reason: str = ""  # what breaks a claim that speaks of no values


def choose(results: Any, check: str | None, name: str) -> Mapping[str, Any]:
    """The result with an interleaving in a results file: that of `check`, or the first.

    Raises InputError HP810 if the file is no results file, HP811 if there is none.
    """
    found = results.get("results") if isinstance(results, dict) else None
    if not isinstance(found, list) or not all(isinstance(r, dict) for r in found):
        raise fail("HP810", f"'{name}' is not a result of cpuhp check",
                   help="cpuhp check SCENARIO --format json > RESULT.json")  # fmt: skip
    drawn = [r for r in found if r.get("trace")]
    if check is not None:
        drawn = [r for r in drawn if r.get("check") == check]
    drawn.sort(key=lambda r: r.get("verdict") != "VIOLATED")
    if not drawn:
        about = f" of check '{check}'" if check else ""
        names = sorted({str(r.get("check")) for r in found if r.get("trace")})
        raise fail("HP811", f"'{name}' has no interleaving{about}",
                   help=f"those with one: {', '.join(names) or 'none'}")  # fmt: skip
    result: Mapping[str, Any] = drawn[0]
    return result


def evidence(result: Mapping[str, Any], name: str) -> Evidence:
    """The steps of a result, with who read from whom. Raises InputError HP810."""
    try:
        moments = tuple(_moments(result))
        machine = result.get("machine") or {}
        found = Evidence(
            str(result["scenario"]), str(result["check"]), str(result.get("claim", "")),
            str(result["verdict"]), int(machine.get("cpus", 1)),
            int(machine.get("boot", 0)), _number(machine.get("loop")), moments, (),
            str(result.get("reason") or ""),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise fail("HP810", f"'{name}' is not a result of cpuhp check ({error!r:.80})",
                   help="cpuhp check SCENARIO --format json > RESULT.json") from None  # fmt: skip
    lanes = max((m.cpu for m in moments), default=0) + 1
    if lanes > MAX_CPUS or found.cpus > MAX_CPUS or len(moments) > MAX_STEPS:
        raise fail("HP810", f"the interleaving in '{name}' is too large to draw",
                   help=f"at most {MAX_CPUS} CPUs and {MAX_STEPS} steps")  # fmt: skip
    initial = {str(k): str(v) for k, v in (machine.get("initial") or {}).items()}
    values = _explain(moments, found.claim, found.verdict, initial)
    words = set(_WORD.findall(found.claim))
    _sort_out(moments, words)
    ending = tuple(
        f"{cell} = {value}"
        for cell, value in sorted(values.items())
        if _base(cell) in words
    )
    return Evidence(
        found.scenario, found.check, found.claim, found.verdict,
        max(found.cpus, lanes), found.boot, found.loop, moments, ending, found.reason,
    )  # fmt: skip


def _number(value: Any) -> int | None:
    return None if value is None else int(value)


def _moments(result: Mapping[str, Any]) -> Iterator[Moment]:
    machine = result.get("machine") or {}
    for number, step in enumerate(result["trace"], 1):
        cpu = step.get("cpu")
        cpu = int(machine.get("boot", 0)) if cpu is None else int(cpu)
        if cpu < 0:
            raise ValueError("a CPU has a number from 0")
        changes = {
            str(cell): (str(pair[0]), str(pair[1]))
            for cell, pair in (step.get("changes") or {}).items()
        }
        yield Moment(
            number, cpu, str(step["process"]), str(step["action"]),
            _text(step, "callback"), _text(step, "hotplug_state"),
            _text(step, "source"), _text(step, "origin"), changes,
        )  # fmt: skip


def _text(step: Mapping[str, Any], key: str) -> str | None:
    return None if step.get(key) is None else str(step[key])


def _base(cell: str) -> str:
    return cell.split("[", 1)[0]


def _explain(
    moments: tuple[Moment, ...], claim: str, verdict: str, initial: dict[str, str]
) -> dict[str, str]:
    """Fill in who read from whom and what was read badly; the values at the end."""
    values = dict(initial)
    writer: dict[str, int] = {}
    for at, moment in enumerate(moments):
        words = set(_WORD.findall(moment.text))
        latest: dict[str, int] = {}
        for cell, number in writer.items():
            other = moments[number]
            same = (other.cpu, other.process) == (moment.cpu, moment.process)
            if _base(cell) in words and not same and _concerns(cell, moment):
                latest[_base(cell)] = max(number, latest.get(_base(cell), -1))
        moment.came = sorted((number, name) for name, number in latest.items())[-2:]
        for cell, (_, after) in moment.changes.items():
            values[cell] = after
            if cell in initial:
                writer[cell] = at
    if verdict == "VIOLATED":
        _stale(moments, set(_WORD.findall(claim)), initial)
    return values


def _concerns(cell: str, moment: Moment) -> bool:
    """Whether the step may mean this cell: `x[cpu]` on CPU1 is `x[CPU1]`."""
    own = f"{_base(cell)}[cpu]" in moment.text.replace(" ", "")
    return not own or cell.endswith(f"[CPU{moment.cpu}]")


def _stale(
    moments: tuple[Moment, ...], claimed: set[str], initial: dict[str, str]
) -> None:
    """Mark the read whose value was no longer true when it was used.

    The use is the last step that wrote what the claim speaks of; the read is the latest
    one of the same process, before it, of a cell that another process changed in between.
    """
    uses = [m for m in moments if any(_base(c) in claimed for c in m.changes)]
    for use in reversed(uses[-MAX_USES:]):
        before = [m for m in moments[: use.number - 1]
                  if (m.cpu, m.process) == (use.cpu, use.process)]  # fmt: skip
        for read in reversed(before):
            told = _overtaken(moments, read, use, initial)
            if told is not None:
                read.bad = told
                return
    for use in reversed(uses):
        if _picked(moments, use, claimed):
            return
    if uses:
        cells = [f"{c} = {new}" for c, (_, new) in uses[-1].changes.items()
                 if _base(c) in claimed]  # fmt: skip
        uses[-1].bad, uses[-1].fault = ", ".join(cells), "breaks the claim"


def _picked(moments: tuple[Moment, ...], use: Moment, claimed: set[str]) -> bool:
    """Mark the choice of a CPU that the claim then finds in the wrong condition."""
    for cell, (_, value) in use.changes.items():
        if _base(cell) not in claimed or not value.startswith("CPU"):
            continue
        later = [
            (m, c, new) for m in moments[use.number :] for c, (_, new) in m.changes.items()
            if _base(c) in claimed and f"[{value}]" in c
        ]  # fmt: skip
        if not later:
            continue
        chosen = [m for m in moments[: use.number - 1]
                  if (m.cpu, m.process) == (use.cpu, use.process)
                  and value in [new for _, new in m.changes.values()]]  # fmt: skip
        read = chosen[-1] if chosen else use
        last, name, new = later[-1]
        read.bad = (
            f"chose {value}, but step {last.number} on CPU{last.cpu} makes {name} "
            f"{new}: it should have been a CPU that stays"
        )
        return True
    return False


def _sort_out(moments: tuple[Moment, ...], claimed: set[str]) -> None:
    """Which steps a reader needs: those about the claim, and what they stand among."""
    kept = {
        m.number for m in moments
        if m.bad or any(_base(c) in claimed for c in m.changes)
    }  # fmt: skip
    kept |= {int(n) for m in moments if m.bad for n in re.findall(r"step (\d+)", m.bad)}
    calls = {(m.cpu, m.callback) for m in moments if m.number in kept and m.callback}
    others = {m.callback for m in moments if m.number in kept and m.callback}
    for m in moments:
        near = (m.cpu, m.callback) in calls or (m.callback in others)
        m.told = m.number in kept or near or m.number == len(moments)


def _beside_waits(text: str) -> str:
    """A statement without its waits: what they wait for need not stay so."""
    start = _WAIT.search(text)
    if start is None:
        return text
    depth = 0
    for at in range(start.end() - 1, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if depth == 0:
            return text[: start.start()] + _beside_waits(text[at + 1 :])
    return text[: start.start()]


def _overtaken(
    moments: tuple[Moment, ...], read: Moment, use: Moment, initial: dict[str, str]
) -> str | None:
    words = set(_WORD.findall(_beside_waits(read.text)))
    chosen = {new for _, new in read.changes.values()}
    found: list[tuple[bool, str]] = []
    for other in moments[read.number : use.number - 1]:
        if (other.cpu, other.process) == (read.cpu, read.process):
            continue
        for cell, (old, new) in other.changes.items():
            if cell not in initial or _base(cell) not in words:
                continue
            if not _concerns(cell, read):
                continue
            told = (
                f"read {cell} = {old}; step {other.number} on CPU{other.cpu} made it "
                f"{new}, so at its use in step {use.number} it should have been {new}"
            )
            about = any(f"[{value}]" in cell for value in chosen)
            found.append((not about, told))
    return min(found, key=lambda item: item[0])[1] if found else None
