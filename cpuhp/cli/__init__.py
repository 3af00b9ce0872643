"""The command line. One file a verb; this package prints and exits, nothing else does.

A verb is a module here that defines `command` (a click command) and `GROUP` (its
heading in `--help`). Verbs import what is heavy inside their function, so that
`cpuhp --help` answers at once.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pkgutil import iter_modules

import click

import cpuhp
from cpuhp.diagnostics import InputError

HEADINGS = {
    "verify": "Verify",
    "look": "Look",
    "kernel": "Kernel",
    "design": "Design",
    "export": "Export",
}
EPILOG = (
    "Begin with `cpuhp list` and `cpuhp check SCENARIO`; `cpuhp VERB --help` has the "
    "options. Exit status of check: 0 nothing violated, 1 violated, 2 bad input, "
    "3 something unknown; each verb's help has its own."
)


def _verbs() -> list[str]:
    return sorted(m.name for m in iter_modules(__path__) if not m.name.startswith("_"))


class ReaderGone(Exception):
    """Nobody reads what is printed any more."""


class Verbs(click.Group):
    """The verbs, found by the names of their files."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name.replace("_", "-") for name in _verbs()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = cmd_name.replace("-", "_")
        if module not in _verbs():
            return None
        command: click.Command = import_module(f"cpuhp.cli.{module}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from cpuhp.diagnostics import suggestion

        if args and self.get_command(ctx, args[0]) is None:
            close = suggestion(args[0], self.list_commands(ctx))
            ctx.fail(f"there is no verb '{args[0]}'" + (f"; {close}" if close else ""))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click would exit with 1, which means VIOLATED here
            raise ReaderGone from None

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            module = import_module(f"cpuhp.cli.{name.replace('-', '_')}")
            heading = HEADINGS.get(getattr(module, "GROUP", ""), "Other")
            row = (name, module.command.get_short_help_str(60))
            groups.setdefault(heading, []).append(row)
        for heading in (*HEADINGS.values(), "Other"):
            if heading in groups:
                with formatter.section(heading):
                    formatter.write_dl(groups[heading])


@click.group(
    cls=Verbs,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 88},
)
@click.version_option(cpuhp.__version__, prog_name="cpuhp")
def group() -> None:
    """Is it safe to run CPU hotplug callbacks of many CPUs at the same time?"""


def main(args: list[str] | None = None) -> None:
    """Entry point: runs the verb and turns what went wrong into one message."""
    try:
        status = group.main(args, prog_name="cpuhp", standalone_mode=False)
        sys.stdout.flush()
    except InputError as error:
        click.echo(error.render(), err=True)
        status = 2
    except click.exceptions.Exit as exit_:
        status = exit_.exit_code
    except click.ClickException as error:
        error.show()
        status = 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        status = 130
    except (BrokenPipeError, ReaderGone):
        # The reader has seen enough; what Python flushes at exit must go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    except OSError as error:
        name = f" '{error.filename}'" if error.filename else ""
        click.echo(f"error[HP001]: {error.strerror or error}{name}", err=True)
        status = 2
    sys.exit(status if isinstance(status, int) else 0)
