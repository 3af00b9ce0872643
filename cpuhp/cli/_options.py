"""What several verbs share in reading their arguments."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

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


order_option = click.option(
    "--order",
    metavar="FILE",
    help="Take the order of this hotplug/states file or .table file.",
)
tree_option = click.option(
    "--tree", metavar="DIR", help="Take the order of this kernel source tree."
)
settings_option = click.option(
    "-D",
    "options",
    multiple=True,
    callback=assignments,
    metavar="OPTION=VALUE",
    help="Set an option of the scenario; repeatable.",
)


def json_option(command: Callable[..., None]) -> Callable[..., None]:
    """`--format json`, and `--json` for short; the command gets `as_json`."""

    @click.option(
        "--format",
        "form",
        type=click.Choice(["text", "json"]),
        default="text",
        help="Default text.",
    )
    @click.option("--json", "short", is_flag=True, help="The same as --format json.")
    @functools.wraps(command)
    def wrapped(*args: Any, form: str, short: bool, **named: Any) -> None:
        command(*args, as_json=short or form == "json", **named)

    return wrapped


jobs_option = click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    metavar="N",
    help="Processes; default all cores.",
)


def named(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """A folder's name, which may not be empty."""
    if value == "":
        raise click.BadParameter("it names no folder")
    return value


def _seconds(ctx: click.Context, param: click.Parameter, value: float) -> float:
    if not math.isfinite(value):
        raise click.BadParameter(f"{value} is no number of seconds")
    return value


def timeout_option(of: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """`--timeout SECONDS`: the limit `of` something, 60 seconds if it is not given."""
    return click.option(
        "--timeout",
        type=click.FloatRange(0.1),
        default=60.0,
        callback=_seconds,
        metavar="SECONDS",
        help=f"Limit {of}; default 60.",
    )


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
