"""The place of a store."""

from __future__ import annotations

import os
import re
from pathlib import Path

from fourfold.errors import ConfigError


def store_folder(address: str | os.PathLike[str]) -> Path:
    """The folder that a store's address names."""
    text = os.fspath(address)
    if "://" in text:
        raise ConfigError(
            f"store={text!r}: this version keeps stores in a folder; stores on object storage and behind a "
            "collector are not there yet. Give a path, such as '.fourfold'."
        )
    if not text:
        raise ConfigError("store='': give a path, such as '.fourfold'")
    folder = Path(text).expanduser().absolute()  # wherever the process goes later
    if found := re.search(r"%[0-9a-fA-F]{2}|[\[\]]", str(folder)):
        raise ConfigError(
            f"store={str(folder)!r}: the Delta engine reads {found[0]!r} in a path as something else; choose a folder "
            "without"
        )
    return folder
