"""The transitions of an enum, wherever the control CPU is, and where they end."""

from cpuhp.api import loads
from cpuhp.engines.transitions import state_machine

TEXT = """scenario turns; enum Phase { IDLE, LOWEST, HIGHER }; shared Phase phase;
shared bool noise;
process look {
    atomic { cpu? c = first(d in cpus); if (c == boot) phase = LOWEST; else phase = HIGHER; }
}
environment noisy { for (;;) { noise = !noise; NOISE } }
"""


def test_a_transition_that_needs_another_control_cpu_is_drawn():
    machine = state_machine(loads(TEXT.replace("NOISE", "")).checker.whole, "phase")
    arrows = {(arrow.source, arrow.target) for arrow in machine.arrows}
    assert arrows == {("IDLE", "LOWEST"), ("IDLE", "HIGHER")}
    assert machine.initial == ("IDLE",)
    assert machine.basis == "every transition that a search with up to 3 CPUs takes"


def test_an_environment_that_moves_for_ever_does_not_hide_where_it_ends():
    text = TEXT.replace("NOISE", "atomic { if (noise && phase == IDLE) phase = IDLE; }")
    machine = state_machine(loads(text).checker.whole, "phase")
    assert machine.ends == ("LOWEST", "HIGHER")
