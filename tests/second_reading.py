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
    rests: bool = False  # a service may stay here for ever
    use: object = None  # of a lock: see reading_orders.py


@dataclass(frozen=True)
class Branch:
    """One step that decides how it goes on: all ways, each a row of nodes."""

    ways: Callable


@dataclass(frozen=True)
class For:
    """`for (name in among : test) body`, where these elements have been visited."""

    name: str
    among: Callable  # all elements of the set, lowest id first
    test: Callable
    body: tuple
    visited: frozenset = frozenset()


@dataclass(frozen=True)
class While:
    """`while (test) body`; each test is a step."""

    test: Callable
    body: tuple


@dataclass(frozen=True)
class Forever:
    """`for (;;) body`; the loop itself takes no step."""

    body: tuple


@dataclass(frozen=True)
class Jump:
    """`break` out of the innermost loop, or `continue` with it."""

    leaves: bool


@dataclass(frozen=True)
class Return:
    """`return`, out of the body that ends with this `End`."""

    of: Callable
    end: End


@dataclass(frozen=True)
class End:
    """Where a body ends, which takes no step; its local variables are forgotten."""

    body: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Atomic:
    body: tuple


@dataclass(frozen=True)
class Over:
    """Where an atomic block ends."""

    block: Atomic


@dataclass(frozen=True)
class Assert:
    """Who fails it stops there, or, with `warns`, goes on with the next step."""

    test: Callable
    warns: bool


@dataclass(frozen=True)
class Failed:
    """At a failed assertion."""

    goes_on: bool


@dataclass(frozen=True)
class At:
    """A label above a node."""

    label: str
    node: object


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
    name: str = "p"
    kind: str = "process"

    @property
    def key(self):
        return self.todo, frozenset(self.own.items())

    @property
    def owes(self) -> bool:
        """Does it owe progress?"""
        if self.when:
            return bool(self.todo)
        return self.kind != "environment"

    @property
    def rests(self) -> bool:
        if not self.todo:
            return True
        head = _unlabelled(self.todo[0])
        if isinstance(head, Atomic):  # a wait in it makes the whole block wait
            return any(getattr(_unlabelled(n), "rests", False) for n in head.body)
        return isinstance(head, Do) and head.rests

    @property
    def place(self):
        """Where it is: label, whether at its end, whether an assertion has failed."""
        head = self.todo[0] if self.todo else None
        label = head.label if isinstance(head, At) else None
        return label, not self.todo, isinstance(head, Failed)


def _unlabelled(node):
    return node.node if isinstance(node, At) else node


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
    if hasattr(values, "changed"):  # it notes that it is
        return values.changed(cpu, value)
    return (*values[:cpu], value, *values[cpu + 1 :])


def named(state, name, value):
    """The state in which a name stands for an element of a set."""
    if hasattr(state, "named"):
        return state.named(name, value)
    return state | {name: value}


def without(state, *gone):
    """The state without some local variables."""
    if hasattr(state, "without"):
        return state.without(gone)
    return {k: v for k, v in state.items() if k not in gone}


def settled(todo: tuple, state: State) -> tuple[tuple, State]:
    """The same after all that takes no step: ends of bodies, the head of `for (;;)`."""
    while todo:
        match todo[0]:
            case End(_, names):
                todo = todo[1:]
                state = without(state, *names)
            case Forever(body):
                todo = (*body, *todo)
            case _:
                break
    return todo, state


def ways_on(todo: tuple, state: State) -> Iterator[tuple[tuple, State]]:
    """All that the first of these nodes can do: what is left then, and the state."""
    for left, after in _ways_on(todo, state):
        yield settled(left, after)


def _ways_on(todo: tuple, state: State) -> Iterator[tuple[tuple, State]]:
    node, rest = _unlabelled(todo[0]), todo[1:]
    match node:
        case Do():
            for after in node.of(state) or ([None] if node.use else []):
                booked = node.use.booked(state, after) if node.use else after
                if booked is not None:
                    yield rest, booked
        case Branch():
            for way in node.ways(state):
                yield (*way, *rest), state | {}
        case While(test, body):
            yield (*body, *todo) if test(state) else rest, state
        case For(name, among, test, body, visited):
            found = [c for c in among(state) if test(named(state, name, c))]
            found = [c for c in found if c not in visited]
            if not found:
                yield rest, without(state, name)
            else:
                again = replace(node, visited=visited | {found[0]})
                if isinstance(todo[0], At):
                    again = replace(todo[0], node=again)
                yield (*body, again, *rest), state | {name: found[0]}
        case Jump(leaves):
            loop = next(i for i, n in enumerate(rest) if _is_loop(n))
            yield rest[loop + leaves :], state
        case Return(of, end):
            (after,) = of(state)
            yield rest[rest.index(end) :], after
        case Assert(test, warns):
            yield rest if test(state) else (Failed(warns), *rest), state
        case Failed(goes_on):
            if goes_on:
                yield rest, state
        case Atomic(body):
            yield from _at_once((*body, Over(node), *rest), state, Over(node))


def _is_loop(node) -> bool:
    return isinstance(_unlabelled(node), While | For | Forever)


