"""Actions and formulas as Python functions, for speed.

The source is generated from the typed expression tree alone: numbers and names that
this file makes up (`s`, `a0`, `q3`). No text of a spec ever enters it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from operator import itemgetter
from types import CodeType
from typing import Any

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
    walk,
)
from cpuhp.model.sorts import BoolSort, EnumSort, RangeSort, Sort
from cpuhp.model.system import Action, Assign, Order, Process
from cpuhp.model.verdict import State
from cpuhp.semantics import Machine, default_value

Move = tuple[int, tuple[int, ...], State]  # action number, binding, state after
Predicate = Callable[[State], object]
Taker = Callable[[State, int, list[Move]], None]

_UNROLL = 64  # copies of a quantifier's body that are written out
_DEPTH = 24  # nesting after which a part becomes a function of its own

Env = dict[Param, str]


@dataclass
class _Writer:
    """Turns expressions into source; big ones into helper functions before it."""

    machine: Machine
    helpers: list[str] = field(default_factory=list)
    names: int = 0

    def fresh(self, prefix: str) -> str:
        self.names += 1
        return f"{prefix}{self.names}"

    def code(self, expr: Expr, env: Env, depth: int = 1, copies: int = 1) -> str:
        if depth % _DEPTH == 0 and not isinstance(expr, Const | Param | Boot):
            return self.helper(expr, env, copies)
        match expr:
            case Const(value, _):
                return str(value) if value >= 0 else f"({value})"
            case Param():
                return env[expr]
            case Boot():
                return str(self.machine.boot)
            case Read():
                return self.read(expr, env, depth, copies)
            case Apply():
                return self.apply(expr, env, depth, copies)
            case Quantified():
                return self.quantified(expr, env, depth, copies)

    def helper(self, expr: Expr, env: Env, copies: int) -> str:
        name = self.fresh("h")
        arguments = ", ".join(
            dict.fromkeys(["s", *(c for c in env.values() if not c.isdigit())])
        )
        body = self.code(expr, env, 1, copies)
        self.helpers.append(f"def {name}({arguments}):\n    return {body}\n")
        return f"{name}({arguments})"

    def read(self, expr: Read, env: Env, depth: int, copies: int) -> str:
        tests, cell = self.cell(expr.variable, expr.indices, env, depth, copies)
        if not tests:
            return f"s[{cell}]"
        default = default_value(expr.sort)
        return f"(s[{cell}] if {' and '.join(tests)} else {default})"

    def cell(
        self,
        variable: str,
        indices: tuple[Expr, ...],
        env: Env,
        depth: int,
        copies: int,
    ) -> tuple[list[str], str]:
        """Tests that no index is NONE, and the source of the cell's position."""
        tests: list[str] = []
        constant = 0
        terms: list[str] = []
        stride = 1
        sorts = self.machine.system.variable(variable).indices
        for sort, index in reversed(list(zip(sorts, indices))):
            code = self.code(index, env, depth + 1, copies)
            if not isinstance(index, Param | Boot) and not code.isdigit():
                name = self.fresh("x")
                tests.insert(0, f"({name} := {code}) >= 0")
                code = name
            if code.isdigit():
                constant += int(code) * stride
            else:
                terms.append(code if stride == 1 else f"{stride} * {code}")
            stride *= self.machine.sizes[sort.name]
        constant += self.machine.offsets[variable]
        return tests, " + ".join([str(constant), *terms])

    def apply(self, expr: Apply, env: Env, depth: int, copies: int) -> str:
        if expr.op is Op.AND or expr.op is Op.OR:
            unit = "1" if expr.op is Op.AND else "0"
            parts = [self.code(a, env, depth + 1, copies) for a in expr.args]
            return _junction(parts, unit)
        args = [self.code(a, env, depth + 1, copies) for a in expr.args]
        match expr.op:
            case Op.NOT:
                return _not(args[0])
            case Op.EQ:
                return _compare("==", args)
            case Op.LT | Op.BEFORE:
                return _compare("<", args)
            case Op.LE:
                return _compare("<=", args)
            case Op.ADD:
                return self.clamp(f"({args[0]} + {args[1]})", expr.sort)
            case Op.SUB:
                return self.clamp(f"({args[0]} - {args[1]})", expr.sort)
            case _:
                return f"({args[1]} if {args[0]} else {args[2]})"

    def clamp(self, code: str, sort: Sort) -> str:
        if isinstance(sort, RangeSort):
            low, high = sort.low, sort.high
        elif isinstance(sort, EnumSort):
            low, high = 0, len(sort.values) - 1
        else:
            return code
        x = self.fresh("x")
        return (
            f"({low} if ({x} := {code}) < {low} else {high} if {x} > {high} else {x})"
        )

    def quantified(self, expr: Quantified, env: Env, depth: int, copies: int) -> str:
        elements = self.machine.elements(expr.param.sort)
        if copies * len(elements) > _UNROLL:
            return self.loop(expr, env, len(elements), copies)
        parts = [
            self.code(
                expr.body, env | {expr.param: str(e)}, depth + 1, copies * len(elements)
            )
            for e in elements
        ]
        match expr.kind:
            case Quantifier.FORALL:
                return _junction(parts, "1")
            case Quantifier.EXISTS:
                return _junction(parts, "0")
            case Quantifier.COUNT:
                return f"({' + '.join(parts)})" if parts else "0"

    def loop(self, expr: Quantified, env: Env, size: int, copies: int) -> str:
        # A function of its own: a name bound by := may not leak into another round.
        name = self.fresh("q")
        inner = env | {expr.param: name}
        arguments = list(
            dict.fromkeys(["s", *(c for c in inner.values() if not c.isdigit())])
        )
        body = self.code(expr.body, inner, 1, copies)
        function = self.fresh("h")
        self.helpers.append(
            f"def {function}({', '.join(arguments)}):\n    return {body}\n"
        )
        call = f"{function}({', '.join(arguments)})"
        what = {"all": "all", "exists": "any", "count": "sum"}[expr.kind.value]
        return f"{what}({call} for {name} in range({size}))"

    def value(self, expr: Expr, env: Env, sort: Sort) -> str:
        """Source of a value as it is stored: always an int within the sort."""
        code = self.code(expr, env)
        if isinstance(expr, Param | Boot | Read) and expr.sort == sort:
            return code
        if isinstance(sort, BoolSort):
            return code if code.isdigit() else f"(1 if {code} else 0)"
        return self.clamp(code, sort)


