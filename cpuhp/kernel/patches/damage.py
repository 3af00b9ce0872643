"""Damage that a patch does to the code itself: names from nowhere, broken syntax."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cpuhp.kernel.patches.apply import Applied
from cpuhp.kernel.patches.series import Patch
from cpuhp.kernel.source.syntax import MAX_PARSED, parser
from cpuhp.kernel.source.text import CText
from cpuhp.kernel.source.tree import Tree, read_plain, shown

_CALLED = re.compile(r"(?<![\w.>])([A-Za-z_]\w{2,})\s*\(")
_GLOBAL = re.compile(r"\b(cpu_\w*mask|CPUHP_\w+|cpumask_\w+|cpuhp_\w+)\b")
_KEYWORDS = frozenset(
    """if for while switch return sizeof typeof __typeof__ do else defined case goto
    asm __asm__ __attribute__ _Static_assert static_assert offsetof""".split()
)


@dataclass(frozen=True)
class Damage:
    """`text` completes "this patch ..."; the place is in the file after the patch."""

    file: str
    line: int
    text: str


def damages(before: Tree, applied: Applied, patch: Patch) -> Iterator[Damage]:
    """Names that a patch uses and nobody defines, and code that stops to parse."""
    for file in applied.touched:
        if not file.endswith((".c", ".h")):
            continue
        new = applied.tree.read(file)
        if new is None:
            continue
        old = before.read(file) or b""
        yield from _unknown(applied.tree, file, old, new)
        yield from _unparsed(file, old, new)


def _unknown(tree: Tree, file: str, old: bytes, new: bytes) -> Iterator[Damage]:
    source = CText.of(new)
    bare = source.bare
    earlier = set(re.findall(r"\w+", CText.of(old).bare))
    seen: set[str] = set()
    for match in sorted(
        [*_CALLED.finditer(bare), *_GLOBAL.finditer(bare)], key=lambda m: m.start()
    ):
        name = match[1]
        if name in seen or name in earlier or name in _KEYWORDS:
            continue
        seen.add(name)
        if _defined_here(source, name) or _known(tree, file, name):
            continue
        line = source.line(match.start(1))
        yield Damage(file, line, f"uses {name}, which nothing in the tree defines")


def _defined_here(source: CText, name: str) -> bool:
    if name in source.macros:
        return True
    word = re.escape(name)
    # A definition or declaration: a type before the name, and no operator between.
    declared = re.compile(
        rf"^[ \t]*(?:[A-Za-z_][\w \t*]*?[ \t*\n]){word}\s*(?:\(|;|=|\[|,)"
        rf"|\(\s*\*\s*{word}\s*\)\s*\(|^\s*{word}\s*[,=}}]"
        rf"|\b(?:struct|const|int|long|bool|u\d+|unsigned)\b[\w \t*]*\b{word}\b",
        re.MULTILINE,
    )
    for match in declared.finditer(source.bare):
        head = match[0].split(name)[0].split()
        if not head or head[0] not in ("return", "else", "case", "goto"):
            return True
    return False


def _known(tree: Tree, file: str, name: str) -> bool:
    """True if any other file of the tree has the name, the changed ones as changed."""
    for other, data in tree.overlay.items():
        if other != file and data is not None and other.endswith((".c", ".h")):
            if _defined_here(CText.of(data), name):
                return True
    root, changed = str(tree.root), len(tree.overlay)
    for enough in (1, changed + 1) if changed else (1,):
        if any(f not in tree.overlay for f in _with_word(root, name, enough)):
            return True
    return False


@lru_cache(maxsize=4096)
def _with_word(root: str, name: str, enough: int) -> tuple[str, ...]:
    """The first `enough` files on disk that have a word."""
    plain = name.encode("latin-1")
    word = re.compile(rb"(?<!\w)" + plain + rb"(?!\w)")
    found: list[str] = []
    for file in _names(root):
        data, _ = read_plain(f"{root}/{file}")
        if data is not None and plain in data and word.search(data):
            found.append(file)
            if len(found) >= enough:
                break
    return tuple(found)


@lru_cache(maxsize=2)
def _names(root: str) -> tuple[str, ...]:
    """All sources, the likeliest places of a declaration first."""
    files = Tree(Path(root)).listing((".h", ".c")).files
    return tuple(sorted(files, key=_likeliest))


def _likeliest(file: str) -> tuple[int, str]:
    first = ("include/linux/", "include/", "kernel/", "lib/", "mm/")
    rank = next((at for at, p in enumerate(first) if file.startswith(p)), len(first))
    return (rank + (0 if file.endswith(".h") else 8), file)


def _unparsed(file: str, old: bytes, new: bytes) -> Iterator[Damage]:
    before, after = _errors(old), _errors(new)
    if len(after) <= len(before):
        return
    known = {text for _, text in before}
    for line, text in after:
        if text not in known:
            yield Damage(file, line, f"leaves code that does not parse: {text}")
            return


# What is C only after the preprocessor: loops by macro, and types as arguments.
_LOOP = re.compile(rb"\b\w*for_each\w*(?=[ \t]*\()(?!.*\\\n)")
_TYPE = re.compile(rb"([(,]\s*)(struct|union|enum)\s(\w+)(?=\s*[,)])")


def _as_while(match: re.Match[bytes]) -> bytes:
    return b"while".ljust(len(match[0]))[: len(match[0])]


def _errors(data: bytes) -> list[tuple[int, str]]:
    """Line and text of what tree-sitter cannot make sense of."""
    if len(data) > MAX_PARSED or not data:
        return []
    found = []
    plain = _TYPE.sub(rb"\1\2_\3", _LOOP.sub(_as_while, data))
    pending = [parser().parse(plain).root_node]
    while pending:
        node = pending.pop()
        if node.type == "ERROR" or node.is_missing:
            line = data[data.rfind(b"\n", 0, node.start_byte) + 1 :].split(b"\n")[0]
            text = shown(line.decode("utf-8", "replace").strip())[:60]
            found.append((node.start_point[0] + 1, text))
        elif node.has_error:
            pending.extend(node.children)
    return sorted(found)
