"""States, expressions and actions as quantifier-free formulas over a pool of CPU seats.

Two uses share one encoder.

*Closed*: the seats are all CPUs of one machine; everything is exact.

*Open*: the seats hold some CPUs of a machine of any size, the control CPU in seat 0.
NOTE(pool-soundness): whatever a real step of a real machine is, some choice of the
seats and of the free variables makes it a model of the formula. Every rule below keeps
that; where it cannot be exact it adds freedom:

* a pointer is NONE, a seat, or `OTHER`, a CPU without a seat; what is read through
  `OTHER` is any value; what is written through it changes no seat;
* a quantifier is what the seats say and a free bit for the CPUs without a seat.
  `needs` names the bits that may be fixed if seats are *reserved* for them: the CPU
  that decides the quantifier, if there is one, then has a seat;
* there are CPUs without a seat only if all seats are taken (`outside`);
* the order of CPU ids is free;
* a counter is held as its difference to the number of CPUs with the bit that it counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from cpuhp.engines.expressions import (
    MANY,
    OTHER,
    UNKNOWN,
    Env,
    Expressions,
    Frame,
    Need,
    Tally,
    difference,
    shift,
)
from cpuhp.engines.formulas import (
    Bit,
    Values,
    collect,
    conj,
    constant,
    disj,
    negate,
    select,
    within,
)
from cpuhp.model.expr import (
    Apply,
    Const,
    Expr,
    Op,
    Param,
    Read,
    clamp,
    reads,
)
from cpuhp.model.invariant import FAR, NEAR, Clause, Literal, Symbol
from cpuhp.model.sorts import (
    NONE,
    BoolSort,
    CounterSort,
    Sort,
)
from cpuhp.model.system import (
    Action,
    Assign,
    Choice,
    Order,
    Role,
    Variable,
    counts_its_mask_at_first,
    location_sort,
)


@dataclass(frozen=True)
class Taken:
    """An action with values for all its parameters."""

    action: Action
    env: tuple[tuple[Param, int], ...]

    @property
    def binding(self) -> dict[Param, int]:
        """The parameters' values by parameter."""
        return dict(self.env)

    @property
    def key(self) -> tuple[str, tuple[int, ...]]:
        """What tells it from others of the same system."""
        return self.action.name, tuple([value for _, value in self.env])