def _junction(parts: list[str], unit: str) -> str:
    zero = "0" if unit == "1" else "1"
    kept = [p for p in dict.fromkeys(parts) if p != unit]
    if zero in kept:
        return zero
    if not kept:
        return unit
    word = " and " if unit == "1" else " or "
    return kept[0] if len(kept) == 1 else f"({word.join(kept)})"


def _not(code: str) -> str:
    return str(1 - int(code)) if code in ("0", "1") else f"(not {code})"


def _compare(op: str, args: list[str]) -> str:
    a, b = args
    if a.isdigit() and b.isdigit():
        x, y = int(a), int(b)
        return str(int({"==": x == y, "<": x < y, "<=": x <= y}[op]))
    return f"({a} {op} {b})"


def _build(writer: _Writer, name: str, source: str) -> Any:
    namespace: dict[str, Any] = {}
    exec(_code("\n".join([*writer.helpers, source])), namespace)  # noqa: S102
    return namespace[name]


@lru_cache(maxsize=4096)
def _code(source: str) -> CodeType:
    """Compiled once: for another control CPU most actions have the same source."""
    return compile(source, "<explicit engine>", "exec")


def compile_formula(
    machine: Machine, formula: Expr, params: tuple[Param, ...] = ()
) -> Callable[..., Any]:
    """A function of a state, and of the values of `params`, that yields the value."""
    writer = _Writer(machine)
    env = {param: f"a{i}" for i, param in enumerate(params)}
    body = writer.code(formula, env)
    arguments = ", ".join(["s", *env.values()])
    made: Callable[..., Any] = _build(
        writer, "f", f"def f({arguments}):\n    return {body}\n"
    )
    return made


