"""What people write out of habit of C or of the kernel, and how it is said here.

Only for the help below an error: nothing here decides whether a spec is right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from cpuhp.diagnostics import suggestion

_ORDERED = "memory is sequentially consistent here: leave it out"
_MARKED = (
    "declare the variable `atomic`, as `shared atomic bool x;`, and read or assign it"
)
_WAITED = "wait for what is waited for: `wait (E);`"
_RWSEM = "declare `rwsem cpu_hotplug_lock;` and take "
_LOOP = (
    "a loop over CPUs is `for (c in SET) S`, or `forall` for assignments in one step"
)

WORDS = {
    "NULL": "a pointer without a target is `none`; its type is `cpu?`",
    "READ_ONCE": _MARKED,
    "WRITE_ONCE": _MARKED,
    "atomic_read": _MARKED,
    "atomic_set": _MARKED,
    "atomic_t": "`atomic int 0..3 x`, with atomic_inc(x), atomic_dec(x), "
    "atomic_dec_and_test(x)",
    "cpu": "`cpu` is the parameter of a callback or per-CPU process; in a function write "
    "a parameter `cpu c`, or `this_cpu`",
    "cpu_relax": _WAITED,
    "cpus_read_lock": _RWSEM + "`down_read(cpu_hotplug_lock);`",
    "cpus_read_unlock": _RWSEM + "`up_read(cpu_hotplug_lock);`",
    "cpus_write_lock": _RWSEM + "`down_write(cpu_hotplug_lock);`",
    "cpus_write_unlock": _RWSEM + "`up_write(cpu_hotplug_lock);`",
    "do": "there is no do loop: `while (E) S`, or `for (;;) { ... if (E) break; }`",
    "flush_work": _WAITED,
    "for_each_cpu": _LOOP,
    "for_each_online_cpu": _LOOP,
    "for_each_possible_cpu": _LOOP,
    "for_each_present_cpu": _LOOP,
    "goto": "there is no goto: `if`, `while` and `return` within a function",
    "kthread_park": "a bool that asks, and `wait` for one that answers; see "
    "specs/callbacks/smpboot.hp",
    "kthread_unpark": "clear the bool on which the thread waits",
    "msleep": "there is no time: what may come later is a `wait`, or another process",
    "percpu_down_read": "a percpu rwsem is an `rwsem`: down_read",
    "percpu_down_write": "a percpu rwsem is an `rwsem`: down_write",
    "percpu_up_read": "a percpu rwsem is an `rwsem`: up_read",
    "percpu_up_write": "a percpu rwsem is an `rwsem`: up_write",
    "preempt_disable": "`use preempt;`",
    "preempt_enable": "`use preempt;`",
    "queue_work": "set a flag that a `service` waits for",
    "queue_work_on": "set a percpu flag that a `service ...(cpu)` waits for",
    "rcu_read_lock": "`use rcu_readers;`",
    "rcu_read_unlock": "`use rcu_readers;`",
    "schedule": _WAITED,
    "schedule_work": "set a flag that a `service` waits for",
    "smp_load_acquire": _ORDERED,
    "smp_mb": _ORDERED,
    "smp_processor_id": "`this_cpu`",
    "smp_rmb": _ORDERED,
    "smp_store_release": _ORDERED,
    "smp_wmb": _ORDERED,
    "static": "variables are `shared` or `percpu`",
    "struct": "there are no structs: a variable for each field; `per SORT` for elements "
    "of another kind",
    "switch": "there is no switch: `if` and `else if`",
    "synchronize_rcu": "`use rcu_readers;`",
    "task": "a task is `process NAME { ... }`, or `process NAME(cpu) on aps { ... }`",
    "thread": "a task is `process NAME { ... }`, or `process NAME(cpu) on aps { ... }`",
    "udelay": "there is no time: what may come later is a `wait`, or another process",
    "unsigned": "numbers are small ranges: `int 0..3 x`",
    "wait_event": _WAITED,
    "wake_up": "change what the other process waits for",
    "work_on_cpu": "a flag that a `service ...(cpu)` waits for, and `wait` for its answer",
}
_PHRASES = (
    (re.compile(r"\bfor \(\w+ =$"), "a loop visits a set: `for (c in SET) S`; `while` for "
     "anything else"),
    (re.compile(r"[-+&|] ?=$"), "write it out: `x = x + 1;`, `mask = mask | other;`"),
    (re.compile(r"\bint \w+$"), "a number has a range: `int 0..3 x`"),
    (re.compile(r"\b\w+ \w+\((?:\w+ \w+, )*\w+[,)]$"), "a function's parameter has a type "
     "and a name: `cpu c`"),
    (re.compile(r"\b(?:bool|cpu\??|cpumask) \w+,$"), "one variable a declaration"),
    (re.compile(r"\bprocess \w+\(\w+ \w+$"), "a process runs once, or on each CPU: "
     "`process NAME(cpu) on aps { ... }`; instances have none of their own"),
)  # fmt: skip
_CHARACTERS = {
    "#": "there is no preprocessor: `use` joins components, an `option` decides",
    "%": "there is only + and -",
    "*": "there are no products and no pointers but `cpu?`",
    "/": "there is only + and -",
    "'": 'names of hotplug states stand in "..."',
}


def meant(name: str, known: Iterable[str]) -> str | None:
    """The help for a name that does not exist: its idiom, or the nearest known name."""
    return WORDS.get(name) or suggestion(name, known)


def meant_by_character(char: str) -> str | None:
    """The help for a character that the language does not have."""
    return _CHARACTERS.get(char)


def meant_by_statement(text: str) -> str | None:
    """The help for the beginning of a statement that could not be read to its end."""
    start = " ".join(re.split(r"[;{}]", text)[-1].split())
    for phrase, way in _PHRASES:
        if phrase.search(start):
            return way
    first = re.match(r"[A-Za-z_]\w*", start)  # elsewhere it may be a name of the spec
    return WORDS.get(first[0]) if first and first[0] != "cpu" else None
