"""What all routes share: the store that is served, and who may come."""

from __future__ import annotations

import dataclasses
import logging
import threading

from fourfold.config import FILE, Settings
from fourfold.errors import StoreError
from fourfold.ingest import from_file
from fourfold.log import Inbox, Quarantine, open_inbox, state_at, store_folder
from fourfold.query.reader import Reader
from fourfold.serve.access import Access
from fourfold.serve.answering import Answering, Question, answer
from fourfold.serve.collector.committing import Committer
from fourfold.serve.known import Known
from fourfold.serve.lookups import Lookups
from fourfold.serve.remembered import Remembered
from fourfold.serve.unnamed import Noted
from fourfold.state import Database, catalogue, open_state

logger = logging.getLogger("fourfold")
_CLOSE_WITHIN = 5.0  # seconds for the connections to the state: one that stands still keeps no server from its end
LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


@dataclasses.dataclass(frozen=True)
class Reach:
    """Where a server is reached: the names of its host that a request may carry, and whether it is this machine only.

    ``secure``: people come by https, through a proxy that ends it.
    """

    hosts: frozenset[str] = LOOPBACK
    local: bool = True
    secure: bool = False


class Service:
    """A store that is served.

    Raises:
        ConfigError: this version cannot use the address.
        StoreError: the store or its state cannot be used.
    """

    def __init__(self, settings: Settings, reach: Reach = Reach()) -> None:
        self.settings, self.reach = settings, reach
        self.folder = store_folder(settings.store)
        self.inbox: Inbox = open_inbox(self.folder / "inbox", "disk")  # acknowledged means durable
        self.inbox.make()
        self.committer = Committer(self.inbox, settings.times)
        self.database: Database = open_state(*state_at(settings.place))
        self.lookups = Lookups(self.database.name)
        self.decisions = Lookups(self.database.name)  # who writes waits for others that do, and keeps no reader waiting
        self.known = Known(self.database, self.lookups)
        self.access = Access(self.known, open_to_all=reach.local)
        self.answers = Remembered()
        self.unnamed = Noted(Quarantine(self.folder / "quarantine"))
        self.answering: Answering | None = None
        self._readers: dict[str, Reader] = {}
        self._lock = threading.Lock()

    def declare(self) -> None:
        """Declare what fourfold.toml does; one that cannot be sent now, as to a full disk, keeps nobody from coming."""
        settings, known = self.settings, self.database.recall(catalogue.projects)
        if not (settings.tasks or settings.objectives):
            return
        project = from_file.project_of(settings, known, may_be_new=True)
        if project is None:
            logger.warning(
                "%s declares tasks or objectives and names no project, and the store holds several: %s. Name one, "
                "such as project = %r, there", FILE, ", ".join(known), known[0],
            )  # fmt: skip
            return
        try:
            from_file.declare(settings, project, self.database, self.inbox)
        except StoreError as error:
            logger.warning("%s; it is declared at the next start", error)
        from_file.tell_overruled(settings, project, self.database)

    async def projects(self) -> list[str]:
        """The projects of the store, as they were a moment ago.

        Raises:
            StateError: the state has not answered for a while.
        """
        if (lately := self.known.lately()) is not None:
            return lately.projects
        try:
            return (await self.known.now()).projects
        except Exception:
            if (before := self.known.before()) is None:
                raise
            return before.projects

    def reader(self, project: str) -> Reader:
        """The reader of a project, for questions; it takes no lock and counts nothing."""
        with self._lock:
            if project not in self._readers:
                self._readers[project] = Reader.open(self.settings.place, project, retention=self.settings.retention)
            return self._readers[project]

    def answer(self, project: str, question: Question) -> bytes:
        """What a page shows, worked out apart where that is set up.

        Raises:
            FourfoldError: what the page raises.
        """
        if self.answering is not None:
            return self.answering.answer(project, question)
        return answer(self.reader(project), question)

    def expect_questions(self) -> None:
        """Somebody looks: what works out answers is started."""
        if self.answering is not None:
            self.answering.begin()

    def close(self) -> None:
        """Make durable what waits, and close the connections to the state."""
        self.committer.close()
        if self.answering is not None:
            self.answering.close()
        self.lookups.close()
        self.decisions.close()
        closing = threading.Thread(target=self._close_state, name="fourfold-close", daemon=True)
        closing.start()
        closing.join(_CLOSE_WITHIN)

    def _close_state(self) -> None:
        for reader in self._readers.values():
            reader.close()
        self.database.close()
