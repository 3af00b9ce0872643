"""Orbits as multisets: shared state, and how many CPUs have which cells.

A key is a flat tuple: the number of the global part (shared variables and the control
CPU's cells), then the numbers of the other CPUs' local parts in ascending order. A
shared pointer to such a CPU is a mark in its local part. What a local action does is
looked up by (global, local); what any other one does, by these and the other locals,
each counted no further than the action can see.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from cpuhp.engines.explicit.compile import Move, Predicate, Taker, compile_formula
from cpuhp.engines.explicit.locality import (
    action_rank,
    formula_rank,
    is_local,
    local_guards,
)
from cpuhp.engines.explicit.moves import Compiled, getter
from cpuhp.engines.explicit.space import Key, PlainSpace, Test
from cpuhp.engines.explicit.symmetry import Permuter
from cpuhp.model.expr import Expr, and_
from cpuhp.model.verdict import State
from cpuhp.semantics import Instance, initial_states

Numbers = tuple[int, ...]
Delta = tuple[int, Numbers, Numbers]  # global after, locals that go, locals that come
_ELSEWHERE = -2  # in a global part: the pointer leads to one of the other CPUs


@dataclass(frozen=True, slots=True)
class _Act:
    """An action as the memo tables see it."""

    take: Taker
    local: bool
    rank: int
    possible: Callable[[State, int], object]  # its guard, as far as the actor knows


@dataclass(frozen=True, slots=True)
class _Entry:
    """What an actor can do: by itself, and what depends on the other CPUs."""

    alone: tuple[tuple[int, int], ...]  # (global, local) after; local -1: not an AP
    other: tuple[tuple[Taker, int], ...]  # taker, actor's CPU or -1
    rank: int


class MultisetSpace(PlainSpace):
    """Needs a system whose CPUs do not point at each other (`Permuter.complete`)."""

    def __init__(self, compiled: Compiled):
        super().__init__(compiled)
        self.permuter = Permuter(compiled.machine)
        assert self.permuter.complete
        machine = compiled.machine
        self._boot = machine.boot
        self._aps = self.permuter.others
        self._cells = self.permuter.own_values
        self._pointers = self.permuter.free
        at_boot = self._cells[machine.boot]
        self._global_cells = [
            cell
            for cell, cpus in enumerate(self.permuter.cpus_of)
            if not cpus or cell in set(at_boot)
        ]
        pointers = frozenset(self._pointers)
        self._shared_pointers = [
            at for at, cell in enumerate(self._global_cells) if cell in pointers
        ]
        self._shared = getter(self._global_cells)
        self._own = [getter(self._cells[cpu]) for cpu in self._aps]
        self._globals: dict[Numbers, int] = {}
        self._global_states: list[list[int]] = []
        self._locals: dict[tuple[Numbers, Numbers], int] = {}
        self._local_parts: list[tuple[Numbers, Numbers]] = []
        self._acts: dict[int, _Act] = {}  # by number of the action
        self._common: dict[int, _Entry] = {}
        self._entries: dict[tuple[int, int], _Entry] = {}
        self._deltas: dict[tuple[int, ...], tuple[Delta, ...]] = {}

    def _act(self, number: int) -> _Act:
        if number not in self._acts:
            self._acts[number] = self._compiled_act(number)
        return self._acts[number]

    def _compiled_act(self, number: int) -> _Act:
        machine = self.compiled.machine
        action = machine.system.actions[number]
        guard = and_(*local_guards(machine.system, action))
        params = (action.actor,) if action.actor else ()
        test = compile_formula(machine, guard, params)
        return _Act(
            self.compiled.takers[number],
            is_local(machine.system, action),
            action_rank(action, machine.cpus),
            test if params else lambda state, _: test(state),
        )

    # --- between states and keys

    def initial(self) -> list[Key]:
        states = initial_states(self.compiled.machine)
        return list(dict.fromkeys(self.key(state) for state in states))

    def key(self, state: State) -> Key:
        return (self._global(state), *sorted(self._all_locals(state)))

    def state(self, key: Key) -> State:
        assert isinstance(key, tuple)
        full = self._global_states[key[0]].copy()
        for cpu, local in zip(self._aps, key[1:]):
            values, held = self._local_parts[local]
            for cell, value in zip(self._cells[cpu], values):
                full[cell] = value
            for cell in held:
                full[cell] = cpu
        return tuple(full)

    def mark(self, state: State, instance: Instance | None) -> Hashable:
        if instance is not None and instance[1] not in (None, self._boot):
            assert instance[1] is not None
            locals_ = self._all_locals(state)
            instance = instance[0], locals_[self._aps.index(instance[1])] + len(state)
        return self.key(state), instance

    def _global(self, state: State) -> int:
        found = self._shared(state)
        for at in self._shared_pointers:
            if found[at] not in (-1, self._boot):
                found = (*found[:at], _ELSEWHERE, *found[at + 1 :])
        number = self._globals.setdefault(found, len(self._globals))
        if number == len(self._global_states):
            full = [0] * len(state)
            for cell, value in zip(self._global_cells, found):
                full[cell] = value
            self._global_states.append(full)
        return number

    def _all_locals(self, state: State) -> list[int]:
        held: dict[int, Numbers] = {}
        for cell in self._pointers:
            held[state[cell]] = (*held.get(state[cell], ()), cell)
        return [
            self._local(own(state), held.get(cpu, ()))
            for cpu, own in zip(self._aps, self._own)
        ]

    def _local(self, values: Numbers, held: Numbers) -> int:
        part = (values, held)
        number = self._locals.setdefault(part, len(self._locals))
        if number == len(self._local_parts):
            self._local_parts.append(part)
        return number

    # --- successors

    def successors(self, key: Key) -> list[Key]:
        assert isinstance(key, tuple)
        common, entries = self._common.get(key[0]), self._entries
        if common is None:
            common = self._common[key[0]] = self._common_entry(key)
        number, locals_ = key[0], key[1:]
        out: list[Key] = [(after, *locals_) for after, _ in common.alone]
        if common.other:
            out += self._apply(key, -1, common)
        last = -1
        for position, local in enumerate(locals_):
            if local == last:
                continue
            last = local
            entry = entries.get((number, local))
            if entry is None:
                entry = entries[number, local] = self._local_entry(key, position)
            if entry.alone:
                rest = locals_[:position] + locals_[position + 1 :]
                for after, mine in entry.alone:
                    at = bisect(rest, mine)
                    out.append((after, *rest[:at], mine, *rest[at:]))
            if entry.other:
                out += self._apply(key, position, entry)
        return out

    def _apply(self, key: Numbers, position: int, entry: _Entry) -> list[Key]:
        """The moves that depend on the other CPUs. Position -1: no AP acts."""
        locals_ = key[1:]
        actor = -1
        others = locals_
        if position >= 0:
            actor = locals_[position]
            others = locals_[:position] + locals_[position + 1 :]
        seen = (key[0], actor, *capped(others, entry.rank))
        deltas = self._deltas.get(seen)
        if deltas is None:
            deltas = self._deltas[seen] = self._find_deltas(key, position, entry)
        out: list[Key] = []
        for after, gone, come in deltas:
            left = list(locals_)
            for local in gone:
                left.remove(local)
            out.append((after, *sorted([*left, *come])))
        return out

    def _find_deltas(
        self, key: Numbers, position: int, entry: _Entry
    ) -> tuple[Delta, ...]:
        state = self.state(key)
        moves: list[Move] = []
        for take, cpu in entry.other:
            take(state, self._aps[position] if position >= 0 else cpu, moves)
        found: dict[Delta, None] = {}
        for _, _, after in moves:
            pairs = [
                (old, new)
                for old, new in zip(key[1:], self._all_locals(after))
                if old != new
            ]
            gone = tuple(sorted(old for old, _ in pairs))
            come = tuple(sorted(new for _, new in pairs))
            found[self._global(after), gone, come] = None
        return tuple(found)

    def _common_entry(self, key: Numbers) -> _Entry:
        """What processes do that run once or on the control CPU."""
        state = self.state(key)
        able: list[tuple[int, int]] = []
        for runner in self.compiled.runners:
            for cpu, cell in runner.instances:
                if cpu in (-1, self._boot):
                    able += [(number, cpu) for number in runner.rows[state[cell]]]
        return self._entry(key, state, able, -1)

    def _local_entry(self, key: Numbers, position: int) -> _Entry:
        """What the processes on one of the other CPUs do."""
        state = self.state(key)
        me = self._aps[position]
        able: list[tuple[int, int]] = []
        for runner in self.compiled.runners:
            for cpu, cell in runner.instances:
                if cpu == me:
                    able += [(number, cpu) for number in runner.rows[state[cell]]]
        return self._entry(key, state, able, position)

    def _entry(
        self,
        key: Numbers,
        state: State,
        able: Sequence[tuple[int, int]],  # numbers of actions, and actors
        position: int,
    ) -> _Entry:
        alone: dict[tuple[int, int], None] = {}
        other: list[tuple[Taker, int]] = []
        rank = 1
        for number, cpu in able:
            act = self._act(number)
            if not act.possible(state, cpu):
                continue
            ends = self._alone(key, state, act, cpu, position) if act.local else None
            if ends is None:
                other.append((act.take, cpu))
                rank = max(rank, act.rank)
            else:
                alone.update(dict.fromkeys(ends))
        return _Entry(tuple(alone), tuple(other), rank)

    def _alone(
        self, key: Numbers, state: State, act: _Act, cpu: int, position: int
    ) -> list[tuple[int, int]] | None:
        """The outcomes; None if one takes a pointer away from yet another CPU."""
        moves: list[Move] = []
        act.take(state, cpu, moves)
        ends = []
        for _, _, after in moves:
            locals_ = self._all_locals(after)
            for number, (old, new) in enumerate(zip(key[1:], locals_)):
                if old != new and number != position:
                    return None
            mine = locals_[position] if position >= 0 else -1
            ends.append((self._global(after), mine))
        return ends

    def test(self, formula: Expr) -> Test:
        predicate: Predicate = self.compiled.predicate(formula)
        rank = formula_rank(formula, self.compiled.machine.cpus)
        known: dict[Numbers, object] = {}

        def test(key: Key) -> object:
            assert isinstance(key, tuple)
            seen = (key[0], *capped(key[1:], rank))
            found = known.get(seen)
            if found is None:
                found = known[seen] = bool(predicate(self.state(key)))
            return found

        return test


def capped(numbers: Numbers, most: int) -> Numbers:
    """A sorted tuple with no number more than `most` times."""
    if most == 1:
        return tuple(dict.fromkeys(numbers))
    return tuple(
        n
        for position, n in enumerate(numbers)
        if position < most or numbers[position - most] != n
    )
