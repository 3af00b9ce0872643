"""From a registered callback to every function that it reaches, with the way there."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from cpuhp.kernel.hazards.members import Members, members_about
from cpuhp.kernel.registrations.find import HEADS
from cpuhp.kernel.registrations.model import YES, Definition
from cpuhp.kernel.source.syntax import Function, text_functions
from cpuhp.kernel.source.text import CText
from cpuhp.kernel.source.tree import Tree

DEPTH = 5  # calls from the callback
MAX_REACHED = 400  # functions from one callback
MAX_BODY = 60_000  # characters of a function; no real one comes near
MAX_PLACES = 64  # places of one sort that are looked at in a function
MAX_FIELD = 8  # functions that a member of a struct may be
_INITIAL = re.compile(r"(?:^|[\s{,])\.\s*(\w+)\s*=\s*&?(\w+)\s*[,}]")
_CALL = re.compile(r"\b([A-Za-z_]\w*)\s*\(")
# Helpers that choose a CPU may live with the masks, not with the driver.
_CHOOSES = re.compile(r"cpumask_\w*(?:any|first|last|next|but|dying|pick|online)\w*\Z")
PRIMITIVES = frozenset(
    """cpumask_any_but cpumask_any_and_but cpumask_any_andnot_but cpumask_any
    cpumask_any_and cpumask_any_distribute cpumask_any_and_distribute cpumask_first
    cpumask_first_and cpumask_last cpumask_next cpumask_next_and cpumask_next_wrap
    cpumask_next_zero cpumask_first_zero cpumask_first_and_and cpumask_nth
    cpumask_next_andnot cpumask_first_andnot""".split()
)
_CORE = (
    "include/linux/cpumask.h",
    "include/linux/cpu.h",
    "include/linux/topology.h",
    "kernel/cpu.c",
    "lib/cpumask.c",
)
_POINTER = re.compile(
    r"\b(?!return\b)\w+[\s*]*\(\s*\*\s*(?:const\s+)?(\w+)\s*\)\s*\([^;{}=]{0,400}\)\s*"
    r"(?:=([^;,]*))?[;,]"
)
_SELF = frozenset({"if", "for", "while", "switch", "return", "sizeof", "do"})
# What runs a function that it is given, before it returns.
_RUNS = re.compile(
    r"(?:smp_call_(?:function\w*|on_cpu)|on_each_cpu\w*|work_on_cpu\w*|stop_machine\w*"
    r"|stop_(?:one|two)_cpus?\w*|\w+_for_each_\w+)\Z"
)
_ATOMIC = re.compile(r"(?:smp_call_function|on_each_cpu|stop_machine)")
# A function that does nothing: what a header has for a kernel without the feature.
_STUB = re.compile(
    r"(?:\{\s*(?:return\b[^;(]*;)?\s*\}|do\s*\{\s*\}\s*while\s*\(\s*0\s*\))\s*\Z"
)


@dataclass(frozen=True)
class Place:
    """A line of a file, and the function that it is in or that it calls."""

    function: str
    file: str
    line: int


@dataclass(frozen=True)
class Reached:
    """A function's text, the calls that lead to it, and what its parameters are.

    `chain` starts with the callback itself; each further place is a call.
    `arguments` maps a parameter to the expression and the function that passed it,
    `caller` is the function that calls it, and the offset of the call there.
    """

    function: Function
    file: str
    source: CText
    chain: tuple[Place, ...]
    arguments: dict[str, tuple[str, Reached]] = field(compare=False, hash=False)
    caller: tuple[Reached, int] | None = field(default=None, compare=False, hash=False)

    @property
    def body(self) -> str:
        """The function's code, comments and the insides of strings blanked."""
        return self.source.bare[self.function.start : self._end]

    @property
    def code(self) -> str:
        """The function's code with its strings, comments blanked."""
        return self.source.code[self.function.start : self._end]

    @property
    def text(self) -> str:
        """The function as written, comments and all."""
        return self.source.text[self.function.start : self._end]

    @property
    def _end(self) -> int:
        return min(self.function.end, self.function.start + MAX_BODY)

    def line(self, offset: int) -> int:
        """The line of an offset in the body."""
        return self.source.line(self.function.start + offset)


