"""What `why`, `place` and `schedule` share: their options, workers and cache."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cpuhp.cli._options import (
    jobs_option,
    named,
    order_option,
    settings_option,
    timeout_option,
    tree_option,
)

if TYPE_CHECKING:
    from cpuhp.api import Scenario
    from cpuhp.model.table import Table
    from cpuhp.ordering.questions import Question
    from cpuhp.ordering.variant import Variant
    from cpuhp.ordering.workers import Judges


@dataclass(frozen=True)
class Advice:
    """The options as they were given."""

    order: str | None
    tree: str | None
    options: Mapping[str, str]
    cpus: int
    jobs: int | None
    timeout: float
    engine: str | None
    cache: str | None
    style: str

    def table(self) -> Table | None:
        from cpuhp.cli._work import order_of

        return order_of(self.order, self.tree)

    def scenario(self, name: str) -> Scenario:
        from cpuhp.api import load

        return load(name, table=self.table(), options=self.options)

    def plain(self, name: str, table: Table | None) -> Scenario:
        """The scenario with its own options, on a table or on its own."""
        from cpuhp.api import load

        return load(name, table=table)

    def base(self, name: str) -> Variant:
        """The scenario as it is. Raises InputError."""
        from cpuhp.ordering.variant import variant_of

        return variant_of(self.scenario(name).program, self.options)

    @contextmanager
    def judges(self, limit: float | None = None) -> Iterator[Judges]:
        """Whoever answers questions, with a line of progress; for so many seconds."""
        import time

        from cpuhp.cli._progress import Progress
        from cpuhp.ordering.questions import Bound
        from cpuhp.ordering.workers import Cache, Judges, executor_of

        folder = Path(self.cache) if self.cache else None
        with executor_of(self.engine, self.jobs) as executor, Progress(0) as progress:
            yield Judges(
                Bound(self.cpus, self.timeout),
                executor,
                Cache(folder),
                lambda done, of: progress.tell(done, f"of {of} questions"),
                deadline=None if limit is None else time.monotonic() + limit,
            )

    def print(self, data: Mapping[str, Any], lines: Iterable[str]) -> None:
        if self.style == "json":
            import json

            click.echo(json.dumps(data, indent=1))
            return
        for line in lines:
            click.echo(line)

    def interleaving(self, variant: Variant, question: Question, title: str) -> None:
        """The steps of a violation, which z3 has confirmed."""
        from cpuhp.cli._options import style
        from cpuhp.ordering.questions import Bound, confirmed
        from cpuhp.report.answers import show_trace
        from cpuhp.report.terminal import interleaving

        answered = confirmed(variant, question, Bound(self.cpus, self.timeout))
        trace, whole = answered.result.trace, answered.replayed
        click.echo(f"\n{question.check}, {title}: {question.text}")
        if trace is None:
            click.echo(f"  {answered.result.reason}")
            return
        replayed = len(whole.steps) if whole else None
        shown = show_trace(answered.sliced.system, trace, replayed)
        for line in interleaving(shown, style()):
            click.echo(line)


def advice_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of these verbs; the command gets them as one argument `advice`."""

    @order_option
    @tree_option
    @settings_option
    @click.option(
        "--cpus",
        type=click.IntRange(2, 8),
        default=3,
        metavar="N",
        help="Search 2 up to N CPUs; default 3.",
    )
    @jobs_option
    @timeout_option("per search")
    @click.option(
        "--engine",
        metavar="URL",
        help="Who searches: local (default), or dask://HOST:PORT.",
    )
    @click.option(
        "--cache",
        type=click.Path(file_okay=False),
        callback=named,
        metavar="DIR",
        help="Keep answers in DIR, and use those that are there.",
    )
    @click.option(
        "--format",
        "style",
        type=click.Choice(["text", "json"]),
        default="text",
        help="Default text.",
    )
    @functools.wraps(command)
    def wrapped(
        *args: Any,
        order: str | None,
        tree: str | None,
        options: dict[str, str],
        cpus: int,
        jobs: int | None,
        timeout: float,
        engine: str | None,
        cache: str | None,
        style: str,
        **rest: Any,
    ) -> None:
        told = Advice(order, tree, options, cpus, jobs, timeout, engine, cache, style)
        command(*args, advice=told, **rest)

    return wrapped
