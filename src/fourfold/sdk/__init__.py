"""The part of fourfold that runs in the user's process: it tracks, logs and asks, and never gets in the way.

What logs is imported here; ``questions`` and ``history`` load the engines and are imported when they are asked.
"""

from fourfold.sdk.session import Session, flush, init, log, task
from fourfold.sdk.tracking import Tracked, component, run

__all__ = ["Session", "Tracked", "component", "flush", "init", "log", "run", "task"]
