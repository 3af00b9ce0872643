"""`cpuhp report`: a result as a page, or in the forms that other tools read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cpuhp.report.results import Results

GROUP = "look"
FORMS = ("html", "junit", "sarif", "markdown")
ENDINGS = {".html": "html", ".xml": "junit", ".sarif": "sarif", ".md": "markdown"}


@click.command(
    "report",
    short_help="Make a page, JUnit XML, SARIF or Markdown of a result.",
    epilog="Exit status: 0 the report was made, 2 the input is not usable.",
)
@click.argument("result", metavar="RESULT.json")
@click.option(
    "-o", "--output", metavar="FILE", help="Write here; default standard output."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMS),
    help="Default: what the name of FILE ends in (.html, .xml, .sarif, .md), else html.",
)
@click.option("--link-base", metavar="URL", help="Where source files are shown.")
@click.option("--title", metavar="TEXT", help="Title of the page.")
@click.option(
    "--expect",
    is_flag=True,
    help="Failed is what is not as the headers expect (junit, sarif).",
)
def command(
    result: str,
    output: str | None,
    form: str | None,
    link_base: str | None,
    title: str | None,
    expect: bool,
) -> None:
    """Show what `cpuhp check --format json` or `--out DIR` wrote.

    The page is one file that needs no network and opens from disk: verdicts with a
    filter, a player for each violation, the invariant of each proof, the dependency
    graph, and which steps have a model.
    """
    from pathlib import Path

    from cpuhp.cli._files import read_results
    from cpuhp.files import write_whole

    results = read_results(result)
    ending = Path(output).suffix.lower() if output else ".html"
    text = _text(results, form or ENDINGS.get(ending, "html"), link_base, title, expect)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_whole(Path(output), text)


def _text(
    results: Results, form: str, base: str | None, title: str | None, expect: bool
) -> str:
    if form == "junit":
        from cpuhp.report.junit import junit

        return junit(results.answers, expect)
    if form == "sarif":
        import json

        from cpuhp.report.sarif import sarif

        return json.dumps(sarif(results, expect), indent=1) + "\n"
    if form == "markdown":
        from cpuhp.report.markdown import markdown

        return markdown(results)
    from cpuhp.cli._page import of_file
    from cpuhp.cli._progress import Progress

    with Progress(len(results.answers)) as progress:
        done = len(results.answers)
        return of_file(
            results,
            lambda told: progress.tell(done, told),
            link_base=base,
            title=title,
        )
