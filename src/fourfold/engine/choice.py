"""The engine of a name."""

from __future__ import annotations

from fourfold.engine.duckdb import DuckDB
from fourfold.engine.engine import Engine
from fourfold.errors import ConfigError
from fourfold.model import DUCKDB


def make_engine(name: str) -> Engine:
    """The engine of a name.

    Raises:
        ConfigError: this version has none of that name.
    """
    if name != DUCKDB:
        raise ConfigError(f"engine={name!r}: this version has the engine {DUCKDB!r} only")
    return DuckDB()
