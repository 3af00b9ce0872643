"""Numbers of different ranges in one term, and what a variable can hold of them."""

import pytest

from cpuhp.api import Settings, load
from cpuhp.diagnostics import InputError
from cpuhp.model.expr import Const, Op, Read, arithmetic, held, ite
from cpuhp.model.sorts import CPU, CounterSort, RangeSort

DATA = """
shared int 0..9 m = any; shared int 0..3 n = any; shared bool x = any;
shared int 0..3 k; shared bool bad;
"""
TOLD = {
    # Of a choice between two numbers the sum knows both ranges.
    "never (x ? n : m) + 1 == 10;": "VIOLATED",
    "never (x ? m : n) + 1 == 10;": "VIOLATED",
    "never (x ? n : m) == 9;": "VIOLATED",
    "never (x ? n : m) - m == 3;": "VIOLATED",
    "never (x ? n : m) + 1 > 10;": "PROVED",
    "never (x ? n : m) < 0;": "PROVED",
    "never (x ? 1 : 5) == 5;": "VIOLATED",
    "never (x ? 1 : 5) == 3;": "PROVED",
    "never (x ? weight(online) : 1) + n == 4;": "VIOLATED",
}
DONE = {
    # What is assigned is held within the range, and so it is read by the next step,
    # whether that is a step of its own or not.
    "k = m; if (k == 3 && m > 3) bad = true;": "VIOLATED",
    "k = m; if (k > 3) bad = true;": "PROVED",
    "k = m; if (m < k) bad = true;": "PROVED",
    "k = x ? n : m; if (k > 3) bad = true;": "PROVED",
    "k = x ? n : m; if (k == 3 && !x && m == 9) bad = true;": "VIOLATED",
    "k = m + n; if (k < n) bad = true;": "PROVED",
    "k = m + n; if (k == 3 && m == 9) bad = true;": "VIOLATED",
    "k = n - m; if (k == 0 && m == 9) bad = true;": "VIOLATED",
    "int 0..3 own = m; if (own == 3 && m == 9) bad = true;": "VIOLATED",
    "int 0..3 own = m; if (own > 3) bad = true;": "PROVED",
    "int 0..3 own = held(m); if (own == 3 && m == 9) bad = true;": "VIOLATED",
    "int 0..9 own = few(m); if (own == 3 && m == 9) bad = true;": "VIOLATED",
    "int 0..9 own = few(m); if (own > 3) bad = true;": "PROVED",
    "int 0..9 own = same(m); if (own == 3 && m == 9) bad = true;": "VIOLATED",
    "forall (c in cpus) here[c] = m; if (here[boot] == 3 && m == 9) bad = true;": (
        "VIOLATED"
    ),
    "forall (c in cpus) here[c] = m; if (here[boot] > 3) bad = true;": "PROVED",
    # So is the value of an option, and a parameter that stands for one.
    "k = top; if (k == 3) bad = true;": "VIOLATED",
    "int 0..9 own = few(top); if (own == 3) bad = true;": "VIOLATED",
    "int 0..9 own = few(top); if (own > 3) bad = true;": "PROVED",
    "k = weight(cpus); if (k == 3 && weight(cpus) > 3) bad = true;": "VIOLATED",
    "k = weight(cpus); if (k > 3) bad = true;": "PROVED",
}
FUNCTIONS = """
option int 0..9 top = 7;
percpu int 0..3 here;
cpumask online;
int 0..9 held(int 0..9 a) { return a; }
int 0..3 few(int 0..9 a) { return a; }
int 0..9 same(int 0..3 a) { return a; }
"""


@pytest.fixture
def verdict(tmp_path):
    def of(body, claim, cpus):
        path = tmp_path / "spec.hp"
        text = f"scenario spec;\n{DATA}{FUNCTIONS}{body}\ncheck t {{ {claim} }}\n"
        path.write_text(text)
        loaded = load(str(path))
        (asked,) = loaded.claims("t")
        return loaded.answer(*asked[:2], Settings(cpus=cpus)).verdict

    return of


@pytest.mark.parametrize("cpus", [None, 2])
@pytest.mark.parametrize("claim", TOLD)
def test_a_sum_has_the_ranges_of_all_its_parts(claim, cpus, verdict):
    assert verdict("process p { online = cpus; }", claim, cpus) == TOLD[claim]


@pytest.mark.parametrize("cpus", [None, 5])
@pytest.mark.parametrize("form", ["atomic {{ {} }}", "{}"])
@pytest.mark.parametrize("body", DONE)
def test_what_is_assigned_is_held(body, form, cpus, verdict):
    process = f"process p {{ {form.format(body)} }}"
    assert verdict(process, "never bad;", cpus) == DONE[body]


N, M = Read("n", (), RangeSort(0, 3)), Read("m", (), RangeSort(-2, 9))
WHO, X = Read("who", (), CPU), Read("x", (), CPU)
ALL = Read("all", (), CounterSort("online"))


def test_what_fits_stays_as_it_is():
    for value in (N, arithmetic(Op.ADD, N, N, N.sort), Const(3, RangeSort(3, 3))):
        assert held(value, N.sort) is value
    assert held(M, ALL.sort) is M
    assert held(WHO, CPU) is WHO


def test_what_does_not_fit_has_the_sort_of_the_variable():
    wide = arithmetic(Op.SUB, N, M, RangeSort(-9, 5))
    narrow = arithmetic(Op.SUB, N, M, RangeSort(-3, 5))  # stopped at -3 already
    for value in (M, ALL, wide, narrow, ite(Read("x", (), N.sort), N, M)):
        assert held(value, N.sort).sort == N.sort
    assert held(wide, N.sort) == arithmetic(Op.SUB, N, M, N.sort)
    assert held(narrow, N.sort).args[0] is narrow
    assert held(Const(7, RangeSort(7, 7)), N.sort) == Const(3, N.sort)


def test_a_choice_between_a_number_and_something_else_is_refused(verdict):
    for claim in ("never (x ? 1 : boot) == 1;", "never (x ? n : x) == 1;"):
        with pytest.raises(InputError) as error:
            verdict("", claim, 2)
        assert error.value.diagnostics[0].code == "HP302"
