"""What a process does at a program point, as Python functions over a list of values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from types import CodeType
from typing import Any

from cpuhp.language.flow import Edge
from cpuhp.model.expr import (
    Boot,
    Const,
    Expr,
    Param,
    Quantified,
    Read,
    and_,
    conjuncts,
    walk,
)
from cpuhp.model.system import Assign, Order
from cpuhp.timing.code import Env, Layout, Writer

CHOSEN = 0  # item of the list: the CPU that a loop has come to
ANY_CELL = -1


def step_functions(
    layout: Layout, number: int, edges: Sequence[Edge], actor: Param | None
) -> str:
    """Source of `take_n` and `watch_n`: what can be done at a point, what to wait for.

    `take(S, c)` takes the first enabled edge of `edges` and returns its number, or -1;
    what it changes it notes in `D` as pairs of variable number and CPU (`ANY_CELL`:
    none, or more than one). `watch(S, c)` gives such pairs: the point is worth another
    look when one of them has changed. `c` is the CPU of the process.
    """
    writer = Writer(layout)
    lines = [f"def take_{number}(S, c):"]
    for at, edge in enumerate(edges):
        _emit_edge(writer, lines, at, edge, actor)
    lines.append("    return -1")
    lines += [f"def watch_{number}(S, c):", "    W = []"]
    for edge in edges:
        _emit_watch(writer, lines, edge, actor)
    lines.append("    return W")
    return "\n".join(lines) + "\n"


def define(code: CodeType, cpus: int, changed: list[tuple[int, int]]) -> dict[str, Any]:
    """Run generated definitions for a machine of so many CPUs; what they define."""
    namespace: dict[str, Any] = {
        "N": cpus,
        "F": (1 << cpus) - 1,
        "D": changed,
        "bit": lambda c: 1 << c if c >= 0 else 0,
        "select": _select,
    }
    exec(code, namespace)  # noqa: S102
    return namespace


def _select(mask: int, holds: Callable[[int], object]) -> int:
    """The bits of `mask` for whose number `holds` is true."""
    found = 0
    while mask:
        low = mask & -mask
        if holds(low.bit_length() - 1):
            found |= low
        mask ^= low
    return found


def _emit_edge(
    writer: Writer, lines: list[str], number: int, edge: Edge, actor: Param | None
) -> None:
    env: Env = {actor: "c"} if actor else {}
    early = [g for g in conjuncts(edge.guard) if _free(g) <= env.keys()]
    late = [g for g in conjuncts(edge.guard) if g not in early]
    indent = "    "
    guard = and_(*early)
    if guard != Const(1, guard.sort):
        lines.append(f"{indent}if {writer.code(guard, env)}:")
        indent += "    "
    for choice in edge.choices:
        name = writer.fresh("a")
        mask = _among(writer, choice.param, choice.among, env)
        first = f"(({name}m & -{name}m).bit_length() - 1)"
        last = f"({name}m.bit_length() - 1)"
        picked = last if choice.order is Order.LAST else first
        lines.append(f"{indent}if ({name}m := {mask}):")
        indent += "    "
        lines.append(f"{indent}{name} = {picked}")
        env = env | {choice.param: name}
        if edge.note and edge.note.text.startswith("for "):
            if choice.param.sort.name == "cpu":
                lines.append(f"{indent}S[{CHOSEN}] = {name}")
    if late:
        lines.append(f"{indent}if {writer.code(and_(*late), env)}:")
        indent += "    "
    _emit_effects(writer, lines, edge.effects, env, indent)
    lines.append(f"{indent}return {number}")


def _among(writer: Writer, param: Param, among: Expr, env: Env) -> str:
    if param.sort.name == "cpu":
        return writer.mask(among, param, env)
    size = writer.layout.sizes[param.sort.name]
    parts = [
        f"(1 << {e} if {writer.code(among, env | {param: str(e)})} else 0)"
        for e in range(size)
    ]
    return " | ".join(parts)


def _emit_effects(
    writer: Writer,
    lines: list[str],
    effects: Sequence[Assign],
    env: Env,
    indent: str,
) -> None:
    """All values are taken before any is stored."""
    stores: list[str] = []
    for effect in effects:
        for lead, store in _assignment(writer, effect, env):
            lines += [indent + line for line in lead]
            stores += store
    lines += [indent + line for line in stores]


def _assignment(
    writer: Writer, effect: Assign, env: Env
) -> Iterable[tuple[list[str], list[str]]]:
    layout = writer.layout
    known = layout.known[effect.variable]
    bound = effect.bound
    whole = (
        layout.is_mask(known)
        and len(bound) > 0
        and effect.indices[-1] == bound[-1]
        and bound[-1].sort.name == "cpu"
    )
    loops = bound[:-1] if whole else bound
    if any(p.sort.name == "cpu" for p in loops):
        yield _store_each(writer, effect, env)
        return
    ranges = [range(layout.sizes[p.sort.name]) for p in loops]
    for values in product(*ranges):
        local = env | {p: str(v) for p, v in zip(loops, values)}
        if whole:
            yield _store_mask(writer, effect, local)
        else:
            yield _store(writer, effect, local)


def _store_each(
    writer: Writer, effect: Assign, env: Env
) -> tuple[list[str], list[str]]:
    """One value after the other, for what is not a mask."""
    local = env | {p: writer.fresh("b") for p in effect.bound}
    loops = " ".join(
        f"for {local[p]} in range({writer.layout.size(p.sort)})" for p in effect.bound
    )
    sort = writer.layout.known[effect.variable].sort
    indices = [writer.code(i, local) for i in effect.indices]
    kept, place = writer.fresh("v"), [writer.fresh("b") for _ in indices]
    value = writer.value(effect.value, local, sort)
    told = ", ".join([*indices, value])
    env_of = {
        Param(n, s): n
        for n, s in zip(place, writer.layout.known[effect.variable].indices)
    }
    cell = writer.cell(effect.variable, tuple(env_of), env_of)
    number = writer.layout.numbers[effect.variable]
    stored = writer.fresh("v")
    store = f"{cell.code} = {stored}"
    if cell.bit is not None:
        store = (
            f"{cell.code} = {cell.code} & ~(1 << {cell.bit}) | {stored} << {cell.bit}"
        )
    return [f"{kept} = [({told}) {loops}]"], [
        f"for {', '.join([*place, stored])} in {kept}: {store}",
        f"D.append(({number}, {ANY_CELL}))",
    ]


def _store_mask(
    writer: Writer, effect: Assign, env: Env
) -> tuple[list[str], list[str]]:
    value = writer.fresh("v")
    mask = writer.mask(effect.value, effect.bound[-1], env)
    place = writer.cell(effect.variable, (*effect.indices[:-1], Boot()), env)
    number = writer.layout.numbers[effect.variable]
    test = " and ".join([*place.tests, f"{place.code} != {value}"])
    return [f"{value} = {mask}"], [
        f"if {test}:",
        f"    {place.code} = {value}; D.append(({number}, {ANY_CELL}))",
    ]


def _store(writer: Writer, effect: Assign, env: Env) -> tuple[list[str], list[str]]:
    known = writer.layout.known[effect.variable]
    lead: list[str] = []
    place = writer.cell(effect.variable, effect.indices, env, lead)
    value, code = writer.fresh("v"), place.code
    lead.append(f"{value} = {writer.value(effect.value, env, known.sort)}")
    if place.bit is not None:
        old, new = f"({code} >> {place.bit} & 1)", f"{code} ^= 1 << {place.bit}"
    else:
        old, new = code, f"{code} = {value}"
    per_cpu = bool(known.indices) and known.indices[-1].name == "cpu"
    cell = place.last if per_cpu else ANY_CELL
    note = f"D.append(({writer.layout.numbers[effect.variable]}, {cell}))"
    tests = " and ".join([*place.tests, f"{old} != {value}"])
    return lead, [f"if {tests}:", f"    {new}; {note}"]


def _free(expr: Expr) -> frozenset[Param]:
    bound = {e.param for e in walk(expr) if isinstance(e, Quantified)}
    return frozenset(e for e in walk(expr) if isinstance(e, Param)) - bound


def _emit_watch(
    writer: Writer, lines: list[str], edge: Edge, actor: Param | None
) -> None:
    """The first test that fails is what the edge waits for."""
    env: Env = {actor: "c"} if actor else {}
    word = "if"
    late: list[Expr] = [choice.among for choice in edge.choices]
    for test in conjuncts(edge.guard):
        if not _free(test) <= env.keys():
            late.append(test)
            continue
        pairs = _watched(writer.layout, [test], actor)
        if not pairs:
            # A constant: it never changes, so there is nothing to wait for.
            lines.append(f"    {word} not {writer.code(test, env)}: pass")
        else:
            lines.append(f"    {word} not {writer.code(test, env)}: W += {pairs}")
        word = "elif"
    pairs = _watched(writer.layout, late, actor)
    if pairs:
        lines.append(f"    {'else' if word == 'elif' else 'if True'}: W += {pairs}")


def _watched(layout: Layout, tests: Iterable[Expr], actor: Param | None) -> str:
    found: dict[str, None] = {}
    for test in tests:
        for part in walk(test):
            if isinstance(part, Read) and not layout.known[part.variable].constant:
                own = bool(part.indices) and part.indices[-1] == actor
                cell = "c" if own else str(ANY_CELL)
                found[f"({layout.numbers[part.variable]}, {cell})"] = None
    return f"[{', '.join(found)}]" if found else ""
