"""The pages under docs/ are executed: every block of the language gets its verdicts."""

import doctest
import re
from functools import cache
from pathlib import Path

import pytest

from cpuhp.api import Scenario, Settings
from cpuhp.diagnostics import Source
from cpuhp.kernel.tables.order import shipped_order
from cpuhp.language import tree as t
from cpuhp.language.library import shipped
from cpuhp.language.link import link
from cpuhp.language.parser import parse

PAGE = Path(__file__).parents[1] / "docs/language.md"
BLOCK = re.compile(r"^```hp\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@cache
def units():
    text = PAGE.read_text(encoding="utf-8")
    found = {}
    for match in BLOCK.finditer(text):
        # Blank lines keep the line numbers of the page.
        above = "\n" * text.count("\n", 0, match.start(1))
        unit = parse(Source("docs/language.md", above + match.group(1)))
        found[unit.name] = unit
    return found


def variants():
    """Each scenario with its defaults, and with each option turned over."""
    for name, unit in units().items():
        if unit.kind != "scenario":
            continue
        yield name, {}
        for item in unit.items:
            if isinstance(item, t.OptionDeclaration):
                other = {"true": "false", "false": "true", "EVERYBODY": "LAST"}
                value = other.get(getattr(item.value, "name", ""))
                if value:
                    yield name, {item.name: value}


@pytest.mark.parametrize(("name", "options"), list(variants()), ids=str)
def test_an_example_of_the_page_has_the_verdicts_that_it_expects(name, options):
    unit = units()[name]
    library = shipped().with_units(units().values())
    program = link(unit, library, shipped_order("arm64-6.12"), options)
    scenario = Scenario(program, options)
    own = {item.name for item in unit.items if isinstance(item, t.CheckDeclaration)}
    seen = {}
    for check, number, claim in scenario.claims():
        if check not in own:
            continue
        answer = scenario.answer(check, number, Settings(timeout=20))
        wanted = scenario.expected(claim)
        seen[claim.text] = answer.verdict, answer.reason
        if wanted == "VIOLATED":  # some claim of the check, not each
            wanted = answer.verdict if answer.verdict in ("PROVED", wanted) else wanted
        assert answer.verdict == wanted, (claim.text, answer.reason)
    for check in own:
        claims = [c for c in scenario.claims(check)]
        wanted = {scenario.expected(c) for _, _, c in claims}
        if "VIOLATED" in wanted:
            assert "VIOLATED" in {seen[c.text][0] for _, _, c in claims}, seen


def test_the_page_names_every_primitive_and_every_type():
    from cpuhp.language.primitives import PRIMITIVES, VALUE_PRIMITIVES
    from cpuhp.language.program import LOCKS
    from cpuhp.language.reader_locks import READER_PRIMITIVES

    text = PAGE.read_text(encoding="utf-8")
    words = set(re.findall(r"\w+", text)) | {"spin_lock_irq"}
    stems = {w.removeprefix("raw_").replace("_irqsave", "").replace("_irqrestore", "")
             .removesuffix("_irq") for w in (*PRIMITIVES, *VALUE_PRIMITIVES)}  # fmt: skip
    assert not (stems | set(READER_PRIMITIVES) | LOCKS) - words


def test_the_examples_of_the_python_interface_do_what_the_page_says():
    page = PAGE.with_name("api.md")
    flags = doctest.IGNORE_EXCEPTION_DETAIL | doctest.REPORT_NDIFF
    found = doctest.testfile(str(page), module_relative=False, optionflags=flags)
    assert found.attempted > 15 and not found.failed
