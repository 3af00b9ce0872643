"""The one definition of meaning: what a state is and what an action does to it."""

from cpuhp.semantics.accesses import accesses
from cpuhp.semantics.describe import cell_name, cell_value, changes, describe
from cpuhp.semantics.evaluate import Binding, evaluate, holds
from cpuhp.semantics.machine import Machine, default_value
from cpuhp.semantics.replay import (
    Instance,
    ReplayError,
    instance_of,
    is_fair,
    last_state,
    replay,
    state_before,
)
from cpuhp.semantics.steps import (
    apply,
    bindings,
    can_progress,
    enabled,
    initial_states,
    is_at_rest,
    is_enabled,
    is_free,
    is_initial,
    is_quiescent,
    is_stuck,
)

__all__ = [
    "Binding",
    "Instance",
    "Machine",
    "ReplayError",
    "accesses",
    "apply",
    "bindings",
    "can_progress",
    "cell_name",
    "cell_value",
    "changes",
    "default_value",
    "describe",
    "enabled",
    "evaluate",
    "holds",
    "initial_states",
    "instance_of",
    "is_at_rest",
    "is_enabled",
    "is_fair",
    "is_free",
    "is_initial",
    "is_quiescent",
    "is_stuck",
    "last_state",
    "replay",
    "state_before",
]
