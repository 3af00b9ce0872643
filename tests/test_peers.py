"""SPIN and Rumur agree with us, in verdicts and in the number of states."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from builders import (
    DEADLOCK_FREE,
    always,
    buddies,
    chains,
    critical_section,
    election,
    finally_,
    leavers,
    opposite_locks,
    parallel_shutdown,
    sometimes,
    topology,
)
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from peer_tools import HAS_RUMUR, HAS_SPIN, rumur, spin
from random_systems import random_formulas, random_systems

from cpuhp.api import load, scenarios
from cpuhp.diagnostics import InputError
from cpuhp.engines.explicit import Limits, check
from cpuhp.engines.explicit.moves import compile_machine
from cpuhp.engines.explicit.search import Budget, search
from cpuhp.engines.explicit.symmetry import SymmetricSpace, count_orbits
from cpuhp.language import tree as t
from cpuhp.language.library import data_root
from cpuhp.model.expr import FALSE, TRUE
from cpuhp.model.system import Expectation, Order
from cpuhp.report.export import EXPORTABLE, export
from cpuhp.semantics import Machine

SEED = 20240607
LIMITS = Limits(max_states=60_000, seconds=60)
BAD = ("VIOLATED", "WITNESSED")
PEERS = {"promela": spin, "murphi": rumur}

pytestmark = pytest.mark.skipif(
    not (HAS_SPIN and HAS_RUMUR), reason="needs gcc and the packages spin and rumur"
)


def agree(system, prop, at, folder, languages=tuple(PEERS)):
    """Ask everybody; our verdict, or None if it is too large for us."""
    ours = check(system, prop, *at, LIMITS, symmetry=False)
    if ours.verdict.name == "UNKNOWN":
        return None
    expected = "violated" if ours.verdict.name in BAD else "holds"
    for to in languages:
        run = PEERS[to](export(system, prop, to, *at), folder)
        assert run.answer == expected, (to, at, prop.text, run)
        if expected == "holds":
            assert run.states == ours.stats["states"], (to, at, prop.text)
    return ours.verdict.name


# --- always run: small systems


def small_systems():
    shutdown, claims = parallel_shutdown(2)
    stale, stale_claims = parallel_shutdown(2, stale=True)
    exclusive, alone = critical_section(locked=False)
    yield "shutdown", shutdown, claims[0], (3, 0), "PROVED"
    yield "stale-target", stale, stale_claims[0], (3, 0), "VIOLATED"
    yield "no-lock", exclusive, always(alone), (3, 0), "VIOLATED"
    yield "opposite-locks", opposite_locks(), DEADLOCK_FREE, (1, 0), "VIOLATED"
    yield "last", election(Order.LAST), sometimes(FALSE), (3, 1), "UNREACHABLE"
    yield "pointers", buddies(), always(TRUE), (3, 1), "PROVED"
    yield "topologies", topology(), finally_(TRUE), (3, 0), "PROVED"
    linked, own = chains()
    yield "chains", linked, always(TRUE), (3, 0), "PROVED"
    yield "chain-of-three", linked, always(own), (3, 0), "VIOLATED"
    leaving, once = leavers()
    yield "far-counter", leaving, sometimes(once), (3, 0), "WITNESSED"
    yield "below-zero", leaving, always(TRUE), (3, 0), "PROVED"


@pytest.mark.parametrize("case", list(small_systems()), ids=lambda case: case[0])
def test_peers_agree_on_a_small_system(case, tmp_path):
    _, system, prop, at, expected = case
    assert agree(system, prop, at, tmp_path) == expected


def test_a_search_that_spin_cuts_short_is_not_taken_for_a_proof(tmp_path):
    """By the commands that the model gives, but for a depth that is too small."""
    text = export(parallel_shutdown(2)[0], always(TRUE), "promela", 3)
    (tmp_path / "model.pml").write_text(text)
    lines = (line[3:].strip().partition("    ")[0] for line in text.splitlines())
    commands = [c for c in lines if c.startswith(("spin ", "cc ", "./pan "))]
    run = " && ".join(commands).replace("FILE", "model.pml").replace("-m1000000", "-m9")
    done = subprocess.run(
        run, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert len(commands) == 3 and "errors: 1" in done.stdout, run
    assert "assertion violated" not in done.stdout


def test_our_orbits_stand_for_the_states_that_a_peer_counts(tmp_path):
    system, prop = parallel_shutdown(2)[0], always(TRUE)
    space = SymmetricSpace(compile_machine(Machine(system, 4)))
    orbits = search(space, [prop], Budget(Limits())).parents
    run = rumur(export(system, prop, "murphi", 4), tmp_path)
    assert len(orbits) < run.states
    assert count_orbits(orbits, space, space.permuter) == run.states


# --- specs


@cache
def scenario(path, options):
    return load(path, options=dict(options))


def is_exportable(prop):
    # Lock orders are exported as the `always` of the watched program.
    return prop.expectation in (*EXPORTABLE, Expectation.INVERSION_FREE)


def own_claims(loaded):
    """The exportable claims of the checks that the scenario's file declares."""
    items = loaded.program.scenario.items
    own = {item.name for item in items if isinstance(item, t.CheckDeclaration)}
    return [
        (name, number)
        for name, number, prop in loaded.claims()
        if (name in own or not own) and is_exportable(prop)
    ]


