"""The transition system: variables, processes and guarded actions.

It is parameterised by the number of CPUs. Nothing in it names a CPU but `Boot`, the
control CPU, so all other CPUs are symmetric by construction. What an action does not
assign does not change (NOTE(frame-rule)).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum

from cpuhp.diagnostics import Span
from cpuhp.model.expr import (
    FALSE,
    TRUE,
    Apply,
    Const,
    Expr,
    Op,
    Param,
    Quantified,
    Quantifier,
    Read,
    not_,
    reads,
    substitute,
    walk,
)
from cpuhp.model.sorts import CounterSort, EnumSort, IndexSort, Sort, is_cpu


@dataclass(frozen=True, slots=True)
class Origin:
    """Where in the kernel something comes from."""

    file: str
    function: str = ""

    def __str__(self) -> str:
        return f"{self.file} {self.function}".rstrip()


class Role(Enum):
    DATA = "data"
    LOCK = "lock"  # nullable CPU pointer: the CPU whose process holds it
    LOCATION = "location"  # program point of a process


@dataclass(frozen=True, slots=True)
class Variable:
    """A state variable: shared (no indices) or one value per CPU, irq, ...

    `initial` may read the `index_params`; None means any value that satisfies the
    system's assumptions (a fixed topology, say). `owner` is the process that alone
    uses the variable, if there is one. `plain` marks memory that is accessed without
    atomic operations, for the data race check.
    """

    name: str
    sort: Sort
    indices: tuple[IndexSort, ...] = ()
    initial: Expr | None = None
    index_params: tuple[Param, ...] = ()
    role: Role = Role.DATA
    owner: str | None = None
    plain: bool = False
    constant: bool = False
    doc: str = field(default="", compare=False)
    span: Span | None = field(default=None, compare=False)


class Order(Enum):
    """Which element a choice takes. For all CPU counts, each is read as ANY."""

    ANY = "any"
    FIRST = "first"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class Choice:
    """A parameter that the action picks itself among the elements with `among`."""

    param: Param
    among: Expr = TRUE
    order: Order = Order.ANY


@dataclass(frozen=True, slots=True)
class Assign:
    """`variable[indices] := value`; with `bound`, for all values of those parameters.

    All assignments of an action happen at once, on values read before it.
    """

    variable: str
    indices: tuple[Expr, ...]
    value: Expr
    bound: tuple[Param, ...] = ()


def chosen_among(effect: Assign) -> list[Expr]:
    """Which elements a `forall` over a set assigns: the others keep what they have.

    Several follow each other in an `atomic` block. Empty if all are assigned.
    """
    found: list[Expr] = []
    value = effect.value
    while True:
        match value:
            case Apply(Op.ITE, (among, _, value), _):
                bound = {part for part in walk(among) if isinstance(part, Param)}
                if not bound & set(effect.bound):
                    return []
                found.append(among)
            case Read(effect.variable, effect.indices):
                return found
            case _:
                return []


def expressions(
    guard: Expr, choices: Iterable[Choice], effects: Iterable[Assign]
) -> Iterator[Expr]:
    """All expressions of a guarded step."""
    yield guard
    for choice in choices:
        yield choice.among
    for effect in effects:
        yield effect.value
        yield from effect.indices


def accesses(
    guard: Expr, choices: Iterable[Choice], effects: Iterable[Assign]
) -> Iterator[tuple[str, tuple[Expr, ...]]]:
    """Every variable that a guarded step reads or writes, with its indices."""
    for effect in effects:
        yield effect.variable, effect.indices
    for root in expressions(guard, choices, effects):
        for part in walk(root):
            if isinstance(part, Read):
                yield part.variable, part.indices


@dataclass(frozen=True, slots=True)
class Action:
    """One atomic step of a process. Its name is its own within the system.

    Enabled for an `actor` (per-CPU processes only) and values of the `choices` when
    all `among` and the `guard` hold. The location variable is tested and set by guard
    and effects like any other variable; `source` and `target` repeat it for people.
    """

    name: str
    process: str
    source: str
    target: str
    actor: Param | None = None
    choices: tuple[Choice, ...] = ()
    guard: Expr = TRUE
    effects: tuple[Assign, ...] = ()
    text: str = field(default="", compare=False)
    hotplug_state: str | None = field(default=None, compare=False)
    callback: str | None = field(default=None, compare=False)
    origin: Origin | None = field(default=None, compare=False)
    span: Span | None = field(default=None, compare=False)

    @property
    def params(self) -> tuple[Param, ...]:
        actor = (self.actor,) if self.actor else ()
        return actor + tuple(choice.param for choice in self.choices)

    @property
    def written(self) -> frozenset[str]:
        return frozenset(effect.variable for effect in self.effects)

    @property
    def read(self) -> frozenset[str]:
        return frozenset[str]().union(*map(reads, self.expressions()))

    def expressions(self) -> Iterator[Expr]:
        """The guard and all that the choices and effects are about."""
        return expressions(self.guard, self.choices, self.effects)


class Runs(Enum):
    """Who executes a process: one task, one per CPU, or one per CPU but `Boot`."""

    ONCE = "once"
    EVERY_CPU = "every cpu"
    EVERY_AP = "every ap"


@dataclass(frozen=True, slots=True)
class Process:
    """A sequential actor.

    It may come to rest at `final` (it has finished) or `resting` (a service that waits
    for work). An environment process owes no progress; a spontaneous one owes none
    while it rests, and cannot stop half way.
    """

    name: str
    runs: Runs
    location: str  # the variable that holds its program point
    initial: str
    final: frozenset[str] = frozenset()
    resting: frozenset[str] = frozenset()
    environment: bool = False
    spontaneous: bool = False  # owes no progress while it rests (an interrupt)
    kind: str = "task"
    span: Span | None = field(default=None, compare=False)


class Expectation(Enum):
    ALWAYS = "always"
    SOMETIMES = "sometimes"
    FINALLY = "finally"  # holds whenever nobody who owes progress can move
    DEADLOCK_FREE = "deadlock_free"
    LEADS_TO = "leads_to"
    RACE_FREE = "race_free"
    INVERSION_FREE = "inversion_free"
    TERMINATES = "terminates"


@dataclass(frozen=True, slots=True)
class Property:
    """One claim: a formula and how it is meant.

    LEADS_TO uses `formula` as the trigger and `goal`. The kinds without a formula are
    about the system as a whole.
    """

    check: str
    expectation: Expectation
    formula: Expr = TRUE
    goal: Expr = TRUE
    text: str = field(default="", compare=False)
    span: Span | None = field(default=None, compare=False)

    @property
    def to_prove(self) -> Property:
        """What a proof shows: of what should happen sometimes, that it never does."""
        if self.expectation is not Expectation.SOMETIMES:
            return self
        return replace(
            self,
            expectation=Expectation.ALWAYS,
            formula=not_(self.formula),
            text=f"never {self.text.removeprefix('sometimes ')}",
        )


@dataclass(frozen=True)
class TransitionSystem:
    """Actions are in declaration order, and that order is the search order.

    `sizes` gives the number of elements of every index sort except cpu.
    """

    name: str
    variables: tuple[Variable, ...]
    processes: tuple[Process, ...]
    actions: tuple[Action, ...]
    assumptions: tuple[Expr, ...] = ()
    sizes: tuple[tuple[str, int], ...] = ()

    def variable(self, name: str) -> Variable:
        return self._by_name[name]

    def process(self, name: str) -> Process:
        return self._processes[name]

    def owes_progress(self, action: Action) -> bool:
        """Whether whoever can take the action must not wait for ever instead."""
        process = self._processes[action.process]
        if process.environment:
            return False
        return not (process.spontaneous and action.source in process.resting)

    def __post_init__(self) -> None:
        by_name = {variable.name: variable for variable in self.variables}
        processes = {process.name: process for process in self.processes}
        if len(by_name) != len(self.variables):
            raise ValueError(f"{self.name}: two variables share a name")
        if len({action.name for action in self.actions}) != len(self.actions):
            raise ValueError(f"{self.name}: two actions share a name")
        object.__setattr__(self, "_by_name", by_name)
        object.__setattr__(self, "_processes", processes)

    _by_name: dict[str, Variable] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )
    _processes: dict[str, Process] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )


def counts_its_mask_at_first(system: TransitionSystem, variable: Variable) -> bool:
    """Does a counter start as the number of CPUs that its mask starts with?

    True if it counts the CPUs for which the very expression holds that the mask is
    initialised with, and if it is zero and the mask empty.
    """
    if not isinstance(variable.sort, CounterSort):
        return False
    mask, initial = system.variable(variable.sort.mask), variable.initial
    if mask.initial is None or len(mask.index_params) != 1:
        return False
    match initial:
        case Quantified(Quantifier.COUNT, param, body):
            return substitute(mask.initial, {mask.index_params[0]: param}) == body
        case Const(0, _):
            return mask.initial == FALSE
        case _:
            return False


def kept_pointers(system: TransitionSystem) -> tuple[Variable, ...]:
    """Shared pointers to a CPU that no step reads: they are kept for proofs."""
    read = frozenset[str]().union(*(action.read for action in system.actions))
    return tuple(
        variable
        for variable in system.variables
        if is_shared_pointer(variable) and variable.name not in read
    )


def is_shared_pointer(variable: Variable) -> bool:
    """Does it point to a CPU, and is there one of it?"""
    return is_cpu(variable.sort) and not variable.indices


def location_sort(system: TransitionSystem, process: Process) -> EnumSort:
    """The program points of a process."""
    sort = system.variable(process.location).sort
    assert isinstance(sort, EnumSort)
    return sort
