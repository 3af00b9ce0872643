"""How many searches `cpuhp place` needs, beside one for each claim and slot.

python benchmarks/place.py TABLE.states [CPUHP_STATE] [SCENARIO...]
"""

import sys
import time

from cpuhp.api import load
from cpuhp.kernel.tables.order import read_order
from cpuhp.ordering.place import place
from cpuhp.ordering.questions import Bound
from cpuhp.ordering.steps import shipped_step
from cpuhp.ordering.variant import own_options, variant_of
from cpuhp.ordering.workers import Judges


def main(order, state="CPUHP_AP_HRTIMERS_DYING", *names):
    table = read_order(order)
    bases = [
        own_options(variant_of(load(name, table=table).program, {}), table, {})
        for name in names or ("shutdown-serial",)
    ]
    for cpus in (2, 3):
        began = time.process_time()
        found = place(shipped_step(state, table), bases, Judges(Bound(cpus)))
        seconds = time.process_time() - began
        slots = sum(len(one.slots) for one in found.ranges)
        ratio = found.naive / max(1, found.systems)
        print(
            f"{state}, {slots} slots, {cpus} CPUs: {found.systems} searches instead of "
            f"{found.naive} ({ratio:.0f} x fewer), {seconds:.1f} s"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
