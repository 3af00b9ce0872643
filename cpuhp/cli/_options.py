"""What several verbs share in reading their arguments."""

from __future__ import annotations

import click


def assignments(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """`-D option=value`, as often as it is given. Hyphens count as underscores."""
    found: dict[str, str] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"'{value}' is not of the form option=value")
        found[name.replace("-", "_")] = text
    return found