OPTION = re.compile(r"^option bool (\w+) = (true|false);", re.MULTILINE)


def variants(folder):
    """Every spec with its defaults, and with each option turned over."""
    for path in sorted((data_root() / folder).glob("**/*.hp")):
        yield pytest.param(str(path), (), id=path.stem)
        for name, value in OPTION.findall(path.read_text()):
            turned = (name, "true" if value == "false" else "false")
            yield pytest.param(
                str(path), (turned,), id=f"{path.stem}-{'='.join(turned)}"
            )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "options"), [*variants("specs/golden"), *variants("specs/bugs")]
)
def test_peers_agree_on_a_spec(path, options, tmp_path):
    loaded = scenario(path, options)
    for name, number in own_claims(loaded):
        sliced = loaded.checker.slice(name, number)
        for at in ((2, 0), (3, 0), (3, 2)):
            assert agree(sliced.system, sliced.prop, at, tmp_path) or at[0] == 3


# --- every shipped scenario, and everything that its header says is wrong with a variant

AT_TWO_AND_THREE_APS = ((3, 0), (4, 0))
MOST = Limits(max_states=100_000, seconds=30)  # orbits, for a verdict


def compare(system, prop, at, folder, seen):
    """Verdicts agree, and counts unless there are too many states to count.

    `seen` keeps what a model said: claims often have the same slice. Who reaches a
    limit has no verdict; one of the peers has to have one unless we have none either.
    """
    ours = check(system, prop, *at, MOST)
    if ours.verdict.name == "UNKNOWN":
        return "too large"
    expected = "violated" if ours.verdict.name in BAD else "holds"
    every = check(system, prop, *at, LIMITS, symmetry=False)
    counted = every.stats["states"] if every.verdict.name != "UNKNOWN" else None
    answers = []
    for to, ask in PEERS.items():
        text = export(system, prop, to, *at)
        key = (to, re.sub(COMMENT, "", text))
        if key not in seen:
            seen[key] = ask(text, folder, seconds=60, mebibytes=2048)
        run = seen[key]
        if run.answer.startswith(">"):
            continue
        answers.append(run.answer)
        assert run.answer == expected, (to, at, prop.text, run)
        if expected == "holds" and counted is not None:
            assert run.states == counted, (to, at, prop.text)
    assert answers or counted is None, (at, prop.text)
    return ours.verdict.name


COMMENT = re.compile(r"/\*.*?\*/|^--[^\n]*$", re.DOTALL | re.MULTILINE)


