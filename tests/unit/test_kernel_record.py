import gzip
import os
import shutil
import struct
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from cpuhp.cli.record import command
from cpuhp.diagnostics import InputError, Source
from cpuhp.kernel.recordings.guest import (
    Guest,
    qemu_command,
    record_guest,
    split_output,
    split_printed,
)
from cpuhp.kernel.recordings.here import Here, online_cpus, record_here
from cpuhp.kernel.recordings.image import (
    Arch,
    Entry,
    arch_of_kernel,
    archive,
    check_busybox,
)
from cpuhp.kernel.recordings.kexec import NEXT_KERNEL, kexec_program
from cpuhp.kernel.recordings.scripts import Script, parse_script, shell
from cpuhp.kernel.tables.states_file import parse_states, read_kernel_states
from cpuhp.kernel.traces.conform import conform
from cpuhp.kernel.traces.events import read_trace

QEMU = shutil.which("qemu-system-x86_64")
CPUS = "sys/devices/system/cpu"
TRACING = "sys/kernel/tracing"


def elf(machine, *segments):
    head = bytearray(64)
    head[:5] = b"\x7fELF\x02"
    struct.pack_into("<H", head, 18, machine)
    struct.pack_into("<Q", head, 32, 64)
    struct.pack_into("<HH", head, 54, 56, len(segments))
    return bytes(head) + b"".join(struct.pack("<I52x", kind) for kind in segments)


def code_of(function, *arguments):
    with pytest.raises(InputError) as caught:
        function(*arguments)
    assert caught.value.render()
    return caught.value.diagnostics[0].code


def test_archive_is_aligned_and_ends_with_its_trailer():
    data = gzip.decompress(archive((Entry("dev"), Entry("init", b"abc"))))
    assert data.startswith(b"070701")
    assert b"init\0" in data and b"abc" in data and b"TRAILER!!!" in data
    assert len(data) % 4 == 0


@pytest.mark.skipif(not shutil.which("cpio"), reason="needs cpio")
def test_archive_is_what_cpio_reads():
    data = gzip.decompress(archive((Entry("dev"), Entry("dev/x", b"abc"))))
    done = subprocess.run(["cpio", "-t"], input=data, capture_output=True, check=True)
    assert done.stdout.split() == [b"dev", b"dev/x"]


def test_architecture_of_images():
    x86 = bytes(0x202) + b"HdrS"
    arm = bytes(0x38) + b"ARM\x64"
    assert arch_of_kernel(x86, "k") is Arch.X86_64
    assert arch_of_kernel(arm, "k") is Arch.ARM64
    assert code_of(arch_of_kernel, b"", "k") == "HP441"


def test_busybox_must_be_static_and_of_the_architecture():
    check_busybox(elf(62, 1), Arch.X86_64, "busybox")
    assert code_of(check_busybox, elf(62, 1, 3), Arch.X86_64, "busybox") == "HP442"
    assert code_of(check_busybox, elf(183, 1), Arch.X86_64, "busybox") == "HP442"
    assert code_of(check_busybox, b"#!/bin/sh", Arch.X86_64, "busybox") == "HP442"


def test_scripts_are_parsed():
    assert parse_script("down-up") == Script("down-up")
    assert parse_script("fail:RCU/tree:online") == Script("fail", "RCU/tree:online")


@pytest.mark.parametrize(
    "text", ["", "dwon-up", "fail", "fail:", "fail:$(x)", "boot:1"]
)
def test_bad_scripts_are_refused(text):
    assert code_of(parse_script, text) == "HP443"


@pytest.mark.parametrize(
    "name",
    ["boot", "down-up", "smt-off-on", "fail:188", "fail:all", "target:150", "kexec"],
)
def test_guest_scripts_are_valid_shell(name):
    text = shell((parse_script(name),), 4, "/dev/ttyS1")
    done = subprocess.run(["sh", "-n"], input=text.encode(), check=False)
    assert done.returncode == 0
    assert "last=3" in text


def test_qemu_is_given_threads():
    guest = Guest("vmlinuz", cpus=8, smt=True, append="nosmt")
    line = " ".join(qemu_command(guest, Arch.X86_64, "qemu", Path("dir")))
    assert "-smp 8,threads=2" in line
    assert "GenuineIntel" in line
    assert line.count("-serial") == 2 and "nosmt" in line
    line = " ".join(qemu_command(guest, Arch.ARM64, "qemu", Path("dir")))
    assert "-machine virt" in line and "ttyAMA0" in line


def test_output_is_split():
    text = "noise\n@@note hello\n@@states\n  0: offline\n@@trace\n# t\n@@end\nmore\n"
    recording = split_output(text)
    assert recording.states == "  0: offline\n"
    assert recording.trace == "# t\n"
    assert recording.notes == ("hello",)


