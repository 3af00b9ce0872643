"""A tiny initial file system for a guest, and what kind of file a kernel image is."""

from __future__ import annotations

import gzip
import struct
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from cpuhp.diagnostics import fail

MAX_IMAGE = 1 << 29
_DIRECTORY, _FILE = 0o040755, 0o100755
_MACHINES = {62: "x86_64", 183: "arm64"}
_PT_INTERP = 3


class Arch(Enum):
    """Architectures that can be recorded, and how their guests are run."""

    X86_64 = "x86_64"
    ARM64 = "arm64"

    @property
    def qemu(self) -> str:
        return {"x86_64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}[
            self.value
        ]


@dataclass(frozen=True)
class Entry:
    """A file of an archive; a directory if `data` is None."""

    name: str
    data: bytes | None = None


def archive(entries: tuple[Entry, ...]) -> bytes:
    """A gzip-compressed cpio archive in the "newc" form that the kernel unpacks.

    Source: Documentation/driver-api/early-userspace/buffer-format.rst.
    """
    out = bytearray()
    for number, entry in enumerate((*entries, Entry("TRAILER!!!", b"")), 1):
        name = entry.name.encode() + b"\0"
        data = entry.data or b""
        mode = _DIRECTORY if entry.data is None else _FILE
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        out += b"\0" * (-len(out) % 4) + data
        out += b"\0" * (-len(out) % 4)
    return gzip.compress(bytes(out), 1, mtime=0)


def initramfs(busybox: bytes, init: str, programs: tuple[Entry, ...] = ()) -> bytes:
    """An archive with busybox, the mount points and the script `init`."""
    folders = ("bin", "dev", "proc", "sys")
    files = (Entry("bin/busybox", busybox), Entry("init", init.encode()))
    return archive(tuple(Entry(folder) for folder in folders) + files + programs)


def read_image(path: str | Path, what: str) -> bytes:
    """A binary file of limited size. Raises InputError HP440."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(MAX_IMAGE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise fail("HP440", f"cannot read {what} {path}: {reason}") from None
    if len(data) > MAX_IMAGE:
        raise fail("HP440", f"{what} {path} is larger than {MAX_IMAGE} bytes")
    return data


def arch_of_kernel(data: bytes, name: str) -> Arch:
    """The architecture of a boot image. Raises InputError HP441."""
    if data[0x202:0x206] == b"HdrS":
        return Arch.X86_64
    if data[0x38:0x3C] == b"ARM\x64":
        return Arch.ARM64
    if data[:4] == b"MZ\0\0" and data[4:8] == b"zimg":
        return Arch.ARM64
    raise fail(
        "HP441",
        f"{name} is no kernel image of x86_64 or arm64",
        help="give the boot image (vmlinuz), not the ELF file vmlinux",
    )


def check_busybox(data: bytes, arch: Arch, name: str) -> None:
    """It must be a static program of that architecture. Raises InputError HP442."""
    if data[:5] != b"\x7fELF\x02" or len(data) < 64:
        raise fail("HP442", f"{name} is no 64-bit ELF program")
    (machine,) = struct.unpack_from("<H", data, 18)
    found = _MACHINES.get(machine)
    if found != arch.value:
        raise fail(
            "HP442",
            f"{name} is a program for {found or machine}, not {arch.value}",
            help="unpack busybox-static of that architecture and give it by --busybox",
        )
    if _PT_INTERP in _segments(data):
        raise fail(
            "HP442",
            f"{name} is dynamically linked",
            help="a guest has no libraries: install the package busybox-static",
        )


def _segments(data: bytes) -> list[int]:
    (offset,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    types = []
    for index in range(count):
        at = offset + index * size
        if at + 4 <= len(data):
            types.append(struct.unpack_from("<I", data, at)[0])
    return types
