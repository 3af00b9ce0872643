"""A claim in the input languages of other checkers, for one number of CPUs or for all.

An exporter is a module here that defines `NAME`, `SUFFIX` and `export`, a function
from a grounded claim to text; with `EVERY_COUNT`, from an unbounded one.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from cpuhp.diagnostics import fail, suggestion
from cpuhp.model.invariant import Invariant
from cpuhp.model.system import Property, TransitionSystem
from cpuhp.report.export.ground import EXPORTABLE, Command, Grounded, Write, ground
from cpuhp.report.export.plain import Unbounded, unbounded

__all__ = [
    "EXPORTABLE",
    "Command",
    "Grounded",
    "Unbounded",
    "Write",
    "covers_every_count",
    "export",
    "export_unbounded",
    "formats",
    "ground",
    "suffix",
    "unbounded",
]


def formats() -> list[str]:
    """The names of the languages that can be written."""
    names = sorted(module.name for module in iter_modules(__path__))
    return [n for n in names if hasattr(import_module(f"{__name__}.{n}"), "SUFFIX")]


def covers_every_count(to: str) -> bool:
    """Is a model in this language one for every number of CPUs?

    Raises InputError HP830 for a language that cannot be written.
    """
    if to not in formats():
        raise fail(
            "HP830",
            f"there is no export to '{to}'",
            help=suggestion(to, formats()) or f"one of: {', '.join(formats())}",
        )
    return hasattr(import_module(f"{__name__}.{to}"), "EVERY_COUNT")


def export_unbounded(
    system: TransitionSystem, prop: Property, to: str, invariant: Invariant | None
) -> str:
    """The text of a model for every number of CPUs.

    `invariant` is that of a proof, if there is one. Raises InputError: HP830 for a
    language that cannot be written or that wants a number of CPUs, HP831 for a claim
    that cannot be exported, HP832 if the model is too large, HP836 for what the
    language cannot say.
    """
    if not covers_every_count(to):
        raise fail("HP830", f"a model in '{to}' is for one number of CPUs")
    exporter = import_module(f"{__name__}.{to}")
    text: str = exporter.export(unbounded(system, prop, invariant))
    return text


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
    if covers_every_count(to):
        raise fail("HP830", f"a model in '{to}' is for every number of CPUs")
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