def _at_once(todo: tuple, state: State, over: Over):
    """All ends of an atomic block: behind it, out of it, or at a failed assertion."""
    stack = [(todo, state)]
    while stack:
        left, here = stack.pop()
        left, here = settled(left, here)
        if left and left[0] == over:
            yield left[1:], here
        elif left and isinstance(left[0], Failed):
            yield (Failed(False),), here
        elif over not in left:
            yield left, here
        else:
            stack += ways_on(left, here)


def steps(threads: tuple[Thread, ...], at: int, shared: State):
    """What one process can do: what is left for it then, and the state."""
    thread = threads[at]
    running = [t.cpu for t in threads if t.when and t.todo and t is not thread]
    if thread.cpu in running and thread.kind != "environment":
        return
    state = shared | thread.own
    if thread.todo:
        yield from ways_on(thread.todo, state)
    elif thread.when and not shared["irqs_off"][thread.cpu] and thread.when(state):
        yield settled(thread.body, state)


@dataclass(frozen=True)
class Reached:
    """A state of the machine, and where its processes are.

    `after` are the steps: who takes it, and the number of the state that it leads to.
    """

    shared: State
    threads: tuple[Thread, ...]
    after: tuple[tuple[int, int], ...]

    @property
    def quiet(self) -> bool:
        return not any(self.threads[who].owes for who, _ in self.after)

    @property
    def stuck(self) -> bool:
        return self.quiet and any(t.owes and not t.rests for t in self.threads)

    @property
    def bug(self) -> bool:
        return any(thread.place[2] for thread in self.threads)

    @property
    def told(self) -> State:
        """What a claim can look at."""
        at = {(t.name, t.cpu): t.place for t in self.threads}
        return self.shared | {"at": at, "bug": self.bug}

    def can_move(self, who: int) -> bool:
        return any(mover == who for mover, _ in self.after)


class NestedError(Exception):
    """Somebody reads what he reads already, which is no program."""


class TooManyError(Exception):
    """More states than anybody waits for."""


def reachable(
    firsts: Iterable[State], threads: tuple[Thread, ...], most: int
) -> list[Reached]:
    """All states that interleavings of these processes lead to, if not too many."""
    numbers, found, waiting = {}, [], []

    def visit(shared, threads):
        key = tuple(shared.values()), tuple([thread.key for thread in threads])
        if key not in numbers:
            if len(numbers) == most:
                raise TooManyError
            numbers[key] = len(numbers)
            waiting.append((shared, threads))
        return numbers[key]

    for first in firsts:
        visit(first, tuple(_begun(thread, first) for thread in threads))
    while len(found) < len(waiting):
        shared, now = waiting[len(found)]
        after = []
        for at, thread in enumerate(now):
            for todo, state in steps(now, at, shared):
                own = {k: v for k, v in state.items() if k not in shared}
                if not todo:
                    own = {k: v for k, v in own.items() if k in ("cpu", "me")}
                moved = replace(thread, todo=todo, own=own)
                kept = {k: state[k] for k in shared}
                after.append((at, visit(kept, (*now[:at], moved, *now[at + 1 :]))))
        found.append(Reached(shared, now, tuple(after)))
    return found


def _begun(thread: Thread, first: State) -> Thread:
    todo, _ = settled(thread.todo, first)
    return replace(thread, todo=todo)


# -- runs that go on for ever ----------------------------------------------------


def goes_on(found: list[Reached]) -> bool:
    """Is there a fair run without end that is not an environment's alone?

    One of an environment counts where somebody waits meanwhile.
    """
    for part, movers in _fair_parts(found, range(len(found))):
        threads = found[min(part)].threads
        kinds = {threads[who].kind for who in movers}
        if kinds != {"environment"} or any(t.owes and not t.rests for t in threads):
            return True
    return False


def _fair_parts(
    found: list[Reached], within: Iterable[int]
) -> Iterator[tuple[set[int], set[int]]]:
    """Where a fair run may stay for ever and move, within these states, and who moves."""
    import networkx as nx

    kept = set(within)
    graph = nx.DiGraph()
    graph.add_nodes_from(kept)
    for one in kept:
        graph.add_edges_from((one, to) for _, to in found[one].after if to in kept)
    for part in nx.strongly_connected_components(graph):
        movers = {w for n in part for w, to in found[n].after if to in part}
        everybody = range(len(found[next(iter(part))].threads))
        if movers and all(
            who in movers
            or any(
                not (found[n].threads[who].owes and found[n].can_move(who))
                for n in part
            )
            for who in everybody
        ):
            yield part, movers


def is_missed(found: list[Reached], first: Callable, then: Callable) -> bool:
    """Is there a fair run with a `first` state that no `then` state is or follows?"""
    open_ = {n for n, one in enumerate(found) if not then(one.told)}
    reached = {n for n in open_ if first(found[n].told)}
    stack = list(reached)
    while stack:
        for _, to in found[stack.pop()].after:
            if to in open_ and to not in reached:
                reached.add(to)
                stack.append(to)
    return any(found[n].quiet for n in reached) or any(_fair_parts(found, reached))
