"""Linking: from the units of a scenario to one program with every name resolved once.

A `Program` holds declarations, not yet behaviour: options have their values, enums and
variables their sorts, callbacks their rows of the hotplug table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from cpuhp.diagnostics import Span, fail, suggestion
from cpuhp.language import tree as t
from cpuhp.language.idioms import meant
from cpuhp.language.library import Library, checks_of
from cpuhp.model.sorts import (
    BOOL,
    CPU,
    CounterSort,
    EnumSort,
    IndexSort,
    RangeSort,
    Sort,
)
from cpuhp.model.table import HotplugState, Section, Table

HPSTATE = "hpstate"
IRQS_OFF = "irqs_off"  # the flag of a CPU whose interrupts are masked
LOCKS = frozenset(
    {"mutex", "spinlock", "raw_spinlock", "rwsem", "rwlock", "srcu_struct"}
)
READS = {"rwsem": "down_read", "rwlock": "read_lock", "srcu_struct": "srcu_read_lock"}
WRITES = {
    "rwsem": "down_write",
    "rwlock": "write_lock",
    "srcu_struct": "synchronize_srcu",
}
Grip = tuple[str, bool]  # a lock, and whether it is shared: held by readers
Dependency = tuple[Grip, Grip]  # the first is held while the second is asked for
MAX_RANGE = 1024  # values of an int type
_RESERVED = {"true", "false", "none", "boot", "cpus", "aps", "nobody", "cpu"}
_RESERVED |= {"this_cpu"}


@dataclass(frozen=True)
class Declared:
    """A variable: its declaration with the sorts worked out."""

    declaration: t.VariableDeclaration
    sort: Sort
    indices: tuple[IndexSort, ...]
    lock: bool
    component: str


@dataclass(frozen=True)
class Registered:
    """A callback and the row of the hotplug table that it belongs to."""

    callback: t.Callback
    state: HotplugState
    section: Section
    component: str
    source: str | None


@dataclass(frozen=True)
class DeclaredProcess:
    declaration: t.ProcessDeclaration
    component: str
    source: str | None


@dataclass(frozen=True)
class OptionValue:
    declaration: t.OptionDeclaration
    sort: Sort
    value: int
    component: str


@dataclass(frozen=True)
class Watch:
    """Dependencies between locks that are watched for; where writers hold up readers."""

    dependencies: tuple[Dependency, ...]
    queued: frozenset[str]


@dataclass(frozen=True)
class Program:
    scenario: t.Unit
    units: tuple[t.Unit, ...]
    table: Table
    options: Mapping[str, OptionValue]
    enums: Mapping[str, EnumSort]
    sizes: Mapping[str, int]
    variables: Mapping[str, Declared]
    functions: Mapping[str, t.Function]
    callbacks: tuple[Registered, ...]
    unplaced: tuple[t.Callback, ...]  # models of states that the table does not have
    processes: tuple[DeclaredProcess, ...]
    checks: Mapping[str, t.CheckDeclaration]
    expectations: tuple[t.Expect, ...]
    assumptions: tuple[t.Assume, ...]
    landmarks: tuple[HotplugState, ...]  # hotplug states that the text names
    watch: Watch | None = None  # if the order of locks is watched

    def components(self) -> frozenset[str]:
        return frozenset(unit.name for unit in self.units)

    def files(self) -> dict[str, str]:
        """The file of each function, callback and process."""
        declared: tuple[t.Function | t.Callback | t.ProcessDeclaration, ...] = (
            *self.functions.values(),
            *(registered.callback for registered in self.callbacks),
            *(process.declaration for process in self.processes),
        )
        return {it.name: it.span.source.name for it in declared}


def link(
    scenario: t.Unit,
    library: Library,
    table: Table,
    options: Mapping[str, str],
) -> Program:
    """Resolve a scenario against a library, a hotplug table and option values.

    Raises InputError: HP201 unknown unit, HP204 defined twice, HP205 unknown type,
    HP206 unknown hotplug state, HP207 bad option, HP208 no free dynamic slot.
    """
    units = tuple(_closure(scenario, library))
    table = _registered_drivers(units, table)
    names = _Names()
    enums = _enums(units, names)
    sizes = {
        i.name: i.count for u in units for i in u.items if isinstance(i, t.Instances)
    }
    resolve = _Types(enums, sizes)
    values = _options(units, resolve, names, options)
    variables = _variables(units, resolve, names)
    functions = {}
    for unit in units:
        for item in unit.items:
            if isinstance(item, t.Function):
                names.add(item.name, item.span)
                functions[item.name] = item
                for param in item.params:
                    demand_a_free_name(param.name, param.span)
    callbacks, unplaced = _callbacks(units, table, names)
    processes = []
    for unit in units:
        for item in unit.items:
            if isinstance(item, t.ProcessDeclaration):
                names.add(item.name, item.span)
                processes.append(DeclaredProcess(item, unit.name, unit.source))
    checks = _checks(units, library)
    bodies = [c.callback for c in callbacks]
    variables |= dict(_reader_flags(variables, functions, bodies, processes))
    return Program(
        scenario=scenario,
        units=units,
        table=table,
        options=values,
        enums=enums,
        sizes=sizes,
        variables=variables,
        functions=functions,
        callbacks=callbacks,
        unplaced=unplaced,
        processes=tuple(processes),
        checks=checks,
        expectations=tuple(
            i for u in units for i in u.items if isinstance(i, t.Expect)
        ),
        assumptions=tuple(i for u in units for i in u.items if isinstance(i, t.Assume)),
        landmarks=_landmarks((*units, *checks.values()), table),
    )


def _closure(scenario: t.Unit, library: Library) -> Iterator[t.Unit]:
    """The units that the scenario uses, each once, used ones before their users."""
    done: dict[str, bool] = {}
    stack: list[tuple[t.Unit, bool]] = [(scenario, False)]
    while stack:
        unit, expanded = stack.pop()
        if expanded:
            if not done[unit.name]:
                done[unit.name] = True
                yield unit
            continue
        if unit.name in done:
            continue
        done[unit.name] = False
        stack.append((unit, True))
        used = [n for i in unit.items if isinstance(i, t.Use) for n in i.names]
        stack += [(library.find(n.name, n.span), False) for n in reversed(used)]


class _Names:
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
class _Types:
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
            if high - low >= MAX_RANGE:
                raise fail("HP205", f"the range {low}..{high} is too wide", span,
                           help=f"at most {MAX_RANGE} values")  # fmt: skip
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


def _enums(units: tuple[t.Unit, ...], names: _Names) -> dict[str, EnumSort]:
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


def _options(
    units: tuple[t.Unit, ...],
    resolve: _Types,
    names: _Names,
    given: Mapping[str, str],
) -> dict[str, OptionValue]:
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


def _variables(
    units: tuple[t.Unit, ...], resolve: _Types, names: _Names
) -> dict[str, Declared]:
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


def _declared(item: t.VariableDeclaration, resolve: _Types, component: str) -> Declared:
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


def _reader_flags(
    variables: Mapping[str, Declared],
    functions: Mapping[str, t.Function],
    callbacks: list[t.Callback],
    processes: list[DeclaredProcess],
) -> Iterator[tuple[str, Declared]]:
    """The flags behind reader-writer locks and SRCU: see reader_locks.py."""
    calls = {
        process.declaration.name: _calls_from(process, functions, callbacks)
        for process in processes
    }

    def users(lock: str, primitive: str) -> list[t.ProcessDeclaration]:
        return [
            process.declaration
            for process in processes
            if (primitive, lock) in calls[process.declaration.name]
        ]

    for lock, declared in list(variables.items()):
        node = declared.declaration
        kind = node.type.name if isinstance(node.type, t.NamedType) else ""
        if kind not in READS:
            continue
        reading, writing = users(lock, READS[kind]), users(lock, WRITES[kind])
        flags: dict[str, tuple[t.ProcessDeclaration, ...]] = {
            f"{lock}.reader.{p.name}": (p,) for p in reading
        }
        if kind == "rwsem":
            flags |= {f"{lock}.writer.{p.name}": (p,) for p in writing}
        if kind == "srcu_struct":
            for waiter in writing:
                flags |= {
                    f"{lock}.gp.{waiter.name}.{p.name}": (waiter, p) for p in reading
                }
        for name, owners in flags.items():
            indices = declared.indices + (CPU,) * sum(
                p.param is not None for p in owners
            )
            word = t.NamedType("atomic_t", False, node.span)
            flag = replace(node, type=word, name=name, value=None)
            yield name, Declared(flag, BOOL, indices, False, declared.component)


def _calls_from(
    process: DeclaredProcess,
    functions: Mapping[str, t.Function],
    callbacks: list[t.Callback],
) -> set[tuple[str, str]]:
    """Function and first argument of every call that a process can come to."""
    found: set[tuple[str, str]] = set()
    seen: set[str] = set()
    stack: list[object] = [process.declaration.body]
    while stack:
        for call in _calls_in(stack.pop()):
            base = call.args[0] if call.args else None
            while isinstance(base, t.Index):
                base = base.base
            found.add((call.name, base.name if isinstance(base, t.Name) else ""))
            if call.name in seen:
                continue
            seen.add(call.name)
            if call.name in functions:
                stack.append(functions[call.name].body)
            elif call.name in ("invoke_startup", "invoke_teardown"):
                stack += [callback.body for callback in callbacks]
    return found


def _registered_drivers(units: tuple[t.Unit, ...], table: Table) -> Table:
    for unit in units:
        for item in unit.items:
            if not isinstance(item, t.Register):
                continue
            found = table.find(item.name)
            if found is not None and not found.name:
                table = _registered_at(table, found)
            elif found is None:
                extended = table.with_dynamic(item.name)
                if extended is None:
                    raise fail(
                        "HP208",
                        f"no free slot in CPUHP_AP_ONLINE_DYN for '{item.name}'",
                        item.span,
                    )
                table = extended
    return table


def _registered_at(table: Table, state: HotplugState) -> Table:
    """The table with a driver in a fixed state that the recorded machine left empty."""
    row = replace(state, name=state.enumerator or "", added=True)
    rows = [s for s in table.states if s.number != row.number]
    rows = sorted((*rows, row), key=lambda s: s.number)
    return replace(table, states=tuple(rows))


def _callbacks(
    units: tuple[t.Unit, ...], table: Table, names: _Names
) -> tuple[tuple[Registered, ...], tuple[t.Callback, ...]]:
    found: dict[tuple[int, str], Registered] = {}
    unplaced: list[t.Callback] = []
    for unit in units:
        for item in unit.items:
            if not isinstance(item, t.Callback):
                continue
            names.add(item.name, item.span)
            state = table.find(item.state)
            if state is None or not state.name:
                unplaced.append(item)
                continue
            key = (state.number, item.direction)
            if key in found:
                raise fail(
                    "HP204",
                    f"hotplug state '{state.name}' has two {item.direction} models",
                    item.span,
                    notes=(("the other one", found[key].callback.span),),
                )
            found[key] = Registered(
                item, state, table.section(state.number), unit.name,
                item.source or unit.source,
            )  # fmt: skip
    order = sorted(found, key=lambda key: (key[0], key[1]))
    return tuple(found[key] for key in order), tuple(unplaced)


def _checks(
    units: tuple[t.Unit, ...], library: Library
) -> dict[str, t.CheckDeclaration]:
    """The checks of the catalogue that apply: their components are all in use."""
    present = {unit.name for unit in units}
    own = {check.name: check for unit in units for check in checks_of(unit)}
    others = {name: library.checks[name] for name in library.catalogue}
    for check in (*own.values(), *others.values()):
        for required in check.requires:
            library.demand(required.name, required.span)
    for told in (i for u in units for i in u.items if isinstance(i, t.Expect)):
        library.demand_check(told.check, told.span)
    found = others | own
    return {
        name: check
        for name, check in sorted(found.items())
        if name in own or all(r.name in present for r in check.requires)
    }


def _landmarks(texts: Iterable[object], table: Table) -> tuple[HotplugState, ...]:
    found: dict[str, HotplugState] = {}
    for text in texts:
        for name, span in names_in(text):
            if name.startswith("CPUHP_") and name not in found:
                state = table.find(name)
                if state is None:
                    known = [n for n, _ in table.enumerators]
                    known += [s.enumerator for s in table.states if s.enumerator]
                    raise fail(
                        "HP206",
                        f"the hotplug table '{table.name}' has no state '{name}'",
                        span,
                        help=suggestion(name, known),
                    )
                found[name] = replace(state, enumerator=name)
    return tuple(sorted(found.values(), key=lambda state: state.number))


def names_in(node: object) -> Iterator[tuple[str, Span]]:
    """All names in terms below a node, with their places."""
    for part in nodes_below(node):
        if isinstance(part, t.Name):
            yield part.name, part.span


def _calls_in(node: object) -> Iterator[t.Call]:
    for part in nodes_below(node):
        if isinstance(part, t.Call):
            yield part


def nodes_below(node: object) -> Iterator[object]:
    """A node and all nodes below it."""
    stack = [node]
    while stack:
        top = stack.pop()
        yield top
        if isinstance(top, tuple):
            stack.extend(reversed(top))
        elif hasattr(top, "__dataclass_fields__") and not isinstance(top, Span):
            parts = [getattr(top, f) for f in top.__dataclass_fields__ if f != "span"]
            stack.extend(reversed(parts))
