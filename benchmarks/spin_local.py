"""W1 in Promela as one would write it for SPIN by hand: a process for each CPU.

Our export has one process that takes all steps. Here callbacks are local to a process, so
that SPIN's partial-order reduction need not interleave them: its best case.
"""

HEAD = """\
#define CPUS {cpus}
#define NOBODY 255
byte mutex = NOBODY, context, phase, parked, gone;
bool past[CPUS], offline[CPUS], dead[CPUS];

proctype ap(byte me) {{
  byte step;
"""
TAIL = """\
  d_step {{ phase == 2 -> offline[me] = true }};
  d_step {{ dead[me] = true; gone++; assert(context != me) }}
}}

init {{
  atomic {{
    select(context : 0 .. CPUS - 1);
    {runs}
  }};
  parked == CPUS - 1 -> phase = 1;
  phase = 2;
  gone == CPUS - 1 -> phase = 3
}}
"""


def model(kind: str, callbacks: int, cpus: int) -> str:
    """`builders.parallel_shutdown(callbacks)` with so many CPUs; `kind` w1 or w1-stale."""
    first = callbacks // 2
    lines = [HEAD.format(cpus=cpus)]
    lines += [f"  step = {n + 1};\n" for n in range(first)]
    lines.append("  d_step { mutex == NOBODY -> mutex = me; past[me] = true };\n")
    lines.append("  if\n  :: d_step { context != me -> mutex = NOBODY }\n")
    for cpu in range(cpus):
        fit = f"!offline[{cpu}]" if kind == "w1-stale" else f"!past[{cpu}]"
        fit = "true" if cpu == 0 else fit
        lines.append(
            f"  :: d_step {{ context == me && me != {cpu} && {fit} -> "
            f"context = {cpu}; assert(!dead[{cpu}]); mutex = NOBODY }}\n"
        )
    lines.append("  fi;\n")
    lines += [f"  step = {n + 1};\n" for n in range(first, callbacks - 1)]
    lines.append("  d_step { parked++ };\n")
    runs = "; ".join(f"run ap({n})" for n in range(1, cpus))
    return "".join(lines) + TAIL.format(runs=runs)
