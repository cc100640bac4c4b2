"""What the watch remembers from one check to the next: detectors, first data, and what fires."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from fourfold.model import DAY, HOUR, Finding, finding_from_plain
from fourfold.watch.detect import Detector
from fourfold.watch.signals.anchors import CELLS, Anchor, Identity
from fourfold.watch.signals.columns import COMPARED

_FORMAT = 1


@dataclasses.dataclass
class Memory:
    """What a check leaves for the next one.

    ``anchors`` are by level (hour or day) and series, ``last`` is the newest judged bucket of each detector, ``live``
    the streams of each level that were up to date at the newest check, at ``checked``, ``begun`` when each of them did;
    ``loggers`` is the component of each stream, ``firing`` the signals that have changed, by their keys; ``held`` are
    the other findings, of runs, constraints and objectives, that held at the newest check.
    """

    detectors: dict[str, Detector] = dataclasses.field(default_factory=dict)
    anchors: dict[int, dict[Identity, Anchor]] = dataclasses.field(default_factory=dict)
    last: dict[str, int] = dataclasses.field(default_factory=dict)
    live: dict[int, set[str]] = dataclasses.field(default_factory=dict)
    begun: dict[int, dict[str, int]] = dataclasses.field(default_factory=dict)
    loggers: dict[str, str] = dataclasses.field(default_factory=dict)
    firing: dict[str, Finding] = dataclasses.field(default_factory=dict)
    learning: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    checked: float | None = None
    held: set[str] = dataclasses.field(default_factory=set)

    def standing(self) -> object:
        """What differs if a check has judged or learned anything, but for the detectors, which move with ``last``."""
        parts = self.last, self.live, self.begun, self.loggers, self.firing, self.learning, self.held
        return copy.deepcopy(parts)

    def accept(self, key: str) -> None:
        """What a signal has changed to is normal from now on, and what its column is compared with begins anew."""
        for detector in self.detectors.values():
            detector.accept(key)
        kind, *place = json.loads(key)
        if kind == "stream" and place[4] in COMPARED:
            for identity, anchor in self.anchors.get(HOUR if place[0] == "hour" else DAY, {}).items():
                if (identity[0], identity[1], identity[3]) == tuple(place[1:4]):
                    anchor.reference, anchor.generation = np.zeros(CELLS), anchor.generation + 1

    def to_bytes(self) -> bytes:
        """As the state keeps it."""
        names = [(level, *name) for level, found in self.anchors.items() for name in found]
        anchors = [anchor for found in self.anchors.values() for anchor in found.values()]
        numbers = {
            "edges": np.array([a.edges or [np.nan] * (CELLS - 1) for a in anchors]).reshape(-1, CELLS - 1),
            "reference": np.array([a.reference for a in anchors]).reshape(-1, CELLS),
        }
        plain = {
            "format": _FORMAT, "last": self.last, "loggers": self.loggers,
            "begun": self.begun,
            "live": {level: sorted(streams) for level, streams in self.live.items()},
            "held": sorted(self.held), "checked": self.checked, "learning": self.learning, "names": names,
            "firing": {key: dataclasses.asdict(finding) for key, finding in self.firing.items()},
            "labels": {i: [a.labels, sorted(a.seen)] for i, a in enumerate(anchors) if a.seen},
            "detectors": list(self.detectors), "generations": [[a.generation, a.since, a.coarse] for a in anchors],
        }  # fmt: skip
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("plain", json.dumps(plain, ensure_ascii=True))
            for i, detector in enumerate(self.detectors.values()):
                archive.writestr(f"detector{i}", detector.to_bytes())
            for name, values in numbers.items():
                archive.writestr(name, values.astype("<f8").tobytes())
        return out.getvalue()

    @staticmethod
    def from_bytes(data: bytes) -> Memory:
        """The inverse of ``to_bytes``.

        Raises:
            ValueError: these bytes are damaged, or of another format.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                plain = json.loads(archive.read("plain"))
                if plain["format"] != _FORMAT:
                    raise ValueError(f"format {plain['format']} is unknown")
                parts = {name: archive.read(name) for name in archive.namelist()}
            return Memory(
                {name: Detector.from_bytes(parts[f"detector{i}"]) for i, name in enumerate(plain["detectors"])},
                _anchors(plain, parts),
                plain["last"],
                {int(level): set(names) for level, names in plain["live"].items()},
                {int(level): begun for level, begun in plain["begun"].items()},
                plain["loggers"],
                {key: finding_from_plain(fields) for key, fields in plain["firing"].items()},
                {key: (seen, needed) for key, (seen, needed) in plain["learning"].items()},
                plain["checked"],
                set(plain["held"]),
            )
        except (KeyError, TypeError, zipfile.BadZipFile, UnicodeDecodeError, IndexError) as error:
            raise ValueError(f"the watch's memory is damaged: {type(error).__name__}: {error}") from error


def _anchors(plain: Mapping[str, Any], parts: Mapping[str, bytes]) -> dict[int, dict[Identity, Anchor]]:
    edges = np.frombuffer(parts["edges"], "<f8").reshape(-1, CELLS - 1)
    reference = np.frombuffer(parts["reference"], "<f8").reshape(-1, CELLS)
    found: dict[int, dict[Identity, Anchor]] = {}
    for i, (level, stream, column, kind, slice_) in enumerate(plain["names"]):
        labels, seen = plain["labels"].get(str(i), ([], []))
        generation, since, coarse = plain["generations"][i]
        fixed = [] if np.isnan(edges[i]).any() else edges[i].tolist()
        known = found.setdefault(level, {})
        known[stream, column, kind, slice_] = Anchor(
            fixed, labels, set(seen), reference[i].copy(), since, coarse, generation
        )
    return found
