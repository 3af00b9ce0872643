"""A small model of a finding, in the tool's own language, to be checked like any spec.

The model keeps what the rule is about and nothing else: all CPUs but the control CPU
run the teardown at once, as in a batch.
"""

from __future__ import annotations

import re

from cpuhp.kernel.lint_rules import Finding

_HAND_OFF = """\
/// {function}(): what a CPU hands over must end on a CPU that stays.
scenario {name} source "{file}";

/// {mask}
shared cpumask candidates = {start};
/// CPU that has what is handed over.
shared cpu? owner = any;
{lock}
process teardown_cpu(cpu) on aps {{
{before}    if (owner == cpu) {{
        cpu? target = any(c in candidates : c != cpu);
        if (target != none) owner = target;
    }}
{after}}}

check {name}_stays {{
    finally owner == none || owner == boot;
    sometimes owner == boot;
}}
"""
_LAST = """\
/// {function}(): of the CPUs that go down, one must find itself last, as in turn.
scenario {name} source "{file}";

/// Left by a CPU in its very last steps, after all teardowns of the batch.
shared cpumask online = aps;
shared cpumask found_last;

process teardown_cpu(cpu) on aps {{
    found_last[cpu] = !exists(c in online : c != cpu);
}}

check {name}_somebody_is_last {{
    finally count(found_last) == 1;
}}
"""
_RMW = """\
/// {function}(): every CPU's change of the variable must count.
scenario {name} source "{file}";

shared int 0..7 users;

process teardown_cpu(cpu) on aps {{
    users++;
}}

check {name}_no_update_is_lost {{
    finally users == count(c in aps);
}}
"""
_MASKS = {
    "A": ("cpu_online_mask: a CPU of the batch is in it all the while.", "cpus"),
    "B": ("A mask that no CPU leaves on its way down.", "cpus"),
    "C": ("A mask that each CPU leaves first.", "cpus"),
    "D": ("cpu_active_mask, behind a barrier: the batch has left it.", "{boot}"),
}


def shape(finding: Finding) -> str | None:
    """What the model of a finding depends on; None if the rule has no model."""
    if finding.mask is not None:
        return f"hand-off-{finding.mask}"
    return {"last-one-out": "last", "plain-rmw": "rmw"}.get(finding.rule)


def model(finding: Finding) -> str | None:
    """The spec of a finding; None if the rule has no model."""
    kind = shape(finding)
    if kind is None:
        return None
    place = finding.chain[0]
    names = {
        "function": place.function,
        "file": re.sub(r'["\n\\]', "_", place.file),
        "name": re.sub(r"\W", "_", f"lint_{place.function}"),
    }
    if kind == "last":
        return _LAST.format(**names)
    if kind == "rmw":
        return _RMW.format(**names)
    mask, start = _MASKS[finding.mask or "B"]
    private = finding.mask == "C"
    return _HAND_OFF.format(
        **names,
        mask=mask,
        start=start,
        lock="raw_spinlock lock;\n" if private else "",
        before="    raw_spin_lock(lock);\n    candidates[cpu] = false;\n"
        if private
        else "",
        after="    raw_spin_unlock(lock);\n" if private else "",
    )
