"""Files that are whole, or not there."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


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
