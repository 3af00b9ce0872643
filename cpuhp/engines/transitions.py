"""The transitions of an enum variable: from the states that a search reaches."""

from __future__ import annotations

from dataclasses import dataclass

from cpuhp.diagnostics import fail, suggestion
from cpuhp.engines.explicit.moves import compile_machine
from cpuhp.engines.explicit.search import Budget, Limits, make_space
from cpuhp.engines.explicit.space import quiescent_test
from cpuhp.engines.explicit.symmetry import is_symmetric
from cpuhp.graph.relevance import relevant
from cpuhp.graph.slicing import project
from cpuhp.language.build import build
from cpuhp.language.compile import Lowered, lower
from cpuhp.model.expr import Const, Param, Read, eq, exists
from cpuhp.model.sorts import BoolSort, EnumSort
from cpuhp.model.system import Action, Expectation, Property
from cpuhp.semantics import Machine

LIMITS = Limits(max_states=300_000, seconds=40.0)
MAX_VALUES = 60


@dataclass(frozen=True)
class Arrow:
    """`who`: the callback or function, and the process; `text`: its statement."""

    source: str
    target: str
    who: str
    text: str
    place: str
    origin: str | None


@dataclass(frozen=True)
class StateMachine:
    """`ends`: values where nobody who owes progress can move on. `basis`: what is covered."""

    variable: str
    doc: str
    values: tuple[str, ...]
    initial: tuple[str, ...]
    ends: tuple[str, ...]
    arrows: tuple[Arrow, ...]
    basis: str


def state_machine(
    whole: Lowered, name: str | None, limits: Limits = LIMITS
) -> StateMachine:
    """The transitions of variable `name` (None: the first enum that has several).

    Raises InputError HP820 if there is no such variable, or no enum at all.
    """
    name = _variable(whole, name)
    declared = whole.program.variables[name]
    sort = declared.sort
    if not isinstance(sort, EnumSort):
        sort = EnumSort("bool", ("false", "true"))
    params = tuple(Param(f"i{n}", s) for n, s in enumerate(declared.indices))
    formula = eq(Read(name, params, declared.sort), Const(1, declared.sort))
    for param in params:
        formula = exists(param, formula)
    prop = Property("values", Expectation.SOMETIMES, formula)
    kept = relevant(whole, (prop,))
    smaller = lower(whole.program, kept.parts)
    system, _ = build(project(smaller, relevant(smaller, (prop,))), prop)
    found: dict[tuple[str, str, str, str], Arrow] = {}
    initial: set[int] = set()
    ends: set[int] = set()
    budget = Budget(limits)
    total, cpus_done, complete = 0, 0, True
    symmetric = is_symmetric(system)
    for cpus, boot in (
        (c, b) for c in (2, 3) for b in ((0,) if symmetric else range(c))
    ):
        machine = Machine(system, cpus, boot)
        start = machine.offsets[name]
        cells = range(start, start + machine.width(system.variable(name)))
        compiled = compile_machine(machine)
        space = make_space(compiled, symmetric)
        quiescent = quiescent_test(space)
        seen = set(space.initial())
        todo = list(seen)
        for key in seen:
            initial |= {space.state(key)[cell] for cell in cells}
        while todo and complete:
            here = todo.pop()
            state = space.state(here)
            moves = compiled.moves(state)
            if quiescent(here, bool(moves)):
                ends |= {state[cell] for cell in cells}
            for number, _, after in moves:
                for cell in cells:
                    if state[cell] != after[cell]:
                        pair = sort.values[state[cell]], sort.values[after[cell]]
                        _add(found, pair, system.actions[number], whole)
                key = space.key(after)
                if key not in seen:
                    seen.add(key)
                    todo.append(key)
            complete = budget.exceeded(total + len(seen)) is None
        total += len(seen)
        if not complete:
            break
        cpus_done = cpus
    basis = f"every transition that a search with up to {cpus_done} CPUs takes"
    if not complete:
        basis = "transitions found until the limit of the search; perhaps not all"
    used = {value for arrow in found.values() for value in (arrow.source, arrow.target)}
    used |= {sort.values[value] for value in initial}
    return StateMachine(
        name,
        " ".join(declared.declaration.doc.split()),
        tuple(value for value in sort.values if value in used),
        tuple(sort.values[value] for value in sorted(initial)),
        tuple(sort.values[value] for value in sorted(ends)),
        tuple(found.values()),
        basis,
    )


def _add(
    found: dict[tuple[str, str, str, str], Arrow],
    pair: tuple[str, str],
    action: Action,
    whole: Lowered,
) -> None:
    name = action.callback or _function(action, whole) or action.process
    who = name if name == action.process else f"{action.process}: {name}"
    key = (*pair, who, action.text)
    if key not in found:
        span = action.span
        place = f"{span.source.name}:{span.line}" if span else ""
        origin = action.origin.file if action.origin else None
        found[key] = Arrow(*pair, who, action.text, place, origin)


def _function(action: Action, whole: Lowered) -> str | None:
    """The function in whose text the action stands."""
    here = action.span
    for name, function in whole.program.functions.items():
        span = function.span
        inside = (
            here is not None
            and span.source is here.source
            and span.start <= here.start
            and here.end <= span.end
        )
        if inside:
            return name
    return None


def _variable(whole: Lowered, name: str | None) -> str:
    variables = whole.program.variables
    enums = [
        n for n, d in variables.items()
        if isinstance(d.sort, EnumSort) and 1 < len(d.sort.values) <= MAX_VALUES
    ]  # fmt: skip
    if name is not None:
        usable = [n for n, d in variables.items() if d.sort == BoolSort()] + enums
        if name in usable:
            return name
        raise fail("HP820", f"there is no enum or bool variable '{name}' to draw",
                   help=suggestion(name, usable) or f"enums: {', '.join(enums)}")  # fmt: skip
    preferred = [n for n in ("ap_sync_state", "luo_state", "stop_state") if n in enums]
    if not enums:
        raise fail("HP820", "the scenario has no enum variable to draw as a state machine",
                   help="name a bool variable: --focus VARIABLE")  # fmt: skip
    return (preferred or enums)[0]
