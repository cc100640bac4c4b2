"""The state: catalogue, runs and counts, in SQLite or PostgreSQL.

``Database`` opens it; the modules ``catalogue``, ``series``, ``adding`` and ``runs`` are the queries, each a function
of a connection, so that several of them make one transaction.
"""

from fourfold.state import adding, catalogue, runs, series
from fourfold.state.database import Database, LostLockError, StateError, open_state

__all__ = ["Database", "LostLockError", "StateError", "adding", "catalogue", "open_state", "runs", "series"]
