"""The engine of a name."""

from __future__ import annotations

from fourfold.engine.duckdb import DuckDB
from fourfold.engine.engine import Engine
from fourfold.errors import ConfigError
from fourfold.model import DUCKDB, ENGINES, SPARK

MASTER = "FOURFOLD_SPARK_MASTER"  # where a Spark session of ours runs; without it: local[*]


def make_engine(name: str) -> Engine:
    """The engine of a name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name == DUCKDB:
        return DuckDB()
    if name == SPARK:
        from fourfold.engine.spark import Spark

        return Spark()
    raise ConfigError(f"engine={name!r} is not known; give one of {', '.join(map(repr, ENGINES))}")
