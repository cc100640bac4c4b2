"""How the columns of frames are counted in this process: as it began, else as the store knows them.

A store in a folder is asked at once. Another one is asked by a thread, for which the host waits a moment, and no
longer: without an answer, the frame is counted by bins of its own, which the store keeps beside the others. An answer
that comes later is used for the next frame.
"""

from __future__ import annotations

import functools
import json
import threading
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from fourfold.errors import StoreError
from fourfold.fold import Plan
from fourfold.fold.written import plan_from_plain
from fourfold.log.collector import CollectorInbox

if TYPE_CHECKING:
    from fourfold.query.reader import Reader
    from fourfold.sdk.session import Session

WAIT = 1.0  # seconds that the host waits for an answer
AGAIN = 30.0  # seconds after which a store that did not answer is asked again


class Plans:
    """The plans of streams, by their names."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._plans: dict[str, Plan] = {}
        self._reader: Reader | None = None
        self._inherited: list[Reader | None] = []
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._unsure: set[str] = set()  # the streams of which the store has said nothing yet
        self._asking: threading.Event | None = None  # set when the thread that asks has its answer
        self._away_until = 0.0  # a store that does not answer is left alone until then

    def get(self, stream: str) -> Plan:
        """The plan of a stream's columns."""
        if not self._is_far:
            if stream not in self._plans:
                self._plans[stream] = self._session.store.reader.plan(stream)
        elif stream not in self._plans or stream in self._unsure:
            give_up = monotonic() + WAIT
            while (asking := self._ask(stream)) is not None and stream not in self._plans:
                if not asking.wait(max(give_up - monotonic(), 0.0)):
                    self._away_until = monotonic() + AGAIN
        return self._plans.get(stream) or Plan()

    def keep(self, stream: str, plan: Plan) -> None:
        """Fix more of a stream's columns."""
        with self._lock:
            if self._is_far and stream not in self._plans:
                self._unsure.add(stream)
            self._plans[stream] = plan

    def forked(self) -> None:
        """In the child of a fork: a connection is neither used nor closed there."""
        self._inherited.append(self._reader)
        self._reader = None
        self._begin()

    def close(self) -> None:
        """Close the connection to the state."""
        if self._reader is not None:
            self._reader.close()

    @functools.cached_property
    def _is_far(self) -> bool:
        """Whether to ask the store takes a network."""
        return "://" in self._session.settings.store or "://" in self._session.settings.state

    def _ask(self, stream: str) -> threading.Event | None:
        """What tells that a thread has its answer: to this, or to what it was asked before; None where none comes."""
        with self._lock:
            if monotonic() < self._away_until or (stream in self._plans and stream not in self._unsure):
                return None
            if self._asking is not None:
                return self._asking
            self._asking = done = threading.Event()
        try:
            threading.Thread(target=self._answer, args=(stream, done), name="fourfold-plans", daemon=True).start()
        except RuntimeError:  # at the end of a process no thread can be started
            self._asking = None
            return None
        return done

    def _answer(self, stream: str, done: threading.Event) -> None:
        try:
            plan = self._asked(stream)
        except Exception:  # it does not exist yet, or is away, which the sender is told of too, and warns
            plan = None
        with self._lock:
            if plan is not None:
                self._unsure.discard(stream)
                self._plans[stream] = plan
                self._away_until = 0.0
            else:
                self._away_until = monotonic() + AGAIN
            if self._asking is done:
                self._asking = None
        done.set()

    def _asked(self, stream: str) -> Plan:
        if (collector := self._session.collector) is not None:
            try:
                return _of_collector(collector, self._session.project, stream)
            finally:
                collector.leave()
        from fourfold.query.reader import Reader

        if self._reader is None:
            settings = self._session.settings
            self._reader = Reader.open(settings.place, self._session.project, retention=settings.retention)
        return self._reader.plan(stream)


def _of_collector(collector: CollectorInbox, project: str, stream: str) -> Plan:
    named = quote(stream, safe="", errors="backslashreplace")
    path = f"/v1/streams/{named}/plan?{urlencode({'project': project}, errors='backslashreplace')}"
    try:
        return plan_from_plain(json.loads(collector.get(path)))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(f"{collector.folder} answers with no plan: {error}") from error
