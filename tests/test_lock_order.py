"""The order of locks: random programs, against a plain search that keeps its own books.

The search here takes the program as it is, unreduced and unwatched. It reads off the text
of each statement which lock is meant, remembers for every run who holds what and what
was asked for under what, and looks for a circle in that.
"""

import random
import re
from collections import deque

import networkx as nx
import pytest

from cpuhp.api import loads
from cpuhp.engines.answer import Settings
from cpuhp.graph import cycles, footprint, holding
from cpuhp.graph.cycles import lock_order
from cpuhp.language import watching
from cpuhp.language.build import build
from cpuhp.model.expr import FALSE
from cpuhp.model.verdict import Verdict
from cpuhp.semantics import Machine, enabled, initial_states
from cpuhp.semantics import apply as taken

ASKS = re.compile(
    r"(mutex_lock|raw_spin_lock|raw_spin_lock_irqsave|down_read|down_write|read_lock|"
    r"write_lock|synchronize_srcu)\((\w+(?:\[\w+\])?)\)"
)
GETS = re.compile(r"(mutex_trylock|srcu_read_lock)\((\w+(?:\[\w+\])?)\)")
DROPS = re.compile(
    r"(mutex_unlock|raw_spin_unlock|raw_spin_unlock_irqrestore|up_read|up_write|"
    r"read_unlock|write_unlock|srcu_read_unlock)\((\w+(?:\[\w+\])?)\)"
)
SHARED = {"down_read", "read_lock", "up_read", "read_unlock",
          "srcu_read_lock", "srcu_read_unlock"}  # fmt: skip
SEEDS = range(680, 880)  # 703: readers on a circle, and a writer between them
MANY = 6_000  # states with their books
HEAD = """
scenario random_locks;
mutex a;
raw_spinlock b;
percpu raw_spinlock own;
rwsem sem;
rwlock rw;
srcu_struct srcu;
percpu bool irqs_off;
percpu bool raised;
"""
PAIRS = [
    ("mutex_lock(a);", "mutex_unlock(a);"),
    ("raw_spin_lock(b);", "raw_spin_unlock(b);"),
    ("raw_spin_lock_irqsave(b);", "raw_spin_unlock_irqrestore(b);"),
    ("raw_spin_lock(own[WHO]);", "raw_spin_unlock(own[WHO]);"),
    ("raw_spin_lock(own[boot]);", "raw_spin_unlock(own[boot]);"),
    ("down_read(sem);", "up_read(sem);"),
    ("down_write(sem);", "up_write(sem);"),
    ("read_lock(rw);", "read_unlock(rw);"),
    ("write_lock(rw);", "write_unlock(rw);"),
    ("srcu_read_lock(srcu);", "srcu_read_unlock(srcu);"),
    ("synchronize_srcu(srcu);", ""),
    ("if (mutex_trylock(a)) {", "mutex_unlock(a); }"),
]


READS = [pair for pair in PAIRS if "read_lock" in pair[0] or "down_read" in pair[0]]


def nest(rng, who, depth, around=()):
    """Locks taken one inside the other; who reads one does not read it again."""
    first, last = pair = rng.choice([p for p in PAIRS if p not in around])
    inner = ""
    if depth > 1:
        inner = nest(rng, who, depth - 1, (*around, pair) if pair in READS else around)
    return f"{first} {inner} {last}".replace("WHO", who)


def text_of(seed):
    rng = random.Random(seed)
    lines = [HEAD]
    lines.append(f"process one {{ {nest(rng, 'boot', 2)} {nest(rng, 'boot', 1)} }}")
    lines.append(
        f"process two(cpu) on aps {{ {nest(rng, 'cpu', rng.choice((2, 3)))} }}"
    )
    third = rng.choice(("handler", "process", "none"))
    if third == "handler":
        lines.append("environment device { raised[boot] = true; }")
        lines.append(
            f"interrupt irq(cpu) when (raised[cpu]) {{ raised[cpu] = false; "
            f"{nest(rng, 'cpu', 1)} }}"
        )
    elif third == "process":
        lines.append(f"process three {{ {nest(rng, 'boot', 2)} }}")
    return "\n".join([*lines, "check order { inversion_free; }"])


