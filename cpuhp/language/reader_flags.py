"""The flags behind reader-writer locks and SRCU: who may read, write or wait.

What they are for is told in reader_locks.py, which uses them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from cpuhp.language import tree as t
from cpuhp.language.program import READS, WRITES, Declared, DeclaredProcess
from cpuhp.language.tree import base_name, nodes_below
from cpuhp.model.sorts import BOOL, CPU


def reader_flags(
    variables: Mapping[str, Declared],
    functions: Mapping[str, t.Function],
    callbacks: list[t.Callback],
    processes: list[DeclaredProcess],
) -> Iterator[tuple[str, Declared]]:
    """The flags behind reader-writer locks and SRCU: see reader_locks.py."""
    calls = {
        process.declaration.name: _calls_from(process, functions, callbacks)
        for process in processes
    }

    def users(lock: str, primitive: str) -> list[t.ProcessDeclaration]:
        return [
            process.declaration
            for process in processes
            if (primitive, lock) in calls[process.declaration.name]
        ]

    for lock, declared in list(variables.items()):
        node = declared.declaration
        kind = node.type.name if isinstance(node.type, t.NamedType) else ""
        if kind not in READS:
            continue
        reading, writing = users(lock, READS[kind]), users(lock, WRITES[kind])
        flags: dict[str, tuple[t.ProcessDeclaration, ...]] = {
            f"{lock}.reader.{p.name}": (p,) for p in reading
        }
        if kind == "rwsem":
            flags |= {f"{lock}.writer.{p.name}": (p,) for p in writing}
        if kind == "srcu_struct":
            for waiter in writing:
                flags |= {
                    f"{lock}.gp.{waiter.name}.{p.name}": (waiter, p) for p in reading
                }
        for name, owners in flags.items():
            indices = declared.indices + (CPU,) * sum(
                p.param is not None for p in owners
            )
            word = t.NamedType("atomic_t", False, node.span)
            flag = replace(node, type=word, name=name, value=None)
            yield name, Declared(flag, BOOL, indices, False, declared.component)


def _calls_from(
    process: DeclaredProcess,
    functions: Mapping[str, t.Function],
    callbacks: list[t.Callback],
) -> set[tuple[str, str]]:
    """Function and first argument of every call that a process can come to."""
    found: set[tuple[str, str]] = set()
    seen: set[str] = set()
    stack: list[object] = [process.declaration.body]
    while stack:
        for call in _calls_in(stack.pop()):
            found.add((call.name, base_name(call.args[0]) if call.args else ""))
            if call.name in seen:
                continue
            seen.add(call.name)
            if call.name in functions:
                stack.append(functions[call.name].body)
            elif call.name in ("invoke_startup", "invoke_teardown"):
                stack += [callback.body for callback in callbacks]
    return found


def _calls_in(node: object) -> Iterator[t.Call]:
    for part in nodes_below(node):
        if isinstance(part, t.Call):
            yield part
