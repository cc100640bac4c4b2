"""The place of a store."""

from __future__ import annotations

import os
import re
from pathlib import Path

from fourfold.errors import ConfigError
from fourfold.log.bucket import SCHEMES, BucketPath
from fourfold.log.paths import StorePath


def store_folder(address: str | os.PathLike[str]) -> StorePath:
    """The folder, or the path in a bucket, that a store's address names."""
    text = os.fspath(address)
    scheme, is_url, _ = text.partition("://")
    if scheme in SCHEMES and is_url:
        return BucketPath.of(text)
    if is_url:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise ConfigError(
            f"store={scheme}://…: give a folder, such as '.fourfold', or a bucket by one of {known} (stores behind a "
            "collector are not there yet)"
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
