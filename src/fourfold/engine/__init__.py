"""Where folds run: an engine reads the log, joins, and hands the records to the one kernel in ``fold``."""

from fourfold.engine.duckdb import DuckDB
from fourfold.engine.protocol import Changed, Engine, Extent, Folded, Splits

__all__ = ["Changed", "DuckDB", "Engine", "Extent", "Folded", "Splits"]
