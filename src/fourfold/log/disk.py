"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_BUFFER = 1 << 20  # bytes: a file of many small parts is written in few large ones


def appear(path: Path, write: Callable[[BinaryIO], None], *, by: str = "", synchronise: bool = False) -> None:
    """Let a function write a file, which has its name once it is whole; ``by`` tells apart who write it at once.

    Args:
        path: the file.
        write: is given the open file.
        by: a part of its name until then.
        synchronise: whether it has to survive a loss of power.

    Raises:
        OSError: it could not be written; nothing is left of it.
    """
    hidden = path.with_name(f".{path.stem}{by}{path.suffix}")
    try:
        with hidden.open("wb", buffering=_BUFFER) as file:
            write(file)
            if synchronise:
                file.flush()
                os.fsync(file.fileno())
        hidden.replace(path)
    except BaseException:
        hidden.unlink(missing_ok=True)
        raise
    if synchronise:
        _synchronise_folder(path.parent)


def _synchronise_folder(folder: Path) -> None:
    if os.name == "nt":  # there, folders cannot be opened
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
