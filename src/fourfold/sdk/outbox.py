"""The messages of this process to a store: numbered, and kept in memory while the disk cannot be written.

Those to a bucket go to a spool on the disk first.
"""

from __future__ import annotations

import collections
import threading
from typing import TYPE_CHECKING

from fourfold.errors import StoreError, let_end
from fourfold.log import messages
from fourfold.log.writers import new_writer
from fourfold.sdk.form import Payload
from fourfold.sdk.host import Host, error_text
from fourfold.sdk.spool import Spool, SpoolFullError

if TYPE_CHECKING:
    from fourfold.log import Inbox

MOST_UNSENT = 256 << 20  # bytes of messages kept while the disk cannot be written
_NO_ROOM = "found the spool full (FOURFOLD_SPOOL_BYTES says how much it may hold)"
_NO_MESSAGE = "could not be put into a message"
_NOT_WRITTEN = "could not be written for so long that memory could not hold them"


class Outbox:
    """The messages that this process, one writer, puts into an inbox.

    ``lock`` guards the sequence; ``dropped`` counts the records that are not there any more, by what befell them.
    """

    def __init__(self, inbox: Inbox | Spool, host: Host) -> None:
        self.inbox = inbox
        self.has_sent = False  # whether this process, or the one it was forked from, has sent anything
        self._host = host
        self._unsent: collections.deque[tuple[int, messages.Header, Payload | None]] = collections.deque()
        self._why = ""
        self.start_anew()

    def start_anew(self) -> None:
        """Start as a new writer with nothing to send: in a new process, or the child of a fork."""
        self.lock = threading.RLock()
        self.dropped: collections.Counter[str] = collections.Counter()
        self.sequence, self._writer = 0, new_writer()
        self._unsent.clear()

    def post(self, header: messages.Header, payload: Payload | None = None) -> None:
        """Write a message to the inbox, or keep it for the next time if the disk cannot be written."""
        with self.lock:
            self.sequence += 1
            self.has_sent = True
            self._unsent.append((self.sequence, header, payload))
            self.post_unsent()

    def post_unsent(self) -> None:
        """Write the kept messages, the oldest first, as long as the disk can be written."""
        while self._unsent:
            sequence, header, payload = self._unsent[0]
            try:
                self.inbox.put(self._writer, sequence, header, payload)
            except SpoolFullError:
                self.dropped[_NO_ROOM] += payload.num_rows if payload is not None else 1
            except (OSError, StoreError) as error:
                self._why = f"the store's folder {self.inbox.folder} cannot be written: {error}"
                self._bound_unsent()
                return
            except BaseException as error:  # what no message can hold
                let_end(error)
                self._host.warn(f"a message could not be written: {type(error).__name__}: {error_text(error)}")
                self.dropped[_NO_MESSAGE] += payload.num_rows if payload is not None else 1
            if self._unsent and self._unsent[0][0] == sequence:  # a signal's handler may have sent it meanwhile
                self._unsent.popleft()

    def has_room(self) -> bool:
        """Whether all is written, and records can be."""
        return not self._unsent and (not isinstance(self.inbox, Spool) or self.inbox.has_room())

    def check(self) -> None:
        """Check that all is written.

        Raises:
            StoreError: the store's folder cannot be written.
        """
        if self._unsent:
            raise StoreError(f"{self._why}. {len(self._unsent)} messages are kept and sent as soon as it can be")

    def _bound_unsent(self) -> None:
        """Drop the oldest messages beyond the memory limit, and count their records."""
        while sum(payload.nbytes for _, _, payload in self._unsent if payload is not None) > MOST_UNSENT:
            _, _, payload = self._unsent.popleft()
            self.dropped[_NOT_WRITTEN] += payload.num_rows if payload is not None else 0