@dataclass
class Sources:
    """The C files of a tree as far as callbacks reach them, read once."""

    tree: Tree
    _texts: dict[str, CText | None] = field(default_factory=dict)
    _functions: dict[str, dict[str, Function]] = field(default_factory=dict)
    _others: dict[str, dict[str, list[Function]]] = field(default_factory=dict)
    _folders: dict[str, dict[str, str]] = field(default_factory=dict)
    _included: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _fields: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    _members: dict[str, Members] = field(default_factory=dict)
    _data: dict[str, bytes] = field(default_factory=dict)

    def text(self, file: str) -> CText | None:
        """A file without what is never compiled; None if it cannot be read."""
        if file not in self._texts:
            data = self.tree.read(file)
            self._texts[file] = None if data is None else CText.of(data).compiled
        return self._texts[file]

    def functions(self, file: str) -> dict[str, Function]:
        """Functions of a file by name; of alternatives, the longest."""
        if file not in self._functions:
            source = self.text(file)
            found: dict[str, list[Function]] = {}
            for function in text_functions(source) if source else ():
                found.setdefault(function.name, []).append(function)
            for same in found.values():
                same.sort(key=lambda f: f.start - f.end)
            self._functions[file] = {name: same[0] for name, same in found.items()}
            self._others[file] = {n: same[1:] for n, same in found.items() if same[1:]}
        return self._functions[file]

    def alternatives(self, file: str, function: Function) -> list[Function]:
        """A function and what the file has by its name in other `#if` branches."""
        if self.functions(file).get(function.name) is not function:
            return [function]
        return [function, *self._others[file].get(function.name, [])[:MAX_FIELD]]

    def find(self, name: str, file: str) -> tuple[str, Function] | None:
        """Where the function is that a call in a file means, near that file."""
        near = self._headers(file)
        if _CHOOSES.match(name) and name not in PRIMITIVES:
            near = (*near, *(core for core in _CORE if core != file))
        for place in (file, *near):
            found = self.functions(place).get(name) or self._macro(place, name)
            if found is not None:
                real = None
                if place != file and self._is_stub(place, found):
                    real = self._beside(name, file)
                return real or (place, found)
        return self._beside(name, file)

    def _is_stub(self, file: str, function: Function) -> bool:
        source = self.text(file)
        body = source.bare[function.start : function.end] if source else ""
        return bool(_STUB.search(body.rstrip()))

    def _beside(self, name: str, file: str) -> tuple[str, Function] | None:
        """A function of another C file of the directory."""
        other = self._folder(posixpath.dirname(file)).get(name)
        if other is None or other == file:
            return None
        function = self.functions(other).get(name)
        return None if function is None or function.static else (other, function)

    def of_field(
        self, field: str, file: str, owner: str = ""
    ) -> list[tuple[str, Function]]:
        """Functions that initialisers put into a member of a struct.

        Those of the file itself; if it has none, those of the files about it, if the
        type of `owner`, whose member it is, leaves no doubt.
        """
        found = self._in_file(field, file)
        if found or not owner:
            return found
        folder = posixpath.dirname(file)
        if folder not in self._members:
            self._members[folder] = members_about(self.tree, folder)
        known = self._members[folder].get(field, [])
        types = self._types(owner, file) if known else set()
        values = [value for value in known if value[0] in types]
        if not values or len({v[0] for v in values}) > 1 or len(values) > MAX_FIELD:
            return []
        named = [(place, self.functions(place).get(name)) for _, name, place in values]
        return [(place, function) for place, function in named if function is not None]

    def _types(self, owner: str, file: str) -> set[str]:
        """Structs that a variable or member of this name is of, seen from a file."""
        declared = re.compile(
            rf"\bstruct\s+(\w+)\s*\**\s*(?:const\s+)?\**{owner}\b(?!\s*\()".encode()
        )
        found: set[str] = set()
        source = self.text(file)
        near = [f"include/{name}" for _, name in source.includes] if source else []
        for place in (file, *self._headers(file), *near):
            if place not in self._data:
                self._data[place] = self.tree.read(place) or b""
            data = self._data[place]
            if owner.encode() in data:
                found |= {name.decode() for name in declared.findall(data)}
        return found

    def _in_file(self, field: str, file: str) -> list[tuple[str, Function]]:
        if file not in self._fields:
            source = self.text(file)
            functions = self.functions(file)
            found: dict[str, list[str]] = {}
            for match in _INITIAL.finditer(source.bare if source else ""):
                known = found.setdefault(match[1], [])
                if match[2] in functions and match[2] not in known:
                    known.append(match[2])
            self._fields[file] = found
        names = self._fields[file].get(field, [])[:MAX_FIELD]
        return [(file, self.functions(file)[name]) for name in names]

    def _macro(self, file: str, name: str) -> Function | None:
        """A macro that looks like a function and makes calls itself."""
        source = self.text(file)
        for macro in source.macros.get(name, ()) if source else ():
            loop = re.match(r"for\b|for_each_", macro.body)
            if macro.parameters and "(" in macro.body and not loop:
                return Function(
                    name,
                    macro.parameters,
                    macro.line,
                    macro.start,
                    macro.end,
                    True,
                    False,
                )
        return None

    def _headers(self, file: str) -> tuple[str, ...]:
        if file not in self._included:
            self._included[file] = tuple(self._quoted(file))
        return self._included[file]

    def _quoted(self, file: str) -> Iterator[str]:
        source = self.text(file)
        for style, name in source.includes if source else ():
            path = posixpath.normpath(posixpath.join(posixpath.dirname(file), name))
            if style == '"' and not path.startswith("..") and self.tree.has(path):
                yield path

    def _folder(self, folder: str) -> dict[str, str]:
        """Which C file of a directory seems to define a name."""
        if folder not in self._folders:
            found: dict[str, str] = {}
            for file in self._c_files(folder):
                data = self.tree.read(file)
                for _, head in HEADS.findall(data or b""):
                    if head:
                        found.setdefault(head.decode(), file)
            self._folders[folder] = found
        return self._folders[folder]

    def _c_files(self, folder: str) -> list[str]:
        names = self.tree.names(folder)
        return [f"{folder}/{name}" for name in names if name.endswith(".c")]


