"""A program for arm64 guests that starts another kernel, in three system calls.

The guest has no kexec-tools. What it loads as the next kernel is three instructions
that ask the firmware to switch the machine off, so a recording ends by itself when the
jump has happened. Sources: kexec_load(2), reboot(2), the Arm Architecture Reference
Manual (encodings), Arm DEN 0022 (PSCI).
"""

from __future__ import annotations

import struct

NEXT_KERNEL = 0x4800_0000  # in the memory of QEMU's "virt" machine, 128 MiB up
_BASE = 0x40_0000
_PAGE = 0x1000

_KEXEC_LOAD, _REBOOT, _EXIT = 104, 142, 93  # include/uapi/asm-generic/unistd.h
_MAGIC, _MAGIC_2, _KEXEC = 0xFEE1_DEAD, 0x2812_1969, 0x4558_4543
_SYSTEM_OFF = 0x8400_0008
_SVC, _HVC, _SELF = 0xD400_0001, 0xD400_0002, 0x1400_0000
_NEGATE_X0 = 0xCB00_03E0


def kexec_program() -> bytes:
    """A static ELF program; its status is the error number if the kernel refuses."""
    table = _BASE + 0x78 + len(_words(_program(0)))
    image = table + 32
    code = _words(_program(table))
    data = struct.pack("<4Q", image, len(_off()), NEXT_KERNEL, _PAGE)
    return _elf(code + data + _off())


def _program(table: int) -> list[int]:
    """Load the segment that `table` describes, then jump; exit if either fails."""
    load = [
        *_set(0, NEXT_KERNEL),
        *_set(1, 1),
        *_set(2, table),
        *_set(3, 0),
        *_set(8, _KEXEC_LOAD),
        _SVC,
    ]
    jump = [
        *_set(0, _MAGIC),
        *_set(1, _MAGIC_2),
        *_set(2, _KEXEC),
        *_set(8, _REBOOT),
        _SVC,
    ]
    fails = 0xB500_0000 | (len(jump) + 1) << 5  # cbnz x0
    return [*load, fails, *jump, _NEGATE_X0, *_set(8, _EXIT), _SVC]


def _off() -> bytes:
    """The next kernel: PSCI's SYSTEM_OFF."""
    return _words([*_set(0, _SYSTEM_OFF), _HVC, _SELF])


def _set(register: int, value: int) -> list[int]:
    """movz and movk of a 32-bit value."""
    low, high = value & 0xFFFF, value >> 16
    return [
        0xD280_0000 | low << 5 | register,
        0xF2A0_0000 | high << 5 | register,
    ]


def _words(words: list[int]) -> bytes:
    return struct.pack(f"<{len(words)}I", *words)


def _elf(text: bytes) -> bytes:
    """One segment, read and executed, entered right behind the two headers."""
    size = 0x78 + len(text)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    head = ident + struct.pack(
        "<HHIQQQIHHHHHH", 2, 183, 1, _BASE + 0x78, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, _PAGE)
    return head + segment + text
