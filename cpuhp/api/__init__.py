"""The public Python interface: what the command line does, as a few calls.

scenario = cpuhp.load("shutdown-three-phase", order="arm64.states")
for answer in scenario.check():
    print(answer.check, answer.verdict)
"""

from cpuhp.api.certificates import certify
from cpuhp.api.loading import load, loads, scenarios
from cpuhp.api.scenario import DEFAULT_CPUS, Scenario, context_of
from cpuhp.api.tables import DEFAULT_TABLE, ON_A_TABLE, table
from cpuhp.engines.answer import Settings
from cpuhp.language.tree import shown_name

__all__ = [
    "DEFAULT_CPUS",
    "DEFAULT_TABLE",
    "ON_A_TABLE",
    "Scenario",
    "Settings",
    "certify",
    "context_of",
    "load",
    "loads",
    "scenarios",
    "shown_name",
    "table",
]
