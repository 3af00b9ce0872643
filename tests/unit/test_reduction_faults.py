"""Faults planted in slicing, folding, fusing and joining: small programs notice them."""

from dataclasses import replace

import pytest
from test_graph_slicing import EXACT
from test_language_folding import SPECS as FOLDING
from test_language_places import EXPECTED
from test_language_places import SPECS as PLACES
from test_language_quotient import SPECS as QUOTIENT

from cpuhp.api import Settings, load
from cpuhp.graph import constants, relevance, slicing
from cpuhp.language import build, compile, quotient, unroll
from cpuhp.language.flow import begun, fuse

PROGRAMS = {
    **{about: (text, EXPECTED[about]) for about, text in PLACES.items()},
    **QUOTIENT,
    **FOLDING,
    **EXACT,
}


def everything(lowered):
    names = frozenset(lowered.program.variables)
    mine = frozenset(v.name for p in lowered.processes for v in p.locals)
    return {process.name: names | mine for process in lowered.processes}


def writers_only(lowered, observed, accessed=frozenset()):
    kept = (
        process
        for process in lowered.processes
        if any(edge.writes() & observed for edge in process.flow.edges)
    )
    return replace(lowered, processes=tuple(kept))


def first_value(value, known):
    return frozenset(sorted(true_possible(value, known))[:1])


true_possible, true_begun = unroll._possible, begun
true_between = quotient._between
FAULTS = {
    "a place that a claim names may be skipped":
        (build, "observed_points", lambda props: {}),
    "a place that a claim names may be entered early":
        (build, "entered_points", lambda props: {}),
    "what others use is one's own": (build, "private_variables", everything),
    "a wait is no place to stay":
        (build, "fuse", lambda edges, entry, keep, local:
            fuse(edges, entry, {entry}, local)),
    "every step is local":
        (build, "fuse", lambda edges, entry, keep, local:
            fuse(edges, entry, keep, lambda edge: True)),
    "who is waited for is a bystander": (build, "without_bystanders", writers_only),
    "places count as alike":
        (build, "quotient", lambda edges, entry, apart:
            quotient.quotient(edges, entry, set())),
    "points are alike whatever is done there":
        (quotient, "_between", lambda edge, source, target: true_between(
            edge if source or target else replace(edge, effects=()), source, target)),
    "a guarded step is silent":
        (quotient, "is_silent", lambda edge: not edge.effects and not edge.choices),
    "a loop at the beginning is entered once":
        (compile, "begun", lambda edges, entry, stay:
            partial_begun(edges, entry, stay)),
    "an interrupt has come at the beginning":
        (build, "begun", lambda edges, entry, stay, avoid:
            true_begun(edges, entry, set())),
    "values are made of nothing":
        (relevance.Relevance, "_close_over_values", lambda self, variables: None),
    "what is written stays as it was": (constants, "_keeps", lambda effect, known: True),
    "a variable has one value only": (unroll, "_possible", first_value),
    "guards are taken as true": (slicing, "_weaker", lambda guard, variables:
        slicing.TRUE),
}  # fmt: skip


def partial_begun(edges, entry, stay):
    """Without looking at who comes back."""
    while entry not in stay:
        leaving = [edge for edge in edges if edge.source == entry]
        if len(leaving) != 1 or quotient.is_silent(leaving[0]) is False:
            break
        edges = [edge for edge in edges if edge is not leaving[0]]
        entry = leaving[0].target
    return edges, entry


def noticed(tmp_path):
    """Is some claim answered otherwise than it should be?"""
    path, two = tmp_path / "spec.hp", Settings(cpus=2)
    for text, expected in PROGRAMS.values():
        path.write_text(f"scenario spec;\n{text}")
        loaded = load(str(path))
        for claim, verdict in zip(loaded.claims("t"), expected.split()):
            if loaded.answer(*claim[:2], two).verdict != verdict:
                return True
    return False


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_noticed(fault, monkeypatch, tmp_path):
    monkeypatch.setattr(*FAULTS[fault])
    assert noticed(tmp_path)
