"""From a trace of a slice to a run of the whole program.

A slice can do more than the program (graph/slicing.py), and its steps are joined, so a
trace of it is only a hint. Here the whole program is searched, one statement at a time,
for a run that changes the variables that both have in the same way, and ends as the
property says. Only such a run is shown to anybody as a violation.

First the trace is followed step by step: who moves there moves here, until it has done
the same. That is quick, but it finds no run in which others have to move in between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice, tee

from cpuhp.engines.clock import now
from cpuhp.engines.explicit.moves import Compiled, compile_machine
from cpuhp.engines.explicit.races import RaceFinder
from cpuhp.engines.explicit.space import PlainSpace, quiescent_test, stuck_test
from cpuhp.model.expr import not_
from cpuhp.model.sorts import EnumSort
from cpuhp.model.system import (
    Expectation,
    Property,
    Role,
    TransitionSystem,
    Variable,
    accesses,
)
from cpuhp.model.verdict import State, Step, Trace
from cpuhp.semantics import Instance, Machine, initial_states, instance_of, replay

MAX_NODES = 60_000
MAX_INITIAL = 64
FOLLOWED = 10_000  # states to be looked at while the trace is followed
Test = Callable[[State], bool]
Node = tuple[int, State]  # how far the trace was followed, and where that led
Came = dict[Node, tuple[Node, Step | None] | None]


@dataclass(frozen=True)
class _Wanted:
    """What the trace does, seen through the common variables."""

    looks: tuple[State, ...]  # projections, each different from the one before
    movers: tuple[Instance, ...]  # who makes the change from look i to look i + 1
    last: Instance | None
    marks: tuple[_Mark, ...]


@dataclass(frozen=True)
class _Mark:
    """One step of the trace: who takes it, what others see then, and what it changes of
    its process's own data (cell and value, of the whole program).
    """

    mover: Instance
    text: str
    look: State
    own: tuple[tuple[int, int], ...]


def lift(
    whole: TransitionSystem,
    prop: Property,
    reduced: TransitionSystem,
    trace: Trace,
    max_nodes: int = MAX_NODES,
    until: float = float("inf"),
) -> Trace | None:
    """A run of `whole` that does what `trace` does and ends as `prop` says.

    `prop` is told in the terms of `whole`. None if none was found within `max_nodes`
    states or before `until` (a `clock.now()`); that need not mean that there is
    none.
    """
    machine = Machine(whole, trace.cpus, trace.boot)
    small = Machine(reduced, trace.cpus, trace.boot)
    common = _common(machine, small)
    wanted = _wanted(machine, small, trace, [cell for _, cell in common])
    cells = [cell for cell, _ in common]
    compiled = compile_machine(machine)
    ends = ending(compiled, prop)
    begun = (
        state
        for state in initial_states(machine, _at_first(machine, small, trace))
        if tuple(state[c] for c in cells) == wanted.looks[0]
    )
    # There may be many, and as a rule the first one will do.
    first, again = tee(islice(begun, MAX_INITIAL))
    for search, most, starts in (
        (_follow, min(max_nodes, FOLLOWED), first),
        (_search, max_nodes, again),
    ):
        for start in starts:
            found = search(compiled, start, cells, wanted, ends, most, until)
            if found is not None:
                replay(machine, found)
                return found
    return None


def _at_first(whole: Machine, small: Machine, trace: Trace) -> dict[int, int]:
    """What the first state of a run has in common with that of the trace.

    What one process alone uses is told here, too: nothing was done to it yet.
    """
    places = {(v.name, index): cell for cell, (v, index) in enumerate(whole.cells)}
    return {
        places[variable.name, index]: trace.initial[cell]
        for cell, (variable, index) in enumerate(small.cells)
        if (variable.name, index) in places
        and _is_shared_data(variable)
        and whole.cells[places[variable.name, index]][0].sort == variable.sort
    }


def _common(whole: Machine, small: Machine) -> list[tuple[int, int]]:
    """Cells of both machines that mean the same: shared data, of equal sort.

    What one process alone uses is left out: its steps may be fused in the slice, so
    that the slice never shows a value that the whole program goes through. So is what
    more processes write in the whole program than in the slice (a lock, say).
    """
    alone = private_data(small.system)
    everywhere = _writers(whole.system)
    more = {
        name
        for name, writers in _writers(small.system).items()
        if not everywhere.get(name, set()) <= writers
    }
    return [
        (cell, other)
        for cell, other in same_cells(whole, small)
        if _is_shared_data(whole.cells[cell][0])
        and whole.cells[cell][0].name not in alone | more
    ]


def same_cells(whole: Machine, small: Machine) -> list[tuple[int, int]]:
    """Cells of both machines with the same name and index; no program points."""
    places = {(v.name, index): cell for cell, (v, index) in enumerate(whole.cells)}
    return [
        (places[variable.name, index], cell)
        for cell, (variable, index) in enumerate(small.cells)
        if (variable.name, index) in places and variable.role is not Role.LOCATION
    ]


def _writers(system: TransitionSystem) -> dict[str, set[str]]:
    """The processes that write each variable."""
    found: dict[str, set[str]] = {v.name: set() for v in system.variables}
    for action in system.actions:
        for name in action.written:
            found[name].add(action.process)
    return found


def private_data(system: TransitionSystem) -> set[str]:
    """Variables that change and one process alone uses, each CPU's instance its own."""
    written = frozenset[str]().union(*(action.written for action in system.actions))
    users: dict[str, set[str]] = {}
    for action in system.actions:
        for name, indices in accesses(action.guard, action.choices, action.effects):
            own = action.actor is None or indices[:1] == (action.actor,)
            users.setdefault(name, set()).update({action.process, "" if own else name})
    return {name for name in written if len(users[name] - {""}) == 1}