def walk(sources: Sources, definition: Definition, depth: int = DEPTH) -> list[Reached]:
    """Every function that a callback reaches, nearest first, each once."""
    source = sources.text(definition.file)
    function = sources.functions(definition.file).get(definition.name)
    if source is None or function is None:
        return []
    own = sources.alternatives(definition.file, function)
    if definition.present == YES:
        own = [f for f in own if f.line == definition.line] or own
    file = definition.file
    reached = [
        Reached(f, file, source, (Place(f.name, file, f.line),), {}) for f in own
    ]
    seen = {(file, f.start) for f in own}
    for step in reached:
        if len(step.chain) > depth or len(reached) >= MAX_REACHED:
            break
        body, pointers = step.body, _pointers(sources, step)
        calls = [*_CALL.finditer(body, len(step.function.name))]
        for name in pointers:
            calls += re.finditer(rf"\(\s*\*?\s*({name})\s*\)\s*\(", body)
        for call in sorted(calls, key=lambda match: match.start()):
            behind = pointers.get(call[1])
            named = {call[1]}
            if behind is not None and behind.declared < call.start():
                places = [(step.file, behind.function)]
                named.add(behind.function.name)
            else:
                places = _called(sources, step, call)
            for found in places:
                key = (found[0], found[1].start)
                target = sources.text(found[0])
                if key not in seen and target is not None:
                    seen.add(key)
                    reached.append(_stepped(step, call, found, target, named))
    return reached


@dataclass(frozen=True)
class _Pointer:
    """A local function pointer, the end of its declaration, and what it points to."""

    declared: int
    function: Function


