"""Which functions the initialisers of a directory put into the members of structs."""

from __future__ import annotations

import re
from itertools import islice

from cpuhp.kernel.registrations.find import HEADS
from cpuhp.kernel.source.tree import Tree

# Of a member: the struct that is initialised, the function, and the file of both.
Members = dict[str, list[tuple[str, str, str]]]
_TOKENS = re.compile(
    rb"\bstruct[ \t]+(\w+)[ \t]+\w+[^;={}()]{0,80}=\s*\{"
    rb"|^(\})|\.[ \t]*(\w+)[ \t]*=[ \t]*&?(\w+)[ \t]*[,}\n]",
    re.MULTILINE,
)
_MAX_FILES = 400
_MAX_TOKENS = 20_000  # of one file


def members_about(tree: Tree, folder: str) -> Members:
    """What the C files of a directory and those right below it initialise."""
    found: Members = {}
    folders = [folder, *tree.folders(folder)]
    files = (
        f"{at}/{name}" for at in folders for name in tree.names(at) if name[-2:] == ".c"
    )
    for file in islice(files, _MAX_FILES):
        data = tree.read(file)
        if data is None or b"struct" not in data:
            continue
        names = {name for _, name in HEADS.findall(data)}
        structure: bytes | None = None
        for token in islice(_TOKENS.finditer(data), _MAX_TOKENS):
            if token[1] or token[2]:
                structure = token[1]
            elif structure and token[4] in names:
                value = (structure.decode(), token[4].decode(), file)
                known = found.setdefault(token[3].decode(), [])
                if value not in known:
                    known.append(value)
    return found
