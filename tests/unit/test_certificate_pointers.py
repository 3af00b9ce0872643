"""Certificates about CPUs that pointers name."""

import pytest

import cpuhp
from cpuhp.graph.claim import fold, thinned
from cpuhp.language.compile import claims, lower
from cpuhp.model.system import counts_its_mask_at_first

IRQS = """
scenario irqs;
instances irq : 2;
per irq cpu? line = boot;
percpu bool up = true;
process leaf(cpu) on aps {
    atomic { forall (i in irq : line[i] == cpu) line[i] = boot; up[cpu] = false; }
}
process route on boot {
    irq i = any(k in irq);
    atomic { line[i] = any(c in cpus : up[c]); }
}
check lines { always up[boot] => all(i in irq : line[i] != none => up[line[i]]); }
"""


def test_a_cpu_that_an_irq_points_to_is_looked_at(tmp_path):
    spec = tmp_path / "irqs.hp"
    spec.write_text(IRQS)
    (answer,) = cpuhp.load(str(spec)).check("lines")
    assert (answer.verdict, answer.cpus) == ("PROVED", "all")
    certificate = answer.save_certificate(tmp_path)
    outcomes = cpuhp.certify(certificate)
    assert outcomes
    assert all(outcome.is_accepted for outcome in outcomes)


def test_a_counter_that_counts_its_mask_at_first_starts_with_its_number(tmp_path):
    spec = tmp_path / "counted.hp"
    spec.write_text("""
scenario counted;
percpu bool in_use = true;
shared counter of in_use users = weight(cpus);
process leaf(cpu) on aps { atomic { in_use[cpu] = false; users = users - 1; } }
check counts { always users == weight(in_use); }
""")
    (answer,) = cpuhp.load(str(spec)).check("counts")
    assert (answer.verdict, answer.cpus) == ("PROVED", "all")
    certificate = answer.save_certificate(tmp_path)
    assert all(outcome.is_accepted for outcome in cpuhp.certify(certificate))


def test_a_counter_of_nobody_starts_with_its_number(tmp_path):
    spec = tmp_path / "counted.hp"
    spec.write_text("""
scenario counted;
shared cpumask in_use;
shared counter of in_use users;
process leaf(cpu) { atomic { in_use[cpu] = true; users = users + 1; } }
check counts { always users == weight(in_use); sometimes users > 1; }
""")
    answer, _ = cpuhp.load(str(spec)).check("counts")
    assert (answer.verdict, answer.cpus) == ("PROVED", "all")
    certificate = answer.save_certificate(tmp_path)
    assert all(outcome.is_accepted for outcome in cpuhp.certify(certificate))


@pytest.mark.parametrize(
    "mask, users", [("", " = 1"), (" = any", ""), (" = {boot}", "")]
)
def test_a_number_that_is_not_that_of_its_mask_is_not_taken_for_it(mask, users):
    spec = f"""
scenario counted;
shared cpumask in_use{mask};
shared counter of in_use users{users};
process leaf(cpu) {{ atomic {{ in_use[cpu] = true; users = users + 1; }} }}
check counts {{ always users == weight(in_use); }}
"""
    whole = lower(cpuhp.loads(spec).program)
    (prop,) = claims(whole, whole.program.checks["counts"])
    system, _ = thinned(fold(whole), (prop, 0)).system()
    assert not counts_its_mask_at_first(system, system.variable("users"))
    (answer,) = cpuhp.loads(spec).check("counts")
    assert answer.verdict == "VIOLATED"


def test_a_counter_that_starts_otherwise_is_not_taken_for_exact(tmp_path):
    spec = tmp_path / "counted.hp"
    spec.write_text("""
scenario counted;
percpu bool in_use = cpu == boot;
shared counter of in_use users = weight(cpus);
process leaf(cpu) on aps { in_use[cpu] = true; }
check counts { always users == weight(in_use); }
""")
    (answer,) = cpuhp.load(str(spec)).check("counts")
    assert answer.verdict == "VIOLATED"
