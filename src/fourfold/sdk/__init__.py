"""The part of fourfold that runs in the user's process: it tracks, logs and asks, and never gets in the way."""

from fourfold.sdk.history import ColumnHistory, History, history
from fourfold.sdk.questions import compare, discrepancies, metric, skew, trace
from fourfold.sdk.session import Session, flush, init, log, task
from fourfold.sdk.tracking import Tracked, component, run

__all__ = [
    "ColumnHistory",
    "History",
    "Session",
    "Tracked",
    "compare",
    "component",
    "discrepancies",
    "flush",
    "history",
    "init",
    "log",
    "metric",
    "run",
    "skew",
    "task",
    "trace",
]
