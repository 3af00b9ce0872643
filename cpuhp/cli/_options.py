"""What several verbs share in reading their arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cpuhp.report.terminal import Style


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


width = click.option(
    "--width",
    type=click.IntRange(60, 400),
    metavar="COLUMNS",
    help="Columns to fit; default those of the terminal up to 120, else 80.",
)


def style(columns: int | None = None) -> Style:
    """What the reader can show: colours and more than ASCII on a terminal only.

    With NO_COLOR in the environment there is neither.
    """
    import os
    import shutil
    import sys

    from cpuhp.report.terminal import Style

    if not sys.stdout.isatty():
        return Style(columns or 80)
    own = min(shutil.get_terminal_size().columns, 120)
    plain = "NO_COLOR" in os.environ
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    return Style(columns or own, not plain, plain or not unicode)
