"""A claim at a fixed number of CPUs without parameters, choices and quantifiers.

What comes out is plain enough for any checker: cells, start states, and guarded
commands, one for each action, actor and picked values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, product

from cpuhp.diagnostics import fail
from cpuhp.engines.explicit.space import at_rest
from cpuhp.model.expr import (
    FALSE,
    TRUE,
    Apply,
    Boot,
    Const,
    Expr,
    Op,
    Param,
    Quantified,
    Quantifier,
    Read,
    and_,
    arithmetic,
    compare,
    eq,
    implies,
    ite,
    not_,
    or_,
    walk,
)
from cpuhp.model.expr import apply as fold
from cpuhp.model.sorts import (
    BOOL,
    CPU,
    NONE,
    BoolSort,
    CounterSort,
    EnumSort,
    IndexSort,
    RangeSort,
    Sort,
    format_value,
)
from cpuhp.model.system import (
    Action,
    Choice,
    Expectation,
    Order,
    Property,
    TransitionSystem,
    Variable,
)
from cpuhp.model.verdict import State
from cpuhp.semantics import Machine, default_value, initial_states

EXPORTABLE = (
    Expectation.ALWAYS,
    Expectation.SOMETIMES,
    Expectation.FINALLY,
    Expectation.DEADLOCK_FREE,
)
MOST_STARTS = 4096
MOST_COMMANDS = 200_000
_LARGE = 1 << 30  # more than a spec can write down, and than there are CPUs
_NUMBER = RangeSort(0, _LARGE)

Bound = Mapping[Param, int]


@dataclass(frozen=True)
class Write:
    """`variable[indices] := value`, kept within the variable's sort."""

    variable: Variable
    indices: tuple[Expr, ...]
    value: Expr


@dataclass(frozen=True)
class Command:
    """One atomic step. All values are read before the first write."""

    label: str  # `process.action CPU1 pick=CPU2`, from the spec: not an identifier
    text: str
    guard: Expr
    writes: tuple[Write, ...]
    owes: bool


@dataclass(frozen=True, eq=False)
class Grounded:
    """A claim at a fixed number of CPUs.

    `invariant` holds in every reachable state exactly if the claim holds; of a
    `sometimes` (`is_witness`) exactly if nothing ever does what it asks for.
    """

    machine: Machine
    prop: Property
    variables: tuple[Variable, ...]  # those that can ever change or begin differently
    starts: tuple[State, ...]
    commands: tuple[Command, ...]
    invariant: Expr

    @property
    def is_witness(self) -> bool:
        return self.prop.expectation is Expectation.SOMETIMES

    @cached_property
    def used(self) -> frozenset[str]:
        """Names of the variables that are state."""
        return frozenset(variable.name for variable in self.variables)

    def cells(self, variable: Variable) -> range:
        """The positions of the variable's cells in a state."""
        first = self.machine.offsets[variable.name]
        return range(first, first + self.machine.width(variable))

    def bounds(self, sort: Sort) -> tuple[int, int]:
        """The least and the greatest number that a cell of this sort can hold."""
        return bounds(self.machine, sort)

    def first_values(self, variable: Variable) -> set[int]:
        """The numbers that the variable's cells have in the start states."""
        return {state[cell] for state in self.starts for cell in self.cells(variable)}


def ground(system: TransitionSystem, prop: Property, cpus: int, boot: int) -> Grounded:
    """The claim on a machine with `cpus` CPUs, the control CPU being `boot`.

    Raises InputError: HP831 for a claim that is not about single states, HP832 if there
    are too many start states or commands to write down, HP835 if there is no start state,
    HP601 for no such machine.
    """
    if prop.expectation not in EXPORTABLE:
        raise fail(
            "HP831",
            f"a claim of kind '{prop.expectation.value}' cannot be exported",
            prop.span,
            help="always, never, sometimes, finally and deadlock_free can be",
        )
    machine = Machine(system, cpus, boot)
    starts = tuple(islice(initial_states(machine), MOST_STARTS + 1))
    if len(starts) > MOST_STARTS:
        raise _too_many(f"more than {MOST_STARTS} start states")
    if not starts:
        raise fail(
            "HP835",
            f"no state of {cpus} CPUs satisfies the assumptions",
            help="take another number of CPUs",
        )
    return _Grounder(machine, starts).claim(prop)


def _too_many(what: str) -> Exception:
    return fail(
        "HP832", f"the model has {what} with so many CPUs", help="take fewer CPUs"
    )


