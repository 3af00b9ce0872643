"""The syntax tree: frozen nodes with spans that do not take part in equality."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from cpuhp.diagnostics import Span


@dataclass(frozen=True, slots=True)
class Name:
    name: str
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Number:
    value: int
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Unary:
    op: str
    arg: Term
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Binary:
    """`&&`, `||`, `=>`, comparisons, `in`, mask and integer operators."""

    op: str
    left: Term
    right: Term
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Ternary:
    condition: Term
    then: Term
    otherwise: Term
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Index:
    base: Term
    index: Term
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """`name(arguments)`; with a filter, `name(x in M : filter)`."""

    name: str
    args: tuple[Term, ...]
    filter: Term | None
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Singleton:
    """The mask `{c}`."""

    element: Term
    span: Span = field(compare=False)


Term = Name | Number | Unary | Binary | Ternary | Index | Call | Singleton


@dataclass(frozen=True, slots=True)
class NamedType:
    name: str
    nullable: bool
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class RangeType:
    low: int
    high: int
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class CounterType:
    mask: str
    span: Span = field(compare=False)


Type = NamedType | RangeType | CounterType


@dataclass(frozen=True, slots=True)
class Block:
    statements: tuple[Statement, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Declare:
    type: Type
    name: str
    value: Term | None
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class AssignTo:
    target: Term
    value: Term
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class If:
    condition: Term
    then: Statement
    otherwise: Statement | None
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class While:
    """A loop; without condition, `for (;;)`."""

    condition: Term | None
    body: Statement
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class ForEach:
    """`for (c in M : P)`: one element after the other. `at_once`: `forall`."""

    variable: str
    among: Term
    filter: Term | None
    body: Statement
    at_once: bool
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Either:
    branches: tuple[Block, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Return:
    value: Term | None
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Jump:
    """`break` or `continue`."""

    kind: str
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Atomic:
    body: Block
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Wait:
    condition: Term
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class CallStatement:
    call: Call
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Label:
    name: str
    body: Statement
    span: Span = field(compare=False)


Statement = (
    Block
    | Declare
    | AssignTo
    | If
    | While
    | ForEach
    | Either
    | Return
    | Jump
    | Atomic
    | Wait
    | CallStatement
    | Label
)


@dataclass(frozen=True, slots=True)
class Use:
    names: tuple[Name, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class TableName:
    """Default order of the scenario."""

    name: str
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Register:
    """A driver that the scenario registers in a dynamic slot."""

    name: str
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Expect:
    check: str
    verdict: str
    condition: Term | None
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class EnumDeclaration:
    name: str
    values: tuple[str, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class OptionDeclaration:
    type: Type
    name: str
    value: Term
    doc: str = field(compare=False)
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Instances:
    """Another symmetric sort, with a fixed number of elements."""

    name: str
    count: int
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class VariableDeclaration:
    """`scope` is "shared", "cpu" (percpu) or the name of another sort.

    `atomic` marks what the kernel accesses by atomic operations only (atomic_t),
    `auxiliary` what the kernel does not have: it is written for proofs only.
    """

    scope: str
    constant: bool
    type: Type
    name: str
    value: Term | None
    doc: str = field(compare=False)
    span: Span = field(compare=False)
    atomic: bool = False
    auxiliary: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    type: Type
    name: str
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Function:
    """Inlined where it is called. `formula` instead of `body`: a pure expression."""

    name: str
    params: tuple[Parameter, ...]
    result: Type | None
    body: Block | None
    formula: Term | None
    doc: str = field(compare=False)
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Callback:
    """Startup or teardown of a hotplug state, given by enumerator or by name."""

    direction: str
    name: str
    param: str
    state: str
    may_fail: bool
    source: str | None
    body: Block
    doc: str = field(compare=False)
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class ProcessDeclaration:
    """`when`: the condition under which an interrupt comes."""

    kind: str
    name: str
    param: str | None
    on: str | None
    when: Term | None
    body: Block
    doc: str = field(compare=False)
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Claim:
    """`formula` is None for claims about the system as a whole."""

    kind: str
    formula: Term | None
    goal: Term | None
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class CheckDeclaration:
    name: str
    requires: tuple[Name, ...]
    claims: tuple[Claim, ...]
    doc: str = field(compare=False)
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Assume:
    condition: Term
    span: Span = field(compare=False)


Item = (
    Use
    | TableName
    | Register
    | Expect
    | EnumDeclaration
    | OptionDeclaration
    | Instances
    | VariableDeclaration
    | Function
    | Callback
    | ProcessDeclaration
    | CheckDeclaration
    | Assume
)


@dataclass(frozen=True, slots=True)
class Unit:
    """One file. `kind` is "component", "scenario" or "" for a file of checks only."""

    kind: str
    name: str
    source: str | None
    items: tuple[Item, ...]
    doc: str = field(compare=False)
    span: Span = field(compare=False)

    @property
    def shown_name(self) -> str:
        """The name as the command line spells it."""
        return shown_name(self.name)


def shown_name(name: str) -> str:
    """A unit's name as the command line spells it: `shutdown-serial`."""
    return name.replace("_", "-")


def base_name(term: Term) -> str:
    """The name of what a term is, or is an element of; empty if it has none."""
    while isinstance(term, Index):
        term = term.base
    return term.name if isinstance(term, Name) else ""


def names_in(node: object) -> Iterator[tuple[str, Span]]:
    """All names in terms below a node, with their places."""
    for part in nodes_below(node):
        if isinstance(part, Name):
            yield part.name, part.span


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