def _pointers(sources: Sources, step: Reached) -> dict[str, _Pointer]:
    """Local function pointers that are only ever given one function of the file."""
    body, own = step.body, sources.functions(step.file)
    found = {}
    for match in islice(_POINTER.finditer(body, max(0, body.find("{"))), MAX_PLACES):
        name = match[1]
        given = re.compile(rf"(?<![\w.>]){name}\s*=(?!=)([^;]*);")
        values = {m[1] for m in given.finditer(body, match.end())}
        values |= {match[2]} if match[2] else set()
        named = {value.strip().lstrip("& ") for value in values} - {"NULL"}
        function = own.get(named.pop()) if len(named) == 1 else None
        if function is not None and not re.search(rf"&\s*{name}\b", body):
            found[name] = _Pointer(match.end(), function)
    return found


def _called(
    sources: Sources, step: Reached, call: re.Match[str]
) -> list[tuple[str, Function]]:
    """What a call may run: by its name, or by the member that it goes through."""
    name = call[1]
    if name in _SELF or name == step.function.name:
        return []
    owner = member_of(step.body, call.start())
    if owner is not None:
        return sources.of_field(name, step.file, owner)
    found = sources.find(name, step.file)
    called = [] if found is None else sources.alternatives(*found)
    return [
        *((found[0], f) for f in called if found),
        *_given(sources, step, call, found),
    ]


def member_of(body: str, offset: int) -> str | None:
    """The name before the `->` or `.` in front of an offset; None if there is none."""
    before = body[max(0, offset - 120) : offset]
    found = re.search(r"(\w+)(?:\s*\[[^\]]*\])*\)*\s*(?:->|\.)\s*$", before)
    if found:
        return found[1]
    return "" if re.search(r"(?:->|\.)\s*$", before) else None


def runs_atomic(where: Reached) -> bool:
    """True if a function runs on another CPU, or in stop_machine: it cannot sleep."""
    step = where
    while step.caller is not None:
        caller, offset = step.caller
        name = re.compile(r"\w+").match(caller.body, offset)
        if name and _ATOMIC.match(name[0]):
            return True
        step = caller
    return False


def _given(
    sources: Sources,
    step: Reached,
    call: re.Match[str],
    callee: tuple[str, Function] | None,
) -> list[tuple[str, Function]]:
    """Functions that a call is given and runs before it returns."""
    if callee is None and not _RUNS.match(call[1]):
        return []
    own = sources.functions(step.file)
    runs = []
    for at, expression in enumerate(_passed(step, call)):
        function = own.get(expression.lstrip("& "))
        if function is None or function.name == step.function.name:
            continue
        if callee is None or _calls_parameter(sources, callee, at):
            runs.append((step.file, function))
    return runs


def _calls_parameter(sources: Sources, callee: tuple[str, Function], at: int) -> bool:
    file, function = callee
    source = sources.text(file)
    if source is None or at >= len(function.parameters) or not function.parameters[at]:
        return False
    name = re.escape(function.parameters[at])
    body = source.bare[function.start : function.end]
    start = max(0, body.find("{"))
    called = re.compile(rf"(?<![\w.>])(?:\(\s*\*\s*)?{name}\s*\)?\s*\(")
    return bool(called.search(body, start))


def _passed(step: Reached, call: re.Match[str]) -> list[str]:
    split = step.source.arguments(step.function.start + call.end() - 1)
    return [step.source.piece(span) for span in split[0]] if split else []


def _stepped(
    step: Reached,
    call: re.Match[str],
    found: tuple[str, Function],
    source: CText,
    named: set[str],
) -> Reached:
    file, function = found
    given = _passed(step, call) if function.name in named else []
    passed = {
        name: (expression, step)
        for name, expression in zip(function.parameters, given, strict=False)
        if name
    }
    place = Place(function.name, step.file, step.line(call.start()))
    caller = (step, call.start())
    return Reached(function, file, source, (*step.chain, place), passed, caller)
