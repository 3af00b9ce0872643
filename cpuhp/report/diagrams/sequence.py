"""The hotplug sequence of a scenario or of a table, as items in lanes and phases."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from cpuhp.engines.walk import Event, Run, waited_for
from cpuhp.graph.footprint import Footprints
from cpuhp.language.compile import Lowered
from cpuhp.model.system import Runs
from cpuhp.model.table import HotplugState, Section, Table

_ATOMIC = re.compile(r"^atomic \{\s*(.*?)\s*\}?$")
LANES = {
    "control": "control CPU",
    "cpuhp": "hotplug thread cpuhp/N",
    "stopper": "stopper migration/N",
    "idle": "idle task swapper/N",
    "start_secondary": "new CPU N, before its idle loop",
}
DOMINANT = 0.7  # part of a run that makes one phase worth to be split


@dataclass
class Item:
    """A box of the chart. `kind`: call, step, wait, barrier or fold."""

    kind: str
    lane: int
    band: int
    title: str
    lines: list[str] = field(default_factory=list)
    tip: list[str] = field(default_factory=list)
    file: str | None = None
    causes: list[tuple[int, str]] = field(default_factory=list)  # item, variables
    key: str = ""
    locks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Lane:
    title: str
    remark: str


@dataclass(frozen=True)
class Band:
    title: str
    remark: str


@dataclass(frozen=True)
class Sequence:
    """A chart as data; `remarks` stand under the title."""

    title: str
    remarks: tuple[str, ...]
    lanes: tuple[Lane, ...]
    bands: tuple[Band, ...]
    items: tuple[Item, ...]
    ending: str | None = None


def of_run(lowered: Lowered, found: Footprints, run: Run, full: bool) -> Sequence:
    """The sequence that a run of the scenario shows, of its first hotplugged CPU."""
    program = lowered.program
    mine = [e for e in run.events if e.cpu in (None, 1)]
    shown = [e for e in mine if _is_visible(e)]
    processes = [p for p in lowered.processes if any(e.process is p for e in shown)]
    processes.sort(key=lambda p: (p.runs is not Runs.ONCE, _first(p.name, shown)))
    lanes = tuple(
        Lane(
            LANES.get(p.name, f"{p.kind} {p.name}"),
            "" if p.runs is Runs.ONCE
            else "all such CPUs at the same time" if p.name in run.overlapping
            else "one CPU after the other",
        )
        for p in processes
    )  # fmt: skip
    bands, band_of = _bands(lowered, [e for e in run.events if e.cpu is None])
    work = _Items(found, program.table, full, {})
    for lane, process in enumerate(processes):
        for event in (e for e in mine if e.process is process):
            work.add(lane, band_of(event.number), event)
        work.end(lane)
    items = work.result(run)
    used = sorted({item.band for item in items})
    number = {band: at for at, band in enumerate(used)}
    items = [replace(item, band=number[item.band]) for item in items]
    rows = {c.state.number for c in program.callbacks}
    rows |= {state.number for state in program.landmarks}
    modelled = sum(state.number in rows for state in program.table.states)
    name = program.scenario.shown_name
    return Sequence(
        name,
        (
            f"One run on 3 CPUs, drawn for one of the hotplugged ones; hotplug table "
            f"{table_name(program.table)}: {modelled} of {len(program.table.states)} steps "
            "modelled.",
        ),
        lanes,
        tuple(bands[band] for band in used),
        tuple(items),
        None if run.ended else "The run ends here: nobody who should can move.",
    )


def _is_visible(event: Event) -> bool:
    return bool(event.changes or event.awaits or event.row is not None)


def _first(name: str, events: list[Event]) -> int:
    return next(e.number for e in events if e.process.name == name)


# -- phases --------------------------------------------------------------------


def _bands(
    lowered: Lowered, control: list[Event]
) -> tuple[list[Band], Callable[[int], int]]:
    """Phases: the calls of the control task, split where one is nearly everything."""
    total = control[-1].number + 1 if control else 1
    segments = _split(control, 1, total)
    bands: list[Band] = []
    starts: list[int] = []
    for first, name, call in segments:
        function = lowered.program.functions.get(name)
        doc = " ".join(function.doc.split()) if function else ""
        doc = re.sub(r"^\w+\(\)[:.]?\s*", "", doc).replace("`", "")
        doc = re.split(r"(?<=[.:;])\s", doc)[0].rstrip(":;")
        band = Band(call or (f"{name}()" if function else name), doc)
        if bands and bands[-1].title == band.title:  # a loop: the next CPU's turn
            continue
        bands.append(band)
        starts.append(first)
    if not bands:
        bands, starts = [Band("", "")], [0]

    def band_of(number: int) -> int:
        return max((i for i, start in enumerate(starts) if start <= number), default=0)

    return bands, band_of


def _split(events: list[Event], depth: int, total: int) -> list[tuple[int, str, str]]:
    """Segments: number of the first event, function, the call as it is written."""
    groups: list[tuple[str, list[Event]]] = []
    closed = False
    for event in events:
        places = event.edge.note.places if event.edge.note else ()
        name = places[depth] if len(places) > depth else ""
        if not groups or closed or (name and groups[-1][0] not in (name, "")):
            groups.append((name, []))
        elif name and groups[-1][0] == "":
            groups[-1] = (name, groups[-1][1])
        groups[-1][1].append(event)
        point = event.process.flow.names[event.edge.source]
        closed = len(places) == depth + 1 and point == f"{name}:end"
    found: list[tuple[int, str, str]] = []
    for at, (name, inside) in enumerate(groups):
        after = groups[at + 1][1][0].number if at + 1 < len(groups) else total
        if (after - inside[0].number) / total >= DOMINANT and name:
            deeper = _split(inside, depth + 1, total)
            if len({s for _, s, _ in deeper if s}) > 1:
                found += [
                    (first, inner or name, call if inner else f"{name}()")
                    for first, inner, call in deeper
                ]
                continue
        last = inside[-1]
        ended = last.process.flow.names[last.edge.source] == f"{name}:end"
        text = last.edge.note.text if ended and last.edge.note else ""
        main = inside[0].process.name
        found.append((inside[0].number, name or main, text or f"{name or main}()"))
    return found


# -- items ---------------------------------------------------------------------


@dataclass
class _Walk:
    """Rows of the table that a lane is passing, and the items of the modelled ones."""

    band: int
    rows: list[int] = field(default_factory=list)
    direction: str = "teardown"
    section: str = ""
    items: dict[int, Item] = field(default_factory=dict)
    after: int = -1  # the row before the first one of a walk upwards
    waits: dict[int, list[Item]] = field(default_factory=dict)


@dataclass
class _Items:
    found: Footprints
    table: Table
    full: bool
    of_event: dict[int, Item]
    items: list[Item] = field(default_factory=list)
    walk: _Walk | None = None
    last: Item | None = None
    seen: dict[tuple[int, int, str], Item] = field(default_factory=dict)
    local: dict[str, tuple[int, int]] = field(default_factory=dict)
    folded: dict[int, Item] = field(default_factory=dict)  # by id, the box it is in

    def add(self, lane: int, band: int, event: Event) -> None:
        for name, row in event.walked:
            self.local[name] = (self.local.get(name, (0, 0))[1], row)
        if event.row is not None and event.row >= 0:
            self._pass(lane, band, event)
            return
        if self.walk is not None and self._walks_on(event):
            return
        self._close(lane)
        if not event.changes and not event.awaits:
            return
        seen = (lane, band, _written(event))
        if seen in self.seen:  # a loop comes round again
            self.of_event[event.number] = self.seen[seen]
            return
        locks = self.found.locks.keys()
        if event.awaits and not event.awaits & locks:
            item = self.seen[seen] = Item(
                "wait", lane, band, _waits_for(event), key=_key(event)
            )
            item.file = _file(event)
            item.tip = _tip(event)
            self._append(item, event)
            self.last = None
            return
        name = event.step.split("/")[-1]
        last = self.last
        if last is None or last.key != event.step or last.band != band:
            last = Item("step", lane, band, f"{name}()", key=event.step)
            if name == event.process.name:
                last.title = _headline(event)
            last.file = _file(event)
            self.last = last
            self._append(last, event)
        self.of_event[event.number] = self.seen[seen] = last
        line = _headline(event)
        if line not in last.lines and line != last.title:
            last.lines.append(line)
        last.tip += [t for t in _tip(event) if t not in last.tip]

    def _walks_on(self, event: Event) -> bool:
        """Is this but the going from one row to the next?"""
        walk = self.walk
        assert walk is not None
        moved = [row for _, row in event.walked if row >= 0]
        onward = all(
            (row > walk.rows[-1]) == (walk.direction == "startup")
            or row == walk.rows[-1]
            for row in moved
        )
        if event.awaits or not onward or (event.changes and not moved):
            return False
        walk.rows += moved[-1:]
        return True

    def end(self, lane: int) -> None:
        self._close(lane)
        self.last = None

    def _append(self, item: Item, event: Event) -> None:
        self.items.append(item)
        self.of_event[event.number] = item

    def _pass(self, lane: int, band: int, event: Event) -> None:
        assert event.row is not None
        if self.walk is None or self.walk.band != band:
            self._close(lane)
            self.walk = _Walk(band)
            if event.direction:
                self.walk.direction = event.direction
            elif event.edge.note and event.edge.note.callback:
                step = self.found.steps[event.edge.note.callback]
                assert step.callback is not None
                self.walk.direction = step.callback.callback.direction
                self.walk.section = step.callback.section.value
            came = [old for old, now in self.local.values() if now == event.row]
            if self.walk.direction == "startup" and came and min(came) < event.row:
                self.walk.after = min(came)
            self.last = None
        walk = self.walk
        walk.rows.append(event.row)
        if event.direction:
            walk.direction, walk.section = event.direction, event.section
        note = event.edge.note
        if note is not None and note.callback is not None:
            item = walk.items.get(event.row)
            if item is None:
                item = self._call(lane, band, note.callback, event)
                walk.items[event.row] = item
            item.locks += [
                v for v, _, _ in event.changes
                if v in self.found.locks and v not in item.locks
            ]  # fmt: skip
            item.lines[1:] = [f"under {', '.join(item.locks)}"] if item.locks else []
            item.tip += [t for t in _tip(event) if t not in item.tip]
            self.of_event[event.number] = item
            if event.awaits and not event.awaits & self.found.locks.keys():
                self._wait_inside(lane, band, event)

    def _wait_inside(self, lane: int, band: int, event: Event) -> None:
        assert self.walk is not None and event.row is not None
        seen = (lane, band, _written(event))
        item = self.seen.get(seen)
        if item is None:
            item = Item("wait", lane, band, _waits_for(event), key=_key(event))
            item.tip, item.file = _tip(event), _file(event)
            self.seen[seen] = item
            self.walk.waits.setdefault(event.row, []).append(item)
        self.of_event[event.number] = item

    def _call(self, lane: int, band: int, callback: str, event: Event) -> Item:
        step = self.found.steps[callback]
        assert step.callback is not None
        state = step.callback.state
        shown = [f"{state.number} {state.label}"]
        item = Item("call", lane, band, f"{callback}()", shown)
        item.key = callback
        item.file = step.callback.source
        doc = " ".join(step.callback.callback.doc.split())
        item.tip = [t for t in (f"{callback}()", doc, step.callback.source) if t]
        return item

    def _close(self, lane: int) -> None:
        """Write down the rows that were walked, those in between among them."""
        walk, self.walk = self.walk, None
        if walk is None:
            return
        low, high = min(walk.rows), max(walk.rows)
        down = walk.direction == "teardown"
        if not down and walk.after >= 0:
            low = walk.after + 1
        section = Section(walk.section) if walk.section else None
        rows = [
            s for s in self.table.states
            if low <= s.number <= high
            and (section is None or self.table.section(s.number) is section
                 or s.number in walk.items)
            and not (down and s.number == low and s.number not in walk.items)
        ]  # fmt: skip
        rows.sort(key=lambda s: s.number, reverse=down)
        folded: list[HotplugState] = []
        for state in rows:
            item = walk.items.get(state.number)
            if item is None or not (self.full or self.found.crosses(item.key)):
                folded.append(state)
                continue
            self._fold(lane, walk, folded)
            folded = []
            self.items.append(item)
            self.items += walk.waits.get(state.number, [])
        self._fold(lane, walk, folded)

    def _fold(self, lane: int, walk: _Walk, rows: list[HotplugState]) -> None:
        if not rows:
            return
        if self.full:
            for state in rows:
                item = walk.items.get(state.number) or unmodelled(
                    lane, walk.band, state
                )
                self.items.append(item)
            return
        local = sum(state.number in walk.items for state in rows)
        box = fold(lane, walk.band, rows, local)
        self.items.append(box)
        for state in rows:
            if state.number in walk.items:
                self.folded[id(walk.items[state.number])] = box

    def result(self, run: Run) -> list[Item]:
        """All items in order, repetitions dropped, with the arrows into waits."""
        kept: list[Item] = []
        first: dict[tuple[object, ...], Item] = {}
        place: dict[int, int] = {}
        for item in self.items:
            same = (item.lane, item.band, item.kind, item.title, tuple(item.lines))
            if same in first:
                place[id(item)] = place[id(first[same])]
                continue
            first[same] = item
            place[id(item)] = len(kept)
            kept.append(item)
        met: set[int] = set()
        for event in run.events:
            item_ = self.of_event.get(event.number)
            if item_ is None or id(item_) in met:
                continue  # only the first time round
            met.add(id(item_))
            if event.cause is None or item_.kind not in ("wait", "barrier"):
                continue
            if not any(item_ is k for k in kept):
                continue
            woke = run.events[event.cause]
            if woke.process is event.process and woke.cpu != event.cpu:
                item_.kind = "barrier"
                continue
            cause = self._shown(woke, run)
            if cause is None or cause.lane == item_.lane:
                continue
            names = sorted({v for v, _, _ in woke.changes} & event.awaits)
            at = place.get(id(self.folded.get(id(cause), cause)), -1)
            if at < 0:
                continue
            if all(at != known for known, _ in item_.causes):
                item_.causes.append((at, ", ".join(names)))
        return kept

    def _shown(self, event: Event, run: Run) -> Item | None:
        """The item of an event, or of the same event of the CPU that is drawn."""
        item = self.of_event.get(event.number)
        if item is not None:
            return item
        for number, candidate in self.of_event.items():
            other = run.events[number]
            if other.process is event.process and _written(other) == _written(event):
                return candidate
        return None


def fold(lane: int, band: int, rows: list[HotplugState], local: int) -> Item:
    """One box for rows without an effect on other CPUs, as far as that is known."""
    count = len(rows)
    first, last = rows[0], rows[-1]
    if count == 1:
        known = "own CPU only" if local else "no model"
        title = f"{first.number} {first.label}: {known}"
        return Item("fold", lane, band, title, [], [title])
    title = f"{count} steps: {first.number} … {last.number}"
    lines = [f"{first.label} … {last.label}"]
    told = []
    if local:
        told.append(f"{local} on their own CPU only" if local > 1
                    else "1 on its own CPU only")  # fmt: skip
    if count - local:
        told.append(f"{count - local} without a model")
    lines.append(", ".join(told))
    tip = [f"{s.number} {s.label}" for s in rows]
    return Item("fold", lane, band, title, lines, tip)


def unmodelled(lane: int, band: int, state: HotplugState) -> Item:
    """A row of the table of which nothing is known but its name."""
    return Item("fold", lane, band, f"{state.number} {state.label}",
                tip=[f"{state.number} {state.label}: without a model"])  # fmt: skip


def _written(event: Event) -> str:
    """Where the event's statement stands; the branches of one are the same."""
    note = event.edge.note
    if note is None:
        return str(event.edge.source)
    return f"{note.span.source.name}:{note.span.line} {note.text}"


def _key(event: Event) -> str:
    return f"{event.step}:{event.edge.source}"


def _waits_for(event: Event) -> str:
    return waited_for(_text(event))


def _text(event: Event) -> str:
    return event.edge.note.text if event.edge.note else event.process.name


def _headline(event: Event) -> str:
    match = _ATOMIC.match(_text(event))
    return match.group(1).rstrip(";") if match else _text(event)


def _file(event: Event) -> str | None:
    note = event.edge.note
    if note is None:
        return None
    return note.origin.file if note.origin else event.process.declared.source


def _tip(event: Event) -> list[str]:
    note = event.edge.note
    return [f"{note.text}  ({note.span.source.name}:{note.span.line})"] if note else []


def table_name(table: Table) -> str:
    # A recorded table is named after its file; the folder is nobody's business.
    return table.name.replace("\\", "/").split("/")[-1].removesuffix(".states")
