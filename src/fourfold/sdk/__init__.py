"""The part of fourfold that runs in the user's process: it tracks, logs and asks, and never disturbs it.

This module imports what logging needs; ``questions`` and ``history`` load the engines and are imported on first use.
"""

from fourfold.sdk.component import component
from fourfold.sdk.objectives import objective
from fourfold.sdk.session import Session, flush, init, log
from fourfold.sdk.tasks import task
from fourfold.sdk.tracking import Tracked, run

__all__ = ["Session", "Tracked", "component", "flush", "init", "log", "objective", "run", "task"]
