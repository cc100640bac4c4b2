"""The state: catalogue, runs and counts, in SQLite.

``Database`` opens it; the modules ``catalogue``, ``series``, ``adding`` and ``runs`` are the queries, each a function
of a connection, so that several of them make one transaction.
"""

from fourfold.state import adding, catalogue, runs, series
from fourfold.state.database import Database, StateError, open_state

__all__ = ["Database", "StateError", "adding", "catalogue", "open_state", "runs", "series"]
