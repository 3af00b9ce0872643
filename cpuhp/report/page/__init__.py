"""A result as one HTML page that needs nothing else: no network, and no scripts to read.

Names in a result are untrusted. The template escapes all of them; pictures pass through
`svg.embedded`; and the page's own policy allows its one style sheet and its one script,
by their hashes, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpuhp.model.verdict import Verdict
from cpuhp.report.answers import Context, ShownAnswer, ShownStep, as_json
from cpuhp.report.diagrams.counterexample import chart
from cpuhp.report.diagrams.evidence import MAX_STEPS, Moment, evidence
from cpuhp.report.diagrams.render import render
from cpuhp.report.diagrams.theme import DARK, LIGHT, Theme
from cpuhp.report.page.svg import embedded
from cpuhp.report.results import Results

if TYPE_CHECKING:
    from jinja2 import Template

_HERE = Path(__file__).parent
TITLE = "CPU hotplug: verdicts"


@dataclass(frozen=True)
class Graph:
    """A scenario's dependency graph: its SVG, or why there is none."""

    scenario: str
    svg: str | None
    note: str | None = None


@dataclass(frozen=True)
class _Row:
    """A step of an interleaving, as the page tells it."""

    step: ShownStep
    number: int
    cpu: int
    came: tuple[tuple[int, str], ...]
    bad: str | None
    fault: str
    place: str | None  # id of the line of the spec text, if the page has it


@dataclass(frozen=True)
class _Item:
    """An answer. `chart` is SVG, or None with `note` if it could not be drawn."""

    id: str
    answer: ShownAnswer
    about: str
    rows: tuple[_Row, ...] = ()
    chart: str | None = None
    note: str | None = None
    cells: tuple[tuple[str, str], ...] = ()  # that ever change, and their first values
    invariant: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()  # by parts


