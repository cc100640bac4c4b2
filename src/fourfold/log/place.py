"""The places of a store's log, and of a state that is in a file."""

from __future__ import annotations

import os
import re
from pathlib import Path

from fourfold.errors import ConfigError
from fourfold.log.bucket import SCHEMES, BucketPath
from fourfold.log.paths import StorePath
from fourfold.model.place import Endpoint, Place, is_collector


def store_folder(address: str | os.PathLike[str]) -> StorePath:
    """The folder, or the path in a bucket, that a store's address names."""
    text = os.fspath(address)
    scheme, is_url, _ = text.partition("://")
    if scheme in SCHEMES and is_url:
        return BucketPath.of(text)
    if is_collector(text):
        raise ConfigError(
            f"store='{Endpoint.of(text)}' is a collector: records and runs are sent there, and no questions are "
            "answered. Ask where the store is: its pages are at that address, and ff.init(store=…) or --store with the "
            "store's own folder or bucket opens it"
        )
    if is_url:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise ConfigError(
            f"store={scheme}://…: give a folder, such as '.fourfold', a bucket by one of {known}, or a collector by "
            "http:// or https://"
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


def state_at(place: Place) -> tuple[str, Path]:
    """A state's URL and its folder: one that has no URL is in a file, in the folder that is named, or in the store's.

    Raises:
        ConfigError: neither is named, and the store is in a bucket, where no such file can be.
    """
    if "://" in place.state:
        return place.state, Path()
    if place.state:
        return "", Path(place.state).expanduser().absolute()
    folder = store_folder(place.store)
    if isinstance(folder, Path):
        return "", folder
    raise ConfigError(
        f"store='{folder}': a store in a bucket keeps its state elsewhere; name a database, as in "
        "state='postgresql://host/fourfold', or, where one machine asks, a folder: state='/var/lib/fourfold'"
    )
