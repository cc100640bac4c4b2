"""Where a store is: its log, its state, and what counts it."""

from __future__ import annotations

import dataclasses
from typing import Protocol

DUCKDB, SPARK = "duckdb", "spark"
ENGINES = (DUCKDB, SPARK)


@dataclasses.dataclass(frozen=True)
class Place:
    """The addresses of a store's three parts.

    ``store`` is a folder or the URL of a bucket; ``state`` is a database's URL, or empty for SQLite in the folder;
    ``engine`` is the name of one of ``ENGINES``.
    """

    store: str
    state: str = dataclasses.field(default="", repr=False)  # it may hold a password
    engine: str = DUCKDB

    @classmethod
    def of(cls, address: Address) -> Place:
        """A place, or that of a store that is all in one folder."""
        return address if isinstance(address, Place) else cls(str(address))


class PathLike(Protocol):
    """A path, such as that of ``pathlib``."""

    def __fspath__(self) -> str:
        """The path as text, which it is as a text too."""


Address = Place | str | PathLike
