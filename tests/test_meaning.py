"""What the tool says about random programs, against a second reading of them."""

from collections import Counter
from dataclasses import replace

import pytest
from programs.hotplug import EMPTY
from programs.whole import FORMS, SEVERAL, Program
from second_reading import NestedError, TooManyError

from cpuhp.api import Settings, load
from cpuhp.diagnostics import InputError
from cpuhp.engines import beginnings
from cpuhp.engines.explicit import liveness
from cpuhp.engines.explicit.races import RaceFinder
from cpuhp.graph import constants, footprint, holding, relevance
from cpuhp.graph.rows import Rows
from cpuhp.language import build, calls, flow, reader_locks, terms, unroll
from cpuhp.model.expr import TRUE

CPUS = (1, 2, 3)
LARGE = 4  # CPUs: more than are searched where there is a proof
MOST = 20_000  # states: programs with more are passed over
SEEDS, SEEDS_OF_SEVERAL = 12, 4  # programs of each form


def compare(seed, path, form="alone"):
    """How often there is which verdict; none contradicts the second reading."""
    program = Program(seed, form)
    path.write_text(program.text)
    try:
        loaded = load(str(path))
        loaded.claims()
    except InputError as error:
        if "HP206" in str(error):  # a callback plays no part, and its row is gone by
            assert EMPTY in str(error)
        elif "HP508" not in str(error):  # somebody may read what he reads already
            assert "HP507" in str(error), f"seed {seed}: {error}"  # it is never so
            assert not any(program.firsts(cpus) for cpus in CPUS)
        return Counter({"REFUSED": 10})
    happens = {}
    try:
        for cpus in CPUS:
            happens[cpus] = program.happens(cpus, MOST)
    except NestedError:
        return Counter({"SKIPPED": 10})
    except TooManyError:  # of the largest machine: the others are compared all the same
        if len(happens) < 2:
            return Counter({"SKIPPED": 10})
    verdicts = Counter()
    for number, (claim, _) in enumerate(program.claims):
        ((check, which, _),) = loaded.claims(f"t{number}")
        bad = {cpus: found[number] for cpus, found in happens.items()}
        fixed = "leads to" in claim or claim in ("terminates", "race_free")
        for cpus in (2, 3) if fixed else (2, None):
            try:
                answer = loaded.answer(check, which, Settings(cpus=cpus, timeout=10))
            except InputError as error:
                assert "HP507" in str(error), f"seed {seed}: {error}"
                assert not program.firsts(cpus), f"seed {seed}, cpus {cpus}"
                continue
            verdict, at = answer.verdict, answer.cpus
            told = f"seed {seed}, {claim}, cpus {at}: {verdict}\n{program.text}"
            if verdict == "PROVED":
                counts = bad if at == "all" else [n for n in bad if n == at]
                assert not any(bad[n] for n in counts), told
            elif verdict == "VIOLATED":
                assert bad.get(at, True), told
            else:
                assert cpus is None, told  # at a fixed number there is an answer
            verdicts[verdict] += 1
    return verdicts


def proofs_about_large_machines(seed, path, form):
    """How many there are; none says that what the second reading reaches is not."""
    program = Program(seed, form, LARGE)
    path.write_text(program.text)
    loaded = load(str(path))
    try:
        asked = [loaded.claims(f"t{n}")[0] for n in range(len(program.claims))]
        bad = program.happens(LARGE, MOST)
    except (InputError, TooManyError, NestedError):
        return 0
    proofs = 0
    for (check, which, _), happens in zip(asked, bad):
        answer = loaded.answer(check, which, Settings(timeout=10))
        told = f"seed {seed}, {check}: {answer.verdict}\n{program.text}"
        if answer.verdict == "PROVED":
            assert not happens, told
            proofs += answer.cpus == "all"
        elif answer.verdict == "VIOLATED":
            assert happens or answer.cpus > LARGE, told
    return proofs


