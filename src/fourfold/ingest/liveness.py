"""Finds lost runs, whose process was killed."""

from __future__ import annotations

import os
import socket

from fourfold.state import Database, runs


def mark_lost(database: Database) -> None:
    """Mark the runs of this machine as lost that have not ended though their process has."""
    running = database.recall(runs.running, socket.gethostname())
    lost = [run for run, process in running.items() if not _is_alive(process)]
    if lost:
        with database.write() as connection:
            runs.mark_lost(connection, lost)


def _is_alive(process: int) -> bool:
    if os.name == "nt":  # there, signal 0 is not a question
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True
