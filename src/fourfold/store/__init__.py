"""The three stores as one: takes what was sent, folds what is new, and answers questions."""

from fourfold.store.ask import metric
from fourfold.store.compare import Comparison, Difference, compare
from fourfold.store.result import Result, Row
from fourfold.store.skew import discrepancies, skew
from fourfold.store.store import Store
from fourfold.store.trace import Trace, trace

__all__ = [
    "Comparison",
    "Difference",
    "Result",
    "Row",
    "Store",
    "Trace",
    "compare",
    "discrepancies",
    "metric",
    "skew",
    "trace",
]
