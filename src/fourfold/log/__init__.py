"""The record log: records as they were logged, in Delta tables that any engine can read.

A process that logs only writes files to the ``inbox`` (safe across forks, and no engine runs in the user's
service); the next reader moves them into the ``stream`` tables. Modules that need the Delta engine are loaded on first
use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fourfold.log import messages
from fourfold.log.bucket import BucketError, BucketPath
from fourfold.log.inbox import DURABILITIES, BucketInbox, DamagedMessageError, Inbox, Message, new_writer, open_inbox
from fourfold.log.paths import StorePath
from fourfold.log.place import state_at, store_folder

if TYPE_CHECKING:
    from fourfold.log.changes import Changes, TruncatedLogError
    from fourfold.log.forks import refuse_in_fork
    from fourfold.log.logs import Logs
    from fourfold.log.mending import faults, mend, unreadable
    from fourfold.log.quarantine import Quarantine, Quarantined
    from fourfold.log.schema import Conflict
    from fourfold.log.stream import StreamLog, names

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
    "open_inbox",
    "refuse_in_fork",
    "state_at",
    "store_folder",
    "unreadable",
]
_LATER = {
    "Quarantine": "quarantine", "Quarantined": "quarantine", "Conflict": "schema", "Changes": "changes",
    "StreamLog": "stream", "Logs": "logs", "faults": "mending", "mend": "mending", "unreadable": "mending",
    "TruncatedLogError": "changes", "names": "stream", "refuse_in_fork": "forks",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