def _is_shared_data(variable: Variable) -> bool:
    if variable.role is Role.LOCATION or variable.owner is not None:
        return False
    return not _is_hotplug_state(variable)


def _is_hotplug_state(variable: Variable) -> bool:
    """Where rows are merged, the slice has fewer of them, and other numbers."""
    return isinstance(variable.sort, EnumSort) and variable.sort.name == "hpstate"


def _wanted(whole: Machine, small: Machine, trace: Trace, cells: list[int]) -> _Wanted:
    look, before = tuple(trace.initial[c] for c in cells), trace.initial
    own = [pair for pair in same_cells(whole, small) if _is_private(small, pair[1])]
    looks, movers, marks = [look], [], []
    last = None
    for step in trace.steps:
        after = tuple(step.state[c] for c in cells)
        last = instance_of(step.action, step.binding)
        changed = tuple(
            (cell, step.state[c]) for cell, c in own if step.state[c] != before[c]
        )
        marks.append(_Mark(last, step.action.text, after, changed))
        if after != look:
            looks.append(after)
            movers.append(last)
        look, before = after, step.state
    return _Wanted(tuple(looks), tuple(movers), last, tuple(marks))


def _is_private(machine: Machine, cell: int) -> bool:
    variable = machine.cells[cell][0]
    return variable.owner is not None and not _is_hotplug_state(variable)


def ending(compiled: Compiled, prop: Property) -> Test:
    """Whether a run that violates (or witnesses) the claim may end in a state."""
    space = PlainSpace(compiled)
    match prop.expectation:
        case Expectation.ALWAYS:
            bad = compiled.predicate(not_(prop.formula))
            return lambda state: bool(bad(state))
        case Expectation.SOMETIMES:
            good = compiled.predicate(prop.formula)
            return lambda state: bool(good(state))
        case Expectation.DEADLOCK_FREE:
            stuck = stuck_test(space)
            return lambda state: stuck(state, bool(compiled.moves(state)))
        case Expectation.FINALLY:
            unmet = compiled.predicate(not_(prop.formula))
            quiet = quiescent_test(space)
            return lambda state: (
                bool(unmet(state)) and quiet(state, bool(compiled.moves(state)))
            )
        case Expectation.RACE_FREE:
            races = RaceFinder(compiled)
            return lambda state: races.race(state) is not None
        case _:
            raise ValueError(f"a trace of {prop.expectation.value} is not lifted")


def _follow(
    compiled: Compiled,
    start: State,
    cells: list[int],
    wanted: _Wanted,
    ends: Test,
    max_nodes: int,
    until: float,
) -> Trace | None:
    """Depth first, step by step of the trace. Others move only where its mover cannot."""
    machine, marks = compiled.machine, wanted.marks
    came: Came = {(0, start): None}
    stack = [(0, start)]
    while stack and len(came) < max_nodes and now() < until:
        node = stack.pop()
        at, state = node
        if at == len(marks):
            if ends(state):
                return trace_to(machine, start, came, node)
            mark, moves = None, list(compiled.moves(state))
        else:
            mark = marks[at]
            moves = list(compiled.moves_of(state, *mark.mover)) or list(
                compiled.moves(state)
            )
        here = tuple(state[c] for c in cells)
        onward: list[Node] = []
        if mark and here == mark.look and _has(state, mark):
            onward = _reached(came, node, (at + 1, state), None)
        later: list[Node] = []
        for number, binding, after in moves:
            look = tuple(after[c] for c in cells)
            if look == here or (mark and look == mark.look):
                step = Step(machine.system.actions[number], binding, after)
                later += _reached(came, node, (at, after), step)
        # Where the mover did what the trace tells of the step, it has done enough.
        link = came[node]
        told = mark and link and link[1] and link[1].action.text == mark.text
        stack += reversed([*onward, *later] if told else [*later, *onward])
    return None


def _has(state: State, mark: _Mark) -> bool:
    return all(state[cell] == value for cell, value in mark.own)


def _reached(came: Came, node: Node, new: Node, step: Step | None) -> list[Node]:
    if new in came:
        return []
    came[new] = (node, step)
    return [new]


def _search(
    compiled: Compiled,
    start: State,
    cells: list[int],
    wanted: _Wanted,
    ends: Test,
    max_nodes: int,
    until: float,
) -> Trace | None:
    """Depth first, the process that the trace moved first, others where it is stuck."""
    machine = compiled.machine
    looks = wanted.looks
    final = len(looks) - 1
    came: Came = {(0, start): None}
    stack = [(0, start)]
    while stack and len(came) < max_nodes and now() < until:
        node = stack.pop()
        at, state = node
        if at == final and ends(state):
            return trace_to(machine, start, came, node)
        hint = wanted.movers[at] if at < final else wanted.last
        later: list[tuple[int, State]] = []
        sooner: list[tuple[int, State]] = []
        for number, binding, after in compiled.moves(state):
            look = tuple(after[c] for c in cells)
            if look == looks[at]:
                reached = (at, after)
            elif at < final and look == looks[at + 1]:
                reached = (at + 1, after)
            else:
                continue
            if reached in came:
                continue
            action = machine.system.actions[number]
            came[reached] = (node, Step(action, binding, after))
            same = instance_of(action, binding) == hint
            (sooner if same else later).append(reached)
        stack += list(reversed(later)) + list(reversed(sooner))
    return None


def trace_to(machine: Machine, start: State, came: Came, node: Node) -> Trace:
    steps: list[Step] = []
    link = came[node]
    while link is not None:
        before, step = link
        if step is not None:
            steps.append(step)
        link = came[before]
    return Trace(machine.cpus, machine.boot, start, tuple(reversed(steps)))
