"""Sentences folded for a terminal or a mail: 80 columns, long names kept whole."""

from __future__ import annotations

from textwrap import wrap

WIDTH = 80


def wrapped(line: str, first: str, later: str) -> list[str]:
    """The line in lines of WIDTH, the first indented by `first`, others by `later`."""
    return wrap(
        line,
        WIDTH,
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )
