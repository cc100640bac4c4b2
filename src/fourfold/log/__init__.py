"""The record log: what was logged, as it was logged, in Delta tables that any engine can read.

A process that logs only drops files in the ``inbox`` (safe across forks, and no engine runs in the user's
service); whoever reads next moves them into the ``stream`` tables.
"""

from fourfold.log.inbox import Inbox, Message, new_writer
from fourfold.log.quarantine import Quarantine, Quarantined
from fourfold.log.stream import Changes, StreamLog, TruncatedLogError

__all__ = [
    "Changes",
    "Inbox",
    "Message",
    "Quarantine",
    "Quarantined",
    "StreamLog",
    "TruncatedLogError",
    "new_writer",
]
