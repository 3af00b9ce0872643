"""A picture as people handle it in Python: shown by notebooks, saved to a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cpuhp.diagnostics import InputError, fail
from cpuhp.files import write_whole
from cpuhp.report.diagrams.canvas import Picture
from cpuhp.report.diagrams.render import FORMATS, render


@dataclass(frozen=True)
class Diagram:
    """A diagram. In a notebook it shows itself."""

    picture: Picture = field(repr=False)
    title: str

    @property
    def dot(self) -> str:
        """DOT text, which needs no Graphviz."""
        return self.picture.dot

    @property
    def description(self) -> str:
        """What is to be seen, in words."""
        return self.picture.description

    def svg(self) -> str:
        """The picture as SVG text. Raises InputError HP802 without the `dot` program."""
        return render(self.picture, "svg").decode()

    def save(self, path: str | Path) -> None:
        """Write .svg, .pdf, .png or .dot. Raises InputError HP802, HP804, OSError."""
        write_whole(Path(path), render(self.picture, form_of(path)))

    def _repr_svg_(self) -> str | None:
        try:
            return self.svg()
        except InputError:  # no `dot` program: the title has to do
            return None


def form_of(path: str | Path) -> str:
    """The form that a file's name asks for. Raises InputError HP804."""
    form = Path(path).suffix.lower().removeprefix(".")
    if form not in FORMATS:
        raise fail(
            "HP804",
            f"'{path}' does not tell a form of picture",
            help="a name that ends in .svg, .pdf, .png or .dot",
        )
    return form
