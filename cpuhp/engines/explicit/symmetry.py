"""CPUs other than the control CPU are interchangeable: search orbits of states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import replace
from itertools import chain, groupby, permutations, product
from math import factorial, prod

from cpuhp.engines.explicit.moves import Compiled
from cpuhp.engines.explicit.space import Key, PlainSpace
from cpuhp.model.expr import (
    Apply,
    Boot,
    Const,
    Expr,
    Op,
    children,
    conjuncts,
    eq,
    not_,
    walk,
)
from cpuhp.model.sorts import NONE, is_cpu
from cpuhp.model.system import (
    Action,
    Choice,
    Order,
    Property,
    TransitionSystem,
    expressions,
)
from cpuhp.model.verdict import State
from cpuhp.semantics import Instance, Machine, initial_states

_MOST_KNOWN = 200_000  # states whose canonical state is remembered
_MOST_ORDERS = 120  # of CPUs that look alike; with more, an orbit may have two keys
_ORDERED = (Op.BEFORE, Op.LT, Op.LE, Op.ADD, Op.SUB)


def is_symmetric(system: TransitionSystem, props: Iterable[Property] = ()) -> bool:
    """May CPUs change places? Not if anything looks at the order of their numbers."""
    for action in system.actions:
        for choice in action.choices:
            if choice.order is not Order.ANY and is_cpu(choice.param.sort):
                return False
    return not any(_breaks_symmetry(e) for e in _expressions(system, props))


def orders_aps_only(system: TransitionSystem, props: Iterable[Property] = ()) -> bool:
    """Does it never matter where the control CPU's number lies among the others?

    So it is if only other CPUs are put in order: a first or last one is picked among
    them alone, or whoever is picked is not used. Machines that differ in the control
    CPU are then the same up to names that keep the order of the others.
    """
    for action in system.actions:
        for choice in action.choices:
            if choice.order is Order.ANY or not is_cpu(choice.param.sort):
                continue
            if not (_excludes_boot(choice) or _is_unused(choice, action)):
                return False
    return not any(_breaks_symmetry(e) for e in _expressions(system, props))


def unordered(system: TransitionSystem) -> TransitionSystem:
    """The system in which any CPU may be picked where the first or last one is.

    It does all that the system does wherever the control CPU's number lies. So what it
    never does is never done. If all actions are `blocks_alike`, who can move in a state
    stays as it is, too, and a state that is quiescent is so in both.
    """
    return replace(system, actions=tuple(map(_unordered, system.actions)))


def blocks_alike(action: Action) -> bool:
    """Does "cannot be taken" mean the same if choices are read as `any`?

    A `first` whose element the rest of the guard rejects is disabled, though another
    element would do.
    """
    for choice in action.choices:
        others = [c.among for c in action.choices if c is not choice]
        rest = (action.guard, *others)
        if choice.order is not Order.ANY and any(choice.param in walk(e) for e in rest):
            return False
    return True


def _unordered(action: Action) -> Action:
    choices = tuple(
        replace(c, order=Order.ANY) if is_cpu(c.param.sort) else c
        for c in action.choices
    )
    return action if choices == action.choices else replace(action, choices=choices)


def _excludes_boot(choice: Choice) -> bool:
    boot = (eq(choice.param, Boot()), eq(Boot(), choice.param))
    excluded = [not_(equal) for equal in boot]
    return any(part in excluded for part in conjuncts(choice.among))


def _is_unused(choice: Choice, action: Action) -> bool:
    """May any element be picked as well? Then it only matters that there is one."""
    others = [c for c in action.choices if c is not choice]
    roots = expressions(action.guard, others, action.effects)
    return not any(part == choice.param for root in roots for part in walk(root))


def _expressions(system: TransitionSystem, props: Iterable[Property]) -> Iterable[Expr]:
    for variable in system.variables:
        if variable.initial is not None:
            yield variable.initial
    yield from system.assumptions
    for action in system.actions:
        yield from action.expressions()
    for prop in props:
        yield prop.formula
        yield prop.goal


def _breaks_symmetry(expr: Expr) -> bool:
    for part in walk(expr):
        if isinstance(part, Const) and is_cpu(part.sort) and part.value != NONE:
            return True
        ordered = isinstance(part, Apply) and part.op in _ORDERED
        if ordered and any(is_cpu(arg.sort) for arg in children(part)):
            return True
    return False


class Permuter:
    """Renames the CPUs in a state of one machine."""

    def __init__(self, machine: Machine):
        self.machine = machine
        self.others = [c for c in range(machine.cpus) if c != machine.boot]
        cells = machine.cells
        self.pointers = [
            cell for cell, (variable, _) in enumerate(cells) if is_cpu(variable.sort)
        ]
        self.cpus_of = [
            [i for s, i in zip(variable.indices, indices) if is_cpu(s)]
            for variable, indices in cells
        ]
        self.free = [
            cell
            for cell, cpus in enumerate(self.cpus_of)
            if not cpus and cell in set(self.pointers)
        ]
        self.own_values: list[list[int]] = [[] for _ in range(machine.cpus)]
        self.own_pointers: list[list[int]] = [[] for _ in range(machine.cpus)]
        pointers = set(self.pointers)
        for cell, cpus in enumerate(self.cpus_of):
            if len(cpus) == 1:
                mine = self.own_pointers if cell in pointers else self.own_values
                mine[cpus[0]].append(cell)
        self.complete = not any(self.own_pointers) and all(
            len(cpus) < 2 for cpus in self.cpus_of
        )
        self._maps: dict[tuple[int, ...], list[int]] = {}

    def keys(self, state: State) -> list[Hashable]:
        """For each CPU, what can be said of it without naming any CPU."""
        held: dict[int, list[int]] = {}
        for cell in self.free:
            held.setdefault(state[cell], []).append(cell)
        keys: list[Hashable] = [
            (tuple([state[c] for c in own]), tuple(held.get(cpu, ())))
            for cpu, own in enumerate(self.own_values)
        ]
        if self.complete:
            return keys
        return [self._refined(state, cpu, keys) for cpu in range(len(keys))]

    def _refined(self, state: State, cpu: int, keys: list[Hashable]) -> Hashable:
        seen: list[tuple[int, Hashable]] = []
        for cell in self.own_pointers[cpu]:
            to = state[cell]
            if to in (NONE, self.machine.boot, cpu):
                seen.append((0 if to == NONE else 1 if to != cpu else 2, ()))
            else:
                seen.append((3, keys[to]))
        return keys[cpu], tuple(seen)

    def order(self, state: State) -> tuple[int, ...]:
        """The CPUs in canonical order; the control CPU keeps its number."""
        keys = self.keys(state)
        ranked = sorted(self.others, key=lambda cpu: keys[cpu])  # type: ignore[arg-type,return-value]
        if self.complete:
            return self._with_boot(ranked)
        alike = [list(cpus) for _, cpus in groupby(ranked, key=lambda cpu: keys[cpu])]
        if prod(factorial(len(cpus)) for cpus in alike) > _MOST_ORDERS:
            return self._with_boot(ranked)
        # CPUs that look alike may differ in whom they name: the least state decides.
        orders = [
            self._with_boot(chain.from_iterable(chosen))
            for chosen in product(*map(permutations, alike))
        ]
        if len(orders) == 1:
            return orders[0]
        return min(orders, key=lambda order: self.rename(state, order))

    def _with_boot(self, others: Iterable[int]) -> tuple[int, ...]:
        ranked = list(others)
        ranked.insert(self.machine.boot, self.machine.boot)
        return tuple(ranked)

    def rename(self, state: State, order: tuple[int, ...]) -> State:
        """The state in which CPU `order[i]` has become CPU `i`."""
        source = self._maps.get(order)
        if source is None:
            source = self._maps[order] = self._source(order)
        moved = [state[cell] for cell in source]
        for cell in self.pointers:
            if moved[cell] >= 0:
                moved[cell] = order.index(moved[cell])
        return tuple(moved)

    def _source(self, order: tuple[int, ...]) -> list[int]:
        source = []
        for variable, indices in self.machine.cells:
            old = tuple(
                order[i] if is_cpu(sort) else i
                for sort, i in zip(variable.indices, indices)
            )
            cell = self.machine.cell(variable.name, old)
            assert cell is not None
            source.append(cell)
        return source

    def canonical(self, state: State) -> State:
        """The same state for all states of an orbit, and one of it.

        Where more than five CPUs look alike and name each other, for most of them.
        """
        return self.rename(state, self.order(state))

    def orbit(self, state: State) -> set[State]:
        """All states that differ from this one in the names of CPUs only."""
        boot = self.machine.boot
        found = set()
        for perm in permutations(self.others):
            order = (*perm[:boot], boot, *perm[boot:])
            found.add(self.rename(state, order))
        return found

    def orbit_size(self, state: State) -> int:
        """The number of states in the orbit."""
        if not self.complete:
            return len(self.orbit(state))
        keys = self.keys(state)
        size = factorial(len(self.others))
        for count in Counter(keys[cpu] for cpu in self.others).values():
            size //= factorial(count)
        return size


class SymmetricSpace(PlainSpace):
    """Each key is the canonical state of its orbit."""

    def __init__(self, compiled: Compiled):
        super().__init__(compiled)
        self.permuter = Permuter(compiled.machine)
        self._known: dict[State, State] = {}

    def initial(self) -> list[Key]:
        states = initial_states(self.compiled.machine)
        return list(dict.fromkeys(self.permuter.canonical(s) for s in states))

    def successors(self, key: Key) -> list[Key]:
        return [self._seen(t) for _, _, t in self.compiled.moves(self.state(key))]

    def _seen(self, state: State) -> State:
        """The canonical state; most states are reached in several ways."""
        found = self._known.get(state)
        if found is None:
            found = self.permuter.canonical(state)
            if len(self._known) < _MOST_KNOWN:
                self._known[state] = found
        return found

    def key(self, state: State) -> Key:
        return self.permuter.canonical(state)

    def mark(self, state: State, instance: Instance | None) -> Hashable:
        order = self.permuter.order(state)
        if instance is not None and instance[1] is not None:
            instance = (instance[0], order.index(instance[1]))
        return self.permuter.rename(state, order), instance


def count_orbits(reached: Iterable[Key], space: PlainSpace, permuter: Permuter) -> int:
    """How many states the keys stand for: the check that no orbit was lost."""
    if permuter.complete:
        return sum(permuter.orbit_size(space.state(key)) for key in reached)
    states: set[State] = set()
    for key in reached:
        states |= permuter.orbit(space.state(key))
    return len(states)
