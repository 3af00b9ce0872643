"""A small model of a finding, in the tool's own language, to be checked like any spec.

The model keeps what the rule is about and nothing else: all CPUs but the control CPU
run the teardown at once, as in a batch.
"""

from __future__ import annotations

import re

from cpuhp.kernel.hazards.rules import Finding

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
_LOCKED = """\
/// {function}(): each CPU leaves the mask and asks about it under one lock.
scenario {name} source "{file}";

shared cpumask members = aps;
shared cpumask found_last;
raw_spinlock lock;

process teardown_cpu(cpu) on aps {{
    raw_spin_lock(lock);
    members[cpu] = false;
    found_last[cpu] = !exists(c in members : c != cpu);
    raw_spin_unlock(lock);
}}

check {name}_last_is_last {{
    never exists(a in found_last : exists(m in members : a != m));
    sometimes exists(a in found_last : true);
}}
"""
_COUNT = """\
/// {function}(): the number must be that of the CPUs that are left in the end.
scenario {name} source "{file}";

/// Left by a CPU in its very last steps, after all teardowns of the batch.
shared cpumask online = cpus;
shared int 0..7 counted;

process teardown_cpu(cpu) on aps {{
    counted = count(c in online : c != cpu);
}}

check {name}_number_is_right {{
    finally counted == 1;
    sometimes counted == 1;
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
_IRQ = """\
/// {function}(): the interrupt that takes the lock may come while it is held.
scenario {name} source "{file}";

percpu bool irqs_off;
raw_spinlock lock;
shared cpumask raised = aps;

process teardown_cpu(cpu) on aps {{
    raw_spin_lock(lock);
    raw_spin_unlock(lock);
}}

interrupt handler(cpu) when (raised[cpu]) {{
    raised[cpu] = false;
    raw_spin_lock(lock);
    raw_spin_unlock(lock);
}}

check {name}_no_cpu_waits_for_ever {{
    deadlock_free;
}}
"""
_KEPT = """\
/// {function}(): on one of its ways out the lock stays taken.
scenario {name} source "{file}";

mutex lock;

process teardown_cpu(cpu) on aps {{
    mutex_lock(lock);
    either {{ mutex_unlock(lock); }} or {{ ; }}
}}

check {name}_no_cpu_waits_for_ever {{
    deadlock_free;
}}
"""
_WAIT = """\
/// {function}(): no CPU of the batch should have to sit through the wait of another.
scenario {name} source "{file}";

mutex lock;
shared cpumask queued;
shared cpumask waiting;

process teardown_cpu(cpu) on aps {{
    queued[cpu] = true;
    mutex_lock(lock);
    atomic {{ queued[cpu] = false; waiting[cpu] = true; }}
    waiting[cpu] = false;
    mutex_unlock(lock);
}}

check {name}_waits_for_nobody {{
    never exists(a in waiting : exists(b in queued : a != b));
}}
"""
_CLAIM = """\
/// {function}(): nobody else is in here, says the source.
scenario {name} source "{file}";

shared cpumask inside;

process teardown_cpu(cpu) on aps {{
    inside[cpu] = true;
    inside[cpu] = false;
}}

check {name}_is_alone {{
    never count(inside) > 1;
}}
"""
_FAIL = """\
/// {function}(): whoever is dead has been torn down, though errors are ignored.
scenario {name} source "{file}";

shared cpumask torn_down;
shared cpumask failed;
shared cpumask dead;

process teardown_cpu(cpu) on aps {{
    either {{ torn_down[cpu] = true; }} or {{ failed[cpu] = true; }}
    dead[cpu] = true;
}}

check {name}_is_complete {{
    finally all(c in dead : torn_down[c]);
}}
"""
_SIDED = """\
/// {function}(): what was done for a CPU is undone once it has gone.
scenario {name} source "{file}";

shared cpumask done;
shared cpumask online = cpus;

process cpu_up_and_down(cpu) on aps {{
    done[cpu] = true;
    online[cpu] = false;
}}

check {name}_is_undone {{
    finally all(c in done : online[c]);
}}
"""
_TEXTS = {
    "last": _LAST,
    "last-locked": _LOCKED,
    "count": _COUNT,
    "rmw": _RMW,
    "irq": _IRQ,
    "kept": _KEPT,
    "wait": _WAIT,
    "claim": _CLAIM,
    "fail": _FAIL,
    "sided": _SIDED,
}
_SHAPES = {
    "last-one-out": "last",
    "online-count": "count",
    "plain-rmw": "rmw",
    "lock-irq-unsafe": "irq",
    "lock-not-released": "kept",
    "wait-under-lock": "wait",
    "serial-claim": "claim",
    "teardown-can-fail": "fail",
    "one-sided": "sided",
}
_MASKS = {
    "A": ("cpu_online_mask: a CPU of the batch is in it all the while.", "cpus"),
    "B": ("A mask that no CPU leaves on its way down.", "cpus"),
    "C": ("A mask that each CPU leaves first.", "cpus"),
    "D": ("cpu_active_mask, behind a barrier: the batch has left it.", "{boot}"),
    "N": ("What is left without cpu_dying_mask, which has the whole batch.", "{boot}"),
}


def shape(finding: Finding) -> str:
    """What the model of a finding depends on."""
    if finding.mask is not None:
        return f"hand-off-{finding.mask}"
    if finding.rule == "last-one-out" and finding.level == "note":
        return "last-locked"
    return _SHAPES[finding.rule]


def model(finding: Finding) -> str:
    """The spec of a finding."""
    kind = shape(finding)
    place = finding.chain[0]
    names = {
        "function": place.function,
        "file": re.sub(r'["\n\\]', "_", place.file),
        "name": re.sub(r"\W", "_", f"lint_{place.function}"),
    }
    if finding.mask is None:
        return _TEXTS[kind].format(**names)
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
