"""The three stores as one: takes what was sent, folds what is new, and answers questions."""

from fourfold.store.read import metric
from fourfold.store.result import Result, Row
from fourfold.store.store import Store, store_folder

__all__ = ["Result", "Row", "Store", "metric", "store_folder"]
