"""Cost files: what they mean, and one clear error for what means nothing."""

import math
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpuhp.diagnostics import InputError, Source
from cpuhp.timing.cost_file import (
    CLAIMS,
    find_costs,
    parse_costs,
    parse_cpus,
    read_costs,
    shipped_costs,
)
from cpuhp.timing.costs import Cost, CostTable, Cpus


def parsed(text, **given_):
    return parse_costs(Source("costs.toml", text), **given_)


def broken(text, **given_):
    with pytest.raises(InputError) as error:
        parsed(text, **given_)
    (found,) = error.value.diagnostics
    return found


def test_times_are_numbers_with_units_parameters_and_sums_of_those():
    found = parsed(
        '[parameters]\na = "2 ms"\nb = { value = "0.5 * a + 1 us", source = "x" }\n'
        '[costs]\nf = "b"\ng = "3 * a + b + 7 ns"\n"sched:active teardown" = "1.5e-3 s"\n'
    )
    assert found.costs["f"].seconds == pytest.approx(0.001001)
    assert found.costs["g"].seconds == pytest.approx(0.006 + 0.001001 + 7e-9)
    assert found.costs["sched:active teardown"].seconds == 0.0015


def test_a_given_parameter_changes_those_made_of_it():
    text = '[parameters]\na = "2 ms"\nb = "2 * a"\n[costs]\nf = "b"\n'
    assert parsed(text, given={"a": "5 ms"}).costs["f"].seconds == pytest.approx(0.01)
    assert broken(text, given={"c": "1 s"}).help == "its parameters: a, b"
    assert "is no time" in broken(text, given={"a": "5"}).message


@pytest.mark.parametrize(
    ("text", "code", "line", "message"),
    [
        ("[costs]\nf = 3\n", "HP923", 2, "'3' is no time"),
        ('[costs]\n\nf = "3 lightyears"\n', "HP923", 3, "'3 lightyears' is no time"),
        ('[costs]\nf = "-3 ms"\n', "HP923", 2, "'-3 ms' is no time"),
        ('[costs]\nf = { tiem = "3 ms" }\n', "HP922", 2, "'f' has no 'tiem'"),
        ('[costs]\nf = { p99 = "3 ms" }\n', "HP923", 2,
         "'f': a cost has a time, values, or low and high"),
        ('[costs]\nf = { time = "3 ms", p99 = "2 ms" }\n', "HP923", 2,
         "'f': p99 is not less than time, which is the median and more than 0"),
        ('[costs]\nf = { time = "3 ms", low = "2 ms" }\n', "HP923", 2,
         "'f': low and high belong together"),
        ('[costs]\nf = { low = "3 ms", high = "2 ms" }\n', "HP923", 2,
         "'f': low is not more than time, and high is not less"),
        ('[costs]\nf = { values = ["3 ms"], p99 = "4 ms" }\n', "HP923", 2,
         "'f': give one distribution: p99, or low and high, or values"),
        ('[costs]\nf = { time = "1 s", cpus = "some" }\n', "HP923", 2,
         "'some' is no set of CPUs"),
        ('[costs]\nf = { time = "1 s", cpus = "7-4" }\n', "HP923", 2,
         "'7-4' is no set of CPUs"),
        ('[constants]\nprimary = "first 3/2"\n', "HP923", 2,
         "'first 3/2' is no set of CPUs"),
        ('[cost]\nf = "3 ms"\n', "HP922", 1, "a cost file has no part 'cost'"),
        ('[machine]\ncpu = 3\n', "HP922", 2, "machine has no 'cpu'"),
        ("[machine]\ncpus = 0\n", "HP923", 2, "'0' is no number of CPUs"),
        ("[costs]\nf = \n", "HP921", 2, "this is no TOML: invalid value"),
        ("costs = 3\n", "HP922", 1, "'costs' is a part: [costs]"),
        ("[options]\nx = 1.5\n", "HP923", 2, "'1.5' is no value of an option"),
        ('[costs.f]\ntiem = "3 ms"\n', "HP922", 1, "'f' has no 'tiem'"),
        ('[costs]\nf = { values = 3 }\n', "HP923", 2,
         "'f': values are a list of times"),
        ('[costs]\nf = { time = "1 s", inclusive = "false" }\n', "HP923", 2,
         "'f': inclusive is true or false"),
        ('[costs]\nf = "1e999 s"\n', "HP923", 2, "'1e999 s' is no time"),
        ('[parameters]\nx = "1e200 s"\n[costs]\nf = "1e200 * x"\n', "HP923", 4,
         "'1e200 * x' is no time"),
    ],
)  # fmt: skip
def test_an_error_tells_its_line_and_what_is_wrong(text, code, line, message):
    found = broken(text)
    assert (found.code, found.message) == (code, message)
    assert found.span is not None and found.span.line == line
    assert "^" in found.render()


