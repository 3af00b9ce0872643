"""Under which CONFIG_ symbols a C file is built, as far as Kbuild files tell.

Read are `obj-$(CONFIG_X) += file.o dir/`, composites such as `name-$(CONFIG_Y) :=
part.o`, and `ifdef` and `ifeq` around them. Anything else makes the answer
incomplete, never wrong. Source: Documentation/kbuild/makefiles.rst.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from cpuhp.kernel.source.tree import Tree

_RULE = re.compile(r"([\w./+-]+?)-((?:y|m|objs|\$\([^=]*\)))\s*[:+?]?=\s*(.*)")
_PLAIN = re.compile(r"([\w./+-]+)\s*[:+?]?=\s*(.*)")
_IF = re.compile(r"\s*(ifdef|ifndef|ifeq|ifneq|else|endif)\b\s*(.*)")
_CONFIG = re.compile(r"CONFIG_\w+")
_EQUALS = re.compile(r"\(\s*\$\((CONFIG_\w+)\)\s*,\s*([ym]?)\s*\)")
_ROOTS = frozenset({"obj", "lib", "core", "drivers", "libs", "net", "virt", "head"})
_IGNORED = frozenset(
    {"subdir", "always", "extra", "clean-files", "hostprogs", "userprogs", "targets"}
)
_MAX_DEPTH = 12
_MAX_ALTERNATIVES = 8


@dataclass(frozen=True)
class Built:
    """The condition as an expression, '' if always; None if no rule was found."""

    condition: str | None
    complete: bool


@dataclass(frozen=True)
class _Rule:
    base: str
    condition: str
    complete: bool
    items: tuple[str, ...]


@dataclass
class Kbuild:
    """Answers for one tree; makefiles are read once."""

    tree: Tree
    _rules: dict[str, tuple[_Rule, ...]] = field(default_factory=dict)
    _folders: dict[str, Built] = field(default_factory=dict)

    def built(self, path: str) -> Built:
        """The condition under which the C file at `path` is compiled."""
        if not path.endswith((".c", ".S")):
            return Built("", False)  # a header counts where it is included
        folder, _, name = path.rpartition("/")
        item = name.rpartition(".")[0] + ".o"
        answers = [self._object(folder, item, 0, frozenset())]
        rest = item
        while folder:
            folder, _, last = folder.rpartition("/")
            rest = f"{last}/{rest}"
            answers.append(self._object(folder, rest, 0, frozenset()))
        return _any([answer for answer in answers if answer is not None])

    def _object(
        self, folder: str, item: str, depth: int, seen: frozenset[str]
    ) -> Built | None:
        if depth > _MAX_DEPTH or item in seen:
            return None
        found: list[Built] = []
        for rule in self._of(folder):
            if item not in rule.items:
                continue
            own = Built(rule.condition, rule.complete)
            if rule.base in _ROOTS:
                found.append(_both(own, self._folder(folder, 0)))
                continue
            names = (f"{rule.base}.o", f"$({rule.base}-y)", f"$({rule.base}-objs)")
            for name in names:
                outer = self._object(folder, name, depth + 1, seen | {item})
                if outer is not None:
                    found.append(_both(own, outer))
        return _any(found) if found else None

    def _folder(self, folder: str, depth: int) -> Built:
        if folder in self._folders:
            return self._folders[folder]
        self._folders[folder] = Built(None, False)  # while a loop is being followed
        answer = self._find_folder(folder, depth)
        self._folders[folder] = answer
        return answer

    def _find_folder(self, folder: str, depth: int) -> Built:
        if not folder or re.fullmatch(r"arch/[^/]+", folder):
            return Built("", True)
        if depth > _MAX_DEPTH:
            return Built(None, False)
        found: list[Built] = []
        parent, rest = folder, ""
        while parent:
            parent, _, last = parent.rpartition("/")
            rest = f"{last}/{rest}"
            for rule in self._of(parent):
                if rule.base in _ROOTS and (
                    rest in rule.items or rest.rstrip("/") in rule.items
                ):
                    own = Built(rule.condition, rule.complete)
                    found.append(_both(own, self._folder(parent, depth + 1)))
        return _any(found)

    def _of(self, folder: str) -> tuple[_Rule, ...]:
        if folder not in self._rules:
            self._rules[folder] = self._read(folder)
        return self._rules[folder]

    def _read(self, folder: str) -> tuple[_Rule, ...]:
        prefix = f"{folder}/" if folder else ""
        both = not folder or re.fullmatch(r"arch/[^/]+", folder)
        rules: list[_Rule] = []
        for name in ("Kbuild", "Makefile"):
            data = self.tree.read(prefix + name)
            if data is None:
                continue
            base = prefix if name == "Makefile" and both else ""
            found = _parse(data.decode("utf-8", "replace"), base)
            # The top Makefile's other conditions are about the kind of make run.
            rules += found if folder else [replace(r, complete=True) for r in found]
            if not both:
                break
        return tuple(rules)


def _parse(text: str, strip: str) -> list[_Rule]:
    rules: list[_Rule] = []
    frames: list[tuple[str, bool]] = []
    for line in text.replace("\\\n", " ").splitlines():
        line = line.partition("#")[0].rstrip()
        if directive := _IF.fullmatch(line):
            _nest(frames, directive[1], directive[2])
        elif not line.startswith("\t"):
            rule = _rule(line.strip(), frames, strip)
            if rule:
                rules.append(rule)
    return rules


def _rule(line: str, frames: list[tuple[str, bool]], strip: str) -> _Rule | None:
    match = _RULE.fullmatch(line)
    if match:
        base, suffix, items = match[1], match[2], match[3]
        base = base.removesuffix("-objs")
    else:
        plain = _PLAIN.fullmatch(line)
        if plain is None:
            return None
        base, suffix, items = plain[1], "y", plain[2]
        if base in _ROOTS or ".o" not in items:
            return None
    if base in _IGNORED:
        return None
    condition, complete = _suffix(suffix)
    terms = [frame[0] for frame in frames if frame[0]]
    terms += [condition] if condition else []
    complete = complete and all(frame[1] for frame in frames)
    names = tuple(_item(item, strip) for item in items.split())
    return _Rule(base, _joined(terms, "&&"), complete, names)


def _item(item: str, strip: str) -> str:
    item = item.removeprefix("$(srctree)/").removeprefix("$(src)/")
    item = item.removeprefix("$(obj)/")
    return item.removeprefix(strip) if strip else item


def _suffix(suffix: str) -> tuple[str, bool]:
    if suffix in ("y", "m", "objs"):
        return "", True
    names = _CONFIG.findall(suffix)
    exact = re.fullmatch(
        r"\$\((?:subst m,y,\$\()?CONFIG_\w+\)?\)|\$\(if \$\(CONFIG_\w+\),\s*y\)", suffix
    )
    return (names[0], True) if exact and len(names) == 1 else ("", False)


def _nest(frames: list[tuple[str, bool]], word: str, rest: str) -> None:
    if word == "endif":
        if frames:
            frames.pop()
    elif word == "else":
        if not frames:
            return
        condition, complete = frames[-1]
        inner = _IF.fullmatch(rest)
        negated = (f"!({condition})" if condition else "", complete)
        if not condition:
            negated = ("", False)
        frames[-1] = negated
        if inner and inner[1] not in ("else", "endif"):
            more, known = _test(inner[1], inner[2])
            terms = [term for term in (negated[0], more) if term]
            frames[-1] = (_joined(terms, "&&"), negated[1] and known)
    else:
        frames.append(_test(word, rest))


def _test(word: str, rest: str) -> tuple[str, bool]:
    if word in ("ifdef", "ifndef"):
        name = rest.strip()
        if not _CONFIG.fullmatch(name):
            return "", False
        return (name if word == "ifdef" else f"!{name}"), True
    match = _EQUALS.fullmatch(rest.strip())
    if not match:
        return "", False
    positive = (word == "ifeq") == bool(match[2])
    return (match[1] if positive else f"!{match[1]}"), True


def _both(first: Built, second: Built) -> Built:
    if first.condition is None or second.condition is None:
        known = [b.condition for b in (first, second) if b.condition]
        return Built(_joined(known, "&&") or None, False)
    terms = [term for term in (second.condition, first.condition) if term]
    return Built(_joined(terms, "&&"), first.complete and second.complete)


def _any(answers: list[Built]) -> Built:
    if not answers:
        return Built(None, False)
    for answer in answers:
        if answer.condition == "" and answer.complete:
            return answer
    known = [a.condition for a in answers if a.condition]
    if len(known) < len(answers) or not known:
        return Built(None, False)
    distinct = list(dict.fromkeys(known))[:_MAX_ALTERNATIVES]
    return Built(_joined(distinct, "||"), all(a.complete for a in answers))


def _joined(terms: list[str], operator: str) -> str:
    distinct: list[str] = []
    other = "||" if operator == "&&" else "&&"
    for term in terms:
        pieces = [term] if other in term or "(" in term else term.split(f" {operator} ")
        for piece in pieces:
            if piece not in distinct:
                distinct.append(piece)
    if len(distinct) == 1:
        return distinct[0]
    wrapped = [f"({t})" if other in t and not _wrapped(t) else t for t in distinct]
    return f" {operator} ".join(wrapped)


def _wrapped(term: str) -> bool:
    return bool(re.fullmatch(r"!?\([^()]*\)", term))
