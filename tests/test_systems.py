"""Systems of the founding documents: verdicts, a mutant a check, a page a system.

`python tests/test_systems.py` writes the verdict tables of docs/systems anew.
"""

import re
import sys
from functools import cache
from pathlib import Path

import pytest

from cpuhp.api import Settings, load, shown_name
from cpuhp.language import tree as t
from cpuhp.language.library import data_root

ROOT = Path(__file__).parents[1]
FOLDER = data_root() / "specs/systems"
PAGES = ROOT / "docs/systems"
NAMES = sorted(path.stem for path in FOLDER.glob("*.hp"))
WRONG = {"VIOLATED", "UNREACHABLE"}
EXPECT = re.compile(
    r"^expect (\w+) (?:VIOLATED|UNREACHABLE)(?: when ([^;]+))?;", re.MULTILINE
)
TABLE = re.compile(r"^\| claim \|.*?(?=^[^|]|\Z)", re.MULTILINE | re.DOTALL)
# Claims about runs are decided for one count at a time.
OF_ONE_COUNT = {"terminates", "race_free", "leads to"}
# (scenario, check): proved for one count only; the scenario's page says why.
NOT_FOR_ALL = {
    ("kho-serial", "no_deadlock"),
    ("kho-parallel", "no_deadlock"),
    ("kho-parallel", "kho_locks_in_one_order"),
    ("luo-sessions", "no_deadlock"),
    ("luo-pci", "no_deadlock"),
    ("async-probe", "no_deadlock"),
    ("deferred-probe", "no_deadlock"),
    ("pin-memory", "no_deadlock"),
    ("smpboot-apic-id", "no_deadlock"),
    ("smpboot-apic-id", "apic_lock_comes_back"),
    ("microcode-passes", "no_deadlock"),
    ("topology-lock", "no_deadlock"),
}
# Claims of every scenario, told in words where they matter.
GENERAL = {
    "no_deadlock", "every_cpu_finishes", "no_data_race", "no_bug", "no_lock_inversion",
}  # fmt: skip
POSTED = [(("posted", "true"),)]
SLOW = {
    ("deferred-probe", "every_cpu_finishes"),
    ("deferred-probe", "probe_retries_end"),
    ("smpboot-dec-2021", "prepared_data_reaches_its_cpu"),
    ("smpboot-v17", "prepared_data_reaches_its_cpu"),
}


@cache
def scenario(name, options=()):
    return load(str(FOLDER / f"{name}.hp"), options=dict(options))


def has_posted(name):
    return "posted" in scenario(name).program.options


def own_checks(name):
    unit = scenario(name).program.scenario
    return [item for item in unit.items if isinstance(item, t.CheckDeclaration)]


def given(conjunction):
    """`a && !b && c == D` as the options of the command line."""
    found = {}
    for term in conjunction.strip(" ()").split("&&"):
        option, _, value = (word.strip() for word in term.partition("=="))
        plain = option.removeprefix("!")
        found[plain] = value or ("false" if option.startswith("!") else "true")
    return tuple(sorted(found.items()))


def rejected(name):
    """(check, options) for each variant in which the header expects a claim to fall."""
    for check, condition in EXPECT.findall((FOLDER / f"{name}.hp").read_text()):
        for conjunction in (condition or "").split("||"):
            yield check, given(conjunction) if conjunction else ()


def mark(name, check):
    return pytest.mark.slow if (name, check) in SLOW else ()


OWN = [
    pytest.param(name, check.name, posted, marks=mark(name, check.name),
                 id="-".join([name, check.name, *(["posted"] if posted else [])]))
    for name in NAMES
    for posted in [(), *POSTED][: 1 + has_posted(name)]
    for check in own_checks(name)
]  # fmt: skip
REJECTED = [
    pytest.param(name, check, options, marks=mark(name, check),
                 id="-".join([name, check, *(f"{k}={v}" for k, v in options)]))
    for name in NAMES
    for check, options in rejected(name)
]  # fmt: skip


