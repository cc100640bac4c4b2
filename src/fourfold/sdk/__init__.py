"""The part of fourfold that runs in the user's process: it tracks, logs and asks, and never gets in the way."""

from fourfold.sdk.history import ColumnHistory, History, history
from fourfold.sdk.session import Session, flush, init, log, metric, task
from fourfold.sdk.tracking import Tracked, component, run

__all__ = [
    "ColumnHistory",
    "History",
    "Session",
    "Tracked",
    "component",
    "flush",
    "history",
    "init",
    "log",
    "metric",
    "run",
    "task",
]
