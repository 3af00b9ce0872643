"""The claims of the sources: fitted rows fit, predictions come near, contradictions show."""

import re
from functools import cache

import pytest

from cpuhp.report.claims import claims_data, claims_text, kind
from cpuhp.timing.claims import settle, shipped_claims
from cpuhp.timing.cost_file import find_costs

pytestmark = pytest.mark.slow


@cache
def rows():
    return settle(shipped_claims())


def test_every_row_of_the_table_that_has_a_model_is_there():
    names = {re.match(r"[A-Z]\d+", row.claim.name)[0] for row in rows()}
    told = {f"Q{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 17, 19, 21,
                              25, 26, 27)}  # fmt: skip
    assert told <= names
    assert len(rows()) == len({row.claim.name for row in rows()})
    assert sum(row.claim.name.startswith("Q27d") for row in rows()) == 8


def test_a_fitted_row_is_met_and_its_parameter_is_the_one_that_is_shipped():
    for row in rows():
        if row.claim.fits:
            assert row.ratio == pytest.approx(1.0, abs=1e-6), row.claim.name
            assert kind(row) == "fitted"
            if row.claim.run.params or row.claim.fits == "early":
                continue
            shipped = find_costs(row.claim.run.costs).parameters[row.claim.fits]
            assert row.parameter == pytest.approx(shipped, rel=0.02), row.claim.name


def test_each_parameter_is_settled_by_one_row_and_others_are_predicted():
    fits = [(r.claim.run.costs, r.claim.fits) for r in rows() if r.claim.fits]
    assert len(fits) == len(set(fits))
    assert sum(not r.claim.fits for r in rows()) > len(fits)


def test_predictions_come_near_unless_the_sources_contradict_each_other():
    for row in rows():
        if row.claim.fits or row.claim.contradiction or row.ratio is None:
            continue
        if row.claim.bound == ">":
            assert row.ratio > 1, row.claim.name
        else:
            assert 0.75 < row.ratio < 1.25, row.claim.name


@pytest.mark.parametrize(
    "name", ["Q7b", "Q8b", "Q9", "Q13a", "Q17c", "Q19", "Q26c", "Q27d0"]
)
def test_where_the_sources_contradict_each_other_the_row_says_so(name):
    (row,) = (row for row in rows() if row.claim.name == name)
    assert row.claim.contradiction
    text = claims_text(rows())
    assert re.search(rf"^{name} .*predicted !", text, re.MULTILINE)
    assert f"  {name}: " in text


def test_the_headline_numbers_come_out():
    value = {row.claim.name: row.model for row in rows()}
    assert value["Q1a"] / value["Q1b"] == pytest.approx(15, rel=1e-3)
    assert value["Q8b"] / value["Q8a"] > 20
    assert value["B10"] / value["B11"] == pytest.approx(9.33, rel=0.05)
    assert value["Q27b52"] < value["Q27b0"] * 0.62


def test_the_data_has_every_row():
    data = claims_data(rows())["claims"]
    assert [entry["claim"] for entry in data] == [row.claim.name for row in rows()]
    assert {entry["kind"] for entry in data} == {"fitted", "predicted"}
    assert all(entry["parameter"] for entry in data if entry["kind"] == "fitted")