class Encoder(Expressions):
    """Adds actions, initial states and clauses."""

    # Actions

    def enabled(self, taken: Taken, frame: Frame) -> Bit:
        """The action can be taken with these parameters."""
        env = taken.binding
        bits = [
            self.exists[value] for param, value in taken.env if param.sort.name == "cpu"
        ]
        for choice in taken.action.choices:
            bits.append(self.truth(choice.among, env, frame))
            if self.closed and choice.order is not Order.ANY:
                bits += self._not_passed_over(choice, env, frame)
        return conj((*bits, self.truth(taken.action.guard, env, frame)))

    def _not_passed_over(self, choice: Choice, env: Env, frame: Frame) -> Iterator[Bit]:
        chosen, elements = env[choice.param], self.elements(choice.param.sort)
        first = choice.order is Order.FIRST
        for element in elements[:chosen] if first else elements[chosen + 1 :]:
            local = {**env, choice.param: element}
            yield negate(self.truth(choice.among, local, frame))

    def action_needs(
        self, taken: Taken, frame: Frame, seats: tuple[int, ...]
    ) -> tuple[Need, ...]:
        """The needs of guard, choices and what is assigned, to `seats` if to all CPUs."""
        key = ("needs", *taken.key, frame, seats)
        if key not in self._cache:
            guard = self._guard_needs(taken, frame)
            self._cache[key] = (*guard, *self._effect_needs(taken, frame, seats))
        return self._cache[key]  # type: ignore[return-value]

    def _guard_needs(self, taken: Taken, frame: Frame) -> Iterator[Need]:
        env = taken.binding
        conditions = [choice.among for choice in taken.action.choices]
        for condition in (taken.action.guard, *conditions):
            yield from self.needs(condition, env, frame, 1)

    def _effect_needs(
        self, taken: Taken, frame: Frame, seats: tuple[int, ...]
    ) -> Iterator[Need]:
        for effect in taken.action.effects:
            place = Read(effect.variable, effect.indices, effect.value.sort)
            for chosen in product(seats, repeat=len(effect.bound)):
                env = {**taken.binding, **dict(zip(effect.bound, chosen))}
                yield from self.needs(effect.value, env, frame)
                yield from self.needs(place, env, frame)

    def post(
        self, taken: Taken, frame: Frame, variable: str, where: tuple[int, ...]
    ) -> Values:
        """The value of a cell after the action, in terms of the state before it."""
        key = ("post", *taken.key, frame, variable, where)
        if key not in self._cache:
            sort = self.system.variable(variable).sort
            if isinstance(sort, CounterSort) and not self.closed:
                made = self._post_counter(taken, frame, variable, where, sort.mask)
            else:
                made = self.cell(frame, variable, where)
                for effect in taken.action.effects:
                    if effect.variable == variable:
                        made = self._assigned(effect, taken, frame, where, sort, made)
            self._cache[key] = made
        return self._cache[key]  # type: ignore[return-value]

    def _assigned(
        self,
        effect: Assign,
        taken: Taken,
        frame: Frame,
        where: tuple[int, ...],
        sort: Sort,
        before: Values,
    ) -> Values:
        for env in self._hits(effect, taken, where):
            hit = self._hit(effect, env, frame, where)
            if hit is False:
                continue
            if env is None:
                before = select(hit, self.anything(sort), before)
                continue
            held = self._held(self.value(effect.value, env, frame), sort)
            before = select(hit, held, before)
        return before

    def _held(self, values: Values, sort: Sort) -> Values:
        """The values as a variable of this sort takes them."""
        known = {v: bit for v, bit in values.items() if v not in (MANY, UNKNOWN)}
        held = collect((clamp(v, sort), bit) for v, bit in known.items())
        if len(known) == len(values):
            return held
        vague = disj(bit for v, bit in values.items() if v not in known)
        return select(vague, self.anything(sort), held)

    def _hits(
        self, effect: Assign, taken: Taken, where: tuple[int, ...]
    ) -> list[dict[Param, int] | None]:
        """Values of the bound parameters that may assign this cell.

        None stands for "some CPUs without a seat may, too".
        """
        env = taken.binding
        loose: list[Param] = []
        for param in effect.bound:
            if param in effect.indices:
                env[param] = where[effect.indices.index(param)]
            else:
                loose.append(param)
        found: list[dict[Param, int] | None] = [
            {**env, **dict(zip(loose, values))}
            for values in product(*(self.elements(p.sort) for p in loose))
        ]
        if not self.closed and any(p.sort.name == "cpu" for p in loose):
            return [None]
        return found

    def _hit(
        self,
        effect: Assign,
        env: dict[Param, int] | None,
        frame: Frame,
        where: tuple[int, ...],
    ) -> Bit:
        if env is None:
            return self.anyhow()
        return conj(
            within(self.value(index, env, frame), (place,))
            for index, place in zip(effect.indices, where)
        )

    # Counters in an open pool

    def _post_counter(
        self,
        taken: Taken,
        frame: Frame,
        variable: str,
        where: tuple[int, ...],
        mask: str,
    ) -> Values:
        before = self.cell(frame, variable, where)
        cleared, growth = self._growth(taken, frame, mask)
        after = self._relative(Tally(mask, before), mask, frame, cleared, growth)
        for effect in taken.action.effects:
            if effect.variable != variable:
                continue
            for env in self._hits(effect, taken, where):
                hit = self._hit(effect, env, frame, where)
                if env is None:
                    after = select(hit, self.anything(CounterSort(mask)), after)
                elif hit is not False:
                    tally = self._tally(effect.value, env, frame)
                    new = self._relative(tally, mask, frame, cleared, growth)
                    after = select(hit, new, after)
        return after

    def _relative(
        self, tally: Tally, mask: str, frame: Frame, cleared: bool, growth: Values
    ) -> Values:
        """The difference of a number to the mask's population after the action."""
        if cleared or tally.mask != mask:
            values = self._absolute(tally, frame)
            if cleared:
                return self._settled(values, mask)
            after = shift(self._population(mask, frame), growth, 1)
            return self._settled(shift(values, after, -1), mask)
        return self._settled(shift(tally.values, growth, -1), mask)

    def _settled(self, values: Values, mask: str) -> Values:
        """Differences as a cell holds them; what is not known may be any."""
        known = collect(
            (v if v in NEAR else FAR, bit) for v, bit in values.items() if v != UNKNOWN
        )
        if UNKNOWN not in values:
            return known
        return select(values[UNKNOWN], self.anything(CounterSort(mask)), known)

    def _growth(self, taken: Taken, frame: Frame, mask: str) -> tuple[bool, Values]:
        """Is the mask empty afterwards; else by how many CPUs it grows."""
        effects = [e for e in taken.action.effects if e.variable == mask]
        if any(effect.bound for effect in effects):
            effect = effects[-1]
            empty = effect.value == Const(0, BoolSort()) and effect.indices == (
                effect.bound
            )
            return empty, constant(UNKNOWN)
        total = constant(0)
        if not effects:
            return False, total
        for seat in self.seats:
            old = self.cell(frame, mask, (seat,))
            new = self.post(taken, frame, mask, (seat,))
            if new is not old:
                total = shift(total, difference(old, new), 1)
        for effect in effects:
            there = self.value(effect.indices[0], taken.binding, frame)
            if OTHER in there:
                total = select(
                    there[OTHER], self._flip(effect, taken, frame, total), total
                )
        return False, total

    def _flip(
        self, effect: Assign, taken: Taken, frame: Frame, total: Values
    ) -> Values:
        old = self.anything(BoolSort())
        new = self.value(effect.value, taken.binding, frame)
        several = sum(e.variable == effect.variable for e in taken.action.effects) > 1
        return constant(UNKNOWN) if several else shift(total, difference(old, new), 1)

    # Initial states and clauses

    def initial(self, frame: Frame) -> Bit:
        """The state is an initial one."""
        bits = [self.truth(a, {}, frame) for a in self.system.assumptions]
        for variable in self.system.variables:
            initial = self.initial_value(variable)
            if initial is None:
                continue
            for where in self.cells(variable):
                env = dict(zip(variable.index_params, where))
                read = Read(
                    variable.name,
                    tuple(Const(w, s) for w, s in zip(where, variable.indices)),
                    variable.sort,
                )
                bits.append(self._starts(read, initial, env, frame))
        return conj(bits)

    def _starts(self, read: Read, initial: Expr, env: Env, frame: Frame) -> Bit:
        if isinstance(read.sort, CounterSort) and not self.closed:
            if counts_its_mask_at_first(
                self.system, self.system.variable(read.variable)
            ):
                where = tuple(self.value(i, env, frame) for i in read.indices)
                seats = tuple(next(iter(values)) for values in where)
                return within(self.cell(frame, read.variable, seats), (0,))
            equal = Apply(Op.EQ, (read, initial), BoolSort())
            return self._compare_tallies(equal, env, frame)
        held = self._held(self.value(initial, env, frame), read.sort)
        return self._compare(Op.EQ, self.value(read, env, frame), held)

    def initial_value(self, variable: Variable) -> Expr | None:
        """What the variable starts with; None if that is free."""
        if variable.initial is not None or variable.role is not Role.LOCATION:
            return variable.initial
        for process in self.system.processes:
            if process.location == variable.name:
                sort = location_sort(self.system, process)
                return Const(sort.values.index(process.initial), sort)
        return None

    def initial_needs(self, frame: Frame) -> list[Need]:
        """The needs of counters that start at a fixed number."""
        return [
            self.count_need(self._population_expr(variable.sort.mask), {}, frame, 1)
            for variable in self.system.variables
            if isinstance(variable.sort, CounterSort) and not self.closed
        ]

    def assumed(self, frame: Frame) -> Bit:
        """The assumptions that hold for ever, as no action writes what they read."""
        written = {name for a in self.system.actions for name in a.written}
        return conj(
            self.truth(a, {}, frame)
            for a in self.system.assumptions
            if not reads(a) & written
        )

    def meant(
        self, literal: Literal, i: int, j: int
    ) -> tuple[tuple[int, ...], list[int]]:
        """The cell and the values of a literal, with CPUs i and j in these seats."""
        where = tuple(_seat(a, self.boot, i, j) for a in literal.arguments)
        if literal not in self._plain:
            known = [v for v in literal.values if not isinstance(v, Symbol)]
            symbolic = len(known) < len(literal.values)
            self._plain[literal] = None if symbolic else sorted(known)
        plain = self._plain[literal]
        if plain is not None:
            return where, plain
        wanted: list[int] = []
        for value in literal.values:
            if value is Symbol.OTHER:
                wanted += [s for s in self.seats if s not in (self.boot, i, j)]
                wanted.append(OTHER)
            else:
                wanted.append(_seat(value, self.boot, i, j))
        return where, sorted(wanted)

    def literal(self, literal: Literal, i: int, j: int, frame: Frame) -> Bit:
        """The literal holds in the state."""
        key = ("literal", literal, i, j, frame)
        if key not in self._cache:
            where, wanted = self.meant(literal, i, j)
            values = self.cell(frame, literal.variable, where)
            self._cache[key] = _in(values, wanted)
        return self._cache[key]

    def literal_after(
        self, literal: Literal, i: int, j: int, frame: Frame, taken: Taken
    ) -> Bit:
        """The literal holds after the action."""
        where, wanted = self.meant(literal, i, j)
        return _in(self.post(taken, frame, literal.variable, where), wanted)

    def cube(self, clause: Clause, i: int, j: int, frame: Frame) -> Bit:
        """What the clause forbids holds of these seats."""
        return conj(self.literal(lit, i, j, frame) for lit in clause.cube)


def _in(values: Values, wanted: list[int]) -> Bit:
    present = [v for v in wanted if v in values]
    if 2 * len(present) > len(values):
        missing = set(values) - set(present)
        return negate(within(values, sorted(missing)))
    return within(values, present)


def _seat(symbol: int | Symbol, boot: int, i: int, j: int) -> int:
    match symbol:
        case Symbol.NONE:
            return NONE
        case Symbol.BOOT:
            return boot
        case Symbol.I:
            return i
        case Symbol.J:
            return j
        case Symbol.OTHER:
            raise ValueError("OTHER is not an index")
        case _:
            return symbol


__all__ = ["MANY", "OTHER", "UNKNOWN", "Encoder", "Env", "Frame", "Need", "Taken"]
