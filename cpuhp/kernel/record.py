"""Recordings: boot a kernel image under QEMU, or watch the machine at hand.

A guest is emulated in software, needs no network and no root, and leaves nothing
behind: image and output live in a temporary directory.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cpuhp.diagnostics import InputError, fail
from cpuhp.kernel.record_image import (
    Arch,
    arch_of_kernel,
    check_busybox,
    initramfs,
    read_image,
)
from cpuhp.kernel.record_scripts import Script, shell

BUSYBOX = ("/bin/busybox", "/usr/bin/busybox")
MAX_CPUS = 255


@dataclass(frozen=True)
class Recording:
    """What came back: the two files' texts and what the script had to say."""

    states: str
    trace: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Guest:
    """A machine to emulate. `memory` is in MiB, `timeout` in seconds."""

    kernel: str
    arch: Arch | None = None
    cpus: int = 4
    smt: bool = False
    busybox: str | None = None
    append: str = ""
    memory: int = 1024
    timeout: float = 300.0


def record_guest(guest: Guest, scripts: tuple[Script, ...]) -> Recording:
    """Boot the guest, run the scripts, and bring back states and trace.

    Raises InputError HP440 to HP446.
    """
    if not 2 <= guest.cpus <= MAX_CPUS:
        raise fail("HP444", f"a guest has 2 to {MAX_CPUS} CPUs, not {guest.cpus}")
    if guest.smt and guest.cpus % 2:
        raise fail("HP444", "with SMT, the number of CPUs must be even")
    image = read_image(guest.kernel, "kernel image")
    arch = arch_of_kernel(image, guest.kernel)
    if guest.arch not in (None, arch):
        raise fail("HP441", f"{guest.kernel} is a kernel image of {arch.value}")
    qemu = shutil.which(arch.qemu)
    if qemu is None:
        package = "qemu-system-x86" if arch is Arch.X86_64 else "qemu-system-arm"
        message = f"{arch.qemu} is not installed"
        raise fail("HP445", message, help=f"the package is called {package}")
    busybox = _busybox(guest, arch)
    with tempfile.TemporaryDirectory(prefix="cpuhp-record-") as folder:
        return _boot(guest, arch, qemu, busybox, scripts, Path(folder))


def _busybox(guest: Guest, arch: Arch) -> bytes:
    path = guest.busybox or next((p for p in BUSYBOX if Path(p).is_file()), None)
    if path is None:
        help_ = "install the package busybox-static, or give --busybox"
        raise fail("HP442", "no busybox found", help=help_)
    data = read_image(path, "busybox")
    check_busybox(data, arch, path)
    return data


def _boot(
    guest: Guest,
    arch: Arch,
    qemu: str,
    busybox: bytes,
    scripts: tuple[Script, ...],
    folder: Path,
) -> Recording:
    device = "/dev/ttyS1" if arch is Arch.X86_64 else "/dev/ttyAMA0"
    initrd = folder / "initrd.gz"
    initrd.write_bytes(initramfs(busybox, shell(scripts, guest.cpus, device)))
    command = qemu_command(guest, arch, qemu, folder)
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=guest.timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        console = _text(folder / "console")
        message = f"the guest was not done in {guest.timeout:.0f} s"
        raise _no_answer(message, console) from None
    console = _text(folder / "console")
    data = _text(folder / "data") if arch is Arch.X86_64 else console
    if done.returncode:
        words = done.stdout.decode(errors="replace")
        raise _no_answer(f"QEMU ended with status {done.returncode}", words)
    return split_output(data, console)


def qemu_command(guest: Guest, arch: Arch, qemu: str, folder: Path) -> list[str]:
    """The command line of the emulator. Serial lines go to files in `folder`."""
    topology = f"{guest.cpus},threads=2" if guest.smt else str(guest.cpus)
    # QEMU's own model is an AMD one, which knows no threads.
    cpu = "max,vendor=GenuineIntel" if guest.smt and arch is Arch.X86_64 else "max"
    console = "ttyS0" if arch is Arch.X86_64 else "ttyAMA0"
    append = (
        f"console={console} quiet loglevel=1 panic=-1 trace_event=cpuhp:* "
        f"trace_buf_size=8M {guest.append}"
    )
    command = [qemu, "-accel", "tcg,thread=multi", "-cpu", cpu, "-smp", topology]
    command += ["-m", str(guest.memory), "-display", "none", "-nodefaults"]
    command += ["-no-reboot", "-kernel", guest.kernel]
    command += ["-initrd", str(folder / "initrd.gz"), "-append", append.strip()]
    command += ["-serial", f"file:{folder / 'console'}"]
    if arch is Arch.X86_64:
        return [*command, "-serial", f"file:{folder / 'data'}"]
    return [*command, "-machine", "virt,gic-version=max"]


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", errors="replace").replace("\r", "")
    except OSError:
        return ""


def split_output(data: str, console: str = "") -> Recording:
    """Find states, trace and notes in what the guest printed. Raises HP446."""
    notes = tuple(re.findall(r"^@@note (.*)$", data, re.MULTILINE))
    match = re.search(
        r"^@@states\n(.*?)^@@trace\n(.*?)^@@end$", data, re.MULTILINE | re.DOTALL
    )
    if match is None:
        raise _no_answer("the guest ended before it printed its trace", console or data)
    return Recording(match[1], match[2], notes)


def _no_answer(message: str, console: str) -> InputError:
    tail = [line for line in console.splitlines() if line.strip()][-3:]
    notes = tuple((f"the guest said: {line[:200]}", None) for line in tail)
    return fail("HP446", message, notes=notes)
