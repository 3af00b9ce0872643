"""Loops over sets of CPUs and instances, as control flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from cpuhp.diagnostics import fail
from cpuhp.language import tree as t
from cpuhp.language.context import Context, demand_a_new_name
from cpuhp.language.declarations import demand_a_free_name
from cpuhp.language.terms import Mask
from cpuhp.model.expr import (
    FALSE,
    TRUE,
    Apply,
    Const,
    Expr,
    Op,
    Param,
    Read,
    and_,
    forall,
    ite,
    none_of,
    not_,
)
from cpuhp.model.sorts import (
    BOOL,
    CPU,
    IndexSort,
)
from cpuhp.model.system import Assign, Choice, Order, Variable

if TYPE_CHECKING:
    from cpuhp.language.lower import Lowering


def for_each(
    work: Lowering, node: t.ForEach, entry: int, leave: int, context: Context
) -> None:
    demand_a_new_name(node.variable, context.scope, node.span)
    mask = work.terms.mask(node.among, context.scope)
    if mask.sort.name != "cpu":
        _unroll(work, node, mask, entry, leave, context)
        return
    tag = f"{node.variable}.{node.span.line}"
    element = work.local(tag, IndexSort("cpu", True), context)
    visited = _visited(work, tag, context)
    param = work.terms.fresh(node.variable, mask.sort)
    scope = {**context.scope, node.variable: param}
    member = mask.member(param)
    if node.filter is not None:
        member = and_(member, work.terms.boolean(node.filter, scope))
    member = and_(member, not_(visited(param)))
    body = work.point(node.body.span, context)
    picked = (
        Assign(element.variable, element.indices, param),
        _assign_to(visited(param), TRUE),
    )
    choice = Choice(param, member, Order.FIRST)
    work.edge(entry, body, node, context, effects=picked, choices=(choice,))
    other = work.terms.fresh(node.variable, mask.sort)
    cleared = visited(other)
    done = (
        Assign(element.variable, element.indices, none_of(CPU)),
        Assign(cleared.variable, cleared.indices, FALSE, (other,)),
    )
    left = forall(param, not_(member))
    end = work.point(node.span, context)
    work.edge(entry, end, node, context, guard=left, effects=done)
    work.edge(end, leave, node, context)
    inner = replace(
        context,
        scope={**context.scope, node.variable: element},
        loop=(end, entry),
        outermost=False,
    )
    if _breaks(node.body):
        raise fail(
            "HP311",
            "a loop over CPUs visits them all: 'break' and 'return' cannot leave it",
            node.span,
            help="keep a flag, and test it in the loop's condition",
        )
    work.statement(node.body, body, entry, inner)


def _visited(work: Lowering, tag: str, context: Context) -> Callable[[Expr], Read]:
    name = f"{work.process}.{context.function}.{tag}.visited"
    indices = (CPU, CPU) if work.actor else (CPU,)
    params = tuple(Param(f"{name}#{i}", CPU) for i in range(len(indices)))
    work.locals.setdefault(
        name, Variable(name, BOOL, indices, FALSE, params, owner=work.process)
    )
    prefix: tuple[Expr, ...] = (work.actor,) if work.actor else ()
    return lambda cpu: Read(name, (*prefix, cpu), BOOL)


def _unroll(
    work: Lowering,
    node: t.ForEach,
    mask: Mask,
    entry: int,
    leave: int,
    context: Context,
) -> None:
    size = work.terms.program.sizes[mask.sort.name]
    at = entry
    for number in range(size):
        then = leave if number == size - 1 else work.point(node.span, context)
        element = Const(number, mask.sort)
        scope = {**context.scope, node.variable: element}
        member = mask.member(element)
        if node.filter is not None:
            member = and_(member, work.terms.boolean(node.filter, scope))
        body = work.point(node.body.span, context)
        work.edge(at, body, node, context, guard=member)
        work.edge(at, then, node, context, guard=not_(member))
        inner = replace(context, scope=scope, loop=(leave, then), outermost=False)
        work.statement(node.body, body, then, inner)
        at = then


def for_all(
    work: Lowering, node: t.ForEach, entry: int, leave: int, context: Context
) -> None:
    demand_a_free_name(node.variable, node.span)
    mask = work.terms.mask(node.among, context.scope)
    param = work.terms.fresh(node.variable, mask.sort)
    scope = {**context.scope, node.variable: param}
    member = mask.member(param)
    if node.filter is not None:
        member = and_(member, work.terms.boolean(node.filter, scope))
    body = node.body.statements if isinstance(node.body, t.Block) else (node.body,)
    effects: list[Assign] = []
    for statement in body:
        if not isinstance(statement, t.AssignTo):
            raise fail("HP314", "forall does assignments only", statement.span)
        place = work.terms.value(statement.target, scope)
        if not isinstance(place, Read):
            raise fail("HP312", "this cannot be assigned to", statement.span)
        if param not in place.indices:
            raise fail("HP314", "all elements assign to the same variable",
                       statement.span, help=f"x[{node.variable}] = ...;")  # fmt: skip
        if any(place.variable == effect.variable for effect in effects):
            raise fail("HP314", f"'{place.variable}' is assigned twice", statement.span,
                       help="all assignments of a forall happen at once")  # fmt: skip
        value = _stored(work.terms.value(statement.value, scope, place.sort), place)
        if member == FALSE:
            continue  # over nobody: nothing is assigned
        effects.append(
            Assign(
                place.variable, place.indices, ite(member, value, place), (param,)
            )  # fmt: skip
        )
    work.edge(entry, leave, node, context, effects=tuple(effects))


def _stored(value: Expr, place: Read) -> Expr:
    """A value that the program stores, though it may be the old one.

    An `ite` with the old value as its very last part says that nothing is stored.
    """
    match value:
        case Apply(Op.ITE, (test, new, old), _) if old == place:
            return ite(not_(test), old, _stored(new, place))
        case Apply(Op.ITE, (test, new, other), _):
            return ite(test, new, _stored(other, place))
    return value


def _assign_to(place: Read, value: Expr) -> Assign:
    return Assign(place.variable, place.indices, value)


def _breaks(node: t.Statement) -> bool:
    """Whether a statement leaves the loop around it by `break` or `return`."""
    match node:
        case t.Jump("break", _) | t.Return():
            return True
        case t.Block(statements, _):
            return any(_breaks(s) for s in statements)
        case t.If(_, then, otherwise, _):
            return _breaks(then) or (otherwise is not None and _breaks(otherwise))
        case t.Either(branches, _):
            return any(_breaks(b) for b in branches)
        case t.Atomic(body, _) | t.Label(_, body, _):
            return _breaks(body)
        case t.While(_, body, _) | t.ForEach(body=body):
            return _returns(body)
    return False


def _returns(node: t.Statement) -> bool:
    match node:
        case t.Return():
            return True
        case t.Block(statements, _):
            return any(_returns(s) for s in statements)
        case t.If(_, then, otherwise, _):
            return _returns(then) or (otherwise is not None and _returns(otherwise))
        case t.Either(branches, _):
            return any(_returns(b) for b in branches)
        case t.Atomic(body, _) | t.Label(_, body, _) | t.While(_, body, _):
            return _returns(body)
        case t.ForEach(body=body):
            return _returns(body)
    return False
