"""How results show themselves in a notebook: as tables and pictures, all names escaped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import overload

from cpuhp.files import write_whole
from cpuhp.model.table import Table
from cpuhp.report.answers import Context, ShownAnswer, as_json
from cpuhp.report.diagrams.figure import Diagram

_COLOURS = {
    "PROVED": "#00694d", "WITNESSED": "#00694d", "HOLDS_TO_BOUND": "#6e5200",
    "UNKNOWN": "#6e5200", "UNREACHABLE": "#b03a00", "VIOLATED": "#b03a00",
}  # fmt: skip
_LEFT = ' style="text-align:left"'


def verdicts(answers: Sequence[ShownAnswer]) -> str:
    """A table of answers."""
    heads = "verdict", "CPUs", "check", "claim"
    return table_html(heads, [_row(answer) for answer in answers])


@dataclass(frozen=True, repr=False)
class Answers(Sequence[ShownAnswer]):
    """The answers to some claims, in the order of the checks."""

    answers: tuple[ShownAnswer, ...]
    describe: Callable[[Sequence[ShownAnswer]], Context] = field(repr=False)

    def __len__(self) -> int:
        return len(self.answers)

    def __iter__(self) -> Iterator[ShownAnswer]:
        return iter(self.answers)

    @overload
    def __getitem__(self, at: int) -> ShownAnswer: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[ShownAnswer]: ...

    def __getitem__(self, at: int | slice) -> ShownAnswer | Sequence[ShownAnswer]:
        return self.answers[at]

    def save(self, path: str | Path) -> None:
        """Write the JSON of docs/json.md, which `cpuhp report` and `show` read."""
        data = as_json(self.answers, self.describe(self.answers))
        write_whole(Path(path), json.dumps(data, indent=1) + "\n")

    def __repr__(self) -> str:
        return "\n".join(map(repr, self.answers)) or "no claims"

    def _repr_html_(self) -> str:
        return verdicts(self.answers)


@dataclass(frozen=True, repr=False)
class HotplugTable:
    """The hotplug table of a kernel."""

    table: Table
    drawn: Callable[[Table, bool], Diagram] = field(repr=False)

    def __len__(self) -> int:
        return len(self.table.states)

    def diagram(self, *, full: bool = False) -> Diagram:
        """The kernel's own way down through the rows."""
        return self.drawn(self.table, full)

    def __repr__(self) -> str:
        counts = [self.table.section(s.number).value for s in self.table.states]
        told = ", ".join(f"{counts.count(n)} {n}" for n in dict.fromkeys(counts))
        return f"{self.table.name}: {len(self)} hotplug states ({told})"

    def _repr_html_(self) -> str:
        rows = [
            (str(s.number), self.table.section(s.number).value, escape(s.name),
             escape(s.enumerator or ""))
            for s in self.table.states
        ]  # fmt: skip
        return table_html(("number", "section", "name", "constant"), rows)


def table_html(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are markup already."""
    top = "".join(f'<th scope="col"{_LEFT}>{escape(head)}</th>' for head in heads)
    body = "".join(
        f"<tr>{''.join(f'<td{_LEFT}>{cell}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _row(answer: ShownAnswer) -> tuple[str, ...]:
    color = _COLOURS.get(answer.verdict, "inherit")
    return (
        f'<b style="color:{color}">{escape(answer.verdict)}</b>',
        escape(str(answer.cpus)),
        escape(answer.check),
        f"<code>{escape(answer.claim)}</code>",
    )
