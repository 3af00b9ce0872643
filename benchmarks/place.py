"""How many searches `cpuhp place` needs, beside one for each claim and slot.

python benchmarks/place.py TABLE.states [CPUHP_STATE|STEP.hp] [SCENARIO...]

All scenarios of the table's architecture take part unless some are named. Seconds are
those of one core; the separate checks are timed in the slot where the step is now, every
claim by itself, and counted for all slots.
"""

import sys
import time
from pathlib import Path

from cpuhp.api import load
from cpuhp.kernel.tables.order import read_order
from cpuhp.language.library import read_unit
from cpuhp.ordering.place import place
from cpuhp.ordering.questions import ENDLESS, Bound, questions
from cpuhp.ordering.steps import shipped_step, step_in
from cpuhp.ordering.variant import own_options, variant_of
from cpuhp.ordering.workers import Judges

ARM64 = (
    "bringup-serial",
    "shutdown-serial",
    "shutdown-three-phase",
    "shutdown-three-phase-fixed",
)


def main(order, step="CPUHP_AP_HRTIMERS_DYING", *names):
    table = read_order(Path(order))
    wanted = (
        step_in(read_unit(Path(step)))
        if step.endswith(".hp")
        else shipped_step(step, table)
    )
    bases = [
        own_options(variant_of(load(name, table=table).program, {}), table, {})
        for name in names or ARM64
    ]
    for cpus in (2, 3):
        began = time.process_time()
        found = place(wanted, bases, Judges(Bound(cpus, timeout=600)))
        together = time.process_time() - began
        began = time.process_time()
        for base in bases:
            judges = Judges(Bound(cpus, timeout=600))
            judges.findings(
                [(base, q) for q in questions(base.checker()) if q.kind not in ENDLESS]
            )
        slots = sum(len(one.slots) for one in found.ranges)
        each = (time.process_time() - began) * slots
        ratio = found.naive / max(1, found.systems)
        print(
            f"{wanted.state}, {slots} slots, {cpus} CPUs: {found.systems} searches "
            f"instead of {found.naive} ({ratio:.0f} x fewer); {together:.1f} s instead "
            f"of {each:.0f} s ({each / together:.0f} x less)",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
