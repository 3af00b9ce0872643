"""Steps of a process as Python functions over one mutable list, for a simulation.

A boolean variable with a value per CPU is one integer, bit by bit, so that "all CPUs of
this mask have acknowledged" is a single operation for any number of CPUs. Every other
value has a cell of its own. As in the explicit engine, no text of a spec enters the
source that is made here: only numbers and names of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from types import CodeType
from typing import Any

from cpuhp.language.flow import Edge
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
from cpuhp.model.sorts import BoolSort, EnumSort, IndexSort, RangeSort, Sort
from cpuhp.model.system import Assign, Order, Variable
from cpuhp.semantics import default_value

Env = dict[Param, str]
Take = Callable[[list[int], int], int]  # state, own CPU -> number of the edge, or -1
Watch = Callable[[list[int], int], list[tuple[int, int]]]

CHOSEN = 0  # cell: the CPU that a loop has come to
ANY_CELL = -1
BOOT = "0"


@dataclass
class Layout:
    """Where variables lie in the list of values; the same for every number of CPUs.

    Variable n is item n + 1: a value, a mask, or a list of values or masks by the
    variable's indices, the last one running fastest.
    """

    variables: Sequence[Variable]
    sizes: Mapping[str, int]  # of the index sorts other than cpu
    known: dict[str, Variable] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, variable in enumerate(self.variables):
            self.known[variable.name] = variable
            self.numbers[variable.name] = number + 1

    def size(self, sort: IndexSort) -> str:
        """Source of the number of elements."""
        return "N" if sort.name == "cpu" else str(self.sizes[sort.name])

    def is_mask(self, variable: Variable) -> bool:
        indices = variable.indices
        return (
            isinstance(variable.sort, BoolSort)
            and bool(indices)
            and indices[-1].name == "cpu"
        )

    def dimensions(self, variable: Variable) -> tuple[IndexSort, ...]:
        """The indices that tell cells apart; of a mask all but the last."""
        return variable.indices[: -1 if self.is_mask(variable) else None]


@dataclass
class Writer:
    """Turns expressions into source."""

    layout: Layout
    names: int = 0

    def fresh(self, prefix: str = "x") -> str:
        self.names += 1
        return f"{prefix}{self.names}"

    # -- single values -------------------------------------------------------

    def code(self, expr: Expr, env: Env) -> str:
        match expr:
            case Const(value, _):
                return str(value) if value >= 0 else f"({value})"
            case Param():
                return env[expr]
            case Boot():
                return BOOT
            case Read():
                return self.read(expr, env)
            case Quantified():
                return self.quantified(expr, env)
            case Apply():
                return self.apply(expr, env)

    def index(
        self, expr: Expr, env: Env, tests: list[str], lead: list[str] | None = None
    ) -> str:
        """Source of an index; a test that it is somebody, where it may be nobody.

        With `lead` its value is taken in a line of its own, before anything is stored.
        """
        code = self.code(expr, env)
        if isinstance(expr, Param | Boot) or code.isdigit():
            return code
        name = self.fresh()
        if lead is None:
            tests.append(f"({name} := {code}) >= 0")
        else:
            lead.append(f"{name} = {code}")
            tests.append(f"{name} >= 0")
        return name

    def cell(
        self,
        variable: str,
        indices: tuple[Expr, ...],
        env: Env,
        lead: list[str] | None = None,
    ) -> Cell:
        """Source of a value's place. Of a mask the last index is the bit."""
        known = self.layout.known[variable]
        tests: list[str] = []
        bit = last = None
        if self.layout.is_mask(known):
            last = bit = self.index(indices[-1], env, tests, lead)
            indices = indices[:-1]
        item = f"S[{self.layout.numbers[variable]}]"
        offset = ""
        sorts = self.layout.dimensions(known)
        for sort, index in zip(sorts, indices):
            code = self.index(index, env, tests, lead)
            last = code if bit is None else last
            size = self.layout.size(sort)
            offset = f"({offset}) * {size} + {code}" if offset else code
        return Cell(tests, f"{item}[{offset}]" if offset else item, bit, last)

    def read(self, expr: Read, env: Env) -> str:
        place = self.cell(expr.variable, expr.indices, env)
        code = place.code if place.bit is None else f"({place.code} >> {place.bit} & 1)"
        if not place.tests:
            return code
        return (
            f"({code} if {' and '.join(place.tests)} else {default_value(expr.sort)})"
        )

    def apply(self, expr: Apply, env: Env) -> str:
        args = [self.code(a, env) for a in expr.args]
        match expr.op:
            case Op.AND:
                return f"({' and '.join(args)})"
            case Op.OR:
                return f"({' or '.join(args)})"
            case Op.NOT:
                return f"(not {args[0]})"
            case Op.EQ:
                boolean = isinstance(expr.args[0].sort, BoolSort)
                a, b = (f"bool({x})" for x in args) if boolean else args
                return f"({a} == {b})"
            case Op.LT | Op.BEFORE:
                return f"({args[0]} < {args[1]})"
            case Op.LE:
                return f"({args[0]} <= {args[1]})"
            case Op.ADD | Op.SUB:
                sign = "+" if expr.op is Op.ADD else "-"
                return self.clamp(f"{args[0]} {sign} {args[1]}", expr.sort)
            case Op.ITE:
                return f"({args[1]} if {args[0]} else {args[2]})"

    def clamp(self, code: str, sort: Sort) -> str:
        if isinstance(sort, RangeSort):
            return f"max({sort.low}, min({sort.high}, {code}))"
        if isinstance(sort, EnumSort):
            return f"max(0, min({len(sort.values) - 1}, {code}))"
        return f"({code})"

    def value(self, expr: Expr, env: Env, sort: Sort) -> str:
        code = self.code(expr, env)
        if isinstance(sort, BoolSort) and not code.isdigit():
            return f"(1 if {code} else 0)"
        return code if isinstance(expr, Const) else self.clamp(code, sort)

    def quantified(self, expr: Quantified, env: Env) -> str:
        if expr.param.sort.name == "cpu":
            mask = self.mask(expr.body, expr.param, env)
            match expr.kind:
                case Quantifier.FORALL:
                    return f"({mask} == F)"
                case Quantifier.EXISTS:
                    return f"({mask} != 0)"
                case Quantifier.COUNT:
                    return f"({mask}).bit_count()"
        size = self.layout.sizes[expr.param.sort.name]
        parts = [self.code(expr.body, env | {expr.param: str(e)}) for e in range(size)]
        match expr.kind:
            case Quantifier.FORALL:
                return f"({' and '.join(parts)})"
            case Quantifier.EXISTS:
                return f"({' or '.join(parts)})"
            case Quantifier.COUNT:
                return f"({' + '.join(f'bool({part})' for part in parts)})"

    # -- the same for all CPUs at once ---------------------------------------

    def mask(self, body: Expr, param: Param, env: Env) -> str:
        """Source of an integer: bit c is the value of `body` for `param` = c."""
        found = self._bits(body, param, env)
        if found is not None:
            return found
        if isinstance(body, Apply) and body.op is Op.AND:
            bits = [(a, self._bits(a, param, env)) for a in body.args]
            quick = [code for _, code in bits if code is not None]
            slow = and_(*(a for a, code in bits if code is None))
            among = " & ".join(quick) if quick else "F"
        else:
            slow, among = body, "F"
        name = self.fresh("q")
        code = self.code(slow, env | {param: name})
        return f"select({among}, lambda {name}: {code})"

    def _bits(self, body: Expr, param: Param, env: Env) -> str | None:
        if param not in walk(body):
            code = self.code(body, env)
            return {"0": "0", "1": "F"}.get(code, f"(F if {code} else 0)")
        match body:
            case Read(variable, indices, _):
                known = self.layout.known[variable]
                if not self.layout.is_mask(known) or indices[-1] != param:
                    return None
                if any(param in walk(i) for i in indices[:-1]):
                    return None
                place = self.cell(variable, (*indices[:-1], Boot()), env)
                if not place.tests:
                    return place.code
                return f"({place.code} if {' and '.join(place.tests)} else 0)"
            case Apply(op, args, _):
                return self._operation(op, args, param, env)
        return None

    def _operation(
        self, op: Op, args: tuple[Expr, ...], param: Param, env: Env
    ) -> str | None:
        if op is Op.EQ and not isinstance(args[0].sort, BoolSort):
            one, other = args if args[0] == param else args[::-1]
            if one != param or param in walk(other):
                return None
            return f"bit({self.code(other, env)})"
        if op is Op.BEFORE:
            one, other = args
            if one == param and param not in walk(other):
                return f"(bit({self.code(other, env)}) - 1 & F)"
            return None
        if op not in (Op.AND, Op.OR, Op.NOT, Op.EQ, Op.ITE):
            return None
        bits = [self._bits(a, param, env) for a in args]
        known = [b for b in bits if b is not None]
        if len(known) < len(bits):
            return None
        match op:
            case Op.AND:
                return f"({' & '.join(known)})"
            case Op.OR:
                return f"({' | '.join(known)})"
            case Op.NOT:
                return f"(F ^ {known[0]})"
            case Op.EQ:
                return f"(F ^ {known[0]} ^ {known[1]})"
            case _:
                name = self.fresh()
                return (
                    f"(({name} := {known[0]}) & {known[1]} | (F ^ {name}) & {known[2]})"
                )


@dataclass(frozen=True)
class Cell:
    """Source of a place; it is none if one of the tests fails."""

    tests: list[str]
    code: str
    bit: str | None
    last: str | None  # the last index


# -- steps ---------------------------------------------------------------------


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


def conjuncts(guard: Expr) -> tuple[Expr, ...]:
    if isinstance(guard, Apply) and guard.op is Op.AND:
        return guard.args
    return (guard,)


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