PRINTED = """[    0.1] Booting
@@note script kexec
@@states
  0: offline
[   11.3] something the kernel says amid it
145: cpu:teardown
@@kexec
[   13.204054] cpuhp_exit:  cpu: 0003  state:  10 step:  11 ret: 0
[   13.205723] Bye!
"""


def test_printed_trace_is_split_from_what_the_kernel_says():
    recording = split_printed(PRINTED)
    assert recording.states == "  0: offline\n145: cpu:teardown\n"
    assert recording.trace == PRINTED.splitlines(keepends=True)[-2]
    assert recording.notes == ("script kexec",)
    assert code_of(split_printed, PRINTED.replace("Bye!", "Oops")) == "HP446"


def test_kexec_program_is_static_and_describes_its_segment():
    data = kexec_program()
    check_busybox(data, Arch.ARM64, "kexec")
    buffer, size, place, room = struct.unpack_from("<4Q", data, len(data) - 48)
    assert data[buffer - 0x400000 :] == data[-size:]
    assert (size, place, room) == (16, NEXT_KERNEL, 4096)


@pytest.mark.parametrize("scripts", [("kexec", "boot"), ("kexec", "kexec")])
def test_kexec_comes_last(scripts, tmp_path):
    image = tmp_path / "vmlinuz"
    image.write_bytes(bytes(0x38) + b"ARM\x64")
    chosen = tuple(Script(name) for name in scripts)
    assert code_of(record_guest, Guest(str(image)), chosen) == "HP444"


def test_kexec_is_for_guests_of_arm64(tmp_path):
    image = tmp_path / "vmlinuz"
    image.write_bytes(bytes(0x202) + b"HdrS")
    assert code_of(record_guest, Guest(str(image)), (Script("kexec"),)) == "HP444"
    assert code_of(record_here, (Script("kexec"),), Here(tmp_path)) == "HP444"


def test_guest_without_an_answer_is_an_error():
    assert code_of(split_output, "@@states\n", "Kernel panic\n") == "HP446"


@pytest.mark.parametrize(
    "guest, code",
    [
        (Guest("none"), "HP440"),
        (Guest("none", cpus=1), "HP444"),
        (Guest("none", cpus=3, smt=True), "HP444"),
        (Guest(__file__), "HP441"),
    ],
)
def test_useless_guest_is_refused(guest, code):
    assert code_of(record_guest, guest, (Script("boot"),)) == code


def test_command_needs_a_kernel():
    result = CliRunner().invoke(command, [])
    assert isinstance(result.exception, InputError)
    assert "--kernel" in result.exception.render()


class Toy(Here):
    """A directory that stands for a machine; `break_at` interrupts at that write."""

    def __init__(self, root, break_at=None):
        super().__init__(root)
        self.writes = []
        self.break_at = break_at

    def write(self, name, value):
        self.writes.append((name, value))
        if len(self.writes) == self.break_at:
            raise KeyboardInterrupt
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        super().write(name, value)

    def remove(self, name):
        shutil.rmtree(self.root / name)

    def read(self, name):
        return "# trace\n" if name.endswith("/trace") else super().read(name)


