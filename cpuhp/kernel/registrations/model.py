"""What an extraction finds: frozen data, spelled as the kernel spells it."""

from __future__ import annotations

from dataclasses import dataclass, field

from cpuhp.model.table import Section

YES, NO, MAYBE = "yes", "no", "maybe"


@dataclass(frozen=True)
class Definition:
    """Where a callback is defined, and under which conditions.

    `kind` is `function`, or `null` for a macro that makes the callback NULL, or
    `macro` for one that makes it something else. `present` is yes, no or maybe in
    the configuration at hand.
    """

    name: str
    file: str
    line: int
    kind: str = "function"
    guards: tuple[str, ...] = ()
    present: str = MAYBE


@dataclass(frozen=True)
class Callback:
    """A startup or teardown: the expression as written, and what it stands for.

    `kind` is `function`, `null`, `parameter` (of a wrapper), `field` (of an ops
    struct), `choice` (a conditional expression) or `unresolved`. `function` is the
    one function that it stands for; where there may be several, `candidates` names
    them all and `function` is None. `definition` is the likeliest definition;
    `alternatives` are the others (other architectures, #if branches, NULL macros).
    """

    expression: str
    kind: str
    function: str | None = None
    candidates: tuple[str, ...] = ()
    definition: Definition | None = None
    alternatives: tuple[Definition, ...] = ()
    reason: str | None = None

    @property
    def exists(self) -> bool:
        """False if the callback is NULL."""
        return self.kind != "null"


@dataclass(frozen=True)
class Variant:
    """One caller of a wrapper: what the parameters of the registration become."""

    file: str
    line: int
    function: str | None
    state: str | None
    name: str | None
    startup: Callback
    teardown: Callback
    present: str = MAYBE
    guards: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recorded:
    """The row of a recorded states file that a registration matches."""

    number: int
    name: str


@dataclass(frozen=True)
class Row:
    """One registration: an entry of the static table or one call site.

    `kind` is `static`, `single` or `multi`; `api` the called function, or
    `cpuhp_hp_states`. `number` is the enum value; for a state in a dynamic range it
    is the first slot of that range, and `dynamic` names the range. `function`
    encloses the call; `guards` are the `#if` conditions around it, `kbuild` the
    condition under which the file is built. `result` is the variable that receives
    the return value, `slot` the one that keeps the dynamic slot for later use,
    outside of the function if there is one.
    `unresolved` holds a sentence for every column that could not be read.
    """

    file: str
    line: int
    api: str
    kind: str
    state: str | None
    number: int | None
    section: Section | None
    dynamic: str | None
    name: str | None
    name_expression: str
    startup: Callback
    teardown: Callback
    function: str | None
    guards: tuple[str, ...] = ()
    runtime_guards: tuple[str, ...] = ()
    kbuild: str | None = None
    kbuild_complete: bool = False
    present: str = MAYBE
    result: str | None = None
    slot: str | None = None
    instances: tuple[str, ...] = ()
    removals: tuple[str, ...] = ()
    cant_stop: bool = False
    parser: str = "tree-sitter"
    variants: tuple[Variant, ...] = ()
    recorded: Recorded | None = None
    unresolved: tuple[str, ...] = ()

    @property
    def is_call(self) -> bool:
        return self.kind != "static"


@dataclass(frozen=True)
class Enumerator:
    """One constant of `enum cpuhp_state`; `value` None if it could not be computed."""

    name: str
    value: int | None
    section: Section | None
    line: int
    guards: tuple[str, ...] = ()


@dataclass(frozen=True)
class Instance:
    """A call that adds an instance to, or removes one from, a multi-instance state."""

    file: str
    line: int
    api: str
    state: str
    function: str | None
    row: int | None = None  # index of the registration in this file, if clear
    local: bool = False  # the state is a variable of that function


@dataclass(frozen=True)
class Note:
    """Something about the input that the reader of the result must know."""

    file: str
    message: str


@dataclass(frozen=True)
class Join:
    """A recorded states file held against the rows, by name."""

    source: str
    matched: int
    not_in_tree: tuple[Recorded, ...]
    ambiguous: tuple[str, ...]


@dataclass(frozen=True)
class Extraction:
    """The hotplug table of a source tree. Rows: static table first, then calls."""

    tree: str
    version: str | None
    arch: str | None
    config: str | None
    enumerators: tuple[Enumerator, ...]
    rows: tuple[Row, ...]
    instances: tuple[Instance, ...]
    notes: tuple[Note, ...]
    files_scanned: int
    join: Join | None = None
    _values: dict[str, int] = field(default_factory=dict, compare=False, repr=False)

    @property
    def calls(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.is_call)

    @property
    def static(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if not row.is_call)

    def value(self, name: str) -> int | None:
        """The value of an enumerator; None if there is none or it is not known."""
        if not self._values:
            self._values.update(
                (e.name, e.value) for e in self.enumerators if e.value is not None
            )
        return self._values.get(name)
