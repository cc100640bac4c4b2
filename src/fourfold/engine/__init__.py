"""Engines run the folds: they read the log, join, and pass the records to the one kernel in ``fold``."""

from fourfold.engine.choice import MASTER, make_engine
from fourfold.engine.duckdb import DuckDB
from fourfold.engine.engine import Engine
from fourfold.engine.expressions import check_expression, check_slices, columns_of_slice
from fourfold.engine.protocol import Batch, ChangedLog, Discrepancy, Extent, Folded, Splits, TooSlowError
from fourfold.engine.stopping import StoppedError

__all__ = [
    "MASTER",
    "Batch",
    "ChangedLog",
    "Discrepancy",
    "DuckDB",
    "Engine",
    "Extent",
    "Folded",
    "Splits",
    "StoppedError",
    "TooSlowError",
    "check_expression",
    "check_slices",
    "columns_of_slice",
    "make_engine",
]
