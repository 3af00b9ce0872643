"""Files that are whole, or not there."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

CERTIFICATE = ".hpcert.json"  # how the name of a certificate's file ends
Pieces = str | bytes | Iterable[str]


def write_whole(path: Path, text: Pieces) -> None:
    """Write a file so that a reader, or a full disk, never leaves a part of it.

    `text` may come in pieces. A link stays one: what it leads to is written. Devices
    and pipes are written to as they are. Raises OSError that names `path`.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as file:
                _write(file, text)
        else:
            _replace(Path(os.path.realpath(path)), text)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _replace(path: Path, text: Pieces) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            _write(file, text)
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def _write(file: BinaryIO, text: Pieces) -> None:
    for piece in [text] if isinstance(text, (str, bytes)) else text:
        file.write(piece if isinstance(piece, bytes) else piece.encode())
    file.flush()
