"""A shutdown in phases: which rows of the table CPUs run together, where all of them meet.

The rows of the ONLINE section, from the top down, are cut into phases. In one phase all
CPUs run their rows at once, or one CPU after the other; between two phases they meet.
Then each CPU stops: all in one stop_machine(), or each in its own; in the latter case the
last phase may go on to it CPU by CPU, as the kernel does. Inside one stop_machine() CPUs
may meet, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from cpuhp.diagnostics import Source, fail
from cpuhp.language import tree as t
from cpuhp.language.parser import parse
from cpuhp.language.tree import nodes_below
from cpuhp.model.table import HotplugState, Section, Table
from cpuhp.ordering.variant import Edit, Variant, place_of

PROTOCOL = "three_phase"  # the component whose functions are written anew
WALK = "hotplug"  # the component with the walks over the table
TORN = "online_torn_down[cpu] = !failed;"


@dataclass(frozen=True)
class Assignment:
    """`serial`: rows of the ONLINE section that one CPU runs after the other. `barriers`:
    rows after which all CPUs meet. `own`: each CPU has a stop_machine() of its own.
    `fixes`: options that are turned on.
    """

    serial: frozenset[int]
    barriers: frozenset[int]
    own: bool
    fixes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Phase:
    """Rows of the ONLINE section, in the order of their teardown."""

    rows: tuple[HotplugState, ...]
    serial: bool


@dataclass(frozen=True)
class Rows:
    """What is cut into phases: the rows of a table in the order of their teardown.

    `stop` is the row at which a CPU stops, `dying` those of its stop_machine().
    """

    online: tuple[HotplugState, ...]
    stop: HotplugState
    dying: tuple[HotplugState, ...]

    def together(self) -> Assignment:
        """All CPUs at once, but for the one place where they have to meet."""
        return Assignment(frozenset(), frozenset({self.online[-1].number}), False)

    def one_by_one(self) -> Assignment:
        """As the kernel does: a CPU is dead before the next one begins."""
        return Assignment(frozenset(r.number for r in self.online), frozenset(), True)

    def phases(self, of: Assignment) -> list[Phase]:
        found: list[Phase] = []
        listed: list[HotplugState] = []
        for row in self.online:
            listed.append(row)
            if row.number in of.barriers or row is self.online[-1]:
                found.append(Phase(tuple(listed), row.number in of.serial))
                listed = []
        return found

    def goes_on(self, of: Assignment) -> bool:
        """Whether a CPU's last phase and its stop are one turn."""
        last = self.online[-1].number
        return of.own and last in of.serial and last not in of.barriers


def rows_of(base: Variant) -> Rows:
    """The rows of a scenario's table. Raises InputError HP530 if it has no phases."""
    program = base.program()
    table = program.table
    if PROTOCOL not in {unit.name for unit in program.units}:
        raise fail(
            "HP530",
            f"{base.scenario.name} does not shut down in phases",
            help=f"a scenario that uses '{PROTOCOL}', or --options",
        )
    named = [row for row in reversed(table.states) if row.name]
    top = table.find("CPUHP_ONLINE")
    online = [r for r in named if table.section(r.number) is Section.ONLINE]
    online = [r for r in online if top is None or r.number != top.number]
    low = table.find("CPUHP_AP_OFFLINE")
    starting = [r for r in named if table.section(r.number) is Section.STARTING]
    starting = [r for r in starting if low is None or r.number > low.number]
    stop = table.find("CPUHP_TEARDOWN_CPU")
    assert stop is not None and online
    dying = tuple(r for r in starting if r.number < stop.number)
    return Rows(tuple(online), stop, dying)


def scheduled(base: Variant, rows: Rows, chosen: Assignment) -> Variant:
    """The scenario with its steps in these phases."""
    units = {unit.name: unit for unit in base.program().units}
    text = "\n".join(_protocol(rows, chosen, base.table))
    new = {PROTOCOL: _with_items(units[PROTOCOL], _parsed(text))}
    inner = [r for r in (rows.stop, *rows.dying) if r.number in chosen.barriers]
    if inner and not chosen.own:
        walk = "\n".join(_take_down(rows, inner, base.table))
        new[WALK] = _with_items(units[WALK], _parsed(walk))
    kept = {unit.name: unit for unit in base.units} | new
    on = {name: "true" for name in chosen.fixes}
    changed = replace(
        base,
        units=tuple(kept[name] for name in sorted(kept)),
        table=_with_names(base.table, rows),
    )
    # A walk that ends half way has not torn the section down.
    edits = [
        Edit(place_of(node), _torn_down()) for node in nodes_below(units[WALK].items)
        if isinstance(node, t.AssignTo) and node.span.text == TORN
    ]  # fmt: skip
    return changed.with_edits(*edits).with_options(**on)


