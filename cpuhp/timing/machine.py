"""Which costs a scenario is estimated with if nobody says so."""

from __future__ import annotations

from cpuhp.language.program import Program

BRINGUP = {"arm64": "arm64-park-128", "x86_64": "x86-skylake-112"}
SHUTDOWN = {"arm64": "arm64-kexec-80", "x86_64": "arm64-kexec-80"}


def usual_costs(program: Program) -> str | None:
    """Name of the shipped costs for the program's hotplug table, None if none fits."""
    arch = program.table.name.split("-")[0]
    option = program.options.get("starts_online")
    if option is None:
        return None
    return (SHUTDOWN if option.value else BRINGUP).get(arch)
