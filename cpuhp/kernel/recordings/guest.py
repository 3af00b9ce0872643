"""Record a guest: boot a kernel image under QEMU.

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
from cpuhp.kernel.recordings.image import (
    Arch,
    Entry,
    arch_of_kernel,
    check_busybox,
    initramfs,
    read_image,
)
from cpuhp.kernel.recordings.kexec import kexec_program
from cpuhp.kernel.recordings.scripts import Recording, Script, shell

BUSYBOX = ("/bin/busybox", "/usr/bin/busybox")
MAX_CPUS = 255
KEXEC = Script("kexec")

_STATE = re.compile(r"^ *\d+: .*\n", re.MULTILINE)
_PRINTED = re.compile(r"^\[ *\d+\.\d+\] cpuhp_.*\n", re.MULTILINE)
_JUMPED = re.compile(r"\] Bye!$", re.MULTILINE)


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
    _check_kexec(scripts, arch)
    qemu = shutil.which(arch.qemu)
    if qemu is None:
        package = "qemu-system-x86" if arch is Arch.X86_64 else "qemu-system-arm"
        message = f"{arch.qemu} is not installed"
        raise fail("HP445", message, help=f"the package is called {package}")
    busybox = _busybox(guest, arch)
    with tempfile.TemporaryDirectory(prefix="cpuhp-record-") as folder:
        return _boot(guest, arch, qemu, busybox, scripts, Path(folder))


def _check_kexec(scripts: tuple[Script, ...], arch: Arch) -> None:
    if KEXEC not in scripts:
        return
    if arch is not Arch.ARM64:
        raise fail(
            "HP444",
            f"the script kexec does not run on {arch.value}",
            help="only arm64 takes its CPUs down one by one before it jumps",
        )
    if scripts[-1] != KEXEC or scripts.count(KEXEC) > 1:
        raise fail("HP444", "kexec must be the last script: the guest ends with it")


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
    jumps = KEXEC in scripts
    programs = (Entry("bin/kexec", kexec_program()),) if jumps else ()
    init = shell(scripts, guest.cpus, device)
    initrd.write_bytes(initramfs(busybox, init, programs))
    command = qemu_command(guest, arch, qemu, folder, printk=jumps)
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
    return split_printed(console) if jumps else split_output(data, console)


def qemu_command(
    guest: Guest, arch: Arch, qemu: str, folder: Path, printk: bool = False
) -> list[str]:
    """The command line of the emulator. Serial lines go to files in `folder`.

    With `printk` the events are printed on the console as they happen.
    """
    topology = f"{guest.cpus},threads=2" if guest.smt else str(guest.cpus)
    # QEMU's own model is an AMD one, which knows no threads.
    cpu = "max,vendor=GenuineIntel" if guest.smt and arch is Arch.X86_64 else "max"
    if printk and arch is Arch.ARM64:
        # Linux 6.12 with 52-bit addresses oopses in kexec_load, in a page-table copy.
        cpu = "max,lpa2=off"
    console = "ttyS0" if arch is Arch.X86_64 else "ttyAMA0"
    append = (
        f"console={console} {'tp_printk loglevel=7' if printk else 'quiet loglevel=1'} "
        f"panic=-1 trace_event=cpuhp:* trace_buf_size=8M {guest.append}"
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


def split_printed(console: str) -> Recording:
    """States and trace of a guest that jumped to another kernel. Raises HP446.

    The trace is what the kernel printed, the last line whatever the jump left of it.
    """
    notes = tuple(re.findall(r"^@@note (.*)$", console, re.MULTILINE))
    match = re.search(r"^@@states\n(.*?)^@@kexec$", console, re.MULTILINE | re.DOTALL)
    if match is None or not _JUMPED.search(console):
        raise _no_answer("the guest ended before it jumped to the next kernel", console)
    states = _STATE.findall(match[1])
    events = _PRINTED.findall(console)
    return Recording("".join(states), "".join(events), notes)


def _no_answer(message: str, console: str) -> InputError:
    tail = [line for line in console.splitlines() if line.strip()][-3:]
    notes = tuple((f"the guest said: {line[:200]}", None) for line in tail)
    return fail("HP446", message, notes=notes)