def program_text(base: Variant, rows: Rows, chosen: Assignment) -> str:
    """What is written in the language, for people."""
    inner = [r for r in (rows.stop, *rows.dying) if r.number in chosen.barriers]
    lines = list(_protocol(rows, chosen, base.table))
    if inner and not chosen.own:
        lines += ["", *_take_down(rows, inner, base.table)]
    return "\n".join(lines) + "\n"


def _protocol(rows: Rows, chosen: Assignment, table: Table) -> Iterator[str]:
    phases = rows.phases(chosen)
    goes_on = rows.goes_on(chosen)
    yield "void cpus_down_no_rollback() {"
    yield "    if (patch7) dying = aps;"
    for number, phase in enumerate(phases[:-1] if goes_on else phases):
        at = _name(_below(rows, phase), table)
        yield from (_in_turn if phase.serial else _at_once)(number, at)
    yield "}"
    yield "void takedown_cpus_no_rollback() {"
    if chosen.own:
        yield "    bool failed = false;"
        yield "    for (c in aps : !failed) {"
        if goes_on:
            yield from _turn("c", _name(rows.stop, table), "        ")
            yield "        joining = none;"
            yield "        if (fix_stop_at_failure && result[c]) failed = true;"
            yield "        else failed = invoke_teardown(STARTING, c, CPUHP_TEARDOWN_CPU);"
        else:
            yield "        failed = invoke_teardown(STARTING, c, CPUHP_TEARDOWN_CPU);"
        yield "    }"
        yield "    if (failed) aborted = true;"
    else:
        yield from _ONE_RENDEZVOUS
    yield "}"
    yield "void smp_shutdown_quick_path() {"
    yield "    quick_path = true;"
    yield "    cpus_down_no_rollback();"
    if goes_on:
        yield "    takedown_cpus_no_rollback();"
    else:
        yield "    if (fix_stop_at_failure && exists(c in aps : state[c] > "
        yield "        CPUHP_TEARDOWN_CPU)) aborted = true;"
        yield "    else takedown_cpus_no_rollback();"
    yield from _AFTER
    yield "}"


_ONE_RENDEZVOUS = """\
    mutex_lock(sparse_irq_lock);
    atomic {
        stop_active = aps;
        forall (c in aps) { state[c] = CPUHP_AP_ONLINE; target[c] = CPUHP_AP_OFFLINE; }
        stop_machine_begin();
    }
    stop_machine_wait();
    for (d in aps : !fix_refused_cpu || !online[d]) {
        wait_for_idle_dead(d);
        BUG_ON(state[d] != CPUHP_AP_IDLE_DEAD);
        __cpu_die(d);
    }
    mutex_unlock(sparse_irq_lock);""".splitlines()

_AFTER = """\
    if (!aborted) {
        if (fix_refused_cpu) {
            if (exists(c in aps : online[c])) aborted = true;
        } else {
            BUG_ON(exists(c in aps : online[c]));
        }
        if (fix_jump_when_off && exists(c in aps : !dead[c])) aborted = true;
    }""".splitlines()


def _at_once(number: int, at: str) -> Iterator[str]:
    c, d = f"c{number}", f"d{number}"
    yield f"    for ({c} in aps) {{"
    yield f"        cpuhp_set_state({c}, {at});"
    yield (f"        atomic {{ kicked[{c}] = state[{c}] != target[{c}]; "
           f"cpuhp_kick_ap({c}); }}")  # fmt: skip
    yield "    }"
    yield f"    for ({d} in aps : !fix_wait_for_kicked || kicked[{d}]) {{"
    yield f"        joining = {d};"
    yield f"        wait_for_completion(done_down[{d}]);"
    yield "    }"
    yield "    joining = none;"


