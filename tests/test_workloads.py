"""The workloads of the benchmarks give the verdicts that their headers tell."""

from pathlib import Path

import pytest

from cpuhp.api import load, loads

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
FOLDER = BENCHMARKS / "workloads"
PATIENCE = {"UNKNOWN": 4.0}  # seconds a claim, where more would be wasted
SLOW = {"flash": 300.0}  # or where more is needed


def variants():
    """Each workload as it is, and with each of its options turned on."""
    for file in sorted(FOLDER.glob("*.hp")):
        marks = pytest.mark.slow if file.stem in SLOW else ()
        yield pytest.param(str(file), {}, id=file.stem, marks=marks)
        for name, kind, _, _ in load(str(file)).options():
            assert kind == "bool"
            yield pytest.param(str(file), {name: "true"}, id=f"{file.stem}-{name}")


@pytest.mark.parametrize("path, options", list(variants()))
def test_its_own_check_is_as_its_header_says(path, options):
    scenario = load(path, options=options)
    (check,) = [
        n for n, c in scenario.program.checks.items() if c.span.source.name == path
    ]
    expected = {scenario.expected(prop) for _, _, prop in scenario.claims(check)}
    known = SLOW.get(Path(path).stem, 60.0)
    seconds = min(PATIENCE.get(verdict, known) for verdict in expected)
    answers = scenario.check(check, timeout=seconds)
    assert [a.verdict for a in answers] == [a.expected for a in answers]
    assert all(a.cpus == "all" for a in answers if a.verdict == "PROVED")


@pytest.mark.parametrize("matters", [False, True])
def test_what_has_grown_is_proved(matters, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from measures import grown

    (answer,) = loads(grown(3, matters)).check("grown_owner_lives")
    assert (answer.verdict, answer.cpus) == ("PROVED", "all")
