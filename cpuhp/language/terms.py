"""Expressions: names and sorts checked, syntax turned into `model.expr`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from cpuhp.diagnostics import InputError, Span, fail
from cpuhp.language import tree as t
from cpuhp.language.declarations import demand_a_free_name, resolve_type
from cpuhp.language.idioms import meant
from cpuhp.language.program import HPSTATE, Declared, Program
from cpuhp.model.expr import (
    FALSE,
    TRUE,
    Boot,
    Const,
    Expr,
    Op,
    Param,
    Quantifier,
    Read,
    and_,
    arithmetic,
    compare,
    eq,
    exactly,
    exists,
    forall,
    held,
    implies,
    ite,
    may_be_none,
    none_of,
    not_,
    or_,
    quantified,
)
from cpuhp.model.sorts import (
    BOOL,
    CPU,
    CounterSort,
    EnumSort,
    IndexSort,
    RangeSort,
    Sort,
)

PICKS = ("any", "first", "last")


@dataclass(frozen=True)
class Mask:
    """A set of elements of an index sort, as its membership test."""

    sort: IndexSort
    member: Callable[[Expr], Expr]


Scope = Mapping[str, Expr | Mask]
Locator = Callable[[str, str, Span], tuple[Sort, frozenset[int]]]


def _nowhere(process: str, place: str, span: Span) -> tuple[Sort, frozenset[int]]:
    raise fail(
        "HP306",
        "'at' can be used in checks only",
        span,
        help="set a variable there, and look at that",
    )


@dataclass
class Terms:
    """Elaborates terms of one program. `hpstate` holds the hotplug states in use.

    Those in `merged` stand for several that follow each other.

    Raises InputError: HP301 unknown name, HP302 wrong sort, HP303 wrong number of
    arguments or indices, HP304 not a mask, HP305 not allowed here.
    """

    program: Program
    hpstate: EnumSort
    locate: Locator = _nowhere
    merged: frozenset[str] = frozenset()
    _open: list[str] = field(default_factory=list)  # formulas being put in
    _fresh: count[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self._values: dict[str, list[Const]] = {}
        for sort in (*self.program.enums.values(), self.hpstate):
            for index, name in enumerate(sort.values):
                self._values.setdefault(name, []).append(Const(index, sort))

    def sort_of(self, declared: Declared) -> Sort:
        """The sort of a variable, with the hotplug states that are in use."""
        sort = declared.sort
        if isinstance(sort, EnumSort) and sort.name == HPSTATE:
            return self.hpstate
        return sort

    def fresh(self, name: str, sort: IndexSort) -> Param:
        """A parameter whose name is used nowhere else."""
        return Param(f"{name}#{next(self._fresh)}", IndexSort(sort.name))

    # -- values --------------------------------------------------------------

    def boolean(self, node: t.Term, scope: Scope) -> Expr:
        return self.value(node, scope, BOOL)

    def value(self, node: t.Term, scope: Scope, want: Sort | None = None) -> Expr:
        """The expression, of sort `want` if that is given."""
        found = self._value(node, scope, want)
        if want is not None:
            return self.coerce(found, want, node.span)
        return found

    def coerce(self, expr: Expr, want: Sort, span: Span) -> Expr:
        """The expression as a value of sort `want`, or HP302."""
        have = expr.sort
        match have, want:
            case IndexSort(a, _), IndexSort(b, nullable) if a == b:
                if nullable or not may_be_none(expr):
                    return expr
                if not isinstance(expr, Const):
                    raise fail(
                        "HP302",
                        f"this may be none, but a {a} is needed",
                        span,
                        help=f"declare what takes it as '{a}?'; a test for none before "
                        "does not change its type",
                    )
            case _ if have == want:
                return expr
            case (RangeSort() | CounterSort(), RangeSort() | CounterSort()):
                if not isinstance(expr, Const) or not isinstance(want, RangeSort):
                    return held(expr, want)
                if have != RangeSort(expr.value, expr.value):
                    return held(expr, want)  # an option, or a parameter of a call
                if want.low <= expr.value <= want.high:
                    return Const(expr.value, want)
            case RangeSort(), _ if want == BOOL and isinstance(expr, Const):
                if expr.value in (0, 1):
                    return TRUE if expr.value else FALSE
        if isinstance(expr, Const) and isinstance(have, RangeSort):
            message = f"{expr.value} is not a value of {want}"
            raise fail("HP302", message, span)
        message = f"this has type {have}, but {want} is needed"
        raise fail("HP302", message, span)

    def _value(self, node: t.Term, scope: Scope, want: Sort | None) -> Expr:
        match node:
            case t.Name():
                return self._name(node, scope, want)
            case t.Number(value, _):
                return Const(value, RangeSort(value, value))
            case t.Unary("!", arg, _):
                return not_(self.boolean(arg, scope))
            case t.Unary("-", arg, _) if want == BOOL and self.is_errno(arg, scope):
                return TRUE  # the callback fails
            case t.Unary(op, _, span):
                raise fail("HP305", f"'{op}' makes no value here", span)
            case t.Ternary(condition, then, otherwise, _):
                a = self.value(then, scope, want)
                numbers = isinstance(a.sort, RangeSort | CounterSort)
                b = self.value(otherwise, scope, want or (None if numbers else a.sort))
                if not isinstance(b.sort, RangeSort | CounterSort):
                    b = self.coerce(b, want or a.sort, otherwise.span)
                return ite(self.boolean(condition, scope), a, b)
            case t.Binary():
                return self._binary(node, scope, want)
            case t.Index():
                return self._indexed(node, scope)
            case t.Call():
                return self._call(node, scope, want)
            case t.Singleton(_, span):
                raise fail("HP305", "a set is not a value", span)

    def is_errno(self, node: t.Term, scope: Scope) -> bool:
        """Is it the name of an error, as `EBUSY` is, and of nothing else?"""
        program = self.program
        known = (scope, program.variables, program.options, self._values)
        match node:
            case t.Name(name, _) if name.startswith("E") and name.isupper():
                return not any(name in names for names in known)
        return False

    def _name(self, node: t.Name, scope: Scope, want: Sort | None) -> Expr:
        name, span = node.name, node.span
        if name in scope:
            found = scope[name]
            if isinstance(found, Mask):
                raise fail("HP305", f"'{name}' is a set, not a value", span)
            return found
        fixed: dict[str, Expr] = {"true": TRUE, "false": FALSE, "boot": Boot()}
        if name in fixed:
            return fixed[name]
        if name == "none":
            return none_of(want if isinstance(want, IndexSort) else CPU)
        program = self.program
        if name in program.options:
            option = program.options[name]
            return Const(option.value, option.sort)
        if name in program.variables:
            declared = program.variables[name]
            if declared.indices:
                owner = declared.indices[0].name
                raise fail(
                    "HP303",
                    f"'{name}' has one value per {owner}",
                    span,
                    help=f"say whose: {name}[...]",
                )
            return Read(name, (), self.sort_of(declared))
        if name in self._values:
            values = self._values[name]
            for value in values:
                if len(values) == 1 or value.sort == want:
                    return value
            sorts = ", ".join(str(value.sort) for value in values)
            raise fail("HP302", f"'{name}' is a value of several enums: {sorts}", span)
        known = [*scope, *program.variables, *program.options, *self._values]
        raise fail(
            "HP301",
            f"there is no '{name}' here",
            span,
            help=meant(name, [*known, *program.functions]),
        )

    def _indexed(self, node: t.Index, scope: Scope) -> Expr:
        indices: list[t.Term] = []
        base: t.Term = node
        while isinstance(base, t.Index):
            indices.insert(0, base.index)
            base = base.base
        if not isinstance(base, t.Name) or base.name not in self.program.variables:
            raise fail("HP301", "only a variable can be indexed", base.span)
        declared = self.program.variables[base.name]
        if len(indices) != len(declared.indices):
            raise fail(
                "HP303",
                f"'{base.name}' takes {len(declared.indices)} of [ ], not {len(indices)}",
                node.span,
            )
        args = tuple(
            self.value(index, scope, IndexSort(sort.name, nullable=True))
            for index, sort in zip(indices, declared.indices)
        )
        return Read(base.name, args, self.sort_of(declared))

    def _binary(self, node: t.Binary, scope: Scope, want: Sort | None) -> Expr:
        op, left, right = node.op, node.left, node.right
        match op:
            case "&&":
                return and_(self.boolean(left, scope), self.boolean(right, scope))
            case "||":
                return or_(self.boolean(left, scope), self.boolean(right, scope))
            case "=>":
                return implies(self.boolean(left, scope), self.boolean(right, scope))
            case "in":
                mask = self.mask(right, scope)
                return mask.member(self.value(left, scope, _nullable(mask.sort)))
            case "==" | "!=":
                if self._is_mask(left, scope) and self._is_mask(right, scope):
                    same = self._same_sets(left, right, scope)
                else:
                    same = eq(*self._pair(left, right, scope))
                return same if op == "==" else not_(same)
            case "<" | "<=" | ">" | ">=":
                a, b = self._pair(left, right, scope)
                if not isinstance(a.sort, RangeSort | EnumSort | CounterSort):
                    message = f"values of type {a.sort} have no order"
                    raise fail("HP302", message, node.span)
                if op in (">", ">="):
                    a, b = b, a
                return compare(Op.LT if op in ("<", ">") else Op.LE, a, b)
            case "+" | "-":
                a = self.value(left, scope)
                if not isinstance(a.sort, RangeSort | CounterSort):
                    raise fail("HP302", f"'{op}' needs numbers", left.span)
                b = self.value(right, scope)
                if not isinstance(b.sort, RangeSort | CounterSort):
                    raise fail("HP302", f"'{op}' needs numbers", right.span)
                kind = Op.ADD if op == "+" else Op.SUB
                if isinstance(want, RangeSort | CounterSort):
                    return arithmetic(kind, a, b, want)
                return arithmetic(kind, a, b, exactly(kind, a.sort, b.sort))
        raise fail("HP305", f"'{op}' joins sets; it makes no value", node.span)

    def _pair(self, left: t.Term, right: t.Term, scope: Scope) -> tuple[Expr, Expr]:
        """Both sides of a comparison; one side may need the other's sort."""
        try:
            a = self.value(left, scope)
        except InputError as error:
            if error.diagnostics[0].code != "HP302":
                raise
            b = self.value(right, scope)
            a = self.value(left, scope, b.sort)
            return a, b
        if isinstance(left, t.Name) and left.name == "none":
            b = self.value(right, scope)
            return self.value(left, scope, b.sort), b
        want = _nullable(a.sort) if isinstance(a.sort, IndexSort) else None
        if isinstance(a.sort, EnumSort) or a.sort == BOOL:
            want = a.sort
        b = self.value(right, scope, want)
        numbers = (RangeSort, CounterSort)
        if isinstance(a.sort, numbers) != isinstance(b.sort, numbers):
            raise fail(
                "HP302", f"types {a.sort} and {b.sort} cannot be compared", right.span
            )
        return a, b

    # -- masks ---------------------------------------------------------------

    def mask(self, node: t.Term, scope: Scope) -> Mask:
        """The set that a term stands for. Raises InputError HP304."""
        match node:
            case t.Name(name, _) if isinstance(scope.get(name), Mask):
                found = scope[name]
                assert isinstance(found, Mask)
                return found
            case t.Name("cpus", _):
                return Mask(CPU, _not_none)
            case t.Name("nobody", _):
                return Mask(CPU, lambda c: FALSE)
            case t.Ternary(condition, then, otherwise, span):
                test = self.boolean(condition, scope)
                a, b = self.mask(then, scope), self.mask(otherwise, scope)
                return Mask(a.sort, lambda c: ite(test, a.member(c), b.member(c)))
            case t.Name("aps", _):
                return Mask(CPU, lambda c: and_(_not_none(c), not_(eq(c, Boot()))))
            case t.Name(name, _) if name in self.program.sizes:
                return Mask(IndexSort(name), _not_none)
            case t.Name(name, _) if self._mask_arity(name) == 1:
                sort = self.program.variables[name].indices[0]
                return Mask(sort, lambda c: Read(name, (c,), BOOL))
            case t.Index(t.Name(name, _), index, _) if self._mask_arity(name) == 2:
                owner, sort = self.program.variables[name].indices
                first = self.value(index, scope, _nullable(owner))
                return Mask(sort, lambda c: Read(name, (first, c), BOOL))
            case t.Singleton(element, _):
                value = self.value(element, scope)
                if not isinstance(value.sort, IndexSort):
                    raise fail("HP302", "a set holds CPUs or instances", element.span)
                return Mask(value.sort, lambda c: and_(_not_none(c), eq(c, value)))
            case t.Unary("~", arg, _):
                inner = self.mask(arg, scope)
                return Mask(
                    inner.sort, lambda c: and_(_not_none(c), not_(inner.member(c)))
                )
            case t.Binary(("&" | "|" | "-") as op, left, right, span):
                a, b = self.mask(left, scope), self.mask(right, scope)
                if a.sort.name != b.sort.name:
                    message = f"a set of {a.sort.name}, a set of {b.sort.name}"
                    raise fail("HP302", f"{message}: they cannot be joined", span)
                if op == "&":
                    return Mask(a.sort, lambda c: and_(a.member(c), b.member(c)))
                if op == "|":
                    return Mask(a.sort, lambda c: or_(a.member(c), b.member(c)))
                return Mask(a.sort, lambda c: and_(a.member(c), not_(b.member(c))))
            case t.Call(name, args, None, _) if name in self.program.functions:
                function = self.program.functions[name]
                if function.formula is not None and len(args) == len(function.params):
                    inner_scope = self._arguments(function, args, scope, node.span)
                    with self._inside(node):
                        return self.mask(function.formula, inner_scope)
        raise fail(
            "HP304",
            "this is not a set of CPUs",
            node.span,
            help="a set is a cpumask, a per-CPU bool, cpus, aps, {c}, or made of such "
            "with & | - ~; the bit of one CPU is x[c]",
        )

    def _mask_arity(self, name: str) -> int:
        declared = self.program.variables.get(name)
        if declared is None or declared.sort != BOOL:
            return 0
        return len(declared.indices)

    def _is_mask(self, node: t.Term, scope: Scope) -> bool:
        try:
            self.mask(node, scope)
        except InputError:
            return False
        return True

    def _same_sets(self, left: t.Term, right: t.Term, scope: Scope) -> Expr:
        a, b = self.mask(left, scope), self.mask(right, scope)
        c = self.fresh("c", a.sort)
        return forall(c, eq(a.member(c), b.member(c)))

    # -- calls ---------------------------------------------------------------

    def _call(self, node: t.Call, scope: Scope, want: Sort | None) -> Expr:
        name, args, span = node.name, node.args, node.span
        if name in ("all", "exists", "count"):
            return self._quantified(node, scope)
        if name in (*PICKS, "cpumask_first", "cpumask_last") or name.startswith(
            "cpumask_any"
        ):
            raise fail(
                "HP305",
                f"'{name}' is a choice, which is a step of its own",
                span,
                help=f"cpu? dst = {name}(...); and then use dst"
                if self.locate is _nowhere
                else "a claim says it of all, or of some: exists(c in SET : E)",
            )
        if name == "at":
            return self._at(node, scope)
        if name == "bug":
            raise fail(
                "HP306",
                "'bug()' is a claim of its own",
                span,
                help="never bug();",
            )
        if name in MASK_CALLS:
            return self._mask_call(node, scope)
        if name in ("next_state", "prev_state"):
            self._arity(node, 1)
            value = self.value(args[0], scope, self.hpstate)
            op = Op.ADD if name == "next_state" else Op.SUB
            return arithmetic(op, value, Const(1, RangeSort(0, 1)), self.hpstate)
        function = self.program.functions.get(name)
        if function is None:
            raise fail(
                "HP301",
                f"there is no function '{name}'",
                span,
                help=meant(name, [*self.program.functions, *MASK_CALLS]),
            )
        if function.formula is None:
            raise fail(
                "HP305",
                f"'{name}' takes steps, so it cannot stand inside an expression",
                span,
                help=f"call it alone: x = {name}(...);",
            )
        if len(args) != len(function.params):
            raise self._wrong_arity(node, len(function.params))
        inner = self._arguments(function, args, scope, span)
        sort = None if function.result is None else self.type(function.result)
        with self._inside(node):
            return self.value(function.formula, inner, sort)

    @contextmanager
    def _inside(self, call: t.Call) -> Iterator[None]:
        """While a formula is put in for its call: it cannot call itself."""
        if call.name in self._open:
            raise fail("HP315", f"'{call.name}' calls itself", call.span)
        self._open.append(call.name)
        try:
            yield
        finally:
            self._open.pop()

    def type(self, node: t.Type) -> Sort:
        """The sort that a type names in this program."""
        enums = {**self.program.enums, HPSTATE: self.hpstate}
        return resolve_type(node, enums, self.program.sizes)

    def _arguments(
        self, function: t.Function, args: tuple[t.Term, ...], scope: Scope, span: Span
    ) -> dict[str, Expr | Mask]:
        inner: dict[str, Expr | Mask] = {}
        for param, arg in zip(function.params, args):
            is_mask = isinstance(param.type, t.NamedType) and (
                param.type.name == "cpumask"
            )
            if is_mask:
                inner[param.name] = self.mask(arg, scope)
            else:
                want = self.type(param.type)
                inner[param.name] = self.value(arg, scope, _nullable(want))
        return inner

    def _quantified(self, node: t.Call, scope: Scope) -> Expr:
        name, mask, param, inner = self.bound(node, scope)
        member = mask.member(param)
        if node.filter is None:
            body: Expr = TRUE if name != "all" else FALSE
        else:
            body = self.boolean(node.filter, inner)
        if name == "all":
            return forall(param, implies(member, body))
        if name == "exists":
            return exists(param, and_(member, body))
        return quantified(Quantifier.COUNT, param, and_(member, body))

    def bound(
        self, node: t.Call, scope: Scope
    ) -> tuple[str, Mask, Param, dict[str, Expr | Mask]]:
        """The parts of `name(c in M : filter)`: name, M, c, and the scope with c."""
        if len(node.args) == 1:
            among = node.args[0]
            if isinstance(among, t.Binary) and among.op == "in":
                if isinstance(among.left, t.Name):
                    demand_a_free_name(among.left.name, among.left.span)
                    mask = self.mask(among.right, scope)
                    param = self.fresh(among.left.name, mask.sort)
                    return node.name, mask, param, {**scope, among.left.name: param}
            if node.filter is None:
                mask = self.mask(among, scope)
                return node.name, mask, self.fresh("c", mask.sort), dict(scope)
        raise fail(
            "HP303",
            f"'{node.name}' ranges over a set",
            node.span,
            help=f"{node.name}(c in online : c != cpu)",
        )

    def _mask_call(self, node: t.Call, scope: Scope) -> Expr:
        name = node.name
        if name == "cpumask_test_cpu":
            self._arity(node, 2)
            mask = self.mask(node.args[1], scope)
            return mask.member(self.value(node.args[0], scope, _nullable(mask.sort)))
        self._arity(node, 1)
        mask = self.mask(node.args[0], scope)
        param = self.fresh("c", mask.sort)
        if name in ("empty", "cpumask_empty"):
            return forall(param, not_(mask.member(param)))
        return quantified(Quantifier.COUNT, param, mask.member(param))

    def _at(self, node: t.Call, scope: Scope) -> Expr:
        self._arity(node, 2)
        process, place = node.args
        if not isinstance(place, t.Name):
            raise fail("HP303", "a place is a label or a function", place.span)
        indices: tuple[Expr, ...] = ()
        if isinstance(process, t.Index):
            indices = (self.value(process.index, scope, _nullable(CPU)),)
            process = process.base
        if not isinstance(process, t.Name):
            raise fail("HP303", "'at' takes a process first", process.span)
        sort, values = self.locate(process.name, place.name, place.span)
        for declared in self.program.processes:
            per_cpu = declared.declaration.param is not None
            if declared.declaration.name == process.name and per_cpu != bool(indices):
                what = "runs on each CPU" if per_cpu else "is one task"
                given = f"{process.name}[c]" if per_cpu else process.name
                raise fail("HP303", f"process '{process.name}' {what}", process.span,
                           help=f"at({given}, {place.name})")  # fmt: skip
        read = Read(location_variable(process.name), indices, sort)
        return or_(*(eq(read, Const(value, sort)) for value in sorted(values)))

    def _arity(self, node: t.Call, arity: int) -> None:
        if len(node.args) != arity or node.filter is not None:
            raise self._wrong_arity(node, arity)

    def _wrong_arity(self, node: t.Call, arity: int) -> InputError:
        return wrong_arity(node, arity)


MASK_CALLS = (
    "cpumask_test_cpu",
    "empty",
    "cpumask_empty",
    "weight",
    "cpumask_weight",
)


def wrong_arity(call: t.Call, arity: int) -> InputError:
    """HP303: the call has another number of arguments, or a filter."""
    takes = f"{arity} argument" + ("" if arity == 1 else "s")
    given = "a set and a condition" if call.filter else str(len(call.args))
    return fail("HP303", f"'{call.name}' takes {takes}, not {given}", call.span)


def location_variable(process: str) -> str:
    """The variable that holds the program point of a process."""
    return f"at.{process}"


def _nullable(sort: Sort) -> Sort:
    return IndexSort(sort.name, True) if isinstance(sort, IndexSort) else sort


def _not_none(element: Expr) -> Expr:
    """Sets have no none: it is in no complement, and `{c}` is empty if c is none."""
    assert isinstance(element.sort, IndexSort)
    return not_(eq(element, none_of(element.sort)))
