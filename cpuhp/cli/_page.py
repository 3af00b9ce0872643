"""The report page: what `cpuhp check --report` and `cpuhp report` have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from cpuhp.api import Scenario, load
from cpuhp.diagnostics import InputError
from cpuhp.engines.certificate.format import table_of
from cpuhp.report.answers import Context, ShownScenario
from cpuhp.report.page import Graph, page
from cpuhp.report.results import Results

Tell = Callable[[str], None]


def of_run(results: Results, scenarios: Iterable[Scenario], tell: Tell) -> str:
    """The page of a run whose scenarios are at hand."""
    return page(results, [_graph(s, tell) for s in scenarios], title=_title(results))


def of_file(
    results: Results, tell: Tell, *, link_base: str | None, title: str | None
) -> str:
    """The page of a results file; its scenarios are loaded again for the graphs."""
    graphs = (
        list(_graphs(results, tell, link_base)) if results.context.scenarios else []
    )
    return page(results, graphs, link_base=link_base, title=title or _title(results))


def _title(results: Results) -> str:
    names = list(dict.fromkeys(a.scenario for a in results.answers))
    if len(names) == 1:
        return f"{names[0]}: verdicts"
    return f"CPU hotplug: verdicts on {len(names)} scenarios"


def _graph(
    scenario: Scenario, tell: Tell, base: str | None = None, note: str | None = None
) -> Graph:
    tell(f"dependency graph of {scenario.name}")
    try:
        svg = scenario.diagram("dependency", link_base=base).svg()
    except InputError as error:  # no `dot` program
        return Graph(scenario.name, None, _told(error))
    return Graph(scenario.name, svg, note)


def _graphs(results: Results, tell: Tell, base: str | None) -> Iterator[Graph]:
    for shown in results.context.scenarios:
        try:
            scenario = _again(shown, results.context)
        except InputError as error:
            yield Graph(shown.name, None, f"There is no graph: {_told(error)}")
            continue
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            told = (
                f"There is no graph: the table in the result is malformed ({error!r})"
            )
            yield Graph(shown.name, None, told)
            continue
        made = {a.fingerprint.split(".")[0] for a in results.answers
                if a.scenario == shown.name and a.fingerprint}  # fmt: skip
        changed = bool(made) and scenario.fingerprint not in made
        note = "The specs have changed since the result was made." if changed else None
        yield _graph(scenario, tell, base, note)


def _again(shown: ShownScenario, context: Context) -> Scenario:
    """The scenario, from its file or from the shipped ones, on the table of the result."""
    table = table_of(context.tables[shown.table])
    name = shown.file if shown.file and shown.file.endswith(".hp") else shown.name
    return load(name, table=table, options=shown.options)


def _told(error: InputError) -> str:
    first = error.diagnostics[0]
    return f"{first.message}{'; ' + first.help if first.help else ''}"
