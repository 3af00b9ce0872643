"""What has to be shown, apart from how it is written: conditions, and their premises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from cpuhp.engines.certificate.translate import mask_of
from cpuhp.model.expr import (
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
    conjuncts,
    eq,
    forall,
    not_,
    or_,
    reads,
    walk,
)
from cpuhp.model.invariant import Clause, Invariant
from cpuhp.model.sorts import CPU, EnumSort
from cpuhp.model.system import (
    Action,
    Expectation,
    Order,
    Process,
    Property,
    Runs,
    TransitionSystem,
)

GROUPS = ("initiation", "consecution", "safety")


@dataclass(frozen=True)
class Condition:
    """It holds if no state satisfies `premise` and one of `parts`."""

    group: str
    label: str
    premise: str
    parts: tuple[tuple[str, str], ...]  # what is violated, and the term for it


@dataclass
class Script:
    """SMT-LIB commands, with conditions in between."""

    name: str
    head: str
    items: list[str | Condition] = field(default_factory=list)

    @property
    def conditions(self) -> list[Condition]:
        return [item for item in self.items if isinstance(item, Condition)]


def written_by(system: TransitionSystem, action: Action) -> frozenset[str]:
    """What the action may change.

    A counter is held as its difference to the number of CPUs in its mask, which changes
    with the mask, too.
    """
    written = action.written
    counters = {v.name for v in system.variables if mask_of(v) in written}
    return written | counters


def touched(clauses: tuple[Clause, ...], written: frozenset[str]) -> list[int]:
    """Numbers of the clauses that a step can break.

    The others read nothing that it writes, so that they say the same of the states
    before and after it; and before it they hold.
    """
    return [
        number
        for number, clause in enumerate(clauses)
        if any(literal.variable in written for literal in clause.cube)
    ]


def lasting(system: TransitionSystem) -> list[Expr]:
    """The assumptions that hold for ever, as no action writes what they read."""
    written = {name for action in system.actions for name in action.written}
    return [a for a in system.assumptions if not reads(a) & written]


def at_rest(system: TransitionSystem, process: Process) -> Expr:
    """Each instance of the process is at a final or a resting location."""
    variable = system.variable(process.location)
    assert isinstance(variable.sort, EnumSort)
    cpu = Param(f"{process.name} at rest", CPU)
    here = Read(
        variable.name, () if process.runs is Runs.ONCE else (cpu,), variable.sort
    )
    quiet = or_(
        *(
            eq(here, Const(number, variable.sort))
            for number, name in enumerate(variable.sort.values)
            if name in process.final | process.resting
        )
    )
    if process.runs is Runs.ONCE:
        return quiet
    if process.runs is Runs.EVERY_AP:
        quiet = or_(eq(cpu, Boot()), quiet)
    return forall(cpu, quiet)


def goals(system: TransitionSystem, prop: Property) -> list[tuple[str, Expr]]:
    """Formulas that have to hold in every state, or in every quiescent one."""
    if prop.expectation is Expectation.DEADLOCK_FREE:
        return [
            (f"process '{p.name}' waits for ever", at_rest(system, p))
            for p in system.processes
            if not p.environment
        ]
    return [("the claim is violated", part) for part in conjuncts(prop.formula)]


def is_about_quiescence(prop: Property) -> bool:
    return prop.expectation in (Expectation.FINALLY, Expectation.DEADLOCK_FREE)


def movers(system: TransitionSystem) -> Iterator[Action]:
    """Actions that no state of quiescence enables.

    Choices are read as "any". If one takes the first element, and something else looks
    at which one that is, an action can be disabled though another element would do:
    such an action is left out, so that less is known of the state.
    """
    for action in system.actions:
        if system.owes_progress(action) and not _depends_on_order(action):
            yield action


def _depends_on_order(action: Action) -> bool:
    for choice in action.choices:
        if choice.order is Order.ANY:
            continue
        others = [c.among for c in action.choices if c is not choice]
        for expr in (action.guard, *others):
            if choice.param in walk(expr):
                return True
    return False


def start_of(system: TransitionSystem, action: Action) -> tuple[Expr | None, Expr]:
    """The conjuncts of the guard that say where the actor is, and the others."""
    location = system.process(action.process).location
    parts = conjuncts(action.guard)
    here = [p for p in parts if _is_location(p, location)]
    rest = [p for p in parts if not _is_location(p, location)]
    return (here[0] if here else None), and_(*here[1:], *rest)


def _is_location(expr: Expr, location: str) -> bool:
    match expr:
        case Apply(Op.EQ, (Read(variable, _, _), Const()), _):
            return variable == location
    return False


def ways(expr: Expr) -> Iterator[tuple[tuple[Param, ...], Expr]]:
    """Ways to violate a formula: elements of the outer quantifiers, and the rest."""
    match expr:
        case Quantified(Quantifier.FORALL, param, body):
            for params, inner in ways(body):
                yield (param, *params), inner
        case Apply(Op.NOT, (Quantified(Quantifier.EXISTS, param, body),), _):
            for params, inner in ways(not_(body)):
                yield (param, *params), inner
        case Apply(Op.AND, args, _):
            for arg in args:
                yield from ways(arg)
        case Apply(Op.NOT, (Apply(Op.OR, args, _),), _):
            for arg in args:
                yield from ways(not_(arg))
        case _:
            yield (), expr


def condition_count(
    system: TransitionSystem, prop: Property, invariant: Invariant
) -> int:
    """How many conditions there are, however they are written: initiation, each action
    that can break a clause, each way to violate the claim."""
    steps = sum(
        bool(touched(invariant.clauses, written_by(system, action)))
        for action in system.actions
    )
    return 1 + steps + sum(1 for _, goal in goals(system, prop) for _ in ways(goal))