def _in_turn(number: int, at: str) -> Iterator[str]:
    yield f"    for (c{number} in aps) {{"
    yield from _turn(f"c{number}", at, "        ")
    yield "    }"
    yield "    joining = none;"


def _turn(c: str, at: str, indent: str) -> Iterator[str]:
    yield f"{indent}cpuhp_set_state({c}, {at});"
    yield (f"{indent}atomic {{ kicked[{c}] = state[{c}] != target[{c}]; "
           f"cpuhp_kick_ap({c}); }}")  # fmt: skip
    yield f"{indent}if (!fix_wait_for_kicked || kicked[{c}]) {{"
    yield f"{indent}    joining = {c};"
    yield f"{indent}    wait_for_completion(done_down[{c}]);"
    yield f"{indent}}}"


def _take_down(
    rows: Rows, inner: Sequence[HotplugState], table: Table
) -> Iterator[str]:
    """take_cpu_down() with places where all CPUs that stop wait for each other."""
    for number in range(len(inner)):
        yield f"percpu atomic bool passed{number};"
    yield "bool take_cpu_down(cpu c) {"
    yield "    bool refused = arch_cpu_disable(c);"
    yield "    if (refused) {"
    for number in range(len(inner)):
        yield f"        passed{number}[c] = true;"
    yield "        return EPERM;"
    yield "    }"
    yield "    hpstate at = prev_state(CPUHP_TEARDOWN_CPU);"
    yield "    bool ignored = false;"
    for number, row in enumerate(inner):
        below = next((r for r in rows.dying if r.number < row.number), None)
        if row is not rows.stop and below is not None:
            yield from _walk(_name(below, table))
        yield f"    passed{number}[c] = true;"
        yield f"    wait (all(o in stop_active : passed{number}[o]));"
    yield from _walk("CPUHP_AP_OFFLINE")
    yield "    atomic { state[c] = at; stopper_enabled[c] = false; }"
    yield "    return 0;"
    yield "}"


def _walk(to: str) -> Iterator[str]:
    yield f"    while (at > {to}) {{"
    yield "        ignored = invoke_teardown(STARTING, c, at);"
    yield "        at = prev_state(at);"
    yield "    }"


def _below(rows: Rows, phase: Phase) -> HotplugState:
    """The row at which a CPU rests when it has run a phase."""
    at = rows.online.index(phase.rows[-1])
    return rows.online[at + 1] if at + 1 < len(rows.online) else rows.stop


def _name(row: HotplugState, table: Table) -> str:
    """How the language names a row; one without a constant gets one."""
    known = next((n for n, number in table.enumerators if number == row.number), None)
    return row.enumerator or known or f"CPUHP_{row.number}"


def _with_names(table: Table, rows: Rows) -> Table:
    known = {number for _, number in table.enumerators}
    known |= {row.number for row in table.states if row.enumerator}
    new = [
        (_name(row, table), row.number)
        for row in (*rows.online, *rows.dying)
        if row.number not in known
    ]
    return replace(table, enumerators=(*table.enumerators, *new))


def _parsed(text: str) -> tuple[t.Item, ...]:
    whole = f'component scheduled source "kernel/cpu.c";\n{text}\n'
    return parse(Source("schedule", whole)).items


def _torn_down() -> t.Statement:
    at = "online_torn_down[cpu] = !failed && from <= CPUHP_TEARDOWN_CPU;"
    (item,) = _parsed(f"void torn(cpu cpu) {{ {at} }}")
    assert isinstance(item, t.Function) and item.body is not None
    return item.body.statements[0]


def _with_items(unit: t.Unit, items: Sequence[t.Item]) -> t.Unit:
    """The unit with functions in the place of those of their names, others added."""
    named = {item.name: item for item in items if isinstance(item, t.Function)}
    kept = [
        named.pop(item.name) if isinstance(item, t.Function) and item.name in named
        else item
        for item in unit.items
    ]  # fmt: skip
    added = [item for item in items if not isinstance(item, t.Function)]
    return replace(unit, items=(*kept[:1], *added, *kept[1:], *named.values()))


__all__ = ["Assignment", "Phase", "Rows", "program_text", "rows_of", "scheduled"]
