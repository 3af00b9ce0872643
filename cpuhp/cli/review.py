"""`cpuhp review`: what a patch series does to a kernel's hotplug hazards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cpuhp.kernel.patches.series import Series
    from cpuhp.kernel.source.tree import Tree

GROUP = "kernel"


@click.command(
    "review",
    short_help="Review a patch series against the hotplug hazards of a tree.",
    epilog="Exit status: 0 nothing to object to, 1 something, 2 the input is not "
    "usable.",
)
@click.argument("series", metavar="SERIES")
@click.option(
    "--tree",
    required=True,
    type=click.Path(),
    metavar="DIR",
    help="Kernel source tree that the series is for. It is only read.",
)
@click.option("--arch", metavar="ARCH", help="Architecture; others are left aside.")
@click.option(
    "--config",
    type=click.Path(),
    metavar="FILE",
    help="Kernel configuration that decides what is built. Default: .config in DIR.",
)
@click.option("--depth", type=click.IntRange(0, 20), default=5, metavar="N",
              help="Calls to follow from a callback; default 5.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(("mail", "json")), default="mail",
              help="Default mail.")  # fmt: skip
@click.option(
    "--models/--no-models",
    default=True,
    help="Check a small model of each hazard that comes, goes or stays.",
)
def command(
    series: str,
    tree: str,
    arch: str | None,
    config: str | None,
    depth: int,
    form: str,
    models: bool,
) -> None:
    """Apply SERIES patch by patch to a copy in memory and say what each one does.

    SERIES is an mbox, a directory of patches, or a git range: A..B in TREE, or
    DIR:A..B in the repository at DIR. The answer is the text of a reply mail, or JSON.
    """
    from cpuhp.cli._hazards import check_models
    from cpuhp.cli.extract import progress
    from cpuhp.kernel.patches.review import review
    from cpuhp.report.review import as_json, mail

    patches, start = _read(series, tree)
    found = review(
        patches, start, arch=arch, config=config, depth=depth, progress=progress()
    )
    hazards = [f for p in found.patches for f in p.findings]
    answers = check_models(hazards) if models else {}
    if form == "json":
        click.echo(as_json(found, answers), nl=False)
    else:
        click.echo(mail(found, answers), nl=False)
    raise SystemExit(0 if found.is_clean else 1)


def _read(series: str, path: str) -> tuple[Series, Tree]:
    from pathlib import Path

    from cpuhp.kernel.patches.git import parse_range, read_range
    from cpuhp.kernel.patches.series import read_series
    from cpuhp.kernel.source.tree import open_tree

    tree = open_tree(path)
    wanted = parse_range(series) if not Path(series).exists() else None
    if wanted is not None:
        return read_range(wanted, tree)
    return read_series(series), tree