def page(
    results: Results,
    graphs: Sequence[Graph] = (),
    *,
    link_base: str | None = None,
    title: str = TITLE,
) -> str:
    """The page's text. Charts need the `dot` program; without it they say so.

    Raises InputError HP801 if `link_base` is no address.
    """
    sources = {name: f"src-{n}" for n, name in enumerate(results.context.sources, 1)}
    items = [
        _item(f"claim-{number}", answer, results.context, sources, link_base)
        for number, answer in enumerate(results.answers, 1)
    ]
    style = _file("page.css") + _dark_pictures()
    script = _file("page.js")
    return _template().render(
        title=title,
        context=results.context,
        items=items,
        failures=sorted(
            (i for i in items if i.answer.is_failure or i.answer.is_unknown),
            key=lambda i: (not i.answer.is_failure, i.answer.verdict != "VIOLATED"),
        ),
        proofs=[i for i in items if i.answer.verdict == Verdict.PROVED.value],
        witnesses=[i for i in items if i.answer.verdict == Verdict.WITNESSED.value],
        counts=_counts(results.answers),
        meaning={v.value: v.meaning for v in Verdict},
        scenarios=list(dict.fromkeys(a.scenario for a in results.answers)),
        seconds=sum(a.seconds for a in results.answers),
        slowest=max((a.seconds for a in results.answers), default=0.0) or 1.0,
        graphs=[
            (g, embedded(g.svg, f"graph-{n}") if g.svg else None)
            for n, g in enumerate(graphs, 1)
        ],
        sources=sources,
        cited=_cited(items),
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


def _counts(answers: Sequence[ShownAnswer]) -> list[tuple[str, int]]:
    """Verdicts that occur, from bad to good."""
    found = [(v.value, sum(a.verdict == v.value for a in answers)) for v in Verdict]
    return [(verdict, count) for verdict, count in reversed(found) if count]


def _item(
    id_: str,
    answer: ShownAnswer,
    context: Context,
    sources: dict[str, str],
    base: str | None,
) -> _Item:
    about = context.checks.get(answer.check, "")
    invariant = tuple(
        (about, tuple(map(_sentence, said))) for about, said in answer.told_parts()
    )
    if answer.trace is None or not answer.trace.steps:
        return _Item(id_, answer, about, invariant=invariant)
    drawn, moments, note = _chart(answer, id_, base)
    rows = tuple(
        _row(n, step, answer.trace.boot, moments[n - 1] if moments else None, sources)
        for n, step in enumerate(answer.trace.steps, 1)
    )
    first = answer.trace.initial
    changed = dict.fromkeys(c for s in answer.trace.steps for c in s.changes)
    before: dict[str, str] = {}
    for step in answer.trace.steps:
        for cell, (old, _) in step.changes.items():
            before.setdefault(cell, old)
    cells = tuple((cell, first.get(cell, before[cell])) for cell in sorted(changed))
    return _Item(id_, answer, about, rows, drawn, note, cells, invariant)


def _chart(
    answer: ShownAnswer, id_: str, base: str | None
) -> tuple[str | None, tuple[Moment, ...], str | None]:
    """The chart of a failure, what it found out about the steps, and a remark."""
    from cpuhp.diagnostics import InputError

    assert answer.trace is not None
    if len(answer.trace.steps) > MAX_STEPS:
        return None, (), f"an interleaving of more than {MAX_STEPS} steps is not drawn"
    (result,) = as_json([answer])["results"]
    found = evidence(result, answer.check)
    if not answer.is_failure:
        return None, found.moments, None
    # Of its own: the chart forgets arrows from steps that it folds.
    picture = chart(evidence(result, answer.check), LIGHT, base)
    try:
        svg = render(picture, "svg").decode()
    except InputError as error:
        told = error.diagnostics[0]
        if told.code == "HP801":
            raise
        return None, found.moments, f"{told.message}: {told.help or ''}"
    return embedded(svg, id_), found.moments, None


def _row(
    number: int,
    step: ShownStep,
    boot: int,
    moment: Moment | None,
    sources: dict[str, str],
) -> _Row:
    file, _, line = (step.source or "").rpartition(":")
    place = f"{sources[file]}-{line}" if file in sources else None
    return _Row(
        step,
        number,
        boot if step.cpu is None else step.cpu,
        tuple((n + 1, name) for n, name in moment.came) if moment else (),
        moment.bad if moment else None,
        moment.fault if moment else "",
        place,
    )


def _sentence(clause: str) -> tuple[str, str]:
    """Who a clause speaks of, if it says so, and what it says."""
    who, told, says = clause.partition(" CPU: ")
    return (f"{who} CPU", says) if told else ("", clause)


def _cited(items: Sequence[_Item]) -> frozenset[str]:
    """Ids of the lines of spec text that a step stands in."""
    return frozenset(r.place for i in items for r in i.rows if r.place)


def _dark_pictures() -> str:
    """Pictures are drawn in light colours; these rules turn them for a dark page."""
    rules = "".join(
        f"@svg [{name}='{light}']{{{name}:{dark}}}"
        for light, dark in sorted(_pairs(LIGHT, DARK).items())
        for name in ("fill", "stroke")
    )
    dark, asked = ":root[data-theme=dark] ", ":root:not([data-theme=light]) "
    return (
        f"@media screen{{{rules.replace('@svg', dark + 'svg')}"
        f"@media (prefers-color-scheme:dark){{{rules.replace('@svg', asked + 'svg')}}}}}"
    )


def _pairs(light: Theme, dark: Theme) -> dict[str, str]:
    pairs: dict[str, str] = {}
    names = "ink faint quiet call wait bad bad_fill good message box".split()
    for name in names:
        pairs[getattr(light, name)] = getattr(dark, name)
    pairs.update(zip(light.band, dark.band))
    for kind, (color, *_) in light.kinds.items():
        pairs.setdefault(color, dark.kinds[kind][0])
    return pairs


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


@cache
def _file(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


@cache
def _template() -> Template:
    # Imported here: the command line answers without it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    known: dict[str, Any] = {"autoescape": True, "undefined": StrictUndefined}
    environment = Environment(
        loader=FileSystemLoader(_HERE), trim_blocks=True, lstrip_blocks=True, **known
    )
    return environment.get_template("page.html")
