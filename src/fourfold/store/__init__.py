"""The three stores as one: takes what was sent, folds what is new, and answers questions."""

from fourfold.store.overview import ComponentView, StreamView, TaskView
from fourfold.store.result import Result, Row
from fourfold.store.store import Store

__all__ = ["ComponentView", "Result", "Row", "Store", "StreamView", "TaskView"]
