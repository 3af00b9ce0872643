"""Which code this is: answers that other code gave are not taken over."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from cpuhp import __version__


@cache
def edition() -> str:
    """SHA-256 of the package's own modules, and the version."""
    digest = hashlib.sha256(__version__.encode())
    root = Path(__file__).parent
    for module in sorted(root.rglob("*.py")):
        digest.update(f"\n{module.relative_to(root)}\n".encode())
        digest.update(module.read_bytes())
    return digest.hexdigest()
