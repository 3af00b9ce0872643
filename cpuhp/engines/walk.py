"""One run of a scenario, as the steps that its actors take.

The run is what a fair scheduler with little imagination would do: whoever can move
takes turns, on three CPUs whose control CPU is number 0. It is an example, to be shown;
nothing is claimed of other runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

from cpuhp.engines.explicit.moves import Compiled, compile_machine
from cpuhp.graph.footprint import is_wait, step_key
from cpuhp.graph.parallel import INVOKES
from cpuhp.language.build import build
from cpuhp.language.compile import Lowered, LoweredProcess
from cpuhp.language.flow import Edge, reachable
from cpuhp.model.expr import reads
from cpuhp.model.sorts import EnumSort
from cpuhp.model.verdict import State
from cpuhp.semantics import Machine, initial_states, instance_of, is_enabled

CPUS = 3
MAX_STEPS = 6000
_WAIT = re.compile(r"\b(wait(?:_for_\w+)?\s*\(.*)")
_ARGUMENT = re.compile(r"invoke_\w+\s*\([^,]*,[^,]*,\s*(\w+)\s*\)")


@dataclass(frozen=True)
class Event:
    """One action of the run. `cpu` is None for a process that runs once.

    `changes`: what others can see of it. `awaits`: the variables it was blocked on.
    `row`: the hotplug state that is invoked or passed through. `after`: names of the
    local variables with hotplug states, and their values after the event.
    """

    number: int
    process: LoweredProcess
    cpu: int | None
    edge: Edge
    step: str
    changes: tuple[tuple[str, str, str], ...]  # variable, cell, value after
    awaits: frozenset[str]
    cause: int | None  # event that let a waiting one go on
    row: int | None = None
    direction: str = ""
    section: str = ""
    walked: tuple[tuple[str, int], ...] = field(default=())


@dataclass(frozen=True)
class Run:
    events: tuple[Event, ...]
    overlapping: frozenset[str]  # processes that work on several CPUs at once
    ended: bool  # nobody who owes progress is blocked


def run(lowered: Lowered) -> Run:
    """The run. Deterministic: the same program gives the same run."""
    system, _ = build(lowered, None, reduced=False)
    machine = Machine(system, CPUS, 0)
    compiled = compile_machine(machine)
    edges: list[tuple[LoweredProcess, Edge]] = [
        (process, edge)
        for process in lowered.processes
        for edge in reachable(process.flow.edges, process.entry)
    ]
    assert len(edges) == len(system.actions)
    order = _turns(machine)
    state = next(iter(initial_states(machine)))
    writer: dict[str, int] = {}
    events: list[Event] = []
    states = [state]
    turn = 0
    while len(events) < MAX_STEPS:
        found = _next(compiled, order, state, turn)
        if found is None:
            break
        turn, number, binding, after = found
        process, edge = edges[number]
        cpu = order[turn][1]
        event = _event(
            len(events), machine, process, edge, cpu, state, after, writer, lowered
        )
        if event.awaits:
            blocked = _blocked_until(machine, states, number, binding)
            if blocked is not None:
                event = replace(event, cause=blocked)
        events.append(event)
        states.append(after)
        for variable, _, _ in event.changes:
            writer[variable] = event.number
        state = after
        turn += 1
    return Run(
        tuple(events),
        frozenset(_overlapping(events)),
        _at_rest(machine, lowered, state),
    )


Turn = tuple[str, int | None]


def _blocked_until(
    machine: Machine, states: list[State], number: int, binding: tuple[int, ...]
) -> int | None:
    """The event after which the waiting process could go on; None if it never waited.

    `states[k]` is the state before event k.
    """
    action = machine.system.actions[number]
    location = machine.system.process(action.process).location
    where = binding[:1] if action.actor else ()
    cell = machine.cell(location, where)
    assert cell is not None
    here = states[-1][cell]
    for at in range(len(states) - 2, -1, -1):
        if states[at][cell] != here:
            return None
        if not is_enabled(machine, states[at], action, binding):
            return at
    return None


def _turns(machine: Machine) -> list[Turn]:
    """Who moves after whom; the environment does not take part."""
    found: list[Turn] = []
    system = machine.system
    for process in sorted(system.processes, key=lambda p: p.runs.value != "once"):
        if process.environment or process.spontaneous:
            continue
        found += [(process.name, cpu) for cpu in machine.instances(process)]
    return found


def _next(
    compiled: Compiled, order: list[Turn], state: State, turn: int
) -> tuple[int, int, tuple[int, ...], State] | None:
    for step in range(len(order)):
        at = (turn + step) % len(order)
        process, cpu = order[at]
        for number, binding, after in compiled.moves_of(state, process, cpu):
            action = compiled.machine.system.actions[number]
            if instance_of(action, binding) == (process, cpu) and after != state:
                return at, number, binding, after
    return None


def _event(
    number: int,
    machine: Machine,
    process: LoweredProcess,
    edge: Edge,
    cpu: int | None,
    before: State,
    after: State,
    writer: dict[str, int],
    lowered: Lowered,
) -> Event:
    from cpuhp.semantics import cell_name, cell_value

    known = lowered.program.variables
    changes = []
    walked = []
    for cell, (variable, _) in enumerate(machine.cells):
        if before[cell] == after[cell]:
            continue
        if variable.name in known:
            value = cell_value(machine, cell, after[cell])
            changes.append((variable.name, cell_name(machine, cell), value))
        elif variable.sort == lowered.terms.hpstate and variable.owner == process.name:
            walked.append((variable.name, _row(lowered, after[cell])))
    awaits = reads(edge.guard) & known.keys() if is_wait(process, edge) else frozenset()
    for choice in edge.choices if awaits else ():
        awaits |= reads(choice.among) & known.keys()
    text = edge.note.text if edge.note else ""
    # A wait at the head of an atomic block: what the rest of it reads is no condition.
    told = frozenset(re.findall(r"\w+", waited_for(text)))
    awaits = awaits & told or awaits
    causes = [writer[name] for name in sorted(awaits) if name in writer]
    invoked = INVOKES.search(text)
    return Event(
        number,
        process,
        cpu,
        edge,
        step_key(process.name, edge),
        tuple(changes),
        frozenset(awaits),
        max(causes, default=None),
        _invoked_row(machine, lowered, process, edge, text, cpu, before),
        invoked.group(1) if invoked else "",
        invoked.group(2) if invoked else "",
        tuple(walked),
    )


def _row(lowered: Lowered, value: int) -> int:
    """The number in the table of a value of the sort of hotplug states."""
    sort = lowered.terms.hpstate
    assert isinstance(sort, EnumSort)
    state = lowered.program.table.find(sort.values[value])
    return state.number if state else -1


def _invoked_row(
    machine: Machine,
    lowered: Lowered,
    process: LoweredProcess,
    edge: Edge,
    text: str,
    cpu: int | None,
    before: State,
) -> int | None:
    note = edge.note
    if note is None:
        return None
    if note.callback is not None:
        for registered in lowered.program.callbacks:
            if registered.callback.name == note.callback:
                return registered.state.number
    match = _ARGUMENT.search(text)
    if match is None:
        return None
    name = f"{process.name}.{note.places[-1]}.{match.group(1)}"
    if name not in machine.offsets:
        return None
    cell = machine.cell(name, () if cpu is None else (cpu,))
    return None if cell is None else _row(lowered, before[cell])


def waited_for(text: str) -> str:
    """The wait in the text of a step, without what is joined with it."""
    match = _WAIT.search(text)
    if match is None:
        return text
    depth = 0
    found = match.group(1)
    for at, char in enumerate(found):
        depth += (char == "(") - (char == ")")
        if char == ")" and depth == 0:
            return found[: at + 1]
    return found


def _overlapping(events: list[Event]) -> Iterator[str]:
    """Processes whose visible work on one CPU lies between that on another."""
    spans: dict[str, dict[int, list[int]]] = {}
    for event in events:
        if event.cpu is not None and (event.changes or event.row is not None):
            spans.setdefault(event.process.name, {}).setdefault(event.cpu, []).append(
                event.number
            )
    for name, by_cpu in spans.items():
        ranges = sorted((found[0], found[-1]) for found in by_cpu.values())
        if any(a[1] > b[0] for a, b in pairwise(ranges)):
            yield name


def _at_rest(machine: Machine, lowered: Lowered, state: State) -> bool:
    from cpuhp.engines.explicit.space import at_rest
    from cpuhp.semantics import holds

    return holds(machine, at_rest(machine.system), state)
