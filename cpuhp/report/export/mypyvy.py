"""mypyvy, for every number of CPUs: our clauses as invariants that it checks itself.

CPUs are a sort of which nothing is known but that `boot` and `none` are two of its
elements; a value of an enum or a range is a constant of a sort of its own. What is read
through `none` is the first value, which is an invariant, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

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
    walk,
)
from cpuhp.model.sorts import NONE, BoolSort, IndexSort, Sort, format_value, is_cpu
from cpuhp.model.system import Variable
from cpuhp.report.export.common import claim_heading, variable_dictionary
from cpuhp.report.export.finite import is_plain, key, numbers
from cpuhp.report.export.names import comment, identifiers
from cpuhp.report.export.plain import (
    SYMBOLS,
    PlainAction,
    PlainWrite,
    Unbounded,
    unsaid,
)
from cpuhp.semantics import default_value

NAME = "mypyvy"
SUFFIX = ".pyv"
EVERY_COUNT = True
USAGE = (
    "mypyvy verify FILE    (are the invariants inductive, and the claim with them?)",
    "mypyvy updr FILE      (find other invariants for the claim)",
)


def export(claim: Unbounded) -> str:
    """The claim as `safety`, our clauses as `invariant`."""
    return "\n".join(_Model(claim).lines()) + "\n"


@dataclass(frozen=True, eq=False)
class _Model:
    claim: Unbounded

    @cached_property
    def variables(self) -> dict[str, str]:
        return identifiers(((v.name, v.name) for v in self.claim.variables), "v")

    @cached_property
    def sorts(self) -> dict[Sort, str]:
        """The finite sorts that values have."""
        found = dict.fromkeys(v.sort for v in self.claim.variables)
        found |= dict.fromkeys(
            IndexSort(i.name) for v in self.claim.variables for i in v.indices
        )
        shown = {key(s): s for s in found if not is_plain(s)}
        return identifiers(((key, str(s)) for key, s in shown.items()), "s")

    @cached_property
    def values(self) -> dict[tuple[Sort, int], str]:
        """The constant that stands for a value of a finite sort."""
        named = (
            ((sort, n), f"{self.sorts[sort]} {format_value(sort, n)}")
            for sort in self.sorts
            for n in numbers(self.claim.system, sort)
        )
        return identifiers(named, "c")

    # Declarations

    def lines(self) -> Iterator[str]:
        claim = self.claim
        yield from (f"# {line}" for line in claim_heading(claim.system, claim.prop))
        yield "# for every number of CPUs; `boot` is the control CPU"
        if not claim.clauses:
            yield "# without invariants: there is no proof to take them from"
        yield from (f"#   {line}" for line in USAGE)
        names = self.variables
        yield from (f"# {t}" for t in variable_dictionary(claim.variables, names))
        yield from self.cpus()
        for sort, name in self.sorts.items():
            yield from self.finite(sort, name)
        for variable in claim.variables:
            yield self.declaration(variable)
        for fact in claim.facts:
            yield f"axiom {self.formula(fact)}"
        for variable in claim.variables:
            yield from self.typing(variable)
        for start in claim.starts:
            yield f"init {self.formula(start)}"
        for number, action in enumerate(claim.actions):
            yield from self.transition(number, action)
        yield ""
        yield f"safety [claim] {self.formula(claim.claim)}"
        for number, (says, cube) in enumerate(claim.clauses, 1):
            yield f"# {comment(says, 400)}"
            yield f"invariant [clause_{number}] {self.clause(cube)}"

    def cpus(self) -> Iterator[str]:
        yield from ("", "sort cpu")
        yield from (f"immutable constant {n}: cpu" for n in ("boot", "none"))
        yield "axiom boot != none"
        parts = [
            self.claim.claim,
            *self.claim.facts,
            *self.claim.starts,
            *(a.guard for a in self.claim.actions),
            *(x for a in self.claim.actions for w in a.writes for y in w.cases
              for x in y),
        ]  # fmt: skip
        if any(
            isinstance(e, Apply) and e.op is Op.BEFORE for p in parts for e in walk(p)
        ):
            yield "# the order of CPU numbers is any"
            yield "immutable relation before(cpu, cpu)"

    def finite(self, sort: Sort, name: str) -> Iterator[str]:
        """A sort whose elements are exactly its constants."""
        yield f"sort {name}"
        constants = [self.values[sort, n] for n in numbers(self.claim.system, sort)]
        yield from (f"immutable constant {c}: {name}" for c in constants)
        if len(constants) > 1:
            yield f"axiom distinct({', '.join(constants)})"
        some = _any(f"X = {c}" for c in constants)
        yield f"axiom forall X: {name}. {some}"

    def declaration(self, variable: Variable) -> str:
        name = self.variables[variable.name]
        kind = "mutable" if variable.name in self.claim.written else "immutable"
        indices = ", ".join(self.sort(i) for i in variable.indices)
        if isinstance(variable.sort, BoolSort):
            return f"{kind} relation {name}({indices})"
        sort = self.sort(variable.sort)
        if variable.indices:
            return f"{kind} function {name}({indices}): {sort}"
        return f"{kind} constant {name}: {sort}"

    def typing(self, variable: Variable) -> Iterator[str]:
        """Nothing is read through none but the first value; some pointers are set."""
        binders, where = self.binders(variable.indices)
        name = self.variables[variable.name]
        cell = _call(name, where)
        mutable = variable.name in self.claim.written
        none = None
        if isinstance(variable.sort, IndexSort):
            none = self.constant(Const(NONE, variable.sort))
        rules = []
        if variable.indices:
            nowhere = _any(self.absent(variable.indices, where))
            default = self.equals(variable, cell, default_value(variable.sort))
            rules.append((f"nowhere_{name}", f"{nowhere} -> {default}"))
        if none and not getattr(variable.sort, "nullable", True):
            there = [f"!({a})" for a in self.absent(variable.indices, where)]
            body = f"{cell} != {none}"
            body = f"{_all(there)} -> {body}" if there else body
            rules.append((f"somewhere_{name}", body))
        for label, body in rules:
            full = f"(forall {binders}. ({body}))" if binders else f"({body})"
            if mutable:
                yield f"init {full}"
                yield f"invariant [{label}] {full}"
            else:
                yield f"axiom {full}"

    def equals(self, variable: Variable, cell: str, value: int) -> str:
        if isinstance(variable.sort, BoolSort):
            return cell if value else f"!{cell}"
        return f"{cell} = {self.constant(Const(value, variable.sort))}"

    def absent(self, sorts: tuple[IndexSort, ...], where: list[str]) -> list[str]:
        """That an index is none, one formula for each."""
        return [
            f"{text} = {self.constant(Const(NONE, sort))}"
            for text, sort in zip(where, sorts)
        ]

    def binders(self, sorts: Iterable[IndexSort]) -> tuple[str, list[str]]:
        listed = list(sorts)
        names = [f"X{n}" for n in range(len(listed))]
        told = (f"{n}: {self.sort(s)}" for n, s in zip(names, listed))
        return ", ".join(told), names

    def sort(self, sort: Sort) -> str:
        if is_cpu(sort):
            return "cpu"
        return self.sorts[key(sort)]

    # Steps

    def transition(self, number: int, action: PlainAction) -> Iterator[str]:
        names = {p: f"p_{n}" for n, p in enumerate(action.params)}
        params = ", ".join(f"{n}: cpu" for n in names.values())
        yield ""
        yield f"# {comment(f'{number} {action.label}')}"
        yield f"transition step_{number}({params})"
        written: dict[str, list[PlainWrite]] = {}
        for write in action.writes:
            written.setdefault(write.variable.name, []).append(write)
        if written:
            yield f"  modifies {', '.join(self.variables[v] for v in written)}"
        guards = [f"{n} != none" for n in names.values()]
        guards += [f"{names[p]} != boot" for p in action.aps]
        if action.guard != TRUE or not guards:
            guards.append(self.formula(action.guard, names))
        parts = [*guards, *(self.after(w, names) for w in written.values())]
        yield "  " + "\n  & ".join(parts)

    def after(self, writes: list[PlainWrite], names: dict[Param, str]) -> str:
        """What a variable is after the step; a later assignment wins."""
        variable = writes[0].variable
        binders, where = self.binders(variable.indices)
        cell = _call(self.variables[variable.name], where)
        is_formula = isinstance(variable.sort, BoolSort)
        text = cell
        for write in writes:
            local = dict(names)
            for index, place in zip(write.indices, where):
                if index in write.bound:
                    assert isinstance(index, Param)
                    local[index] = place
            here = [
                f"{place} = {self.term(index, local)}"
                for index, place in zip(write.indices, where)
                if index not in write.bound
            ]
            here += [f"!({a})" for a in self.absent(variable.indices, where)]
            for condition, value in write.cases:
                tests = [*here]
                if condition != TRUE:
                    tests.append(self.formula(condition, local))
                new = (self.formula if is_formula else self.term)(value, local)
                text = f"(if {_all(tests)} then {new} else {text})" if tests else new
        word = "<->" if is_formula else "="
        body = f"(new({cell}) {word} {text})"
        return f"(forall {binders}. {body})" if binders else body

    def clause(self, cube: Expr) -> str:
        used = set(walk(cube))
        names = {s: s.value.upper() for s, p in SYMBOLS.items() if p in used}
        cpus = [n for s, n in names.items() if SYMBOLS[s] != Boot()]
        bound = {p: names[s] for s, p in SYMBOLS.items()
                 if s in names and isinstance(p, Param)}  # fmt: skip
        body = f"!{self.formula(cube, bound)}" if cube != FALSE else "true"
        if not cpus:
            return body
        binders = ", ".join(f"{n}: cpu" for n in cpus)
        return (
            f"forall {binders}. (distinct({', '.join(['boot', 'none', *cpus])}) "
            f"-> {body})"
        )

    # Expressions

    def formula(self, expr: Expr, names: dict[Param, str] | None = None) -> str:
        """A truth value, in parentheses unless it is one word."""
        known = names or {}
        match expr:
            case Const(value, _):
                return "true" if value else "false"
            case Read():
                return self.read(expr, known)
            case Apply(Op.NOT, (Apply(Op.EQ, (a, b), _),), _):
                return f"({self.term(a, known)} != {self.term(b, known)})"
            case Apply(Op.NOT, (a,), _):
                return f"!{self.formula(a, known)}"
            case Apply(Op.AND, args, _):
                return _all(self.formula(a, known) for a in args)
            case Apply(Op.OR, args, _):
                return _any(self.formula(a, known) for a in args)
            case Apply(Op.EQ, (a, b), _):
                return f"({self.term(a, known)} = {self.term(b, known)})"
            case Apply(Op.BEFORE, (a, b), _):
                return f"before({self.term(a, known)}, {self.term(b, known)})"
            case Quantified(kind, param, body):
                name = f"Q{len(known)}"
                inner = self.formula(body, {**known, param: name})
                if kind is Quantifier.FORALL:
                    return f"(forall {name}: cpu. ({name} != none -> {inner}))"
                return f"(exists {name}: cpu. ({name} != none & {inner}))"
        raise unsaid(f"'{expr}'")

    def term(self, expr: Expr, names: dict[Param, str]) -> str:
        match expr:
            case Const():
                return self.constant(expr)
            case Param():
                return names[expr]
            case Boot():
                return "boot"
            case Read():
                return self.read(expr, names)
        raise unsaid(f"'{expr}'")

    def read(self, expr: Read, names: dict[Param, str]) -> str:
        where = [self.term(i, names) for i in expr.indices]
        return _call(self.variables[expr.variable], where)

    def constant(self, expr: Const) -> str:
        if is_cpu(expr.sort):
            return "none"
        return self.values[key(expr.sort), expr.value]


def _call(name: str, where: list[str]) -> str:
    return f"{name}({', '.join(where)})" if where else name


def _all(parts: Iterable[str]) -> str:
    return _joined(" & ", parts, "true")


def _any(parts: Iterable[str]) -> str:
    return _joined(" | ", parts, "false")


def _joined(word: str, parts: Iterable[str], empty: str) -> str:
    listed = list(parts)
    if len(listed) < 2:
        return listed[0] if listed else empty
    return f"({word.join(listed)})"
