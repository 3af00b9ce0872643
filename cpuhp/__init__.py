"""cpuhp: is it safe to run CPU hotplug callbacks of many CPUs at once?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cpuhp.api import Scenario, certify, load, loads, scenarios, table

__version__ = "0.1.0"
__all__ = ["Scenario", "certify", "load", "loads", "scenarios", "table"]


def __getattr__(name: str) -> Any:
    # The command line must answer at once, so the interface is imported when used.
    if name in __all__:
        from cpuhp import api

        return getattr(api, name)
    raise AttributeError(f"module 'cpuhp' has no attribute '{name}'")
