"""Which cells a step accesses, in the smallest programs that showed it."""

import pytest

from cpuhp.api import Settings, loads

HEAD = "scenario s; percpu int 0..2 num; percpu bool hit; shared atomic bool x;"
FREE = {  # nobody meets
    "a forall assigns only the elements of its set": """
        process p { forall (c in hit) num[c] = 1; }
        process q { num[boot] = 2; }""",
    "a forall over nobody reads no value": """
        shared int 0..1 a;
        process p { forall (c in hit) num[c] = a; }
        process q { a = 1; }""",
    "a forall over nobody assigns nothing": """
        process p { forall (c in nobody) num[c] = 1; }
        process q { num[boot] = 2; }""",
    "two in one step assign the elements of their sets": """
        process p { atomic { forall (c in hit) num[c] = 1; forall (c in hit) num[c] = 2; } }
        process q { num[boot] = 2; }""",
    "what comes to nothing is not read": """
        shared int 0..1 a; shared int 0..1 b;
        process p { atomic { a = b; a = 0; } x = b == b || b == 1 && false; }
        process q { b = 1; }""",
}
RACY = {
    "a forall assigns what is in its set": """
        process p { forall (c in aps) num[c] = 1; }
        process q(cpu) on aps { num[cpu] = 2; }""",
    "the first of two in one step assigns what is in its set": """
        process p { atomic { forall (c in aps) num[c] = 1; forall (c in hit) num[c] = 2; } }
        process q(cpu) on aps { num[cpu] = 2; }""",
    "an argument is read, whatever is done with it": """
        shared int 0..1 a;
        void f(int 0..1 given) { x = given == 1; }
        process p { f(a); }
        process q { a = 1; }""",
    "what is read and then forgotten is read": """
        shared int 0..1 a;
        process p { int 0..1 own = a; own = 0; }
        process q { a = 1; }""",
    "a forall looks at its set": """
        process p { forall (c in hit) num[c] = 1; }
        process q { hit[boot] = true; }""",
    "a value that is stored may be the old one": """
        process p { forall (c in cpus) num[c] = c == boot ? 1 : num[c]; }
        process q(cpu) on aps { num[cpu] = 2; }""",
    "however deep it stands": """
        process p { forall (c in cpus) num[c] = c == boot ? 1 : hit[c] ? 2 : num[c]; }
        process q(cpu) on aps { num[cpu] = 2; }""",
    "on both sides": """
        process p {
            forall (c in cpus) num[c] = c == boot ? hit[c] ? 2 : num[c] : num[c];
        }
        process q(cpu) on aps { num[cpu] = 2; }""",
    "who assigns what is there already writes": """
        process p { atomic { num[boot] = 1; num[boot] = 0; } }
        process q { x = num[boot] == 0; }""",
}


@pytest.mark.parametrize("name", [*FREE, *RACY])
@pytest.mark.parametrize("cpus", [2, 3])
def test_races_are_about_what_is_accessed(name, cpus):
    text = FREE.get(name) or RACY[name]
    loaded = loads(f"{HEAD} {text} check here {{ race_free; }}")
    answer = loaded.answer("here", 0, Settings(cpus=cpus))
    assert answer.verdict == ("PROVED" if name in FREE else "VIOLATED")