def bounds(machine: Machine, sort: Sort) -> tuple[int, int]:
    """The least and the greatest number that stand for a value of the sort."""
    match sort:
        case BoolSort():
            return 0, 1
        case EnumSort(_, names):
            return 0, len(names) - 1
        case RangeSort(low, high):
            return low, high
        case CounterSort():
            return -_LARGE, _LARGE
        case IndexSort(name):
            return NONE, machine.sizes[name] - 1  # a read through none yields none


def interval(machine: Machine, expr: Expr) -> tuple[int, int]:
    """Numbers between which the value of a grounded expression lies."""
    match expr:
        case Const(value, _):
            return value, value
        case Apply(Op.ADD | Op.SUB, _, sort):
            low, high = unheld_interval(machine, expr)
            if isinstance(sort, RangeSort | EnumSort):
                floor, top = bounds(machine, sort)
                return max(floor, min(low, top)), min(top, max(high, floor))
            return low, high
        case Apply(Op.ITE, (_, a, b), _):
            low, high = interval(machine, a)
            least, most = interval(machine, b)
            return min(low, least), max(high, most)
        case _:
            return bounds(machine, expr.sort)


def unheld_interval(machine: Machine, expr: Apply) -> tuple[int, int]:
    """The interval of a sum or difference before it is kept within its sort."""
    low, high = interval(machine, expr.args[0])
    least, most = interval(machine, expr.args[1])
    if expr.op is Op.SUB:
        least, most = -most, -least
    return max(low + least, -_LARGE), min(high + most, _LARGE)


