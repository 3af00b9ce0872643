"""What an action or formula can see of CPUs other than its own.

An action is local if its outcome depends on shared state, on the control CPU and on
the actor's own cells alone. Of everything else we count the *rank*: how many other CPUs
it can tell apart at once. By the Ehrenfeucht-Fraisse argument it cannot notice more
than that many CPUs with equal cells.
"""

from __future__ import annotations

from cpuhp.engines.explicit.compile import free_params
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
    children,
    conjuncts,
    walk,
)
from cpuhp.model.sorts import is_cpu
from cpuhp.model.system import Action, Assign, TransitionSystem


def formula_rank(expr: Expr, cpus: int) -> int:
    """How many equal CPUs the formula can tell from one fewer; at least 1."""
    return max(1, _depth(expr, cpus))


def action_rank(action: Action, cpus: int) -> int:
    """The same for an action; assignments to all CPUs and counts see every one."""
    if any(is_cpu(p.sort) for effect in action.effects for p in effect.bound):
        return cpus
    picked = sum(is_cpu(choice.param.sort) for choice in action.choices)
    deepest = max(_depth(expr, cpus) for expr in action.expressions())
    return max(1, min(cpus, picked + deepest))


def is_local(system: TransitionSystem, action: Action) -> bool:
    """Does the outcome depend on shared state, control CPU and own cells alone?"""
    if any(is_cpu(choice.param.sort) for choice in action.choices):
        return False
    if not all(is_local_expr(system, e, action.actor) for e in action.expressions()):
        return False
    return all(_is_local_effect(system, e, action.actor) for e in action.effects)


def local_guards(system: TransitionSystem, action: Action) -> list[Expr]:
    """The conjuncts of the guard that can be decided from the actor's own view."""
    known = {action.actor} if action.actor else set()
    return [
        part
        for part in conjuncts(action.guard)
        if free_params(part) <= known and is_local_expr(system, part, action.actor)
    ]


def is_local_expr(system: TransitionSystem, expr: Expr, actor: Param | None) -> bool:
    """Is the value decided by shared state, control CPU and the actor's cells?"""
    for part in walk(expr):
        match part:
            case Read(variable, indices, _):
                sorts = system.variable(variable).indices
                for sort, index in zip(sorts, indices):
                    if is_cpu(sort) and not _is_known(index, actor):
                        return False
            case Quantified(_, param, _) if is_cpu(param.sort):
                return False
            case Apply(Op.EQ, (a, b), _) if is_cpu(a.sort) or is_cpu(b.sort):
                # Two pointers to other CPUs: equal or not, the actor cannot know.
                if not (_is_known(a, actor) or _is_known(b, actor)):
                    return False
            case _:
                pass
    return True


def _is_local_effect(
    system: TransitionSystem, effect: Assign, actor: Param | None
) -> bool:
    variable = system.variable(effect.variable)
    if any(is_cpu(param.sort) for param in effect.bound):
        return False
    if is_cpu(variable.sort) and not _is_known(effect.value, actor):
        return False
    return all(
        _is_known(index, actor)
        for sort, index in zip(variable.indices, effect.indices)
        if is_cpu(sort)
    )


def _is_known(expr: Expr, actor: Param | None) -> bool:
    match expr:
        case Const() | Boot():
            return True
        case Param():
            return expr == actor
        case Apply(Op.ITE, (_, a, b), _):
            return _is_known(a, actor) and _is_known(b, actor)
        case _:
            return False


def _depth(expr: Expr, cpus: int) -> int:
    below = max((_depth(part, cpus) for part in children(expr)), default=0)
    if isinstance(expr, Quantified) and is_cpu(expr.param.sort):
        return cpus if expr.kind is Quantifier.COUNT else min(cpus, below + 1)
    return below
