"""Files that verbs read and write: results whole and checked, outputs whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cpuhp.report.results import Results

MAX_RESULT = 64 << 20  # bytes


def write_whole(path: Path, text: str | bytes | Iterable[str]) -> None:
    """Write a file so that a reader, or a full disk, never leaves a part of it.

    `text` may come in pieces.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    pieces = [text] if isinstance(text, (str, bytes)) else text
    try:
        with part.open("wb") as file:
            for piece in pieces:
                file.write(piece if isinstance(piece, bytes) else piece.encode())
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def read_json(path: str) -> Any:
    """The JSON value in a file. Raises InputError HP810 if there is none."""
    import json

    from cpuhp.diagnostics import fail
    from cpuhp.report.results import HINT

    with open(path, "rb") as file:
        data = file.read(MAX_RESULT + 1)
    try:
        if len(data) > MAX_RESULT:
            raise ValueError("it is too large")
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise fail("HP810", f"'{path}' is not JSON: {error}", help=HINT) from None


def read_results(path: str) -> Results:
    """The results file. Raises InputError HP810 if it is none."""
    from cpuhp.report.results import results_of

    return results_of(read_json(path), path)
