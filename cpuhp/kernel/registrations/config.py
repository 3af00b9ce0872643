"""An architecture and a kernel configuration: what they say about a condition."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cpuhp.diagnostics import fail
from cpuhp.kernel.registrations.model import MAYBE, NO, YES
from cpuhp.kernel.source.constants import evaluate
from cpuhp.kernel.source.tree import Tree, read_plain, shown

_LINE = re.compile(r"(CONFIG_\w+)=(.*)")
_UNSET = re.compile(r"# (CONFIG_\w+) is not set")
_HEADER = re.compile(r"# Linux/(\w+) ")
_IN_FILE = re.compile(r"(?:^|/)arch/([^/]+)/")
_ALIASES = {
    "aarch64": "arm64",
    "amd64": "x86",
    "armel": "arm",
    "armhf": "arm",
    "armv7l": "arm",
    "i386": "x86",
    "i686": "x86",
    "loongarch64": "loongarch",
    "mips64": "mips",
    "ppc": "powerpc",
    "ppc64": "powerpc",
    "ppc64el": "powerpc",
    "ppc64le": "powerpc",
    "riscv32": "riscv",
    "riscv64": "riscv",
    "s390x": "s390",
    "sparc64": "sparc",
    "x86_64": "x86",
}
_ARCH_SYMBOLS = {
    "alpha": "ALPHA",
    "arc": "ARC",
    "arm": "ARM",
    "arm64": "ARM64",
    "csky": "CSKY",
    "ia64": "IA64",
    "loongarch": "LOONGARCH",
    "m68k": "M68K",
    "mips": "MIPS",
    "parisc": "PARISC",
    "powerpc": "PPC",
    "riscv": "RISCV",
    "s390": "S390",
    "sh": "SUPERH",
    "sparc": "SPARC",
    "um": "UML",
    "x86": "X86",
}


@dataclass(frozen=True)
class Config:
    """`values` of CONFIG_ symbols (absent ones are off), or None: not known."""

    arch: str | None = None
    name: str | None = None
    values: Mapping[str, str] | None = field(default=None, repr=False)

    def present(
        self,
        file: str,
        guards: tuple[str, ...],
        kbuild: str | None = "",
        complete: bool = True,
    ) -> str:
        """yes, no or maybe: is a line of `file` under `guards` in this kernel?

        `kbuild` is the condition under which the file is built, '' if always, and
        `complete` tells whether the Kbuild files could be read to the end.
        """
        if self.foreign(file):
            return NO
        answers = [evaluate(guard, self._preprocessor) for guard in guards]
        if kbuild:
            answers.append(evaluate(kbuild, self._kbuild))
        if any(answer == 0 for answer in answers):
            return NO
        if None in answers or kbuild is None or not complete:
            return MAYBE
        return YES if self.arch is not None or not _IN_FILE.search(file) else MAYBE

    def foreign(self, file: str) -> bool:
        """True if the file belongs to another architecture."""
        match = re.match(r"arch/([^/]+)/", file)
        return bool(match and self.arch is not None and match[1] != self.arch)

    def symbol(self, name: str) -> str | None:
        """y, m, n or a value; None if it is not known."""
        if self.values is not None:
            return self.values.get(name, "n")
        if self.arch is not None:
            for arch, symbol in _ARCH_SYMBOLS.items():
                if name == f"CONFIG_{symbol}":
                    return "y" if arch == self.arch else "n"
        return None

    def _preprocessor(self, name: str, call: tuple[str, ...] | None) -> int | None:
        if call is not None:
            return self._call(name, call)
        value = self.symbol(name) if name.startswith("CONFIG_") else None
        if value is None:
            return 1 if name == "__KERNEL__" else None
        if value in ("n", "m"):
            return int(self._module(name)) if value == "n" else 0
        return _number(value)

    def _call(self, name: str, call: tuple[str, ...]) -> int | None:
        symbol = call[0].strip() if len(call) == 1 else ""
        if name == "defined" and symbol in ("__KERNEL__", "__GNUC__"):
            return 1
        if not symbol.startswith("CONFIG_"):
            return None
        value = self.symbol(symbol)
        if value is None:
            return None
        if name == "defined":
            return int(value not in ("n", "m") or self._module(symbol))
        if name == "IS_REACHABLE" and value == "m":
            return None
        yes = {"IS_ENABLED": "ym", "IS_BUILTIN": "y", "IS_MODULE": "m"}
        accepted = yes.get(name, "y" if name == "IS_REACHABLE" else None)
        return None if accepted is None else int(value in tuple(accepted))

    def _module(self, name: str) -> bool:
        return name.endswith("_MODULE") and self.symbol(name[:-7]) == "m"

    def _kbuild(self, name: str, call: tuple[str, ...] | None) -> int | None:
        if call is not None or not name.startswith("CONFIG_"):
            return None
        value = self.symbol(name)
        return None if value is None else int(value != "n")


def load_config(tree: Tree, arch: str | None, path: str | Path | None) -> Config:
    """The configuration for `tree`: from `path`, or from a `.config` in the tree."""
    wanted = _arch(tree, arch) if arch else None
    if path is None:
        data = tree.read(".config")
        if data is None:
            return Config(wanted)
        name = ".config"
    else:
        name = os.fspath(path)
        data, reason = read_plain(os.path.realpath(name))
        if data is None:
            raise fail("HP614", f"configuration '{shown(name)}': {reason}")
    values, stated = _parse(data.decode("utf-8", "replace"))
    if not values:
        raise fail(
            "HP615",
            f"'{shown(name)}' sets no CONFIG_ symbol: it is no kernel configuration",
        )
    return Config(wanted or _stated_arch(values, stated), name, values)


def _parse(text: str) -> tuple[dict[str, str], str | None]:
    values: dict[str, str] = {}
    stated = None
    for line in text.splitlines():
        if match := _LINE.fullmatch(line.strip()):
            values[match[1]] = match[2].strip('"')
        elif match := _UNSET.fullmatch(line.strip()):
            values[match[1]] = "n"
        elif stated is None and (match := _HEADER.match(line)):
            stated = match[1]
    return values, stated


def _stated_arch(values: Mapping[str, str], stated: str | None) -> str | None:
    if stated:
        return _ALIASES.get(stated, stated)
    for arch, symbol in _ARCH_SYMBOLS.items():
        if values.get(f"CONFIG_{symbol}") == "y":
            return arch
    return None


def _arch(tree: Tree, name: str) -> str:
    arch = _ALIASES.get(name, name)
    known = architectures(tree)
    if arch not in known:
        listed = ", ".join(known) or "none"
        raise fail(
            "HP616",
            f"this tree has no architecture '{shown(name)}'",
            help=f"it has {listed}",
        )
    return arch


def architectures(tree: Tree) -> tuple[str, ...]:
    """The directories of `arch/`."""
    try:
        with os.scandir(tree.root / "arch") as entries:
            names = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
    except OSError:
        return ()
    return tuple(sorted(names))


def _number(value: str) -> int:
    try:
        return int(value, 0)
    except ValueError:
        return 1