def compile_action(machine: Machine, action: Action, number: int) -> Taker:
    """A function of state, actor (any number if none) and list of moves to extend."""
    writer = _Writer(machine)
    env: Env = {action.actor: "a0"} if action.actor else {}
    lines = ["def take(s, a0, out):"]
    pending = list(_conjuncts(action.guard))
    indent = _emit_guard(writer, lines, pending, env, "    ")
    breaks: list[str] = []
    for position, choice in enumerate(action.choices, 1):
        size = len(machine.elements(choice.param.sort))
        span = f"range({size})"
        if choice.order is Order.LAST:
            span = f"range({size - 1}, -1, -1)"
        env = env | {choice.param: f"a{position}"}
        lines.append(f"{indent}for a{position} in {span}:")
        lines.append(f"{indent}    if {writer.code(choice.among, env)}:")
        indent += "        "
        if choice.order is not Order.ANY:
            breaks.append(f"{indent}break")
        indent = _emit_guard(writer, lines, pending, env, indent)
    binding = "".join(f"{env[p]}, " for p in action.params)
    lines.append(f"{indent}t = list(s)")
    for effect in action.effects:
        _emit_effect(writer, lines, effect, env, indent)
    lines.append(f"{indent}out.append(({number}, ({binding}), tuple(t)))")
    lines += reversed(breaks)
    take: Taker = _build(writer, "take", "\n".join(lines) + "\n")
    return take


def _conjuncts(guard: Expr) -> tuple[Expr, ...]:
    if isinstance(guard, Apply) and guard.op is Op.AND:
        return guard.args
    return (guard,)


def _emit_guard(
    writer: _Writer, lines: list[str], pending: list[Expr], env: Env, indent: str
) -> str:
    """Test what can be tested already; returns the indent for what comes next."""
    ready = [g for g in pending if free_params(g) <= env.keys()]
    pending[:] = [g for g in pending if g not in ready]
    if not ready:
        return indent
    lines.append(f"{indent}if {writer.code(and_(*ready), env)}:")
    return indent + "    "


def _emit_effect(
    writer: _Writer, lines: list[str], effect: Assign, env: Env, indent: str
) -> None:
    sort = writer.machine.system.variable(effect.variable).sort
    ranges = [writer.machine.elements(p.sort) for p in effect.bound]
    rounds = 1
    for elements in ranges:
        rounds *= len(elements)
    envs = [
        env | {p: str(v) for p, v in zip(effect.bound, values)}
        for values in (product(*ranges) if rounds <= _UNROLL else ())
    ]
    if rounds > _UNROLL:
        for param, elements in zip(effect.bound, ranges):
            name = writer.fresh("b")
            env = env | {param: name}
            lines.append(f"{indent}for {name} in range({len(elements)}):")
            indent += "    "
        envs = [env]
    for local in envs:
        tests, cell = writer.cell(effect.variable, effect.indices, local, 1, 1)
        value = writer.value(effect.value, local, sort)
        lead = f"if {' and '.join(tests)}: " if tests else ""
        lines.append(f"{indent}{lead}t[{cell}] = {value}")


def free_params(expr: Expr) -> frozenset[Param]:
    """The parameters that the expression does not bind itself."""
    bound = {e.param for e in walk(expr) if isinstance(e, Quantified)}
    return frozenset(e for e in walk(expr) if isinstance(e, Param)) - bound


Rows = tuple[tuple[int, ...], ...]  # by location, the numbers of actions


class _Table(dict[int, tuple[Taker, ...]]):
    """By location, what can be done there; made when somebody gets there.

    A search seldom gets to all locations, and many searches end early.
    """

    def __init__(self, takers: Takers, rows: Rows):
        super().__init__()
        self._takers, self._rows = takers, rows

    def __missing__(self, location: int) -> tuple[Taker, ...]:
        found = tuple(self._takers[number] for number in self._rows[location])
        self[location] = found
        return found