@dataclass(frozen=True, eq=False)
class _Grounder:
    machine: Machine
    starts: tuple[State, ...]

    def claim(self, prop: Property) -> Grounded:
        system = self.machine.system
        commands: list[Command] = []
        for action in system.actions:
            commands.extend(self.commands(action))
            if len(commands) > MOST_COMMANDS:
                raise _too_many(f"more than {MOST_COMMANDS} commands")
        read = set[str]()
        invariant = self.invariant(prop, commands)
        for expr in _expressions(commands, invariant):
            read.update(e.variable for e in walk(expr) if isinstance(e, Read))
        kept = tuple(
            variable
            for variable in system.variables
            if variable.name in self.written or self.varies(variable)
            or variable.name in read
        )  # fmt: skip
        return Grounded(
            self.machine, prop, kept, self.starts, tuple(commands), invariant
        )

    @cached_property
    def written(self) -> frozenset[str]:
        """Names of the variables that some action assigns to."""
        found: frozenset[str] = frozenset()
        for action in self.machine.system.actions:
            found |= action.written
        return found

    @cached_property
    def fixed(self) -> dict[int, int]:
        """The cells that never change and have the same value in all start states."""
        if not self.starts:
            return {}
        return {
            cell: self.starts[0][cell]
            for cell, (variable, _) in enumerate(self.machine.cells)
            if variable.name not in self.written
            and all(state[cell] == self.starts[0][cell] for state in self.starts)
        }

    def varies(self, variable: Variable) -> bool:
        first = self.machine.offsets[variable.name]
        cells = range(first, first + self.machine.width(variable))
        return any(cell not in self.fixed for cell in cells)

    def invariant(self, prop: Property, commands: list[Command]) -> Expr:
        formula = self.expr(prop.formula, {})
        match prop.expectation:
            case Expectation.ALWAYS:
                return formula
            case Expectation.SOMETIMES:
                return not_(formula)
            case Expectation.FINALLY:
                return implies(self.quiescent(commands), formula)
            case _:
                resting = self.expr(at_rest(self.machine.system), {})
                return implies(self.quiescent(commands), resting)

    def quiescent(self, commands: list[Command]) -> Expr:
        """Nobody who owes progress can move."""
        return not_(or_(*(c.guard for c in commands if c.owes)))

    def commands(self, action: Action) -> Iterator[Command]:
        """The action for every actor and every pick, without those that never are."""
        system = self.machine.system
        owes = system.owes_progress(action)
        for bound, conditions in self.picks(action):
            guard = and_(*conditions, self.expr(action.guard, bound))
            if guard == FALSE:
                continue
            writes = tuple(self.writes(action, bound))
            yield Command(_label(action, bound), action.text, guard, writes, owes)

    def picks(self, action: Action) -> Iterator[tuple[dict[Param, int], list[Expr]]]:
        starts: list[dict[Param, int]] = [{}]
        if action.actor:
            domain = self.machine.actor_domain(action)
            starts = [{action.actor: actor} for actor in domain]
        for start in starts:
            yield from self.pick(action.choices, start, [])

    def pick(
        self, choices: tuple[Choice, ...], bound: dict[Param, int], so_far: list[Expr]
    ) -> Iterator[tuple[dict[Param, int], list[Expr]]]:
        """Values of the choices, with the conditions under which they are picked."""
        if not choices:
            yield bound, so_far
            return
        choice, later = choices[0], choices[1:]
        elements = self.machine.elements(choice.param.sort)
        if choice.order is Order.LAST:
            elements = elements[::-1]
        passed_over: list[Expr] = []
        for element in elements:
            picked = {**bound, choice.param: element}
            among = self.expr(choice.among, picked)
            condition = and_(*passed_over, among)
            if condition != FALSE:
                yield from self.pick(later, picked, [*so_far, condition])
            if choice.order is not Order.ANY:
                passed_over.append(not_(among))

    def writes(self, action: Action, bound: Bound) -> Iterator[Write]:
        for effect in action.effects:
            variable = self.machine.system.variable(effect.variable)
            for values in product(
                *(self.machine.elements(p.sort) for p in effect.bound)
            ):
                local = {**bound, **dict(zip(effect.bound, values))}
                indices = tuple(self.expr(i, local) for i in effect.indices)
                if any(isinstance(i, Const) and i.value == NONE for i in indices):
                    continue
                yield Write(variable, indices, self.expr(effect.value, local))

    def expr(self, expr: Expr, bound: Bound) -> Expr:
        """The expression with all parameters replaced and all quantifiers written out."""
        match expr:
            case Const():
                return expr
            case Param():
                return Const(bound[expr], expr.sort)
            case Boot():
                return Const(self.machine.boot, CPU)
            case Read():
                return self.read(expr, bound)
            case Apply():
                return self.apply(expr, bound)
            case Quantified():
                return self.quantified(expr, bound)

    def read(self, expr: Read, bound: Bound) -> Expr:
        indices = tuple(self.expr(i, bound) for i in expr.indices)
        values = [i.value for i in indices if isinstance(i, Const)]
        sort = self.machine.system.variable(expr.variable).sort
        if NONE in values:
            return Const(default_value(expr.sort), sort)
        if len(values) == len(indices):
            cell = self.machine.cell(expr.variable, tuple(values))
            if cell in self.fixed:
                return Const(self.fixed[cell], sort)
        return Read(expr.variable, indices, sort)

    def apply(self, expr: Apply, bound: Bound) -> Expr:
        args: list[Expr] = []
        stop = {Op.AND: FALSE, Op.OR: TRUE}.get(expr.op)
        for arg in expr.args:
            args.append(self.expr(arg, bound))
            if stop is not None and args[-1] == stop:
                return stop
        if expr.op is Op.EQ:
            return self.equal(args[0], args[1])
        if expr.op is Op.BEFORE:
            return compare(Op.LT, args[0], args[1])
        return fold(expr.op, tuple(args), expr.sort)

    def equal(self, a: Expr, b: Expr) -> Expr:
        low, high = interval(self.machine, a)
        least, most = interval(self.machine, b)
        return FALSE if high < least or most < low else eq(a, b)

    def quantified(self, expr: Quantified, bound: Bound) -> Expr:
        parts: list[Expr] = []
        stop = {Quantifier.FORALL: FALSE, Quantifier.EXISTS: TRUE}.get(expr.kind)
        for element in self.machine.elements(expr.param.sort):
            parts.append(self.expr(expr.body, {**bound, expr.param: element}))
            if stop is not None and parts[-1] == stop:
                return stop
        match expr.kind:
            case Quantifier.FORALL:
                return and_(*parts)
            case Quantifier.EXISTS:
                return or_(*parts)
            case Quantifier.COUNT:
                return _sum(parts)


def _sum(parts: list[Expr]) -> Expr:
    """How many of the formulas hold."""
    known = sum(part == TRUE for part in parts)
    total: Expr = Const(known, _NUMBER)
    for part in parts:
        if part in (TRUE, FALSE):
            continue
        one = ite(part, Const(1, _NUMBER), Const(0, _NUMBER))
        zero = isinstance(total, Const) and total.value == 0
        total = one if zero else arithmetic(Op.ADD, total, one, _NUMBER)
    return total


def _label(action: Action, bound: Bound) -> str:
    picked = []
    for param, value in bound.items():
        shown = format_value(param.sort, value)
        picked.append(shown if param == action.actor else f"{param.name}={shown}")
    return " ".join([action.name, *picked])


def _expressions(commands: list[Command], invariant: Expr) -> Iterator[Expr]:
    yield invariant
    for command in commands:
        yield command.guard
        for write in command.writes:
            yield write.value
            yield from write.indices


def is_bool(expr: Expr) -> bool:
    """Is the expression a formula?"""
    return expr.sort == BOOL
