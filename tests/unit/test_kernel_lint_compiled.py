"""What `#if 0` leaves out is no code, whatever the configuration."""

import pytest
from kernel_trees import tree
from test_kernel_lint import found, source

from cpuhp.kernel.hazards.lint import lint
from cpuhp.kernel.source.text import CText

USERS = "static int users;\n"
COUNT = "\tusers--;\n"


def rules(folder, body, before=USERS):
    return [f.rule for f in found(folder, f"{body}\treturn 0;", before)]


@pytest.mark.parametrize(
    "text, kept",
    [
        ("#if 0\n{}#endif\n", False),
        ("#if 0\n\tf();\n#else\n{}#endif\n", True),
        ("#if 0\n{}#else\n\tf();\n#endif\n", False),
        ("#if 0\n#ifdef A\n#else\n{}#endif\n#endif\n", False),
        ("#if 0\n#ifdef A\n#endif\n#endif\n{}", True),
        ("#ifdef A\n#if 0\n{}#endif\n#endif\n", False),
        ("#if 0\n#elif defined(A)\n{}#endif\n", True),
        ("#if 1\n{}#else\n\tf();\n#endif\n", True),
        ("#if 1\n\tf();\n#else\n{}#endif\n", False),
        ("#if 1\n#elif defined(A)\n{}#endif\n", False),
        ("#ifdef A\n#elif 0\n{}#else\n#endif\n", False),
        ("#ifdef A\n#elif 0\n#else\n{}#endif\n", True),
        ("#ifdef A\n#elif 1\n#else\n{}#endif\n", False),
        ("# if (0) /* old */\n{}# endif\n", False),
        ("#if 0 || A\n{}#endif\n", True),
        ("#if 0 && A\n{}#endif\n", False),
        ("#if defined(A) && 0 /* not yet */\n{}#endif\n", False),
        ("#if (A || B) && \\\n  (0)\n{}#endif\n", False),
        ("#if 0 && A || B\n{}#endif\n", True),
        ("#if 0 && (A || B)\n{}#else\n\tf();\n#endif\n", False),
        ("#if (0 && A) || !1\n{}#endif\n", False),
        ("#if 1 || A\n{}#endif\n", True),
        ("#if 1 || A\n\tf();\n#else\n{}#endif\n", False),
        ("#if 1 && A\n\tf();\n#else\n{}#endif\n", True),
        ("#if !0\n\tf();\n#else\n{}#endif\n", False),
        ("#if 0 == A\n{}#endif\n", True),
        ("#if A && 0 == B\n{}#endif\n", True),
        ("#if 0 && A ? B : C\n{}#endif\n", True),
        ("#if A(0) || B\n{}#endif\n", True),
        ("#if 0 && (A\n{}#endif\n", False),
        ("#if 10 && A\n{}#endif\n", True),
        ("#ifdef A0\n{}#endif\n", True),
        ('\tf("\\\n#if 0\\\n");\n{}', True),
        ("#endif\n#if 0\n#endif\n{}", True),
    ],
)
def test_what_is_never_compiled_is_left_out(tmp_path, text, kept):
    assert rules(tmp_path, text.format(COUNT)) == ["plain-rmw"] * kept


def test_a_function_that_is_never_compiled_is_not_followed(tmp_path):
    helper = f"static void leave(void)\n{{\n{COUNT}}}\n"
    assert rules(tmp_path / "a", "\tleave();\n", USERS + helper)
    before = f"{USERS}#if 0\n{helper}#endif\n"
    assert not rules(tmp_path / "b", "\tleave();\n", before)


def test_a_callback_or_a_call_that_is_never_compiled_is_left_out(tmp_path):
    text = source(f"{COUNT}\treturn 0;", USERS)
    head, init = text.split("static int init")
    whole = f"#if 0\n{text}\n#endif\n"
    assert not lint(tree(tmp_path / "a", drivers__foo_c=whole)).findings
    register = f"{head}#if 0\nstatic int init{init}#endif\n"
    assert not lint(tree(tmp_path / "b", drivers__foo_c=register)).findings
    assert lint(tree(tmp_path / "c", drivers__foo_c=text)).findings


def test_lines_stay_where_they_are(tmp_path):
    body = f"#if 0\n/* one\n * two */\n#endif\n{COUNT}"
    (finding,) = found(tmp_path, f"{body}\treturn 0;", USERS)
    text = source(f"{body}\treturn 0;", USERS)
    assert text.splitlines()[finding.line - 1] == COUNT.rstrip("\n")


def test_the_text_keeps_its_length_and_what_is_compiled():
    text = "a\n#if 0\nb /* c\n#endif */\n#else\nd\n#endif\ne\n"
    left = CText(text).compiled.text
    assert len(left) == len(text) and left.split() == "a #if 0 #else d #endif e".split()
    plain = CText("#ifdef A\nb\n#endif\n")
    assert plain.compiled is plain