class Takers(dict[int, Taker]):
    """The functions of a machine's actions by number, each made when it is needed."""

    def __init__(self, machine: Machine):
        super().__init__()
        self._machine = machine

    def __missing__(self, number: int) -> Taker:
        action = self._machine.system.actions[number]
        found = self[number] = compile_action(self._machine, action, number)
        return found


@dataclass(frozen=True)
class Runner:
    """One process: where it stands, and what it can do from there."""

    name: str
    instances: tuple[tuple[int, int], ...]  # (actor or -1, cell of its location)
    rows: Rows
    table: _Table


@dataclass(frozen=True, eq=False)
class Compiled:
    """A machine with its actions and properties as functions."""

    machine: Machine
    takers: Takers
    runners: tuple[Runner, ...]

    def moves(self, state: State) -> list[Move]:
        """All enabled actions with the states they lead to, process by process."""
        out: list[Move] = []
        for runner in self.runners:
            table = runner.table
            for actor, cell in runner.instances:
                for take in table[state[cell]]:
                    take(state, actor, out)
        return out

    def moves_of(self, state: State, process: str, actor: int | None) -> list[Move]:
        """The moves of one process instance."""
        out: list[Move] = []
        for runner in self.runners:
            if runner.name == process:
                for who, cell in runner.instances:
                    if actor is None or who == actor:
                        for take in runner.table[state[cell]]:
                            take(state, who, out)
        return out

    def mover(self, wanted: Sequence[bool]) -> Callable[[State], bool]:
        """A test of states: is one of these actions (by number) enabled?"""
        tables = [
            (
                runner.instances,
                _Table(
                    self.takers,
                    tuple(tuple(n for n in row if wanted[n]) for row in runner.rows),
                ),
            )
            for runner in self.runners
        ]

        def can_move(state: State) -> bool:
            out: list[Move] = []
            for instances, table in tables:
                for actor, cell in instances:
                    for take in table[state[cell]]:
                        take(state, actor, out)
                        if out:
                            return True
            return False

        return can_move

    def predicate(self, formula: Expr) -> Predicate:
        """A function of a state that tells whether the formula holds."""
        made: Predicate = compile_formula(self.machine, formula)
        return made


def compile_machine(machine: Machine) -> Compiled:
    """The machine with its actions as functions, each made when it is needed."""
    takers = Takers(machine)
    runners = tuple(_runner(machine, p, takers) for p in machine.system.processes)
    return Compiled(machine, takers, runners)


def _runner(machine: Machine, process: Process, takers: Takers) -> Runner:
    points = machine.values(machine.system.variable(process.location).sort)
    rows: list[list[int]] = [[] for _ in points]
    for number, action in enumerate(machine.system.actions):
        if action.process == process.name:
            source = source_location(action, process)
            for point in points if source is None else (source,):
                rows[point].append(number)
    instances = []
    for actor in machine.instances(process):
        cell = machine.cell(process.location, () if actor is None else (actor,))
        assert cell is not None
        instances.append((-1 if actor is None else actor, cell))
    told = tuple(map(tuple, rows))
    return Runner(process.name, tuple(instances), told, _Table(takers, told))


def getter(cells: Sequence[int]) -> Callable[[State], tuple[int, ...]]:
    """A function of a state: what these cells hold."""
    match cells:
        case []:
            return lambda state: ()
        case [cell]:
            return lambda state: (state[cell],)
    return itemgetter(*cells)


def source_location(action: Action, process: Process) -> int | None:
    """The location that the guard demands of the actor, as a number, if it does."""
    where: tuple[Expr, ...] = (action.actor,) if action.actor else ()
    for test in _conjuncts(action.guard):
        match test:
            case Apply(Op.EQ, (Read(variable, indices, _), Const(value, _)), _):
                if variable == process.location and indices == where:
                    return value
    return None
