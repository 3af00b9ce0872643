"""Statements to control flow: one `Lowering` per process.

Each simple statement is one atomic step. Functions are inlined; their locals become
variables of the process, reset when the function returns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

from cpuhp.diagnostics import Span, fail
from cpuhp.language import calls, loops
from cpuhp.language import tree as t
from cpuhp.language.context import Context, default_of, demand_a_new_name
from cpuhp.language.declarations import demand_a_default
from cpuhp.language.flow import Edge, Flow, LockUse, Note, atomic
from cpuhp.language.headline import headline
from cpuhp.language.program import Registered
from cpuhp.language.terms import Terms
from cpuhp.language.tree import names_in
from cpuhp.language.variables import initial_value
from cpuhp.model.expr import (
    FALSE,
    TRUE,
    Apply,
    Const,
    Expr,
    Op,
    Param,
    Read,
    eq,
    not_,
    or_,
    reads,
)
from cpuhp.model.sorts import (
    BOOL,
    CPU,
    CounterSort,
    EnumSort,
    Sort,
)
from cpuhp.model.system import Assign, Choice, Origin, Variable


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
    atomics: set[str] = field(default_factory=set)  # operands of atomic operations

    # -- helpers ---------------------------------------------------------------

    def point(self, span: Span, context: Context) -> int:
        name = f"{context.function}:{span.line}"
        return self.flow.point(name, context.places)

    def edge(
        self,
        source: int,
        target: int,
        node: t.Statement | t.Term | t.Callback,
        context: Context,
        guard: Expr = TRUE,
        effects: tuple[Assign, ...] = (),
        choices: tuple[Choice, ...] = (),
        lock: LockUse | None = None,
    ) -> None:
        if guard == FALSE or any(choice.among == FALSE for choice in choices):
            return
        for effect in effects:
            self._demand_variable(effect.variable, node.span, lock)
        registered = context.callback
        origin = None
        state = name = None
        if registered is not None:
            state = registered.state.identifier
            name = registered.callback.name
            if registered.source:
                origin = Origin(registered.source, name)
        note = Note(headline(node), node.span, state, name, origin, context.places)
        uses = (lock,) if lock is not None else ()
        edge = Edge(source, target, guard, choices, effects, note, uses)
        self.flow.edges.append(edge)

    def _demand_variable(self, name: str, span: Span, lock: LockUse | None) -> None:
        """Raises InputError HP312 if a step must not assign this."""
        declared = self.terms.program.variables.get(name)
        if declared is None:
            return
        if declared.declaration.constant:
            note = ("declared here", declared.declaration.span)
            raise fail("HP312", "a constant cannot be assigned to", span, notes=(note,))
        if declared.lock and lock is None:
            raise fail("HP312", "a lock cannot be assigned to", span,
                       help="who takes it lets it go: mutex_lock(...), mutex_unlock(...)")  # fmt: skip

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
                loops.for_all(self, node, entry, leave, context)
            case t.ForEach():
                loops.for_each(self, node, entry, leave, context)
            case t.Either(branches, _):
                inner = replace(context, outermost=False)
                for branch in branches:
                    start = self.point(branch.span, inner)
                    self.edge(entry, start, node, context)
                    self.block(branch, start, leave, inner)
            case t.Return():
                self._return(node, entry, context)
            case t.Jump(kind, span):
                if context.loop is None:
                    raise fail("HP311", f"'{kind}' outside of a loop", span)
                target = context.loop[0 if kind == "break" else 1]
                self.edge(entry, target, node, context)
            case t.Atomic():
                self._atomic(node, entry, leave, context)
            case t.Wait(condition, _):
                self.wait(node, self.terms.boolean(condition, context.scope),
                           entry, leave, context)  # fmt: skip
            case t.CallStatement(call, _):
                calls.call(self, call, None, entry, leave, node, context)
            case t.Label(name, body, span):
                if name in ("end", "resting"):
                    raise fail("HP204", f"'{name}' is a place of every process", span,
                               help="give the label another name")  # fmt: skip
                self.flow.labels.setdefault(name, set()).add(entry)
                self.statement(body, entry, leave, context)
        return context

    def block(self, node: t.Block, entry: int, leave: int, context: Context) -> None:
        at = entry
        statements: list[t.Statement] = []
        own = set(context.scope)
        for written in node.statements:
            if isinstance(written, t.Declare):
                own.add(written.name)
            chosen = self._chosen(written, own)
            statements += [] if chosen is None else [chosen]
        for index, statement in enumerate(statements):
            last = index == len(statements) - 1
            then = leave if last else self.point(statements[index + 1].span, context)
            context = self.statement(statement, at, then, context)
            at = then
        if not statements:
            self.edge(entry, leave, node, context)

    def _chosen(self, node: t.Statement, own: Collection[str]) -> t.Statement | None:
        """What options leave of a statement: an `if` that they decide takes no step.

        Names in `own` are known here, and no options.
        """
        while isinstance(node, t.If) and self._is_fixed(node.condition, own):
            holds = self.terms.boolean(node.condition, {}) == TRUE
            branch = node.then if holds else node.otherwise
            if branch is None or branch == t.Block((), branch.span):
                return None
            node = branch
        return node

    def _is_fixed(self, condition: t.Term, own: Collection[str]) -> bool:
        """Do options alone decide? Not so if a formula beside them looks at a state."""
        names = {name for name, _ in names_in(condition)}
        program = self.terms.program
        values = {v for sort in program.enums.values() for v in sort.values}
        known = program.options.keys() | values | {"true", "false"}
        if not names & program.options.keys() or names - known or names & {*own}:
            return False
        return isinstance(self.terms.boolean(condition, {}), Const)

    def _declare(
        self, node: t.Declare, entry: int, leave: int, context: Context
    ) -> Context:
        demand_a_new_name(node.name, context.scope, node.span)
        sort = self.terms.type(node.type)
        target = self.local(node.name, sort, context, node.span)
        if node.value is None:
            demand_a_default(sort, node.name, node.span)
            value = default_of(sort)
            effect = Assign(target.variable, target.indices, value)
            self.edge(entry, leave, node, context, effects=(effect,))
        else:
            self.assign_value(target, node.value, entry, leave, node, context)
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
        self.assign_value(place, node.value, entry, leave, node, context)

    def _is_value(self, target: t.Term, context: Context) -> bool:
        if isinstance(target, t.Name):
            declared = self.terms.program.variables.get(target.name)
            return target.name in context.scope or not declared or not declared.indices
        base: t.Term = target
        depth = 0
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
        self.edge(entry, leave, node, context, effects=(effect,))

    def assign_value(
        self, place: Read, value: t.Term, entry: int, leave: int,
        node: t.Statement, context: Context,
    ) -> None:  # fmt: skip
        """`place = value`, where the value may be a call that takes steps."""
        if isinstance(value, t.Call) and calls.takes_steps(self, value):
            calls.call(self, value, place, entry, leave, node, context)
            return
        expr = self.terms.value(value, context.scope, place.sort)
        for guard, told in ((TRUE, expr), *self._passing(expr)):
            self._store(place, told, guard, entry, leave, node, context)

    def _passing(self, expr: Expr) -> Iterator[tuple[Expr, Expr]]:
        """A step through the table may stay at a row that stands for several."""
        match expr:
            case Apply(Op.ADD | Op.SUB, (row, _), EnumSort(_, names) as sort):
                merged = [
                    n for n, name in enumerate(names) if name in self.terms.merged
                ]
                if merged:
                    yield or_(*(eq(row, Const(n, sort)) for n in merged)), row

    def _store(
        self, place: Read, expr: Expr, guard: Expr, entry: int, leave: int,
        node: t.Statement, context: Context,
    ) -> None:  # fmt: skip
        effect = Assign(place.variable, place.indices, expr)
        shared = place.variable not in self.locals
        if shared and place.variable in reads(expr) and not context.atomic:
            # A plain read-modify-write: others may come between the two.
            held = self._register(place, context)
            middle = self.point(node.span, context)
            load = Assign(held.variable, held.indices, expr)
            self.edge(entry, middle, node, context, guard=guard, effects=(load,))
            store = Assign(place.variable, place.indices, held)
            effects: tuple[Assign, ...] = (store,)
            if not self._follows(place):
                clear = Assign(held.variable, held.indices, default_of(place.sort))
                effects = (store, clear)
            self.edge(middle, leave, node, context, effects=effects)
            return
        self.edge(entry, leave, node, context, guard=guard, effects=(effect,))

    def _register(self, place: Read, context: Context) -> Read:
        """Where the process holds the new value of a place until it is stored."""
        own = replace(context, function="register")
        held = self.local(place.variable, place.sort, own)
        if self._follows(place):
            declared = self.terms.program.variables[place.variable]
            initial = initial_value(self.terms, declared)
            if initial is not None:
                found = replace(self.locals[held.variable], initial=initial)
                self.locals[held.variable] = found
        return held

    def _follows(self, place: Read) -> bool:
        """Does a register keep what was stored, from the start, as if it were the place?

        Others are cleared, so that there are fewer states. A counter is seen as its
        difference to what it counts: a register that stood still would drift.
        """
        is_counter = isinstance(place.sort, CounterSort)
        return is_counter and not self.actor and not place.indices

    def _if(self, node: t.If, entry: int, leave: int, context: Context) -> None:
        if isinstance(node.condition, t.Call) and calls.takes_steps(
            self, node.condition
        ):
            held = self.local(f"if.{node.span.line}", BOOL, context)
            decide = self.point(node.span, context)
            self.assign_value(held, node.condition, entry, decide, node, context)
            condition: Expr = held
            entry = decide
        else:
            condition = self.terms.boolean(node.condition, context.scope)
        inner = replace(context, outermost=False)
        then = self.point(node.then.span, inner)
        self.edge(entry, then, node, context, guard=condition)
        empty = t.Block((), node.span)
        self.statement(
            self._chosen(node.then, inner.scope) or empty, then, leave, inner
        )
        if node.otherwise is None:
            self.edge(entry, leave, node, context, guard=not_(condition))
        else:
            other = self.point(node.otherwise.span, inner)
            self.edge(entry, other, node, context, guard=not_(condition))
            otherwise = self._chosen(node.otherwise, inner.scope) or empty
            self.statement(otherwise, other, leave, inner)

    def _while(self, node: t.While, entry: int, leave: int, context: Context) -> None:
        body = self.point(node.body.span, context)
        endless = node.condition is None
        inner = replace(
            context,
            loop=(leave, entry),
            outermost=(
                endless and self.service and context.depth == 0 and context.loop is None
            ),
        )
        if endless:
            # The loop is entered at its body: a service rests at the wait in there.
            inner = replace(inner, loop=(leave, body))
            self.edge(entry, body, node, context)
            self.statement(node.body, body, body, inner)
            return
        assert node.condition is not None
        condition = self.terms.boolean(node.condition, context.scope)
        self.edge(entry, body, node, context, guard=condition)
        self.edge(entry, leave, node, context, guard=not_(condition))
        self.statement(node.body, body, entry, inner)

    def wait(
        self, node: t.Statement, condition: Expr, entry: int, leave: int,
        context: Context, effects: tuple[Assign, ...] = (),
        lock: LockUse | None = None,
    ) -> None:  # fmt: skip
        self.flow.waits.add(entry)
        if context.outermost and lock is None:  # who waits for a lock does not rest
            self.flow.resting.add(entry)
        self.edge(
            entry, leave, node, context, guard=condition, effects=effects, lock=lock
        )

    def _return(self, node: t.Return, entry: int, context: Context) -> None:
        if node.value is None:
            if context.result is not None:
                raise fail("HP313", "this function returns a value", node.span)
            self.edge(entry, context.leave, node, context)
        elif context.result is not None:
            inner = replace(context, outermost=False)
            if context.result_sort == BOOL and node.value == t.Number(0, node.span):
                effect = Assign(context.result.variable, context.result.indices, FALSE)
                # Whoever invokes a callback has set its result to 0 already; so one
                # that cannot fail writes nothing, and slicing can leave it out.
                effects = () if context.places[-1:] == context.own_result else (effect,)
                self.edge(entry, context.leave, node, context, effects=effects)
            else:
                value = node.value
                if self.terms.is_errno(value, context.scope):
                    value = t.Unary("-", value, value.span)
                self.assign_value(
                    context.result, value, entry, context.leave, node, inner
                )
        elif context.callback is not None:
            self.edge(entry, context.leave, node, context)
        else:
            raise fail("HP313", "this function returns nothing", node.span)

    # -- loops over sets ---------------------------------------------------------

    def _atomic(self, node: t.Atomic, entry: int, leave: int, context: Context) -> None:
        before = len(self.flow.edges)
        first = len(self.flow.names)
        start = self.point(node.span, context)
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
        invoked = {e.note.callback for e in edges if e.note and e.note.callback}
        within = tuple(sorted(invoked - set(context.places)))
        for joined in atomic(edges, start, inner, node.span):
            note = joined.note and replace(
                joined.note, text=headline(node), within=within
            )
            self.flow.edges.append(replace(joined, source=entry, note=note))

    # -- calls -------------------------------------------------------------------
