"""The registrations in one C file, before anything outside it is looked at."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice

from cpuhp.kernel.registrations.model import Definition, Instance
from cpuhp.kernel.source.syntax import Function, Parsed
from cpuhp.kernel.source.text import Macro, squeezed

MARKS = (b"cpuhp_setup_state", b"cpuhp_state_", b"cpuhp_remove_")
SETUP = re.compile(r"\b(?:__)?cpuhp_setup_state(?:_[a-z_]+)?\b(?=\s*\()")
_INSTANCE = re.compile(r"\b(?:__)?cpuhp_state_(?:add|remove)_instance\w*(?=\s*\()")
_REMOVE = re.compile(r"\b(?:__)?cpuhp_remove_(?:multi_)?state\w*(?=\s*\()")
_IMPLEMENTATION = re.compile(
    r"(?:__)?cpuhp_(?:setup_state|remove_(?:multi_)?state|state_(?:add|remove)_inst)\w*"
)
_LEFT = re.compile(r"([A-Za-z_][\w.\[\]]*(?:->[\w.\[\]]+)*)\s*=\s*$")
MAX_SITES = 1000  # calls of one sort in one file that are read
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
_CONFIG_CALL = re.compile(r"\bIS_(?:ENABLED|BUILTIN|MODULE|REACHABLE)\s*\(")


@dataclass(frozen=True)
class Site:
    """A call as the file shows it; `enclosing` is the function or macro around it."""

    api: str
    line: int
    arguments: tuple[str, ...]
    enclosing: str | None
    parameters: tuple[str, ...]
    guards: tuple[str, ...]
    runtime_guards: tuple[str, ...]
    result: str | None
    slot: str | None
    parser: str
    note: str | None = None


@dataclass(frozen=True)
class FileFacts:
    """What one file says about hotplug: sites, instances, removals, definitions.

    `calls`: how many calls of one sort it has, if that is more than are read.
    """

    path: str
    sites: tuple[Site, ...]
    instances: tuple[Instance, ...]
    removals: tuple[Instance, ...]
    definitions: tuple[Definition, ...]
    syntax_errors: int
    calls: int = 0


def read_facts(path: str, data: bytes) -> FileFacts | None:
    """The facts of a file; None if it says nothing about hotplug states."""
    if not any(mark in data for mark in MARKS):
        return None
    parsed = Parsed.of(data)
    source = parsed.source
    sites = tuple(
        site
        for match in islice(SETUP.finditer(source.bare), MAX_SITES)
        if (site := _site(parsed, match)) is not None
    )
    instances = tuple(_uses(parsed, path, _INSTANCE))
    removals = tuple(_uses(parsed, path, _REMOVE))
    if not (sites or instances or removals):
        return None
    names = frozenset(
        name for site in sites for a in site.arguments[1:] for name in _words(a)
    )
    errors = int(parsed.tree.root_node.has_error) if sites else 0
    definitions = definitions_of(parsed, path, names) if sites else ()
    most = max(
        sum(1 for _ in pattern.finditer(source.bare))
        for pattern in (SETUP, _INSTANCE, _REMOVE)
    )
    calls = most if most > MAX_SITES else 0
    return FileFacts(path, sites, instances, removals, definitions, errors, calls)


def definitions_of(
    parsed: Parsed, path: str, names: frozenset[str]
) -> tuple[Definition, ...]:
    """All definitions in a file of the functions named, NULL macros among them."""
    source = parsed.source
    found = [
        Definition(f.name, path, f.line, "function", source.guards(f.start))
        for f in parsed.functions
        if f.name in names
    ]
    found += macro_definitions(parsed, path, names)
    return tuple(sorted(found, key=lambda d: (d.line, d.name)))


def macro_definitions(
    parsed: Parsed, path: str, names: frozenset[str]
) -> list[Definition]:
    """Macros that replace one of the functions named by NULL or something else."""
    found = []
    for name in sorted(names & parsed.source.macros.keys()):
        for macro in parsed.source.macros[name]:
            if string_like(macro.body) or macro.parameters is not None:
                continue
            null = is_null(macro.body)
            kind = "null" if null else "macro"
            found.append(Definition(name, path, macro.line, kind, macro.guards))
    return found


def string_like(body: str) -> bool:
    """True if a macro body contains a string literal or is empty."""
    return '"' in body or not body


def is_null(expression: str) -> bool:
    """True for the spellings of a null pointer."""
    text = expression.replace(" ", "")
    while text.startswith("(") and text.endswith(")") and text != "()":
        text = text[1:-1]
    return text in ("NULL", "0", "(void*)0", "void*)0", "nullptr")


def _words(expression: str) -> list[str]:
    return _IDENTIFIER.findall(re.sub(r'"(?:\\.|[^"\\])*"', "", expression))


def _site(parsed: Parsed, match: re.Match[str]) -> Site | None:
    source, offset = parsed.source, match.start()
    where = _around(parsed, offset)
    if where is not None and _IMPLEMENTATION.fullmatch(where.name):
        return None
    split = source.arguments(source.bare.index("(", match.end()))
    if split is None:
        return _unreadable(parsed, match, where)
    arguments = tuple(source.piece(span) for span in split[0])
    if where is None and (
        not arguments or re.match(r"enum\s+cpuhp_state\b", arguments[0])
    ):
        return None  # a declaration of the interface itself
    node = parsed.call_at(offset)
    agreed = node is not None and _argument_count(node) == len(arguments)
    result = _LEFT.search(source.bare, max(0, offset - 200), offset)
    name = "".join(result[1].split()) if result else None
    return Site(
        match[0],
        source.line(offset),
        arguments,
        where.name if where else None,
        (where.parameters or ()) if where else (),
        source.guards(offset),
        _runtime_guards(parsed, offset),
        name,
        _slot(parsed, where, name, split[1]),
        "tree-sitter" if agreed else "text",
    )


def _unreadable(
    parsed: Parsed, match: re.Match[str], where: Function | Macro | None
) -> Site:
    return Site(
        match[0],
        parsed.source.line(match.start()),
        (),
        where.name if where else None,
        (),
        parsed.source.guards(match.start()),
        (),
        None,
        None,
        "text",
        "the call's argument list does not end",
    )


def _around(parsed: Parsed, offset: int) -> Function | Macro | None:
    for macros in parsed.source.macros.values():
        for macro in macros:
            if macro.start <= offset < macro.end:
                return macro
    return parsed.enclosing(offset)


def _argument_count(node: object) -> int:
    listed = node.child_by_field_name("arguments")  # type: ignore[attr-defined]
    if listed is None:
        return -1
    return sum(1 for child in listed.named_children if child.type != "comment")


def _runtime_guards(parsed: Parsed, offset: int) -> tuple[str, ...]:
    node = parsed.call_at(offset)
    found: list[str] = []
    text = parsed.source.code
    while node is not None and node.parent is not None:
        parent = node.parent
        if parent.type == "if_statement":
            test = parent.child_by_field_name("condition")
            if test is not None and test.start_byte != node.start_byte:
                words = squeezed(text[test.start_byte : test.end_byte])[1:-1].strip()
                if _CONFIG_CALL.search(words):
                    other = parent.child_by_field_name("alternative")
                    negated = other is not None and other.id == node.id
                    found.append(f"!({words})" if negated else words)
        node = parent
    return tuple(reversed(found))


_USED = re.compile(r"\bcpuhp_(?:state_add|state_remove|remove)\w*\s*\(\s*(\w+)\s*[,)]")


def _slot(
    parsed: Parsed, where: Function | Macro | None, result: str | None, after: int
) -> str | None:
    """The variable that keeps a returned slot number: outside the function, if any."""
    if result is None or not isinstance(where, Function):
        return None
    bare = parsed.source.bare
    if "->" in result or "." in result or not _is_local(bare, where, result):
        return result
    name = re.escape(result)
    use = re.compile(
        rf"\b{name}\s*=(?!=|\s*-E[A-Z]+\b)|"
        rf"([A-Za-z_*][\w.\[\]]*(?:->[\w.\[\]]+)*)\s*=\s*{name}\s*;"
    )
    local = [result]
    for match in use.finditer(bare, after, where.end):
        if match[1] is None:
            local.remove(result)  # given another value before it was kept
            break
        if not _is_local(bare, where, match[1].lstrip("*")) or "->" in match[1]:
            return match[1]
        local.append(match[1])
    used = _USED.findall(bare, after, where.end)
    return next((name for name in local if name in used), None)


def _is_local(bare: str, where: Function, name: str) -> bool:
    if name in where.parameters:
        return True
    declared = (
        r"(\bstatic\s+)?\b(?:int|long|unsigned|s32|u32|enum\s+\w+)\s"
        rf"[\w\s,=*-]*?\b{name}\b"
    )
    return any(
        match[1] is None
        for match in re.finditer(declared, bare[where.start : where.end])
    )


def _uses(parsed: Parsed, path: str, pattern: re.Pattern[str]) -> list[Instance]:
    source = parsed.source
    found = []
    for match in islice(pattern.finditer(source.bare), MAX_SITES):
        where = _around(parsed, match.start())
        if where is None or _IMPLEMENTATION.fullmatch(where.name):
            continue
        split = source.arguments(source.bare.index("(", match.end()))
        if split is None or not split[0]:
            continue
        state = source.piece(split[0][0])
        line = source.line(match.start())
        local = isinstance(where, Function) and _is_local(source.bare, where, state)
        found.append(Instance(path, line, match[0], state, where.name, None, local))
    return found
