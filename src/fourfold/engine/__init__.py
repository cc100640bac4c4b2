"""Where folds run: an engine reads the log, joins, and hands the records to the one kernel in ``fold``."""

from fourfold.engine.duckdb import DuckDB
from fourfold.engine.protocol import Changed, Engine, Folded

__all__ = ["Changed", "DuckDB", "Engine", "Folded"]
