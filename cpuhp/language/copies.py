"""Copies of shipped components: what is not asked of them.

Names of components are unique, so a copy in a file of one's own has another name, and the
checks of the catalogue that require the original are not asked of it.
"""

from __future__ import annotations

from cpuhp.language import tree as t
from cpuhp.language.library import Library
from cpuhp.language.program import Program

_NAMED = (
    t.OptionDeclaration,
    t.VariableDeclaration,
    t.Function,
    t.Callback,
    t.ProcessDeclaration,
)


def not_asked(program: Program, library: Library) -> dict[str, tuple[str, ...]]:
    """Checks of the catalogue that all but the names of components would be asked.

    By check, the components that it requires and the program does not use, but has a
    copy of: its own files declare more than half of what the component declares.
    """
    own: set[str] = set()
    for unit in program.units:
        if unit.name not in library.units:
            own |= _declared(unit)
    if not own:
        return {}
    used = {unit.name for unit in program.units}
    found: dict[str, tuple[str, ...]] = {}
    for check in sorted(library.catalogue - program.checks.keys()):
        requires = [name.name for name in library.checks[check].requires]
        missing = tuple(name for name in requires if name not in used)
        if all(_is_copied(library.units[name], own) for name in missing):
            found[check] = missing
    return found


def _declared(unit: t.Unit) -> set[str]:
    return {item.name for item in unit.items if isinstance(item, _NAMED)}


def _is_copied(component: t.Unit, own: set[str]) -> bool:
    names = _declared(component)
    return 2 * len(names & own) > len(names)