class Books:
    """Every run, with what its processes hold and the order in which they asked."""

    def __init__(self, whole, text, cpus):
        system, _ = build(whole, None, reduced=False)
        self.machine = Machine(system, cpus, 0)
        self.written = "down_write(sem)" in text

    def has_circle(self):
        machine = self.machine
        starts = [(s, frozenset(), frozenset()) for s in initial_states(machine)]
        seen, queue = set(starts), deque(starts)
        while queue:
            state, holds, order = queue.popleft()
            asked = frozenset(self.asked(state, holds))
            if not asked <= order and self.is_circular(order | asked):
                return True
            order |= asked
            for action, values in enabled(machine, state):
                after = taken(machine, state, action, values)
                node = after, self.after(state, after, action, values, holds), order
                if node not in seen:
                    seen.add(node)
                    queue.append(node)
            if len(seen) > MANY:
                return None
        return False

    def who(self, action, values):
        return action.process, values[0] if action.actor else None

    def cpu(self, who):
        return who[1] if who[1] is not None else self.machine.boot

    def lock(self, name, who):
        return name.replace("[cpu]", f"[{self.cpu(who)}]").replace("[boot]", "[0]")

    def asked(self, state, holds):
        """What is held, and what is about to be asked for under that."""
        machine = self.machine
        for action in machine.system.actions:
            found = ASKS.fullmatch(action.text)
            if not found or (found[1] == "down_write" and "sem" not in action.written):
                continue
            if any(".gp." in name for name in action.written):
                continue  # the snapshot; then it waits
            actors = [(cpu,) for cpu in machine.actor_domain(action)] or [()]
            for values in actors:
                who = self.who(action, values)
                if not self.is_next(state, action, values, who):
                    continue
                for hold in self.held(holds, who):
                    yield hold, (self.lock(found[2], who), found[1] in SHARED)

    def is_next(self, state, action, values, who):
        machine = self.machine
        process = machine.system.process(action.process)
        cell = machine.cell(process.location, values[:1] if action.actor else ())
        sort = machine.system.variable(process.location).sort
        if sort.values[state[cell]] != action.source:
            return False
        return process.kind in ("interrupt", "environment") or not self.interrupted(
            state, self.cpu(who)
        )

    def interrupted(self, state, cpu):
        for process in self.machine.system.processes:
            if process.kind == "interrupt":
                sort = self.machine.system.variable(process.location).sort
                point = state[self.machine.cell(process.location, (cpu,))]
                if sort.values[point] not in process.resting:
                    return True
        return False

    def held(self, holds, who):
        kind = self.machine.system.process(who[0]).kind
        for owner, lock, shared in holds:
            other = self.machine.system.process(owner[0]).kind
            below = kind == "interrupt" and other not in ("interrupt", "environment")
            if owner == who or (below and self.cpu(owner) == self.cpu(who)):
                yield lock, shared

    def after(self, before, after, action, values, holds):
        who = self.who(action, values)
        if found := DROPS.fullmatch(action.text):
            gone = who, self.lock(found[2], who), found[1] in SHARED
            return holds - {gone}
        found = ASKS.fullmatch(action.text) or GETS.search(action.text)
        if not found or not self.gets(found[1], found[2], before, after, action):
            return holds
        return holds | {(who, self.lock(found[2], who), found[1] in SHARED)}

    def gets(self, call, name, before, after, action):
        if call == "synchronize_srcu":
            return False
        if call in SHARED:
            return True
        lock = name.split("[")[0]
        return lock in action.written and self.cells(before, lock) != self.cells(
            after, lock
        )

    def cells(self, state, lock):
        at = self.machine.offsets[lock]
        width = self.machine.width(self.machine.system.variable(lock))
        return state[at : at + width]

    def is_circular(self, order):
        graph = nx.DiGraph()
        graph.add_nodes_from(order)
        for one in order:
            for other in order:
                (lock, reads), (held, shared) = one[1], other[0]
                waits = not (reads and shared) or (lock == "sem" and self.written)
                if lock == held and waits:
                    graph.add_edge(one, other)
        return any(
            len(part) > 1 or graph.has_edge(*[next(iter(part))] * 2)
            for part in nx.strongly_connected_components(graph)
        )


def disagrees(seed):
    """Whether watching, or the text alone, says something else than every run does."""
    text = text_of(seed)
    checker = loads(text).checker
    expected = Books(checker.whole, text, 2).has_circle()
    assert expected is not None, "the program has too many states"
    answer = checker.answer("order", 0, Settings(cpus=2, timeout=30, confirm=False))
    violated = answer.result.verdict is Verdict.VIOLATED
    return violated != expected or (expected and not lock_order(checker.whole).circular)


@pytest.mark.parametrize("seed", SEEDS[:60])
def test_a_watched_program_tells_what_its_runs_do(seed):
    assert not disagrees(seed), text_of(seed)


def no_locks(*_, **__):
    return frozenset()


FAULTS = {
    "readers wait for readers": (watching, "blocks", lambda queued, a, h: a[0] == h[0]),
    "no reader waits for one": (watching, "queued", no_locks),
    "nobody lets go": (watching._Watcher, "_dropped", lambda self, use: ()),
    "handlers hold what is theirs": (
        watching._Watcher, "_held",
        lambda self, grip, at: self._flag(grip, self.process, at, self.process.actor),
    ),
    "handlers interrupt nobody": (footprint, "_exposed", no_locks),
    "nothing is held under another": (
        holding, "_used",
        lambda use, held, every: frozenset(
            {holding.hold_of(use)} if use.held != FALSE else ()
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_books_is_noticed(fault, monkeypatch):
    owner, name, wrong = FAULTS[fault]
    monkeypatch.setattr(owner, name, wrong)
    if owner is watching and hasattr(cycles, name):
        monkeypatch.setattr(cycles, name, wrong)
    assert any(disagrees(seed) for seed in SEEDS)
