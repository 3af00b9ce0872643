"""A claim at a fixed number of CPUs in the input languages of other checkers.

An exporter is a module here that defines `NAME`, `SUFFIX` and `export`, a function
from a grounded claim to text.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from cpuhp.diagnostics import fail, suggestion
from cpuhp.model.system import Property, TransitionSystem
from cpuhp.report.export.ground import EXPORTABLE, Command, Grounded, Write, ground

__all__ = [
    "EXPORTABLE",
    "Command",
    "Grounded",
    "Write",
    "export",
    "formats",
    "ground",
    "suffix",
]


def formats() -> list[str]:
    """The names of the languages that can be written."""
    names = sorted(module.name for module in iter_modules(__path__))
    return [n for n in names if hasattr(import_module(f"{__name__}.{n}"), "export")]


def export(
    system: TransitionSystem,
    prop: Property,
    to: str,
    cpus: int,
    boot: int = 0,
    depth: int | None = None,
) -> str:
    """The text of a model that another checker can read.

    `depth` is the greatest number of steps, for languages that ask for one. Raises
    InputError: HP830 for a language that cannot be written, HP831 for a claim that
    cannot be exported, HP832 if the model is too large, HP834 for a depth where none is
    asked for, HP601 for no such machine.
    """
    if to not in formats():
        raise fail(
            "HP830",
            f"there is no export to '{to}'",
            help=suggestion(to, formats()) or f"one of: {', '.join(formats())}",
        )
    exporter = import_module(f"{__name__}.{to}")
    if depth is not None and not hasattr(exporter, "DEPTH"):
        raise fail("HP834", f"a model in '{to}' covers runs of every length")
    claim = ground(system, prop, cpus, boot)
    text: str = (
        exporter.export(claim) if depth is None else exporter.export(claim, depth)
    )
    return text


def suffix(to: str) -> str:
    """What names of files in this language end in."""
    found: str = import_module(f"{__name__}.{to}").SUFFIX
    return found
