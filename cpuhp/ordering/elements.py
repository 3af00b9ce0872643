"""What holds a scenario together, piece by piece, and the scenario without the piece.

Options that are on, locks, waits, conditions of a choice, and who comes first of two
callbacks. Each can be taken away; whether a check notices says what it is for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cpuhp.diagnostics import Span
from cpuhp.language import tree as t
from cpuhp.language.compile import Lowered
from cpuhp.language.program import Program, Registered
from cpuhp.language.terms import PICKS
from cpuhp.language.tree import base_name, names_in, nodes_below
from cpuhp.model.sorts import BOOL, EnumSort, format_value
from cpuhp.model.table import HotplugState, Table
from cpuhp.ordering.text import Key, Keys, one_line, present, steps_of, triggers, where
from cpuhp.ordering.variant import Edit, Place, Variant, place_of

KINDS = ("option", "lock", "wait", "choice", "order")
_ASIDE = ("Mutant",)  # documentation of options that break something on purpose


@dataclass(frozen=True)
class Element:
    """A piece of a scenario. `without` is the scenario when it is taken away.

    `places` are the statements that it consists of (source, start, end); empty where
    that cannot be told, for an option. `pair` names the callbacks of an order edge.
    """

    kind: str
    name: str
    where: str
    without: Variant
    places: Keys = frozenset()
    pair: tuple[str, ...] = ()


def elements(base: Variant, whole: Lowered) -> list[Element]:
    """All pieces of a scenario: options first, then in the order of the text."""
    program = whole.program
    found = [*options(base, program)]
    steps, runs = steps_of(program), present(whole)
    for unit in program.units:
        for kind, node in _statements(unit):
            keys = steps[place_of(node)]
            if not runs & keys:
                continue
            if kind == "wait":
                found.append(_without("wait", node, base, None, keys))
            else:
                found += _conditions(node, base, keys)
    found += locks(base, program, steps, runs)
    found += orders(base, program)
    return sorted(found, key=lambda e: KINDS.index(e.kind))


def options(base: Variant, program: Program) -> Iterator[Element]:
    """Options that are on, each turned off; and each other value of an enum."""
    for name, option in program.options.items():
        at = where(option.declaration.span)
        if name == "starts_online":
            continue  # says what the scenario is about
        if option.sort == BOOL and option.value:
            off = base.with_options(**{name: "false"})
            yield Element("option", name, at, off)
        elif isinstance(option.sort, EnumSort):
            for value in range(len(option.sort.values)):
                if value != option.value:
                    told = format_value(option.sort, value)
                    other = base.with_options(**{name: told})
                    yield Element("option", f"{name}={told}", at, other)


def remedies(base: Variant, program: Program) -> Iterator[Element]:
    """Options that are off, each turned on; not those that break something."""
    for name, option in program.options.items():
        doc = option.declaration.doc.strip()
        if option.sort == BOOL and not option.value and not doc.startswith(_ASIDE):
            on = base.with_options(**{name: "true"})
            yield Element("option", name, where(option.declaration.span), on)


def locks(
    base: Variant, program: Program, steps: Mapping[Place, Keys], runs: Keys
) -> Iterator[Element]:
    """Each lock with all its calls. Interrupts stay off where the call turned them off."""
    calls: dict[str, list[t.CallStatement]] = {}
    for unit in program.units:
        for node in nodes_below(unit.items):
            if isinstance(node, t.CallStatement) and runs & steps[place_of(node)]:
                lock = _lock_of(node.call, program)
                if lock:
                    calls.setdefault(lock, []).append(node)
    for name, nodes in calls.items():
        edits = tuple(Edit(place_of(node), _unlocked(node)) for node in nodes)
        places = frozenset[Key]().union(*(steps[place_of(node)] for node in nodes))
        at = where(nodes[0].span)
        yield Element("lock", name, at, base.with_edits(*edits), places)


def _lock_of(call: t.Call, program: Program) -> str | None:
    name = base_name(call.args[0]) if call.args else ""
    declared = program.variables.get(name)
    return name if declared and declared.lock else None


def _unlocked(node: t.CallStatement) -> t.Statement | None:
    name = node.call.name
    if "_irq" not in name:
        return None
    then = "local_irq_enable" if "unlock" in name else "local_irq_disable"
    return replace(node, call=replace(node.call, name=then, args=()))


def orders(base: Variant, program: Program) -> Iterator[Element]:
    """Two models of one section and direction, the one right above the other."""
    groups: dict[tuple[str, str], list[Registered]] = {}
    for registered in program.callbacks:
        group = (registered.section.value, registered.callback.direction)
        groups.setdefault(group, []).append(registered)
    for (_, direction), listed in sorted(groups.items()):
        if direction == "teardown":
            listed = listed[::-1]
        for at, first in enumerate(listed):
            for second in listed[at + 1 :]:
                table = swapped(program.table, first.state, second.state)
                names = (first.callback.name, second.callback.name)
                yield Element(
                    "order",
                    " before ".join(names),
                    f"{first.state.number}, {second.state.number}",
                    replace(base, table=table),
                    pair=names,
                )


def swapped(table: Table, first: HotplugState, second: HotplugState) -> Table:
    """The table with two rows in each other's place; the kernel's constants with them."""
    numbers = {first.number: second.number, second.number: first.number}
    rows = [
        replace(row, number=numbers.get(row.number, row.number)) for row in table.states
    ]
    constants = [(name, numbers.get(n, n)) for name, n in table.enumerators]
    return replace(
        table,
        states=tuple(sorted(rows, key=lambda row: row.number)),
        enumerators=tuple(constants),
    )


def _statements(unit: t.Unit) -> Iterator[tuple[str, t.Statement]]:
    """Waits, but for those that a service rests at; and choices with a condition."""
    resting = triggers(unit)
    for node in nodes_below(unit.items):
        if isinstance(node, t.Wait) and place_of(node) in resting:
            continue
        if isinstance(node, t.Wait) or (
            isinstance(node, t.CallStatement)
            and node.call.name == "wait_for_completion"
        ):
            yield "wait", node
        elif isinstance(node, t.Declare | t.AssignTo):
            value = node.value
            if isinstance(value, t.Call) and value.name in PICKS and value.filter:
                yield "choice", node


def _conditions(node: t.Statement, base: Variant, keys: Keys) -> Iterator[Element]:
    """A choice without one of the conditions on whom it takes."""
    assert isinstance(node, t.Declare | t.AssignTo)
    value = node.value
    assert isinstance(value, t.Call) and value.filter is not None
    parts = list(conjuncts(value.filter))
    for at, part in enumerate(parts):
        rest = parts[:at] + parts[at + 1 :]
        weaker = joined(rest, value.filter.span)
        changed = replace(node, value=replace(value, filter=weaker))
        found = _without("choice", node, base, changed, keys)
        yield replace(found, name=one_line(part.span))


def conjuncts(term: t.Term) -> Iterator[t.Term]:
    if isinstance(term, t.Binary) and term.op == "&&":
        yield from conjuncts(term.left)
        yield from conjuncts(term.right)
    else:
        yield term


def joined(parts: Sequence[t.Term], span: Span) -> t.Term | None:
    """The parts with `&&` between them; None if there are none."""
    found: t.Term | None = None
    for part in parts:
        found = part if found is None else t.Binary("&&", found, part, span)
    return found


def _without(
    kind: str, node: t.Statement, base: Variant, by: t.Statement | None, keys: Keys
) -> Element:
    edited = base.with_edits(Edit(place_of(node), by))
    return Element(kind, one_line(node.span), where(node.span), edited, keys)


def mentions(
    program: Program, option: str
) -> list[t.Function | t.Callback | t.ProcessDeclaration]:
    """The callbacks, functions and processes whose text speaks of an option."""
    kinds = (t.Function, t.Callback, t.ProcessDeclaration)
    return [
        item
        for unit in program.units
        for item in unit.items
        if isinstance(item, kinds) and any(n == option for n, _ in names_in(item))
    ]
