"""Promela, for SPIN: one process takes all commands, one atomic step each."""

from __future__ import annotations

from collections.abc import Iterator

from cpuhp.model.expr import reads
from cpuhp.model.sorts import Sort
from cpuhp.model.system import Variable
from cpuhp.model.verdict import State
from cpuhp.report.export.common import dictionary, heading, titles
from cpuhp.report.export.ground import Command, Grounded
from cpuhp.report.export.infix import Assignment, Infix, Words

NAME = "promela"
SUFFIX = ".pml"
WORDS = Words("&&", "||", "==", "true", "false", "->", ":")
USAGE = (
    "spin -a -o1 -o2 -o3 FILE    (without -o2 it leaves out what is only written)",
    "cc -O2 -DSAFETY -DNOREDUCE -DCOLLAPSE -o pan pan.c",
    "./pan -E -b -m1000000    (-E: end states are the invariant's business)",
    "'assertion violated': the invariant fails. Any other error says nothing of it, as",
    "'depth limit reached': not all was searched, -m has to be greater.",
)


def export(claim: Grounded) -> str:
    """The claim as a Promela model whose assertion fails if it does not hold."""
    infix = Infix(claim, WORDS, typed=False)
    temporaries = max(
        (len(c.writes) for c in claim.commands if _is_buffered(infix, c)), default=0
    )
    lines = ["/*", *(f" * {line}" for line in heading(claim)), " *"]
    lines += [f" *   {line}" for line in USAGE]
    lines += [" *", *(f" * {line}" for line in dictionary(claim)), " */"]
    lines += [
        f"#define {name} {value}" for (_, value), name in infix.value_names.items()
    ]
    lines += [_declaration(infix, variable) for variable in claim.variables]
    for number in range(temporaries):
        lines.append(f"hidden int t_{number}; hidden int p_{number};")
    lines += ["", "active proctype model() {", *_start(infix)]
    lines += ["end_of_step:", "  do"]
    lines.append(
        f"  :: d_step {{ !({infix.formula(claim.invariant)}) -> assert(false) }}"
    )
    for title, command in titles(claim):
        lines.append(f"  /* {title} */")
        lines.append(f"  :: d_step {{ {_command(infix, command)} }}")
    lines += ["  od", "}", ""]
    return "\n".join(lines)


def _declaration(infix: Infix, variable: Variable) -> str:
    name, width = infix.variable_names[variable.name], len(infix.claim.cells(variable))
    array = f"[{width}]" if variable.indices else ""
    return f"{_type(infix.claim, variable.sort)} {name}{array};"


def _type(claim: Grounded, sort: Sort) -> str:
    low, high = claim.bounds(sort)
    if low >= 0:
        return "bit" if high <= 1 else "byte" if high < 256 else "int"
    return "short" if -32768 <= low and high < 32768 else "int"


def _start(infix: Infix) -> Iterator[str]:
    yield "  if"
    for state in infix.claim.starts:
        yield f"  :: d_step {{ true -> {_state(infix, state) or 'skip'} }}"
    yield "  fi;"


def _state(infix: Infix, state: State) -> str:
    """Assignments of all cells that do not begin as 0."""
    cells = infix.contents(state)
    return "; ".join(f"{place} = {text}" for place, value, text in cells if value != 0)


def _command(infix: Infix, command: Command) -> str:
    guard = infix.formula(command.guard)
    write = _buffered if _is_buffered(infix, command) else _at_once
    steps = list(write(list(infix.assignments(command))))
    return f"{guard} -> {'; '.join(steps) or 'skip'}"


def _is_buffered(infix: Infix, command: Command) -> bool:
    """Whether values and places have to be known before the first assignment.

    SPIN refuses an assignment to an array with a cell of its own as the index.
    """
    return infix.overlaps(command) or any(
        write.variable.name in reads(index)
        for write in command.writes
        for index in write.indices
    )


def _at_once(assignments: list[Assignment]) -> Iterator[str]:
    for one in assignments:
        step = f"{one.place} = {one.value}"
        yield f"if :: {one.found} -> {step} :: else fi" if one.found else step


def _buffered(assignments: list[Assignment]) -> Iterator[str]:
    """All values and places first, then the assignments."""
    for number, one in enumerate(assignments):
        yield f"t_{number} = {one.value}"
        if one.position:
            yield f"p_{number} = {one.position}"
    for number, one in enumerate(assignments):
        if one.position:
            step = f"{one.array}[p_{number}] = t_{number}"
            yield f"if :: p_{number} >= 0 -> {step} :: else fi"
        else:
            yield f"{one.place} = t_{number}"
