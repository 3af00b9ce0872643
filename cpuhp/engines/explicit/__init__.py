"""The explicit-state engine: exhaustive at a fixed number of CPUs."""

from cpuhp.engines.explicit.runs import RunCount, count_runs
from cpuhp.engines.explicit.search import Limits, check, check_many

__all__ = ["Limits", "RunCount", "check", "check_many", "count_runs"]