def exportable(loaded, names=None):
    return [
        (name, number)
        for name, number, prop in loaded.claims()
        if is_exportable(prop) and (names is None or name in names)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", scenarios())
def test_peers_agree_on_every_claim_of_a_shipped_scenario(name, tmp_path):
    loaded, seen, last = load(name), {}, ""
    for check_name, number in exportable(loaded):
        sliced = loaded.checker.slice(check_name, number)
        for at in AT_TWO_AND_THREE_APS:
            last = compare(sliced.system, sliced.prop, at, tmp_path, seen)
            print(name, check_name, number, at, last, flush=True)
            if last == "too large":
                break
    assert seen


EXPECTED = re.compile(r"^expect (\w+) VIOLATED(?: when ([^;|]+))?;", re.MULTILINE)
TERM = re.compile(r"(!?)(\w+)(?: == (\w+))?")


def violations():
    """Specs, the options under which a header expects violations, and the checks."""
    for folder in ("mutants", "scenarios", "systems", "bugs"):
        for path in sorted((data_root() / "specs" / folder).glob("**/*.hp")):
            found = {}
            for name, condition in EXPECTED.findall(path.read_text()):
                found.setdefault(condition, []).append(name)
            for condition, names in found.items():
                options = tuple(
                    (option, value or ("false" if no else "true"))
                    for no, option, value in TERM.findall(condition)
                )
                case = f"{path.stem}-{condition}".strip("-")
                yield pytest.param(str(path), options, names, id=case)


@pytest.mark.slow
@pytest.mark.parametrize(("path", "options", "names"), list(violations()))
def test_peers_see_what_a_header_says_is_violated(path, options, names, tmp_path):
    """At two hotplugged CPUs, or at three if two are too few."""
    loaded, seen = load(path, options=dict(options)), {}
    for check_name, number in exportable(loaded, names):
        sliced = loaded.checker.slice(check_name, number)
        for at in AT_TWO_AND_THREE_APS:
            found = compare(sliced.system, sliced.prop, at, tmp_path, seen)
            print(path, options, check_name, number, at, found, flush=True)
            if found in BAD or found == "too large":
                break


@pytest.mark.slow
def test_the_benchmark_writes_a_row_a_peer_can_be_seen_in(tmp_path):
    page = tmp_path / "page.md"
    script = str(Path(__file__).parents[1] / "benchmarks/all.py")
    short = ["--rows", "w1:3 *", "--aps", "2", "--repeat", "1"]
    kept = ["--results", str(tmp_path / "rows.jsonl"), "--out", str(page)]
    subprocess.run([sys.executable, script, *short, *kept], check=True)
    row = r"^\| 2 \|( [\d.]+ s, \d+ MiB \|){2} 80 \|"
    assert re.search(row, page.read_text(), re.MULTILINE)


# --- random systems


def one_random_system(data, system, at, folder):
    formula = data.draw(random_formulas(system, ordered=True))
    claims = [
        always(TRUE),
        always(formula),
        sometimes(formula),
        finally_(formula),
        DEADLOCK_FREE,
    ]
    prop = data.draw(st.sampled_from(claims))
    try:
        agree(system, prop, at, folder)
    except InputError as error:
        # An assumption that no state satisfies is drawn now and then.
        assert error.diagnostics[0].code == "HP835"


AT = st.sampled_from([(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)])
quick = settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
    database=None,
    print_blob=True,
)


@seed(SEED)
@quick
@given(st.data(), random_systems(ordered=True), AT)
def test_peers_agree_on_random_systems(tmp_path_factory, data, system, at):
    print("seed", SEED)
    one_random_system(data, system, at, tmp_path_factory.mktemp("random"))


@pytest.mark.slow
@seed(SEED + 1)
@settings(quick, max_examples=60)
@given(st.data(), random_systems(ordered=True), AT)
def test_peers_agree_on_many_random_systems(tmp_path_factory, data, system, at):
    print("seed", SEED + 1)
    one_random_system(data, system, at, tmp_path_factory.mktemp("random"))
