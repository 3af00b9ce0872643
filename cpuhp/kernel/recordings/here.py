"""Record the machine at hand through an instance of tracefs of its own.

Everything that is changed is put back in reverse order, also when the recording is
interrupted: the instance is removed, `fail` is disarmed, CPUs return to their state.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cpuhp.diagnostics import InputError, fail
from cpuhp.kernel.recordings.scripts import Recording, Script

_TRACING = ("sys/kernel/tracing", "sys/kernel/debug/tracing")
_CPUS = "sys/devices/system/cpu"


class Here:
    """The control files of this machine, or of a directory that stands for it."""

    def __init__(self, root: Path = Path("/")):
        self.root = root

    def read(self, name: str) -> str:
        return (self.root / name).read_text(errors="replace")

    def write(self, name: str, value: str) -> None:
        (self.root / name).write_text(value)

    def make(self, name: str) -> None:
        (self.root / name).mkdir()

    def remove(self, name: str) -> None:
        (self.root / name).rmdir()

    def exists(self, name: str) -> bool:
        return (self.root / name).exists()


def record_here(scripts: tuple[Script, ...], here: Here) -> Recording:
    """Run the scripts on this machine and bring back states and trace.

    Raises InputError HP444, HP447, HP448; whatever else goes wrong, settings are restored.
    """
    if any(script.name == "kexec" for script in scripts):
        raise fail("HP444", "kexec ends the machine: it is for guests only")
    tracing = next((t for t in _TRACING if here.exists(f"{t}/events/cpuhp")), None)
    if tracing is None:
        raise fail(
            "HP447",
            "no trace system cpuhp in tracefs",
            help="mount tracefs on /sys/kernel/tracing, and run as root",
        )
    notes: list[str] = []
    try:
        with _instance(here, tracing) as instance, ExitStack() as undo:
            for script in scripts:
                notes.append(f"script {script}")
                _run(script, here, undo, notes)
            undo.close()
            here.write(f"{instance}/tracing_on", "0")
            states = here.read(f"{_CPUS}/hotplug/states")
            return Recording(states, here.read(f"{instance}/trace"), tuple(notes))
    except PermissionError as error:
        raise _refused(error) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise fail("HP448", f"{error.filename or 'this machine'}: {reason}") from None


def _refused(error: PermissionError) -> InputError:
    message = f"no permission to use {error.filename or 'tracefs'}"
    return fail("HP447", message, help="recording this machine takes root")


@contextmanager
def _instance(here: Here, tracing: str) -> Iterator[str]:
    name = f"{tracing}/instances/cpuhp-record-{os.getpid()}"
    here.make(name)
    try:
        for file, value in (
            ("buffer_size_kb", "4096"),
            ("trace_clock", "mono"),
            ("events/cpuhp/enable", "1"),
            ("tracing_on", "1"),
        ):
            here.write(f"{name}/{file}", value)
        yield name
    finally:
        try:
            here.write(f"{name}/events/cpuhp/enable", "0")
        finally:
            _surely(here.remove, name)


def _surely(action: Callable[..., object], *arguments: object) -> None:
    """Restore a setting even if a second interrupt comes amid it."""
    try:
        action(*arguments)
    except KeyboardInterrupt:
        action(*arguments)
        raise


def _run(script: Script, here: Here, undo: ExitStack, notes: list[str]) -> None:
    runners: dict[str, Callable[[], None]] = {
        "boot": lambda: None,
        "down-up": lambda: _down_up(here, undo, notes),
        "smt-off-on": lambda: _smt(here, undo, notes),
        "fail": lambda: _fail(script.state or "", here, undo, notes),
        "target": lambda: _target(script.state or "", here, undo, notes),
    }
    runners[script.name]()


def online_cpus(here: Here) -> list[int]:
    """CPUs that are online and can be taken down; CPU 0 is left alone."""
    found = []
    for path in sorted((here.root / _CPUS).glob("cpu[0-9]*")):
        number = path.name[3:]
        online = f"{_CPUS}/{path.name}/online"
        if not number.isdecimal() or int(number) == 0 or not here.exists(online):
            continue
        if here.read(online).strip() == "1":
            found.append(int(number))
    return sorted(found)


def _put(here: Here, cpu: int, value: str) -> str:
    """Write `online`; the kernel's answer, empty when it agreed."""
    online = f"{_CPUS}/cpu{cpu}/online"
    if here.read(online).strip() == value:
        return ""
    try:
        here.write(online, value)
    except PermissionError:
        raise
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _down_up(here: Here, undo: ExitStack, notes: list[str]) -> None:
    cpus = online_cpus(here)
    for value in ("0", "1"):
        for cpu in cpus:
            if value == "0":
                undo.callback(_surely, _put, here, cpu, "1")
            refused = _put(here, cpu, value)
            if refused:
                notes.append(f"online {value} cpu {cpu}: {refused}")


def _smt(here: Here, undo: ExitStack, notes: list[str]) -> None:
    control = f"{_CPUS}/smt/control"
    before = here.read(control).strip()
    if before != "on":
        notes.append(f"smt/control is {before}: left alone")
        return
    undo.callback(_surely, here.write, control, before)
    here.write(control, "off")
    here.write(control, "on")


def _numbers(state: str, here: Here) -> list[int]:
    lines = here.read(f"{_CPUS}/hotplug/states").splitlines()
    rows = [line.split(":", 1) for line in lines if ":" in line]
    known = {name.strip(): int(number) for number, name in rows}
    if state == "all":
        return sorted(known.values())
    if state.isdecimal():
        return [int(state)]
    if state not in known:
        raise fail("HP448", f"this kernel has no hotplug state '{state}'")
    return [known[state]]


def _fail(state: str, here: Here, undo: ExitStack, notes: list[str]) -> None:
    cpus = online_cpus(here)
    for cpu in cpus:
        undo.callback(_surely, _put, here, cpu, "1")
        undo.callback(_surely, here.write, f"{_CPUS}/cpu{cpu}/hotplug/fail", "-1")
    for at, number in enumerate(_numbers(state, here)):
        chosen = cpus if state != "all" else cpus[at % len(cpus) :][:1] if cpus else []
        for cpu in chosen:
            for value in ("0", "1"):
                _fail_once(here, cpu, number, value, notes)
            _put(here, cpu, "1")


def _fail_once(here: Here, cpu: int, number: int, value: str, notes: list[str]) -> None:
    way = "up" if value == "1" else "down"
    _put(here, cpu, "0" if value == "1" else "1")
    armed = f"{_CPUS}/cpu{cpu}/hotplug/fail"
    try:
        here.write(armed, str(number))
    except PermissionError:
        raise
    except OSError:
        notes.append(f"fail {number} {way} cpu {cpu} refused")
        return
    answer = _put(here, cpu, value) or "done"
    here.write(armed, "-1")
    notes.append(f"fail {number} {way} cpu {cpu} {answer}")


def _target(state: str, here: Here, undo: ExitStack, notes: list[str]) -> None:
    for number in _numbers(state, here):
        for cpu in online_cpus(here):
            undo.callback(_surely, _put, here, cpu, "1")
            name = f"{_CPUS}/cpu{cpu}/hotplug/target"
            undo.callback(_surely, _restore_target, here, name, here.read(name).strip())
            try:
                here.write(name, str(number))
            except PermissionError:
                raise
            except OSError as error:
                notes.append(f"target {number} cpu {cpu} refused: {error.strerror}")


def _restore_target(here: Here, name: str, value: str) -> None:
    try:
        here.write(name, value)
    except OSError as error:
        raise fail("HP448", f"cannot restore {name}: {error.strerror}") from None
