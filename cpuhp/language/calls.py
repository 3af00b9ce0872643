"""Calls: choices, primitives, inlined functions, and callbacks by hotplug state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from cpuhp.diagnostics import fail
from cpuhp.language import tree as t
from cpuhp.language.context import Context, default_of
from cpuhp.language.idioms import meant
from cpuhp.language.primitives import ATOMIC, PRIMITIVES, VALUE_PRIMITIVES, Step
from cpuhp.language.program import Program
from cpuhp.language.reader_locks import READER_PRIMITIVES, Caller
from cpuhp.language.terms import MASK_CALLS, PICKS, Mask, wrong_arity
from cpuhp.language.tree import nodes_below
from cpuhp.model.expr import (
    FALSE,
    TRUE,
    Const,
    Expr,
    Param,
    Read,
    and_,
    eq,
    forall,
    held,
    none_of,
    not_,
    reads,
)
from cpuhp.model.sorts import (
    BOOL,
    IndexSort,
    RangeSort,
    Sort,
)
from cpuhp.model.system import Assign, Choice, Order

if TYPE_CHECKING:
    from cpuhp.language.lower import Lowering

MAX_INLINE = 20
_PICK_BUILTINS = {
    "cpumask_any_but": Order.ANY,
    "cpumask_any_and_but": Order.ANY,
    "cpumask_any": Order.ANY,
    "cpumask_first": Order.FIRST,
    "cpumask_last": Order.LAST,
}


_BUILT_IN = frozenset(
    {*PICKS, *_PICK_BUILTINS, *MASK_CALLS, "all", "exists", "count", "at", "bug"}
    | {*PRIMITIVES, *VALUE_PRIMITIVES, *READER_PRIMITIVES}
    | {"next_state", "prev_state", "invoke_startup", "invoke_teardown"}
)


def demand_own_names(program: Program) -> None:
    """Raises InputError HP204 if a function has the name of one that is always there."""
    for function in program.functions.values():
        if function.name in _BUILT_IN:
            raise fail("HP204", f"'{function.name}' is there already", function.span,
                       help="give the function another name")  # fmt: skip


def takes_steps(work: Lowering, call: t.Call) -> bool:
    function = work.terms.program.functions.get(call.name)
    if function is not None:
        return function.formula is None
    return (
        call.name in PICKS
        or call.name in _PICK_BUILTINS
        or call.name in VALUE_PRIMITIVES
        or call.name in ("invoke_startup", "invoke_teardown")
    )


def call(work: Lowering, call: t.Call, into: Read | None, entry: int, leave: int,
    node: t.Statement, context: Context,
) -> None:  # fmt: skip
    name = call.name
    if name in PICKS or name in _PICK_BUILTINS:
        _pick(work, call, into, entry, leave, node, context)
    elif name in ("invoke_startup", "invoke_teardown"):
        _invoke(work, call, into, entry, leave, node, context)
    elif name in work.terms.program.functions:
        _inline(work, call, into, entry, leave, node, context)
    elif name in PRIMITIVES:
        step = PRIMITIVES[name](work.terms, work.self_cpu, call, context.scope)
        _note_atomic(work, name, step)
        _primitive(work, step, None, entry, leave, node, context)
    elif name in READER_PRIMITIVES:
        caller = Caller(work.process, work.actor, work.self_cpu)
        step = READER_PRIMITIVES[name](work.terms, caller, call, context.scope)
        _primitive(work, step, None, entry, leave, node, context)
    elif name in VALUE_PRIMITIVES:
        step = VALUE_PRIMITIVES[name](work.terms, work.self_cpu, call, context.scope)
        _note_atomic(work, name, step)
        _primitive(work, step, into, entry, leave, node, context)
    else:
        known = [*work.terms.program.functions, *PRIMITIVES, *VALUE_PRIMITIVES]
        known += READER_PRIMITIVES
        raise fail(
            "HP301",
            f"there is no function '{name}'",
            call.span,
            help=meant(name, known),
        )


def _note_atomic(work: Lowering, name: str, step: Step) -> None:
    """What an atomic operation is done to is an atomic_t, wherever it is accessed."""
    if name in ATOMIC:
        work.atomics |= {effect.variable for effect in step.effects}


def _primitive(work: Lowering, step: Step, into: Read | None, entry: int, leave: int,
    node: t.Statement, context: Context,
) -> None:  # fmt: skip
    holds: Expr = TRUE
    if step.asserts is not None:
        holds = step.asserts
        failed = work.point(node.span, context)
        work.assertions.add(failed)
        work.edge(entry, failed, node, context, guard=not_(holds))
        if step.goes_on and not context.atomic:
            work.edge(failed, leave, node, context)
    if step.first:
        then = work.point(node.span, context)
        work.edge(entry, then, node, context, effects=step.first)
        entry = then
    effects = step.effects
    if into is not None:
        if step.value is None:
            raise fail("HP313", "this call has no value", node.span)
        value = work.terms.coerce(step.value, into.sort, node.span)
        effects = (*effects, Assign(into.variable, into.indices, value))
    if step.guard == TRUE:
        work.edge(entry, leave, node, context, guard=holds, effects=effects,
                  lock=step.lock)  # fmt: skip
    else:
        guard = and_(holds, step.guard)
        work.wait(node, guard, entry, leave, context, effects, step.lock)


def _pick(work: Lowering, call: t.Call, into: Read | None, entry: int, leave: int,
    node: t.Statement, context: Context,
) -> None:  # fmt: skip
    if into is None:
        raise fail("HP305", "the choice is thrown away: assign it", call.span)
    param, member, order = _picked(work, call, context)
    if not isinstance(into.sort, IndexSort) or into.sort.name != param.sort.name:
        message = f"a {param.sort} is chosen, but the variable has type {into.sort}"
        raise fail("HP302", message, call.span)
    found = Assign(into.variable, into.indices, param)
    choice = Choice(param, member, order)
    work.edge(entry, leave, node, context, effects=(found,), choices=(choice,))
    nobody = Assign(into.variable, into.indices, none_of(param.sort))
    guard = forall(param, not_(member))
    if not into.sort.nullable and guard != FALSE:
        raise fail(
            "HP302",
            "there may be nobody to choose",
            call.span,
            help=f"use a '{into.sort}?' and test it against none",
        )
    work.edge(entry, leave, node, context, guard=guard, effects=(nobody,))


def _picked(
    work: Lowering, call: t.Call, context: Context
) -> tuple[Param, Expr, Order]:
    if call.name in PICKS:
        _, mask, param, scope = work.terms.bound(call, context.scope)
        member = mask.member(param)
        if call.filter is not None:
            member = and_(member, work.terms.boolean(call.filter, scope))
        return param, member, Order(call.name)
    masks = call.args[:2] if call.name == "cpumask_any_and_but" else call.args[:1]
    but = call.args[len(masks) :]
    if not masks or len(but) != (1 if call.name.endswith("but") else 0):
        raise fail("HP303", f"'{call.name}' takes other arguments", call.span)
    sets = [work.terms.mask(mask, context.scope) for mask in masks]
    param = work.terms.fresh("c", sets[0].sort)
    member = and_(*(mask.member(param) for mask in sets))
    for other in but:
        value = work.terms.value(other, context.scope, IndexSort("cpu", True))
        member = and_(member, not_(eq(param, value)))
    return param, member, _PICK_BUILTINS[call.name]


def _inline(work: Lowering, call: t.Call, into: Read | None, entry: int, leave: int,
    node: t.Statement, context: Context,
) -> None:  # fmt: skip
    function = work.terms.program.functions[call.name]
    if function.body is None:
        raise fail("HP305", f"'{call.name}' only has a value: use it", call.span)
    if len(call.args) != len(function.params):
        raise wrong_arity(call, len(function.params))
    if call.name in context.places:
        raise fail("HP315", f"'{call.name}' calls itself", call.span)
    if context.depth >= MAX_INLINE:
        raise fail("HP315", "calls are nested too deeply", call.span)
    _demand_kept({param.name for param in function.params}, function.body)
    inner = Context(
        scope={"this_cpu": work.self_cpu},
        function=call.name,
        component=context.component,
        places=(*context.places, call.name),
        leave=leave,
        callback=context.callback,
        depth=context.depth + 1,
        atomic=context.atomic,
    )
    scope: dict[str, Expr | Mask] = {"this_cpu": work.self_cpu}
    for param, arg in zip(function.params, call.args):
        if isinstance(param.type, t.NamedType) and param.type.name == "cpumask":
            scope[param.name] = work.terms.mask(arg, context.scope)
            continue
        sort = work.terms.type(param.type)
        want = replace(sort, nullable=True) if isinstance(sort, IndexSort) else sort
        value = work.terms.value(arg, context.scope, want)
        if not _is_stable(work, value):
            held = work.local(param.name, want, inner)
            entry, value = _hold(work, held, value, entry, node, context), held
        scope[param.name] = value
    inner = replace(inner, scope=scope)
    work.flow.labels.setdefault(call.name, set()).add(entry)
    _body(work, function, into, entry, leave, node, inner, context)


def _body(work: Lowering, function: t.Function, into: Read | None, entry: int, leave: int,
    node: t.Statement, inner: Context, outer: Context,
) -> None:  # fmt: skip
    assert function.body is not None
    if function.result is None:
        if into is not None:
            raise fail("HP313", f"'{function.name}' returns nothing", node.span)
        end = work.flow.point(f"{function.name}:end", outer.places)
        work.block(function.body, entry, end, replace(inner, leave=end))
        _reset_locals(work, end, leave, function.name, node, inner)
        return
    sort = work.terms.type(function.result)
    result = work.local("return", sort, inner)
    end = work.flow.point(f"{function.name}:end", outer.places)
    inner = replace(inner, leave=end, result=result, result_sort=sort)
    work.block(function.body, entry, end, inner)
    effects: tuple[Assign, ...] = ()
    if into is not None:
        if into.sort != sort and not _fits(sort, into.sort):
            message = f"'{function.name}' returns {sort}, not {into.sort}"
            raise fail("HP302", message, node.span)
        value = held(result, into.sort)
        effects = (Assign(into.variable, into.indices, value),)
    _reset_locals(work, end, leave, function.name, node, inner, effects)


def _reset_locals(work: Lowering, at: int, leave: int, function: str, node: t.Statement,
    context: Context, effects: tuple[Assign, ...] = (),
) -> None:  # fmt: skip
    prefix = f"{work.process}.{function}."
    resets = tuple(
        Assign(v.name, (work.actor,) if work.actor else (), default_of(v.sort))
        for v in work.locals.values()
        if v.name.startswith(prefix) and not v.name.endswith(".visited")
    )
    if effects and effects[0].variable not in work.locals:
        # A shared variable gets the result in a step of its own.
        then = work.point(node.span, context)
        work.edge(at, then, node, context, effects=effects)
        at, effects = then, ()
    work.edge(at, leave, node, context, effects=effects + resets)


def _demand_kept(params: set[str], body: t.Block) -> None:
    """Raises InputError HP312 if one of these parameters is written in the body."""
    for node in nodes_below(body):
        match node:
            case t.AssignTo(target=t.Name(name, span)) if name in params:
                pass
            case t.Call(called, (t.Name(name, span), *_), _) if (
                called in ATOMIC and name in params
            ):
                pass
            case _:
                continue
        raise fail("HP312", f"'{name}' is a parameter: it keeps its value", span,
                   help="copy it to a local variable")  # fmt: skip


def _is_stable(work: Lowering, value: Expr, written: Iterable[str] = ()) -> bool:
    """Whether nobody can change the value while a callee uses it by name.

    The callee itself has the variables `written` for its result.
    """
    if isinstance(value, Param | Const):
        return True
    return all(name in work.locals and name not in written for name in reads(value))


def _hold(work: Lowering, place: Read, value: Expr, entry: int, node: t.Statement,
    context: Context,
) -> int:  # fmt: skip
    """A step that stores the value for a callee; where it is done."""
    then = work.point(node.span, context)
    effect = Assign(place.variable, place.indices, value)
    work.edge(entry, then, node, context, effects=(effect,))
    return then


def _invoke(work: Lowering, call: t.Call, into: Read | None, entry: int, leave: int,
    node: t.Statement, context: Context,
) -> None:  # fmt: skip
    if len(call.args) != 3 or not isinstance(call.args[0], t.Name):
        raise fail(
            "HP303",
            f"'{call.name}' takes a section, a CPU and a hotplug state",
            call.span,
        )
    section = call.args[0].name
    if section not in ("PREPARE", "STARTING", "ONLINE"):
        raise fail("HP303", f"there is no section '{section}'", call.args[0].span,
                   help="PREPARE, STARTING or ONLINE")  # fmt: skip
    cpu = work.terms.value(call.args[1], context.scope, IndexSort("cpu", True))
    state = work.terms.value(call.args[2], context.scope, work.terms.hpstate)
    direction = call.name.removeprefix("invoke_")
    result, then = into, leave
    if result is None or result.variable not in work.locals:
        # Others see what it returns when it is over, not while it runs.
        result = work.local(f"{call.name}.result", BOOL, context)
    if into is not None and into.variable not in work.locals:
        then = work.point(node.span, context)
        stored = Assign(into.variable, into.indices, result)
        cleared = Assign(result.variable, result.indices, FALSE)
        work.edge(then, leave, node, context, effects=(stored, cleared))
    if not _is_stable(work, cpu, (result.variable,)):
        held = work.local(f"{call.name}.cpu", IndexSort("cpu", True), context)
        entry, cpu = _hold(work, held, cpu, entry, node, context), held
    others: Expr = TRUE
    for registered in work.callbacks:
        callback = registered.callback
        if registered.section.value != section or callback.direction != direction:
            continue
        if callback.name in context.places:
            raise fail("HP315", f"'{callback.name}' may invoke itself", call.span)
        _demand_kept({callback.param}, callback.body)
        work.invoked.add(callback.name)
        name = registered.state.identifier
        here = eq(state, work.terms.value(t.Name(name, call.span), {}, state.sort))
        others = and_(others, not_(here))
        inside = Context(
            scope={"this_cpu": work.self_cpu, callback.param: cpu},
            function=callback.name,
            component=registered.component,
            places=(*context.places, callback.name),
            leave=then,
            result=result,
            result_sort=BOOL,
            own_result=(callback.name,),
            callback=registered,
            depth=context.depth + 1,
            atomic=context.atomic,
        )
        start = work.point(callback.body.span, inside)
        ok = Assign(result.variable, result.indices, FALSE)
        outside = replace(inside, places=context.places)
        work.edge(entry, start, callback, outside, guard=here, effects=(ok,))
        end = work.flow.point(f"{callback.name}:end", context.places)
        work.block(callback.body, start, end, replace(inside, leave=end))
        _reset_locals(work, end, then, callback.name, node, inside)
    passed = Assign(result.variable, result.indices, FALSE)
    work.edge(entry, then, node, context, guard=others, effects=(passed,))


def _fits(have: Sort, want: Sort) -> bool:
    same_index = (
        isinstance(have, IndexSort)
        and isinstance(want, IndexSort)
        and have.name == want.name
        and (want.nullable or not have.nullable)
    )
    return same_index or (isinstance(have, RangeSort) and isinstance(want, RangeSort))
