"""Actions and formulas as Python functions, for speed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

from cpuhp.engines.explicit.source import UNROLL, Env, Writer, build
from cpuhp.model.expr import Expr, Param, Quantified, and_, conjuncts, walk
from cpuhp.model.system import Action, Assign, Order
from cpuhp.model.verdict import State
from cpuhp.semantics import Machine

Move = tuple[int, tuple[int, ...], State]  # action number, binding, state after
Predicate = Callable[[State], object]
Taker = Callable[[State, int, list[Move]], None]


def compile_formula(
    machine: Machine, formula: Expr, params: tuple[Param, ...] = ()
) -> Callable[..., Any]:
    """A function of a state, and of the values of `params`, that yields the value."""
    writer = Writer(machine)
    env = {param: f"a{i}" for i, param in enumerate(params)}
    body = writer.code(formula, env)
    arguments = ", ".join(["s", *env.values()])
    made: Callable[..., Any] = build(
        writer, "f", f"def f({arguments}):\n    return {body}\n"
    )
    return made


def compile_action(machine: Machine, action: Action, number: int) -> Taker:
    """A function of state, actor (any number if none) and list of moves to extend."""
    writer = Writer(machine)
    env: Env = {action.actor: "a0"} if action.actor else {}
    lines = ["def take(s, a0, out):"]
    pending = list(conjuncts(action.guard))
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
    take: Taker = build(writer, "take", "\n".join(lines) + "\n")
    return take


def _emit_guard(
    writer: Writer, lines: list[str], pending: list[Expr], env: Env, indent: str
) -> str:
    """Test what can be tested already; returns the indent for what comes next."""
    ready = [g for g in pending if free_params(g) <= env.keys()]
    pending[:] = [g for g in pending if g not in ready]
    if not ready:
        return indent
    lines.append(f"{indent}if {writer.code(and_(*ready), env)}:")
    return indent + "    "


def _emit_effect(
    writer: Writer, lines: list[str], effect: Assign, env: Env, indent: str
) -> None:
    sort = writer.machine.system.variable(effect.variable).sort
    ranges = [writer.machine.elements(p.sort) for p in effect.bound]
    rounds = 1
    for elements in ranges:
        rounds *= len(elements)
    envs = [
        env | {p: str(v) for p, v in zip(effect.bound, values)}
        for values in (product(*ranges) if rounds <= UNROLL else ())
    ]
    if rounds > UNROLL:
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
