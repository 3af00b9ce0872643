"""One line of progress on standard error, and nothing of it when that is no terminal."""

from __future__ import annotations

import sys
from types import TracebackType

import click


class Progress:
    """Tells what is under way; `print` writes a line that stays."""

    def __init__(self, total: int):
        self._total = total
        self._done = 0
        self._live = sys.stderr.isatty()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._clear()

    def _clear(self) -> None:
        if self._live:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def tell(self, done: int, text: str) -> None:
        """`done` of the total are finished, `text` is what goes on."""
        self._done = done
        if self._live:
            line = f"[{done}/{self._total}] {text}"[:78]
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()

    def print(self, line: str) -> None:
        """A line on standard output, with the progress line out of its way."""
        self._clear()
        click.echo(line)
