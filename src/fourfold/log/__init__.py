"""The record log: records as they were logged, in Delta tables that any engine can read.

A process that logs only writes files to the ``inbox`` (safe across forks, and no engine runs in the user's
service); the next reader moves them into the ``stream`` tables. Each module is loaded on first use: who sends to a
collector needs neither Arrow's files nor the Delta engine.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fourfold.log import messages
    from fourfold.log.bucket import BucketError, BucketPath, of_client
    from fourfold.log.changes import Changes, TruncatedLogError
    from fourfold.log.forks import refuse_in_fork
    from fourfold.log.inbox import BucketInbox, Inbox, open_inbox
    from fourfold.log.logs import Logs
    from fourfold.log.mending import faults, mend, unreadable
    from fourfold.log.paths import StorePath
    from fourfold.log.place import state_at, store_folder
    from fourfold.log.quarantine import Quarantine, Quarantined
    from fourfold.log.schema import Conflict
    from fourfold.log.stream import StreamLog, names
    from fourfold.log.wire import DamagedMessageError, Message
    from fourfold.log.writers import DURABILITIES, new_writer

__all__ = [
    "DURABILITIES",
    "BucketError",
    "BucketInbox",
    "BucketPath",
    "Changes",
    "Conflict",
    "DamagedMessageError",
    "Inbox",
    "Logs",
    "Message",
    "Quarantine",
    "Quarantined",
    "StorePath",
    "StreamLog",
    "TruncatedLogError",
    "faults",
    "mend",
    "messages",
    "names",
    "new_writer",
    "of_client",
    "open_inbox",
    "refuse_in_fork",
    "state_at",
    "store_folder",
    "unreadable",
]
_WHERE = {
    "bucket": ("BucketError", "BucketPath", "of_client"),
    "changes": ("Changes", "TruncatedLogError"),
    "forks": ("refuse_in_fork",),
    "inbox": ("BucketInbox", "Inbox", "open_inbox"),
    "logs": ("Logs",),
    "mending": ("faults", "mend", "unreadable"),
    "paths": ("StorePath",),
    "place": ("state_at", "store_folder"),
    "quarantine": ("Quarantine", "Quarantined"),
    "schema": ("Conflict",),
    "stream": ("StreamLog", "names"),
    "wire": ("DamagedMessageError", "Message"),
    "writers": ("DURABILITIES", "new_writer"),
}


def __getattr__(name: str) -> Any:
    module = "messages" if name == "messages" else next((m for m, names in _WHERE.items() if name in names), None)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = importlib.import_module(f"{__name__}.{module}")
    globals()[name] = found if name == "messages" else getattr(found, name)
    return globals()[name]
