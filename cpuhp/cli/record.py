"""`cpuhp record`: bring back states and trace of a kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cpuhp.kernel.recordings.scripts import Recording, Script
GROUP = "kernel"


@click.command(
    "record",
    short_help="Record CPU hotplug of a kernel in QEMU, or of this machine.",
    epilog="Exit status: 0 recorded, 2 it could not be.",
)
@click.option(
    "--kernel", type=click.Path(), metavar="FILE", help="Boot image (vmlinuz) to run."
)
@click.option(
    "--arch",
    type=click.Choice(["x86_64", "arm64"]),
    help="Architecture of the image. Default: what the image says.",
)
@click.option(
    "--cpus", type=int, default=4, metavar="N", help="CPUs of the guest; default 4."
)
@click.option("--smt", is_flag=True, help="Two threads a core.")
@click.option(
    "--script",
    "scripts",
    multiple=True,
    default=("down-up",),
    metavar="SCRIPT",
    help="boot, down-up, smt-off-on, fail:STATE, fail:all, target:STATE or kexec (arm64, "
    "comes last); repeatable; default down-up.",
)
@click.option(
    "--busybox", type=click.Path(), metavar="FILE", help="Static busybox for the guest."
)
@click.option(
    "--append", default="", metavar="TEXT", help="More of the kernel's command line."
)
@click.option(
    "--timeout",
    type=float,
    default=300.0,
    metavar="SECONDS",
    help="How long to wait for the guest; default 300.",
)
@click.option("--here", is_flag=True, help="Record this machine instead (root).")
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    default="recording",
    metavar="NAME",
    help="Write NAME.states and NAME.trace; default recording.",
)
def command(
    kernel: str | None,
    arch: str | None,
    cpus: int,
    smt: bool,
    scripts: tuple[str, ...],
    busybox: str | None,
    append: str,
    timeout: float,
    here: bool,
    output: str,
) -> None:
    """Drive CPUs down and up and bring back the trace.

    A kernel image is booted under QEMU's software emulation, without network and
    without root. Failures are injected through hotplug/fail.
    """
    from cpuhp.diagnostics import fail
    from cpuhp.kernel.recordings.scripts import parse_script

    chosen = tuple(parse_script(text) for text in scripts)
    if here:
        if kernel:
            raise fail("HP444", "give --kernel or --here, not both")
        recording = _here(chosen)
    else:
        if not kernel:
            raise fail(
                "HP444",
                "nothing to record",
                help="give a boot image by --kernel, or --here for this machine",
            )
        from cpuhp.kernel.recordings.guest import Guest, record_guest
        from cpuhp.kernel.recordings.image import Arch

        guest = Guest(
            kernel,
            Arch(arch) if arch else None,
            cpus,
            smt,
            busybox,
            append,
            timeout=timeout,
        )
        recording = record_guest(guest, chosen)
    _write(recording, output)


def _here(scripts: tuple[Script, ...]) -> Recording:
    import signal

    from cpuhp.kernel.recordings.here import Here, record_here

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    # An ordinary kill must restore the settings, too.
    before = {n: signal.signal(n, stop) for n in (signal.SIGTERM, signal.SIGHUP)}
    try:
        return record_here(scripts, Here())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write(recording: Recording, output: str) -> None:
    from pathlib import Path

    from cpuhp.diagnostics import fail
    from cpuhp.files import write_whole

    for ending, text in (("states", recording.states), ("trace", recording.trace)):
        name = f"{output}.{ending}"
        try:
            write_whole(Path(name), text)
        except OSError as error:
            raise fail("HP449", f"cannot write {name}: {error.strerror}") from None
        click.echo(f"{name}: {len(text.splitlines())} lines")
    for note in recording.notes:
        click.echo(f"  {note}")
    click.echo(f"check it: cpuhp conform {output}.trace")
