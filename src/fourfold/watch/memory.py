"""What the watch remembers from one check to the next: what was judged, what fires, and the series' histories."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
from collections.abc import Callable, Mapping

import numpy as np

from fourfold.model import DAY, HOUR, Finding, finding_from_plain
from fourfold.query.reader import Reader
from fourfold.state import memory as memories
from fourfold.watch.histories import DamagedMemoryError, Histories
from fourfold.watch.signals.anchors import CELLS
from fourfold.watch.signals.columns import COMPARED

NAME = "watch"  # under which it is kept
_FORMAT = 2


@dataclasses.dataclass
class Memory:
    """What a check leaves for the next one.

    ``last`` is the newest judged bucket of each detector, ``live`` the streams of each level that were up to date at
    the newest check, at ``checked``, ``begun`` when each of them did; ``loggers`` is the component of each stream,
    ``firing`` the signals that have changed, by their keys; ``held`` are the other findings, of runs, constraints and
    objectives, that held at the newest check. ``parts`` reads the histories: a check that judges nothing new does not.
    """

    last: dict[str, int] = dataclasses.field(default_factory=dict)
    live: dict[int, set[str]] = dataclasses.field(default_factory=dict)
    begun: dict[int, dict[str, int]] = dataclasses.field(default_factory=dict)
    loggers: dict[str, str] = dataclasses.field(default_factory=dict)
    firing: dict[str, Finding] = dataclasses.field(default_factory=dict)
    learning: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    checked: float | None = None
    held: set[str] = dataclasses.field(default_factory=set)
    parts: Callable[[], Mapping[str, bytes]] | None = None

    @functools.cached_property
    def histories(self) -> Histories:
        """The detectors, and what columns are compared with.

        Raises:
            DamagedMemoryError: the bytes are damaged, or of another version.
        """
        return Histories() if self.parts is None else Histories.of(self.parts())

    @property
    def used(self) -> Histories | None:
        """The histories, if they were needed: only then may they have changed."""
        return self.__dict__.get("histories")

    def standing(self) -> object:
        """What differs if a check has judged or learned anything, but for the detectors, which move with ``last``."""
        parts = self.last, self.live, self.begun, self.loggers, self.firing, self.learning, self.held
        return copy.deepcopy(parts)

    def accept(self, key: str) -> None:
        """What a signal has changed to is normal from now on, and what its column is compared with begins anew."""
        for detector in self.histories.detectors.values():
            detector.accept(key)
        kind, *place = json.loads(key)
        if kind == "stream" and place[4] in COMPARED:
            for identity, anchor in self.histories.anchors.get(HOUR if place[0] == "hour" else DAY, {}).items():
                if (identity[0], identity[1], identity[3]) == tuple(place[1:4]):
                    anchor.reference, anchor.generation = np.zeros(CELLS), anchor.generation + 1

    def to_bytes(self) -> bytes:
        """As the state keeps it, but for the histories, whose names are in it."""
        plain = {
            "format": _FORMAT, "last": self.last, "loggers": self.loggers, "begun": self.begun,
            "live": {level: sorted(streams) for level, streams in self.live.items()},
            "held": sorted(self.held), "checked": self.checked, "learning": self.learning,
            "firing": {key: dataclasses.asdict(finding) for key, finding in self.firing.items()},
        }  # fmt: skip
        return json.dumps(plain, ensure_ascii=True).encode()

    @staticmethod
    def from_bytes(data: bytes, parts: Callable[[], Mapping[str, bytes]]) -> Memory:
        """The inverse of ``to_bytes``; the histories are read when they are needed.

        Raises:
            DamagedMemoryError: these bytes are damaged, or of another version.
        """
        try:
            plain = json.loads(data)
            if plain["format"] != _FORMAT:
                raise ValueError(f"format {plain['format']} is unknown")
            return Memory(
                plain["last"],
                {int(level): set(names) for level, names in plain["live"].items()},
                {int(level): begun for level, begun in plain["begun"].items()},
                plain["loggers"],
                {key: finding_from_plain(fields) for key, fields in plain["firing"].items()},
                {key: (seen, needed) for key, (seen, needed) in plain["learning"].items()},
                plain["checked"],
                set(plain["held"]),
                parts,
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedMemoryError(f"the watch's memory is damaged: {type(error).__name__}: {error}") from error


def remembered(reader: Reader) -> Memory:
    """What the newest check of a project left; an empty one before the first.

    Raises:
        DamagedMemoryError: it cannot be read.
    """

    def parts() -> dict[str, bytes]:
        with reader.database.read() as connection:
            return memories.load_under(connection, reader.project, NAME)

    with reader.database.read() as connection:
        data = memories.load(connection, reader.project, NAME)
    return Memory() if data is None else Memory.from_bytes(data, parts)