@pytest.mark.parametrize(
    ("form", "seeds", "least"),
    [("alone", 10, 3), ("sets", 15, 5), ("hotplug", 15, 5), ("parallel", 3, 0)],
)
def test_a_proof_is_right_about_machines_that_no_search_has_seen(
    form, seeds, least, tmp_path
):
    path = tmp_path / "meaning.hp"
    proofs = [proofs_about_large_machines(s, path, form) for s in range(seeds)]
    assert sum(proofs) > least


@pytest.mark.parametrize("form", FORMS)
def test_programs_do_what_they_say(form, tmp_path):
    seeds = range(SEEDS_OF_SEVERAL if form in SEVERAL else SEEDS)
    verdicts = sum(
        (compare(s, tmp_path / "meaning.hp", form) for s in seeds), Counter()
    )
    assert verdicts["SKIPPED"] < verdicts.total() / 2
    assert verdicts["PROVED"] > len(seeds)
    assert verdicts["VIOLATED"] > len(seeds)


true_slice = relevance.Relevance.slice


def not_preempted(relevant, props, accessed=frozenset()):
    kept = true_slice(relevant, props, accessed)
    return replace(kept, variables=kept.variables - {"preempt_count"})


FAULTS = {  # what is put in for what, and the form of programs and the seed that notice it
    "what is assigned is not held": (terms, "held", lambda e, sort: e, "alone", 30),
    "something is written through none": (
        *(flow, "may_be_none", lambda index: False),
        *("alone", 30),
    ),
    "a constant is read through none": (
        *(constants, "through_none", lambda read: False),
        *("alone", 32),
    ),
    "nobody has what is read through none": (
        *(unroll, "through_none", lambda read: False),
        *("alone", 44),
    ),
    "what was written is not read": (
        *(flow, "_after", lambda effects: lambda e: e),
        *("alone", 9),
    ),
    "an atomic block has no callbacks": (
        *(relevance._Step, "within", ()),
        *("hotplug", 58),
    ),
    "the CPU of a callback is read anew": (
        *(calls, "_is_stable", lambda work, value, written=(): True),
        *("hotplug", 24),
    ),
    "none is in sets": (terms, "_not_none", lambda element: TRUE, "sets", 1108),
    "nobody looks whether a run begins": (
        *(beginnings.Beginnings, "there_are", lambda self, cpus: True),
        *("sets", 5),
    ),
    "labels are passed over": (
        *(build, "observed_points", lambda props: {}),
        *("parallel", 31),
    ),
    "nobody waits beside an environment": (
        *(liveness, "_is_at_rest", lambda graph, node: True),
        *("services", 95),
    ),
    "nobody races": (
        *(RaceFinder, "_may_race", lambda self, state: False),
        *("locks", 8),
    ),
    "nobody waits for readers": (
        *(reader_locks._Lock, "nobody", lambda lock, role: TRUE),
        *("locks", 8),
    ),
    "nothing is held under another": (
        *(holding, "_used", lambda use, held, every: frozenset()),
        *("locks", 16),
    ),
    "handlers interrupt nobody": (
        *(footprint, "_exposed", lambda *_: frozenset()),
        *("nested", 14),
    ),
    "rows that are told apart are one": (
        *(Rows, "can_merge", lambda self, props: True),
        *("steps", 3),
    ),
    "who cannot be preempted is forgotten": (
        *(relevance.Relevance, "slice", not_preempted),
        *("regions", 2),
    ),
    "a grace period waits for nobody": (
        *(reader_locks._Lock, "periods", lambda lock, waiter, reader: iter(())),
        *("regions", 30),
    ),
    "nobody who waits matters": (
        *(relevance.Relevance, "_blocking_parts", lambda self: set()),
        *("services", 0),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_reading_a_program_is_noticed(fault, tmp_path, monkeypatch):
    *wrong, form, first = FAULTS[fault]
    monkeypatch.setattr(*wrong)
    if fault == "what is assigned is not held":
        monkeypatch.setattr(flow, "held", lambda expr, sort: expr)
    with pytest.raises(AssertionError, match="^seed"):
        for seed in range(first, first + 60):
            compare(seed, tmp_path / "meaning.hp", form)
