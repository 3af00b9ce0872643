"""Pages tell the truth about what there is: links, verbs, options, codes, scenarios."""

import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from cpuhp.api import load, scenarios
from cpuhp.cli import group
from cpuhp.language import tree as t
from cpuhp.language.library import shipped
from cpuhp.model.system import Expectation

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    p for p in (*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *ROOT.glob("docs/*/*.md"))
    if not any(part == "build" or part[0] == "." for part in p.relative_to(ROOT).parts)
)  # fmt: skip
NAMES = [str(p.relative_to(ROOT)) for p in PAGES]
LINK = re.compile(r"\]\(([^()\s]+)\)")
COMMAND = re.compile(r"`(cpuhp [^`]+)`|^(?: {4})?(?:\$ )?(cpuhp .+)$", re.MULTILINE)


@cache
def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def targets(name):
    for link in LINK.findall(text_of(name)):
        if not link.startswith(("http://", "https://")):
            path, _, anchor = link.partition("#")
            yield (ROOT / name).parent / path if path else ROOT / name, anchor


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    for line in re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M):
        yield re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-")


def commands(name):
    """The words of each command that a page shows, options and verbs whole."""
    text = text_of(name).replace("\\\n", " ").replace("\\|", "|")
    for match in COMMAND.finditer(text):
        command = re.split(r"[;|&>]", match[1] or match[2])[0].split("#")[0]
        try:
            yield shlex.split(command)[1:]
        except ValueError:  # a quotation that goes on in another line
            yield command.split()[1:]


def option_names(command):
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
    yield from ("-h", "--help")


@cache
def options():
    """The names of all options of shipped specs."""
    items = (item for unit in shipped().units.values() for item in unit.items)
    return {item.name for item in items if isinstance(item, t.OptionDeclaration)}


@pytest.mark.parametrize("name", NAMES)
def test_every_relative_link_leads_somewhere(name):
    for target, anchor in targets(name):
        assert target.exists(), f"{name}: {target}"
        assert not anchor or anchor in anchors(target), f"{name}: #{anchor}"


@pytest.mark.parametrize("name", NAMES)
def test_every_command_shown_has_a_verb_and_options_that_exist(name):
    verbs = group.list_commands(None)
    for words in commands(name):
        verb = words[0].strip(".,:") if words else ""
        if not re.fullmatch(r"[a-z]+", verb):
            continue
        assert verb in verbs, f"{name}: cpuhp {verb}"
        known = set(option_names(group.get_command(None, verb)))
        for word in words[1:]:
            found = re.fullmatch(r"\[?(--[a-z][a-z-]*|-[a-zA-Z])(=.*)?[\].,]*", word)
            assert not found or found[1] in known, f"{name}: {verb} {found[1]}"


@pytest.mark.parametrize("name", NAMES)
def test_every_option_of_a_spec_that_a_command_sets_exists(name):
    known = options() | set(re.findall(r"option \w+ (\w+) =", text_of(name)))
    for words in commands(name):
        for flag, value in zip(words, words[1:], strict=False):
            option = value.partition("=")[0]
            if flag == "-D" and option.islower():
                assert option.replace("-", "_") in known, f"{name}: -D {option}"


def test_every_page_is_reached_from_the_readme():
    seen, open_ = set(), [ROOT / "README.md"]
    while open_:
        page = open_.pop().resolve()
        if page.suffix == ".md" and page not in seen:
            seen.add(page)
            name = str(page.relative_to(ROOT))
            open_ += [target for target, _ in targets(name) if target.exists()]
    assert {str(p.relative_to(ROOT)) for p in PAGES if p not in seen} == set()


def test_the_page_of_the_corrected_shutdown_counts_its_claims():
    kinds = [p.expectation for *_, p in load("shutdown-three-phase-fixed").claims()]
    held = [kind for kind in kinds if kind is not Expectation.SOMETIMES]
    few = (Expectation.DEADLOCK_FREE, Expectation.TERMINATES)
    text = " ".join(text_of("docs/three-phase-fixed.md").split())
    every = len([kind for kind in held if kind not in few])
    assert f"protocol's {len(held)} claims (without the `sometimes`)" in text
    assert f"{every} of them for every number of CPUs" in text


def test_every_verb_is_explained_by_a_page():
    shown = " ".join(text_of(name) for name in NAMES if name.startswith("docs/"))
    assert [v for v in group.list_commands(None) if f"cpuhp {v}" not in shown] == []


def test_every_error_code_of_the_source_is_on_a_page():
    code = re.compile(r"\bHP\d{3}\b")
    raised = set()
    for file in (ROOT / "cpuhp").rglob("*.py"):
        raised |= set(re.findall(r'"(HP\d{3})"', file.read_text(encoding="utf-8")))
    told = set()
    for name in NAMES:
        for low, high in re.findall(r"\b(HP\d{3})(?: to |-)(HP\d{3})\b", text_of(name)):
            told |= {f"HP{n:03}" for n in range(int(low[2:]), int(high[2:]) + 1)}
        told |= set(code.findall(text_of(name)))
    assert sorted(raised - told) == []


@pytest.mark.parametrize("name", scenarios())
def test_every_option_of_a_shipped_scenario_is_told(name):
    assert [option for option, _, _, doc in load(name).options() if not doc] == []
