"""Statements to control flow: one `Lowering` per process.

Each simple statement is one atomic step. Functions are inlined; their locals become
variables of the process, reset when the function returns.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from cpuhp.diagnostics import Span, fail, suggestion
from cpuhp.language import tree as t
from cpuhp.language.flow import Edge, Flow, Note, atomic
from cpuhp.language.primitives import PRIMITIVES, VALUE_PRIMITIVES, Step
from cpuhp.language.program import Registered, names_in
from cpuhp.language.reader_locks import READER_PRIMITIVES, Caller
from cpuhp.language.terms import PICKS, Mask, Scope, Terms, wrong_arity
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
    ite,
    none_of,
    not_,
    reads,
)
from cpuhp.model.sorts import (
    BOOL,
    CPU,
    NONE,
    BoolSort,
    EnumSort,
    IndexSort,
    RangeSort,
    Sort,
)
from cpuhp.model.system import Assign, Choice, Order, Origin, Variable

MAX_INLINE = 20
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_PICK_BUILTINS = {
    "cpumask_any_but": Order.ANY,
    "cpumask_any_and_but": Order.ANY,
    "cpumask_any": Order.ANY,
    "cpumask_first": Order.FIRST,
    "cpumask_last": Order.LAST,
}


@dataclass(frozen=True)
class Context:
    """Where a statement stands: names in scope, and where jumps lead."""

    scope: Scope
    function: str
    component: str
    places: tuple[str, ...]  # functions being inlined, for `at`
    leave: int  # where `return` goes
    result: Read | None = None  # what `return e` sets
    result_sort: Sort | None = None
    own_result: tuple[str, ...] = ()  # the callback whose result is 0 until it is set
    loop: tuple[int, int] | None = None  # where `break` and `continue` go
    callback: Registered | None = None
    depth: int = 0
    outermost: bool = False  # directly in the endless loop of a service
    atomic: bool = False


@dataclass
class Lowering:
    """Builds the flow of one process. `actor` is the CPU that runs it, or None."""

    terms: Terms
    process: str
    actor: Param | None
    self_cpu: Expr
    callbacks: tuple[Registered, ...]
    service: bool
    flow: Flow = field(default_factory=Flow)
    locals: dict[str, Variable] = field(default_factory=dict)
    assertions: set[int] = field(default_factory=set)
    invoked: set[str] = field(default_factory=set)

    # -- helpers ---------------------------------------------------------------

    def _point(self, span: Span, context: Context) -> int:
        name = f"{context.function}:{span.line}"
        return self.flow.point(name, context.places)

    def _edge(
        self,
        source: int,
        target: int,
        node: t.Statement | t.Term | t.ForEach,
        context: Context,
        guard: Expr = TRUE,
        effects: tuple[Assign, ...] = (),
        choices: tuple[Choice, ...] = (),
    ) -> None:
        if guard == FALSE or any(choice.among == FALSE for choice in choices):
            return
        registered = context.callback
        origin = None
        state = name = None
        if registered is not None:
            state = registered.state.enumerator or registered.state.name
            name = registered.callback.name
            if registered.source:
                origin = Origin(registered.source, name)
        note = Note(_headline(node), node.span, state, name, origin, context.places)
        self.flow.edges.append(Edge(source, target, guard, choices, effects, note))

    def local(
        self, name: str, sort: Sort, context: Context, span: Span | None = None
    ) -> Read:
        """A variable of this process, made at first use."""
        full = f"{self.process}.{context.function}.{name}"
        indices = (CPU,) if self.actor else ()
        if full not in self.locals:
            params = (Param(f"{full}#", CPU),) if self.actor else ()
            self.locals[full] = Variable(
                full, sort, indices, default_of(sort), params, owner=self.process
            )
        elif self.locals[full].sort != sort:
            have = self.locals[full].sort
            message = f"'{name}' has type {have} and type {sort} in the same function"
            raise fail("HP302", message, span, help="give one another name")
        return Read(full, (self.actor,) if self.actor else (), sort)

    # -- statements ------------------------------------------------------------

    def statement(
        self, node: t.Statement, entry: int, leave: int, context: Context
    ) -> Context:
        """Lower one statement; returns the context for the statements after it."""
        match node:
            case t.Block():
                self.block(node, entry, leave, context)
            case t.Declare():
                return self._declare(node, entry, leave, context)
            case t.AssignTo():
                self._assign(node, entry, leave, context)
            case t.If():
                self._if(node, entry, leave, context)
            case t.While():
                self._while(node, entry, leave, context)
            case t.ForEach(at_once=True):
                self._for_all(node, entry, leave, context)
            case t.ForEach():
                self._for_each(node, entry, leave, context)
            case t.Either(branches, _):
                for branch in branches:
                    start = self._point(branch.span, context)
                    self._edge(entry, start, node, context)
                    self.block(branch, start, leave, context)
            case t.Return():
                self._return(node, entry, context)
            case t.Jump(kind, span):
                if context.loop is None:
                    raise fail("HP311", f"'{kind}' outside of a loop", span)
                target = context.loop[0 if kind == "break" else 1]
                self._edge(entry, target, node, context)
            case t.Atomic():
                self._atomic(node, entry, leave, context)
            case t.Wait(condition, _):
                self._wait(node, self.terms.boolean(condition, context.scope),
                           entry, leave, context)  # fmt: skip
            case t.CallStatement(call, _):
                self._call(call, None, entry, leave, node, context)
            case t.Label(name, body, _):
                self.flow.labels.setdefault(name, set()).add(entry)
                self.statement(body, entry, leave, context)
        return context

    def block(self, node: t.Block, entry: int, leave: int, context: Context) -> None:
        at = entry
        statements = [s for s in map(self._chosen, node.statements) if s is not None]
        for index, statement in enumerate(statements):
            last = index == len(statements) - 1
            then = leave if last else self._point(statements[index + 1].span, context)
            context = self.statement(statement, at, then, context)
            at = then
        if not statements:
            self._edge(entry, leave, node, context)

    def _chosen(self, node: t.Statement) -> t.Statement | None:
        """What options leave of a statement: an `if` that they decide takes no step."""
        while isinstance(node, t.If) and self._is_fixed(node.condition):
            holds = self.terms.boolean(node.condition, {}) == TRUE
            branch = node.then if holds else node.otherwise
            if branch is None or branch == t.Block((), branch.span):
                return None
            node = branch
        return node

    def _is_fixed(self, condition: t.Term) -> bool:
        names = {name for name, _ in names_in(condition)}
        program = self.terms.program
        values = {v for sort in program.enums.values() for v in sort.values}
        return bool(names & program.options.keys()) and not (
            names - program.options.keys() - values - {"true", "false"}
        )

    def _declare(
        self, node: t.Declare, entry: int, leave: int, context: Context
    ) -> Context:
        sort = self.terms.type(node.type)
        target = self.local(node.name, sort, context, node.span)
        if node.value is None:
            value = default_of(sort)
            effect = Assign(target.variable, target.indices, value)
            self._edge(entry, leave, node, context, effects=(effect,))
        else:
            self._set(target, node.value, entry, leave, node, context)
        return replace(context, scope={**context.scope, node.name: target})

    def _assign(
        self, node: t.AssignTo, entry: int, leave: int, context: Context
    ) -> None:
        target = node.target
        if not self._is_value(target, context):
            self._assign_mask(node, entry, leave, context)
            return
        place = self.terms.value(target, context.scope)
        if not isinstance(place, Read):
            raise fail("HP312", "this cannot be assigned to", target.span)
        declared = self.terms.program.variables.get(place.variable)
        if declared is not None and declared.declaration.constant:
            note = ("declared here", declared.declaration.span)
            raise fail("HP312", "a constant cannot be assigned to", target.span,
                       notes=(note,))  # fmt: skip
        self._set(place, node.value, entry, leave, node, context)

    def _is_value(self, target: t.Term, context: Context) -> bool:
        if isinstance(target, t.Name):
            declared = self.terms.program.variables.get(target.name)
            return target.name in context.scope or not declared or not declared.indices
        base, depth = target, 0
        while isinstance(base, t.Index):
            base, depth = base.base, depth + 1
        if not isinstance(base, t.Name):
            return True
        declared = self.terms.program.variables.get(base.name)
        return declared is None or len(declared.indices) <= depth

    def _assign_mask(
        self, node: t.AssignTo, entry: int, leave: int, context: Context
    ) -> None:
        base: t.Term = node.target
        if isinstance(base, t.Index):
            base = base.base
        declared = self.terms.program.variables.get(getattr(base, "name", ""))
        if declared is not None and declared.sort != BOOL:
            raise fail("HP303", f"'{base.span.text}' has one value per "
                       f"{declared.indices[0].name}", base.span,
                       help=f"{base.span.text}[c] = ...; or forall (c in cpus) ...")  # fmt: skip
        mask = self.terms.mask(node.value, context.scope)
        param = self.terms.fresh("c", mask.sort)
        target = self.terms.mask(node.target, context.scope).member(param)
        assert isinstance(target, Read)
        effect = Assign(target.variable, target.indices, mask.member(param), (param,))
        self._edge(entry, leave, node, context, effects=(effect,))

    def _set(
        self, place: Read, value: t.Term, entry: int, leave: int,
        node: t.Statement, context: Context,
    ) -> None:  # fmt: skip
        """`place = value`, where the value may be a call that takes steps."""
        if isinstance(value, t.Call) and self._takes_steps(value):
            self._call(value, place, entry, leave, node, context)
            return
        expr = self.terms.value(value, context.scope, place.sort)
        effect = Assign(place.variable, place.indices, expr)
        shared = place.variable not in self.locals
        if shared and place.variable in reads(expr) and not context.atomic:
            # A plain read-modify-write: others may come between the two.
            held = self.local(f"old.{place.variable}", place.sort, context)
            middle = self._point(node.span, context)
            load = Assign(held.variable, held.indices, expr)
            self._edge(entry, middle, node, context, effects=(load,))
            store = Assign(place.variable, place.indices, held)
            clear = Assign(held.variable, held.indices, default_of(place.sort))
            self._edge(middle, leave, node, context, effects=(store, clear))
            return
        self._edge(entry, leave, node, context, effects=(effect,))

    def _takes_steps(self, call: t.Call) -> bool:
        function = self.terms.program.functions.get(call.name)
        if function is not None:
            return function.formula is None
        return (
            call.name in PICKS
            or call.name in _PICK_BUILTINS
            or call.name in VALUE_PRIMITIVES
            or call.name in ("invoke_startup", "invoke_teardown")
        )

    def _if(self, node: t.If, entry: int, leave: int, context: Context) -> None:
        if isinstance(node.condition, t.Call) and self._takes_steps(node.condition):
            held = self.local(f"if.{node.span.line}", BOOL, context)
            decide = self._point(node.span, context)
            self._set(held, node.condition, entry, decide, node, context)
            condition: Expr = held
            entry = decide
        else:
            condition = self.terms.boolean(node.condition, context.scope)
        inner = replace(context, outermost=False)
        then = self._point(node.then.span, inner)
        self._edge(entry, then, node, context, guard=condition)
        empty = t.Block((), node.span)
        self.statement(self._chosen(node.then) or empty, then, leave, inner)
        if node.otherwise is None:
            self._edge(entry, leave, node, context, guard=not_(condition))
        else:
            other = self._point(node.otherwise.span, inner)
            self._edge(entry, other, node, context, guard=not_(condition))
            otherwise = self._chosen(node.otherwise) or empty
            self.statement(otherwise, other, leave, inner)

    def _while(self, node: t.While, entry: int, leave: int, context: Context) -> None:
        body = self._point(node.body.span, context)
        endless = node.condition is None
        inner = replace(
            context,
            loop=(leave, entry),
            outermost=endless and self.service and context.depth == 0,
        )
        if endless:
            # The loop is entered at its body: a service rests at the wait in there.
            inner = replace(inner, loop=(leave, body))
            self._edge(entry, body, node, context)
            self.statement(node.body, body, body, inner)
            return
        assert node.condition is not None
        condition = self.terms.boolean(node.condition, context.scope)
        self._edge(entry, body, node, context, guard=condition)
        self._edge(entry, leave, node, context, guard=not_(condition))
        self.statement(node.body, body, entry, inner)

    def _wait(
        self, node: t.Statement, condition: Expr, entry: int, leave: int,
        context: Context, effects: tuple[Assign, ...] = (),
    ) -> None:  # fmt: skip
        self.flow.waits.add(entry)
        if context.outermost:
            self.flow.resting.add(entry)
        self._edge(entry, leave, node, context, guard=condition, effects=effects)

    def _return(self, node: t.Return, entry: int, context: Context) -> None:
        if node.value is None:
            if context.result is not None:
                raise fail("HP313", "this function returns a value", node.span)
            self._edge(entry, context.leave, node, context)
        elif context.result is not None:
            inner = replace(context, outermost=False)
            if context.result_sort == BOOL and node.value == t.Number(0, node.span):
                effect = Assign(context.result.variable, context.result.indices, FALSE)
                # Whoever invokes a callback has set its result to 0 already; so one
                # that cannot fail writes nothing, and slicing can leave it out.
                effects = () if context.places[-1:] == context.own_result else (effect,)
                self._edge(entry, context.leave, node, context, effects=effects)
            else:
                self._set(context.result, node.value, entry, context.leave, node, inner)
        elif context.callback is not None:
            self._edge(entry, context.leave, node, context)
        else:
            raise fail("HP313", "this function returns nothing", node.span)

    # -- loops over sets ---------------------------------------------------------

    def _for_each(
        self, node: t.ForEach, entry: int, leave: int, context: Context
    ) -> None:
        mask = self.terms.mask(node.among, context.scope)
        if mask.sort.name != "cpu":
            self._unroll(node, mask, entry, leave, context)
            return
        tag = f"{node.variable}.{node.span.line}"
        element = self.local(tag, IndexSort("cpu", True), context)
        visited = self._visited(tag, context)
        param = self.terms.fresh(node.variable, mask.sort)
        scope = {**context.scope, node.variable: param}
        member = mask.member(param)
        if node.filter is not None:
            member = and_(member, self.terms.boolean(node.filter, scope))
        member = and_(member, not_(visited(param)))
        body = self._point(node.body.span, context)
        picked = (
            Assign(element.variable, element.indices, param),
            _assign_to(visited(param), TRUE),
        )
        choice = Choice(param, member, Order.FIRST)
        self._edge(entry, body, node, context, effects=picked, choices=(choice,))
        other = self.terms.fresh(node.variable, mask.sort)
        cleared = visited(other)
        done = (
            Assign(element.variable, element.indices, none_of(CPU)),
            Assign(cleared.variable, cleared.indices, FALSE, (other,)),
        )
        left = forall(param, not_(member))
        end = self._point(node.span, context)
        self._edge(entry, end, node, context, guard=left, effects=done)
        self._edge(end, leave, node, context)
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
        self.statement(node.body, body, entry, inner)

    def _visited(self, tag: str, context: Context) -> Callable[[Expr], Read]:
        name = f"{self.process}.{context.function}.{tag}.visited"
        indices = (CPU, CPU) if self.actor else (CPU,)
        params = tuple(Param(f"{name}#{i}", CPU) for i in range(len(indices)))
        self.locals.setdefault(
            name, Variable(name, BOOL, indices, FALSE, params, owner=self.process)
        )
        prefix: tuple[Expr, ...] = (self.actor,) if self.actor else ()
        return lambda cpu: Read(name, (*prefix, cpu), BOOL)

    def _unroll(
        self, node: t.ForEach, mask: Mask, entry: int, leave: int, context: Context
    ) -> None:
        size = self.terms.program.sizes[mask.sort.name]
        at = entry
        for number in range(size):
            then = leave if number == size - 1 else self._point(node.span, context)
            element = Const(number, mask.sort)
            scope = {**context.scope, node.variable: element}
            member = mask.member(element)
            if node.filter is not None:
                member = and_(member, self.terms.boolean(node.filter, scope))
            body = self._point(node.body.span, context)
            self._edge(at, body, node, context, guard=member)
            self._edge(at, then, node, context, guard=not_(member))
            inner = replace(context, scope=scope, loop=(leave, then), outermost=False)
            self.statement(node.body, body, then, inner)
            at = then

    def _for_all(
        self, node: t.ForEach, entry: int, leave: int, context: Context
    ) -> None:
        mask = self.terms.mask(node.among, context.scope)
        param = self.terms.fresh(node.variable, mask.sort)
        scope = {**context.scope, node.variable: param}
        member = mask.member(param)
        if node.filter is not None:
            member = and_(member, self.terms.boolean(node.filter, scope))
        body = node.body.statements if isinstance(node.body, t.Block) else (node.body,)
        effects = []
        for statement in body:
            if not isinstance(statement, t.AssignTo):
                raise fail("HP314", "forall does assignments only", statement.span)
            place = self.terms.value(statement.target, scope)
            if not isinstance(place, Read):
                raise fail("HP312", "this cannot be assigned to", statement.span)
            value = self.terms.value(statement.value, scope, place.sort)
            effects.append(
                Assign(
                    place.variable, place.indices, ite(member, value, place), (param,)
                )  # fmt: skip
            )
        self._edge(entry, leave, node, context, effects=tuple(effects))

    def _atomic(self, node: t.Atomic, entry: int, leave: int, context: Context) -> None:
        before = len(self.flow.edges)
        first = len(self.flow.names)
        start = self._point(node.span, context)
        self.block(node.body, start, leave, replace(context, atomic=True))
        edges = self.flow.edges[before:]
        del self.flow.edges[before:]
        inner = set(range(first, len(self.flow.names))) - self.assertions
        blocking = bool(inner & self.flow.waits)
        self.flow.waits -= inner
        if inner & self.flow.resting or blocking:
            self.flow.waits.add(entry)
        if inner & self.flow.resting:
            self.flow.resting = (self.flow.resting - inner) | {entry}
        for joined in atomic(edges, start, inner, node.span):
            note = joined.note and replace(joined.note, text=_headline(node))
            self.flow.edges.append(replace(joined, source=entry, note=note))

    # -- calls -------------------------------------------------------------------

    def _call(
        self, call: t.Call, into: Read | None, entry: int, leave: int,
        node: t.Statement, context: Context,
    ) -> None:  # fmt: skip
        name = call.name
        if name in PICKS or name in _PICK_BUILTINS:
            self._pick(call, into, entry, leave, node, context)
        elif name in ("invoke_startup", "invoke_teardown"):
            self._invoke(call, into, entry, leave, node, context)
        elif name in self.terms.program.functions:
            self._inline(call, into, entry, leave, node, context)
        elif name in PRIMITIVES:
            step = PRIMITIVES[name](self.terms, self.self_cpu, call, context.scope)
            self._primitive(step, None, entry, leave, node, context)
        elif name in READER_PRIMITIVES:
            caller = Caller(self.process, self.actor, self.self_cpu)
            step = READER_PRIMITIVES[name](self.terms, caller, call, context.scope)
            self._primitive(step, None, entry, leave, node, context)
        elif name in VALUE_PRIMITIVES:
            step = VALUE_PRIMITIVES[name](
                self.terms, self.self_cpu, call, context.scope
            )
            self._primitive(step, into, entry, leave, node, context)
        else:
            known = [*self.terms.program.functions, *PRIMITIVES, *VALUE_PRIMITIVES]
            known += READER_PRIMITIVES
            raise fail(
                "HP301",
                f"there is no function '{name}'",
                call.span,
                help=suggestion(name, known),
            )

    def _primitive(
        self, step: Step, into: Read | None, entry: int, leave: int,
        node: t.Statement, context: Context,
    ) -> None:  # fmt: skip
        if step.asserts is not None:
            failed = self._point(node.span, context)
            self.assertions.add(failed)
            self._edge(entry, failed, node, context, guard=not_(step.asserts))
            self._edge(entry, leave, node, context, guard=step.asserts)
            return
        if step.first:
            then = self._point(node.span, context)
            self._edge(entry, then, node, context, effects=step.first)
            entry = then
        effects = step.effects
        if into is not None:
            if step.value is None:
                raise fail("HP313", "this call has no value", node.span)
            value = self.terms.coerce(step.value, into.sort, node.span)
            effects = (*effects, Assign(into.variable, into.indices, value))
        if step.guard == TRUE:
            self._edge(entry, leave, node, context, effects=effects)
        else:
            self._wait(node, step.guard, entry, leave, context, effects)

    def _pick(
        self, call: t.Call, into: Read | None, entry: int, leave: int,
        node: t.Statement, context: Context,
    ) -> None:  # fmt: skip
        if into is None:
            raise fail("HP305", "the choice is thrown away: assign it", call.span)
        param, member, order = self._picked(call, context)
        if not isinstance(into.sort, IndexSort) or into.sort.name != param.sort.name:
            message = f"a {param.sort} is chosen, but the variable has type {into.sort}"
            raise fail("HP302", message, call.span)
        found = Assign(into.variable, into.indices, param)
        choice = Choice(param, member, order)
        self._edge(entry, leave, node, context, effects=(found,), choices=(choice,))
        nobody = Assign(into.variable, into.indices, none_of(param.sort))
        guard = forall(param, not_(member))
        if not into.sort.nullable and guard != FALSE:
            raise fail(
                "HP302",
                "there may be nobody to choose",
                call.span,
                help=f"use a '{into.sort}?' and test it against none",
            )
        self._edge(entry, leave, node, context, guard=guard, effects=(nobody,))

    def _picked(self, call: t.Call, context: Context) -> tuple[Param, Expr, Order]:
        if call.name in PICKS:
            _, mask, param, scope = self.terms.bound(call, context.scope)
            member = mask.member(param)
            if call.filter is not None:
                member = and_(member, self.terms.boolean(call.filter, scope))
            return param, member, Order(call.name)
        masks = call.args[:2] if call.name == "cpumask_any_and_but" else call.args[:1]
        but = call.args[len(masks) :]
        if not masks or len(but) != (1 if call.name.endswith("but") else 0):
            raise fail("HP303", f"'{call.name}' takes other arguments", call.span)
        sets = [self.terms.mask(mask, context.scope) for mask in masks]
        param = self.terms.fresh("c", sets[0].sort)
        member = and_(*(mask.member(param) for mask in sets))
        for other in but:
            value = self.terms.value(other, context.scope, IndexSort("cpu", True))
            member = and_(member, not_(eq(param, value)))
        return param, member, _PICK_BUILTINS[call.name]

    def _inline(
        self, call: t.Call, into: Read | None, entry: int, leave: int,
        node: t.Statement, context: Context,
    ) -> None:  # fmt: skip
        function = self.terms.program.functions[call.name]
        if function.body is None:
            raise fail("HP305", f"'{call.name}' only has a value: use it", call.span)
        if len(call.args) != len(function.params):
            raise wrong_arity(call, len(function.params))
        if call.name in context.places:
            raise fail("HP315", f"'{call.name}' calls itself", call.span)
        if context.depth >= MAX_INLINE:
            raise fail("HP315", "calls are nested too deeply", call.span)
        inner = Context(
            scope={"this_cpu": self.self_cpu},
            function=call.name,
            component=context.component,
            places=(*context.places, call.name),
            leave=leave,
            callback=context.callback,
            depth=context.depth + 1,
            atomic=context.atomic,
        )
        scope: dict[str, Expr | Mask] = {"this_cpu": self.self_cpu}
        for param, arg in zip(function.params, call.args):
            if isinstance(param.type, t.NamedType) and param.type.name == "cpumask":
                scope[param.name] = self.terms.mask(arg, context.scope)
                continue
            sort = self.terms.type(param.type)
            want = replace(sort, nullable=True) if isinstance(sort, IndexSort) else sort
            value = self.terms.value(arg, context.scope, want)
            if not self._is_stable(value):
                held = self.local(param.name, want, inner)
                then = self._point(node.span, context)
                effect = Assign(held.variable, held.indices, value)
                self._edge(entry, then, node, context, effects=(effect,))
                entry, value = then, held
            scope[param.name] = value
        inner = replace(inner, scope=scope)
        self.flow.labels.setdefault(call.name, set()).add(entry)
        self._body(function, into, entry, leave, node, inner, context)

    def _body(
        self, function: t.Function, into: Read | None, entry: int, leave: int,
        node: t.Statement, inner: Context, outer: Context,
    ) -> None:  # fmt: skip
        assert function.body is not None
        if function.result is None:
            if into is not None:
                raise fail("HP313", f"'{function.name}' returns nothing", node.span)
            end = self.flow.point(f"{function.name}:end", outer.places)
            self.block(function.body, entry, end, replace(inner, leave=end))
            self._reset_locals(end, leave, function.name, node, inner)
            return
        sort = self.terms.type(function.result)
        result = self.local("return", sort, inner)
        end = self.flow.point(f"{function.name}:end", outer.places)
        inner = replace(inner, leave=end, result=result, result_sort=sort)
        self.block(function.body, entry, end, inner)
        effects: tuple[Assign, ...] = ()
        if into is not None:
            if into.sort != sort and not _fits(sort, into.sort):
                message = f"'{function.name}' returns {sort}, not {into.sort}"
                raise fail("HP302", message, node.span)
            effects = (Assign(into.variable, into.indices, result),)
        self._reset_locals(end, leave, function.name, node, inner, effects)

    def _reset_locals(
        self, at: int, leave: int, function: str, node: t.Statement,
        context: Context, effects: tuple[Assign, ...] = (),
    ) -> None:  # fmt: skip
        prefix = f"{self.process}.{function}."
        resets = tuple(
            Assign(v.name, (self.actor,) if self.actor else (), default_of(v.sort))
            for v in self.locals.values()
            if v.name.startswith(prefix) and not v.name.endswith(".visited")
        )
        if effects and effects[0].variable not in self.locals:
            # A shared variable gets the result in a step of its own.
            then = self._point(node.span, context)
            self._edge(at, then, node, context, effects=effects)
            at, effects = then, ()
        self._edge(at, leave, node, context, effects=effects + resets)

    def _is_stable(self, value: Expr) -> bool:
        """Whether nobody can change the value while a callee uses it by name."""
        return all(name in self.locals for name in reads(value)) or isinstance(
            value, Param | Const
        )

    def _invoke(
        self, call: t.Call, into: Read | None, entry: int, leave: int,
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
        cpu = self.terms.value(call.args[1], context.scope, IndexSort("cpu", True))
        state = self.terms.value(call.args[2], context.scope, self.terms.hpstate)
        direction = call.name.removeprefix("invoke_")
        result = into or self.local(
            "result", BOOL, replace(context, function=call.name)
        )
        others: Expr = TRUE
        for registered in self.callbacks:
            callback = registered.callback
            if registered.section.value != section or callback.direction != direction:
                continue
            self.invoked.add(callback.name)
            name = registered.state.enumerator or registered.state.name
            here = eq(state, self.terms.value(t.Name(name, call.span), {}, state.sort))
            others = and_(others, not_(here))
            inside = Context(
                scope={"this_cpu": self.self_cpu, callback.param: cpu},
                function=callback.name,
                component=registered.component,
                places=(*context.places, callback.name),
                leave=leave,
                result=result,
                result_sort=BOOL,
                own_result=(callback.name,),
                callback=registered,
                depth=context.depth + 1,
            )
            start = self._point(callback.body.span, inside)
            ok = Assign(result.variable, result.indices, FALSE)
            outside = replace(inside, places=context.places)
            self._edge(entry, start, callback, outside, guard=here, effects=(ok,))
            end = self.flow.point(f"{callback.name}:end", context.places)
            self.block(callback.body, start, end, replace(inside, leave=end))
            self._reset_locals(end, leave, callback.name, node, inside)
        passed = Assign(result.variable, result.indices, FALSE)
        self._edge(entry, leave, node, context, guard=others, effects=(passed,))


def default_of(sort: Sort) -> Const:
    """The value of a variable that the spec does not initialise."""
    match sort:
        case RangeSort(low, _):
            return Const(max(low, 0), sort)
        case IndexSort(_, True):
            return Const(NONE, sort)
        case BoolSort() | EnumSort() | IndexSort():
            return Const(0, sort)
        case _:
            return Const(0, sort)


def _fits(have: Sort, want: Sort) -> bool:
    same_index = (
        isinstance(have, IndexSort)
        and isinstance(want, IndexSort)
        and have.name == want.name
        and (want.nullable or not have.nullable)
    )
    return same_index or (isinstance(have, RangeSort) and isinstance(want, RangeSort))


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


def _headline(node: object) -> str:
    """The statement in one line, without the bodies of loops and branches."""
    span: Span = node.span  # type: ignore[attr-defined]
    text = _COMMENT.sub("", span.text)
    if isinstance(node, t.If | t.While | t.ForEach | t.Callback):
        text = _head(text) if not isinstance(node, t.Callback) else text.split("{")[0]
    text = " ".join(text.split()).rstrip(";")
    return text if len(text) <= 90 else text[:87] + "..."


def _head(text: str) -> str:
    """`if (condition)` of `if (condition) { ... }`."""
    depth = 0
    for offset, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == ")" and depth == 0:
            return text[: offset + 1]
    return text
