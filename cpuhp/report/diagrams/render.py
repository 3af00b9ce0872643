"""From DOT text to files: by the `dot` program, which need not be installed for DOT."""

from __future__ import annotations

import html
import re

import graphviz

from cpuhp.diagnostics import fail
from cpuhp.report.diagrams.canvas import Picture, clean

FORMATS = ("svg", "pdf", "png", "dot")


def render(picture: Picture, form: str) -> bytes:
    """The picture as a file of that form.

    Raises InputError HP802 if Graphviz is not installed, HP803 if it fails.
    """
    if form == "dot":
        return picture.dot.encode()
    source = graphviz.Source(picture.dot)
    try:
        if form == "png":
            data = source.pipe(format="png", quiet=True)
        else:
            data = source.pipe(format=form, quiet=True)
    except graphviz.ExecutableNotFound:
        raise fail(
            "HP802",
            f"a picture in {form.upper()} needs Graphviz, and there is no 'dot' program",
            help="apt-get install graphviz, or write the DOT text: -o FILE.dot",
        ) from None
    except graphviz.CalledProcessError as error:
        told = clean(str(error.stderr or error), 300)
        raise fail("HP803", f"Graphviz failed: {told}") from None
    return _described(data.decode(), picture).encode() if form == "svg" else bytes(data)


def _described(svg: str, picture: Picture) -> str:
    """The SVG with alternative text, and without what differs from run to run."""
    title = html.escape(clean(picture.title))
    text = html.escape(clean(picture.description))
    words = f'<title id="title">{title}</title>\n<desc id="description">{text}</desc>\n'
    svg = re.sub(r"<!--.*?-->\n?", "", svg, flags=re.DOTALL)
    svg = re.sub(r"(<g id=\"graph0\"[^>]*>\n)<title>[^<]*</title>\n", r"\1", svg)
    # The names of nodes mean nothing to a reader; their tooltips do.
    svg = re.sub(
        r"(<g id=\"(?:node|edge)\d+\"[^>]*>\n)<title>[^<]*</title>\n", r"\1", svg
    )
    label = ' role="img" aria-labelledby="title description"'
    opening = re.search(r"<svg\b[^>]*>", svg)
    if opening is None:
        return svg
    end = opening.end()
    return svg[: end - 1] + label + ">\n" + words + svg[end:].lstrip("\n")
