"""The conditions with real quantifiers, over CPUs of which nothing is known.

Here CPU is a sort without any interpretation: it holds the control CPU, `none` and who
knows what else. Guards and clauses are written as they are, so a machine of any size is
a model as it stands, and the instances are for the solver to find. What is added is true
of every state: values are within their sorts, what is read through `none` is the
default, and numbers of CPUs are not negative, 0 if there is no such CPU, and at most 1
if all such are one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from cpuhp.engines.certificate.claims import (
    Condition,
    Script,
    goals,
    is_about_quiescence,
    lasting,
    movers,
    touched,
    ways,
    written_by,
)
from cpuhp.engines.certificate.near import near
from cpuhp.engines.certificate.terms import (
    FALSE,
    TRUE,
    as_one,
    conj,
    disj,
    equal,
    implies,
    ite,
    minus,
    neg,
    plus,
    symbol,
)
from cpuhp.engines.certificate.translate import (
    Env,
    Translator,
    Unsupported,
    free_params,
    mask_of,
)
from cpuhp.model.expr import Expr, Param, Quantified, Quantifier, Read, and_, not_
from cpuhp.model.invariant import Clause, Invariant, Literal, Symbol
from cpuhp.model.sorts import BoolSort, CounterSort, IndexSort, is_cpu
from cpuhp.model.system import (
    Action,
    Assign,
    Property,
    Runs,
    TransitionSystem,
    Variable,
    counts_its_mask_at_first,
)

Named = Mapping[Symbol, str]


class Twin(Translator):
    """Terms about one state, each variable a function of its indices."""

    none, boot, cpu_sort = "none", "boot", "CPU"

    def __init__(self, system: TransitionSystem, prop: Property):
        super().__init__(system, prop)
        self._bound = 0
        self._counts: dict[tuple[object, ...], str] = {}
        self.populations: dict[str, str] = {}
        self.lines += [
            "(declare-sort CPU 0)",
            "(declare-const boot CPU)",
            "(declare-const none CPU)",
            "(assert (distinct boot none))",
            "(declare-fun before (CPU CPU) Bool)",
        ]
        for mask in self.masks:
            name = self.populations[mask] = symbol(f"number of {mask}")
            self.lines.append(f"(declare-const {name} Int)")
        for variable in system.variables:
            self._declare(variable)
        for mask, name in self.populations.items():
            for fact in self.facts(name, self.has(mask)):
                self.axiom(fact)

    def has(self, mask: str) -> Callable[[str], str]:
        return lambda cpu: self.at(mask, (cpu,))

    def _declare(self, variable: Variable) -> None:
        sorts = " ".join(self.sort(index) for index in variable.indices)
        name = self.at(variable.name, ())
        self.lines.append(f"(declare-fun {name} ({sorts}) {self.sort(variable.sort)})")
        self.axiom(self.typed(variable.name, variable))

    def at(self, name: str, where: Iterable[str]) -> str:
        """The value of a variable, or of a function that stands for one."""
        where = tuple(where)
        name = symbol(f"s.{name}")
        return f"({name} {' '.join(where)})" if where else name

    def typed(self, name: str, variable: Variable) -> str:
        """The values are in their sorts, and the default where an index is none."""
        binders, where, elements = self.binders(variable.indices)
        cell = self.at(name, where)
        sort = variable.sort
        held = self.in_range(cell, sort)
        if is_cpu(sort) and isinstance(sort, IndexSort) and not sort.nullable:
            held = neg(equal(cell, self.none))
        nowhere = equal(cell, self.default(sort))
        if isinstance(sort, CounterSort):
            nowhere = equal(cell, minus("0", self.population(sort.mask)))
        body = conj((implies(conj(elements), held), disj((conj(elements), nowhere))))
        return f"(forall ({binders}) {body})" if binders else body

    def binders(
        self, sorts: tuple[IndexSort, ...]
    ) -> tuple[str, tuple[str, ...], list[str]]:
        names = tuple(self.variable() for _ in sorts)
        binders = " ".join(f"({n} {self.sort(s)})" for n, s in zip(names, sorts))
        elements = [self.element(n, s) for n, s in zip(names, sorts)]
        return binders, names, elements

    def variable(self) -> str:
        self._bound += 1
        return f"x{self._bound}"

    def element(self, text: str, sort: IndexSort) -> str:
        """The index is an element of its sort, that is, not none."""
        if is_cpu(sort):
            return neg(equal(text, self.none))
        last = self.number(self.sizes[sort.name] - 1)
        return f"(and (bvsle {self.number(0)} {text}) (bvsle {text} {last}))"

    def read(self, expr: Read, env: Env) -> str:
        return self.at(expr.variable, (self.value(i, env) for i in expr.indices))

    def quantified(self, expr: Quantified, env: Env) -> str:
        if expr.kind is Quantifier.COUNT:
            raise Unsupported("the truth of a number")
        every = expr.kind is Quantifier.FORALL
        sort = expr.param.sort
        if not is_cpu(sort):
            numbers = map(self.number, range(self.sizes[sort.name]))
            bodies = [self.truth(expr.body, {**env, expr.param: n}) for n in numbers]
            return conj(bodies) if every else disj(bodies)
        name = self.variable()
        body = self.truth(expr.body, {**env, expr.param: name})
        there = self.element(name, sort)
        body = implies(there, body) if every else conj((there, body))
        return f"({'forall' if every else 'exists'} (({name} CPU)) {body})"

    def same_cpu(self, a: str, b: str) -> str:
        return equal(a, b)

    def before(self, a: str, b: str) -> str:
        return FALSE if a == b else f"(before {a} {b})"

    # Numbers of CPUs

    def population(self, mask: str) -> str:
        return self.populations[mask]

    def counted(self, expr: Quantified, env: Env) -> str:
        sort = expr.param.sort
        if not is_cpu(sort):
            numbers = map(self.number, range(self.sizes[sort.name]))
            bodies = [self.truth(expr.body, {**env, expr.param: n}) for n in numbers]
            return plus(map(as_one, bodies))
        free = [p for p in free_params(expr) if env[p].startswith("x")]
        if free:
            raise Unsupported("a number of CPUs within a quantifier")
        key = (expr, *(env[p] for p in free_params(expr)))
        if key not in self._counts:
            name = self._counts[key] = self.declare("count", "Int")

            def body(cpu: str) -> str:
                return self.truth(expr.body, {**env, expr.param: cpu})

            for fact in self.facts(name, body):
                self.axiom(fact)
        return self._counts[key]

    def facts(self, name: str, body: Callable[[str], str]) -> Iterator[str]:
        """What is true of the number of CPUs with a property."""
        one, two = self.variable(), self.variable()
        has = [conj((neg(equal(x, self.none)), body(x))) for x in (one, two)]
        yield f"(<= 0 {name})"
        yield f"(= (= {name} 0) (forall (({one} CPU)) {neg(has[0])}))"
        binders = f"(({one} CPU) ({two} CPU))"
        single = implies(conj(has), equal(one, two))
        yield f"(= (<= {name} 1) (forall {binders} {single}))"

    # Clauses

    def cube(self, clause: Clause, cpus: Named, names: Mapping[str, str]) -> str:
        """What the clause forbids; `names` gives functions that stand for variables."""
        parts = []
        for literal in clause.cube:
            sorts = self.system.variable(literal.variable).indices
            where = [
                cpus[a] if isinstance(a, Symbol) else self.number(a)
                for a, _ in zip(literal.arguments, sorts)
            ]
            name = names.get(literal.variable, literal.variable)
            parts.append(self.literal(literal, cpus, self.at(name, where)))
        return conj(parts)

    def literal(self, literal: Literal, cpus: Named, text: str) -> str:
        sort = self.system.variable(literal.variable).sort
        values = sorted(literal.values, key=str)
        if isinstance(sort, BoolSort):
            return disj(text if value else neg(text) for value in values)
        if isinstance(sort, CounterSort):
            return near(text, literal)
        if is_cpu(sort):
            return disj(self._pointed(v, cpus, text) for v in values)
        return disj(equal(text, self.number(int(str(v)))) for v in values)

    def _pointed(self, value: object, cpus: Named, text: str) -> str:
        if value is Symbol.NONE:
            return equal(text, self.none)
        if value is Symbol.OTHER:
            others = (self.none, *cpus.values())
            return conj(neg(equal(text, other)) for other in others)
        assert isinstance(value, Symbol)
        return equal(text, cpus[value])


class TwinConditions:
    """All conditions of one certificate; each script stands for itself."""

    def __init__(self, system: TransitionSystem, prop: Property, invariant: Invariant):
        self.system, self.prop = system, prop
        self.clauses = invariant.clauses

    def scripts(self) -> Iterator[Script]:
        yield self._initiation()
        yield self._steps()

    def _script(self, name: str, twin: Twin) -> Script:
        twin.lines += [f"(declare-const {s} CPU)" for s in ("cpu.i", "cpu.j")]
        return Script(name, "ALL" if twin.uses_ints else "UFBV")

    def _initiation(self) -> Script:
        twin = Twin(self.system, self.prop)
        script = self._script("forall-initiation", twin)
        known = [self._starts(twin, v) for v in self.system.variables]
        known += [twin.truth(a, {}) for a in self.system.assumptions]
        parts = list(self._violated(twin, range(len(self.clauses)), {}))
        label = "every initial state satisfies every clause"
        condition = Condition("initiation", label, conj(known), tuple(parts))
        script.items += [*twin.lines, condition]
        return script

    def _starts(self, twin: Twin, variable: Variable) -> str:
        initial = twin.initial(variable)
        if initial is None:
            return TRUE
        binders, where, elements = twin.binders(variable.indices)
        value = twin.assigned(
            initial, dict(zip(variable.index_params, where)), variable.sort
        )
        mask = mask_of(variable)
        if counts_its_mask_at_first(self.system, variable):
            value = "0"
        elif mask is not None:
            value = minus(value, twin.population(mask))
        body = implies(conj(elements), equal(twin.at(variable.name, where), value))
        return f"(forall ({binders}) {body})" if binders else body

    def _violated(
        self, twin: Twin, numbers: Iterable[int], names: Mapping[str, str]
    ) -> Iterator[tuple[str, str]]:
        for number in numbers:
            clause = self.clauses[number]
            cpus = _named(clause)
            distinct = _distinct(cpus)
            cube = twin.cube(clause, cpus, names)
            yield f"clause {number + 1}", conj((distinct, cube))

    def _steps(self) -> Script:
        twin = Twin(self.system, self.prop)
        script = self._script("forall", twin)
        for assumption in lasting(self.system):
            twin.axiom(twin.truth(assumption, {}))
        for clause in self.clauses:
            cpus = {
                s: n if s is Symbol.BOOT else f"?{n}" for s, n in _named(clause).items()
            }
            body = neg(conj((_distinct(cpus), twin.cube(clause, cpus, {}))))
            binders = " ".join(f"({n} CPU)" for n in cpus.values() if n != "boot")
            twin.axiom(f"(forall ({binders}) {body})" if binders else body)
        self._flush(twin, script)
        for number, action in enumerate(self.system.actions):
            condition = self._consecution(twin, number, action)
            if condition is not None:
                self._flush(twin, script)
                script.items.append(condition)
        for label, goal in goals(self.system, self.prop):
            for params, rest in ways(goal):
                condition = self._safety(twin, label, params, rest)
                self._flush(twin, script)
                script.items.append(condition)
        return script

    def _flush(self, twin: Twin, script: Script) -> None:
        script.items += twin.lines
        twin.lines.clear()

    def _consecution(self, twin: Twin, number: int, action: Action) -> Condition | None:
        written = written_by(self.system, action)
        broken = touched(self.clauses, written)
        if not broken:
            return None
        env, known = self._params(twin, action)
        names = {}
        masks = {m for m in map(mask_of, self.system.variables) if m}
        for variable in sorted(written, key=lambda v: v not in masks):
            names[variable] = f"{variable}'{number}"
            self._after(twin, action, number, self.system.variable(variable), env)
        parts = tuple(self._violated(twin, broken, names))
        return Condition("consecution", action.name, conj(known), parts)

    def _params(self, twin: Twin, action: Action) -> tuple[dict[Param, str], list[str]]:
        """Constants for the action's parameters, and that it is enabled for them."""
        env: dict[Param, str] = {}
        known = []
        for param in action.params:
            env[param] = twin.declare(param.name, twin.sort(param.sort))
            known.append(twin.element(env[param], param.sort))
        if action.actor and self._is_ap(action):
            known.append(neg(equal(env[action.actor], twin.boot)))
        for condition in (*(c.among for c in action.choices), action.guard):
            known.append(twin.truth(condition, env))
        return env, known

    def _after(
        self, twin: Twin, action: Action, number: int, variable: Variable, env: Env
    ) -> None:
        """Define the variable after the step; the last "else" is the frame rule."""
        binders, where, elements = twin.binders(variable.indices)
        sort = twin.sort(variable.sort)
        mask = mask_of(variable)
        text = twin.at(variable.name, where)
        if mask is not None:
            text = plus((text, twin.population(mask)))
        post = f"{variable.name}'{number}"
        name = twin.at(post, ())
        counted = any(mask_of(v) == variable.name for v in self.system.variables)
        for effect in action.effects:
            if effect.variable != variable.name:
                continue
            local = dict(env)
            for index, place in zip(effect.indices, where):
                if isinstance(index, Param) and index in effect.bound:
                    local.setdefault(index, place)
            if any(param not in local for param in effect.bound):
                # Which elements are assigned is not said directly: any, to any value.
                sorts = " ".join(twin.sort(index) for index in variable.indices)
                twin.lines.append(f"(declare-fun {name} ({sorts}) {sort})")
                twin.axiom(twin.typed(post, variable))
                if counted:
                    self._count_after(twin, action, number, variable.name, env)
                return
            hit = [
                *elements,
                *(
                    equal(p, twin.value(i, local))
                    for i, p in zip(effect.indices, where)
                ),
            ]
            text = ite(
                conj(hit), twin.assigned(effect.value, local, variable.sort), text
            )
        if mask is not None:
            text = minus(text, self._population_after(twin, action, number, mask))
        twin.lines.append(f"(define-fun {name} ({binders}) {sort} {text})")
        if counted:
            self._count_after(twin, action, number, variable.name, env)

    def _population_after(
        self, twin: Twin, action: Action, number: int, mask: str
    ) -> str:
        if mask not in action.written:
            return twin.population(mask)
        return symbol(f"number of {mask}'{number}")

    def _count_after(
        self, twin: Twin, action: Action, number: int, mask: str, env: Env
    ) -> None:
        name = symbol(f"number of {mask}'{number}")
        twin.lines.append(f"(declare-const {name} Int)")
        for fact in twin.facts(name, twin.has(f"{mask}'{number}")):
            twin.axiom(fact)
        effects = [e for e in action.effects if e.variable == mask]
        if any(effect.bound for effect in effects):
            return
        total = [twin.population(mask)]
        for position, effect in enumerate(effects):
            total.append(self._grown(twin, effect, effects[position + 1 :], env))
        twin.axiom(equal(name, plus(total)))

    def _grown(self, twin: Twin, effect: Assign, later: list[Assign], env: Env) -> str:
        """By how much the assignment changes the number of bits that are set."""
        (index,) = effect.indices
        place = twin.value(index, env)
        lost = [equal(place, twin.value(e.indices[0], env)) for e in later]
        counts = conj((neg(equal(place, twin.none)), *(neg(x) for x in lost)))
        new = as_one(twin.truth(effect.value, env))
        old = as_one(twin.at(effect.variable, (place,)))
        return ite(counts, minus(new, old), "0")

    def _safety(
        self, twin: Twin, label: str, params: tuple[Param, ...], rest: Expr
    ) -> Condition:
        env: dict[Param, str] = {}
        known = []
        for param in params:
            env[param] = twin.declare(param.name, twin.sort(param.sort))
            known.append(twin.element(env[param], param.sort))
        known.append(twin.truth(not_(rest), env))
        if is_about_quiescence(self.prop):
            known += [self._disabled(twin, action) for action in movers(self.system)]
        part = (self.prop.text or "the claim", TRUE)
        return Condition("safety", label, conj(known), (part,))

    def _is_ap(self, action: Action) -> bool:
        return self.system.process(action.process).runs is Runs.EVERY_AP

    def _disabled(self, twin: Twin, action: Action) -> str:
        """No CPUs enable the action."""
        names = {p: twin.variable() for p in action.params}
        there = [twin.element(n, p.sort) for p, n in names.items()]
        if action.actor and self._is_ap(action):
            there.append(neg(equal(names[action.actor], twin.boot)))
        enabled = and_(*(c.among for c in action.choices), action.guard)
        body = neg(conj((*there, twin.truth(enabled, names))))
        binders = " ".join(f"({n} {twin.sort(p.sort)})" for p, n in names.items())
        return f"(forall ({binders}) {body})" if binders else body


def _named(clause: Clause) -> dict[Symbol, str]:
    found = {Symbol.BOOT: "boot"}
    found |= {s: f"cpu.{s.value}" for s in (Symbol.I, Symbol.J) if s in clause.symbols}
    return found


def _distinct(cpus: Named) -> str:
    names = list(cpus.values())
    return f"(distinct none {' '.join(names)})" if len(names) > 1 else TRUE