@pytest.fixture
def machine(tmp_path):
    (tmp_path / TRACING / "events/cpuhp").mkdir(parents=True)
    (tmp_path / TRACING / "instances").mkdir()
    files = {"hotplug/states": "  0: offline\n188: workqueue:online\n"}
    files |= {"smt/control": "on\n", "cpu0/hotplug/fail": "-1\n"}
    for cpu in (1, 2, 3):
        files[f"cpu{cpu}/online"] = "0\n" if cpu == 3 else "1\n"
        files[f"cpu{cpu}/hotplug/fail"] = "-1\n"
        files[f"cpu{cpu}/hotplug/target"] = "236\n"
    for name, text in files.items():
        path = tmp_path / CPUS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def settings_of(root):
    return {
        str(path.relative_to(root)): path.read_text().strip()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


SCRIPTS = ("down-up", "smt-off-on", "fail:workqueue:online", "fail:all", "target:188")


@pytest.mark.parametrize("name", SCRIPTS)
def test_this_machine_is_left_as_it_was(machine, name):
    before = settings_of(machine)
    toy = Toy(machine)
    recording = record_here((parse_script(name),), toy)
    assert recording.trace == "# trace\n"
    assert "188: workqueue:online" in recording.states
    assert settings_of(machine) == before
    assert not list((machine / TRACING / "instances").iterdir())
    assert not any("cpu3/online" in file for file, _ in toy.writes)


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("at", range(4, 14))
def test_interrupted_recording_restores_settings(machine, name, at):
    before = settings_of(machine)
    toy = Toy(machine, break_at=at)
    try:
        record_here((parse_script(name),), toy)
    except KeyboardInterrupt:
        pass
    assert settings_of(machine) == before
    assert not list((machine / TRACING / "instances").iterdir())


def test_boot_cpu_and_offline_cpus_are_left_alone(machine):
    assert online_cpus(Here(machine)) == [1, 2]


def test_machine_without_tracefs_is_an_error(tmp_path):
    assert code_of(record_here, (Script("boot"),), Here(tmp_path)) == "HP447"


def test_unknown_state_is_an_error_and_restores(machine):
    before = settings_of(machine)
    script = parse_script("fail:no/such:state")
    assert code_of(record_here, (script,), Toy(machine)) == "HP448"
    assert settings_of(machine) == before


KEXEC_SHUTDOWN = Path(__file__).parents[1] / "recordings/arm64-6.12.117-kexec.trace.gz"


def test_kexec_shutdown_of_arm64_is_serial_and_conforms():
    states = KEXEC_SHUTDOWN.with_name("arm64-6.12.117-kexec.states")
    answer = conform(read_trace(KEXEC_SHUTDOWN), read_kernel_states(states))
    assert answer.conforms and answer.explained == len(answer.operations) == 20
    downs = answer.operations[-3:]
    assert [(o.cpu, o.before, o.after) for o in downs] == [
        (1, 236, 0), (2, 236, 0), (3, 236, 0)
    ]  # fmt: skip
    assert all(a.end <= b.start for a, b in pairwise(downs))
    assert not answer.overlaps


def kernel_images():
    """Images to boot: files named in CPUHP_TEST_KERNELS, separated by colons."""
    return [
        path for path in os.environ.get("CPUHP_TEST_KERNELS", "").split(":") if path
    ]


@pytest.fixture(params=["6.12", "6.1"])
def image(request):
    for path in kernel_images():
        name = Path(path).name
        if f"-{request.param}." in name and "arm64" not in name and QEMU:
            return path
    pytest.skip(f"no kernel image {request.param} in CPUHP_TEST_KERNELS, or no QEMU")


@pytest.mark.slow
@pytest.mark.kernel
@pytest.mark.parametrize(
    "smt, script", [(False, "down-up"), (True, "smt-off-on"), (False, "fail:all")]
)
def test_real_kernel_conforms(image, smt, script, tmp_path):
    guest = Guest(image, cpus=8 if smt else 4, smt=smt, timeout=240)
    recording = record_guest(guest, (parse_script(script),))
    trace = tmp_path / "real.trace"
    trace.write_text(recording.trace)
    known = parse_states(Source("states", recording.states))
    answer = conform(read_trace(trace), known)
    assert not answer.deviations
    assert answer.explained == len(answer.operations) > 5
    if known.kernel == "6.12":
        assert max(wave.most_at_once for wave in answer.parallel) >= 3
    refused = [note for note in recording.notes if note.endswith("refused")]
    if script == "fail:all":
        failed = [note for note in recording.notes if " result 1 " in note]
        rolled = [o for o in answer.operations if o.rolled_back or o.result]
        assert refused
        # A failure at the first step of all leaves no trace.
        assert len(failed) - 1 <= len(rolled) <= len(failed)


@pytest.fixture
def arm64_guest():
    """An image named as such in CPUHP_TEST_KERNELS, and CPUHP_TEST_BUSYBOX_ARM64."""
    busybox = os.environ.get("CPUHP_TEST_BUSYBOX_ARM64")
    image = next((p for p in kernel_images() if "arm64" in Path(p).name), None)
    if not (busybox and image and shutil.which("qemu-system-aarch64")):
        pytest.skip("no arm64 image in CPUHP_TEST_KERNELS, no busybox, or no QEMU")
    return Guest(image, Arch.ARM64, cpus=4, busybox=busybox, timeout=240)


@pytest.mark.slow
@pytest.mark.kernel
@pytest.mark.parametrize("script", ["down-up", "fail:all", "kexec"])
def test_real_arm64_kernel_conforms(arm64_guest, script, tmp_path):
    recording = record_guest(arm64_guest, (parse_script(script),))
    trace = tmp_path / "real.trace"
    trace.write_text(recording.trace)
    answer = conform(read_trace(trace), parse_states(Source("s", recording.states)))
    assert answer.conforms
    assert answer.explained == len(answer.operations) > 5
    if script == "fail:all":
        failed = [note for note in recording.notes if " result 1 " in note]
        rolled = [o for o in answer.operations if o.rolled_back or o.result]
        assert len(failed) - 1 <= len(rolled) <= len(failed)
