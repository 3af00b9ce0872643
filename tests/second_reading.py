"""What programs mean, written a second time, by nothing but docs/language.md.

It shares no line with the tool. So an error in how the tool reads, joins, folds or leaves
out steps shows, even where all its engines are given the same wrong system.

A state is a dict: numbers and bools by name, per-CPU variables as tuples. CPUs are
numbered from 0, which is the control CPU; `none` is -1. `place` is the position of the
control CPU in the order of ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

NONE = -1
State = dict[str, object]


@dataclass(frozen=True)
class Value:
    """A term: its text, and its value in a state."""

    text: str
    of: Callable

    def __call__(self, state):
        return self.of(state)


@dataclass(frozen=True)
class Do:
    """One step: all states that it can lead to, none if it has to wait."""

    of: Callable


@dataclass(frozen=True)
class Branch:
    """One step that decides how it goes on: all ways, each a row of nodes."""

    ways: Callable


@dataclass(frozen=True)
class For:
    """`for (name in hit : test) body`, where these CPUs have been visited."""

    name: str
    test: Callable
    body: tuple
    visited: frozenset = frozenset()


@dataclass(frozen=True)
class While:
    """`while (test) body`; each test is a step."""

    test: Callable
    body: tuple


@dataclass(frozen=True)
class Statement:
    text: str
    nodes: tuple


@dataclass(frozen=True)
class Thread:
    """What a process has still to do, and its local variables.

    A handler of interrupts has a body, which it begins any number of times, `when` that
    holds and its CPU does not mask interrupts; the CPU does nothing else meanwhile.
    """

    todo: tuple
    own: State = field(hash=False)
    cpu: int = 0
    body: tuple = ()
    when: Callable | None = None

    @property
    def key(self):
        return self.todo, frozenset(self.own.items())


def in_order(state: State, cpus: Iterable[int]) -> list[int]:
    """CPUs by their ids: the control CPU has its place among the others."""
    return sorted(cpus, key=lambda c: c - 1 if c else state["place"] - 0.5)


def held(value: int, most: int) -> int:
    return max(0, min(most, value))


def looked_up(values, cpu, default):
    """Reading through none gives the first value of the type."""
    return default if cpu == NONE else values[cpu]


def changed(values, cpu, value):
    """Writing through none does nothing."""
    if cpu == NONE:
        return values
    return (*values[:cpu], value, *values[cpu + 1 :])


def ways_on(todo: tuple, state: State) -> Iterator[tuple[tuple, State]]:
    """All that the first of these nodes can do: what is left then, and the state."""
    node, rest = todo[0], todo[1:]
    match node:
        case Do():
            for after in node.of(state):
                yield rest, after
        case Branch():
            for way in node.ways(state):
                yield (*way, *rest), state
        case While(test, body):
            yield (*body, *todo) if test(state) else rest, state
        case For(name, test, body, visited):
            found = [c for c in range(state["cpus"]) if state["hit"][c]]
            found = [c for c in found if c not in visited and test(state | {name: c})]
            if not found:
                yield rest, state
            else:
                cpu = in_order(state, found)[0]
                again = For(name, test, body, visited | {cpu})
                yield (*body, again, *rest), state | {name: cpu}


def steps(threads: tuple[Thread, ...], at: int, shared: State):
    """What one process can do: what is left for it then, and the state."""
    thread = threads[at]
    running = [t.cpu for t in threads if t.when and t.todo and t is not thread]
    if thread.cpu in running:
        return
    state = shared | thread.own
    if thread.todo:
        yield from ways_on(thread.todo, state)
    elif thread.when and not shared["irqs_off"][thread.cpu] and thread.when(state):
        yield thread.body, state


def run(nodes: tuple, state: State) -> list[State]:
    """All states at the end of a run of these nodes alone; as one step, `atomic`."""
    done, stack = [], [(nodes, state)]
    while stack:
        todo, here = stack.pop()
        if not todo:
            done.append(here)
        else:
            stack += ways_on(todo, here)
    return done


@dataclass(frozen=True)
class Reached:
    """A state of the machine. `ended` tells of each process; `quiet`: no way on."""

    shared: State
    ended: tuple[bool, ...]
    quiet: bool

    @property
    def stuck(self) -> bool:
        return self.quiet and not all(self.ended)


class TooManyError(Exception):
    """More states than anybody waits for."""


def reachable(
    firsts: Iterable[State], threads: tuple[Thread, ...], most: int
) -> list[Reached]:
    """All states that interleavings of these processes lead to, if not too many."""
    found, seen, stack = [], set(), []

    def visit(shared, threads):
        key = tuple(shared.values()), tuple([thread.key for thread in threads])
        if key not in seen:
            if len(seen) == most:
                raise TooManyError
            seen.add(key)
            stack.append((shared, threads))

    for first in firsts:
        visit(first, threads)
    while stack:
        shared, now = stack.pop()
        quiet = True
        for at, thread in enumerate(now):
            for todo, after in steps(now, at, shared):
                quiet = False
                own = {k: v for k, v in after.items() if k not in shared}
                if not todo:
                    own = {k: v for k, v in own.items() if k == "cpu"}
                moved = replace(thread, todo=todo, own=own)
                visit({k: after[k] for k in shared}, (*now[:at], moved, *now[at + 1 :]))
        ended = tuple(not thread.todo for thread in now)
        found.append(Reached(shared, ended, quiet))
    return found
