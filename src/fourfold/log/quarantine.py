"""The quarantine: batches that do not fit their stream, kept with the reason, so that nothing is lost."""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from fourfold.errors import StoreError
from fourfold.log.messages import Dropped
from fourfold.log.paths import StorePath, move, path_of, write_parquet, write_whole
from fourfold.log.wire import Bytes

NOTED_FOR = 86_400.0  # seconds for which it is told that requests named no project


@dataclasses.dataclass(frozen=True, slots=True)
class Quarantined:
    """A batch kept aside, a column's values of one, or a file of the inbox that could not be read."""

    stream: str
    batch: str
    rows: int
    reason: str
    at: float  # seconds since 1970
    path: str
    project: str = ""
    column: str = ""  # of a batch that is in the log but for the values of this column

    @property
    def note(self) -> StorePath:
        """The file that says why."""
        return path_of(self.path).with_suffix(".json")

    @property
    def message(self) -> StorePath:
        """The file of the inbox, where it is one."""
        return path_of(self.path).with_suffix(".arrow")


@dataclasses.dataclass(frozen=True, slots=True)
class Unnamed:
    """Requests of one sender that a collector refused, as they named no project where several could be meant."""

    sender: str
    asked: str  # the newest one's method and path
    requests: int
    first: float  # seconds since 1970
    last: float


class Quarantine:
    """A folder of Parquet files, each with a JSON file beside it that says why.

    In ``dropped/`` there is a JSON file for each process that has dropped records, with their number; in ``unnamed/``
    one for each collector, with the requests that it refused as they named no project.
    """

    def __init__(self, folder: StorePath) -> None:
        self.folder = folder
        self.dropped_folder, self._unnamed_folder = folder / "dropped", folder / "unnamed"

    @property
    def ledgers(self) -> tuple[StorePath, ...]:
        """The folders in it that hold numbers, and nothing of what was sent."""
        return self.dropped_folder, self._unnamed_folder

    def keep(
        self, stream: str, batch: str, table: pa.Table, reason: str, *, project: str = "", column: str = ""
    ) -> Quarantined:
        """Put a batch into quarantine; twice, it is there once.

        Raises:
            StoreError: the folder cannot be written.
        """
        path = self.folder / f"{batch}.parquet"
        entry = Quarantined(stream, batch, table.num_rows, reason, time.time(), str(path), project, column)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_parquet(table, path)
            self.note(entry)
        except OSError as error:
            raise StoreError(f"the quarantine {self.folder} cannot be written: {error}") from error
        return entry

    def keep_file(self, file: StorePath, reason: str, stream: str = "inbox", project: str = "") -> None:
        """Put a file aside that cannot be taken: it is moved here, whole.

        Raises:
            StoreError: the folder cannot be written.
        """
        self.keep(stream, file.stem, pa.table({}), reason, project=project)
        try:
            move(file, self.folder / file.name)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StoreError(f"the quarantine {self.folder} cannot be written: {error}") from error

    def keep_message(self, message: str, content: Bytes, reason: str, stream: str = "inbox", project: str = "") -> None:
        """As ``keep_file``, of a message that was in a file with others.

        Raises:
            StoreError: the folder cannot be written.
        """
        self.keep(stream, message, pa.table({}), reason, project=project)
        try:
            write_whole(self.folder / f"{message}.arrow", bytes(content))
        except OSError as error:
            raise StoreError(f"the quarantine {self.folder} cannot be written: {error}") from error

    def note(self, entry: Quarantined) -> None:
        """Write down why a batch is here."""
        _write(entry.note, entry)

    def remove(self, entry: Quarantined) -> None:
        """Remove an entry that was taken after all; the note last, so that a crash leaves it for another try."""
        entry.message.unlink(missing_ok=True)
        path_of(entry.path).unlink(missing_ok=True)
        entry.note.unlink(missing_ok=True)

    def note_dropped(self, writer: str, total: Dropped) -> None:
        """Note how many records a process has dropped; in whatever order its messages come, the highest stays."""
        self.dropped_folder.mkdir(parents=True, exist_ok=True)
        path = self.dropped_folder / f"{writer}.json"
        known = _dropped(path)
        if known is None or known.records < total.records:
            _write(path, total)

    def dropped(self) -> list[Dropped]:
        """How many records each process has dropped, the newest first."""
        found = filter(None, map(_dropped, self.dropped_folder.glob("*.json")))
        return sorted(found, key=lambda total: -total.at)

    def note_unnamed(self, collector: str, several: Sequence[Unnamed]) -> None:
        """Write down what a collector refused of late, in the place of what it wrote before; what is old goes."""
        self._unnamed_folder.mkdir(parents=True, exist_ok=True)
        content = json.dumps([dataclasses.asdict(each) for each in several])
        write_whole(self._unnamed_folder / f"{collector}.json", content.encode())
        for path in self._unnamed_folder.glob("*.json"):
            if (known := _unnamed(path)) is not None and not any(map(_is_new, known)):
                path.unlink(missing_ok=True)

    def unnamed(self) -> list[Unnamed]:
        """What collectors have refused of late as it named no project, the newest first."""
        notes = (_unnamed(path) or () for path in self._unnamed_folder.glob("*.json"))
        new = sorted(filter(_is_new, itertools.chain.from_iterable(notes)), key=lambda each: each.last)
        found: dict[str, Unnamed] = {}  # by sender, whichever collectors it came to
        for each in new:
            if (before := found.pop(each.sender, None)) is not None:
                requests, first = before.requests + each.requests, min(before.first, each.first)
                each = dataclasses.replace(each, requests=requests, first=first)
            found[each.sender] = each
        return [*found.values()][::-1]

    def entries(self) -> list[Quarantined]:
        """What is kept, the oldest first; an entry that cannot be read says so."""
        if not self.folder.is_dir():
            return []
        return sorted(map(_entry, self.folder.glob("*.json")), key=lambda entry: entry.at)


def _write(path: StorePath, entry: Quarantined | Dropped) -> None:
    write_whole(path, json.dumps(dataclasses.asdict(entry), ensure_ascii=False).encode())


def _dropped(path: StorePath) -> Dropped | None:
    try:
        return Dropped(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError):  # gone, or no such note
        return None


def _is_new(each: Unnamed) -> bool:
    return time.time() - each.last < NOTED_FOR


def _unnamed(path: StorePath) -> list[Unnamed] | None:
    """What a note says; None where it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return [Unnamed(str(each["sender"]), str(each["asked"]), int(each["requests"]), float(each["first"]),
                        float(each["last"])) for each in found]  # fmt: skip
    except (OSError, TypeError, ValueError, KeyError, OverflowError):  # gone, or no such note
        return None


def _entry(path: StorePath) -> Quarantined:
    try:
        return _of_note(json.loads(path.read_text(encoding="utf-8")), path)
    except (OSError, TypeError, ValueError, KeyError) as error:
        reason = f"its note {path.name} cannot be read: {error}"
        return Quarantined("quarantine", path.stem, 0, reason, 0.0, str(path))


def _of_note(note: Mapping[str, Any], path: StorePath) -> Quarantined:
    """The contents of a note; its file is beside it, even if the store was moved."""
    texts = {name: note.get(name, "") for name in ("stream", "batch", "reason", "project", "column")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise TypeError("a field is no text")
    return Quarantined(**texts, rows=int(note["rows"]), at=float(note["at"]), path=str(path.with_suffix(".parquet")))
