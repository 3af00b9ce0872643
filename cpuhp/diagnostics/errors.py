"""One diagnostic: what is wrong, where, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass

from cpuhp.diagnostics.source import Span

_MAX_EXCERPT = 160


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """An error with a stable code (`HPnnn`), a sentence, and its place."""

    code: str
    message: str
    span: Span | None = None
    notes: tuple[tuple[str, Span | None], ...] = ()
    help: str | None = None

    def render(self) -> str:
        """The diagnostic as the user reads it: place, line, caret, help."""
        place = f"{self.span}: " if self.span else ""
        lines = [f"{place}error[{self.code}]: {self.message}"]
        if self.span:
            lines += _excerpt(self.span)
        for note, span in self.notes:
            where = f": {span}" if span else ""
            lines.append(f"  note: {note}{where}")
        if self.help:
            lines.append(f"  help: {self.help}")
        return "\n".join(lines)


class InputError(Exception):
    """The input is not usable; carries one or more diagnostics.

    Whoever catches it prints `render()` and exits with status 2.
    """

    def __init__(self, *diagnostics: Diagnostic):
        super().__init__(*diagnostics)
        self.diagnostics = diagnostics

    def __str__(self) -> str:
        return self.render()

    def render(self) -> str:
        return "\n".join(diagnostic.render() for diagnostic in self.diagnostics)


def fail(
    code: str,
    message: str,
    span: Span | None = None,
    *,
    notes: tuple[tuple[str, Span | None], ...] = (),
    help: str | None = None,
) -> InputError:
    """An `InputError` with a single diagnostic, to be raised by the caller."""
    return InputError(Diagnostic(code, message, span, notes, help))


def suggestion(name: str, known: object) -> str | None:
    """`did you mean 'x'?` for the known name closest to `name`, if any is close."""
    from difflib import get_close_matches

    close = get_close_matches(name, list(known), n=1)  # type: ignore[call-overload]
    return f"did you mean '{close[0]}'?" if close else None


def _excerpt(span: Span) -> list[str]:
    line = span.source.line(span.line)
    start = span.column - 1
    width = max(1, min(span.end - span.start, len(line) - start))
    offset = 0
    if len(line) > _MAX_EXCERPT:
        offset = max(0, start - _MAX_EXCERPT // 2)
        line = line[offset : offset + _MAX_EXCERPT]
        width = min(width, len(line) - (start - offset))
    # A tab keeps its width in the caret line; other odd characters become spaces.
    lead = "".join("\t" if char == "\t" else " " for char in line[: start - offset])
    shown = "".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in line)
    number = str(span.line)
    return [
        f"  {number} | {shown}",
        f"  {' ' * len(number)} | {lead}{'^' * max(1, width)}",
    ]
