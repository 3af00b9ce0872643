"""The order that an extraction gives, as the model's `Table`."""

from __future__ import annotations

from cpuhp.diagnostics import fail
from cpuhp.kernel.registrations.join import slots
from cpuhp.kernel.registrations.model import NO, YES, Extraction, Row
from cpuhp.model.table import HotplugState, Table


def table_of(extraction: Extraction) -> Table:
    """The hotplug table of the extraction.

    With a recorded states file it is the recorded machine's table. Without one it
    has every fixed state that may be registered, and of the dynamic ones those that
    the configuration certainly has, in the order of their files: their true order
    is known at run time only. `left_out` tells what is missing.
    """
    values = {e.name: e.value for e in extraction.enumerators if e.value is not None}
    try:
        bringup = values["CPUHP_BRINGUP_CPU"]
        teardown = values["CPUHP_TEARDOWN_CPU"]
    except KeyError as error:
        raise fail(
            "HP618",
            f"enum cpuhp_state of this tree has no {error.args[0]}",
            help="the order of callbacks cannot be told without it",
        ) from error
    if extraction.join is not None:
        states = _recorded(extraction)
    else:
        fixed = {state.number: state for state in _fixed(extraction)}
        states = {**_dynamic(extraction, values), **fixed}
    return Table(
        name=f"linux-{extraction.version or 'unknown'}",
        states=tuple(states[number] for number in sorted(states)),
        bringup=bringup,
        teardown=teardown,
        dynamic=slots(values, "CPUHP_AP_ONLINE_DYN"),
        prepare_dynamic=slots(values, "CPUHP_BP_PREPARE_DYN"),
    )


def left_out(extraction: Extraction) -> tuple[Row, ...]:
    """The rows that may be registered but have no place in `table_of`."""
    if extraction.join is not None:
        return ()
    names = {state.name for state in table_of(extraction).states}
    return tuple(
        row
        for row in extraction.rows
        if row.present != NO and (row.name is None or row.name not in names)
    )


def _recorded(extraction: Extraction) -> dict[int, HotplugState]:
    states = {}
    for row in extraction.rows:
        if row.recorded is not None:
            fixed = row.state if row.dynamic is None else None
            states[row.recorded.number] = HotplugState(
                row.recorded.number, row.recorded.name, fixed
            )
    if extraction.join is not None:
        for other in extraction.join.not_in_tree:
            states[other.number] = HotplugState(other.number, other.name)
    return states


def _fixed(extraction: Extraction) -> list[HotplugState]:
    """One state a number; of exclusive registrants the likelier, then the first."""
    chosen: dict[int, Row] = {}
    for row in extraction.rows:
        if row.dynamic or row.number is None or row.present == NO:
            continue
        before = chosen.get(row.number)
        if before is None or (before.present != YES and row.present == YES):
            chosen[row.number] = row
    taken: set[str] = set()
    states = []
    for number, row in sorted(chosen.items()):
        name = row.name if row.name and row.name not in taken else row.state
        taken.add(name or "")
        states.append(HotplugState(number, name or f"state {number}", row.state))
    return states


def _dynamic(extraction: Extraction, values: dict[str, int]) -> dict[int, HotplugState]:
    states: dict[int, HotplugState] = {}
    taken: set[str] = set()
    for dynamic in ("CPUHP_BP_PREPARE_DYN", "CPUHP_AP_ONLINE_DYN"):
        free = iter(slots(values, dynamic))
        for row in extraction.rows:
            certain = row.dynamic == dynamic and row.present == YES
            if not certain or not row.name or row.name in taken:
                continue
            number = next(free, None)
            if number is None:
                break
            taken.add(row.name)
            states[number] = HotplugState(number, row.name)
    return states