@pytest.mark.parametrize(("name", "check", "options"), OWN)
def test_a_check_has_the_verdict_of_the_header_at_three(name, check, options):
    loaded = scenario(name, options)
    for _, number, claim in loaded.claims(check):
        answer = loaded.answer(check, number, Settings(cpus=3, timeout=60))
        wanted = {loaded.expected(claim)}
        if wanted == {"VIOLATED"}:  # some claim of the check, not each
            wanted.add("PROVED")
        assert answer.verdict in wanted, (answer.claim, answer.reason)


@pytest.mark.parametrize(("name", "check", "options"), REJECTED)
def test_a_variant_that_is_wrong_is_found_with_few(name, check, options):
    loaded = scenario(name, options)
    assert any(
        loaded.answer(check, number, Settings(cpus=cpus, timeout=60)).verdict in WRONG
        for cpus in (3, 4)
        for _, number, _ in loaded.claims(check)
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_check_of_a_system_rejects_something_and_has_a_witness(name):
    caught = {check for check, _ in rejected(name)}
    for check in own_checks(name):
        assert check.name in caught
        kinds = {p.expectation.value for _, _, p in scenario(name).claims(check.name)}
        assert "sometimes" in kinds


# Those without checks of their own are variants of shipped scenarios: see test_corpus.
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if own_checks(name)])
def test_a_system_is_safe_for_every_number(name):
    loaded = scenario(name)
    for check, number, claim in loaded.claims():
        kind = claim.expectation.value
        if kind == "sometimes" or loaded.expected(claim) != "PROVED":
            continue
        answer = loaded.answer(check, number, Settings(timeout=120))
        assert answer.verdict == "PROVED", (answer.claim, answer.reason)
        one_count = kind in OF_ONE_COUNT or (name, check) in NOT_FOR_ALL
        assert one_count or answer.cpus == "all", (answer.claim, answer.reason)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_tells_the_verdicts_and_how_to_draw_the_sequence(name):
    text = (PAGES / f"{name}.md").read_text()
    assert table(name) in text
    assert re.search(rf"^    cpuhp diagram {name} .*-o \S+", text, re.MULTILINE)
    assert f"cpuhp check {name}" in text
    assert f"({name}.md)" in (PAGES / "README.md").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_small_and_asks_its_question(name):
    text = (FOLDER / f"{name}.hp").read_text()
    head = text.split("scenario ")[0]
    assert text.startswith("/// ") and "?" in head
    assert shown_name(scenario(name).program.scenario.name) == name
    code = [line for line in text.splitlines() if line.strip(" /")]
    assert len(code) <= 200


def table(name):
    """The verdict table of a page, from the spec's header and its checks."""
    loaded = scenario(name)
    defaults = {option: value for option, _, value, _ in loaded.options()}
    before = scenario(name, *POSTED) if has_posted(name) else loaded
    rows = [
        "| claim | check | verdict | as posted | rejects |",
        "|---|---|---|---|---|",
    ]
    for check, claim in told_of(name):
        kept, first = expected(loaded, check), expected(before, check)
        mutants = [shown(options, defaults) for found, options in rejected(name)
                   if found == check and not dict(options).get("posted")]  # fmt: skip
        rows.append(f"| {claim} | `{check}` | {kept} | {first} |"
                    f" {', '.join(filter(None, mutants)) or '-'} |")  # fmt: skip
    return "\n".join(rows) + "\n"


def told_of(name):
    """Checks of the page and what they claim: its own, then those of the catalogue."""
    own = {c.name: " ".join(c.doc.split()).rstrip(".") for c in own_checks(name)}
    others = {check for check, _ in rejected(name)} - {*own, *GENERAL}
    return [*own.items(), *((c, c.replace("_", " ")) for c in sorted(others))]


def shown(options, defaults):
    changed = [(k, v) for k, v in options if defaults[k] != v]
    return " ".join(f"`{k}`" if v == "true" else f"`{k}={v}`" for k, v in changed)


def expected(loaded, check):
    claims = [claim for _, _, claim in loaded.claims(check)]
    forbids = [c for c in claims if c.expectation.value != "sometimes"]
    return " ".join(sorted({loaded.expected(claim) for claim in forbids or claims}))


def main():
    for name in NAMES:
        page = PAGES / f"{name}.md"
        page.write_text(TABLE.sub(lambda _, n=name: table(n), page.read_text()))
        print(page)


if __name__ == "__main__":
    sys.exit(main())
