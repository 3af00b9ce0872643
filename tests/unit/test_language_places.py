"""Joining and leaving out steps keeps what a claim sees of where a process is."""

import pytest

from cpuhp.api import Settings, load

SPECS = {
    # What follows `x = true` matters to nobody, but there `p` is neither here nor there.
    "a step into a place that is looked at is no local step": """
        shared bool x; shared bool y; shared bool z;
        process p { x = true; y = true; lab: z = true; }
        check t {
            never x && !at(p, lab) && !z;
            never x && !at(p, end);
            always x => at(p, lab) || at(p, end);
            sometimes x && !at(p, lab) && !at(p, end);
            never x && (at(p, end) == z);
            x leads to at(p, end);
            x && !at(p, lab) && !z leads to !x;
        }""",
    "who begins does so at a place of its own": """
        shared bool x; shared bool y;
        process p { y = true; lab: x = true; }
        check t {
            never !at(p, lab) && !x;
            always at(p, lab) || x;
            sometimes !at(p, lab) && !x;
        }""",
    "who begins in a loop within a loop comes back to both": """
        shared int 0..3 n; shared bool a;
        process p { for (;;) { for (;;) { atomic { wait (!a); n++; a = true; } break; } } }
        process q { for (;;) { atomic { wait (a); a = false; } } }
        check t { sometimes n == 1; sometimes n == 2; never n == 2; deadlock_free; }""",
    "a label on an endless loop names the point before it": """
        shared bool x;
        process p { lab: for (;;) { x = true; } }
        check t { sometimes at(p, lab); sometimes at(p, lab) && x; }""",
    "an interrupt that never returns need not have come": """
        shared bool a; shared bool b = any; shared bool c;
        interrupt handler(cpu) { for (;;) { wait (b); c = true; } }
        process p { a = true; }
        check t {
            never a && !c;
            sometimes a && !c;
            never c && !a;
        }""",
    "where an environment stops counts": """
        shared bool x; shared bool y;
        environment e { x = true; y = true; lab: y = false; }
        check t { finally x => at(e, lab) || at(e, end); }""",
}
EXPECTED = {
    "a step into a place that is looked at is no local step":
        "VIOLATED VIOLATED VIOLATED WITNESSED VIOLATED PROVED VIOLATED",
    "who begins does so at a place of its own": "VIOLATED VIOLATED WITNESSED",
    "who begins in a loop within a loop comes back to both":
        "WITNESSED WITNESSED VIOLATED PROVED",
    "a label on an endless loop names the point before it": "WITNESSED UNREACHABLE",
    "an interrupt that never returns need not have come": "VIOLATED WITNESSED VIOLATED",
    "where an environment stops counts": "VIOLATED",
}  # fmt: skip


@pytest.mark.parametrize("about", SPECS)
def test_verdicts(about, tmp_path):
    path = tmp_path / "spec.hp"
    path.write_text(f"scenario spec;\n{SPECS[about]}")
    loaded = load(str(path))
    settings = Settings(cpus=2)
    found = [
        loaded.answer(name, number, settings).verdict
        for name, number, _ in loaded.claims("t")
    ]
    assert found == EXPECTED[about].split()
