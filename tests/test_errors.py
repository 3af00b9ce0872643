"""Errors are interface: code, place and help of every diagnostic of the language."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpuhp.api import load, loads
from cpuhp.diagnostics import InputError, Source
from cpuhp.kernel.tables.order import shipped_order
from cpuhp.language import tree as t
from cpuhp.language.build import build
from cpuhp.language.compile import claims, lower
from cpuhp.language.library import Library, checks_of, read_unit, shipped
from cpuhp.language.link import link
from cpuhp.language.parser import parse

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "tests/errors").glob("HP*.hp"))
HEADER = re.compile(r"// error: (HP\d+) (?:(\d+):(\d+) )?(.*)\n(?:// help: (.*)\n)?")
OPTION = re.compile(r"^// option: (\w+)=(.*)$", re.MULTILINE)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_error_has_its_code_its_place_and_its_help(path):
    text = path.read_text()
    code, line, column, message, mend = HEADER.match(text).groups()
    assert path.stem.startswith(f"{code}-")
    with pytest.raises(InputError) as error:
        translate(parse(Source(path.name, text)), dict(OPTION.findall(text)))
    (found,) = error.value.diagnostics
    assert (found.code, found.message, found.help) == (code, message, mend)
    if line:
        assert (found.span.line, found.span.column) == (int(line), int(column))
    else:
        assert found.span is None
    shown = found.render()
    assert f"error[{code}]: {message}" in shown
    assert "^" in shown or not line


def test_every_error_of_the_language_is_tried_and_documented():
    page = (ROOT / "docs/errors.md").read_text()
    tried = {path.stem[:5] for path in FILES}
    elsewhere = {"HP101", "HP102", "HP203", "HP208"}  # need more than a text
    raised = set()
    for source in (ROOT / "cpuhp/language").glob("*.py"):
        raised |= set(re.findall(r'"(HP[123]\d\d)"', source.read_text()))
    assert raised - tried == elsewhere
    assert raised <= set(re.findall(r"HP\d+", page))


def translate(unit, options=None, library=None):
    """All that happens to a spec before an engine sees it."""
    library = library or shipped().with_units([unit])
    program = link(unit, library, shipped_order("arm64-6.12"), options or {})
    lowered = lower(program)
    for item in unit.items:
        if isinstance(item, t.CheckDeclaration):
            for claim in claims(lowered, item):
                build(lowered, claim)
    build(lowered, None, reduced=False)


# -- what is no text, too much text, or no file ------------------------------------


def error_of(tmp_path, data):
    path = tmp_path / "wrong.hp"
    path.write_bytes(data)
    with pytest.raises(InputError) as error:
        load(str(path))
    assert "Traceback" not in str(error.value)
    return error.value.diagnostics[0]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "HP502"),
        (b"// only a comment", "HP502"),
        (b"\0\0\0", "HP103"),
        (b"scenario a;\0", "HP103"),
        (b"scenario a\xff;", "HP203"),
        (b"\xef\xbb\xbfscenario a;", "HP103"),
        (b"scenario a; /* never closed", "HP103"),
        (b"\n" * 10_000_000, "HP101"),
        (b"scenario a;\n" + b"shared bool x;\n" * 700_000, "HP101"),
        (b"\xc3\xa9" * 5_000_000, "HP101"),
        (b"scenario a; process p { wait (" + b"(" * 100_000 + b"x", "HP104"),
        (b"scenario a; process p " + b"{" * 5000 + b"}" * 5000, "HP102"),
        (b"scenario a; check c { always " + b"!" * 9000 + b"true; }", "HP102"),
        (
            b"scenario a; check c { always x" + b"[x" * 999 + b"]" * 999 + b"; }",
            "HP102",
        ),
        (b"scenario a; instances i : " + b"9" * 9999 + b";", "HP107"),
        (b"component a;", "HP502"),
    ],
    ids=range(16),
)
def test_malformed_input_gets_one_clear_error_wrong(tmp_path, data, code):
    assert error_of(tmp_path, data).code == code


def test_how_much_was_not_read_is_not_told(tmp_path):
    """Of a huge file only the beginning is read."""
    found = error_of(tmp_path, b"scenario a;\n" * 1_000_000)
    assert found.message == "the file has more than 1,048,576 characters"


def test_a_long_row_of_conjuncts_is_not_deep(tmp_path):
    path = tmp_path / "long.hp"
    row = " && ".join(["x"] * 3_000)
    path.write_text(f"scenario a; shared bool x; check c {{ never {row}; }}")
    assert load(str(path)).claims("c")


def test_a_file_that_is_not_there_is_named_wrong():
    with pytest.raises(InputError, match=r"HP203\]: cannot read 'gone.hp'"):
        load("gone.hp")


def test_a_table_without_a_free_slot_registers_nothing_wrong():
    names = "".join(f'register "driver{n}";\n' for n in range(60))
    with pytest.raises(InputError) as error:
        translate(parse(Source("many.hp", f"scenario many;\n{names}")))
    found = error.value.diagnostics[0]
    assert (found.code, found.span.column) == ("HP208", 1)


# -- anything else -----------------------------------------------------------------

WORDS = re.compile(
    r'"[^"\n]*"|//[^\n]*|\w+|\s+|[=!<>]=|&&|\|\||=>|\+\+|--|\.\.|.', re.DOTALL
)
SPECS = [
    unit.span.source.text
    for unit in shipped().units.values()
    if unit.kind == "scenario" and "golden" in unit.span.source.name
]
SPECS += re.findall(
    r"^```hp\n(.*?scenario.*?)^```$",
    (ROOT / "docs/language.md").read_text(),
    re.MULTILINE | re.DOTALL,
)
POOL = sorted({w for text in SPECS for w in WORDS.findall(text) if w.strip()})


@st.composite
def mutated(draw):
    """A shipped spec in which some words were replaced, dropped, doubled or swapped."""
    words = WORDS.findall(draw(st.sampled_from(SPECS)))
    solid = [n for n, w in enumerate(words) if w.strip() and not w.startswith("//")]
    for _ in range(draw(st.integers(1, 3))):
        at, other = draw(st.sampled_from(solid)), draw(st.sampled_from(solid))
        kind = draw(st.sampled_from(["replace", "like", "drop", "double", "swap"]))
        if kind == "replace":
            words[at] = draw(st.sampled_from(POOL))
        elif kind == "like":
            words[at] = words[other] if is_word(words[other]) else words[at]
        elif kind == "drop":
            words[at] = ""
        elif kind == "double":
            words[at] = f"{words[at]} {words[at]}"
        else:
            words[at], words[other] = words[other], words[at]
    return "".join(words)


def is_word(text):
    return text[:1].isalpha()


@settings(max_examples=300, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
@given(mutated())
def test_a_mutated_spec_is_translated_or_refused(text):
    try:
        unit = parse(Source("mutant.hp", text))
        units = {**shipped().units, unit.name: unit}
        own = {check.name: check for check in checks_of(unit)}
        checks = {**shipped().checks, **own}
        translate(unit, library=Library(units, checks, shipped().catalogue))
    except InputError as error:
        assert error.render()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text):
    try:
        parse(Source("any.hp", text))
    except InputError as error:
        assert error.render()


def test_units_are_read_from_any_path(tmp_path):
    path = tmp_path / "a b.hp"
    path.write_text("component doc_here;")
    assert read_unit(path).name == "doc_here"


def test_no_habit_of_c_hides_what_the_language_has():
    from cpuhp.language.idioms import WORDS
    from cpuhp.language.primitives import PRIMITIVES, VALUE_PRIMITIVES
    from cpuhp.language.reader_locks import READER_PRIMITIVES

    assert not {*PRIMITIVES, *VALUE_PRIMITIVES, *READER_PRIMITIVES} & set(WORDS)


ASSUMING = """scenario s;
shared cpu? owner%s;
shared bool done;
assume owner != none;
process p { done = true; }
check t { never done; }
"""


@pytest.mark.parametrize("rest", ["", " = none", " = any"])
def test_a_machine_has_to_begin_somehow(rest):
    """If nothing could begin, each claim would be true of nothing."""
    spec = loads(ASSUMING % rest)
    if rest == " = any":
        assert len(spec.claims("t")) == 1
        return
    with pytest.raises(InputError) as error:
        spec.claims("t")
    (found,) = error.value.diagnostics
    assert (found.code, found.span.line) == ("HP507", 4)
    assert "up to 8 CPUs" in found.message and "any" in found.help


THREE = """scenario s;
percpu bool on = any;
shared bool done;
assume all(c in aps : on[c]);
assume weight(on) >= 3;
process p { done = true; }
check t { never done; sometimes done; }
"""


def test_what_is_told_is_told_of_machines_that_can_begin():
    """No claim is about `on`, so that no slice has the assumption."""
    violated, witnessed = loads(THREE).check("t")
    assert (violated.verdict, violated.cpus) == ("VIOLATED", 3)
    assert (witnessed.verdict, witnessed.cpus) == ("WITNESSED", 3)
    assert loads(THREE).check("t", cpus=3)[0].verdict == "VIOLATED"
    with pytest.raises(InputError, match="with 2 CPUs") as error:
        loads(THREE).check("t", cpus=2)
    (found,) = error.value.diagnostics
    assert (found.code, found.span.line) == ("HP507", 5)


def test_a_run_begins_as_is_assumed_of_what_nobody_uses():
    checker = loads(THREE).checker
    slice_of_it, whole = checker.slice("t", 0).system, checker.entire("t", 0)[0]
    assert not slice_of_it.assumptions and len(whole.assumptions) == 2


def test_what_more_cpus_can_fulfil_may_be_assumed():
    three = "exists(a in aps : exists(b in aps : a != b))"
    for count, fits in (("weight(on) == 8", True), ("weight(on) == 9", False)):
        text = f"""scenario s; percpu bool on = any; shared bool done;
            assume {count} && {three}; process p {{ done = true; }}
            check t {{ never done; }}"""
        if fits:
            assert loads(text).claims("t")
        else:
            with pytest.raises(InputError, match="HP507"):
                loads(text).claims("t")
