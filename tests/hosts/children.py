"""What children of a test's process do: in a module that imports little, as a new interpreter imports it."""

from pathlib import Path

import fourfold as ff


def log_in_child(store: Path, i: int) -> None:
    ff.init(store, "test")
    ff.log("p", key=i, v=1.0)


def log_one(i: int) -> int:
    ff.log("p", key=i, v=1.0)
    return i