@given(st.text(max_size=200))
def test_any_text_is_a_cost_file_or_an_input_error(text):
    try:
        parsed(text)
    except InputError as error:
        assert error.diagnostics[0].code in {"HP921", "HP922", "HP923"}


@given(st.sampled_from(["[costs]\n", "[parameters]\n", "[constants]\n", "[machine]\n"]),
       st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8),
                    lambda inner: st.lists(inner, max_size=3), max_leaves=4))  # fmt: skip
def test_any_value_is_one_or_an_input_error(part, value):
    shown = (
        {None: '""', True: "true", False: "false"}.get(value)
        if not isinstance(value, list)
        else None
    )
    shown = shown or (repr(value).replace("None", '""').replace("True", "true")
                      .replace("False", "false").replace("'", '"'))  # fmt: skip
    try:
        parsed(f"{part}cpus = {shown}\n")
    except InputError as error:
        assert error.diagnostics[0].span is not None


def test_files_that_cannot_be_read_are_told(tmp_path):
    for make, told in (
        (lambda path: None, "cannot read"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "no UTF-8"),
        (lambda path: path.write_text("#" * (1 << 21)), "no cost file"),
        (lambda path: path.mkdir(), "cannot read"),
    ):
        path = tmp_path / told.replace(" ", "-") / "x.toml"
        path.parent.mkdir(exist_ok=True)
        make(path)
        with pytest.raises(InputError, match=f"HP920.*{told}"):
            read_costs(path)
    with pytest.raises(InputError, match="did you mean 'arm64-kexec-80'"):
        find_costs("arm64-kexec-8")
    with pytest.raises(InputError, match="no shipped costs are called 'claims'"):
        find_costs("claims")


@pytest.mark.parametrize("name", [n for n in shipped_costs() if n != CLAIMS])
def test_shipped_costs_are_read_and_say_where_they_come_from(name):
    found = find_costs(name)
    assert isinstance(found, CostTable) and found.name and found.source
    text = Path(shipped_costs()[name]).read_text()
    assert text.startswith("# ")
    for line in text.splitlines():
        if "value =" in line:
            assert "source =" in line


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("all", range(8)), ("none", []), ("first 1/2", [0, 1, 2, 3]),
        ("last 1/4", [6, 7]), ("every 2", [0, 2, 4, 6]), ("0-2,5", [0, 1, 2, 5]),
        ("first 1/3", [0, 1, 2]), ("7", [7]),
    ],
)  # fmt: skip
def test_sets_of_cpus(text, members):
    cpus = parse_cpus(text)
    assert [c for c in range(8) if cpus.has(c, 8)] == list(members)


@given(st.integers(1, 64), st.integers(1, 8))
def test_first_and_last_parts_cover_all_cpus_once(cpus, parts):
    first, last = parse_cpus(f"first 1/{parts}"), Cpus(low=1 / parts)
    assert all(first.has(c, cpus) != last.has(c, cpus) for c in range(cpus))


def test_draws_have_the_median_and_the_percentile_that_were_given():
    chance = random.Random(7)
    cost = Cost(0.010, p99=0.040)
    drawn = sorted(cost.of(1, 2, chance) for _ in range(4000))
    assert drawn[2000] == pytest.approx(0.010, rel=0.05)
    assert drawn[3960] == pytest.approx(0.040, rel=0.15)
    assert cost.of(1, 2) == 0.010
    assert math.isclose(Cost(1.0, cpus=Cpus(ids=(3,)), otherwise=0.5).of(1, 4), 0.5)
