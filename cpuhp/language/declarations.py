"""What declarations declare: names, types, enums, options, variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cpuhp.diagnostics import Span, fail, suggestion
from cpuhp.language import tree as t
from cpuhp.language.idioms import meant
from cpuhp.language.program import HPSTATE, IRQS_OFF, LOCKS, Declared, OptionValue
from cpuhp.model.sorts import (
    BOOL,
    CPU,
    CounterSort,
    EnumSort,
    IndexSort,
    RangeSort,
    Sort,
)

_MAX_RANGE = 1024  # values of an int type
_RESERVED = frozenset(
    {"true", "false", "none", "boot", "cpus", "aps", "nobody", "cpu", "this_cpu"}
)


class Names:
    """All names of a program live in one space; each is defined once."""

    def __init__(self) -> None:
        self._spans: dict[str, Span] = {}

    def add(self, name: str, span: Span) -> None:
        if name in self._spans or name in _RESERVED:
            first = self._spans.get(name)
            raise fail(
                "HP204",
                f"'{name}' is defined twice" if first else f"'{name}' is reserved",
                span,
                notes=(("the other definition", first),) if first else (),
            )
        self._spans[name] = span


def demand_a_free_name(name: str, span: Span) -> None:
    """Raises InputError HP204 if nothing may have this name but what has it anyway."""
    if name in _RESERVED - {"cpu"}:
        raise fail("HP204", f"'{name}' is reserved", span, help="give it another name")


@dataclass(frozen=True)
class Types:
    """The sort of a type, where these enums and instances are declared."""

    enums: Mapping[str, EnumSort]
    sizes: Mapping[str, int]

    def __call__(self, node: t.Type) -> Sort:
        return resolve_type(node, self.enums, self.sizes)


def resolve_type(
    node: t.Type, enums: Mapping[str, EnumSort], sizes: Mapping[str, int]
) -> Sort:
    """The sort that a type names. `hpstate` is in `enums` once it is known."""
    match node:
        case t.RangeType(low, high, span):
            if low >= high:
                raise fail("HP205", f"the range {low}..{high} has less than two values",
                           span, help="int 0..1")  # fmt: skip
            if high - low >= _MAX_RANGE:
                raise fail("HP205", f"the range {low}..{high} is too wide", span,
                           help=f"at most {_MAX_RANGE} values")  # fmt: skip
            return RangeSort(low, high)
        case t.CounterType(mask, _):
            return CounterSort(mask)
        case t.NamedType("bool", False, _):
            return BOOL
        case t.NamedType(name, nullable, _) if name == "cpu" or name in sizes:
            return IndexSort(name, nullable)
        case t.NamedType(name, False, _) if name in enums:
            return enums[name]
        case t.NamedType("hpstate", False, _):
            return EnumSort(HPSTATE, ())
    assert isinstance(node, t.NamedType)
    if node.nullable:
        message = f"'{node.name}?' is not a type: only cpu and instances can be none"
        raise fail("HP205", message, node.span)
    if node.name in (*LOCKS, "completion"):
        raise fail(
            "HP205",
            f"a {node.name} is no value",
            node.span,
            help="it is declared at the top of a file, and named where it is used",
        )
    known = ["bool", "cpu", "cpumask", "completion", HPSTATE, *LOCKS, *enums, *sizes]
    raise fail(
        "HP205",
        f"there is no type '{node.name}'",
        node.span,
        help=meant(node.name, known) or "types: bool, cpu, cpu?, int 0..3, ...",
    )


def enums_of(units: tuple[t.Unit, ...], names: Names) -> dict[str, EnumSort]:
    """The enums of all units. Raises InputError HP204, HP205; so do the others here."""
    enums: dict[str, EnumSort] = {}
    for unit in units:
        for item in unit.items:
            if isinstance(item, t.EnumDeclaration):
                names.add(item.name, item.span)
                if len(set(item.values)) != len(item.values):
                    raise fail("HP204", "a value stands twice in the enum", item.span)
                enums[item.name] = EnumSort(item.name, item.values)
            elif isinstance(item, t.Instances):
                names.add(item.name, item.span)
                if not 1 <= item.count <= 8:
                    raise fail("HP205", "instances are 1 to 8 in number", item.span)
    return enums


def options_of(
    units: tuple[t.Unit, ...],
    resolve: Types,
    names: Names,
    given: Mapping[str, str],
) -> dict[str, OptionValue]:
    """Each option with the value that is given, or the default of the last to declare it."""
    values: dict[str, OptionValue] = {}
    for unit in units:
        for item in unit.items:
            if isinstance(item, t.OptionDeclaration):
                sort = resolve(item.type)
                known = values.get(item.name)
                # A scenario may give an option of a component another default.
                if known is None or unit is not units[-1] or known.sort != sort:
                    names.add(item.name, item.span)
                text = given.get(item.name)
                if text is None:
                    text = _literal(item.value)
                value = _parse_value(item, sort, text, item.name in given)
                values[item.name] = OptionValue(item, sort, value, unit.name)
    for name in given:
        if name not in values:
            raise fail(
                "HP207",
                f"the scenario has no option '{name}'",
                help=suggestion(name, values)
                or f"its options: {', '.join(sorted(values)) or 'none'}",
            )
    return values


def _literal(node: t.Term) -> str:
    match node:
        case t.Name(name, _):
            return name
        case t.Number(value, _):
            return str(value)
    raise fail("HP207", "the default of an option is a plain value", node.span)


def _parse_value(item: t.OptionDeclaration, sort: Sort, text: str, given: bool) -> int:
    match sort:
        case EnumSort(_, names):
            known = {name: value for value, name in enumerate(names)}
        case RangeSort(low, high):
            known = {str(n): n for n in range(low, high + 1)}
        case _ if sort == BOOL:
            known = {"false": 0, "true": 1, "no": 0, "yes": 1, "0": 0, "1": 1}
        case _:
            raise fail("HP207", "options are bool, int or enum", item.span)
    if text in known:
        return known[text]
    raise fail(
        "HP207",
        f"'{text}' is not a value of option '{item.name}' ({sort})",
        None if given else item.value.span,
        notes=(("the option", item.span),) if given else (),
        help=f"one of: {', '.join(list(known)[:8])}",
    )


def variables_of(
    units: tuple[t.Unit, ...], resolve: Types, names: Names
) -> dict[str, Declared]:
    """Each variable with its sort and what it is indexed by."""
    found: dict[str, Declared] = {}
    for unit in units:
        for item in unit.items:
            if isinstance(item, t.VariableDeclaration):
                names.add(item.name, item.span)
                found[item.name] = _declared(item, resolve, unit.name)
    flag = found.get(IRQS_OFF)
    if flag is not None and (flag.sort, flag.indices) != (BOOL, (CPU,)):
        raise fail("HP205", f"'{IRQS_OFF}' is a flag that each CPU has",
                   flag.declaration.span, help=f"percpu bool {IRQS_OFF};")  # fmt: skip
    for variable in found.values():
        if isinstance(variable.sort, CounterSort):
            mask = found.get(variable.sort.mask)
            if mask is None or (mask.sort, mask.indices) != (BOOL, (CPU,)):
                raise fail(
                    "HP205",
                    f"'{variable.sort.mask}' is not a cpumask or per-CPU bool",
                    variable.declaration.type.span,
                )
    return found


def demand_a_default(sort: Sort, name: str, span: Span) -> None:
    """Raises InputError HP320 if a variable of this sort begins with no certain value."""
    if isinstance(sort, IndexSort) and not sort.nullable:
        raise fail(
            "HP320",
            f"'{name}' has no first value: no {sort} is like no other",
            span,
            help=f"give it one, let it be `any`, or a '{sort}?', which begins as none",
        )


def _declared(item: t.VariableDeclaration, resolve: Types, component: str) -> Declared:
    indices: tuple[IndexSort, ...] = ()
    if item.scope != "shared":
        if item.scope != "cpu" and item.scope not in resolve.sizes:
            raise fail("HP205", f"there are no instances '{item.scope}'", item.span)
        indices = (IndexSort(item.scope),)
    if isinstance(item.type, t.NamedType) and not item.type.nullable:
        if item.type.name == "cpumask":
            return Declared(item, BOOL, (*indices, CPU), False, component)
        if item.type.name == "completion":
            return Declared(item, BOOL, indices, False, component)
        if item.type.name in LOCKS:
            lock = IndexSort("cpu", nullable=True)
            return Declared(item, lock, indices, True, component)
    sort = resolve(item.type)
    if item.value is None and not item.constant:
        demand_a_default(sort, item.name, item.span)
    return Declared(item, sort, indices, False, component)
